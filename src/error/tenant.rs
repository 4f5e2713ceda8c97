//! Errors of a single tenant, which do not end a run over others.

mod hint;
mod migration;

use std::fmt;

use crate::error::BlockingSession;
use crate::model::{NameError, State, TenantName};
use crate::postgres::lock_holder::HeldBy;
use crate::postgres::{LockHolder, ServerMessage};

pub use migration::{Effect, FailedStatement, MigrationFailure};

/// Why an operation on one tenant failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TenantError {
    /// The tracker has a name that is not valid for a tenant.
    #[error("the tracker has an invalid tenant name: {0}")]
    InvalidName(NameError),
    /// The tracker does not have it.
    #[error("not tracked in public.schema_tracker")]
    NotTracked {
        /// Whether there is a schema of its name.
        schema_exists: bool,
    },
    /// There is neither a tenant nor a schema of the name.
    #[error("no tenant or schema has this name")]
    NotFound,
    /// The tenant exists already.
    #[error("tenant already exists (state: {state})")]
    AlreadyTracked {
        /// Its state.
        state: State,
    },
    /// The tracker has a tenant whose name is the same but for case.
    #[error("name differs only in case from tenant {tracked:?}")]
    CaseClash {
        /// The tenant that the tracker has, or the name that came earlier.
        tracked: String,
    },
    /// A schema of its name exists, and the tracker does not have it.
    #[error("an untracked schema with this name exists")]
    SchemaExists,
    /// There is no schema of its name.
    #[error("schema does not exist")]
    SchemaMissing {
        /// Its state, where it is tracked.
        state: Option<State>,
    },
    /// The tracker does not have it, and only what is tracked may go.
    #[error("not tracked; only tracked schemas are dropped")]
    Untracked,
    /// It is a schema of the database's own.
    #[error("a system schema cannot be a tenant")]
    SystemSchema,
    /// A schema of its name holds an extension.
    #[error("schema contains extensions")]
    ContainsExtensions {
        /// Whether it is to be a new tenant, which may have another name.
        new: bool,
    },
    /// Its schema cannot be read by this role.
    #[error("cannot read the migration ledger: permission denied, or locked by another session")]
    LedgerUnreadable,
    /// Its ledger does not have the definition or the contents of a ledger.
    #[error("its ledger is not valid: {why}")]
    InvalidLedger {
        /// Why not.
        why: String,
    },
    /// Its row in the tracker has a value that this version does not know, or none where one must be.
    #[error("its row in the tracker is not valid: {why}")]
    InvalidRow {
        /// Why not.
        why: String,
    },
    /// Its name is that of the role that the tool connects as.
    #[error("its name is that of the connected role")]
    NameOfOwnRole,
    /// Its schema has objects and no ledger.
    #[error("schema has objects but no migration ledger")]
    LedgerMissing,
    /// It has a ledger that records migrations, so that a baseline would contradict it.
    #[error("migration ledger already records {applied} migrations")]
    LedgerExists {
        /// How many.
        applied: usize,
    },
    /// It is being dropped.
    #[error("a drop is in progress")]
    Dropping,
    /// Another session has held its lock for longer than this run waits.
    #[error("cannot acquire the tenant's lock: {}", HeldBy(.holder.as_deref()))]
    Busy {
        /// The holder.
        holder: Option<Box<LockHolder>>,
    },
    /// Another session has held the lock of the recorded migrations for longer than this run waits.
    #[error("cannot acquire the lock of the recorded migrations: {}", HeldBy(.holder.as_deref()))]
    RecordLocked {
        /// The holder.
        holder: Option<Box<LockHolder>>,
    },
    /// It is not what was shown before the confirmation: another schema of its name, or others depend on it now.
    #[error("changed after the plan was shown; nothing was dropped")]
    ChangedSincePlan,
    /// It is not what it was when its drop began: another schema of its name, or another state.
    #[error("changed by another session during the drop")]
    ChangedDuringDrop,
    /// It is dropped in several transactions, and one of them failed.
    #[error("drop is incomplete; some objects may be dropped already: {error}")]
    DropIncomplete {
        /// Whether the tracker has it, with the state `dropping`.
        tracked: bool,
        /// What went wrong.
        error: Box<TenantError>,
    },
    /// The server's lock table has no room for the locks of what cannot be dropped in smaller parts.
    #[error("lock table full while dropping {what} (about {locks} locks): {}", .server.message)]
    LockTableFull {
        /// What was to be dropped, as PostgreSQL describes it.
        what: String,
        /// How many locks that takes.
        locks: i64,
        /// What the server said.
        server: Box<ServerMessage>,
    },
    /// Other sessions were in its way more often than it is tried again, and it was rolled back each time.
    #[error("{}: {}", Attempts(*contention, *attempts), BlockedBy(server, holders))]
    Deferred {
        /// What stopped it at last.
        contention: Contention,
        /// How many tries other sessions stopped. There may have been more, which ended otherwise.
        attempts: u32,
        /// What the server said.
        server: ServerMessage,
        /// Who held the lock that it waited for at last, as far as it was seen.
        holders: Vec<BlockingSession>,
    },
    /// Another session cancelled it, and it was rolled back.
    #[error("canceled by another session and rolled back: {0}")]
    Canceled(ServerMessage),
    /// Another run recorded a migration otherwise.
    #[error("another run applies a different migration with the same version")]
    MigrationConflict,
    /// A migration that is to be reverted has no `down.sql`.
    #[error("migration {folder} cannot be reverted: it has no down.sql")]
    NoDown {
        /// The migration's folder.
        folder: String,
    },
    /// Migrations of it were to be reverted, and others were applied meanwhile.
    #[error("another run applied {version} in the meantime; nothing was reverted")]
    NewerMigrationApplied {
        /// The newest that was.
        version: String,
    },
    /// A migration that is not transactional is under way.
    #[error("migration {version} is unfinished")]
    Unfinished {
        /// The migration's version.
        version: String,
    },
    /// Its ledger records migrations that nothing is known of.
    #[error("migration ledger records unknown versions: {}", .versions.join(", "))]
    UnknownMigrations {
        /// Their versions.
        versions: Vec<String>,
    },
    /// It is migrated, and its structure is not that of the reference.
    #[error("migrated, but has {} from the reference: {}", Differences(.differences.len()), first_of(differences))]
    Drifted {
        /// What differs.
        differences: Vec<String>,
    },
    /// It is migrated, and its structure could not be held against the reference.
    #[error("migrated, but cannot be compared with the reference: {why}")]
    NotCompared {
        /// Why not.
        why: String,
    },
    /// It was changed by others again and again while this run looked at it.
    #[error("kept changing during the run")]
    ConcurrentlyChanged,
    /// A migration failed.
    #[error(transparent)]
    Migration(Box<MigrationFailure>),
    /// One of several migrations in a transaction failed: at the commit, or not again as the statement was looked for.
    #[error("one of the migrations {} failed, at an unknown statement or at the commit: {server}", .folders.join(", "))]
    MigrationBatch {
        /// Their folders.
        folders: Vec<String>,
        /// What the server said.
        server: ServerMessage,
    },
    /// A migration that is not transactional needs a session of its own, and the server is behind a transaction pooler.
    #[error("migration {folder} is not transactional and cannot run through a transaction pooler")]
    Pooler {
        /// The migration's folder.
        folder: String,
    },
    /// A migration that is not transactional was begun, and is another one now.
    #[error("migration {folder} was changed after its first {statements} statements were executed")]
    EditedMigration {
        /// The migration's folder.
        folder: String,
        /// How many statements.
        statements: usize,
    },
    /// Objects outside its schema depend on it, and would be dropped with it.
    #[error("objects outside the schema depend on it: {}", .objects.join(", "))]
    Dependents {
        /// What they are, as PostgreSQL describes them.
        objects: Vec<String>,
    },
    /// The server refused a statement of tenantry's own; nothing was changed.
    #[error("{0}")]
    Server(ServerMessage),
    /// The connection was lost each time that it was tried.
    #[error(
        "lost connection to the server on every attempt: {0}; the tenant is unchanged, or its transaction was committed"
    )]
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

impl fmt::Display for Contention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LockTimeout => "lock timeout",
            Self::Deadlock => "deadlock",
            Self::Serialization => "serialization failure",
        })
    }
}

impl TenantError {
    /// Whether the same command may well succeed when it is run again.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Migration(_)
                | Self::MigrationBatch { .. }
                | Self::Server(_)
                | Self::Busy { .. }
                | Self::RecordLocked { .. }
                | Self::ConcurrentlyChanged
                | Self::Deferred { .. }
                | Self::Canceled(_)
                | Self::MigrationConflict
                | Self::ConnectionLost(_)
                | Self::LockTableFull { .. }
                | Self::DropIncomplete { .. }
        )
    }

    /// Whether it was deferred because other sessions blocked it.
    pub fn is_deferred(&self) -> bool {
        matches!(self.cause(), Self::Deferred { .. })
    }

    /// What went wrong, whatever is left behind.
    pub(crate) fn cause(&self) -> &Self {
        match self {
            Self::DropIncomplete { error, .. } => error.cause(),
            other => other,
        }
    }
}

/// A tenant and what went wrong with it.
#[derive(Debug)]
pub struct FailedTenant {
    /// The name that the tracker has, or that was asked for.
    pub tenant: String,
    /// What went wrong.
    pub error: TenantError,
}

impl FailedTenant {
    pub(crate) fn new(tenant: &TenantName, error: TenantError) -> Self {
        Self { tenant: tenant.as_str().to_owned(), error }
    }
}

/// A text with `NAME` where a tenant's name stands as a word, so that what is the same with many tenants is seen to be.
pub(crate) fn mask_tenant_name(text: &str, tenant: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(tenant).filter(|_| !tenant.is_empty()) {
        let (before, after) = (&rest[..at], &rest[at + tenant.len()..]);
        let inside =
            before.ends_with(is_part) || after.starts_with(is_part) || (before.is_empty() && out.ends_with(is_part));
        out.push_str(before);
        out.push_str(if inside { tenant } else { "NAME" });
        rest = after;
    }
    out + rest
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

/// The server's message, and the sessions that held the lock.
struct BlockedBy<'a>(&'a ServerMessage, &'a [BlockingSession]);

impl fmt::Display for BlockedBy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        self.1.iter().try_for_each(|holder| write!(f, "; lock held: {holder}"))
    }
}

/// `1 difference`, `2 differences`.
struct Differences(usize);

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} difference{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}

/// The first few.
fn first_of(differences: &[String]) -> String {
    const FEW: usize = 3;
    let more = if differences.len() > FEW { ", …" } else { "" };
    differences.iter().take(FEW).cloned().collect::<Vec<_>>().join(", ") + more
}
