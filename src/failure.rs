//! What goes wrong with one tenant, while the others go on.

use std::fmt;

use crate::migration::Version;
use crate::name::{NameError, TenantName};
use crate::postgres::ServerMessage;
use crate::sql::quote::Literal;
use crate::tracker::State;
use crate::watch::Holder;

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

struct At<'a>(Option<&'a FailedStatement>);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(at) => write!(f, ":{}", at.line),
            None => Ok(()),
        }
    }
}
