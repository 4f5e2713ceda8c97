//! Errors of a single tenant, which do not end a run over others.

mod display;
mod hint;
mod migration;

use std::fmt;

use self::display::{BlockedBy, DifferenceCount, ListedSessions, first_of};
use crate::error::{BlockingSession, RoleError, UnreadableLedger};
use crate::model::{NameError, State, TenantName};
use crate::postgres::lock_holder::HeldBy;
use crate::postgres::{LockHolder, ServerMessage};

pub use migration::{Effect, FailedStatement, MigrationFailure, MissingExtension};

/// Why an operation on one tenant failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TenantError {
    /// The tracker has a name that is not valid for a tenant.
    #[error("invalid tenant name in public.schema_tracker: {0}")]
    InvalidName(NameError),
    /// No tenant may be created with the name.
    #[error("{0}")]
    NameRefused(NameError),
    /// The tracker has no such tenant.
    #[error("not tracked in public.schema_tracker")]
    NotTracked {
        /// Whether a schema with its name exists.
        schema_exists: bool,
        /// A tenant with a similar name.
        similar: Option<String>,
    },
    /// Neither a tenant nor a schema has the name.
    #[error("no tenant or schema has this name")]
    NotFound {
        /// A tenant with a similar name.
        similar: Option<String>,
    },
    /// The tenant already exists.
    #[error("tenant already exists (state: {state})")]
    AlreadyTracked {
        /// Its state.
        state: State,
    },
    /// The tenant does not have the state that the operation requires.
    #[error("the tenant is {state}, not {expected}")]
    WrongState {
        /// Its state.
        state: State,
        /// The required state.
        expected: State,
    },
    /// Sessions use the schema of the tenant.
    #[error("sessions use the schema: {}", ListedSessions(sessions))]
    InUse {
        /// The sessions.
        sessions: Vec<BlockingSession>,
    },
    /// Text names the schema, and PostgreSQL does not change text when the schema is renamed.
    #[error("text names the schema in: {}", .objects.join(", "))]
    Mentioned {
        /// The objects, or the roles and databases with such a setting.
        objects: Vec<String>,
    },
    /// Roles other than the owner of the schema have granted privileges on it.
    #[error("roles other than the owner have granted privileges on the schema: {}", .roles.join(", "))]
    ForeignGrants {
        /// The roles.
        roles: Vec<String>,
    },
    /// The name differs from that of an existing tenant only in case.
    #[error("name differs only in case from tenant {tracked:?}")]
    CaseClash {
        /// The name in the tracker, or the earlier of two given names.
        tracked: String,
    },
    /// A schema with its name exists and is not tracked.
    #[error("an untracked schema with this name exists")]
    SchemaExists,
    /// The schema does not exist.
    #[error("schema does not exist")]
    SchemaMissing {
        /// The state of the tenant, if it is tracked.
        state: Option<State>,
    },
    /// The schema is not tracked, and dropping untracked schemas was not requested.
    #[error("not tracked; only tracked schemas are dropped")]
    Untracked,
    /// The schema is a system schema.
    #[error("a system schema cannot be a tenant")]
    SystemSchema,
    /// The schema contains extensions.
    #[error("schema contains extensions")]
    ContainsExtensions {
        /// Whether the tenant is new, so that another name can be chosen.
        new: bool,
    },
    /// The migration ledger cannot be read.
    #[error("cannot read the migration ledger: {0}")]
    LedgerUnreadable(UnreadableLedger),
    /// The definition or the contents of the migration ledger are invalid.
    #[error("invalid migration ledger: {reason}")]
    InvalidLedger {
        /// The problem.
        reason: String,
    },
    /// The row in the tracker has an unknown or missing value.
    #[error("invalid row in public.schema_tracker: {reason}")]
    InvalidRow {
        /// The problem.
        reason: String,
    },
    /// The tenant has the name of the connected role. The schema would be on the default search path of the role.
    #[error("the connected role has the same name")]
    NameOfOwnRole,
    /// The schema has objects but no migration ledger.
    #[error("schema has objects but no migration ledger")]
    LedgerMissing,
    /// A baseline was given, and the migration ledger already records migrations.
    #[error("migration ledger already records {applied} migrations")]
    LedgerExists {
        /// The number of recorded migrations.
        applied: usize,
    },
    /// The tenant is being dropped.
    #[error("a drop is in progress")]
    Dropping,
    /// The tenant is moved to this server or from it.
    #[error("a move between servers is in progress")]
    Moving,
    /// Another session holds the tenant's lock.
    #[error("cannot acquire the tenant's lock: {}", HeldBy(.holder.as_deref()))]
    Busy {
        /// The holder.
        holder: Option<Box<LockHolder>>,
    },
    /// Another session holds the lock of the recorded migrations.
    #[error("cannot acquire the lock of the recorded migrations: {}", HeldBy(.holder.as_deref()))]
    RecordLocked {
        /// The holder.
        holder: Option<Box<LockHolder>>,
    },
    /// The schema or its dependents have changed since the plan was confirmed.
    #[error("changed after the plan was shown; nothing was dropped")]
    ChangedSincePlan,
    /// The schema or its state in the tracker has changed since the drop started.
    #[error("changed by another session during the drop")]
    ChangedDuringDrop,
    /// One of several transactions that drop the schema failed.
    #[error("drop is incomplete; some objects may be dropped already: {error}")]
    DropIncomplete {
        /// Whether the schema is tracked, with the state `dropping`.
        tracked: bool,
        /// The error of the failed transaction.
        error: Box<TenantError>,
    },
    /// The lock table of the server is too small for a transaction that cannot be divided.
    #[error("lock table full while {doing} (about {locks} locks): {}", .server.message)]
    LockTableFull {
        /// What the transaction does, such as `dropping table acme.users`.
        doing: String,
        /// The number of locks that it takes.
        locks: i64,
        /// The message of the server.
        server: Box<ServerMessage>,
    },
    /// Other sessions blocked every attempt. Each attempt was rolled back.
    #[error("{}: {}", Attempts(*contention, *attempts), BlockedBy(server, holders))]
    Deferred {
        /// How the last attempt was blocked.
        contention: Contention,
        /// The number of blocked attempts.
        attempts: u32,
        /// The message of the server.
        server: ServerMessage,
        /// The sessions that held the lock at the last attempt, as far as they were observed.
        holders: Vec<BlockingSession>,
    },
    /// Another session canceled a statement, and the transaction was rolled back.
    #[error("canceled by another session and rolled back: {0}")]
    Canceled(ServerMessage),
    /// Another run recorded a different migration with the same version.
    #[error("another run applies a different migration with the same version")]
    MigrationConflict,
    /// A migration to be reverted has no `down.sql`.
    #[error("migration {folder} cannot be reverted: it has no down.sql")]
    NoDown {
        /// The migration's folder.
        folder: String,
    },
    /// Another run applied a newer migration before the revert.
    #[error("another run applied migration {version}; nothing was reverted")]
    NewerMigrationApplied {
        /// The newest applied version.
        version: String,
    },
    /// A non-transactional migration was interrupted.
    #[error("non-transactional migration {version} is incomplete")]
    Unfinished {
        /// The migration's version.
        version: String,
    },
    /// The migration ledger records versions that are not in the set of migrations.
    #[error("migration ledger records unknown versions: {}", .versions.join(", "))]
    UnknownMigrations {
        /// Their versions.
        versions: Vec<String>,
    },
    /// The tenant was migrated, and its structure differs from the reference.
    #[error("migrated, but has {} from the reference: {}", DifferenceCount(.differences.len()), first_of(differences))]
    Drifted {
        /// The differences.
        differences: Vec<String>,
    },
    /// The structure of a schema to adopt differs from that of the migrations up to the baseline.
    #[error(
        "{} from the migrations up to {}: {}",
        DifferenceCount(.differences.len()),
        .version.as_deref().unwrap_or("none"),
        first_of(differences)
    )]
    BaselineDiffers {
        /// The newest of the migrations.
        version: Option<String>,
        /// The differences.
        differences: Vec<String>,
    },
    /// The baseline of an adopted tenant is not replaced.
    #[error("cannot replace the baseline: {reason}")]
    BaselineKept {
        /// The reason.
        reason: String,
    },
    /// The tenant was migrated, and its structure could not be compared with the reference.
    #[error("migrated, but cannot be compared with the reference: {reason}")]
    NotCompared {
        /// The reason.
        reason: String,
    },
    /// Other sessions changed the tenant at every attempt.
    #[error("changed by other sessions at every attempt")]
    ConcurrentlyChanged,
    /// A migration failed.
    #[error(transparent)]
    Migration(Box<MigrationFailure>),
    /// One of several migrations in a transaction failed: at the commit, or at a statement that did not fail again.
    #[error("one of the migrations {} failed, at COMMIT or at an unknown statement: {server}", .folders.join(", "))]
    MigrationBatch {
        /// The folders of the migrations.
        folders: Vec<String>,
        /// The message of the server.
        server: ServerMessage,
    },
    /// A non-transactional migration needs a dedicated session, and the connection goes through a transaction pooler.
    #[error("non-transactional migration {folder} cannot run through a transaction pooler")]
    Pooler {
        /// The migration's folder.
        folder: String,
    },
    /// A non-transactional migration was changed after it was interrupted.
    #[error("migration {folder} was changed after its first {statements} statements were executed")]
    EditedMigration {
        /// The migration's folder.
        folder: String,
        /// The number of executed statements.
        statements: usize,
    },
    /// Objects outside the schema depend on it and would be dropped with it.
    #[error("objects outside the schema depend on it: {}", .objects.join(", "))]
    Dependents {
        /// The objects, as PostgreSQL describes them.
        objects: Vec<String>,
    },
    /// An archive cannot be restored as the tenant.
    #[error("{reason}")]
    NotRestored {
        /// Why, as a clause.
        reason: String,
    },
    /// The tenant is not dropped, because no archive of it was written that can be read back.
    #[error("no backup, and not dropped: {reason}")]
    NoBackup {
        /// Why, as a clause.
        reason: String,
    },
    /// The role of the tenant cannot be created, changed or dropped.
    #[error(transparent)]
    Role(#[from] RoleError),
    /// The server rejected a statement of tenantry itself. Nothing was changed.
    #[error("{0}")]
    Server(ServerMessage),
    /// The connection was lost at every attempt.
    #[error("lost connection to the server on every attempt: {0}; the last transaction may have been committed")]
    ConnectionLost(ServerMessage),
}

/// How other sessions blocked a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contention {
    /// A lock was not acquired within the lock timeout.
    LockTimeout,
    /// The server detected a deadlock.
    Deadlock,
    /// The transaction could not be serialized with others.
    Serialization,
}

impl TenantError {
    /// Whether the same command can succeed later without a change: other sessions or an outage of the server caused the
    /// failure. A run retries these errors itself, up to its limits.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Busy { .. }
            | Self::RecordLocked { .. }
            | Self::ConcurrentlyChanged
            | Self::Deferred { .. }
            | Self::Canceled(_)
            | Self::ConnectionLost(_)
            | Self::LedgerUnreadable(UnreadableLedger::Locked(_)) => true,
            // A failure at the commit that is not known may not occur again.
            Self::MigrationBatch { server, .. } => server.sqlstate.is_none() || server.is_temporary(),
            Self::DropIncomplete { error, .. } => error.is_retryable(),
            other => other.server().is_some_and(ServerMessage::is_temporary),
        }
    }

    /// Whether repeating the operation on the tenant can succeed, perhaps after its data or a migration was corrected. If
    /// not, the request itself is wrong.
    pub(crate) fn is_worth_repeating(&self) -> bool {
        self.is_retryable()
            || matches!(
                self,
                Self::Migration(_)
                    | Self::MigrationBatch { .. }
                    | Self::Server(_)
                    | Self::MigrationConflict
                    | Self::LockTableFull { .. }
                    | Self::NoBackup { .. }
                    | Self::DropIncomplete { .. }
            )
    }

    /// The message of the server that caused the failure.
    pub fn server(&self) -> Option<&ServerMessage> {
        match self.cause() {
            Self::Migration(failure) => Some(&failure.server),
            Self::MigrationBatch { server, .. }
            | Self::Deferred { server, .. }
            | Self::Server(server)
            | Self::Canceled(server)
            | Self::ConnectionLost(server) => Some(server),
            Self::LockTableFull { server, .. } | Self::LedgerUnreadable(UnreadableLedger::Failed(server)) => {
                Some(server)
            }
            _ => None,
        }
    }

    /// Whether the tenant was deferred because other sessions blocked it.
    pub fn is_deferred(&self) -> bool {
        matches!(self.cause(), Self::Deferred { .. })
    }

    /// The cause of the failure: the inner error of an incomplete drop, else the error itself.
    pub(crate) fn cause(&self) -> &Self {
        match self {
            Self::DropIncomplete { error, .. } => error.cause(),
            other => other,
        }
    }
}

/// A failed tenant and its error.
#[derive(Debug)]
pub struct FailedTenant {
    /// The name in the tracker or in the command.
    pub tenant: String,
    /// The error.
    pub error: TenantError,
}

impl FailedTenant {
    pub(crate) fn new(tenant: &TenantName, error: TenantError) -> Self {
        Self { tenant: tenant.as_str().to_owned(), error }
    }
}

/// `lock timeout on 3 of 3 attempts`.
pub(crate) struct Attempts(pub(crate) Contention, pub(crate) u32);

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(contention, 1) => write!(f, "{contention}"),
            Self(contention, attempts) => write!(f, "{contention} on {attempts} of {attempts} attempts"),
        }
    }
}
