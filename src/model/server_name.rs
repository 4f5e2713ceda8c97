//! The name and the state of a server of a fleet.

use std::fmt;
use std::str::FromStr;

use super::MAX_BYTES;

/// The name of a server: up to 63 letters, digits, `-`, `_` or `.`, which begins and ends with a letter or a digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerName(String);

/// Why a text is not the name of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid server name {0:?}: expected up to 63 letters, digits, '-', '_' or '.' that begin and end with a letter or digit"
)]
pub struct ServerNameError(String);

impl ServerNameError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        "invalid-server-name"
    }
}

impl ServerName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServerName {
    type Err = ServerNameError;

    fn from_str(name: &str) -> Result<Self, ServerNameError> {
        let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let outer = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        let is_valid = name.len() <= MAX_BYTES
            && name.chars().all(inner)
            && outer(name.chars().next())
            && outer(name.chars().next_back());
        if is_valid { Ok(Self(name.to_owned())) } else { Err(ServerNameError(name.to_owned())) }
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The state of a server of a fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServerState {
    /// New tenants may be placed on it.
    Open,
    /// It gets no more tenants.
    Draining,
    /// It gets no more tenants, and has none.
    Retired,
}

impl ServerState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Open, Self::Draining, Self::Retired];

    /// The value in the directory.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Draining => "draining",
            Self::Retired => "retired",
        }
    }

    /// Parses the `state` column of the directory.
    pub(crate) fn of_row(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

impl fmt::Display for ServerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for name in ["eu", "eu-west-1", "a", "9", "shop_db.2", &"x".repeat(63)] {
            assert_eq!(name.parse::<ServerName>().unwrap().as_str(), name);
        }
        for name in ["", "-eu", "eu-", "e u", "eü", "a/b", "a\n", &"x".repeat(64)] {
            let error = name.parse::<ServerName>().unwrap_err();
            assert_eq!(error.code(), "invalid-server-name");
        }
    }

    #[test]
    fn states_are_read_as_they_are_written() {
        for state in ServerState::ALL {
            assert_eq!(ServerState::of_row(state.as_str()), Some(state));
        }
        assert_eq!(ServerState::of_row("Open"), None);
    }
}
