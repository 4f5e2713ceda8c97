//! What a failure is called by programs, and what to do about it.

use super::{Contention, TenantError};
use crate::name::NameError;
use crate::sql::quote::Literal;
use crate::tracker::State;

impl TenantError {
    /// A stable name of the kind, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadName(_) => "bad-name",
            Self::NotTracked { .. } => "not-tracked",
            Self::Nothing => "nothing",
            Self::AlreadyTracked { .. } => "already-tracked",
            Self::CaseClash { .. } => "case-clash",
            Self::SchemaExists => "schema-exists",
            Self::SchemaMissing { .. } => "schema-missing",
            Self::Untracked => "untracked",
            Self::NotATenant => "not-a-tenant",
            Self::HoldsExtensions { .. } => "holds-extensions",
            Self::Unreadable => "unreadable",
            Self::LedgerMissing => "ledger-missing",
            Self::LedgerExists { .. } => "ledger-exists",
            Self::Dropping => "dropping",
            Self::Busy => "busy",
            Self::ChangedSincePlan | Self::ChangedMeanwhile | Self::Ahead { .. } => "changed-since-plan",
            Self::DroppedInPart { error, .. } => error.code(),
            Self::LockTableFull { .. } => "lock-table-full",
            Self::Unsettled => "unsettled",
            Self::Deferred { .. } => "deferred",
            Self::Canceled(_) => "canceled",
            Self::NotRecorded => "not-recorded",
            Self::NoDown { .. } => "no-down",
            Self::Unfinished { .. } => "unfinished",
            Self::UnknownMigrations { .. } => "unknown-migrations",
            Self::Drifted { .. } => "drifted",
            Self::NotCompared { .. } => "not-compared",
            Self::Migration(_) | Self::MigrationsOnce { .. } => "migration-failed",
            Self::Pooler { .. } => "pooler",
            Self::EditedMigration { .. } => "edited-migration",
            Self::Dependents { .. } => "dependents",
            Self::Server(_) => "server-error",
            Self::ConnectionLost(_) => "connection-lost",
        }
    }

    /// What to do about it. `tenant` is the name that the tracker has; `command` completes a command of the command line:
    /// `create acme` becomes `tenantry create acme`.
    pub fn hint(&self, tenant: &str, command: &dyn Fn(&str) -> String) -> Option<String> {
        let run = |verb: &str, outcome: &str| Some(format!("'{}' {outcome}", command(&format!("{verb} {tenant}"))));
        match self {
            Self::BadName(NameError::SystemSchema { .. } | NameError::SystemPrefix { .. }) | Self::NotATenant => Some(
                format!("if the tracker has it: DELETE FROM public.schema_tracker WHERE name = {}", Literal(tenant)),
            ),
            Self::BadName(_) => Some(format!(
                "rename the schema and its row: ALTER SCHEMA … RENAME TO …; UPDATE public.schema_tracker SET name = … \
                 WHERE name = {}",
                Literal(tenant)
            )),
            Self::Nothing => Some("check the name, or give --if-exists".to_owned()),
            Self::NotTracked { schema_exists: true } => run("adopt", "takes its schema into the tracker"),
            Self::NotTracked { schema_exists: false } | Self::SchemaMissing { state: None } => {
                run("create", "creates it")
            }
            Self::AlreadyTracked { state: State::Active } => run("migrate-one", "brings it up to date"),
            Self::AlreadyTracked { .. } => run("create", "completes it"),
            Self::CaseClash { .. } => Some("choose another name".to_owned()),
            Self::SchemaExists => Some(format!(
                "'{}' takes it into the tracker; '{}' removes it",
                command(&format!("adopt {tenant}")),
                command(&format!("drop --untracked {tenant}"))
            )),
            Self::SchemaMissing { state: Some(State::Registered | State::Creating) } => {
                run("create", "creates its schema")
            }
            Self::SchemaMissing { state: Some(_) } => Some(format!(
                "restore the schema from a backup, or take the tenant out of the tracker with '{}'",
                command(&format!("drop {tenant}"))
            )),
            Self::Untracked => run("drop --untracked", "removes it all the same"),
            Self::HoldsExtensions { new: true } => Some("choose another name".to_owned()),
            Self::HoldsExtensions { new: false } => {
                Some("move the extensions out of it: ALTER EXTENSION … SET SCHEMA …".to_owned())
            }
            Self::Unreadable => {
                Some(
                    "connect as the schema's owner, grant USAGE on the schema and SELECT on its ledger, or end the session \
                     that has it locked"
                        .to_owned(),
                )
            }
            Self::LedgerMissing => Some(format!(
                "'{}' records the migrations up to that one as applied",
                command(&format!("adopt {tenant} --baseline VERSION"))
            )),
            Self::LedgerExists { .. } => Some("leave out --baseline".to_owned()),
            Self::Dropping => run("drop", "completes it"),
            Self::ChangedSincePlan | Self::ChangedMeanwhile => run("drop --dry-run", "shows what it is now"),
            Self::DroppedInPart { tracked, error } => {
                let drop = if *tracked { "drop" } else { "drop --untracked" };
                let again = format!("'{}' goes on", command(&format!("{drop} {tenant}")));
                Some(error.hint(tenant, command).map_or(again.clone(), |hint| format!("{hint}; {again}")))
            }
            Self::LockTableFull { .. } => Some(
                "raise max_locks_per_transaction and restart the server, or try again when fewer sessions are at work"
                    .to_owned(),
            ),
            Self::Busy => Some("try again when the other run has ended".to_owned()),
            Self::Deferred { contention: Contention::Deadlock | Contention::Serialization, .. } => {
                Some("try again, or give more --retries".to_owned())
            }
            Self::Deferred { contention: Contention::LockTimeout, .. } => Some(
                "try again when the lock is free, end the session that holds it, or give more --retries"
                    .to_owned(),
            ),
            Self::NotRecorded => Some("have all runs use the same release".to_owned()),
            Self::NoDown { .. } => Some("give the migration a down.sql".to_owned()),
            Self::Unfinished { .. } => run("migrate-one", "finishes it"),
            Self::UnknownMigrations { .. } => Some("use the release that has them".to_owned()),
            Self::Drifted { .. } | Self::NotCompared { .. } => run("diff", "tells more"),
            Self::Canceled(_) => Some("try again".to_owned()),
            Self::Ahead { .. } => Some("look whether that one is to go, too, and try again".to_owned()),
            Self::Unsettled | Self::MigrationsOnce { .. } => Some("try again".to_owned()),
            Self::ConnectionLost(_) => Some(
                "a migration of it may be what ends the session: the server's log tells; else try again"
                    .to_owned(),
            ),
            Self::Migration(failure) => failure.hint(),
            Self::Pooler { .. } => Some("give --database-url of the server itself".to_owned()),
            Self::EditedMigration { .. } => {
                Some("put those statements back, unchanged; only what comes after them may be mended".to_owned())
            }
            Self::Dependents { .. } => Some("drop those first, or move them into the schema".to_owned()),
            Self::Server(_) => None,
        }
    }
}
