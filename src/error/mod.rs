//! Errors that end a command. What goes wrong with one tenant of many is a [`TenantError`](crate::TenantError).

mod blocking_session;
mod changes;
mod code;
mod fleet_holder;
mod reference;
mod tenant;

use std::fmt;
use std::path::PathBuf;

use diesel::result::Error as DieselError;

use crate::migration::{Kind, LoadError, Version, VersionRange};
use crate::model::{SchemaName, TenantName};
use crate::postgres::lock_holder::{self, HeldBy, LockHolder};
use crate::postgres::{self, ServerMessage};

pub use blocking_session::BlockingSession;
pub use changes::{ChangeKind, MigrationChange, MigrationChanges};
pub use fleet_holder::FleetHolder;
pub use reference::ReferenceError;
#[cfg(feature = "cli")]
pub(crate) use tenant::Attempts;
pub(crate) use tenant::mask_tenant_name;
pub use tenant::{Contention, Effect, FailedStatement, FailedTenant, MigrationFailure, TenantError};

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A connection could not be opened or used.
    #[error(transparent)]
    Postgres(#[from] postgres::Error),
    /// The server, the database or the role has no connection left but the command's own.
    #[error("the server has no more connection free for this role")]
    NoFreeConnection,
    /// A standby can only be read.
    #[error("the server is a standby, which can only be read")]
    Standby,
    /// `public.schema_tracker` does not exist.
    #[error("the database {database:?} has no tracker (public.schema_tracker)")]
    TrackerMissing {
        /// The database.
        database: String,
    },
    /// Public migrations are pending.
    #[error("the tracker of the database {database:?} is behind: public migrations that are pending: {pending}")]
    TrackerBehind {
        /// The database.
        database: String,
        /// How many.
        pending: usize,
    },
    /// A ledger in `public` is not an ordinary table.
    #[error("public.{table} is not an ordinary table: it is a view, or has triggers, rules or row-level security")]
    LedgerUnusable {
        /// The table.
        table: String,
    },
    /// A state in the tracker that this version does not know.
    #[error("the tracker gives tenant {tenant:?} the state {state:?}, which this version does not know")]
    UnknownState {
        /// The tenant.
        tenant: String,
        /// What stands there.
        state: String,
    },
    /// `public.__diesel_schema_migrations` cannot be used as a ledger.
    #[error("public.__diesel_schema_migrations is not a valid ledger: {why}")]
    InvalidPublicLedger {
        /// Why not.
        why: String,
    },
    /// A public migration failed; what it had done was rolled back.
    #[error("public {0}")]
    PublicMigration(Box<MigrationFailure>),
    /// The public migrations could not be run.
    #[error("the public migrations cannot be run")]
    Public(#[source] Box<TenantError>),
    /// Another run is changing what this one wants to change.
    #[error("the lock of {what} cannot be acquired: {}", HeldBy(.holder.as_deref()))]
    Busy {
        /// What.
        what: String,
        /// The holder of its lock.
        holder: Option<Box<LockHolder>>,
    },
    /// What is recorded of the migrations would change, while another session applies them as they are recorded.
    #[error(
        "the recorded migrations cannot be changed while they are applied: their lock is {}", HeldBy(.0.as_deref())
    )]
    MigrationsInUse(Option<Box<LockHolder>>),
    /// Another session holds the lock of the fleet.
    #[error("{}", FleetLock(.0.as_deref()))]
    FleetLocked(Option<Box<FleetHolder>>),
    /// Migrations are not as they were when they were first applied.
    #[error("{0}")]
    MigrationsChanged(MigrationChanges),
    /// The tenant migrations have no version in common with those that the database has recorded.
    #[error(
        "the tenant migrations are not those of the database {database:?}: {given} has no version in common with {recorded}"
    )]
    ForeignMigrations {
        /// The database.
        database: String,
        /// Where the migrations come from, how many they are, and the newest version.
        given: String,
        /// What the database has recorded and where, how many versions, and the newest.
        recorded: String,
    },
    /// No migration among those that were to be accepted has changed.
    #[error(
        "nothing to accept in {versions}: no migration was changed, removed or added out of order since it was applied"
    )]
    NothingToAccept {
        /// A version, or a range of versions.
        versions: VersionRange,
    },
    /// The server can do no work, for this or any other tenant.
    #[error("the server can do no more work: {message}")]
    ServerFault {
        /// What it said.
        message: ServerMessage,
    },
    /// No tenant migration has a version that was given.
    #[error("no tenant migration has the version {version}")]
    UnknownVersion {
        /// The version.
        version: Version,
    },
    /// Tenants were created while a cleanup was under way.
    #[error("tenants were created meanwhile; the tracker stays for them")]
    TenantsCreatedDuringCleanup,
    /// There is no schema `public`, or this role may not use it.
    #[error("the database {database:?} has no schema public, or this role may not use it")]
    NoPublicSchema {
        /// The database.
        database: String,
    },
    /// Row-level security hides rows of the tracker from this role.
    #[error("row-level security may hide tenants in public.schema_tracker from this role")]
    TrackerHidden,
    /// A migration without `down.sql` is to be reverted.
    #[error("the {kind} migration {folder} cannot be reverted: it has no down.sql")]
    NoDown {
        /// Of which set.
        kind: Kind,
        /// The migration's folder.
        folder: String,
    },
    /// A schema that is to be behind the tenants on the path does not exist.
    #[error("the extension schema {name} does not exist in the database {database:?}")]
    NoExtensionSchema {
        /// Its name.
        name: SchemaName,
        /// The database.
        database: String,
    },
    /// A tenant cannot be held against anything.
    #[error("the structure of {name} cannot be compared: {why}")]
    CannotCompare {
        /// The tenant.
        name: TenantName,
        /// Why not.
        why: String,
    },
    /// The reference could not be made.
    #[error("the reference cannot be made: {0}")]
    NoReference(ReferenceError),
    /// A tenant that a command is about is not there, or cannot be read.
    #[error("tenant {name}: {error}")]
    Tenant {
        /// Its name.
        name: TenantName,
        /// What is wrong with it.
        error: Box<TenantError>,
    },
    /// A file cannot be used as the reference.
    #[error("the reference {} cannot be used: {message}", .path.display())]
    ReferenceFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        message: String,
    },
    /// Migrations cannot be used.
    #[error(transparent)]
    Migrations(#[from] LoadError),
}

impl Error {
    /// For `map_err`: the purpose of a query.
    pub(crate) fn doing(doing: &'static str) -> impl Fn(DieselError) -> Self {
        let convert = postgres::Error::doing(doing);
        move |error| Self::Postgres(convert(error))
    }

    pub(crate) fn cannot_compare(name: &TenantName, why: &str) -> Self {
        Self::CannotCompare { name: name.clone(), why: why.to_owned() }
    }

    /// Whether a retry can succeed once the server is back, or another one has replaced it.
    pub(crate) fn is_outage(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.is_outage())
    }

    /// What to do about it, where that is known. `command` completes a command of the command line: `migrate-public`
    /// becomes `tenantry migrate-public`.
    pub fn hint(&self, command: &dyn Fn(&str) -> String) -> Option<String> {
        match self {
            Self::Postgres(error) => error.hint().map(str::to_owned),
            Self::NoFreeConnection => Some("close others, or raise max_connections or the role's limit".to_owned()),
            Self::Standby => Some("give --database-url of the primary server".to_owned()),
            Self::TrackerMissing { .. } | Self::TrackerBehind { .. } => {
                Some(format!("run '{}'", command("migrate-public")))
            }
            Self::LedgerUnusable { table } => {
                Some(format!("check who created them, and remove them from public.{table}"))
            }
            Self::UnknownState { .. } => Some("use the version of the tool that last wrote to the tracker".to_owned()),
            Self::InvalidPublicLedger { .. } => Some(
                "find out who changed the table, then make it a plain table with the columns version and run_on"
                    .to_owned(),
            ),
            Self::PublicMigration(failure) => failure.hint(),
            Self::Public(error) => error.hint("public", command),
            Self::Busy { holder, .. } => Some(lock_holder::hint(holder.as_deref())),
            Self::MigrationsInUse(holder) => match holder {
                Some(holder) if holder.is_run() => {
                    Some(format!("use the same release for all runs, or {}", holder.hint()))
                }
                holder => Some(lock_holder::hint(holder.as_deref())),
            },
            Self::FleetLocked(holder) => {
                Some(holder.as_ref().map_or_else(|| lock_holder::hint(None), |holder| holder.hint()))
            }
            Self::MigrationsChanged(changes) => changes.hint(command),
            Self::ForeignMigrations { .. } => {
                Some("give the migrations of this database with --tenant-migrations".to_owned())
            }
            Self::NothingToAccept { .. } => None,
            Self::ServerFault { .. } => Some("mend the server, and try again".to_owned()),
            Self::UnknownVersion { .. } => Some("give the digits before the _ of a migration's folder".to_owned()),
            Self::TenantsCreatedDuringCleanup => Some("run the cleanup again to drop them, too".to_owned()),
            Self::NoPublicSchema { .. } => Some("CREATE SCHEMA public, or GRANT USAGE ON SCHEMA public".to_owned()),
            Self::TrackerHidden => Some("connect as the owner of the tracker".to_owned()),
            Self::NoDown { .. } => Some("give the migration a down.sql".to_owned()),
            Self::NoExtensionSchema { .. } => Some("correct --extension-schema, or create the schema".to_owned()),
            Self::CannotCompare { name, .. } => Some(format!(
                "see '{}'; --reference takes another reference",
                command(&format!("health-check --match '^{name}$'"))
            )),
            Self::NoReference(ReferenceError::NotAllowed(_)) => {
                Some("connect as a role that may create schemas on the primary server".to_owned())
            }
            Self::NoReference(ReferenceError::ChangesOutside { folder, .. }) => {
                Some(format!("correct {folder}/up.sql, or set changes_outside = \"REASON\" in its metadata.toml"))
            }
            Self::NoReference(ReferenceError::CommitsOutside { .. }) => {
                Some("compare with a tenant or a saved reference (--reference)".to_owned())
            }
            Self::NoReference(ReferenceError::Failed { folder, .. }) => Some(format!("correct {folder}/up.sql")),
            Self::Tenant { name, error } => error.hint(name.as_str(), command),
            // Not at this path: whatever file is there may be another's.
            Self::ReferenceFile { .. } => Some(format!("'{}' makes one", command("reference --output FILE"))),
            Self::Migrations(_) => Some("correct the migrations; nothing was run".to_owned()),
        }
    }
}

/// Why the lock of the fleet was refused.
struct FleetLock<'a>(Option<&'a FleetHolder>);

impl fmt::Display for FleetLock<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(holder) if holder.is_run() => write!(f, "another run works on the fleet: {holder}"),
            Some(holder) => write!(f, "the lock of the fleet is held by {holder}"),
            None => write!(f, "the lock of the fleet cannot be acquired: {}", HeldBy(None)),
        }
    }
}
