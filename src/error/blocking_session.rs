//! Sessions that block a tenant.

use std::fmt;

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Integer, Nullable, Text, Timestamptz};
use serde::Serialize;

/// A session that held a lock which a tenant waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, QueryableByName)]
pub struct BlockingSession {
    /// The table that was waited for, or another kind of lock.
    #[diesel(sql_type = Nullable<Text>)]
    pub lock: Option<String>,
    /// The server's process.
    #[diesel(sql_type = Integer)]
    pub pid: i32,
    /// Its role.
    #[diesel(sql_type = Nullable<Text>)]
    pub user: Option<String>,
    /// Its `application_name`.
    #[diesel(sql_type = Nullable<Text>)]
    pub application: Option<String>,
    /// When its transaction began: it has had the lock for no longer.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub since: Option<DateTime<Utc>>,
    /// When its statement of the moment began, or its last one.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub query_start: Option<DateTime<Utc>>,
    /// What it does: `active`, `idle in transaction` and so on.
    #[diesel(sql_type = Nullable<Text>)]
    pub state: Option<String>,
}

impl fmt::Display for BlockingSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(lock) = &self.lock {
            write!(f, "{lock} ")?;
        }
        write!(f, "by process {}", self.pid)?;
        let known = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(user) = known(&self.user) {
            write!(f, " of {user}")?;
        }
        if let Some(application) = known(&self.application) {
            write!(f, " ({application})")?;
        }
        if let Some(state) = known(&self.state) {
            write!(f, ", {state}")?;
        }
        let time = |time: DateTime<Utc>| time.format("%Y-%m-%d %H:%M:%S UTC");
        if let Some(since) = self.since {
            write!(f, ", in a transaction since {}", time(since))?;
        }
        if let Some(query_start) = self.query_start {
            write!(f, ", its query began {}", time(query_start))?;
        }
        Ok(())
    }
}
