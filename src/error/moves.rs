//! Errors of moves of tenants between servers.

use crate::text::shell_word;

/// An error of a move of a tenant between servers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MoveError {
    /// The tenant is on no server of the fleet.
    #[error("tenant {tenant} is on no server of the fleet")]
    NotPlaced {
        /// The tenant.
        tenant: String,
    },
    /// The tenant is on the server already.
    #[error("tenant {tenant} is on server {server} already")]
    AlreadyThere {
        /// The tenant.
        tenant: String,
        /// The server.
        server: String,
    },
    /// A move of the tenant has begun and not ended.
    #[error("tenant {tenant} is being moved to server {server}")]
    InProgress {
        /// The tenant.
        tenant: String,
        /// The server.
        server: String,
    },
    /// Another command works on the move.
    #[error("another command works on the move of tenant {tenant}")]
    Running {
        /// The tenant.
        tenant: String,
    },
    /// The tenant has no move in the state that the command needs.
    #[error("tenant {tenant} has no move that can be {action}")]
    NoMove {
        /// The tenant.
        tenant: String,
        /// What was to be done with it, as a participle.
        action: &'static str,
    },
    /// The tenant cannot be moved.
    #[error("tenant {tenant} cannot be moved to server {server}: {}", .reasons.join("; "))]
    Impossible {
        /// The tenant.
        tenant: String,
        /// The server.
        server: String,
        /// Why, as clauses.
        reasons: Vec<String>,
    },
    /// The structure of the tenant was changed while it was moved.
    #[error("the structure of tenant {tenant} was changed during the move: {}", .differences.join("; "))]
    StructureChanged {
        /// The tenant.
        tenant: String,
        /// The differences.
        differences: Vec<String>,
    },
    /// Writes could not be blocked, or the target did not follow, within the longest pause.
    #[error("tenant {tenant} was not moved: {reason}")]
    NoFence {
        /// The tenant.
        tenant: String,
        /// Why, as a clause.
        reason: String,
    },
    /// Rows differ between the servers.
    #[error("rows of tenant {tenant} differ on server {server}: {}", .tables.join(", "))]
    RowsDiffer {
        /// The tenant.
        tenant: String,
        /// The server that it was moved to.
        server: String,
        /// The tables, with the numbers of rows.
        tables: Vec<String>,
        /// Whether the tenant is in use on that server.
        switched: bool,
    },
    /// The tenant has moved, and the move cannot be aborted any more.
    #[error("tenant {tenant} is in use on server {server}; the move cannot be aborted any more")]
    Switched {
        /// The tenant.
        tenant: String,
        /// The server.
        server: String,
    },
    /// Rows were changed since the move, so that going back would lose them.
    #[error("tenant {tenant} was changed since its move to server {server}: {}", .tables.join(", "))]
    Written {
        /// The tenant.
        tenant: String,
        /// The server that it is on.
        server: String,
        /// The server that it was on before.
        origin: String,
        /// What differs.
        tables: Vec<String>,
    },
    /// The servers are in a state that no move leaves behind.
    #[error("the move of tenant {tenant} cannot continue: {reason}")]
    Inconsistent {
        /// The tenant.
        tenant: String,
        /// What was found, as a clause.
        reason: String,
    },
    /// The move was interrupted by a request to stop.
    #[error("the move of tenant {tenant} was interrupted")]
    Interrupted {
        /// The tenant.
        tenant: String,
    },
    /// A statement of the move failed.
    #[error("cannot {doing} on server {server}: {message}")]
    Failed {
        /// The tenant.
        tenant: String,
        /// The server.
        server: String,
        /// What was done, as a verb phrase.
        doing: &'static str,
        /// The server's message.
        message: String,
        /// Whether the connection was lost.
        lost: bool,
    },
}

impl MoveError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotPlaced { .. } => "not-placed",
            Self::AlreadyThere { .. } => "already-there",
            Self::InProgress { .. } => "move-in-progress",
            Self::Running { .. } => "move-running",
            Self::NoMove { .. } => "no-move",
            Self::Impossible { .. } => "cannot-move",
            Self::StructureChanged { .. } => "changed-during-move",
            Self::NoFence { .. } => "writes-not-blocked",
            Self::RowsDiffer { .. } => "rows-differ",
            Self::Switched { .. } => "already-switched",
            Self::Written { .. } => "changed-since-move",
            Self::Inconsistent { .. } => "move-inconsistent",
            Self::Interrupted { .. } => "move-interrupted",
            Self::Failed { .. } => "move-failed",
        }
    }

    /// Whether the same command can succeed later without a change.
    pub(crate) fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Running { .. } | Self::NoFence { .. } | Self::Interrupted { .. } | Self::Failed { lost: true, .. }
        )
    }

    /// How to fix the error. `command` turns a subcommand into a full command line.
    pub fn hint(&self, command: &dyn Fn(&str) -> String) -> Option<String> {
        let of = |verb: &str, tenant: &str| command(&format!("move {verb} {}", shell_word(tenant)));
        let either =
            |tenant: &str| format!("'{}' continues, '{}' undoes it", of("resume", tenant), of("abort", tenant));
        Some(match self {
            Self::NotPlaced { .. } => format!("'{}' lists the tenants", command("list")),
            Self::AlreadyThere { .. } => return None,
            Self::InProgress { tenant, .. } => either(tenant),
            Self::Running { .. } | Self::NoMove { .. } => format!("'{}' shows the moves", command("move status")),
            Self::Impossible { .. } => "nothing was changed".to_owned(),
            Self::StructureChanged { tenant, .. } => {
                format!("the tenant is in use as before; {}", either(tenant))
            }
            Self::NoFence { tenant, .. } | Self::Interrupted { tenant } | Self::Failed { tenant, .. } => either(tenant),
            Self::RowsDiffer { tenant, switched: false, .. } => {
                format!("the tenant is in use as before; '{}' undoes the move", of("abort", tenant))
            }
            Self::RowsDiffer { tenant, .. } => format!(
                "the schema on the earlier server is unchanged; '{}' returns to it if nothing was written since",
                of("back", tenant)
            ),
            Self::Switched { tenant, .. } => {
                format!("'{}' returns to the earlier server if nothing was written since", of("back", tenant))
            }
            Self::Written { tenant, origin, .. } => {
                let tenant = shell_word(tenant);
                format!("'{}' moves the tenant with its changes", command(&format!("move {tenant} --to {origin}")))
            }
            Self::Inconsistent { .. } => "find out who changed the schemas or public.schema_tracker".to_owned(),
        })
    }
}
