//! Errors of building the reference schema.

use crate::postgres::ServerMessage;
use crate::sql::quote::Identifier;

/// Why the reference schema cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The server is a standby.
    #[error("no schema can be created on a standby server")]
    Standby,
    /// The session's transactions are read-only by default.
    #[error("default_transaction_read_only is on for role {role}")]
    ReadOnly {
        /// The connected role.
        role: String,
    },
    /// The role cannot create schemas in the database.
    #[error("role {role} cannot create schemas in database {database}")]
    NoCreatePrivilege {
        /// The connected role.
        role: String,
        /// The database.
        database: String,
    },
    /// The role cannot read the tracker, which determines the owner of the reference.
    #[error("role {role} cannot read public.schema_tracker")]
    TrackerUnreadable {
        /// The connected role.
        role: String,
    },
    /// The migrations need commits, and the connection goes through a pooler.
    #[error("the migrations must be committed one by one, which requires a direct connection without a pooler")]
    Pooler,
    /// Another session holds a lock.
    #[error("another session locks an object outside the tenant that a migration refers to")]
    Locked,
    /// A migration requires a privilege that the role does not have.
    #[error("role {role} cannot run migration {folder}: {server}")]
    PermissionDenied {
        /// The migration's folder.
        folder: String,
        /// The role that ran it.
        role: String,
        /// The server's error.
        server: ServerMessage,
    },
    /// A migration failed in an empty schema.
    #[error("migration {folder} failed in an empty schema: {server}")]
    Failed {
        /// The migration's folder.
        folder: String,
        /// The server's error.
        server: ServerMessage,
    },
    /// A migration changes objects outside the tenant's schema, and does not declare it.
    #[error("migration {folder} changes objects outside the tenant's schema: {}", objects.join(", "))]
    ChangesOutside {
        /// The migration's folder.
        folder: String,
        /// The objects, as PostgreSQL describes them.
        objects: Vec<String>,
    },
    /// The migrations need commits, and one of them declares that it changes objects outside the tenant's schema: the
    /// replay would change them, too.
    #[error("the migrations must be committed one by one, and {folder} changes objects outside the tenant's schema")]
    CommitsOutside {
        /// The folder of the migration that changes objects outside.
        folder: String,
    },
}

impl ReferenceError {
    /// How to fix the error.
    pub fn hint(&self) -> String {
        const SAVED: &str = "compare with a saved reference (--reference FILE)";
        match self {
            Self::Standby => format!("connect to the primary server, or {SAVED}"),
            Self::ReadOnly { role } => format!(
                "ALTER ROLE {} SET default_transaction_read_only TO off, or {SAVED}",
                Identifier::of_object(role)
            ),
            Self::NoCreatePrivilege { role, database } => format!(
                "GRANT CREATE ON DATABASE {} TO {}, or {SAVED}",
                Identifier::of_object(database),
                Identifier::of_object(role)
            ),
            Self::TrackerUnreadable { role } => {
                format!("GRANT SELECT ON public.schema_tracker TO {}", Identifier::of_object(role))
            }
            Self::Pooler => format!("connect to the server directly, or {SAVED}"),
            Self::Locked => "run the command again when the other session has ended".to_owned(),
            Self::PermissionDenied { role, server, .. } => match missing_grant(&server.message, role) {
                Some(grant) => format!("{grant}, or {SAVED}"),
                None => format!("connect as the role that migrates the tenants, or {SAVED}"),
            },
            Self::Failed { folder, .. } if folder.ends_with(".sql") => format!("correct {folder}"),
            Self::Failed { folder, .. } => format!("correct {folder}/up.sql"),
            Self::ChangesOutside { folder, .. } => {
                format!("correct {folder}/up.sql, or set changes_outside = \"REASON\" in its metadata.toml")
            }
            Self::CommitsOutside { .. } => "compare with a tenant or a saved reference (--reference)".to_owned(),
        }
    }
}

/// The missing grant of a role, from the server's message in English: `permission denied for table plan`.
fn missing_grant(message: &str, role: &str) -> Option<String> {
    const PRIVILEGES: [(&str, &str); 9] = [
        ("table ", "SELECT, REFERENCES"),
        ("view ", "SELECT"),
        ("sequence ", "USAGE, SELECT"),
        ("schema ", "USAGE"),
        ("function ", "EXECUTE"),
        ("procedure ", "EXECUTE"),
        ("type ", "USAGE"),
        ("language ", "USAGE"),
        ("database ", "CREATE"),
    ];
    let object = message.strip_prefix("permission denied for ")?;
    let (kind, privileges) = PRIVILEGES.into_iter().find(|(kind, _)| object.starts_with(kind))?;
    let (kind, name) = object.split_at(kind.len());
    Some(format!(
        "GRANT {privileges} ON {}{} TO {}",
        kind.to_uppercase(),
        Identifier::of_object(name),
        Identifier::of_object(role)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_grant_is_derived_from_the_server_message() {
        let grant = |message: &str| missing_grant(message, "Monitor");
        let expected = "GRANT SELECT, REFERENCES ON TABLE \"plan\" TO \"Monitor\"";
        assert_eq!(grant("permission denied for table plan").as_deref(), Some(expected));
        assert_eq!(grant("permission denied for tablespace fast"), None);
        assert_eq!(grant("must be owner of table plan"), None);
    }
}
