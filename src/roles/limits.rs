//! The limits of a tenant's role.

use std::fmt;

/// A limit of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleLimit {
    /// There is none.
    Unlimited,
    /// This is the highest value.
    AtMost(i64),
}

/// The limits of a tenant's role. The server enforces the limits of connections and temporary files; the role itself can lift
/// the statement timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleLimits {
    /// The statement timeout of its sessions, in milliseconds.
    pub statement_timeout: RoleLimit,
    /// The number of its connections.
    pub connections: RoleLimit,
    /// The size of the temporary files of a session, in kilobytes.
    pub temp_files: RoleLimit,
}

/// A limit that is out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected none, or a number from 1 to {highest}")]
pub struct RoleLimitError {
    highest: i64,
}

impl RoleLimitError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        "invalid-role-limit"
    }
}

impl Default for RoleLimits {
    /// A minute, 20 connections and a gigabyte.
    fn default() -> Self {
        Self {
            statement_timeout: RoleLimit::AtMost(60_000),
            connections: RoleLimit::AtMost(20),
            temp_files: RoleLimit::AtMost(1024 * 1024),
        }
    }
}

impl RoleLimit {
    /// A limit of what the server stores as a 32-bit number.
    ///
    /// # Errors
    /// [`RoleLimitError`] if it is not positive, or larger.
    pub fn at_most(value: i64) -> Result<Self, RoleLimitError> {
        let highest = i64::from(i32::MAX);
        if (1..=highest).contains(&value) { Ok(Self::AtMost(value)) } else { Err(RoleLimitError { highest }) }
    }

    /// The limit that a nullable column records.
    pub(super) fn recorded(value: Option<i64>) -> Self {
        value.map_or(Self::Unlimited, Self::AtMost)
    }

    /// The value, if there is a limit.
    pub(super) fn value(self) -> Option<i64> {
        match self {
            Self::Unlimited => None,
            Self::AtMost(value) => Some(value),
        }
    }
}

impl fmt::Display for RoleLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.write_str("none"),
            Self::AtMost(value) => write!(f, "{value}"),
        }
    }
}
