//! Exit codes, for scripts and CI.

use std::process::ExitCode;

/// Success. An empty fleet is a success.
pub const DONE: u8 = 0;

/// A check has findings, some tenants failed, or `--match` selects no tenant.
pub const FOUND: u8 = 1;

/// Usage error: the arguments, settings or migrations are invalid. Nothing was started.
pub const USAGE: u8 = 2;

/// The database is unreachable, not set up or refuses, or a program is not installed.
pub const REFUSED: u8 = 3;

/// The confirmation is missing.
pub const UNCONFIRMED: u8 = 4;

/// Interrupted. Running tenants were finished or rolled back.
pub const INTERRUPTED: u8 = 130;

/// The exit status of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// [`DONE`]
    Done,
    /// [`FOUND`]
    Found,
    /// [`USAGE`]
    Usage,
    /// [`REFUSED`]
    Refused,
    /// [`UNCONFIRMED`]
    Unconfirmed,
    /// [`INTERRUPTED`]
    Interrupted,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => DONE,
            Self::Found => FOUND,
            Self::Usage => USAGE,
            Self::Refused => REFUSED,
            Self::Unconfirmed => UNCONFIRMED,
            Self::Interrupted => INTERRUPTED,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
