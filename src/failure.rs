//! What goes wrong with one tenant, while the others go on.

mod hint;
mod migration;

use std::fmt;

use crate::name::{NameError, TenantName};
use crate::postgres::ServerMessage;
use crate::tracker::State;
use crate::watch::Holder;

pub use migration::{Effect, FailedStatement, MigrationFailure};

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
    #[error("it is not tracked, and only what is tracked is dropped")]
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
    #[error("its ledger cannot be read: this role may not, it is none of Diesel's, or somebody has it locked")]
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
    /// It is not what it was when its drop began: another schema of its name, or another state.
    #[error("others changed it meanwhile")]
    ChangedMeanwhile,
    /// It is dropped in several transactions, and one of them failed.
    #[error("its drop has begun, and some of it may be gone: {error}")]
    DroppedInPart {
        /// Whether the tracker has it, with the state `dropping`.
        tracked: bool,
        /// What went wrong.
        error: Box<TenantError>,
    },
    /// The server's lock table has no room for the locks of what cannot be dropped in smaller parts.
    #[error("the server's lock table had no room for {what}, about {locks} locks at once: {}", .server.message)]
    LockTableFull {
        /// What was to be dropped, as PostgreSQL describes it.
        what: String,
        /// How many locks that takes.
        locks: i64,
        /// What the server said.
        server: Box<ServerMessage>,
    },
    /// Other sessions were in its way more often than it is tried again, and it was rolled back each time.
    #[error("{contention} stopped it each of {attempts} times: {}", InTheWay(server, holders))]
    Deferred {
        /// What stopped it at last.
        contention: Contention,
        /// How many tries other sessions stopped. There may have been more, which ended otherwise.
        attempts: u32,
        /// What the server said.
        server: ServerMessage,
        /// Who held the lock that it waited for at last, as far as it was seen.
        holders: Vec<Holder>,
    },
    /// Another session cancelled it, and it was rolled back.
    #[error("another session cancelled it, and what was under way was rolled back: {0}")]
    Canceled(ServerMessage),
    /// Another run recorded a migration otherwise.
    #[error("another run applies a migration of the same version with other statements")]
    NotRecorded,
    /// A migration that is to be reverted has no `down.sql`.
    #[error("migration {folder} cannot be reverted: it has no down.sql")]
    NoDown {
        /// The migration's folder.
        folder: String,
    },
    /// Migrations of it were to be reverted, and others were applied meanwhile.
    #[error("another run has applied {version} meanwhile, and nothing of it was reverted")]
    Ahead {
        /// The newest that was.
        version: String,
    },
    /// A migration that is not transactional is under way.
    #[error("its migration {version} is unfinished")]
    Unfinished {
        /// The migration's version.
        version: String,
    },
    /// Its ledger records migrations that nothing is known of.
    #[error("its ledger records {}, which none of the tenant migrations has", .versions.join(", "))]
    UnknownMigrations {
        /// Their versions.
        versions: Vec<String>,
    },
    /// It is migrated, and its structure is not that of the reference.
    #[error("it was migrated, and has {} from the reference: {}", Differences(.differences.len()), first_of(differences))]
    Drifted {
        /// What differs.
        differences: Vec<String>,
    },
    /// It is migrated, and its structure could not be held against the reference.
    #[error("it was migrated, and its structure cannot be compared: {why}")]
    NotCompared {
        /// Why not.
        why: String,
    },
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
    /// The connection was lost each time that it was tried.
    #[error(
        "the connection was lost each time that it was tried: {0}; it is as before, or its transaction was committed"
    )]
    ConnectionLost(ServerMessage),
}

/// How other sessions were in the way of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contention {
    /// A lock did not come free in time.
    LockTimeout,
    /// It and another session waited for each other.
    Deadlock,
    /// Its transaction could not be put in an order with others.
    Serialization,
}

impl fmt::Display for Contention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LockTimeout => "a lock that others held",
            Self::Deadlock => "a deadlock",
            Self::Serialization => "a serialization failure",
        })
    }
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
                | Self::Deferred { .. }
                | Self::Canceled(_)
                | Self::NotRecorded
                | Self::ConnectionLost(_)
                | Self::LockTableFull { .. }
                | Self::DroppedInPart { .. }
        )
    }

    /// Whether it was put off: other sessions were in the way.
    pub fn is_deferred(&self) -> bool {
        matches!(self.cause(), Self::Deferred { .. })
    }

    /// What went wrong, whatever is left behind.
    pub(crate) fn cause(&self) -> &Self {
        match self {
            Self::DroppedInPart { error, .. } => error.cause(),
            other => other,
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

/// A text with `NAME` where a tenant's name stands as a word, so that what is the same with many tenants is seen to be.
pub(crate) fn without_name(text: &str, tenant: &str) -> String {
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

/// What the server said, and who was in the way.
struct InTheWay<'a>(&'a ServerMessage, &'a [Holder]);

impl fmt::Display for InTheWay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        self.1.iter().try_for_each(|holder| write!(f, "; held: {holder}"))
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
