//! Connection and query errors.

use diesel::result::Error as DieselError;

use super::{Condition, ServerMessage, Sqlstate, sqlstate};
use crate::model::SchemaName;

/// An error of a connection or a query.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection can be opened.
    #[error("cannot connect to PostgreSQL at {address}: {message}")]
    Unreachable {
        /// Host and port, or the directory of the socket.
        address: String,
        /// The message of libpq, without passwords.
        message: String,
    },
    /// The connection to the server was lost during a run, and the time limit for reconnecting was exceeded.
    #[error("lost connection to the server, and could not reconnect in time: {message}")]
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
    /// The server rejects writes.
    #[error("the server is read-only: it is a standby, or default_transaction_read_only is on")]
    ReadOnly,
    /// The server or a pooler does not set the `search_path` of a session of another program.
    #[error("a new session does not get the search_path of schema {schema}")]
    PathIgnored {
        /// The schema.
        schema: SchemaName,
    },
    /// The server is older than the oldest supported version.
    #[error("PostgreSQL {} is not supported; the oldest supported version is 14", .version / 10_000)]
    ServerTooOld {
        /// The version, as in `server_version_num`.
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
            Self::PathIgnored { .. } => "path-ignored",
            Self::ServerTooOld { .. } => "server-too-old",
        }
    }

    /// Whether the same command can succeed later without a change: the server cannot be reached at present, accepts no
    /// connections or writes at present, or another session holds a lock.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { message, .. } => sqlstate::is_temporary_refusal(message),
            Self::Query { message, .. } => self.is_outage() || message.is_temporary(),
            Self::ConnectionsLost { .. } | Self::ReadOnly | Self::PathIgnored { .. } | Self::ServerTooOld { .. } => {
                self.is_outage()
            }
        }
    }

    /// The SQLSTATE of the server's error, if it is known.
    pub fn sqlstate(&self) -> Option<Sqlstate> {
        match self {
            Self::Unreachable { message, .. } | Self::ConnectionsLost { message } => sqlstate::of_refusal(message),
            Self::Query { message, .. } => message.sqlstate,
            Self::ReadOnly => Condition::ReadOnly.sqlstate(),
            Self::PathIgnored { .. } | Self::ServerTooOld { .. } => None,
        }
    }

    /// Whether a retry can succeed after the server has restarted or failed over.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::ConnectionsLost { .. } | Self::ReadOnly => true,
            Self::Query { lost, .. } => *lost,
            Self::PathIgnored { .. } | Self::ServerTooOld { .. } => false,
        }
    }

    /// How to fix the error, if that is known.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable { .. } => {
                Some("check --database-url (DATABASE_URL), and that the server is running and accepts this role")
            }
            Self::ConnectionsLost { .. } | Self::Query { lost: true, .. } => {
                Some("try again when the server is available")
            }
            Self::ReadOnly => Some("set --database-url to the primary server"),
            Self::PathIgnored { .. } => Some("connect to the server directly and not through a pooler"),
            Self::Query { .. } | Self::ServerTooOld { .. } => None,
        }
    }
}
