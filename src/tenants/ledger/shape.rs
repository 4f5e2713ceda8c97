//! The definition that a ledger must have before it is read or written.
//!
//! A tenant's role may own its schema, and so replace the ledger by a view, or attach a trigger, a rule or a cast to it: code
//! that would run with the rights of the operator who reads or writes the ledger. Who owns a ledger does not matter, since
//! one without any such code is only data.
//!
//! The order is: [lock](lock) the ledger, check its definition, use it. The lock conflicts with every command that could
//! attach code to the table, and with no `SELECT` or `INSERT`.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Text};

use crate::model::SchemaName;
use crate::postgres::{CHANGED, READ_LIMITS, path};
use crate::sql::quote::Literal;

/// What [`open_checked`] raises.
pub(super) const INVALID: &str = "tenantry: a ledger has an unexpected definition";

/// An SQL expression over the `pg_class` row `ledger`: why the table cannot be used as a ledger, or NULL. The search path
/// must be `pg_catalog`, on which it compares the text of a default.
pub(super) const REASON: &str = include_str!("shape.sql");

/// Statements in PL/pgSQL that lock a schema's ledger until the transaction ends, so that its definition stays what
/// [`writable_guard`] finds. Raises [`CHANGED`] where there is no ledger.
///
/// `SHARE UPDATE EXCLUSIVE` is the weakest mode that conflicts with `CREATE INDEX CONCURRENTLY` and `CREATE STATISTICS`. It
/// takes the privilege `UPDATE`, `DELETE` or `TRUNCATE`; a role that may only insert locks in the mode of an `INSERT`, which
/// does not keep those two out, and has no rights that are worth an attack.
fn lock(schema: &SchemaName) -> String {
    let ledger = super::qualified(schema);
    format!(
        "IF pg_catalog.to_regclass({name}::pg_catalog.text) IS NULL THEN RAISE EXCEPTION '{CHANGED}'; END IF; \
         IF pg_catalog.has_table_privilege(pg_catalog.to_regclass({name}::pg_catalog.text)::pg_catalog.oid, \
         'UPDATE, DELETE, TRUNCATE'::pg_catalog.text) \
         THEN LOCK TABLE ONLY {ledger} IN SHARE UPDATE EXCLUSIVE MODE; \
         ELSE LOCK TABLE ONLY {ledger} IN ROW EXCLUSIVE MODE; END IF;",
        name = Literal(&ledger),
    )
}

/// A condition in PL/pgSQL that raises [`CHANGED`] unless the schema's ledger is a plain table that runs no code when rows
/// are read, inserted or deleted. To be used behind [`lock`] and with `search_path` on `pg_catalog`. It does not look for a
/// missing ledger, nor at what it records.
fn writable_guard(schema: &SchemaName) -> String {
    format!(
        "IF (SELECT {REASON} FROM pg_catalog.pg_class AS ledger \
         WHERE ledger.oid = pg_catalog.to_regclass({name}::pg_catalog.text)::pg_catalog.oid) IS NOT NULL \
         THEN RAISE EXCEPTION '{CHANGED}'; END IF;",
        name = Literal(&super::qualified(schema)),
    )
}

/// Statements in PL/pgSQL that lock a schema's ledger, and raise [`CHANGED`] unless it runs no code.
pub(crate) fn definition_guard(schema: &SchemaName) -> String {
    format!("{} {}", lock(schema), writable_guard(schema))
}

/// Begins a transaction with all ledgers locked, so that their definitions stay as they are.
///
/// A migration in progress holds the stronger lock itself, as [`lock`] takes it: then nobody else can attach code either,
/// and it is not waited for. The weaker one is also for a role that may only read, and for a standby.
pub(super) fn open(schemas: &[&SchemaName]) -> String {
    format!("{} DO {};", begin(), Literal(&format!("{} END", lock_all(schemas))))
}

/// As [`open`], and raises [`INVALID`] unless all have the definition of a ledger.
pub(super) fn open_checked(schemas: &[&SchemaName]) -> String {
    let names: Vec<String> = schemas.iter().map(|schema| Literal(&super::qualified(schema)).to_string()).collect();
    let check = format!(
        "IF EXISTS (SELECT FROM pg_catalog.pg_class AS ledger \
         WHERE ledger.oid = ANY(ARRAY[{}]::pg_catalog.regclass[]::pg_catalog.oid[]) AND {REASON} IS NOT NULL) \
         THEN RAISE EXCEPTION '{INVALID}'; END IF;",
        names.join(", ")
    );
    format!("{} DO {};", begin(), Literal(&format!("{} {check} END", lock_all(schemas))))
}

/// What is wrong with each ledger that cannot be used, with its place in `schemas`.
pub(super) fn reasons(conn: &mut PgConnection, schemas: &[&SchemaName]) -> QueryResult<Vec<(usize, String)>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        place: i64,
        #[diesel(sql_type = Text)]
        why: String,
    }
    let names: Vec<String> = schemas.iter().map(|schema| super::qualified(schema)).collect();
    let rows: Vec<Row> = sql_query(format!(
        "SELECT place, why FROM pg_catalog.unnest($1) WITH ORDINALITY AS wanted (name, place) \
         JOIN pg_catalog.pg_class AS ledger ON ledger.oid = pg_catalog.to_regclass(wanted.name)::pg_catalog.oid \
         CROSS JOIN LATERAL (SELECT {REASON} AS why) AS found WHERE why IS NOT NULL"
    ))
    .bind::<Array<Text>, _>(names)
    .load(conn)?;
    Ok(rows.into_iter().filter_map(|row| Some((usize::try_from(row.place).ok()?.checked_sub(1)?, row.why))).collect())
}

/// Not READ ONLY, in which only `ACCESS SHARE` can be had. It is rolled back.
fn begin() -> String {
    format!("BEGIN; {READ_LIMITS} {}", path::CATALOG_FOR_TRANSACTION)
}

fn lock_all(schemas: &[&SchemaName]) -> String {
    let names: Vec<String> = schemas.iter().map(|schema| Literal(&super::qualified(schema)).to_string()).collect();
    format!(
        "DECLARE target pg_catalog.text; BEGIN \
         FOREACH target IN ARRAY ARRAY[{}]::pg_catalog.text[] LOOP BEGIN \
         EXECUTE pg_catalog.concat('LOCK TABLE ONLY ', target, ' IN SHARE UPDATE EXCLUSIVE MODE NOWAIT'); \
         EXCEPTION WHEN lock_not_available OR insufficient_privilege OR read_only_sql_transaction \
         OR object_not_in_prerequisite_state THEN \
         EXECUTE pg_catalog.concat('LOCK TABLE ONLY ', target, ' IN ACCESS SHARE MODE'); END; END LOOP;",
        names.join(", ")
    )
}
