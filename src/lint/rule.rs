//! The rules: their names, what they find, and the safe alternatives.

mod described;

use std::fmt;
use std::str::FromStr;

use crate::migration::RULES_ABOUT_OUTSIDE;

/// The kind of problem of a statement.
///
/// A table is live unless the migration itself created it: a new table is not used by other sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// `CREATE INDEX` without `CONCURRENTLY`.
    IndexNotConcurrently,
    /// `DROP INDEX` without `CONCURRENTLY`.
    DropIndexNotConcurrently,
    /// `REINDEX` without `CONCURRENTLY`.
    ReindexNotConcurrently,
    /// `SET NOT NULL` that reads the table.
    SetNotNull,
    /// A new column without a value for existing rows.
    AddColumnNotNull,
    /// `PRIMARY KEY` or `UNIQUE` that builds its index.
    ConstraintBuildsIndex,
    /// `EXCLUDE`, whose index cannot be built in advance.
    ExclusionConstraint,
    /// `CHECK` without `NOT VALID`.
    CheckValidatedAtOnce,
    /// `FOREIGN KEY` without `NOT VALID`.
    ForeignKeyValidatedAtOnce,
    /// A constraint of a domain, which reads every table with the domain.
    DomainValidatedAtOnce,
    /// `VALIDATE CONSTRAINT` under the lock of its `NOT VALID`.
    ValidatedInSameTransaction,
    /// A new column with a volatile default.
    VolatileDefault,
    /// A new stored generated column.
    GeneratedColumn,
    /// A new column with numbers of a sequence.
    SerialColumn,
    /// A change of a column's type.
    ColumnType,
    /// A command that rewrites a table.
    TableRewritten,
    /// `REFRESH MATERIALIZED VIEW` without `CONCURRENTLY`.
    RefreshNotConcurrently,
    /// `ATTACH PARTITION` that reads the partition.
    AttachReadsPartition,
    /// `CREATE TABLE … PARTITION OF` a live table.
    PartitionOfLiveTable,
    /// `DETACH PARTITION` without `CONCURRENTLY`.
    DetachNotConcurrently,
    /// `LOCK TABLE`.
    LockTable,
    /// Locks on several tables in one transaction.
    LocksSeveralTables,
    /// `UPDATE` of every row.
    UpdateWithoutWhere,
    /// `DELETE` of every row.
    DeleteWithoutWhere,
    /// `DROP TABLE`.
    DropTable,
    /// `DROP COLUMN`.
    DropColumn,
    /// `DROP SCHEMA`.
    DropSchema,
    /// `TRUNCATE`.
    Truncate,
    /// `DISABLE` or `NO FORCE ROW LEVEL SECURITY`, or `DROP POLICY`.
    RowSecurityRemoved,
    /// `CREATE` or `ALTER POLICY` that may show rows of other tenants.
    RowPolicy,
    /// A foreign key to a shared table without the tenant column.
    RowReference,
    /// A unique key of a live shared table without the tenant column.
    RowUnique,
    /// Privileges of `PUBLIC`, or others than on rows.
    RowGrant,
    /// `OWNER TO`.
    RowOwner,
    /// `SECURITY DEFINER` without a search path that ends in `pg_temp`.
    RowDefinerPath,
    /// `LEAKPROOF`.
    RowLeakproof,
    /// A trigger that does not run in sessions of the application.
    RowTrigger,
    /// `CREATE RULE`.
    RowRule,
    /// `CASCADE`.
    DropCascade,
    /// A rename of a table or a view.
    RenameTable,
    /// A rename of a column.
    RenameColumn,
    /// A name in a schema other than the tenant's.
    NamesOtherSchema,
    /// An unqualified name that no earlier migration created, which may resolve to an extension schema.
    UnknownName,
    /// An object of the database or the server that belongs to no schema.
    ObjectOutsideTenant,
    /// A statement of a repeatable migration that cannot be executed again.
    NotRepeatable,
    /// A statement that the parser does not understand.
    NotUnderstood,
    /// An acceptance without a finding.
    UnusedAcceptance,
    /// An acceptance without a rule or a reason.
    MalformedAcceptance,
}

/// A text that is not the name of a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown rule: {0:?}")]
pub struct UnknownRule(String);

impl UnknownRule {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        "unknown-rule"
    }
}

impl Rule {
    /// Whether it finds effects outside the tenant's schema, which a migration may declare.
    pub(super) fn is_about_outside(self) -> bool {
        RULES_ABOUT_OUTSIDE.contains(&self.name())
    }

    /// Whether it applies only to tables that tenants share.
    pub(super) fn is_about_shared_tables(self) -> bool {
        self.name().starts_with("row-") && self != Self::RowSecurityRemoved
    }

    /// Whether a statement that it finds opens shared tables in a way that isolation does not close again.
    pub fn leaves_hole(self) -> bool {
        self.is_about_shared_tables() && !matches!(self, Self::RowUnique | Self::RowReference)
    }

    /// Every rule.
    pub const ALL: &[Self] = &[
        Self::IndexNotConcurrently,
        Self::DropIndexNotConcurrently,
        Self::ReindexNotConcurrently,
        Self::SetNotNull,
        Self::AddColumnNotNull,
        Self::ConstraintBuildsIndex,
        Self::ExclusionConstraint,
        Self::CheckValidatedAtOnce,
        Self::ForeignKeyValidatedAtOnce,
        Self::DomainValidatedAtOnce,
        Self::ValidatedInSameTransaction,
        Self::VolatileDefault,
        Self::GeneratedColumn,
        Self::SerialColumn,
        Self::ColumnType,
        Self::TableRewritten,
        Self::RefreshNotConcurrently,
        Self::AttachReadsPartition,
        Self::PartitionOfLiveTable,
        Self::DetachNotConcurrently,
        Self::LockTable,
        Self::LocksSeveralTables,
        Self::UpdateWithoutWhere,
        Self::DeleteWithoutWhere,
        Self::DropTable,
        Self::DropColumn,
        Self::DropSchema,
        Self::Truncate,
        Self::RowSecurityRemoved,
        Self::RowPolicy,
        Self::RowReference,
        Self::RowUnique,
        Self::RowGrant,
        Self::RowOwner,
        Self::RowDefinerPath,
        Self::RowLeakproof,
        Self::RowTrigger,
        Self::RowRule,
        Self::DropCascade,
        Self::RenameTable,
        Self::RenameColumn,
        Self::NamesOtherSchema,
        Self::UnknownName,
        Self::ObjectOutsideTenant,
        Self::NotRepeatable,
        Self::NotUnderstood,
        Self::UnusedAcceptance,
        Self::MalformedAcceptance,
    ];

    /// Its stable name.
    pub fn name(self) -> &'static str {
        self.described().0
    }

    /// What it finds.
    pub fn what(self) -> &'static str {
        self.described().1
    }

    /// The safe alternative.
    pub fn remedy(self) -> &'static str {
        self.described().2
    }

    /// Whether it is about acceptances, and cannot be accepted itself.
    pub fn is_about_acceptances(self) -> bool {
        matches!(self, Self::UnusedAcceptance | Self::MalformedAcceptance)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Rule {
    type Err = UnknownRule;

    fn from_str(text: &str) -> Result<Self, UnknownRule> {
        Self::ALL.iter().copied().find(|rule| rule.name() == text).ok_or_else(|| UnknownRule(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn rule_names_are_unique_and_parse_back() {
        let names: HashSet<&str> = Rule::ALL.iter().map(|rule| rule.name()).collect();
        assert_eq!(names.len(), Rule::ALL.len());
        for rule in Rule::ALL {
            assert_eq!(rule.name().parse(), Ok(*rule));
            assert!(rule.name().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{rule}");
        }
        assert!("nonsense".parse::<Rule>().is_err());
    }
}
