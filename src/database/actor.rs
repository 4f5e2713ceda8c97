//! The user and process that run a command, for the record of runs.

use std::time::Duration;

/// The default retention time of recorded runs: 90 days.
pub const KEEP: Duration = Duration::from_secs(90 * 86_400);

/// The user and process that run a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The command; `None` records the operation of the library, such as `migrate`.
    pub command: Option<String>,
    /// The arguments of the command, without the database URL.
    pub arguments: Vec<String>,
    /// What the command was asked to do, as JSON without connection settings, so that the run can be retried.
    pub request: Option<String>,
    /// The operating system user.
    pub os_user: Option<String>,
    /// The host name.
    pub host: Option<String>,
    /// The process ID.
    pub pid: Option<u32>,
    /// The retention time of recorded runs; [`KEEP`] by default.
    pub keep: Duration,
}

impl Default for Actor {
    fn default() -> Self {
        Self { command: None, arguments: Vec::new(), request: None, os_user: None, host: None, pid: None, keep: KEEP }
    }
}
