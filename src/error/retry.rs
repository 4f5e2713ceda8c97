//! Which errors that end a command are temporary, and the server's error behind them.

use super::{Error, ReferenceError};
use crate::postgres::{self, ServerMessage, Sqlstate};

impl Error {
    /// Whether the same command can succeed later without a change: the server is unreachable, fails over or has no free
    /// connection, or another session or run holds a lock.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Postgres(error) => error.is_retryable(),
            Self::Public(error) | Self::Tenant { error, .. } => error.is_retryable(),
            Self::NoReference(error) => error.is_retryable(),
            Self::Servers(error) => error.is_retryable(),
            Self::Move(error) => error.is_retryable(),
            Self::NoFreeConnection
            | Self::Standby
            | Self::Busy { .. }
            | Self::MigrationsInUse(_)
            | Self::FleetLocked(_) => true,
            other => other.server().is_some_and(ServerMessage::is_temporary),
        }
    }

    /// The SQLSTATE of the server's error, if it is known.
    pub fn sqlstate(&self) -> Option<Sqlstate> {
        match self {
            Self::Postgres(error) => error.sqlstate(),
            other => other.server().and_then(|server| server.sqlstate),
        }
    }

    /// The message of the server that caused the error.
    pub fn server(&self) -> Option<&ServerMessage> {
        match self {
            Self::Postgres(postgres::Error::Query { message, .. }) | Self::ServerFault { message } => Some(message),
            Self::PublicMigration(failure) => Some(&failure.server),
            Self::Public(error) | Self::Tenant { error, .. } => error.server(),
            Self::NoReference(error) => error.server(),
            _ => None,
        }
    }
}

impl ReferenceError {
    /// Whether the reference schema can be built later without a change.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Standby | Self::Locked => true,
            other => other.server().is_some_and(ServerMessage::is_temporary),
        }
    }

    fn server(&self) -> Option<&ServerMessage> {
        match self {
            Self::PermissionDenied { server, .. } | Self::Failed { server, .. } => Some(server),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Contention, TenantError};

    fn server(sqlstate: Option<&str>) -> ServerMessage {
        let sqlstate = sqlstate.and_then(Sqlstate::parse);
        ServerMessage { sqlstate, ..ServerMessage::of_guard("failed", "") }
    }

    #[test]
    fn locks_and_outages_are_retryable_and_other_errors_are_not() {
        let unreachable =
            |message: &str| postgres::Error::Unreachable { address: "db".to_owned(), message: message.to_owned() };
        let retryable: [Error; 7] = [
            Error::FleetLocked(None),
            Error::NoFreeConnection,
            Error::Standby,
            ReferenceError::Locked.into(),
            unreachable("Connection refused").into(),
            postgres::Error::ReadOnly.into(),
            Error::Public(Box::new(TenantError::Server(server(Some("55P03"))))),
        ];
        for error in retryable {
            assert!(error.is_retryable(), "{error:?}");
        }
        let others: [Error; 5] = [
            Error::TrackerHidden,
            Error::ServerFault { message: server(Some("53100")) },
            ReferenceError::Pooler.into(),
            unreachable("FATAL:  password authentication failed for user \"app\"").into(),
            Error::Public(Box::new(TenantError::Server(server(None)))),
        ];
        for error in others {
            assert!(!error.is_retryable(), "{error:?}");
        }
    }

    #[test]
    fn an_incomplete_drop_is_retryable_if_its_cause_is() {
        let incomplete = |error| TenantError::DropIncomplete { tracked: true, error: Box::new(error) };
        let deferred = TenantError::Deferred {
            contention: Contention::LockTimeout,
            attempts: 1,
            server: server(Some("55P03")),
            holders: Vec::new(),
        };
        assert!(incomplete(deferred).is_retryable());
        let denied = incomplete(TenantError::Server(server(None)));
        assert!(!denied.is_retryable() && denied.is_worth_repeating());
    }
}
