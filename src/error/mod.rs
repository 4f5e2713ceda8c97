//! Errors. An [`Error`] ends a command; a [`TenantError`] is the failure of one tenant and does not end a run over others.

mod blocking_session;
mod changes;
mod code;
mod fleet_holder;
mod hint;
mod mask;
mod moves;
mod probe;
mod reference;
mod retry;
mod role;
mod row_tenancy;
mod servers;
mod tenant;
mod unreadable_ledger;

use std::fmt;
use std::path::PathBuf;

use diesel::result::Error as DieselError;

use crate::migration::{Kind, LoadError, MigrationSet, Version, VersionRange};
use crate::model::{SchemaName, TenantName};
use crate::postgres::lock_holder::{HeldBy, LockHolder};
use crate::postgres::{self, ServerMessage};
use crate::text;

pub use blocking_session::BlockingSession;
pub(crate) use changes::accept_versions;
pub use changes::{ChangeKind, MigrationChange, MigrationChanges};
pub use fleet_holder::FleetHolder;
pub(crate) use mask::mask_tenant_name;
pub use moves::MoveError;
pub use probe::ProbeError;
pub use reference::ReferenceError;
pub use role::RoleError;
pub use row_tenancy::RowTenancyError;
pub use servers::ServersError;
#[cfg(feature = "cli")]
pub(crate) use tenant::Attempts;
pub use tenant::{Contention, Effect, FailedStatement, FailedTenant, MigrationFailure, MissingExtension, TenantError};
pub use unreadable_ledger::{LedgerPrivilege, UnreadableLedger};

/// An error that ends a command.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A connection could not be opened or used.
    #[error(transparent)]
    Postgres(#[from] postgres::Error),
    /// The connection limit of the server, the database or the role leaves no connection for the workers.
    #[error("no free connection for this role")]
    NoFreeConnection,
    /// The command writes, and the server is a standby.
    #[error("the server is a read-only standby")]
    Standby,
    /// `public.schema_tracker` does not exist.
    #[error("database {database:?} has no tracker (public.schema_tracker)")]
    TrackerMissing {
        /// The database.
        database: String,
    },
    /// Public migrations are pending.
    #[error("database {database:?} has pending public migrations: {pending}")]
    TrackerBehind {
        /// The database.
        database: String,
        /// The number of pending migrations.
        pending: usize,
    },
    /// A ledger in `public` is not a plain table.
    #[error("public.{table} is not a plain table: it is a view, or has triggers, rules or row-level security")]
    LedgerUnusable {
        /// The table.
        table: String,
    },
    /// The tracker has a state that this version does not know.
    #[error("tenant {tenant:?} has an unknown state in public.schema_tracker: {state:?}")]
    UnknownState {
        /// The tenant.
        tenant: String,
        /// The value found.
        state: String,
    },
    /// `public.__diesel_schema_migrations` cannot be used as a ledger.
    #[error("public.__diesel_schema_migrations is not a valid migration ledger: {reason}")]
    InvalidPublicLedger {
        /// The problem.
        reason: String,
    },
    /// A public migration failed.
    #[error("public {0}")]
    PublicMigration(Box<MigrationFailure>),
    /// The public migrations could not be run.
    #[error("cannot run the public migrations")]
    Public(#[source] Box<TenantError>),
    /// Another session holds an advisory lock that the command needs.
    #[error("cannot acquire the lock of {what}: {}", HeldBy(.holder.as_deref()))]
    Busy {
        /// What the lock protects.
        what: String,
        /// The holder of its lock.
        holder: Option<Box<LockHolder>>,
    },
    /// The recorded migrations cannot be updated, because another session applies migrations.
    #[error("cannot acquire the lock of the recorded migrations: {}", HeldBy(.0.as_deref()))]
    MigrationsInUse(Option<Box<LockHolder>>),
    /// Another session holds the fleet lock.
    #[error("{}", FleetLockedMessage(.0.as_deref()))]
    FleetLocked(Option<Box<FleetHolder>>),
    /// Migrations were changed, deleted or added out of order since they were applied.
    #[error("{0}")]
    MigrationsChanged(MigrationChanges),
    /// The tenant migrations have no version in common with those recorded in the database.
    #[error(
        "the tenant migrations do not belong to database {database:?}: {given} has no version in common with {recorded}"
    )]
    ForeignMigrations {
        /// The database.
        database: String,
        /// The origin of the given migrations, their number and the newest version.
        given: String,
        /// The origin of the recorded migrations, their number and the newest version.
        recorded: String,
    },
    /// No migration in the range that was to be accepted has changed.
    #[error("no changed, deleted or out-of-order migration in {versions}")]
    NothingToAccept {
        /// A version, or a range of versions.
        versions: VersionRange,
    },
    /// The server cannot execute statements for any tenant, for example because its disk is full.
    #[error("the server is out of resources: {message}")]
    ServerFault {
        /// The message of the server.
        message: ServerMessage,
    },
    /// No tenant migration has the given version.
    #[error("no tenant migration has version {version}")]
    UnknownVersion {
        /// The given version.
        version: Version,
        /// The versions of the tenant migrations, the most similar first.
        known: Vec<Version>,
    },
    /// No tenant migration has the given name.
    #[error("no tenant migration has the name {given:?}")]
    UnknownMigration {
        /// The given text.
        given: String,
        /// The folder names of the tenant migrations, the most similar first.
        known: Vec<String>,
    },
    /// Several tenant migrations have names that begin or end with the given text.
    #[error("several tenant migrations match {given:?}")]
    AmbiguousMigration {
        /// The given text.
        given: String,
        /// Their folder names, oldest first.
        candidates: Vec<String>,
    },
    /// Tenants were created during a cleanup.
    #[error("tenants were created during the cleanup; public.schema_tracker was kept")]
    TenantsCreatedDuringCleanup,
    /// The schema `public` does not exist, or this role has no `USAGE` privilege on it.
    #[error("database {database:?} has no schema public, or this role has no USAGE privilege on it")]
    NoPublicSchema {
        /// The database.
        database: String,
    },
    /// Row-level security on the tracker applies to this role.
    #[error("row-level security may hide rows of public.schema_tracker from this role")]
    TrackerHidden,
    /// This role has insufficient privileges on the schema `public` or on tables of Tenantry.
    #[error("permission denied: role {role:?} has no {}", .privileges.join("; "))]
    MissingPrivileges {
        /// The role.
        role: String,
        /// The missing privileges, such as `SELECT ON public.schema_tracker`.
        privileges: Vec<String>,
    },
    /// A migration to be reverted has no `down.sql`.
    #[error("{kind} migration {folder} cannot be reverted: it has no down.sql")]
    NoDown {
        /// The set of the migration.
        kind: Kind,
        /// The migration's folder.
        folder: String,
    },
    /// An extension schema does not exist.
    #[error("extension schema {name} does not exist in database {database:?}")]
    NoExtensionSchema {
        /// Its name.
        name: SchemaName,
        /// The database.
        database: String,
    },
    /// A tenant cannot be cloned.
    #[error("cannot clone tenant {name}: {reason}")]
    CannotClone {
        /// The source.
        name: TenantName,
        /// Why, as a clause.
        reason: String,
    },
    /// A tenant cannot be dumped.
    #[error("cannot dump tenant {name}: {reason}")]
    CannotDump {
        /// Its schema.
        name: SchemaName,
        /// Why, as a clause.
        reason: String,
    },
    /// An archive cannot be restored as a tenant.
    #[error("cannot restore tenant {name}: {reason}")]
    CannotRestore {
        /// The new tenant.
        name: TenantName,
        /// Why, as a clause.
        reason: String,
    },
    /// The owner of the schema in an archive does not exist.
    #[error("role {role}, the owner of the schema in the archive, does not exist")]
    NoArchiveOwner {
        /// The role.
        role: String,
    },
    /// No schema can be made in advance.
    #[error("no schema can be made in advance: {reason}")]
    CannotPrewarm {
        /// Why, as a clause.
        reason: String,
    },
    /// The structure of a tenant cannot be compared.
    #[error("cannot compare the structure of tenant {name}: {reason}")]
    CannotCompare {
        /// The tenant.
        name: TenantName,
        /// The reason.
        reason: String,
    },
    /// The reference schema cannot be built.
    #[error("cannot build the reference schema")]
    NoReference(#[source] Box<ReferenceError>),
    /// The tenant of a command for a single tenant does not exist or cannot be read.
    #[error("tenant {name}: {error}")]
    Tenant {
        /// Its name.
        name: TenantName,
        /// The error of the tenant.
        error: Box<TenantError>,
    },
    /// A saved reference cannot be used.
    #[error("cannot use the reference {}: {message}", .path.display())]
    ReferenceFile {
        /// The file.
        path: PathBuf,
        /// The problem.
        message: String,
    },
    /// Migrations cannot be loaded.
    #[error(transparent)]
    Migrations(#[from] LoadError),
    /// Row-level tenancy.
    #[error(transparent)]
    RowTenancy(#[from] RowTenancyError),
    /// A fleet on several servers.
    #[error(transparent)]
    Servers(#[from] ServersError),
    /// A move of a tenant between servers.
    #[error(transparent)]
    Move(#[from] MoveError),
    /// A role cannot be probed.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The roles of tenants.
    #[error(transparent)]
    Role(#[from] RoleError),
}

impl From<ReferenceError> for Error {
    fn from(error: ReferenceError) -> Self {
        Self::NoReference(Box::new(error))
    }
}

impl Error {
    /// Returns a function for `map_err` that adds the purpose of a query, as in "read the tracker".
    pub(crate) fn doing(doing: &'static str) -> impl Fn(DieselError) -> Self {
        let convert = postgres::Error::doing(doing);
        move |error| Self::Postgres(convert(error))
    }

    /// [`Error::UnknownVersion`] for a version that no migration of the set has.
    pub(crate) fn unknown_version(version: &Version, set: &MigrationSet) -> Self {
        let mut known: Vec<&Version> = set.versioned().rev().map(|migration| migration.version()).collect();
        known.sort_by_cached_key(|one| text::distance(version.as_str(), one.as_str()));
        Self::UnknownVersion { version: version.clone(), known: known.into_iter().cloned().collect() }
    }

    /// [`Error::UnknownMigration`] for a name that no migration of the set has.
    pub(crate) fn unknown_migration(given: &str, set: &MigrationSet) -> Self {
        // The similarity of what follows the version, if the text has none.
        let name = |folder: &str| match folder.split_once('_') {
            Some((_, name)) if !given.starts_with(|c: char| c.is_ascii_digit()) => name.to_owned(),
            _ => folder.to_owned(),
        };
        let mut known: Vec<String> = set.versioned().rev().map(|migration| migration.folder().to_owned()).collect();
        known.sort_by_cached_key(|folder| text::distance(given, &name(folder)));
        Self::UnknownMigration { given: given.to_owned(), known }
    }

    pub(crate) fn cannot_compare(name: &TenantName, reason: &str) -> Self {
        Self::CannotCompare { name: name.clone(), reason: reason.to_owned() }
    }

    /// Whether a retry can succeed after the server has restarted or failed over.
    pub(crate) fn is_outage(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.is_outage())
    }
}

/// The message of [`Error::FleetLocked`].
struct FleetLockedMessage<'a>(Option<&'a FleetHolder>);

impl fmt::Display for FleetLockedMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(holder) if holder.is_run() => write!(f, "another run is in progress: {holder}"),
            Some(holder) => write!(f, "the fleet lock is held by {holder}"),
            None => write!(f, "cannot acquire the fleet lock: {}", HeldBy(None)),
        }
    }
}
