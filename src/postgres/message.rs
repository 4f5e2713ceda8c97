//! What the server says when it refuses a statement.

use std::fmt;

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use serde::Serialize;

use crate::sql::quote::Literal;

/// What is said by [`telling`] of a lock.
pub(crate) const LOCKED: &str = "tenantry: a lock was not had in time";

/// The server's message with its detail and hint, as `psql` shows them. The server may have translated them.
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
pub(crate) fn telling(sql: &str, told: &[(&str, &str)]) -> String {
    let handlers: String = told
        .iter()
        .map(|(conditions, message)| format!(" WHEN {conditions} THEN RAISE EXCEPTION '{message}';"))
        .collect();
    format!("DO {};", Literal(&format!("BEGIN EXECUTE {}; EXCEPTION{handlers} END", Literal(sql))))
}

impl From<&DieselError> for ServerMessage {
    fn from(error: &DieselError) -> Self {
        match error {
            // What follows is libpq's guess at the cause.
            DieselError::DatabaseError(_, info) if Self::is_connection_lost(error) => {
                let first = info.message().lines().next().unwrap_or_default();
                Self { message: first.to_owned(), detail: None, hint: None, position: None }
            }
            DieselError::DatabaseError(_, info) => Self {
                message: info.message().trim_end().to_owned(),
                detail: info.details().map(str::to_owned),
                hint: info.hint().map(str::to_owned),
                position: info.statement_position().and_then(|position| usize::try_from(position).ok()),
            },
            other => Self { message: other.to_string(), detail: None, hint: None, position: None },
        }
    }
}

impl fmt::Display for ServerMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(detail) = &self.detail {
            write!(f, "; detail: {detail}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "; hint: {hint}")?;
        }
        Ok(())
    }
}
