//! Reads a few schemas in full.

use std::collections::{BTreeSet, HashMap};

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Nullable, Oid, Text};

use super::catalog::{Reading, SECTIONS, prelude};
use super::object::{Object, Structure};
use super::session::PINNED;
use crate::error::Error;
use crate::postgres::path;

/// The most schemas per statement: each may have hundreds of objects, and deparsing takes locks.
pub const AT_ONCE: usize = 20;

/// Makes the planner use indexes, and limits waiting for locks, because other sessions would queue up.
const SETTINGS: &str = "SET LOCAL enable_seqscan TO off; SET LOCAL enable_hashjoin TO off; \
                        SET LOCAL enable_mergejoin TO off; SET LOCAL jit TO off; \
                        SET LOCAL max_parallel_workers_per_gather TO 0; SET LOCAL lock_timeout TO '2s';";

/// Reads what lives in each of the schemas, in one snapshot. Schemas that do not exist are not in the result.
///
/// # Errors
/// The server's error.
pub fn read(conn: &mut PgConnection, version: i32, schemas: &[u32]) -> Result<HashMap<u32, Structure>, Error> {
    let doing = Error::doing("read the structure of a schema");
    conn.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").map_err(&doing)?;
    let read = read_in_transaction(conn, version, schemas);
    let ended = conn.batch_execute("ROLLBACK");
    let read = read.map_err(&doing)?;
    ended.map_err(&doing)?;
    Ok(read)
}

/// Reads as [`read`] does, in the caller's transaction. Settings and `search_path` are restored. After an error, the
/// transaction is aborted.
pub(crate) fn read_in_transaction(
    conn: &mut PgConnection,
    version: i32,
    schemas: &[u32],
) -> QueryResult<HashMap<u32, Structure>> {
    conn.batch_execute(&format!("SAVEPOINT tenantry_read; {} {PINNED} {SETTINGS}", path::CATALOG_FOR_TRANSACTION))?;
    let mut structures = HashMap::new();
    for chunk in schemas.chunks(AT_ONCE) {
        structures.extend(read_some(conn, version / 10_000, chunk)?);
    }
    // Restores the settings, and releases the locks of deparsing.
    conn.batch_execute("ROLLBACK TO SAVEPOINT tenantry_read; RELEASE SAVEPOINT tenantry_read")?;
    Ok(structures)
}

#[derive(QueryableByName)]
struct SchemaRow {
    #[diesel(sql_type = Oid)]
    oid: u32,
    #[diesel(sql_type = Text)]
    own_name: String,
    #[diesel(sql_type = Array<Text>)]
    classes: Vec<String>,
}

#[derive(QueryableByName)]
struct ObjectRow {
    #[diesel(sql_type = Oid)]
    schema: u32,
    #[diesel(sql_type = Text)]
    line: String,
    #[diesel(sql_type = Nullable<Text>)]
    ddl: Option<String>,
}

fn read_some(conn: &mut PgConnection, major: i32, schemas: &[u32]) -> QueryResult<HashMap<u32, Structure>> {
    // Skips the sections without objects: planning a section takes longer than this query.
    let rows: Vec<SchemaRow> = sql_query(
        "SELECT n.oid, quote_ident(n.nspname) AS own_name, ARRAY( \
             SELECT DISTINCT c.relname::text FROM pg_depend d JOIN pg_class c ON c.oid = d.classid \
             WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid \
             UNION ALL SELECT 'pg_seclabel' WHERE EXISTS (SELECT FROM pg_seclabel) \
         ) AS classes FROM pg_namespace n WHERE n.oid = ANY ($1)",
    )
    .bind::<Array<Oid>, _>(schemas)
    .load(conn)?;
    let classes: BTreeSet<&str> = rows.iter().flat_map(|row| &row.classes).map(String::as_str).collect();
    let mut structures: HashMap<u32, Structure> = rows
        .iter()
        .map(|row| (row.oid, Structure { own_name: row.own_name.clone(), ..Structure::from_iter([]) }))
        .collect();
    let sections: Vec<String> = SECTIONS
        .iter()
        .filter(|section| section.classes.is_empty() || section.classes.iter().any(|class| classes.contains(class)))
        .map(|section| {
            let sql = section.sql(Reading::Full, major);
            format!("SELECT schema, row_to_json(line)::text AS line, ddl FROM ({sql}) section")
        })
        .collect();
    let sql = format!("{} {}", prelude(Reading::Full, major), sections.join(" UNION ALL "));
    for row in sql_query(sql).bind::<Array<Oid>, _>(schemas).load::<ObjectRow>(conn)? {
        let mut object: Object = serde_json::from_str(&row.line)
            .map_err(|error| diesel::result::Error::DeserializationError(Box::new(error)))?;
        object.facts.retain(|_, value| !value.is_null());
        object.ddl = row.ddl;
        if let Some(structure) = structures.get_mut(&row.schema) {
            structure.objects.insert(object.identity.clone(), object);
        }
    }
    Ok(structures)
}
