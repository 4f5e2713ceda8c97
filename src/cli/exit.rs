//! Exit codes: what scripts and CI go by.

use std::process::ExitCode;

/// All is done, or all is well. An empty fleet is fine.
pub const DONE: u8 = 0;

/// Something is amiss: a health check has findings, or some tenants failed.
pub const FOUND: u8 = 1;

/// The command line, the settings or the migrations are wrong; nothing was begun.
pub const USAGE: u8 = 2;

/// The database cannot be reached, is not set up, or refused; or what the machine lacks.
pub const REFUSED: u8 = 3;

/// A person must confirm it, and none did.
pub const UNCONFIRMED: u8 = 4;

/// Interrupted: what was under way was finished, or rolled back.
pub const INTERRUPTED: u8 = 130;

/// How a command ended.
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
