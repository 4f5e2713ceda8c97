//! The check of a ledger's definition before it is read or written.
//!
//! A tenant's role may own its schema. It can replace the ledger with a view, or attach a trigger, a rule or a cast to it.
//! That code would run with the rights of the operator who reads or writes the ledger. The owner of a ledger does not matter,
//! because a ledger without such code is only data.
//!
//! The order is: [lock](lock) the ledger, check its definition, use it. The lock conflicts with every command that can attach
//! code to the table, and does not conflict with `SELECT` or `INSERT`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Text};

use crate::model::SchemaName;
use crate::postgres::{GuardViolation, READ_LIMITS, Refusal, path};
use crate::sql::quote::Literal;

/// The message that [`begin_checked`] raises.
pub(super) const INVALID: &str = "tenantry: a ledger has an unexpected definition";

/// An SQL expression over the `pg_class` row `ledger`: the reason why the table cannot be used as a ledger, or NULL. It compares
/// the text of a default, which depends on the search path, so the search path must be `pg_catalog`.
static PROBLEM: LazyLock<String> = LazyLock::new(|| {
    let has_default = include_str!("definition_default.sql");
    include_str!("definition.sql").replace("PLAIN", PLAIN).replace("HAS_DEFAULT", has_default)
});

/// An SQL condition on the `pg_class` row `ledger`: the table has the definition that tenantry gives a ledger.
const PLAIN: &str = include_str!("definition_quick.sql");

/// PL/pgSQL statements that lock a schema's ledger until the end of the transaction, so that its definition does not change
/// after [`runs_code`] has checked it. They raise [`GuardViolation::Changed`] if the ledger does not exist.
///
/// `SHARE UPDATE EXCLUSIVE` is the weakest mode that conflicts with `CREATE INDEX CONCURRENTLY` and `CREATE STATISTICS`. It
/// requires the privilege `UPDATE`, `DELETE` or `TRUNCATE`. A role that may only insert locks in `ROW EXCLUSIVE` mode, which does
/// not conflict with these two commands; such a role has no rights that are worth an attack.
fn lock(schema: &SchemaName) -> String {
    format!("{} {}", super::missing(&super::name_of(schema), GuardViolation::Changed).in_block(), lock_existing(schema))
}

/// A statement that locks a ledger as [`lock`] does. It fails if the ledger does not exist, and with the quick check also if
/// [`cannot_lock`] is true.
pub(crate) fn lock_statement(schema: &SchemaName, check: DefinitionCheck) -> String {
    match check {
        DefinitionCheck::Quick => {
            format!("LOCK TABLE ONLY {} IN SHARE UPDATE EXCLUSIVE MODE;", super::qualified(schema))
        }
        DefinitionCheck::Thorough => format!("DO {};", Literal(&format!("BEGIN {} END", lock_existing(schema)))),
    }
}

/// The condition that the connected role may not lock a ledger in the mode that [`lock`] prefers. `name` is an SQL expression
/// for the qualified name of the ledger.
pub(crate) fn cannot_lock(name: &str) -> Refusal {
    let condition = format!(
        "NOT pg_catalog.has_table_privilege({}::pg_catalog.oid, '{LOCK_PRIVILEGES}'::pg_catalog.text)",
        super::regclass(name)
    );
    Refusal::new(GuardViolation::NeedsThoroughCheck, condition)
}

/// The privileges of which one is required to lock a ledger in the mode that [`lock`] prefers.
const LOCK_PRIVILEGES: &str = "UPDATE, DELETE, TRUNCATE";

fn lock_existing(schema: &SchemaName) -> String {
    let ledger = super::qualified(schema);
    format!(
        "IF pg_catalog.has_table_privilege({}::pg_catalog.oid, '{LOCK_PRIVILEGES}'::pg_catalog.text) \
         THEN LOCK TABLE ONLY {ledger} IN SHARE UPDATE EXCLUSIVE MODE; \
         ELSE LOCK TABLE ONLY {ledger} IN ROW EXCLUSIVE MODE; END IF;",
        super::regclass(&super::name_of(schema)),
    )
}

/// How thoroughly the definition of a ledger is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DefinitionCheck {
    /// Compares it with the definition that tenantry creates. A difference is [`GuardViolation::NeedsThoroughCheck`]. The
    /// default of `run_on` is not compared, so that rows must be inserted with [`Columns::All`](super::Columns).
    Quick,
    /// Looks for anything that could run code, at several times the cost.
    Thorough,
}

/// The condition that a ledger could run code when rows are read, inserted or deleted. To be used after [`lock`], with
/// `search_path` set to `pg_catalog`. A missing ledger and its contents are not checked. `name` is an SQL expression for the
/// qualified name of the ledger.
pub(crate) fn runs_code(name: &str, check: DefinitionCheck) -> Refusal {
    let oid = format!("{}::pg_catalog.oid", super::regclass(name));
    match check {
        DefinitionCheck::Quick => {
            let as_created = format!("SELECT FROM pg_catalog.pg_class AS ledger WHERE ledger.oid = {oid} AND {PLAIN}");
            Refusal::new(GuardViolation::NeedsThoroughCheck, format!("NOT EXISTS ({as_created})"))
        }
        DefinitionCheck::Thorough => {
            let problem = format!("(SELECT {} FROM pg_catalog.pg_class AS ledger WHERE ledger.oid = {oid})", *PROBLEM);
            Refusal::new(GuardViolation::Changed, format!("{problem} IS NOT NULL"))
        }
    }
}

/// PL/pgSQL statements that lock a schema's ledger, and raise [`GuardViolation::Changed`] if its definition could run code.
pub(crate) fn definition_guard(schema: &SchemaName) -> String {
    format!("{} {}", lock(schema), runs_code(&super::name_of(schema), DefinitionCheck::Thorough).in_block())
}

/// SQL that begins a transaction and locks all ledgers, so that their definitions do not change.
///
/// If the stronger lock mode is not available at once, `ACCESS SHARE` is used. A migration in progress then holds the stronger
/// lock, as [`lock`] acquires it, and no other session can attach code. A role that may only read and a standby also use
/// `ACCESS SHARE`.
pub(super) fn begin(schemas: &[&SchemaName]) -> String {
    // The transaction is not READ ONLY, which allows only ACCESS SHARE locks.
    let begin = format!("BEGIN; {READ_LIMITS} {}", path::CATALOG_FOR_TRANSACTION);
    let lock = "BEGIN EXECUTE pg_catalog.concat('LOCK TABLE ONLY ', target, ' IN SHARE UPDATE EXCLUSIVE MODE NOWAIT'); \
         EXCEPTION WHEN lock_not_available OR insufficient_privilege OR read_only_sql_transaction \
         OR object_not_in_prerequisite_state THEN \
         EXECUTE pg_catalog.concat('LOCK TABLE ONLY ', target, ' IN ACCESS SHARE MODE'); END;";
    format!("{begin} {}", for_each(schemas, "", lock, ""))
}

/// Like [`begin`], and raises [`INVALID`] unless all ledgers have a valid definition.
pub(super) fn begin_checked(schemas: &[&SchemaName]) -> String {
    let check = format!(
        "IF EXISTS (SELECT FROM pg_catalog.pg_class AS ledger \
         WHERE ledger.oid = ANY(targets::pg_catalog.regclass[]::pg_catalog.oid[]) AND {} IS NOT NULL) \
         THEN RAISE EXCEPTION '{INVALID}'; END IF;",
        *PROBLEM
    );
    format!("{} {}", begin(schemas), for_each(schemas, "", "", &check))
}

/// A block that runs statements of PL/pgSQL for each ledger, and others at the end. The variable `targets` has the qualified
/// and quoted names of the ledgers, `target` one of them.
pub(super) fn for_each(schemas: &[&SchemaName], variables: &str, each: &str, end: &str) -> String {
    let names: Vec<String> = schemas.iter().map(|schema| Literal(&super::qualified(schema)).to_string()).collect();
    let targets = format!("ARRAY[{}]::pg_catalog.text[]", names.join(", "));
    let each =
        if each.is_empty() { String::new() } else { format!("FOREACH target IN ARRAY targets LOOP {each} END LOOP;") };
    let block = format!(
        "DECLARE target pg_catalog.text; targets pg_catalog.text[] := {targets}; {variables} BEGIN {each} {end} END"
    );
    format!("DO {};", Literal(&block))
}

/// The problem of each ledger that cannot be used, by the name of its schema.
pub(super) fn problems(conn: &mut PgConnection, schemas: &[&SchemaName]) -> QueryResult<BTreeMap<String, String>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        schema: String,
        #[diesel(sql_type = Text)]
        why: String,
    }
    let names: Vec<&str> = schemas.iter().map(|schema| schema.as_str()).collect();
    let tables: Vec<String> = schemas.iter().map(|schema| super::qualified(schema)).collect();
    let rows: Vec<Row> = sql_query(format!(
        "SELECT wanted.schema, why FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS wanted (schema, name) \
         JOIN pg_catalog.pg_class AS ledger ON ledger.oid = pg_catalog.to_regclass(wanted.name)::pg_catalog.oid \
         CROSS JOIN LATERAL (SELECT {} AS why) AS found WHERE why IS NOT NULL",
        *PROBLEM
    ))
    .bind::<Array<Text>, _>(names)
    .bind::<Array<Text>, _>(tables)
    .load(conn)?;
    Ok(rows.into_iter().map(|row| (row.schema, row.why)).collect())
}
