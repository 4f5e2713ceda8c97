//! The holder of the fleet lock.

use std::fmt;

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Integer, Nullable, Text, Timestamptz};

use crate::postgres::LockHolder;

/// Who holds the lock of the fleet.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct FleetHolder {
    /// The id of the run, once it is recorded.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub run: Option<i64>,
    /// The command of the run.
    #[diesel(sql_type = Nullable<Text>)]
    pub command: Option<String>,
    /// The process ID of the run on its machine.
    #[diesel(sql_type = Nullable<Integer>)]
    pub client_pid: Option<i32>,
    /// The machine of the run.
    #[diesel(sql_type = Nullable<Text>)]
    pub host: Option<String>,
    /// The operating system user of the run, or else its role.
    #[diesel(sql_type = Nullable<Text>)]
    pub os_user: Option<String>,
    /// When the run began.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub started_at: Option<DateTime<Utc>>,
    /// The number of shards that the holder splits the fleet into, if another number of shards is why it is in the way.
    #[diesel(sql_type = Nullable<Integer>)]
    pub shards: Option<i32>,
    /// The session, as the server reports it.
    #[diesel(embed)]
    pub session: LockHolder,
}

impl FleetHolder {
    /// Whether it is a run: one that is recorded for the role of its session, or a session of this tool.
    pub fn is_run(&self) -> bool {
        self.run.is_some() || self.session.is_run()
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> String {
        if !self.is_run() {
            return self.session.hint();
        }
        let alike = self.shards.map(|shards| format!("split it alike, with --shard I/{shards}, or "));
        format!(
            "{}wait for it to end, with --lock-wait 10m for up to ten minutes; if its machine is gone, {} frees the lock",
            alike.unwrap_or_default(),
            self.session.release()
        )
    }
}

impl fmt::Display for FleetHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.run, &self.command) {
            (Some(run), Some(command)) => write!(f, "run {run} ({command})")?,
            _ if self.session.is_run() => f.write_str("a run that is being planned")?,
            _ => return self.session.fmt(f),
        }
        if let Some(shards) = self.shards {
            write!(f, " of a fleet in {shards} shards")?;
        }
        if let Some(user) = &self.os_user {
            write!(f, " by {user}")?;
        }
        if let Some(host) = &self.host {
            write!(f, " on {host}")?;
        }
        if let Some(pid) = self.client_pid {
            write!(f, ", process {pid}")?;
        }
        if let Some(backend) = self.session.pid {
            write!(f, ", server process {backend}")?;
        }
        match self.started_at.or(self.session.since) {
            Some(since) => write!(f, ", since {}", since.format("%Y-%m-%d %H:%M:%S UTC")),
            None => Ok(()),
        }
    }
}
