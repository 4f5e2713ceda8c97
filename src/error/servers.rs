//! Errors of fleets on several servers.

use crate::postgres;

/// What makes a database one of its own again.
const FORGET: &str = "TRUNCATE public.schema_placement, public.schema_server, public.schema_identity";

/// An error of a fleet on several servers, which ends a command.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServersError {
    /// The database has no directory of servers.
    #[error("database {database:?} has no directory of servers")]
    NoDirectory {
        /// The database.
        database: String,
    },
    /// A change of the directory was asked of a database that has only a copy.
    #[error("database {database:?} is not the registry: it has a copy of the directory")]
    NotRegistry {
        /// The database.
        database: String,
    },
    /// No server has the name.
    #[error("no server has the name {name:?}")]
    UnknownServer {
        /// The given name.
        name: String,
        /// The names of all servers.
        known: Vec<String>,
    },
    /// No server is in the region.
    #[error("no server is in region {region:?}")]
    UnknownRegion {
        /// The given region.
        region: String,
        /// The regions of all servers.
        known: Vec<String>,
    },
    /// A server with the name exists.
    #[error("a server with the name {name} exists")]
    ServerExists {
        /// The name.
        name: String,
    },
    /// The database is registered with another name.
    #[error("this database is registered already, as server {name}")]
    SameDatabase {
        /// Its name.
        name: String,
    },
    /// The database belongs to another registry.
    #[error("the database belongs to another registry ({registry})")]
    OtherRegistry {
        /// The identity of that registry.
        registry: uuid::Uuid,
    },
    /// The database that answers is not the one that was registered.
    #[error("database {address} is not server {name}: {found}")]
    WrongDatabase {
        /// The server.
        name: String,
        /// The database and the address of its server.
        address: String,
        /// What was found instead, as a clause.
        found: String,
    },
    /// The connection string of a server cannot be used.
    #[error("invalid connection string for server {name}: {reason}")]
    InvalidConnection {
        /// The server.
        name: String,
        /// The problem.
        reason: String,
    },
    /// The environment variable with the password of a server is not set.
    #[error("the variable {variable} with the password of server {name} is not set")]
    NoPassword {
        /// The server.
        name: String,
        /// The variable.
        variable: String,
    },
    /// A server cannot be added.
    #[error("server {name} cannot be added: {}", .reasons.join("; "))]
    Unsuitable {
        /// The server.
        name: String,
        /// Why, as clauses.
        reasons: Vec<String>,
    },
    /// A server cannot be removed or retired.
    #[error("server {name} is in use: {}", .reasons.join("; "))]
    InUse {
        /// The server.
        name: String,
        /// What uses it.
        reasons: Vec<String>,
    },
    /// The registry itself can be neither drained into nothing nor removed while other servers exist.
    #[error("server {name} is the registry")]
    IsRegistry {
        /// The server.
        name: String,
    },
    /// Tenants with the same names, ignoring case, are on other servers.
    #[error("tenants with the same names are on other servers: {}", .tenants.join(", "))]
    Duplicates {
        /// The names, each with the other server.
        tenants: Vec<String>,
    },
    /// The name of a new tenant is taken.
    #[error("tenant {tenant} is on server {server}")]
    Placed {
        /// The tenant.
        tenant: String,
        /// The server.
        server: String,
    },
    /// No server may take a new tenant.
    #[error("no server can take {tenants} more: {}", .reasons.join("; "))]
    NoRoom {
        /// The tenants, such as `2 tenants`.
        tenants: String,
        /// Why, for each server.
        reasons: Vec<String>,
    },
    /// A server takes no new tenants.
    #[error("server {name} takes no more tenants: it is {state}")]
    NotOpen {
        /// The server.
        name: String,
        /// Its state.
        state: &'static str,
    },
    /// A server cannot be reached.
    #[error("server {name} cannot be reached: {error}")]
    Unreachable {
        /// The server.
        name: String,
        /// Why.
        error: Box<postgres::Error>,
    },
    /// The registry cannot be reached, and the command changes the directory.
    #[error("the registry cannot be reached: {error}")]
    RegistryDown {
        /// Why.
        error: Box<super::Error>,
    },
    /// The directory has a value that this version does not know.
    #[error("public.schema_server is not valid: {reason}")]
    InvalidDirectory {
        /// The problem.
        reason: String,
    },
    /// A server cannot share tables, or the replication to it cannot be changed.
    #[error("tables are not shared with server {name}: {}", .reasons.join("; "))]
    NotShared {
        /// The server.
        name: String,
        /// Why, as clauses.
        reasons: Vec<String>,
    },
    /// A server has rows of a shared table that would be replaced.
    #[error("server {name} has {rows} rows in public.{table} that would be replaced")]
    RowsDiffer {
        /// The server.
        name: String,
        /// The table.
        table: String,
        /// The number of rows.
        rows: i64,
    },
    /// A table cannot be shared.
    #[error("table public.{table} cannot be shared: {reason}")]
    NotShareable {
        /// The table.
        table: String,
        /// Why, as a clause.
        reason: String,
    },
    /// Shared tables are replicated to or from a server.
    #[error("server {name} has shared tables: {}", .reasons.join("; "))]
    StillShared {
        /// The server.
        name: String,
        /// The slots and subscriptions.
        reasons: Vec<String>,
    },
    /// A table is not shared.
    #[error("table public.{table} is not shared")]
    UnknownShared {
        /// The table.
        table: String,
    },
    /// The command works on one database at a time, and the fleet has several.
    #[error("the fleet is on several servers, and {command} works on one")]
    OneServerOnly {
        /// The command.
        command: &'static str,
    },
}

impl ServersError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoDirectory { .. } => "no-directory",
            Self::NotRegistry { .. } => "not-registry",
            Self::UnknownServer { .. } => "unknown-server",
            Self::UnknownRegion { .. } => "unknown-region",
            Self::ServerExists { .. } => "server-exists",
            Self::SameDatabase { .. } => "same-database",
            Self::OtherRegistry { .. } => "other-registry",
            Self::WrongDatabase { .. } => "wrong-database",
            Self::InvalidConnection { .. } => "invalid-connection",
            Self::NoPassword { .. } => "no-password",
            Self::Unsuitable { .. } => "unsuitable-server",
            Self::InUse { .. } => "server-in-use",
            Self::IsRegistry { .. } => "is-registry",
            Self::Duplicates { .. } => "duplicate-tenants",
            Self::Placed { .. } => "tenant-placed",
            Self::NoRoom { .. } => "no-room",
            Self::NotOpen { .. } => "server-not-open",
            Self::Unreachable { .. } => "server-unreachable",
            Self::RegistryDown { .. } => "registry-unreachable",
            Self::InvalidDirectory { .. } => "invalid-directory",
            Self::NotShared { .. } => "not-shared",
            Self::RowsDiffer { .. } => "rows-differ",
            Self::NotShareable { .. } => "not-shareable",
            Self::StillShared { .. } => "still-shared",
            Self::UnknownShared { .. } => "unknown-shared-table",
            Self::OneServerOnly { .. } => "several-servers",
        }
    }

    /// Whether a server was not used because of it.
    #[cfg(feature = "cli")]
    pub(crate) fn is_unreached(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::WrongDatabase { .. }
                | Self::NoPassword { .. }
                | Self::InvalidConnection { .. }
        )
    }

    /// Whether the same command can succeed later without a change.
    pub(crate) fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { error, .. } => error.is_retryable(),
            Self::RegistryDown { .. } => true,
            _ => false,
        }
    }

    /// How to fix the error. `command` turns a subcommand into a full command line.
    pub fn hint(&self, command: &dyn Fn(&str) -> String) -> Option<String> {
        Some(match self {
            Self::NoDirectory { .. } => {
                format!(
                    "'{}' registers another server and makes this database the registry",
                    command("server add NAME --url URL")
                )
            }
            Self::NotRegistry { .. } => "set --database-url to the registry".to_owned(),
            Self::UnknownServer { known, .. } => format!("the servers are {}", known.join(", ")),
            Self::UnknownRegion { known, .. } if known.is_empty() => "no server has a region".to_owned(),
            Self::UnknownRegion { known, .. } => format!("the regions are {}", known.join(", ")),
            Self::ServerExists { .. } => format!("'{}' shows the servers", command("server list")),
            Self::SameDatabase { .. } => {
                format!("if it is a copy of that database, run '{FORGET}' in the copy")
            }
            Self::OtherRegistry { .. } => {
                format!(
                    "remove it from that registry first; if that was done while it could not be reached, run '{FORGET}' in it"
                )
            }
            Self::WrongDatabase { .. } => "find out why another database answers; nothing was done there".to_owned(),
            Self::InvalidConnection { .. } => {
                "give one such as postgresql://USER@HOST/DATABASE, with the password in ~/.pgpass or --password-env"
                    .to_owned()
            }
            Self::NoPassword { variable, .. } => format!("set {variable}, in the environment or in .env"),
            Self::Unsuitable { .. } | Self::NotShareable { .. } => return None,
            Self::NotShared { .. } => {
                format!("nothing else was changed; when that is fixed, run '{}'", command("shared sync"))
            }
            Self::RowsDiffer { .. } => "to replace them, add --replace".to_owned(),
            Self::StillShared { name, .. } => {
                format!(
                    "'{}' ends the replication, also while the server is down",
                    command(&format!("shared detach {name}"))
                )
            }
            Self::UnknownShared { .. } => format!("'{}' shows the shared tables", command("shared list")),
            Self::InUse { name, .. } => {
                format!("'{}' shows what is on it", command(&format!("list --server {name}")))
            }
            Self::IsRegistry { .. } => "remove the other servers first".to_owned(),
            Self::Duplicates { .. } => "rename the tenants on one of the servers first".to_owned(),
            Self::Placed { .. } => "choose another name".to_owned(),
            Self::NoRoom { .. } | Self::NotOpen { .. } => {
                format!("'{}' shows states and capacities", command("server list"))
            }
            Self::Unreachable { .. } => {
                "check its connection string, and that the server is running and accepts this role".to_owned()
            }
            Self::RegistryDown { .. } => {
                "reading and migrating work without it; run this command when it is back".to_owned()
            }
            Self::InvalidDirectory { .. } => "use the release of tenantry that wrote this row".to_owned(),
            Self::OneServerOnly { .. } => "choose one with --server NAME".to_owned(),
        })
    }
}
