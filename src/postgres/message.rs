//! What the server says when it refuses a statement.

use std::fmt;

use diesel::QueryResult;
use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use serde::Serialize;

use crate::sql::quote::Literal;
use crate::text::{self, MAX_KEPT, MAX_SHOWN};

/// What is said by [`with_error_messages`] of a lock.
pub(crate) const LOCKED: &str = "tenantry: a lock was not had in time";

/// Reported by [`with_error_messages`] for a statement that can only run once what precedes it in the transaction is committed.
pub(crate) const NEEDS_COMMIT: &str = "tenantry: what precedes it must be committed first";

/// How [`with_error_messages`] recognizes such a statement: it uses an enum value that the transaction added, or changes a table that
/// has pending trigger events.
pub(crate) const NEEDS_COMMIT_CONDITION: (&str, &str) = ("unsafe_new_enum_value_usage OR object_in_use", NEEDS_COMMIT);

/// The server's message with its detail and hint, as `psql` shows them, each cut to 8 KiB. The server may have translated
/// them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerMessage {
    /// The primary message.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
    /// What the server suggests.
    pub hint: Option<String>,
    /// Where in the message that was sent, in characters, counted from 1.
    #[serde(skip)]
    pub position: Option<usize>,
}

impl ServerMessage {
    /// Whether the error says that the connection is gone.
    pub fn is_connection_lost(error: &DieselError) -> bool {
        /// What libpq says, which Diesel does not always know for what it is.
        const LOST: [&str; 6] = [
            "server closed the connection unexpectedly",
            "could not receive data from server",
            "could not send data to server",
            "SSL connection has been closed unexpectedly",
            "SSL SYSCALL error",
            "no connection to the server",
        ];
        let DieselError::DatabaseError(kind, info) = error else { return false };
        matches!(kind, DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand)
            || LOST.iter().any(|text| info.message().starts_with(text))
    }
}

/// A statement that runs `sql`, and says in words of its own why that failed: the server's may be translated, and its
/// SQLSTATE cannot be had. `told` are conditions as PL/pgSQL names them, and what is said for each.
pub(crate) fn with_error_messages(sql: &str, told: &[(&str, &str)]) -> String {
    let handlers: String = told
        .iter()
        .map(|(conditions, message)| format!(" WHEN {conditions} THEN RAISE EXCEPTION '{message}';"))
        .collect();
    format!("DO {};", Literal(&format!("BEGIN EXECUTE {}; EXCEPTION{handlers} END", Literal(sql))))
}

/// Whether a statement fails because what precedes it in the transaction is not committed yet. It is run again to find out,
/// so the transaction must be where it was before the statement failed, such as behind `ROLLBACK TO SAVEPOINT`; afterwards
/// the transaction is usually aborted.
///
/// # Errors
/// When the connection is lost.
pub(crate) fn needs_commit(conn: &mut PgConnection, sql: &str) -> QueryResult<bool> {
    match conn.batch_execute(&with_error_messages(sql, &[NEEDS_COMMIT_CONDITION])) {
        Err(error) if ServerMessage::is_connection_lost(&error) => Err(error),
        Err(error) => Ok(ServerMessage::from(&error).message == NEEDS_COMMIT),
        Ok(()) => Ok(false),
    }
}

impl From<&DieselError> for ServerMessage {
    fn from(error: &DieselError) -> Self {
        match error {
            // What follows is libpq's guess at the cause.
            DieselError::DatabaseError(_, info) if Self::is_connection_lost(error) => {
                let first = info.message().lines().next().unwrap_or_default();
                Self { message: kept(first), detail: None, hint: None, position: None }
            }
            DieselError::DatabaseError(_, info) => Self {
                message: kept(info.message().trim_end()),
                detail: info.details().map(kept),
                hint: info.hint().map(kept),
                position: info.statement_position().and_then(|position| usize::try_from(position).ok()),
            },
            other => Self { message: kept(&other.to_string()), detail: None, hint: None, position: None },
        }
    }
}

/// A migration can raise a message of any length, and each tenant that fails keeps one.
fn kept(text: &str) -> String {
    text::clip(text, MAX_KEPT).into_owned()
}

impl fmt::Display for ServerMessage {
    /// Each part is cut to `MAX_SHOWN` bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::clip(&self.message, MAX_SHOWN))?;
        if let Some(detail) = &self.detail {
            write!(f, "; detail: {}", text::clip(detail, MAX_SHOWN))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "; hint: {}", text::clip(hint, MAX_SHOWN))?;
        }
        Ok(())
    }
}
