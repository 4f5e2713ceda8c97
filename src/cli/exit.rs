//! Exit codes, for scripts and CI.

use std::process::ExitCode;

/// Success. An empty fleet is a success.
pub const DONE: u8 = 0;

/// A check has findings, some tenants failed, or `--match` selects no tenant.
pub const FOUND: u8 = 1;

/// Usage error: the arguments, settings or migrations are invalid. Nothing was started.
pub const USAGE: u8 = 2;

/// The command cannot succeed before something is changed: the database is not set up, does not match the migrations or
/// rejects the role, or a file or program cannot be used.
pub const REFUSED: u8 = 3;

/// The confirmation is missing.
pub const UNCONFIRMED: u8 = 4;

/// The command can succeed later without a change: the server is unreachable, fails over, is read-only or has no free
/// connection, or another session or run holds a lock.
pub const TEMPORARY: u8 = 5;

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
    /// [`TEMPORARY`]
    Temporary,
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
            Self::Temporary => TEMPORARY,
            Self::Interrupted => INTERRUPTED,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
