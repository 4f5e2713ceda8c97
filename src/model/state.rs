//! The state of a tenant in the tracker.

use std::fmt;
use std::str::FromStr;

/// Where a tenant is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Written into the tracker by hand; its schema may not exist yet.
    Registered,
    /// `create` has begun it; `create` or `migrate-all` completes it.
    Creating,
    /// Its schema exists.
    Active,
    /// `drop` has begun on it; `drop` completes it.
    Dropping,
}

/// A text that is no [`State`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no state of a tenant")]
pub struct UnknownState;

/// How far a non-transactional migration has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// Its version.
    pub version: String,
    /// How many of its statements have taken effect.
    pub statements: usize,
    /// Whether the next one may have, too: the connection was lost before it was answered.
    pub in_doubt: bool,
}

impl State {
    /// The state of a row of the tracker, or what is wrong with it: a later version may know more states.
    pub(crate) fn of_row(text: Option<&str>) -> Result<Self, String> {
        let text = text.ok_or("its state is NULL")?;
        text.parse().map_err(|_| format!("its state {text:?} is unknown to this version"))
    }

    /// As it stands in the tracker.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Creating => "creating",
            Self::Active => "active",
            Self::Dropping => "dropping",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        [Self::Registered, Self::Creating, Self::Active, Self::Dropping]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(UnknownState)
    }
}
