//! Errors of building the reference schema.

use crate::postgres::ServerMessage;

/// Why the reference schema cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The migrations cannot be replayed on this server or by this role, for example on a standby.
    #[error("{0}")]
    NotAllowed(&'static str),
    /// A migration failed in an empty schema.
    #[error("migration {folder} failed in an empty schema: {server}")]
    Failed {
        /// Its folder.
        folder: String,
        /// The message of the server.
        server: ServerMessage,
    },
    /// A migration changes objects outside the tenant's schema without declaring it.
    #[error("migration {folder} changes objects outside the tenant's schema: {}", objects.join(", "))]
    ChangesOutside {
        /// Its folder.
        folder: String,
        /// The objects, as PostgreSQL describes them.
        objects: Vec<String>,
    },
    /// The replay must commit, and a migration declares that it changes objects outside the tenant's schema. The replay
    /// would change those objects.
    #[error("the migrations must be committed one by one, and {folder} changes objects outside the tenant's schema")]
    CommitsOutside {
        /// The folder of the migration that changes objects outside.
        folder: String,
    },
}

impl ReferenceError {
    /// How to fix the error.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::NotAllowed(_) => {
                "connect to the primary server as a role with the CREATE privilege on the database".to_owned()
            }
            Self::Failed { folder, .. } => format!("correct {folder}/up.sql"),
            Self::ChangesOutside { folder, .. } => {
                format!("correct {folder}/up.sql, or set changes_outside = \"REASON\" in its metadata.toml")
            }
            Self::CommitsOutside { .. } => "compare with a tenant or a saved reference, with --reference".to_owned(),
        }
    }
}
