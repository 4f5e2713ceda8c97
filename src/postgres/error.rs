//! Errors of a connection.

use diesel::result::Error as DieselError;

use super::{Condition, ServerMessage};

/// Why a connection cannot be opened or used.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection can be opened.
    #[error("cannot connect to PostgreSQL at {place}: {message}")]
    Unreachable {
        /// Host and port, or the directory of the socket.
        place: String,
        /// The message of libpq, without passwords.
        message: String,
    },
    /// The server could be reached before, and no connection could be opened for as long as the run waits for it.
    #[error("the server is gone, and did not come back in time: {message}")]
    ConnectionsLost {
        /// The error of the last attempt, without passwords.
        message: String,
    },
    /// The server rejected a query of tenantry's own.
    #[error("cannot {doing}: {message}")]
    Query {
        /// The purpose of the query, as in "read the tracker".
        doing: &'static str,
        /// The message of the server.
        message: ServerMessage,
        /// Whether the connection is lost.
        lost: bool,
    },
    /// The server accepted writes before and no longer does.
    #[error("the server takes no writes: it is a standby now, or default_transaction_read_only is set")]
    ReadOnly,
    /// The server is older than the oldest supported version.
    #[error("the server is PostgreSQL {}, and 14 is the oldest that works", .version / 10_000)]
    ServerTooOld {
        /// Its version, as in `server_version_num`.
        version: i32,
    },
}

impl Error {
    /// Returns a function for `map_err` that turns the error of a query into [`Error::Query`] or [`Error::ReadOnly`].
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

    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::ConnectionsLost { .. } | Self::Query { lost: true, .. } => "connection-lost",
            Self::Query { .. } => "query-failed",
            Self::ReadOnly => "read-only",
            Self::ServerTooOld { .. } => "server-too-old",
        }
    }

    /// Whether a retry can succeed once the server is back, or another one has replaced it.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::ConnectionsLost { .. } | Self::ReadOnly => true,
            Self::Query { lost, .. } => *lost,
            Self::ServerTooOld { .. } => false,
        }
    }

    /// What to do about it, where that is known.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable { .. } => {
                Some("check --database-url (DATABASE_URL), and that the server runs and lets this role in")
            }
            Self::ConnectionsLost { .. } | Self::Query { lost: true, .. } => Some("try again when the server is back"),
            Self::ReadOnly => Some("try again when it does, or give --database-url of the primary"),
            Self::Query { .. } | Self::ServerTooOld { .. } => None,
        }
    }
}
