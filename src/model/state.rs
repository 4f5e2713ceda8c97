//! The state of a tenant in the tracker.

use std::fmt;
use std::str::FromStr;

/// The state of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Inserted into the tracker by hand. The schema may not exist yet.
    Registered,
    /// Creation has started. `create` or `migrate-all` completes it.
    Creating,
    /// The schema exists.
    Active,
    /// Out of service: its schema is kept and migrated, and only its owner may use it.
    Archived,
    /// A drop has started. `drop` completes it.
    Dropping,
    /// It is moved to another server, and in use until then. Other commands do not change it.
    Moving,
    /// It is moved from another server, and not in use here yet.
    Arriving,
}

/// The error for a text that is not a [`State`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown tenant state")]
pub struct UnknownState;

impl UnknownState {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        "unknown-state"
    }
}

/// The progress of an interrupted non-transactional migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The version of the migration.
    pub version: String,
    /// The number of executed statements.
    pub statements: usize,
    /// Whether the next statement may have been executed too, because the connection was lost during it.
    pub in_doubt: bool,
}

impl State {
    /// Every state, in the order of a tenant's life.
    pub const ALL: [Self; 7] =
        [Self::Registered, Self::Creating, Self::Active, Self::Archived, Self::Dropping, Self::Moving, Self::Arriving];

    /// Parses the `state` column of the tracker. The error describes the invalid value; a later version may know more states.
    pub(crate) fn of_row(text: Option<&str>) -> Result<Self, String> {
        let text = text.ok_or("state is NULL")?;
        text.parse().map_err(|_| format!("unknown state {text:?}"))
    }

    /// Whether the tenant's creation is complete and its drop has not started.
    pub(crate) fn is_complete(self) -> bool {
        matches!(self, Self::Active | Self::Archived | Self::Moving)
    }

    /// Whether it is moved between servers, from here or to here.
    pub fn is_of_move(self) -> bool {
        matches!(self, Self::Moving | Self::Arriving)
    }

    /// The value in the tracker.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Creating => "creating",
            Self::Active => "active",
            Self::Archived => "archived",
            Self::Dropping => "dropping",
            Self::Moving => "moving",
            Self::Arriving => "arriving",
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
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(UnknownState)
    }
}
