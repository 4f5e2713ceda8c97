//! The texts of the rules.

use super::Rule;

impl Rule {
    /// Its name, what it finds, and what to write instead.
    pub(super) fn described(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::IndexNotConcurrently => (
                "index-not-concurrently",
                "an index is built on a live table without CONCURRENTLY",
                "write CREATE INDEX CONCURRENTLY in a migration of its own with run_in_transaction = false; on a \
                 partitioned table, CREATE INDEX ON ONLY it, build each partition's CONCURRENTLY, and ALTER INDEX … \
                 ATTACH PARTITION",
            ),
            Self::DropIndexNotConcurrently => (
                "drop-index-not-concurrently",
                "an index of a live table is dropped without CONCURRENTLY",
                "write DROP INDEX CONCURRENTLY in a migration of its own with run_in_transaction = false",
            ),
            Self::ReindexNotConcurrently => (
                "reindex-not-concurrently",
                "an index of a live table is rebuilt without CONCURRENTLY",
                "write REINDEX (CONCURRENTLY) in a migration of its own with run_in_transaction = false",
            ),
            Self::SetNotNull => (
                "set-not-null",
                "a column is made NOT NULL, and no validated CHECK constraint proves it",
                "first ADD CONSTRAINT … CHECK (column IS NOT NULL) NOT VALID, then VALIDATE CONSTRAINT in a migration \
                 with run_in_transaction = false, then SET NOT NULL, which skips the scan, and DROP CONSTRAINT",
            ),
            Self::AddColumnNotNull => (
                "add-column-not-null",
                "a NOT NULL column without a default is added to a live table",
                "give it a constant DEFAULT, or add it nullable, fill it, and make it NOT NULL as described for set-not-null",
            ),
            Self::ConstraintBuildsIndex => (
                "constraint-builds-index",
                "a PRIMARY KEY or UNIQUE constraint on a live table builds its index",
                "CREATE UNIQUE INDEX CONCURRENTLY in a migration with run_in_transaction = false, then ADD CONSTRAINT \
                 … USING INDEX; the columns of a PRIMARY KEY must be NOT NULL first",
            ),
            Self::ExclusionConstraint => (
                "exclusion-constraint",
                "an EXCLUDE constraint is added to a live table",
                "PostgreSQL has no way to build its index beforehand: add it where the tables are small, or to a new \
                 table into which the rows are moved",
            ),
            Self::CheckValidatedAtOnce => (
                "check-validated-at-once",
                "a CHECK constraint is added to a live table without NOT VALID",
                "ADD CONSTRAINT … NOT VALID, then VALIDATE CONSTRAINT in a migration with run_in_transaction = false; \
                 a new column is added first, and its CHECK after it",
            ),
            Self::ForeignKeyValidatedAtOnce => (
                "foreign-key-validated-at-once",
                "a FOREIGN KEY is added to a live table without NOT VALID",
                "ADD CONSTRAINT … NOT VALID, then VALIDATE CONSTRAINT in a migration with run_in_transaction = false",
            ),
            Self::DomainValidatedAtOnce => (
                "domain-validated-at-once",
                "a domain's constraint is checked in every table that has the domain",
                "ALTER DOMAIN … ADD CONSTRAINT … CHECK (…) NOT VALID, then VALIDATE CONSTRAINT in a migration with \
                 run_in_transaction = false",
            ),
            Self::ValidatedInSameTransaction => (
                "validated-in-same-transaction",
                "a constraint is validated in the transaction that added it NOT VALID",
                "put VALIDATE CONSTRAINT into a later migration with run_in_transaction = false",
            ),
            Self::VolatileDefault => (
                "volatile-default",
                "a column with a volatile default is added to a live table",
                "add the column without a default, ALTER COLUMN … SET DEFAULT for new rows, and fill existing rows in \
                 batches",
            ),
            Self::GeneratedColumn => (
                "generated-column",
                "a GENERATED … STORED column is added to a live table",
                "add a plain column that a trigger maintains and fill it in batches, or compute the value in a view",
            ),
            Self::SerialColumn => (
                "serial-column",
                "a serial or identity column is added to a live table",
                "add a plain column, fill it in batches, and then set the sequence as its default",
            ),
            Self::ColumnType => (
                "column-type",
                "a change of a column's type rewrites or reads a live table",
                "add a column of the new type that a trigger maintains, fill it in batches, and switch the \
                 application to it",
            ),
            Self::TableRewritten => (
                "table-rewritten",
                "a command rewrites a live table",
                "run it in a maintenance window, in a migration of its own with run_in_transaction = false, or use \
                 an online tool such as pg_repack",
            ),
            Self::RefreshNotConcurrently => (
                "refresh-not-concurrently",
                "a materialized view is refreshed without CONCURRENTLY",
                "give it a unique index and write REFRESH MATERIALIZED VIEW CONCURRENTLY, better not in a migration",
            ),
            Self::AttachReadsPartition => (
                "attach-reads-partition",
                "a live table is attached as a partition, and no validated CHECK constraint proves that its rows fit",
                "ADD CONSTRAINT … CHECK (the partition's bounds) NOT VALID and VALIDATE it in a migration with \
                 run_in_transaction = false, then ATTACH PARTITION, and drop the CHECK",
            ),
            Self::PartitionOfLiveTable => (
                "partition-of-live-table",
                "a partition is created in a live partitioned table",
                "CREATE TABLE … (LIKE the parent INCLUDING ALL), then ATTACH PARTITION",
            ),
            Self::DetachNotConcurrently => (
                "detach-not-concurrently",
                "a partition is detached without CONCURRENTLY",
                "write DETACH PARTITION … CONCURRENTLY in a migration of its own with run_in_transaction = false",
            ),
            Self::LockTable => (
                "lock-table",
                "a live table is locked by LOCK TABLE",
                "leave it out: each statement takes the lock that it needs",
            ),
            Self::LocksSeveralTables => (
                "locks-several-tables",
                "several live tables are locked against readers in one transaction",
                "give each table a migration of its own; with run_in_transaction = false they are never one \
                 transaction, not even for a tenant for which both are pending",
            ),
            Self::UpdateWithoutWhere => (
                "update-without-where",
                "every row of a live table is updated",
                "update in batches by WHERE, outside of migrations or in one with run_in_transaction = false",
            ),
            Self::DeleteWithoutWhere => (
                "delete-without-where",
                "every row of a live table is deleted",
                "delete in batches by WHERE, outside of migrations or in one with run_in_transaction = false",
            ),
            Self::DropTable => (
                "drop-table",
                "a live table is dropped",
                "first release an application that no longer uses it, then accept this finding",
            ),
            Self::DropColumn => (
                "drop-column",
                "a live table's column is dropped",
                "first release an application that no longer uses it, then accept this finding",
            ),
            Self::DropSchema => (
                "drop-schema",
                "a schema is dropped",
                "use the command drop, which drops a tenant's schema and its tracker row together",
            ),
            Self::Truncate => (
                "truncate",
                "a live table is emptied",
                "first release an application that no longer needs the rows, then accept this finding",
            ),
            Self::RowSecurityRemoved => (
                "row-security-removed",
                "row-level security or a policy of a live table is removed",
                "leave the policies of tables that tenants share to the command isolate; to change others, create the new \
                 policy first, then accept this finding",
            ),
            Self::RowPolicy => (
                "row-policy",
                "in shared tables, a policy is added that is not RESTRICTIVE, or a policy is changed",
                "leave permissive policies to the command isolate, and write AS RESTRICTIVE for others",
            ),
            Self::RowReference => (
                "row-reference",
                "a foreign key to a shared table of an earlier migration has no tenant column",
                "FOREIGN KEY (tenant_id, column) REFERENCES table (tenant_id, id)",
            ),
            Self::RowUnique => (
                "row-unique",
                "a unique key of a shared table of an earlier migration has no tenant column",
                "begin the key with the tenant column",
            ),
            Self::RowGrant => (
                "row-grant",
                "in shared tables, PUBLIC gets privileges, or a role gets others than on rows, such as TRUNCATE",
                "leave privileges on tables to the command isolate; grant SELECT on a view, or EXECUTE on a function, to a role",
            ),
            Self::RowOwner => (
                "row-owner",
                "in shared tables, an object gets another owner",
                "leave out the statement: migrations run as the owner of the tables, to whom the policies apply",
            ),
            Self::RowDefinerPath => (
                "row-definer-path",
                "in shared tables, a SECURITY DEFINER function has no search path that ends in pg_temp",
                "add SET search_path TO pg_catalog, pg_temp, and qualify names; or use a body that is parsed at creation: RETURN or BEGIN ATOMIC",
            ),
            Self::RowLeakproof => ("row-leakproof", "in shared tables, a function is LEAKPROOF", "leave out LEAKPROOF"),
            Self::RowTrigger => (
                "row-trigger",
                "in shared tables, a trigger is disabled or made to run only in replicas",
                "leave it enabled",
            ),
            Self::RowRule => ("row-rule", "in shared tables, a rule is created", "use a trigger"),
            Self::DropCascade => (
                "drop-cascade",
                "CASCADE drops or empties objects that are not named",
                "name every object, dependent objects first, without CASCADE",
            ),
            Self::RenameTable => (
                "rename-table",
                "a live table or view is renamed",
                "create a view with the new name, switch the application to it, and rename when nothing uses the \
                 old name",
            ),
            Self::RenameColumn => (
                "rename-column",
                "a live table's column is renamed",
                "add a column with the new name that a trigger maintains, switch the application to it, and drop the \
                 old one",
            ),
            Self::NamesOtherSchema => (
                "names-other-schema",
                "a name refers to a schema other than the tenant's",
                "omit the schema, because the search path contains the tenant's; create shared objects in a public \
                 migration, and extensions in a schema of --extension-schema",
            ),
            Self::UnknownName => (
                "unknown-name",
                "an unqualified name that no earlier migration created may resolve to a schema of --extension-schema",
                "correct the name, or create the object first; change an object that tenants share once, in a public \
                 migration, or accept this finding, which also allows the migration to change objects outside the \
                 tenant's schema",
            ),
            Self::ObjectOutsideTenant => (
                "object-outside-tenant",
                "an object of the database or the server, which is in no schema, is created or changed",
                "do it once, in a public migration or as an administrator, and not for each tenant",
            ),
            Self::NotRepeatable => (
                "not-repeatable",
                "a statement of a repeatable migration may fail or have another effect when it is executed again",
                "write CREATE OR REPLACE, IF NOT EXISTS, ON CONFLICT, or DROP … IF EXISTS before the CREATE; do other \
                 changes in a versioned migration",
            ),
            Self::NotUnderstood => (
                "not-understood",
                "the parser does not understand a statement, which is therefore not checked",
                "test that PostgreSQL accepts it, review it, and accept this finding",
            ),
            Self::UnusedAcceptance => {
                ("unused-acceptance", "an acceptance accepts nothing", "remove it, or put it before its statement")
            }
            Self::MalformedAcceptance => (
                "malformed-acceptance",
                "an acceptance names no rule, or has no reason",
                "write -- tenantry: accept RULE: reason",
            ),
        }
    }
}
