//! Errors that end a command. What goes wrong with one tenant of many is a [`TenantError`](crate::TenantError).

use std::path::PathBuf;

use diesel::result::Error as DieselError;

use crate::failure::{MigrationFailure, TenantError};
use crate::fleet_lock::FleetHolder;
use crate::integrity::Changes;
use crate::migration::{Kind, LoadError, Version};
use crate::name::{SchemaName, TenantName};
use crate::postgres::{Condition, ServerMessage};
use crate::reference::Unavailable;

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection could be made.
    #[error("cannot connect to PostgreSQL at {place}: {message}")]
    Unreachable {
        /// Host and port, or the socket's folder.
        place: String,
        /// What libpq said, without passwords.
        message: String,
    },
    /// The server, the database or the role has no connection left but the command's own.
    #[error("the server has no more connection free for this role")]
    NoFreeConnection,
    /// Connections were had before, and could no longer be made for as long as the server was waited for.
    #[error("the server is gone, and did not come back in time: {message}")]
    ConnectionsLost {
        /// Why the last try failed, without passwords.
        message: String,
    },
    /// The server refused a query of tenantry's own.
    #[error("cannot {doing}: {message}")]
    Query {
        /// What it was for.
        doing: &'static str,
        /// What the server said.
        message: ServerMessage,
        /// Whether the connection is gone.
        lost: bool,
    },
    /// A server older than the project knows.
    #[error("the server is PostgreSQL {}, and 14 is the oldest that works", .version / 10_000)]
    ServerTooOld {
        /// As in `server_version_num`.
        version: i32,
    },
    /// A standby can only be read.
    #[error("the server is a standby, which can only be read")]
    Standby,
    /// The server took writes before, and does no more.
    #[error("the server takes no writes: it is a standby now, or default_transaction_read_only is set")]
    ReadOnly,
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
    /// A state in the tracker that this version does not know.
    #[error("the tracker gives tenant {tenant:?} the state {state:?}, which this version does not know")]
    UnknownState {
        /// The tenant.
        tenant: String,
        /// What stands there.
        state: String,
    },
    /// A public migration failed; what it had done was rolled back.
    #[error("public {0}")]
    PublicMigration(Box<MigrationFailure>),
    /// The public migrations could not be run.
    #[error("the public migrations cannot be run")]
    Public(#[source] Box<TenantError>),
    /// Another run is changing what this one wants to change.
    #[error("another run is changing {what}")]
    Busy {
        /// What.
        what: String,
    },
    /// Another run applies migrations as they are recorded, and they would be recorded otherwise.
    #[error("another run is applying migrations that would be recorded otherwise")]
    MigrationsInUse,
    /// Another run works on the whole fleet.
    #[error("another run works on the fleet: {0}")]
    FleetLocked(Box<FleetHolder>),
    /// Migrations are not as they were when they were first applied.
    #[error("{0}")]
    MigrationsChanged(Changes),
    /// A migration is as it was: there is nothing to accept.
    #[error(
        "the migration {version} is as it was when it was first applied, or was not applied: there is nothing to accept"
    )]
    NothingToAccept {
        /// Its version.
        version: Version,
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
    TenantsMeanwhile,
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
    NoReference(Unavailable),
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
    /// For `map_err`: what a query was for.
    pub(crate) fn doing(doing: &'static str) -> impl Fn(DieselError) -> Self {
        move |error| match Condition::of(&error) {
            Some(Condition::ReadOnly) => Self::ReadOnly,
            condition => Self::Query {
                doing,
                message: ServerMessage::from(&error),
                lost: condition == Some(Condition::ConnectionLost),
            },
        }
    }

    pub(crate) fn cannot_compare(name: &TenantName, why: &str) -> Self {
        Self::CannotCompare { name: name.clone(), why: why.to_owned() }
    }

    /// Whether it may be over when the server is back, or another has taken its place: the connection is gone, none could
    /// be made, or the server takes no writes.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::ConnectionsLost { .. } | Self::ReadOnly => true,
            Self::Query { lost, .. } => *lost,
            _ => false,
        }
    }

    /// What to do about it, where that is known. `command` completes a command of the command line: `migrate-public`
    /// becomes `tenantry migrate-public`.
    pub fn hint(&self, command: &dyn Fn(&str) -> String) -> Option<String> {
        match self {
            Self::Unreachable { .. } => {
                Some("check --database-url (DATABASE_URL), and that the server runs and lets this role in".to_owned())
            }
            Self::NoFreeConnection => Some("close others, or raise max_connections or the role's limit".to_owned()),
            Self::ConnectionsLost { .. } | Self::Query { lost: true, .. } => {
                Some("try again when the server is back".to_owned())
            }
            Self::Query { .. } => None,
            Self::ServerTooOld { .. } => None,
            Self::ReadOnly => Some("try again when it does, or give --database-url of the primary".to_owned()),
            Self::Standby => Some("give --database-url of the primary server".to_owned()),
            Self::TrackerMissing { .. } | Self::TrackerBehind { .. } => {
                Some(format!("run '{}'", command("migrate-public")))
            }
            Self::UnknownState { .. } => Some("use the version of the tool that last wrote to the tracker".to_owned()),
            Self::PublicMigration(failure) => failure.hint(),
            Self::Public(error) => error.hint("public", command),
            Self::Busy { .. } => Some("try again when the other run has ended".to_owned()),
            Self::MigrationsInUse => {
                Some("have all runs use the same release, or try again when it has ended".to_owned())
            }
            Self::FleetLocked(holder) => {
                let alike = holder.shards.map(|shards| format!("split it alike, with --shard I/{shards}, or "));
                Some(format!(
                    "{}wait for it to end, with --lock-wait 10m for up to ten minutes; if its machine is gone, \
                     SELECT pg_terminate_backend({}) frees the lock",
                    alike.unwrap_or_default(),
                    holder.backend
                ))
            }
            Self::MigrationsChanged(Changes(changes)) => changes
                .first()
                .map(|change| format!("{}; or '{}' accepts it", change.hint(), command(&change.accept()))),
            Self::NothingToAccept { .. } => None,
            Self::ServerFault { .. } => Some("mend the server, and try again".to_owned()),
            Self::UnknownVersion { .. } => Some("give the digits before the _ of a migration's folder".to_owned()),
            Self::TenantsMeanwhile => Some("run the cleanup again to drop them, too".to_owned()),
            Self::NoPublicSchema { .. } => Some("CREATE SCHEMA public, or GRANT USAGE ON SCHEMA public".to_owned()),
            Self::TrackerHidden => Some("connect as the owner of the tracker".to_owned()),
            Self::NoDown { .. } => Some("give the migration a down.sql".to_owned()),
            Self::NoExtensionSchema { .. } => Some("correct --extension-schema, or create the schema".to_owned()),
            Self::CannotCompare { name, .. } => Some(format!(
                "see '{}'; --reference takes another reference",
                command(&format!("health-check --match '^{name}$'"))
            )),
            Self::NoReference(Unavailable::NotAllowed(_)) => {
                Some("connect as a role that may create schemas on the primary server".to_owned())
            }
            Self::NoReference(Unavailable::Failed { folder, .. }) => Some(format!("correct {folder}/up.sql")),
            Self::Tenant { name, error } => error.hint(name.as_str(), command),
            // Not at this path: whatever file is there may be another's.
            Self::ReferenceFile { .. } => Some(format!("'{}' makes one", command("reference --output FILE"))),
            Self::Migrations(_) => Some("correct the migrations; nothing was run".to_owned()),
        }
    }
}
