//! Who runs a command, for the record of runs.

use std::time::Duration;

/// How long runs are remembered unless told otherwise: 90 days.
pub const KEEP: Duration = Duration::from_secs(90 * 86_400);

/// Who runs a command, for the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The command; of a library's user, what was done.
    pub command: Option<String>,
    /// The arguments of the command, without passwords.
    pub arguments: Vec<String>,
    /// The user of the operating system.
    pub os_user: Option<String>,
    /// The machine.
    pub host: Option<String>,
    /// The process.
    pub pid: Option<u32>,
    /// How long runs are remembered; [`KEEP`] by default.
    pub keep: Duration,
}

impl Default for Actor {
    fn default() -> Self {
        Self { command: None, arguments: Vec::new(), os_user: None, host: None, pid: None, keep: KEEP }
    }
}
