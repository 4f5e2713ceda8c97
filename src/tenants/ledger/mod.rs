//! Migration ledgers: Diesel's `__diesel_schema_migrations` in each tenant's schema, and `public.schema_ledger` for the
//! public migrations.

pub(crate) mod access;
pub(crate) mod public;

mod definition;

use std::collections::{BTreeMap, BTreeSet};

use diesel::RunQueryDsl;
use diesel::connection::SimpleConnection;
use diesel::pg::{Pg, PgConnection};
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text};

use crate::migration::MigrationSet;
use crate::model::SchemaName;
use crate::postgres::{CHUNK, GuardViolation, Refusal, ServerMessage};
use crate::sql::quote::{Identifier, Literal, identifier_of, text_array};

pub(crate) use definition::{DefinitionCheck, cannot_lock, definition_guard, lock_statement, runs_code};

/// The name of a tenant's ledger. It is Diesel's, so that Diesel's own tools work on a tenant.
pub const TABLE: &str = "__diesel_schema_migrations";

/// The name of the ledger in `public`. It is not Diesel's, because diesel_cli may be used on the same database, and its
/// ledger in `public` must not contain the migrations of the tracker.
pub const PUBLIC_TABLE: &str = "schema_ledger";

/// The contents of a ledger, compared with a set of migrations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// The applied versions, sorted.
    pub applied: Vec<String>,
    /// The indexes in the set of the migrations that are not applied, in order.
    pub pending: Vec<usize>,
    /// The indexes in `pending` of migrations that are older than an applied one.
    pub out_of_order: Vec<usize>,
    /// The applied versions that are not in the set, sorted. Versions whose removal was accepted are left out.
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

    /// The newest applied version.
    pub fn version(&self) -> Option<&str> {
        self.applied.last().map(String::as_str)
    }
}

/// The name of the ledger in `schema`.
fn table(schema: &SchemaName) -> &'static str {
    if schema.is_public() { PUBLIC_TABLE } else { TABLE }
}

/// The qualified and quoted name of the ledger in `schema`.
pub(crate) fn qualified(schema: &SchemaName) -> String {
    format!("{}.{}", Identifier::from(schema), table(schema))
}

/// SQL that creates the ledger of a schema, with the same columns as Diesel's.
pub(crate) fn create(schema: &SchemaName) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (version VARCHAR(50) PRIMARY KEY NOT NULL, \
         run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP);",
        qualified(schema)
    )
}

/// The columns of a ledger that a statement fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Columns {
    /// The version. The others get their defaults.
    Version,
    /// All columns of a ledger that tenantry has created, so that no default is evaluated.
    All,
}

/// SQL that records versions in a ledger.
pub(crate) fn insert<'a>(schema: &SchemaName, versions: impl IntoIterator<Item = &'a str>, columns: Columns) -> String {
    let (columns, run_on) = match columns {
        Columns::Version => ("version", ""),
        Columns::All => ("version, run_on", ", CURRENT_TIMESTAMP"),
    };
    let rows: Vec<String> = versions.into_iter().map(|version| format!("({}{run_on})", Literal(version))).collect();
    format!("INSERT INTO {} ({columns}) VALUES {};", qualified(schema), rows.join(", "))
}

/// SQL that deletes a version from a ledger.
pub(crate) fn delete(schema: &SchemaName, version: &str) -> String {
    // `varchar` has no operators in `pg_catalog`. Without the cast, an operator in the tenant's schema would be used.
    format!(
        "DELETE FROM ONLY {} WHERE version::pg_catalog.text = {}::pg_catalog.text;",
        qualified(schema),
        Literal(version)
    )
}

/// A condition in PL/pgSQL that raises the violation unless the ledger records exactly `applied` (sorted).
pub(crate) fn contents_guard(schema: &SchemaName, applied: &[String], violation: GuardViolation) -> String {
    [missing(&name_of(schema), violation), unlike(schema, applied, violation)]
        .map(|refusal| refusal.in_block())
        .join(" ")
}

/// That a ledger does not exist. `name` is an SQL expression for its qualified name.
pub(crate) fn missing(name: &str, violation: GuardViolation) -> Refusal {
    Refusal::new(violation, format!("{} IS NULL", regclass(name)))
}

/// That the ledger records other versions than `applied` (sorted). Its statement fails where there is no ledger.
pub(crate) fn unlike(schema: &SchemaName, applied: &[String], violation: GuardViolation) -> Refusal {
    let condition = format!(
        "ARRAY(SELECT version::pg_catalog.text COLLATE pg_catalog.\"C\" FROM ONLY {} ORDER BY 1) \
         IS DISTINCT FROM {}::pg_catalog.text[]",
        qualified(schema),
        text_array(applied.iter().map(String::as_str)),
    );
    Refusal::new(violation, condition)
}

/// An SQL constant with the qualified name of the ledger in `schema`.
fn name_of(schema: &SchemaName) -> String {
    format!("{}::pg_catalog.text", Literal(&qualified(schema)))
}

/// An SQL expression for the qualified name of the ledger of a tenant whose name is given as an SQL expression.
pub(crate) fn name_in(tenant: &str) -> String {
    format!("({} || '.{TABLE}')", identifier_of(tenant))
}

/// An SQL expression for a ledger's table, NULL where there is none. `name` is an SQL expression for its qualified name.
fn regclass(name: &str) -> String {
    format!("pg_catalog.to_regclass({name})")
}

/// The contents of a ledger that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LedgerContents {
    /// The versions, sorted.
    Versions(Vec<String>),
    /// The ledger cannot be used, for a reason such as "it is a view".
    Invalid(String),
}

impl LedgerContents {
    /// The versions, if the ledger is valid.
    pub(crate) fn into_versions(self) -> Option<Vec<String>> {
        match self {
            Self::Versions(versions) => Some(versions),
            Self::Invalid(_) => None,
        }
    }
}

/// The largest number of versions in a valid ledger.
const MAX_VERSIONS: i64 = 10_000;

/// The largest size of a version in bytes. Diesel's column takes 50 characters.
const MAX_VERSION_BYTES: usize = 200;

/// Reads one ledger. Must not be called in a transaction.
///
/// # Errors
/// As [`read_chunk`].
pub(crate) fn read_one(conn: &mut PgConnection, schema: &SchemaName) -> QueryResult<LedgerContents> {
    Ok(read_chunk(conn, &[schema])?.pop().unwrap_or_else(|| LedgerContents::Versions(Vec::new())))
}

/// Reads at most [`CHUNK`] ledgers in a transaction of its own, with three messages if all have a valid definition. Must not
/// be called in a transaction. Waits for a locked ledger for the time in [`READ_LIMITS`](crate::postgres::READ_LIMITS).
///
/// # Errors
/// One of the ledgers does not exist, is locked, or cannot be read by this role.
pub(crate) fn read_chunk(conn: &mut PgConnection, schemas: &[&SchemaName]) -> QueryResult<Vec<LedgerContents>> {
    debug_assert!(schemas.len() <= CHUNK);
    if schemas.is_empty() {
        return Ok(Vec::new());
    }
    let result = read_locked(conn, schemas);
    let ended = conn.batch_execute("ROLLBACK");
    let contents = result?;
    ended.map(|()| contents)
}

/// Reads ledgers in a transaction that stays open.
fn read_locked(conn: &mut PgConnection, schemas: &[&SchemaName]) -> QueryResult<Vec<LedgerContents>> {
    let mut invalid = match conn.batch_execute(&definition::begin_checked(schemas)) {
        Ok(()) => BTreeMap::new(),
        Err(error) if ServerMessage::from(&error).message == definition::INVALID => {
            conn.batch_execute("ROLLBACK")?;
            conn.batch_execute(&definition::begin(schemas))?;
            definition::problems(conn, schemas)?
        }
        Err(error) => return Err(error),
    };
    let valid: Vec<&SchemaName> =
        schemas.iter().copied().filter(|schema| !invalid.contains_key(schema.as_str())).collect();
    let mut rows: Vec<LedgerRow> = if valid.is_empty() { Vec::new() } else { SelectLedgers(&valid).load(conn)? };
    rows.sort_unstable_by_key(|(index, ..)| *index);
    let mut valid = rows.into_iter().map(|(_, total, present, versions)| contents(total, present, versions));
    let unread = || LedgerContents::Invalid("it was not read".to_owned());
    Ok(schemas
        .iter()
        .map(|schema| match invalid.remove(schema.as_str()) {
            Some(reason) => LedgerContents::Invalid(reason),
            None => valid.next().unwrap_or_else(unread),
        })
        .collect())
}

/// The index of a ledger in the statement, the number of its rows, the number of versions that are not NULL, and the versions
/// that are not too long.
type LedgerRow = (i32, i64, i64, Option<Vec<Option<String>>>);

/// The contents of a ledger with this many rows. A version that is NULL, too long or a duplicate makes it invalid.
fn contents(rows: i64, not_null: i64, versions: Option<Vec<Option<String>>>) -> LedgerContents {
    let mut versions: Vec<String> = versions.into_iter().flatten().flatten().collect();
    versions.sort_unstable();
    let duplicate = versions.windows(2).find(|pair| pair[0] == pair[1]);
    let problem = if rows > MAX_VERSIONS {
        format!("it records more than {MAX_VERSIONS} versions")
    } else if not_null < rows {
        "it records a version that is NULL".to_owned()
    } else if i64::try_from(versions.len()) != Ok(rows) {
        format!("it records a version of more than {MAX_VERSION_BYTES} bytes")
    } else if let Some(pair) = duplicate {
        format!("it records version {} twice", pair[0])
    } else {
        return LedgerContents::Versions(versions);
    };
    LedgerContents::Invalid(problem)
}

/// A query that reads many ledgers in one statement:
/// `WITH g0 AS MATERIALIZED (SELECT 0, …, array_agg(version) FROM ONLY … UNION ALL SELECT 1, …), g1 AS … TABLE g0 UNION ALL …`.
/// It locks each ledger and its index, so the number of ledgers must be limited.
struct SelectLedgers<'a>(&'a [&'a SchemaName]);

/// The number of ledgers that are planned together. Planning time of a `UNION ALL` grows faster than the number of its
/// branches, and from about 250 branches the planner considers parallel plans. A materialized CTE is planned on its own: 500
/// ledgers in groups of 100 are planned in a fifth of the time.
const GROUP: usize = 100;

impl QueryFragment<Pg> for SelectLedgers<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for (number, group) in self.0.chunks(GROUP).enumerate() {
            out.push_sql(if number == 0 { "WITH " } else { ", " });
            out.push_sql(&format!("g{number} (n, total, present, versions) AS MATERIALIZED ("));
            for (index, schema) in group.iter().enumerate() {
                out.push_sql(if index == 0 { "SELECT " } else { " UNION ALL SELECT " });
                out.push_sql(&(number * GROUP + index).to_string());
                out.push_sql(&format!(
                    ", pg_catalog.count(*), pg_catalog.count(v), \
                     pg_catalog.array_agg(v) FILTER (WHERE pg_catalog.octet_length(v) <= {MAX_VERSION_BYTES}) \
                     FROM (SELECT version::pg_catalog.text AS v FROM ONLY "
                ));
                out.push_identifier(schema.as_str())?;
                out.push_sql(".");
                out.push_identifier(table(schema))?;
                out.push_sql(&format!(" LIMIT {}) AS l", MAX_VERSIONS + 1));
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

impl QueryId for SelectLedgers<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for SelectLedgers<'_> {
    type SqlType = (Integer, BigInt, BigInt, Nullable<Array<Nullable<Text>>>);
}

impl RunQueryDsl<PgConnection> for SelectLedgers<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> MigrationSet {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/tenant");
        MigrationSet::from_dir(&root).unwrap()
    }

    #[test]
    fn a_ledger_is_compared_with_the_set() {
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
