//! The holder of the fleet lock.

use std::fmt;

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Integer, Nullable, Text, Timestamptz};

use crate::postgres::LockHolder;

/// The holder of the fleet lock: a run, or another session.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct FleetHolder {
    /// The ID of the run; none before it is recorded.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub run: Option<i64>,
    /// The command of the run.
    #[diesel(sql_type = Nullable<Text>)]
    pub command: Option<String>,
    /// The process ID of the run on its host.
    #[diesel(sql_type = Nullable<Integer>)]
    pub client_pid: Option<i32>,
    /// The host of the run.
    #[diesel(sql_type = Nullable<Text>)]
    pub host: Option<String>,
    /// The operating system user of the run, or else its role in the database.
    #[diesel(sql_type = Nullable<Text>)]
    pub os_user: Option<String>,
    /// When the run started.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub started_at: Option<DateTime<Utc>>,
    /// The number of shards that the holder splits the fleet into, if it conflicts with the number of this run.
    #[diesel(sql_type = Nullable<Integer>)]
    pub shards: Option<i32>,
    /// The session that holds the lock.
    #[diesel(embed)]
    pub session: LockHolder,
}

impl FleetHolder {
    /// Whether the holder is a run: it is recorded for the role of its session, or its session is named like a run.
    pub fn is_run(&self) -> bool {
        self.run.is_some() || self.session.is_run()
    }

    /// How to acquire the lock.
    pub(crate) fn hint(&self) -> String {
        if !self.is_run() {
            return self.session.hint();
        }
        let same_shards = self.shards.map(|shards| format!("use the same number of shards (--shard I/{shards}), or "));
        format!(
            "{}wait for the run with --lock-wait 10m; if its host is down, release the lock with {}",
            same_shards.unwrap_or_default(),
            self.session.release()
        )
    }
}

impl fmt::Display for FleetHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.run, &self.command) {
            (Some(run), Some(command)) => write!(f, "run {run} ({command})")?,
            _ if self.session.is_run() => f.write_str("a run that has not started yet")?,
            _ => return self.session.fmt(f),
        }
        if let Some(shards) = self.shards {
            write!(f, " with {shards} shards")?;
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
