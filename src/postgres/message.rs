//! Error messages of the server.

use std::fmt;

use diesel::QueryResult;
use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use serde::Serialize;

use super::Sqlstate;
use super::sqlstate;
use crate::sql::quote::Literal;
use crate::text::{self, MAX_KEPT, MAX_SHOWN};

/// The message for a lock that could not be acquired; see [`with_error_messages`].
pub(crate) const LOCKED: &str = "tenantry: a lock could not be acquired in time";

/// The message for a statement that fails because earlier statements of the transaction are not committed; see
/// [`with_error_messages`].
pub(crate) const NEEDS_COMMIT: &str = "tenantry: earlier statements of the transaction must be committed first";

/// The condition names for [`NEEDS_COMMIT`]: the statement uses an enum value that the transaction added, or changes a table
/// with pending trigger events.
pub(crate) const NEEDS_COMMIT_CONDITION: (&str, &str) = ("unsafe_new_enum_value_usage OR object_in_use", NEEDS_COMMIT);

/// An error message of the server with its detail and hint, each truncated to 8 KiB. It may be in any language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerMessage {
    /// The primary message.
    pub message: String,
    /// The detail.
    pub detail: Option<String>,
    /// The hint.
    pub hint: Option<String>,
    /// The position of the error in the SQL text, in characters, counted from 1.
    #[serde(skip)]
    pub position: Option<u32>,
    /// The SQLSTATE, if it is known: Diesel exposes it for a few errors, and other errors are known by their messages.
    #[serde(skip)]
    pub sqlstate: Option<Sqlstate>,
    /// How to fix the error, if it is that of a guard of Tenantry's own.
    #[serde(skip)]
    pub advice: Option<&'static str>,
}

impl ServerMessage {
    /// The message of a guard of Tenantry's own, and how to fix the error.
    pub(crate) fn of_guard(message: impl Into<String>, advice: &'static str) -> Self {
        Self { advice: Some(advice), ..Self::of_text(message.into(), None) }
    }

    /// A message without details.
    fn of_text(message: String, sqlstate: Option<Sqlstate>) -> Self {
        Self { message, detail: None, hint: None, position: None, sqlstate, advice: None }
    }

    /// The [`position`](Self::position) as a number of characters.
    pub(crate) fn character(&self) -> Option<usize> {
        usize::try_from(self.position?).ok()
    }

    /// Whether the error is a lost connection.
    pub fn is_connection_lost(error: &DieselError) -> bool {
        /// Messages of libpq for a lost connection, which Diesel does not always recognize.
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

    /// Whether the statement can succeed later without a change: the cause is a lock, an outage or a connection limit.
    pub fn is_temporary(&self) -> bool {
        self.sqlstate.is_some_and(Sqlstate::is_temporary)
    }
}

/// A `DO` statement that executes `sql` and replaces the messages of certain errors, which identifies them: Diesel does not
/// expose the SQLSTATE, and the messages of the server may be translated. `messages` maps PL/pgSQL condition names to
/// messages.
pub(crate) fn with_error_messages(sql: &str, messages: &[(&str, &str)]) -> String {
    let handlers: String = messages
        .iter()
        .map(|(conditions, message)| format!(" WHEN {conditions} THEN RAISE EXCEPTION '{message}';"))
        .collect();
    format!("DO {};", Literal(&format!("BEGIN EXECUTE {}; EXCEPTION{handlers} END", Literal(sql))))
}

/// Whether a statement fails because earlier statements of the transaction are not committed. Executes the statement again, so
/// the transaction must be in the state before the failure, as after `ROLLBACK TO SAVEPOINT`. Usually aborts the
/// transaction.
///
/// # Errors
/// If the connection is lost.
pub(crate) fn needs_commit(conn: &mut PgConnection, sql: &str) -> QueryResult<bool> {
    match conn.batch_execute(&with_error_messages(sql, &[NEEDS_COMMIT_CONDITION])) {
        Err(error) if ServerMessage::is_connection_lost(&error) => Err(error),
        Err(error) => Ok(ServerMessage::from(&error).message == NEEDS_COMMIT),
        Ok(()) => Ok(false),
    }
}

impl From<&DieselError> for ServerMessage {
    fn from(error: &DieselError) -> Self {
        let sqlstate = sqlstate::of(error);
        match error {
            // The other lines are libpq's guess at the cause.
            DieselError::DatabaseError(_, info) if Self::is_connection_lost(error) => {
                let first = info.message().lines().next().unwrap_or_default();
                Self::of_text(truncated(first), sqlstate)
            }
            DieselError::DatabaseError(_, info) => Self {
                message: truncated(info.message().trim_end()),
                detail: info.details().map(truncated),
                hint: info.hint().map(truncated),
                position: info.statement_position().and_then(|position| u32::try_from(position).ok()),
                sqlstate,
                advice: None,
            },
            other => Self::of_text(truncated(&other.to_string()), sqlstate),
        }
    }
}

/// Truncates a message. A migration can raise a message of any length, and each failed tenant keeps one.
fn truncated(text: &str) -> String {
    text::clip(text, MAX_KEPT).into_owned()
}

impl fmt::Display for ServerMessage {
    /// Truncates each part to `MAX_SHOWN` bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::clip(&self.message, MAX_SHOWN))?;
        if let Some(detail) = &self.detail {
            write!(f, "; detail: {}", text::clip(detail, MAX_SHOWN))?;
        }
        if let Some(hint) = self.hint.as_deref().or(self.advice) {
            write!(f, "; hint: {}", text::clip(hint, MAX_SHOWN))?;
        }
        Ok(())
    }
}
