//! Error codes and hints.

use super::{Contention, TenantError};
use crate::model::{NameError, State};
use crate::postgres::lock_holder;
use crate::sql::quote::{Identifier, Literal};

impl TenantError {
    /// A stable identifier of the kind of error, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidName(_) => "bad-name",
            Self::NotTracked { .. } => "not-tracked",
            Self::NotFound => "not-found",
            Self::AlreadyTracked { .. } => "already-tracked",
            Self::CaseClash { .. } => "case-clash",
            Self::SchemaExists => "schema-exists",
            Self::SchemaMissing { .. } => "schema-missing",
            Self::Untracked => "untracked",
            Self::SystemSchema => "system-schema",
            Self::ContainsExtensions { .. } => "contains-extensions",
            Self::LedgerUnreadable => "unreadable",
            Self::InvalidLedger { .. } => "invalid-ledger",
            Self::InvalidRow { .. } => "invalid-row",
            Self::NameOfOwnRole => "own-role",
            Self::LedgerMissing => "ledger-missing",
            Self::LedgerExists { .. } => "ledger-exists",
            Self::Dropping => "dropping",
            Self::Busy { .. } | Self::RecordLocked { .. } => "busy",
            Self::ChangedSincePlan | Self::ChangedDuringDrop | Self::NewerMigrationApplied { .. } => {
                "changed-since-plan"
            }
            Self::DropIncomplete { error, .. } => error.code(),
            Self::LockTableFull { .. } => "lock-table-full",
            Self::ConcurrentlyChanged => "concurrently-changed",
            Self::Deferred { .. } => "deferred",
            Self::Canceled(_) => "canceled",
            Self::MigrationConflict => "migration-conflict",
            Self::NoDown { .. } => "no-down",
            Self::Unfinished { .. } => "unfinished",
            Self::UnknownMigrations { .. } => "unknown-migrations",
            Self::Drifted { .. } => "drifted",
            Self::NotCompared { .. } => "not-compared",
            Self::Migration(_) | Self::MigrationBatch { .. } => "migration-failed",
            Self::Pooler { .. } => "pooler",
            Self::EditedMigration { .. } => "edited-migration",
            Self::Dependents { .. } => "dependents",
            Self::Server(_) => "server-error",
            Self::ConnectionLost(_) => "connection-lost",
        }
    }

    /// How to fix the error. `tenant` is the name in the tracker; `command` turns a subcommand such as `create acme` into a
    /// full command line such as `tenantry create acme`.
    pub fn hint(&self, tenant: &str, command: &dyn Fn(&str) -> String) -> Option<String> {
        let run = |verb: &str, outcome: &str| Some(format!("'{}' {outcome}", command(&format!("{verb} {tenant}"))));
        match self {
            Self::InvalidName(NameError::SystemSchema { .. } | NameError::SystemPrefix { .. }) | Self::SystemSchema => Some(
                format!("if the tracker has such a row: DELETE FROM public.schema_tracker WHERE name = {}", Literal(tenant)),
            ),
            Self::InvalidName(_) => Some(format!(
                "rename the schema and its row: ALTER SCHEMA … RENAME TO …; UPDATE public.schema_tracker SET name = … \
                 WHERE name = {}",
                Literal(tenant)
            )),
            Self::NotFound => Some("check the name, or add --if-exists".to_owned()),
            Self::NotTracked { schema_exists: true } => run("adopt", "adds its schema to the tracker"),
            Self::NotTracked { schema_exists: false } | Self::SchemaMissing { state: None } => {
                run("create", "creates it")
            }
            Self::AlreadyTracked { state: State::Active } => run("migrate-one", "applies its pending migrations"),
            Self::AlreadyTracked { .. } => run("create", "completes its creation"),
            Self::CaseClash { .. } => Some("choose another name".to_owned()),
            Self::SchemaExists => Some(format!(
                "'{}' adds it to the tracker; '{}' drops it",
                command(&format!("adopt {tenant}")),
                command(&format!("drop --untracked {tenant}"))
            )),
            Self::SchemaMissing { state: Some(State::Registered | State::Creating) } => {
                run("create", "creates its schema")
            }
            Self::SchemaMissing { state: Some(_) } => Some(format!(
                "restore the schema from a backup, or remove the tenant from the tracker with '{}'",
                command(&format!("drop {tenant}"))
            )),
            Self::Untracked => run("drop --untracked", "drops it anyway"),
            Self::ContainsExtensions { new: true } => Some("choose another name".to_owned()),
            Self::ContainsExtensions { new: false } => {
                Some("move the extensions out of it: ALTER EXTENSION … SET SCHEMA …".to_owned())
            }
            Self::LedgerUnreadable => {
                Some(
                    "connect as the schema's owner, grant USAGE on the schema and SELECT on its ledger, or end the session \
                     that locks it"
                        .to_owned(),
                )
            }
            Self::InvalidLedger { .. } => Some(format!(
                "make {}.__diesel_schema_migrations a plain table with one row per migration; find out who changed it",
                Identifier::of_object(tenant)
            )),
            Self::InvalidRow { .. } => {
                Some("correct the row in public.schema_tracker, or use the release of tenantry that wrote it".to_owned())
            }
            Self::NameOfOwnRole => Some("choose another name, or connect as another role".to_owned()),
            Self::LedgerMissing => Some(format!(
                "'{}' records the migrations up to VERSION as applied",
                command(&format!("adopt {tenant} --baseline VERSION"))
            )),
            Self::LedgerExists { .. } => Some("omit --baseline".to_owned()),
            Self::Dropping => run("drop", "completes the drop"),
            Self::ChangedSincePlan | Self::ChangedDuringDrop => run("drop --dry-run", "shows its current state"),
            Self::DropIncomplete { tracked, error } => {
                let drop = if *tracked { "drop" } else { "drop --untracked" };
                let again = format!("'{}' resumes the drop", command(&format!("{drop} {tenant}")));
                Some(error.hint(tenant, command).map_or(again.clone(), |hint| format!("{hint}; {again}")))
            }
            Self::LockTableFull { .. } => Some(
                "raise max_locks_per_transaction and restart the server, or try again when fewer sessions are active"
                    .to_owned(),
            ),
            Self::Busy { holder } | Self::RecordLocked { holder } => Some(lock_holder::hint(holder.as_deref())),
            Self::Deferred { contention: Contention::Deadlock | Contention::Serialization, .. } => {
                Some("try again, or increase --retries".to_owned())
            }
            Self::Deferred { contention: Contention::LockTimeout, .. } => Some(
                "try again when the lock is released, terminate the session that holds it, or increase --retries"
                    .to_owned(),
            ),
            Self::MigrationConflict => Some("use the same release for all runs".to_owned()),
            Self::NoDown { .. } => Some("add a down.sql to the migration".to_owned()),
            Self::Unfinished { .. } => run("migrate-one", "completes it"),
            Self::UnknownMigrations { .. } => Some("use the release that contains them".to_owned()),
            Self::Drifted { .. } | Self::NotCompared { .. } => run("diff", "shows the differences"),
            Self::Canceled(_) => Some("try again".to_owned()),
            Self::NewerMigrationApplied { .. } => Some("check that this migration may be reverted, then run the command again".to_owned()),
            Self::ConcurrentlyChanged | Self::MigrationBatch { .. } => Some("try again".to_owned()),
            Self::ConnectionLost(_) => Some(
                "check the server log for a statement that terminates the session, then try again"
                    .to_owned(),
            ),
            Self::Migration(failure) => failure.hint(),
            Self::Pooler { .. } => Some("set --database-url to the server instead of the pooler".to_owned()),
            Self::EditedMigration { .. } => {
                Some("restore those statements unchanged; only later statements may be corrected".to_owned())
            }
            Self::Dependents { .. } => Some("drop those objects first, or move them into the schema".to_owned()),
            Self::Server(_) => None,
        }
    }
}
