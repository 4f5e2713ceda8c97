//! Reads what a drop needs to know from the catalogs.

use std::collections::HashMap;

use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Bool, Nullable, Oid, Text};

use super::{Contents, DropPlan, Dropping, order};
use crate::error::{Error, FailedTenant, TenantError};
use crate::model::SchemaName;
use crate::operations::catalogs;
use crate::operations::sizes::{Size, measure};
use crate::postgres::CHUNK;
use crate::tenants::tracker::schema_tracker;

/// A schema that exists.
#[derive(QueryableByName)]
pub(super) struct ExistingSchema {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Oid)]
    pub(super) oid: u32,
    #[diesel(sql_type = Bool)]
    pub(super) holds_extensions: bool,
}

/// The states of tracked tenants as the tracker has them, by name.
type States = HashMap<String, Option<String>>;

/// Finds the names in the tracker and in `pg_namespace`.
pub(super) fn look_up(
    conn: &mut PgConnection,
    names: &[&SchemaName],
) -> Result<(States, HashMap<String, ExistingSchema>), Error> {
    let mut tracked = HashMap::new();
    let mut schemas = HashMap::new();
    for chunk in names.chunks(CHUNK) {
        let names: Vec<&str> = chunk.iter().map(|name| name.as_str()).collect();
        let rows: Vec<(String, Option<String>)> = schema_tracker::table
            .select((schema_tracker::name, schema_tracker::state.nullable()))
            .filter(schema_tracker::name.eq_any(&names))
            .load(conn)
            .map_err(Error::doing("read the tracker"))?;
        tracked.extend(rows);
        schemas.extend(find(conn, chunk)?.into_iter().map(|row| (row.name.clone(), row)));
    }
    Ok((tracked, schemas))
}

/// Finds the schemas of at most [`CHUNK`] names.
pub(super) fn find(conn: &mut PgConnection, names: &[&SchemaName]) -> Result<Vec<ExistingSchema>, Error> {
    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    sql_query(
        "SELECT n.nspname::pg_catalog.text AS name, n.oid, \
         EXISTS (SELECT FROM pg_catalog.pg_extension AS e WHERE e.extnamespace = n.oid) AS holds_extensions \
         FROM pg_catalog.pg_namespace AS n WHERE n.nspname = ANY ($1)",
    )
    .bind::<Array<Text>, _>(names)
    .load(conn)
    .map_err(Error::doing("look for the schemas"))
}

/// Adds the sizes to a plan, and moves schemas that other objects depend on to its failures.
pub(super) fn measure_all(conn: &mut PgConnection, plan: &mut DropPlan) -> Result<(), Error> {
    let oids: Vec<u32> = plan.drops.iter().filter_map(|dropping| dropping.schema.map(|schema| schema.oid)).collect();
    let mut sizes: HashMap<u32, Contents> = HashMap::new();
    let mut others: HashMap<u32, Vec<String>> = HashMap::new();
    for chunk in oids.chunks(CHUNK) {
        let measured = measure(conn, chunk, oids.len()).map_err(Error::doing("measure the schemas"))?;
        plan.sizes_estimated |= measured.estimated;
        let mut found: HashMap<u32, Contents> = measured
            .sizes
            .into_iter()
            .map(|Size { oid, tables, estimated_rows, bytes, .. }| {
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
                plan.failed.push(FailedTenant { tenant, error: TenantError::Dependents { objects } });
                continue;
            }
            *schema = sizes.get(&schema.oid).copied().unwrap_or(*schema);
        }
        plan.drops.push(dropping);
    }
    Ok(())
}

/// The objects outside schemas that `DROP SCHEMA … CASCADE` would drop with them.
pub(super) const DEPENDENTS: &str = concat!(include_str!("../inside.sql"), include_str!("../dependents.sql"));

/// Describes the objects outside of at most [`CHUNK`] schemas that depend on objects in them, by schema.
pub(super) fn dependents(conn: &mut PgConnection, schemas: &[u32]) -> Result<HashMap<u32, Vec<String>>, Error> {
    #[derive(QueryableByName)]
    struct Dependent {
        #[diesel(sql_type = Oid)]
        schema_oid: u32,
        #[diesel(sql_type = Text)]
        description: String,
    }
    let rows: Vec<Dependent> = catalogs::read(conn, catalogs::BEGIN_READING, DEPENDENTS, schemas)
        .map_err(Error::doing("look for what depends on the schemas"))?;
    let mut found: HashMap<u32, Vec<String>> = HashMap::new();
    for row in rows {
        found.entry(row.schema_oid).or_default().push(row.description);
    }
    Ok(found)
}

/// Whether neither the schema of the plan nor the tenant's row exists. A renamed schema still exists.
pub(super) fn is_dropped(conn: &mut PgConnection, dropping: &Dropping) -> bool {
    let oid = dropping.schema.map(|schema| schema.oid);
    diesel::select(
        sql::<Bool>("NOT EXISTS (SELECT FROM public.schema_tracker AS t WHERE t.name = ")
            .bind::<Text, _>(dropping.name.as_str())
            .sql(") AND NOT EXISTS (SELECT FROM pg_catalog.pg_namespace AS n WHERE n.oid = ")
            .bind::<Nullable<Oid>, _>(oid)
            .sql(")"),
    )
    .get_result(conn)
    .unwrap_or(false)
}
