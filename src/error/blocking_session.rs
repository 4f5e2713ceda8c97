//! Sessions that block a tenant's migration.

use std::fmt;

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Integer, Nullable, Text, Timestamptz};
use serde::Serialize;

/// A session that holds a lock for which a tenant's migration waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, QueryableByName)]
pub struct BlockingSession {
    /// The locked table, or the type of the lock as in `pg_locks.locktype`: `virtualxid` where an index that is built
    /// concurrently waits for an older transaction.
    #[diesel(sql_type = Nullable<Text>)]
    pub lock: Option<String>,
    /// The process ID of the server process.
    #[diesel(sql_type = Integer)]
    pub pid: i32,
    /// The role.
    #[diesel(sql_type = Nullable<Text>)]
    pub user: Option<String>,
    /// The `application_name`.
    #[diesel(sql_type = Nullable<Text>)]
    pub application: Option<String>,
    /// The database that it is connected to.
    #[diesel(sql_type = Nullable<Text>)]
    pub database: Option<String>,
    /// When its transaction started.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub since: Option<DateTime<Utc>>,
    /// When its current or last statement started.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub query_start: Option<DateTime<Utc>>,
    /// The state as in `pg_stat_activity`: `active`, `idle in transaction` and so on.
    #[diesel(sql_type = Nullable<Text>)]
    pub state: Option<String>,
}

impl fmt::Display for BlockingSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)?;
        let known = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let identity = [("user", &self.user), ("application", &self.application), ("database", &self.database)];
        let identity: Vec<String> =
            identity.into_iter().filter_map(|(label, value)| Some(format!("{label} {}", known(value)?))).collect();
        if !identity.is_empty() {
            write!(f, " ({})", identity.join(", "))?;
        }
        match self.lock.as_deref() {
            Some("virtualxid") => f.write_str(", an older transaction")?,
            Some(lock) => write!(f, ", lock on {lock}")?,
            None => {}
        }
        if let Some(state) = known(&self.state) {
            write!(f, ", {state}")?;
        }
        let time = |time: DateTime<Utc>| time.format("%Y-%m-%d %H:%M:%S UTC");
        if let Some(since) = self.since {
            write!(f, ", transaction started {}", time(since))?;
        }
        if let Some(query_start) = self.query_start {
            write!(f, ", query started {}", time(query_start))?;
        }
        Ok(())
    }
}
