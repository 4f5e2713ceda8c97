//! Errors of the roles of tenants.

/// An error of the role of a tenant, or of the group of these roles. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoleError {
    /// A role with the name exists, and is not marked as the role of this tenant of this database.
    #[error("role {role:?} exists for another purpose")]
    Exists {
        /// The role.
        role: String,
    },
    /// A role with the name of the group exists, and is not marked as the group of this database.
    #[error("role {role:?} exists for another purpose, and cannot be the group of the roles of tenants")]
    GroupExists {
        /// The role.
        role: String,
    },
    /// The role is used in other databases.
    #[error("role {role:?} has privileges or objects in other databases: {}", .databases.join(", "))]
    InUse {
        /// The role.
        role: String,
        /// The databases.
        databases: Vec<String>,
    },
    /// The role owns objects outside of the schema of the tenant.
    #[error("role {role:?} owns objects outside of the schema: {}", .objects.join(", "))]
    Owns {
        /// The role.
        role: String,
        /// The objects, as PostgreSQL describes them.
        objects: Vec<String>,
    },
    /// The tenant has no migration ledger, so that its tables do not exist yet.
    #[error("the tenant is not active")]
    NotActive,
    /// The tenant has no role.
    #[error("the tenant has no role")]
    NoRole,
    /// The tenant has a role already, and another name was given for it or for its group.
    #[error("the tenant has the role {role:?} in the group {group:?} already")]
    HasRole {
        /// The role.
        role: String,
        /// Its group.
        group: String,
    },
    /// This role may not set the limit of temporary files.
    #[error("role {role:?} may not set temp_file_limit")]
    TempFileLimit {
        /// The connected role.
        role: String,
    },
}

impl RoleError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Exists { .. } | Self::GroupExists { .. } => "role-exists",
            Self::InUse { .. } => "role-in-use",
            Self::Owns { .. } => "role-owns-objects",
            Self::NotActive => "not-yet-active",
            Self::NoRole => "no-role",
            Self::HasRole { .. } => "has-role",
            Self::TempFileLimit { .. } => "no-temp-file-limit",
        }
    }

    /// How to fix the error. `command` turns a subcommand into a full command line.
    pub fn hint(&self, command: &dyn Fn(&str) -> String) -> String {
        match self {
            Self::Exists { .. } => "choose another name with --role-name or --role-prefix".to_owned(),
            Self::GroupExists { .. } => "choose another name with --role-group".to_owned(),
            Self::InUse { .. } => "run DROP OWNED BY in each of these databases first".to_owned(),
            Self::Owns { .. } => "change the owner of these objects, or drop them".to_owned(),
            Self::NotActive => format!("run '{}' first", command("migrate-all")),
            Self::NoRole => format!("'{}' gives roles to tenants", command("isolate NAME")),
            Self::HasRole { .. } => {
                format!(
                    "omit --role-name and --role-group, or drop the role first with '{}'",
                    command("isolate NAME --undo")
                )
            }
            Self::TempFileLimit { .. } => {
                "add --role-temp-file-limit none, or have a superuser GRANT SET ON PARAMETER temp_file_limit \
                 (PostgreSQL 15 and later)"
                    .to_owned()
            }
        }
    }
}
