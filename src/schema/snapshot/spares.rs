//! Spare schemas: made in advance from a snapshot, and recorded in `public.schema_spare` until a tenant takes them.

use std::collections::HashMap;

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Oid, Text};

use super::SpareKey;
use crate::error::Error;
use crate::model::SchemaName;
use crate::postgres::GuardViolation;
use crate::schema::drift::current_stamps;
use crate::sql::quote::{Literal, identifier_of, text_array};

/// The prefix of their names, followed by 32 hexadecimal digits. The table accepts no other names.
const PREFIX: &str = "tenantry_spare_";

/// The most spares that are looked at.
const MAX: i64 = 500;

/// A recorded spare.
pub(crate) struct Spare {
    pub(crate) name: SchemaName,
    key: SpareKey,
    /// Its schema, if it exists.
    oid: Option<u32>,
    /// Whether the schema belongs to another role.
    pub(crate) is_foreign: bool,
    stamp: Option<i64>,
}

/// A new name.
pub(crate) fn new_name() -> SchemaName {
    let name = format!("{PREFIX}{}", uuid::Uuid::new_v4().simple());
    name.parse().expect("letters, digits and underscores, fewer than 63")
}

/// Reads the recorded spares, oldest first. Must not be called if the table does not exist.
pub(crate) fn recorded(conn: &mut PgConnection) -> Result<Vec<Spare>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
        #[diesel(sql_type = Text)]
        migrations: String,
        #[diesel(sql_type = Text)]
        environment: String,
        #[diesel(sql_type = Nullable<BigInt>)]
        stamp: Option<i64>,
        #[diesel(sql_type = Nullable<Oid>)]
        oid: Option<u32>,
        #[diesel(sql_type = Bool)]
        is_foreign: bool,
    }
    // A row with another name was not written by this program, and its schema must be left alone.
    let rows: Vec<Row> = sql_query(
        "SELECT s.name, s.migrations, s.environment, s.stamp, n.oid, \
             pg_catalog.pg_get_userbyid(n.nspowner) IS DISTINCT FROM CURRENT_USER AND n.oid IS NOT NULL AS is_foreign \
         FROM public.schema_spare AS s \
         LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname::text = s.name \
         WHERE s.name ~ '^tenantry_spare_[0-9a-f]{32}$' \
             AND NOT EXISTS (SELECT FROM public.schema_tracker AS t WHERE t.name = s.name) \
         ORDER BY s.made_at, s.name LIMIT $1",
    )
    .bind::<BigInt, _>(MAX)
    .load(conn)
    .map_err(Error::doing("read public.schema_spare"))?;
    let spare = |row: Row| {
        let key = SpareKey { migrations: row.migrations, environment: row.environment };
        Some(Spare { name: row.name.parse().ok()?, key, oid: row.oid, is_foreign: row.is_foreign, stamp: row.stamp })
    };
    Ok(rows.into_iter().filter_map(spare).collect())
}

/// Whether only trusted roles may write to the table.
pub(super) fn is_trusted(conn: &mut PgConnection) -> Result<bool, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        is_trusted: bool,
    }
    let row: Row = sql_query(super::store::trusted("public.schema_spare"))
        .get_result(conn)
        .map_err(Error::doing("read the privileges on public.schema_spare"))?;
    Ok(row.is_trusted)
}

/// The names of the spares that were made from a snapshot with this key, and are unchanged since.
pub(crate) fn ready(conn: &mut PgConnection, spares: &[Spare], key: &SpareKey) -> Result<Vec<SchemaName>, Error> {
    let of_key: Vec<&Spare> =
        spares.iter().filter(|spare| spare.key == *key && spare.stamp.is_some() && !spare.is_foreign).collect();
    let oids: Vec<u32> = of_key.iter().filter_map(|spare| spare.oid).collect();
    let stamps = if oids.is_empty() { HashMap::new() } else { current_stamps(conn, &oids)? };
    let is_unchanged = |spare: &&&Spare| spare.oid.and_then(|oid| stamps.get(&oid).copied()) == spare.stamp;
    Ok(of_key.iter().filter(is_unchanged).map(|spare| spare.name.clone()).collect())
}

/// Records the stamps of new spares.
pub(crate) fn record_stamps(conn: &mut PgConnection, names: &[SchemaName]) -> Result<(), Error> {
    let spares: Vec<Spare> = recorded(conn)?.into_iter().filter(|spare| names.contains(&spare.name)).collect();
    let oids: Vec<u32> = spares.iter().filter_map(|spare| spare.oid).collect();
    let stamps = current_stamps(conn, &oids)?;
    let known = spares.iter().filter_map(|spare| Some((spare.name.as_str(), *stamps.get(&spare.oid?)?)));
    let (names, stamps): (Vec<&str>, Vec<i64>) = known.unzip();
    // `unnest` with several arguments is special syntax, which does not allow a schema. It always means pg_catalog's.
    sql_query(
        "UPDATE public.schema_spare AS s SET stamp = n.stamp FROM unnest($1, $2) AS n (name, stamp) WHERE s.name = n.name",
    )
    .bind::<Array<Text>, _>(names)
    .bind::<Array<BigInt>, _>(stamps)
    .execute(conn)
    .map(|_| ())
    .map_err(Error::doing("write public.schema_spare"))
}

/// SQL that records a new spare.
pub(crate) fn insert(name: &SchemaName, key: &SpareKey) -> String {
    format!(
        "INSERT INTO public.schema_spare (name, migrations, environment) VALUES ({}, {}, {});",
        Literal(name.as_str()),
        Literal(&key.migrations),
        Literal(&key.environment)
    )
}

/// SQL that renames one of these spares to a tenant's schema, and removes its record. Fails with
/// [`GuardViolation::NoSpare`] if other sessions have taken all of them.
pub(crate) fn take(spares: &[SchemaName], schema: &SchemaName) -> String {
    let block = format!(
        "DECLARE spare text; \
         BEGIN \
             DELETE FROM public.schema_spare WHERE name = ( \
                 SELECT s.name FROM public.schema_spare AS s WHERE s.name = ANY ({spares}::text[]) \
                 FOR UPDATE SKIP LOCKED LIMIT 1 \
             ) RETURNING name INTO spare; \
             IF spare IS NULL THEN RAISE EXCEPTION '{none}'; END IF; \
             EXECUTE 'ALTER SCHEMA ' || {from} || ' RENAME TO ' || {to}; \
         END",
        spares = text_array(spares.iter().map(SchemaName::as_str)),
        none = GuardViolation::NoSpare.message(),
        from = identifier_of("spare"),
        to = identifier_of(&format!("{}::text", Literal(schema.as_str()))),
    );
    format!("DO {};", Literal(&block))
}
