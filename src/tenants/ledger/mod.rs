//! Migration ledgers: Diesel's `__diesel_schema_migrations` in each tenant's schema, and `public.schema_ledger` for the
//! public migrations.

pub(crate) mod public;

mod shape;

use std::collections::BTreeSet;

use diesel::RunQueryDsl;
use diesel::connection::SimpleConnection;
use diesel::pg::{Pg, PgConnection};
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text};

use crate::migration::MigrationSet;
use crate::model::SchemaName;
use crate::postgres::{CHUNK, ServerMessage};
use crate::sql::quote::{Identifier, Literal};

pub(crate) use shape::definition_guard;

/// The name of a tenant's ledger. It is Diesel's, so that Diesel's own tools work on a tenant.
pub const TABLE: &str = "__diesel_schema_migrations";

/// The name of the ledger in `public`. It is not Diesel's: a project may use diesel_cli on the same database, whose
/// ledger of `public` must not contain the migrations of the tracker.
pub const PUBLIC_TABLE: &str = "schema_ledger";

/// What a ledger records, held against a set of migrations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// The versions applied, in order.
    pub applied: Vec<String>,
    /// The places in the set of the migrations that are not applied, in order.
    pub pending: Vec<usize>,
    /// Those of `pending` that come before a migration that is applied.
    pub out_of_order: Vec<usize>,
    /// The versions applied that the set does not have, in order. Those that were accepted as removed are not among them.
    pub unknown: Vec<String>,
}

impl Ledger {
    /// Compares the versions of a ledger with a set.
    pub fn new(mut applied: Vec<String>, set: &MigrationSet) -> Self {
        applied.sort_unstable();
        let known: BTreeSet<usize> = applied.iter().filter_map(|version| set.position(version)).collect();
        let is_unknown = |version: &&String| set.position(version).is_none() && !set.is_retired(version);
        let unknown = applied.iter().filter(is_unknown).cloned().collect();
        let pending: Vec<usize> = (0..set.len()).filter(|index| !known.contains(index)).collect();
        let out_of_order =
            pending.iter().copied().filter(|index| known.last().is_some_and(|last| index < last)).collect();
        Self { applied, pending, out_of_order, unknown }
    }

    /// The newest version applied.
    pub fn version(&self) -> Option<&str> {
        self.applied.last().map(String::as_str)
    }
}

/// The name of the ledger's table in `schema`.
fn table(schema: &SchemaName) -> &'static str {
    match schema.is_public() {
        true => PUBLIC_TABLE,
        false => TABLE,
    }
}

/// The ledger's table in `schema`, qualified and quoted.
fn qualified(schema: &SchemaName) -> String {
    format!("{}.{}", Identifier::from(schema), table(schema))
}

/// SQL that creates the ledger of a schema, with the columns of Diesel's.
pub(crate) fn create(schema: &SchemaName) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (version VARCHAR(50) PRIMARY KEY NOT NULL, \
         run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP);",
        qualified(schema)
    )
}

/// SQL that records versions in a ledger.
pub(crate) fn insert<'a>(schema: &SchemaName, versions: impl IntoIterator<Item = &'a str>) -> String {
    let rows: Vec<String> = versions.into_iter().map(|version| format!("({})", Literal(version))).collect();
    format!("INSERT INTO {} (version) VALUES {};", qualified(schema), rows.join(", "))
}

/// SQL that takes a version out of a ledger.
pub(crate) fn delete(schema: &SchemaName, version: &str) -> String {
    // `varchar` has no operators of its own in `pg_catalog`: uncast, one on the schema's path would be used.
    format!(
        "DELETE FROM ONLY {} WHERE version::pg_catalog.text = {}::pg_catalog.text;",
        qualified(schema),
        Literal(version)
    )
}

/// A condition in PL/pgSQL that raises `message` unless the ledger records exactly `applied` (sorted).
pub(crate) fn contents_guard(schema: &SchemaName, applied: &[String], message: &str) -> String {
    let expected: Vec<String> = applied.iter().map(|version| Literal(version).to_string()).collect();
    let ledger = qualified(schema);
    format!(
        "IF pg_catalog.to_regclass({name}::pg_catalog.text) IS NULL THEN RAISE EXCEPTION '{message}'; END IF; \
         IF ARRAY(SELECT version::pg_catalog.text FROM ONLY {ledger} \
         ORDER BY version::pg_catalog.text COLLATE pg_catalog.\"C\") \
         IS DISTINCT FROM ARRAY[{expected}]::pg_catalog.text[] THEN RAISE EXCEPTION '{message}'; END IF;",
        name = Literal(&ledger),
        expected = expected.join(", ")
    )
}

/// The versions that a ledger records, in order; or why it cannot be used, as in "it is a view".
pub(crate) type Reading = Result<Vec<String>, String>;

/// The most versions that a ledger may record.
const MOST_VERSIONS: i64 = 10_000;

/// The most bytes that a version may have: Diesel's column takes 50 characters.
const LONGEST_VERSION: usize = 200;

/// Reads one ledger. Not in a transaction.
pub(crate) fn read_one(conn: &mut PgConnection, schema: &SchemaName) -> QueryResult<Reading> {
    Ok(read_chunk(conn, &[schema])?.pop().unwrap_or_else(|| Ok(Vec::new())))
}

/// Reads at most [`CHUNK`] ledgers, in a read of their own: three messages where all have the definition of a ledger. Not in
/// a transaction. A ledger that another session has locked is waited for, but not long.
///
/// # Errors
/// When one of them does not exist, is locked, or may not be read.
pub(crate) fn read_chunk(conn: &mut PgConnection, schemas: &[&SchemaName]) -> QueryResult<Vec<Reading>> {
    debug_assert!(schemas.len() <= CHUNK);
    if schemas.is_empty() {
        return Ok(Vec::new());
    }
    let result = read_locked(conn, schemas);
    let ended = conn.batch_execute("ROLLBACK");
    let readings = result?;
    ended.map(|()| readings)
}

/// Reads ledgers in a transaction that it leaves open.
fn read_locked(conn: &mut PgConnection, schemas: &[&SchemaName]) -> QueryResult<Vec<Reading>> {
    let invalid = match conn.batch_execute(&shape::open_checked(schemas)) {
        Ok(()) => Vec::new(),
        Err(error) if ServerMessage::from(&error).message == shape::INVALID => {
            conn.batch_execute("ROLLBACK")?;
            conn.batch_execute(&shape::open(schemas))?;
            shape::reasons(conn, schemas)?
        }
        Err(error) => return Err(error),
    };
    let mut readings: Vec<Reading> = vec![Ok(Vec::new()); schemas.len()];
    for (index, why) in invalid {
        readings[index] = Err(why);
    }
    let valid: Vec<usize> = (0..schemas.len()).filter(|index| readings[*index].is_ok()).collect();
    if valid.is_empty() {
        return Ok(readings);
    }
    let names: Vec<&SchemaName> = valid.iter().map(|index| schemas[*index]).collect();
    let rows: Vec<Versions> = EachLedger(&names).load(conn)?;
    for (index, total, present, versions) in rows {
        // The index is one that the statement itself counted out.
        readings[valid[index as usize]] = check(total, present, versions);
    }
    Ok(readings)
}

/// The place of a ledger in the statement, how many rows it has, how many of them are not NULL, and the versions that are not
/// too long.
type Versions = (i32, i64, i64, Option<Vec<Option<String>>>);

/// The versions of a ledger, unless some would have to be left out or counted twice.
fn check(rows: i64, not_null: i64, versions: Option<Vec<Option<String>>>) -> Reading {
    let mut versions: Vec<String> = versions.into_iter().flatten().flatten().collect();
    if rows > MOST_VERSIONS {
        return Err(format!("it records more than {MOST_VERSIONS} versions"));
    }
    if not_null < rows {
        return Err("it records a version that is NULL".to_owned());
    }
    if i64::try_from(versions.len()) != Ok(rows) {
        return Err(format!("it records a version of more than {LONGEST_VERSION} bytes"));
    }
    versions.sort_unstable();
    match versions.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("it records version {} twice", pair[0])),
        None => Ok(versions),
    }
}

/// Many ledgers in one statement:
/// `WITH g0 AS MATERIALIZED (SELECT 0, …, array_agg(version) FROM ONLY … UNION ALL SELECT 1, …), g1 AS … TABLE g0 UNION ALL …`.
/// It takes a lock for each ledger and its index, so that it must not grow with the fleet.
struct EachLedger<'a>(&'a [&'a SchemaName]);

/// How many ledgers are planned together. The time for planning a `UNION ALL` grows faster than its branches, and from
/// about 250 on the planner takes it for parallel work; what is materialized is planned by itself. Of 500 ledgers, 100 at
/// a time are planned in a fifth of the time.
const GROUP: usize = 100;

impl QueryFragment<Pg> for EachLedger<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for (number, group) in self.0.chunks(GROUP).enumerate() {
            out.push_sql(if number == 0 { "WITH " } else { ", " });
            out.push_sql(&format!("g{number} (n, total, present, versions) AS MATERIALIZED ("));
            for (index, schema) in group.iter().enumerate() {
                out.push_sql(if index == 0 { "SELECT " } else { " UNION ALL SELECT " });
                out.push_sql(&(number * GROUP + index).to_string());
                out.push_sql(&format!(
                    ", pg_catalog.count(*), pg_catalog.count(v), \
                     pg_catalog.array_agg(v) FILTER (WHERE pg_catalog.octet_length(v) <= {LONGEST_VERSION}) \
                     FROM (SELECT version::pg_catalog.text AS v FROM ONLY "
                ));
                out.push_identifier(schema.as_str())?;
                out.push_sql(".");
                out.push_identifier(table(schema))?;
                out.push_sql(&format!(" LIMIT {}) AS l", MOST_VERSIONS + 1));
            }
            out.push_sql(")");
        }
        for number in 0..self.0.chunks(GROUP).len() {
            out.push_sql(if number == 0 { " " } else { " UNION ALL " });
            out.push_sql(&format!("TABLE g{number}"));
        }
        Ok(())
    }
}

impl QueryId for EachLedger<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for EachLedger<'_> {
    type SqlType = (Integer, BigInt, BigInt, Nullable<Array<Nullable<Text>>>);
}

impl RunQueryDsl<PgConnection> for EachLedger<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> MigrationSet {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/tenant");
        MigrationSet::from_dir(&root).unwrap()
    }

    #[test]
    fn a_ledger_is_held_against_the_set() {
        let set = set();
        let version = |index: usize| set.at(index).version().as_str().to_owned();
        let fresh = Ledger::new(Vec::new(), &set);
        assert_eq!((fresh.pending.len(), fresh.out_of_order.len(), fresh.version()), (5, 0, None));

        let behind = Ledger::new(vec![version(1), version(0)], &set);
        assert_eq!((behind.pending.as_slice(), behind.out_of_order.len()), ([2, 3, 4].as_slice(), 0));
        assert_eq!(behind.version(), Some(version(1).as_str()));

        let gap = Ledger::new(vec![version(0), version(3), "19990101".to_owned(), "99990101".to_owned()], &set);
        assert_eq!(gap.pending, [1, 2, 4]);
        assert_eq!(gap.out_of_order, [1, 2]);
        assert_eq!(gap.unknown, ["19990101", "99990101"]);
        let retired = set.with_retired(BTreeSet::from(["19990101".to_owned()]));
        assert_eq!(Ledger::new(gap.applied, &retired).unknown, ["99990101"]);
    }
}
