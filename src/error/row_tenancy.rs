//! Errors of row-level tenancy.

use super::tenant::Contention;
use crate::model::TenantId;
use crate::postgres::ServerMessage;
use crate::sql::quote::Identifier;

/// An error of row-level tenancy, which ends a command.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RowTenancyError {
    /// `public.row_tenancy` has a value that this version does not know.
    #[error("public.row_tenancy is not valid: {reason}")]
    InvalidLayout {
        /// The problem.
        reason: String,
    },
    /// The database was set up with another layout.
    #[error("database {database:?} was set up for shared tables with another layout")]
    OtherLayout {
        /// The database.
        database: String,
    },
    /// The tenants of the database have schemas of their own.
    #[error("the tenants of database {database:?} have schemas of their own")]
    NotRows {
        /// The database.
        database: String,
    },
    /// The tenants of the database share tables, and the command is for tenants with schemas of their own.
    #[error("the tenants of database {database:?} share tables: {command} does not apply")]
    NotSchemas {
        /// The database.
        database: String,
        /// The command.
        command: &'static str,
    },
    /// The registry does not exist, or has no column `id` of a type that is supported.
    #[error("{schema}.{registry} is not a registry of tenants: {reason}")]
    NoRegistry {
        /// The shared schema.
        schema: String,
        /// The table.
        registry: String,
        /// The problem.
        reason: String,
    },
    /// Something prevents that the tables are isolated. Nothing was changed.
    #[error("{number} of the shared tables cannot be isolated; nothing was changed")]
    Obstacles {
        /// The number of obstacles.
        number: usize,
    },
    /// A statement that isolates tables failed.
    #[error("cannot isolate {}: {message}", .table.as_deref().unwrap_or("the shared tables"))]
    Statement {
        /// The table.
        table: Option<String>,
        /// The statement.
        sql: String,
        /// The message of the server.
        message: ServerMessage,
        /// What blocked it.
        contention: Option<Contention>,
    },
    /// The database has no key that verifies signed contexts.
    #[error("database {database:?} has no context key, so that the application has access to no tenant")]
    NoKey {
        /// The database.
        database: String,
    },
    /// The database does not have this key.
    #[error("database {database:?} has no context key {id:?}")]
    UnknownKey {
        /// The database.
        database: String,
        /// The id of the key.
        id: String,
    },
    /// The last key of a database was to be retired.
    #[error("context key {id:?} is the only one of database {database:?}")]
    LastKey {
        /// The database.
        database: String,
        /// The id of the key.
        id: String,
    },
    /// A tenant with this name is in the registry.
    #[error("tenant {name:?} already exists")]
    TenantExists {
        /// Its name.
        name: String,
    },
    /// No tenant with this name is in the registry.
    #[error("tenant {name:?} does not exist")]
    UnknownTenant {
        /// The name.
        name: String,
        /// The most similar name.
        similar: Option<String>,
    },
    /// No tenant may have this id.
    #[error("tenant id {id} is reserved")]
    ReservedId {
        /// The id.
        id: TenantId,
    },
    /// A table of the registry's template is missing.
    #[error("schema {schema} has no table {table:?}, so that a tenant has no members")]
    NoMembers {
        /// The shared schema.
        schema: String,
        /// The table.
        table: &'static str,
    },
    /// The id is not of the type of the registry's ids.
    #[error("tenant id {id} is not of type {expected}")]
    WrongIdType {
        /// The id.
        id: TenantId,
        /// The type of the registry's ids.
        expected: &'static str,
    },
    /// The registry's default draws only reserved ids.
    #[error("the registry's default for ids draws only reserved ids")]
    NoFreeId,
    /// The deletion of a tenant was interrupted.
    #[error("interrupted; tenant {tenant:?} is deleted in part")]
    Interrupted {
        /// Its name.
        tenant: String,
    },
    /// The connected role is no superuser, and what is to be done requires one.
    #[error("the connected role is not a superuser")]
    NotSuperuser,
    /// Rows of the shared tables are to be read, and the server is a standby.
    #[error(
        "rows of shared tables cannot be read on a standby: the function that limits the rights of their code cannot be created"
    )]
    Standby,
    /// The server is behind a transaction pooler, and indexes are built without a transaction.
    #[error("indexes cannot be built through a transaction pooler")]
    Pooler,
}

impl RowTenancyError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidLayout { .. } => "invalid-row-tenancy",
            Self::OtherLayout { .. } => "other-layout",
            Self::NotRows { .. } => "not-row-tenancy",
            Self::NotSchemas { .. } => "not-schema-tenancy",
            Self::NoRegistry { .. } => "no-registry",
            Self::Obstacles { .. } => "not-isolatable",
            Self::Statement { .. } => "isolation-failed",
            Self::NoKey { .. } => "no-context-key",
            Self::UnknownKey { .. } => "unknown-context-key",
            Self::LastKey { .. } => "last-context-key",
            Self::TenantExists { .. } => "tenant-exists",
            Self::UnknownTenant { .. } => "unknown-tenant",
            Self::ReservedId { .. } => "reserved-id",
            Self::NoMembers { .. } => "no-members",
            Self::WrongIdType { .. } => "wrong-id-type",
            Self::NoFreeId => "no-free-id",
            Self::Interrupted { .. } => "interrupted",
            Self::NotSuperuser => "not-superuser",
            Self::Standby => "standby",
            Self::Pooler => "pooler",
        }
    }

    /// How to fix the error. `command` turns a subcommand into a full command line.
    pub fn hint(&self, command: &dyn Fn(&str) -> String) -> Option<String> {
        Some(match self {
            Self::InvalidLayout { .. } => "use the release of tenantry that wrote this row".to_owned(),
            Self::OtherLayout { .. } => "use the layout that 'Layout::read' returns".to_owned(),
            Self::NotRows { .. } => {
                format!("to share tables between tenants, run '{}'", command("migrate-public --tenancy rows"))
            }
            Self::NotSchemas { command: "migrate-one", .. } => {
                format!("run '{}': all tenants share the tables that it migrates", command("migrate-all"))
            }
            Self::NotSchemas { command: "diff", .. } => {
                format!(
                    "run '{}': there is one set of tables, and no tenant can differ from another",
                    command("health-check")
                )
            }
            Self::NotSchemas { .. } => format!("'{}' shows the tenants", command("list")),
            Self::NoRegistry { .. } => format!(
                "create it in a migration: '{}' writes one",
                command("new-migration --template registry create_registry")
            ),
            Self::NoMembers { .. } => format!(
                "create the tables in a migration: '{}' writes one",
                command("new-migration --template registry create_registry")
            ),
            Self::Obstacles { .. } => {
                "fix each of them, or exempt a table: its comment begins with 'tenantry: exempt'".to_owned()
            }
            Self::Statement { contention: Some(_), .. } => {
                format!("run '{}' again when the other session has ended", command("isolate"))
            }
            Self::Statement { message, .. } => return message.hint.clone(),
            Self::NoKey { .. } => format!("install the application's key: '{}'", command("key install")),
            Self::UnknownKey { .. } | Self::LastKey { .. } => format!("'{}' shows the keys", command("key list")),
            Self::UnknownTenant { similar: Some(similar), .. } => format!("did you mean {similar}?"),
            Self::UnknownTenant { similar: None, .. } => format!("'{}' shows the tenants", command("list")),
            Self::Interrupted { tenant } => format!("run '{}' again to continue", command(&format!("drop {tenant}"))),
            Self::NoFreeId => "add --id with an id that is not reserved".to_owned(),
            Self::TenantExists { .. } | Self::ReservedId { .. } | Self::WrongIdType { .. } => return None,
            Self::NotSuperuser => "set --database-url to a URL with a superuser".to_owned(),
            Self::Standby => "set --database-url to the primary server".to_owned(),
            Self::Pooler => "set --database-url to the server itself".to_owned(),
        })
    }

    /// [`NoRegistry`](Self::NoRegistry) for a registry that does not exist, or has ids of another type.
    pub(crate) fn no_registry(schema: &str, registry: &str, id_type: Option<&str>) -> Self {
        let reason = match id_type {
            None => "it does not exist, or has no column id".to_owned(),
            Some(name) => format!("its column id has type {name}; expected uuid, bigint or integer"),
        };
        let quoted = |name: &str| Identifier::of_object(name).to_string();
        Self::NoRegistry { schema: quoted(schema), registry: quoted(registry), reason }
    }
}
