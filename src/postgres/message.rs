//! What the server says when it refuses a statement.

use std::fmt;

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use serde::Serialize;

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
        matches!(
            error,
            DieselError::DatabaseError(DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand, _)
        )
    }
}

impl From<&DieselError> for ServerMessage {
    fn from(error: &DieselError) -> Self {
        match error {
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
