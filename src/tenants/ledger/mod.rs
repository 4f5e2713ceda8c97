//! Migration ledgers: Diesel's `__diesel_schema_migrations` in each tenant's schema, and `public.schema_ledger` for the
//! public migrations.

pub(crate) mod access;
pub(crate) mod public;

mod definition;
mod read;

use std::collections::BTreeSet;

use crate::migration::MigrationSet;
use crate::model::SchemaName;
use crate::postgres::{GuardViolation, Refusal};
use crate::sql::quote::{Identifier, Literal, identifier_of, text_array};

pub(crate) use definition::{DefinitionCheck, cannot_lock, definition_guard, lock_statement, runs_code};
pub(crate) use read::{LedgerContents, read_chunk, read_one};

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
    /// The applied versions with those of the repeatable migrations that were applied as they are in the set, sorted.
    pub effective: Vec<String>,
    /// Whether the tenant has applied another text of a repeatable migration, so that its structure is not known.
    pub outdated: bool,
    /// The indexes in the set of the migrations that are not applied, in order.
    pub pending: Vec<usize>,
    /// The indexes in `pending` of migrations that are older than an applied one.
    pub out_of_order: Vec<usize>,
    /// The applied versions that are not in the set, sorted. Versions whose removal was accepted are left out.
    pub unknown: Vec<String>,
}

impl Ledger {
    /// Compares the versions of a ledger with a set.
    pub fn new(applied: Vec<String>, set: &MigrationSet) -> Self {
        Self::with_repeatables(applied, Vec::new(), set)
    }

    /// Compares the versions of a ledger and of applied repeatable migrations with a set. A repeatable migration whose file was
    /// deleted does not count.
    pub fn with_repeatables(mut applied: Vec<String>, repeatables: Vec<String>, set: &MigrationSet) -> Self {
        applied.sort_unstable();
        let file = |version: &str| version.split('@').next().map(str::to_owned);
        let files: BTreeSet<Option<String>> = set.all_repeatable().map(file).collect();
        let (current, former): (Vec<String>, Vec<String>) =
            repeatables.into_iter().partition(|version| set.position(version).is_some());
        let outdated = former.iter().any(|version| files.contains(&file(version)));
        let mut effective: Vec<String> = applied.iter().cloned().chain(current).collect();
        effective.sort_unstable();
        let known: BTreeSet<usize> = effective.iter().filter_map(|version| set.position(version)).collect();
        let newest = known.range(..set.versioned_len()).next_back().copied();
        let is_unknown = |version: &&String| set.position(version).is_none() && !set.is_retired(version);
        let unknown = applied.iter().filter(is_unknown).cloned().collect();
        let pending: Vec<usize> = (0..set.len()).filter(|index| !known.contains(index)).collect();
        let out_of_order = pending.iter().copied().filter(|index| newest.is_some_and(|last| *index < last)).collect();
        Self { applied, effective, outdated, pending, out_of_order, unknown }
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
