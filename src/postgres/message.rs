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
    /// The functions, triggers and statements in which the error occurred, innermost first, one a line. Known for statements
    /// that were sent again to find the cause.
    pub context: Option<String>,
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
        Self { message, detail: None, hint: None, context: None, position: None, sqlstate, advice: None }
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

/// What the server reports of an error besides its message, which Diesel does not expose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    /// The SQLSTATE.
    pub(crate) sqlstate: String,
    /// The context; see [`ServerMessage::context`].
    pub(crate) context: Option<String>,
}

impl Diagnosis {
    /// Whether the statement fails because earlier statements of the transaction are not committed; see
    /// [`NEEDS_COMMIT_CONDITION`].
    pub(crate) fn needs_commit(&self) -> bool {
        ["55P04", "55006"].contains(&self.sqlstate.as_str())
    }
}

/// Executes a statement that has failed again, and diagnoses its error; `None` if it does not fail with `message` again. The
/// transaction must be in the state before the failure, as after `ROLLBACK TO SAVEPOINT`. Usually aborts the transaction.
///
/// # Errors
/// If the connection is lost.
pub(crate) fn diagnose(conn: &mut PgConnection, sql: &str, message: &str) -> QueryResult<Option<Diagnosis>> {
    // The names of variables cannot hide names in the statement: EXECUTE does not see them.
    let block = format!(
        "DECLARE state text; context text; message text; BEGIN EXECUTE {}; \
         EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, \
         context = PG_EXCEPTION_CONTEXT, message = MESSAGE_TEXT; \
         RAISE EXCEPTION USING MESSAGE = message, HINT = state, DETAIL = context; END",
        Literal(sql)
    );
    match conn.batch_execute(&format!("DO {};", Literal(&block))) {
        Err(error) if ServerMessage::is_connection_lost(&error) => Err(error),
        Err(DieselError::DatabaseError(_, info)) if truncated(info.message().trim_end()) == message => {
            let sqlstate = info.hint().filter(|hint| hint.len() == 5).map(str::to_owned);
            let context = info.details().and_then(|context| context_of(context, sql));
            Ok(sqlstate.map(|sqlstate| Diagnosis { sqlstate, context }))
        }
        Err(_) | Ok(()) => Ok(None),
    }
}

/// The context without the lines of the block that executed the statement; `None` if nothing else is left.
fn context_of(context: &str, sql: &str) -> Option<String> {
    // The last entry is the block. The entry before is the statement itself, unless the error has a position in it.
    let block = context.trim_end().rfind('\n').unwrap_or(0);
    let statement = context[..block].rfind(sql).map_or(block, |at| context[..at].rfind('\n').unwrap_or(0));
    let inner = context[..statement].trim_end();
    (!inner.is_empty()).then(|| shortened(inner))
}

/// The first and the last lines of a context. That of a recursive function can have thousands.
fn shortened(context: &str) -> String {
    const FIRST: usize = 12;
    const LAST: usize = 3;
    let lines: Vec<&str> = context.lines().collect();
    if lines.len() <= FIRST + LAST + 1 {
        return truncated(context);
    }
    let omitted = format!("… ({} lines more)", lines.len() - FIRST - LAST);
    let parts = [&lines[..FIRST], &[omitted.as_str()], &lines[lines.len() - LAST..]];
    truncated(&parts.concat().join("\n"))
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
                context: None,
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
        if let Some(context) = &self.context {
            write!(f, "; context: {}", text::clip(&context.replace('\n', ", "), MAX_SHOWN))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_has_no_lines_of_the_block_that_diagnoses() {
        let sql = "SELECT f(1,\n  2)";
        let block = "PL/pgSQL function inline_code_block line 1 at EXECUTE";
        let statement = format!("SQL statement \"{sql}\"");
        let raised = "PL/pgSQL function f(integer,integer) line 3 at RAISE";
        assert_eq!(context_of(&format!("{raised}\n{statement}\n{block}"), sql).as_deref(), Some(raised));
        assert_eq!(context_of(&format!("{raised}\n{block}"), sql).as_deref(), Some(raised));
        assert_eq!(context_of(&format!("{statement}\n{block}"), sql), None);
        assert_eq!(context_of(block, sql), None);
        assert_eq!(context_of("", sql), None);
    }

    #[test]
    fn long_context_keeps_its_ends() {
        let lines: Vec<String> = (1..=1_000).map(|line| format!("line {line}")).collect();
        let short = shortened(&lines.join("\n"));
        assert!(short.starts_with("line 1\nline 2\n") && short.ends_with("\nline 999\nline 1000"), "{short}");
        assert!(short.contains("\n… (985 lines more)\n"), "{short}");
    }
}
