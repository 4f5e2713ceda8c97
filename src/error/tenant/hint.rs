//! Error codes and hints.

use super::{Contention, TenantError};
use crate::error::accept_versions;
use crate::model::{NameError, State, create_verb};
use crate::postgres::lock_holder;
use crate::sql::quote::{Identifier, Literal};
use crate::text::shell_word;

impl TenantError {
    /// A stable identifier of the kind of error, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidName(_) => "bad-name",
            Self::NameRefused(error) => error.code(),
            Self::NotTracked { .. } => "not-tracked",
            Self::NotFound { .. } => "not-found",
            Self::AlreadyTracked { .. } => "already-tracked",
            Self::CaseClash { .. } => "case-clash",
            Self::WrongState { .. } => "wrong-state",
            Self::ForeignGrants { .. } => "foreign-grants",
            Self::InUse { .. } => "in-use",
            Self::Mentioned { .. } => "name-in-text",
            Self::SchemaExists => "schema-exists",
            Self::SchemaMissing { .. } => "schema-missing",
            Self::Untracked => "untracked",
            Self::SystemSchema => "system-schema",
            Self::ContainsExtensions { .. } => "contains-extensions",
            Self::LedgerUnreadable(error) => error.code(),
            Self::InvalidLedger { .. } => "invalid-ledger",
            Self::InvalidRow { .. } => "invalid-row",
            Self::NameOfOwnRole => "own-role",
            Self::LedgerMissing => "ledger-missing",
            Self::LedgerExists { .. } => "ledger-exists",
            Self::Dropping => "dropping",
            Self::Moving => "moving",
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
            Self::BaselineDiffers { .. } => "baseline-differs",
            Self::BaselineKept { .. } => "baseline-kept",
            Self::NotCompared { .. } => "not-compared",
            Self::Migration(failure) => failure.code(),
            Self::MigrationBatch { .. } => "migration-failed",
            Self::Pooler { .. } => "pooler",
            Self::EditedMigration { .. } => "edited-migration",
            Self::Dependents { .. } => "dependents",
            Self::NotRestored { .. } => "cannot-restore",
            Self::NoBackup { .. } => "no-backup",
            Self::Role(error) => error.code(),
            Self::Server(_) => "server-error",
            Self::ConnectionLost(_) => "connection-lost",
        }
    }

    /// How to fix the error. `tenant` is the name in the tracker; `full_command` turns a subcommand such as `create acme` into a
    /// full command line such as `tenantry create acme`.
    pub fn hint(&self, tenant: &str, full_command: &dyn Fn(&str) -> String) -> Option<String> {
        let word = shell_word(tenant);
        let command = |verb: &str| full_command(&format!("{verb} {word}"));
        let run = |verb: &str, outcome: &str| Some(format!("'{}' {outcome}", command(verb)));
        match self {
            Self::Role(error) => Some(error.hint(full_command)),
            Self::InvalidName(NameError::SystemSchema { .. } | NameError::SystemPrefix { .. }) | Self::SystemSchema => {
                let name = Literal(tenant);
                Some(format!("if the tracker has such a row: DELETE FROM public.schema_tracker WHERE name = {name}"))
            }
            Self::InvalidName(_) => Some(format!(
                "rename the schema and its row: ALTER SCHEMA … RENAME TO …; UPDATE public.schema_tracker SET name = … \
                 WHERE name = {}",
                Literal(tenant)
            )),
            Self::NotTracked { schema_exists: true, .. } => run("adopt", "adds its schema to the tracker"),
            Self::NotTracked { similar: Some(similar), .. } => {
                Some(format!("a tenant with a similar name is {similar}"))
            }
            Self::NotTracked { schema_exists: false, similar: None } | Self::SchemaMissing { state: None } => {
                run(create_verb(tenant), "creates it")
            }
            Self::AlreadyTracked { state: State::Active } => run("migrate-one", "applies its pending migrations"),
            Self::AlreadyTracked { state: State::Archived } | Self::WrongState { state: State::Archived, .. } => {
                run("unarchive", "puts it back into service")
            }
            Self::WrongState { state: State::Registered | State::Creating, .. } => {
                run(create_verb(tenant), "completes its creation")
            }
            Self::WrongState { state: State::Dropping, .. } => run("drop", "completes the drop"),
            Self::AlreadyTracked { .. } => run(create_verb(tenant), "completes its creation"),
            Self::SchemaExists => Some(format!(
                "'{}' adds it to the tracker; '{}' drops it",
                command("adopt"),
                command("drop --untracked")
            )),
            Self::SchemaMissing { state: Some(State::Registered | State::Creating) } => {
                run(create_verb(tenant), "creates its schema")
            }
            Self::SchemaMissing { state: Some(_) } => Some(format!(
                "restore the schema from a backup, or remove the tenant from the tracker with '{}'",
                command("drop")
            )),
            Self::NotFound { similar: Some(similar) } => {
                Some(format!("a tenant with a similar name is {similar}; to ignore unknown names, add --if-exists"))
            }
            Self::Untracked => run("drop --untracked", "drops it anyway"),
            Self::LedgerUnreadable(reason) => Some(reason.hint(tenant)),
            Self::InvalidLedger { .. } => Some(format!(
                "make {}.__diesel_schema_migrations a plain table with one row per migration; find out who changed it",
                Identifier::of_object(tenant)
            )),
            Self::LedgerMissing => Some(format!(
                "'{}' records the migrations up to VERSION as applied",
                full_command(&format!("adopt {word} --baseline VERSION"))
            )),
            Self::Dropping => run("drop", "completes the drop"),
            Self::Moving => Some(format!(
                "'{}' shows it; '{}' completes it, '{}' ends it",
                full_command("move status"),
                command("move resume"),
                command("move abort")
            )),
            Self::ChangedSincePlan | Self::ChangedDuringDrop => run("drop --dry-run", "shows its current state"),
            Self::DropIncomplete { tracked, error } => {
                let drop = if *tracked { "drop" } else { "drop --untracked" };
                let resume = format!("'{}' resumes the drop", command(drop));
                let cause = error.hint(tenant, full_command);
                Some(cause.map_or_else(|| resume.clone(), |hint| format!("{hint}; {resume}")))
            }
            Self::Busy { holder } | Self::RecordLocked { holder } => Some(lock_holder::hint(holder.as_deref())),
            Self::Unfinished { .. } => run("migrate-one", "completes it"),
            Self::UnknownMigrations { versions } => Some(format!(
                "use the release that contains them, or accept them with '{}'",
                full_command(&accept_versions(versions))
            )),
            Self::Drifted { .. } | Self::NotCompared { .. } => run("diff", "shows the differences"),
            Self::Migration(failure) => failure.hint(),
            Self::Server(server) => server.advice.map(str::to_owned),
            other => other.fixed_hint().map(str::to_owned),
        }
    }

    /// The hint of an error whose hint depends on nothing else.
    fn fixed_hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotFound { similar: None } => "check the name, or add --if-exists",
            Self::NameRefused(_) | Self::CaseClash { .. } | Self::ContainsExtensions { new: true } => {
                "choose another name"
            }
            Self::ContainsExtensions { new: false } => "move the extensions out of it: ALTER EXTENSION … SET SCHEMA …",
            Self::InvalidRow { .. } => {
                "correct the row in public.schema_tracker, or use the release of tenantry that wrote it"
            }
            Self::BaselineDiffers { .. } => {
                "choose the baseline that the schema matches, correct the migrations or the schema, or omit --verify"
            }
            Self::BaselineKept { .. } => "revert the migrations, or correct the ledger by hand",
            Self::ForeignGrants { .. } => {
                "as the owner of the schema, grant these privileges instead, and revoke those of the others"
            }
            Self::InUse { .. } => "end these sessions, or add --force",
            Self::Mentioned { .. } => "change these objects with a migration so that they do not name the schema",
            Self::NameOfOwnRole => "choose another name, or connect as another role",
            Self::LedgerExists { .. } => {
                "omit --baseline, or replace the baseline of an earlier adopt with --rebaseline"
            }
            Self::LockTableFull { .. } => {
                "raise max_locks_per_transaction and restart the server, or try again when fewer sessions are active"
            }
            Self::Deferred { contention: Contention::Deadlock | Contention::Serialization, .. } => {
                "try again, or increase --retries"
            }
            Self::Deferred { contention: Contention::LockTimeout, .. } => {
                "try again when the lock is released, terminate the session that holds it, or increase --retries"
            }
            Self::MigrationConflict => "use the same release for all runs",
            Self::NoDown { .. } => "add a down.sql to the migration",
            Self::NewerMigrationApplied { .. } => {
                "check that this migration may be reverted, then run the command again"
            }
            Self::Canceled(_) | Self::ConcurrentlyChanged | Self::MigrationBatch { .. } => "try again",
            Self::ConnectionLost(_) => {
                "check the server log for a statement that terminates the session, then try again"
            }
            Self::Pooler { .. } => "set --database-url to the server instead of the pooler",
            Self::EditedMigration { .. } => {
                "restore those statements unchanged; only later statements may be corrected"
            }
            Self::Dependents { .. } => "drop those objects first, or move them into the schema",
            _ => return None,
        })
    }
}
