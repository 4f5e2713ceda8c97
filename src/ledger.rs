//! Ledgers: Diesel's `__diesel_schema_migrations`, one in each tenant's schema and one in `public`.

use std::collections::BTreeSet;

use diesel::RunQueryDsl;
use diesel::dsl::sql;
use diesel::pg::{Pg, PgConnection};
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{Array, Bool, Integer, Nullable, Text};

use crate::error::Error;
use crate::migration::MigrationSet;
use crate::name::SchemaName;
use crate::postgres::CHUNK;
use crate::sql::quote::{Identifier, Literal};

/// The name of the ledger's table; it is Diesel's.
pub const TABLE: &str = "__diesel_schema_migrations";

/// What a ledger records, held against a set of migrations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// The versions applied, in order.
    pub applied: Vec<String>,
    /// The places in the set of the migrations that are not applied, in order.
    pub pending: Vec<usize>,
    /// Those of `pending` that come before a migration that is applied.
    pub out_of_order: Vec<usize>,
    /// The versions applied that the set does not have, in order.
    pub unknown: Vec<String>,
}

impl Ledger {
    /// Compares the versions of a ledger with a set.
    pub fn new(mut applied: Vec<String>, set: &MigrationSet) -> Self {
        applied.sort_unstable();
        let known: BTreeSet<usize> = applied.iter().filter_map(|version| set.position(version)).collect();
        let unknown = applied.iter().filter(|version| set.position(version).is_none()).cloned().collect();
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

/// SQL that makes a ledger, as Diesel makes it.
pub(crate) fn create(schema: &SchemaName) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {}.{TABLE} (version VARCHAR(50) PRIMARY KEY NOT NULL, \
         run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP);",
        Identifier::from(schema)
    )
}

/// SQL that records versions in a ledger.
pub(crate) fn insert<'a>(schema: &SchemaName, versions: impl IntoIterator<Item = &'a str>) -> String {
    let rows: Vec<String> = versions.into_iter().map(|version| format!("({})", Literal(version))).collect();
    format!("INSERT INTO {}.{TABLE} (version) VALUES {};", Identifier::from(schema), rows.join(", "))
}

/// SQL that takes a version out of a ledger.
pub(crate) fn delete(schema: &SchemaName, version: &str) -> String {
    format!("DELETE FROM {}.{TABLE} WHERE version = {};", Identifier::from(schema), Literal(version))
}

/// A condition in PL/pgSQL that raises `message` unless the ledger records exactly `applied` (sorted).
pub(crate) fn guard(schema: &SchemaName, applied: &[String], message: &str) -> String {
    let expected: Vec<String> = applied.iter().map(|version| Literal(version).to_string()).collect();
    let ledger = format!("{}.{TABLE}", Identifier::from(schema));
    format!(
        "IF pg_catalog.to_regclass({name}::text) IS NULL THEN RAISE EXCEPTION '{message}'; END IF; \
         IF ARRAY(SELECT version::text FROM {ledger} ORDER BY version COLLATE \"C\") \
         IS DISTINCT FROM ARRAY[{expected}]::text[] THEN RAISE EXCEPTION '{message}'; END IF;",
        name = Literal(&ledger),
        expected = expected.join(", ")
    )
}

/// The versions that one ledger records, in order.
pub(crate) fn read_one(conn: &mut PgConnection, schema: &SchemaName) -> QueryResult<Vec<String>> {
    Ok(read_chunk(conn, &[schema])?.pop().unwrap_or_default())
}

/// What the public ledger records; nothing where there is none.
pub(crate) fn read_public(conn: &mut PgConnection) -> Result<Vec<String>, Error> {
    let exists: bool = sql::<Bool>("SELECT to_regclass('public.__diesel_schema_migrations') IS NOT NULL")
        .get_result(conn)
        .map_err(Error::doing("look for the public ledger"))?;
    match exists {
        true => read_one(conn, &SchemaName::public()).map_err(Error::doing("read the public ledger")),
        false => Ok(Vec::new()),
    }
}

/// The versions that each of at most [`CHUNK`] ledgers records, in order. One statement, and one round trip.
pub(crate) fn read_chunk(conn: &mut PgConnection, schemas: &[&SchemaName]) -> QueryResult<Vec<Vec<String>>> {
    debug_assert!(schemas.len() <= CHUNK);
    if schemas.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<(i32, Option<Vec<Option<String>>>)> = EachLedger(schemas).load(conn)?;
    let mut ledgers = vec![Vec::new(); schemas.len()];
    for (index, versions) in rows {
        let mut versions: Vec<String> = versions.into_iter().flatten().flatten().collect();
        versions.sort_unstable();
        // The index is one that the statement itself counted out.
        ledgers[index as usize] = versions;
    }
    Ok(ledgers)
}

/// Many ledgers in one statement:
/// `WITH g0 AS MATERIALIZED (SELECT 0, array_agg(version) FROM … UNION ALL SELECT 1, …), g1 AS … TABLE g0 UNION ALL …`.
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
            out.push_sql(&format!("g{number} (n, versions) AS MATERIALIZED ("));
            for (index, schema) in group.iter().enumerate() {
                out.push_sql(if index == 0 { "SELECT " } else { " UNION ALL SELECT " });
                out.push_sql(&(number * GROUP + index).to_string());
                out.push_sql(", pg_catalog.array_agg(version::text) FROM ");
                out.push_identifier(schema.as_str())?;
                out.push_sql(".");
                out.push_identifier(TABLE)?;
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
    type SqlType = (Integer, Nullable<Array<Nullable<Text>>>);
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
    }
}
