//! Why there is no reference.

use crate::postgres::ServerMessage;

/// Why there is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The replay cannot run here and now, such as on a standby. Nothing is wrong with the migrations.
    #[error("{0}")]
    NotAllowed(&'static str),
    /// A migration failed in an empty schema.
    #[error("migration {folder} fails in an empty schema: {server}")]
    Failed {
        /// Its folder.
        folder: String,
        /// What the server said.
        server: ServerMessage,
    },
    /// A migration changes objects outside the tenant's schema, and does not declare it.
    #[error("migration {folder} changes objects outside the tenant: {}", objects.join(", "))]
    ChangesOutside {
        /// Its folder.
        folder: String,
        /// The objects, as PostgreSQL describes them.
        objects: Vec<String>,
    },
    /// The migrations need commits, and one of them declares that it changes objects outside the tenant's schema: the
    /// replay would change them, too.
    #[error("the migrations must be committed one by one, and {folder} changes objects outside the tenant")]
    CommitsOutside {
        /// The folder of the migration that changes objects outside.
        folder: String,
    },
}
