//! What there is to be dropped, as the catalogs tell.

use std::collections::{HashMap, HashSet};

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Oid, Text};

use super::{Contents, DropPlan, Dropping, order};
use crate::error::Error;
use crate::failure::{Failed, TenantError};
use crate::name::SchemaName;
use crate::postgres::{CHUNK, Condition, impatient};
use crate::tracker::schema_tracker;

/// A schema that there is.
#[derive(QueryableByName)]
pub(super) struct SchemaRow {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Oid)]
    pub(super) oid: u32,
    #[diesel(sql_type = diesel::sql_types::Bool)]
    pub(super) holds_extensions: bool,
}

/// Which of the names the tracker has, and which are schemas.
pub(super) fn look(
    conn: &mut PgConnection,
    names: &[&SchemaName],
) -> Result<(HashSet<String>, HashMap<String, SchemaRow>), Error> {
    let mut tracked = HashSet::new();
    let mut schemas = HashMap::new();
    for chunk in names.chunks(CHUNK) {
        let names: Vec<&str> = chunk.iter().map(|name| name.as_str()).collect();
        let rows: Vec<String> = schema_tracker::table
            .select(schema_tracker::name)
            .filter(schema_tracker::name.eq_any(&names))
            .load(conn)
            .map_err(Error::doing("read the tracker"))?;
        tracked.extend(rows);
        schemas.extend(find(conn, chunk)?.into_iter().map(|row| (row.name.clone(), row)));
    }
    Ok((tracked, schemas))
}

/// The schemas of some names, of at most [`CHUNK`].
pub(super) fn find(conn: &mut PgConnection, names: &[&SchemaName]) -> Result<Vec<SchemaRow>, Error> {
    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    sql_query(
        "SELECT nspname::text AS name, oid, \
         EXISTS (SELECT FROM pg_extension WHERE extnamespace = pg_namespace.oid) AS holds_extensions \
         FROM pg_namespace WHERE nspname = ANY($1)",
    )
    .bind::<Array<Text>, _>(names)
    .load(conn)
    .map_err(Error::doing("look for the schemas"))
}

#[derive(QueryableByName)]
struct Size {
    #[diesel(sql_type = Oid)]
    oid: u32,
    #[diesel(sql_type = BigInt)]
    tables: i64,
    #[diesel(sql_type = BigInt)]
    estimated_rows: i64,
    #[diesel(sql_type = BigInt)]
    bytes: i64,
}

/// How much is in schemas. Where somebody has a table locked, its size is what the server took it to be last.
fn measure(conn: &mut PgConnection, schemas: &[u32]) -> QueryResult<Vec<Size>> {
    const EXACT: &str = include_str!("../sizes.sql");
    let load = |conn: &mut PgConnection, sql: &str| sql_query(sql).bind::<Array<Oid>, _>(schemas).load(conn);
    match impatient(conn, |conn| load(conn, EXACT)) {
        Err(error) if Condition::of(&error) == Some(Condition::LockTimeout) => {
            const ESTIMATE: &str = "c.relpages * pg_catalog.current_setting('block_size')::bigint";
            load(conn, &EXACT.replace("pg_total_relation_size(c.oid)", ESTIMATE))
        }
        sizes => sizes,
    }
}

/// Adds to a plan how much goes, and takes out of it what others depend on.
pub(super) fn weigh(conn: &mut PgConnection, plan: &mut DropPlan) -> Result<(), Error> {
    let oids: Vec<u32> = plan.drops.iter().filter_map(|dropping| dropping.schema.map(|schema| schema.oid)).collect();
    let mut sizes: HashMap<u32, Contents> = HashMap::new();
    let mut others: HashMap<u32, Vec<String>> = HashMap::new();
    for chunk in oids.chunks(CHUNK) {
        let rows: Vec<Size> = measure(conn, chunk).map_err(Error::doing("measure the schemas"))?;
        let mut found: HashMap<u32, Contents> = rows
            .into_iter()
            .map(|Size { oid, tables, estimated_rows, bytes }| {
                (oid, Contents { tables, estimated_rows, bytes, ..Contents::of(oid) })
            })
            .collect();
        for (schema, locks) in order::locks_of(conn, chunk).map_err(Error::doing("count the objects of the schemas"))? {
            found.entry(schema).and_modify(|contents| contents.locks = locks);
        }
        sizes.extend(found);
        others.extend(dependents(conn, chunk)?);
    }
    for mut dropping in std::mem::take(&mut plan.drops) {
        if let Some(schema) = &mut dropping.schema {
            if let Some(objects) = others.remove(&schema.oid) {
                let tenant = dropping.name.as_str().to_owned();
                plan.failed.push(Failed { tenant, error: TenantError::Dependents { objects } });
                continue;
            }
            *schema = sizes.get(&schema.oid).copied().unwrap_or(*schema);
        }
        plan.drops.push(dropping);
    }
    Ok(())
}

/// What outside of schemas depends on what is in them, by schema. At most [`CHUNK`] of them.
pub(super) fn dependents(conn: &mut PgConnection, schemas: &[u32]) -> Result<HashMap<u32, Vec<String>>, Error> {
    #[derive(QueryableByName)]
    struct Dependent {
        #[diesel(sql_type = Oid)]
        schema_oid: u32,
        #[diesel(sql_type = Text)]
        description: String,
    }
    let rows: Vec<Dependent> = sql_query(include_str!("../dependents.sql"))
        .bind::<Array<Oid>, _>(schemas)
        .load(conn)
        .map_err(Error::doing("look for what depends on the schemas"))?;
    let mut found: HashMap<u32, Vec<String>> = HashMap::new();
    for row in rows {
        found.entry(row.schema_oid).or_default().push(row.description);
    }
    Ok(found)
}

/// Whether a schema that was looked at is there no more, nor its row.
pub(super) fn is_gone(conn: &mut PgConnection, dropping: &Dropping) -> bool {
    look(conn, &[&dropping.name]).is_ok_and(|(tracked, schemas)| {
        let oid = schemas.get(dropping.name.as_str()).map(|schema| schema.oid);
        !tracked.contains(dropping.name.as_str()) && oid.is_none_or(|oid| Some(oid) != dropping.schema.map(|s| s.oid))
    })
}
