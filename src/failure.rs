//! What goes wrong with one tenant, while the others go on.

use std::fmt;

use crate::migration::Version;
use crate::name::{NameError, TenantName};
use crate::postgres::ServerMessage;
use crate::sql::quote::Literal;
use crate::tracker::State;

/// Why nothing was done, or not all, for one tenant.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TenantError {
    /// The tracker has a name that is no tenant's.
    #[error("the tracker has it under a name that cannot be a tenant's: {0}")]
    BadName(NameError),
    /// The tracker does not have it.
    #[error("it is not tracked")]
    NotTracked {
        /// Whether there is a schema of its name.
        schema_exists: bool,
    },
    /// There is neither a tenant nor a schema of the name.
    #[error("there is neither a tenant nor a schema of that name")]
    Nothing,
    /// The tracker has it already.
    #[error("it is tracked already, with the state {state}")]
    AlreadyTracked {
        /// Its state.
        state: State,
    },
    /// The tracker has a tenant whose name is the same but for case.
    #[error("its name differs only by case from that of tenant {tracked:?}")]
    CaseClash {
        /// The tenant that the tracker has, or the name that came earlier.
        tracked: String,
    },
    /// A schema of its name exists, and the tracker does not have it.
    #[error("a schema of its name exists and is not tracked")]
    SchemaExists,
    /// There is no schema of its name.
    #[error("its schema does not exist")]
    SchemaMissing {
        /// Its state, where it is tracked.
        state: Option<State>,
    },
    /// The tracker does not have it, and only what is tracked may go.
    #[error("a schema of its name exists, but it is not tracked")]
    Untracked,
    /// It is a schema of the database's own.
    #[error("it is a schema of the database's own, and no tenant")]
    NotATenant,
    /// A schema of its name holds an extension.
    #[error("the schema of its name holds extensions")]
    HoldsExtensions {
        /// Whether it is to be a new tenant, which may have another name.
        new: bool,
    },
    /// Its schema cannot be read by this role.
    #[error("its ledger cannot be read: this role may not, or it is none of Diesel's")]
    Unreadable,
    /// Its schema has objects and no ledger.
    #[error("its schema has objects in it but no ledger, so that nothing tells which migrations they come from")]
    LedgerMissing,
    /// It has a ledger that records migrations, so that a baseline would contradict it.
    #[error("its ledger records {applied} migrations already")]
    LedgerExists {
        /// How many.
        applied: usize,
    },
    /// It is being dropped.
    #[error("it is being dropped")]
    Dropping,
    /// Another run has been working on it for longer than this one waits.
    #[error("another run is working on it")]
    Busy,
    /// It is not what was shown before the confirmation: another schema of its name, or others depend on it now.
    #[error("it was changed after it was shown, and nothing of it was dropped")]
    ChangedSincePlan,
    /// It was changed by others again and again while this run looked at it.
    #[error("it kept changing while this run looked at it")]
    Unsettled,
    /// A migration failed.
    #[error(transparent)]
    Migration(Box<MigrationFailure>),
    /// One of several migrations in a transaction failed: at the commit, or not again as the statement was looked for.
    #[error("one of the migrations {} failed, and not at a statement alone: {server}", .folders.join(", "))]
    MigrationsOnce {
        /// Their folders.
        folders: Vec<String>,
        /// What the server said.
        server: ServerMessage,
    },
    /// A migration that is not transactional needs a session of its own, and the server is behind a transaction pooler.
    #[error("migration {folder} is not transactional, and the connection leads through a transaction pooler")]
    Pooler {
        /// The migration's folder.
        folder: String,
    },
    /// A migration that is not transactional was begun, and is another one now.
    #[error("migration {folder} was changed after the first {statements} of its statements took effect")]
    EditedMigration {
        /// The migration's folder.
        folder: String,
        /// How many statements.
        statements: usize,
    },
    /// Objects outside its schema depend on it, and would be dropped with it.
    #[error("objects outside its schema depend on it: {}", .objects.join(", "))]
    Dependents {
        /// What they are, as PostgreSQL describes them.
        objects: Vec<String>,
    },
    /// The server refused a statement of tenantry's own; nothing was changed.
    #[error("{0}")]
    Server(ServerMessage),
    /// The connection was lost, and the tenant could not be looked at again.
    #[error("the connection was lost: {0}; it is as before, or its transaction was committed")]
    ConnectionLost(ServerMessage),
}

/// How a migration failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("migration {folder}/{file}{} failed: {server}", At(.at.as_ref()))]
pub struct MigrationFailure {
    /// Its version.
    pub version: Version,
    /// Its folder.
    pub folder: String,
    /// The file that was run: `up.sql` or `down.sql`.
    pub file: &'static str,
    /// The statement that failed. None when it did not fail again as it was looked for, or failed at the commit.
    pub at: Option<FailedStatement>,
    /// What the server said.
    pub server: ServerMessage,
    /// What is left of it.
    pub effect: Effect,
    /// How many migrations were applied before it in the same run, and stay.
    pub applied_before: usize,
}

/// A statement of a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedStatement {
    /// The line in the file, counted from 1: where the server points to, or else where the statement begins.
    pub line: usize,
    /// The statement.
    pub sql: String,
}

/// What a failed migration leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it was rolled back, and the tenant is as before.
    RolledBack,
    /// It is not transactional, and its first statements are in effect. The tracker remembers how many.
    InEffect {
        /// How many.
        statements: usize,
        /// Of how many.
        of: usize,
    },
}

impl TenantError {
    /// Whether the same command may well succeed when it is run again.
    pub fn is_worth_another_try(&self) -> bool {
        matches!(
            self,
            Self::Migration(_)
                | Self::MigrationsOnce { .. }
                | Self::Server(_)
                | Self::Busy
                | Self::Unsettled
                | Self::ConnectionLost(_)
        )
    }

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
            Self::ChangedSincePlan => "changed-since-plan",
            Self::Unsettled => "unsettled",
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
                Some("connect as the schema's owner, or grant USAGE on the schema and SELECT on its ledger".to_owned())
            }
            Self::LedgerMissing => Some(format!(
                "'{}' records the migrations up to that one as applied",
                command(&format!("adopt {tenant} --baseline VERSION"))
            )),
            Self::LedgerExists { .. } => Some("leave out --baseline".to_owned()),
            Self::Dropping => run("drop", "completes it"),
            Self::ChangedSincePlan => run("drop --dry-run", "shows what it is now"),
            Self::Busy => Some("run the command again when the other run has ended".to_owned()),
            Self::Unsettled | Self::MigrationsOnce { .. } | Self::ConnectionLost(_) => {
                Some("run the command again".to_owned())
            }
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

impl MigrationFailure {
    /// What is left of the migration, and what to do about it.
    pub fn hint(&self) -> Option<String> {
        match self.effect {
            Effect::RolledBack => None,
            Effect::InEffect { statements, of } => Some(format!(
                "the migration is not transactional: {statements} of its {of} statements are in effect, and the next run \
                 goes on after them"
            )),
        }
    }
}

/// A tenant and what went wrong with it.
#[derive(Debug)]
pub struct Failed {
    /// The name that the tracker has, or that was asked for.
    pub tenant: String,
    /// What went wrong.
    pub error: TenantError,
}

impl Failed {
    pub(crate) fn new(tenant: &TenantName, error: TenantError) -> Self {
        Self { tenant: tenant.as_str().to_owned(), error }
    }
}

struct At<'a>(Option<&'a FailedStatement>);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(at) => write!(f, ":{}", at.line),
            None => Ok(()),
        }
    }
}
