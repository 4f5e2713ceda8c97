//! Errors of probes.

use crate::postgres::ServerMessage;

/// Why a role cannot be probed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// No role was given, and the database does not name one.
    #[error("no role specified: each tenant has a role of its own")]
    NoRole,
    /// The role is a superuser.
    #[error("role {role:?} is a superuser, to whom no rule of isolation applies")]
    Superuser {
        /// The role.
        role: String,
    },
    /// The role is that of the command's own connection.
    #[error("role {role:?} is the role of the operator")]
    OperatorRole {
        /// The role.
        role: String,
    },
    /// The connections lead to different databases.
    #[error("the role is connected to another database than the operator")]
    OtherDatabase,
    /// It is not known which tenant the role belongs to.
    #[error("cannot find out which tenant role {role:?} belongs to")]
    NoOwnTenant {
        /// The role.
        role: String,
    },
    /// The registry cannot be read.
    #[error("cannot read the registry: {message}")]
    UnreadableRegistry {
        /// The server's message.
        message: ServerMessage,
    },
    /// A tenant does not exist.
    #[error("tenant {name:?} does not exist")]
    NoSuchTenant {
        /// Its name.
        name: String,
        /// The most similar name.
        similar: Option<String>,
    },
}

impl ProbeError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoRole => "no-probe-role",
            Self::Superuser { .. } => "probe-superuser",
            Self::OperatorRole { .. } => "probe-operator",
            Self::OtherDatabase => "probe-other-database",
            Self::NoOwnTenant { .. } => "no-own-tenant",
            Self::UnreadableRegistry { .. } => "unreadable-registry",
            Self::NoSuchTenant { .. } => "unknown-tenant",
        }
    }

    /// How to fix the error. `command` turns a subcommand into a full command line.
    pub fn hint(&self, command: &dyn Fn(&str) -> String) -> String {
        match self {
            Self::NoRole => "add --as-role ROLE or --as URL with the role of a tenant".to_owned(),
            Self::Superuser { .. } | Self::OperatorRole { .. } => {
                "add --as-role ROLE or --as URL with the role of the application or of a tenant".to_owned()
            }
            Self::OtherDatabase => "set --as and --database-url to the same database".to_owned(),
            Self::NoOwnTenant { .. } => "add --tenant NAME".to_owned(),
            Self::UnreadableRegistry { .. } => {
                "set --database-url to a URL with a superuser or the administrator".to_owned()
            }
            Self::NoSuchTenant { similar: Some(similar), .. } => format!("did you mean {similar}?"),
            Self::NoSuchTenant { similar: None, .. } => format!("'{}' shows the tenants", command("list")),
        }
    }
}
