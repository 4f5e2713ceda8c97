//! Holders of tenantry's advisory locks and of locks on tables.
//!
//! Every role that can connect to the database can take any advisory lock. Error messages therefore name the session that
//! holds a lock and show whether it is a tenantry run. The role of a session is authenticated; its `application_name` is
//! not.

use std::fmt;

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Integer, Nullable, Text, Timestamptz};

use crate::sql::quote::Literal;

/// The holder of a lock.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct LockHolder {
    /// The process ID of the server process; none for a prepared transaction.
    #[diesel(sql_type = Nullable<Integer>)]
    pub pid: Option<i32>,
    /// The role, or the owner of the prepared transaction.
    #[diesel(sql_type = Nullable<Text>)]
    pub user: Option<String>,
    /// The `application_name`.
    #[diesel(sql_type = Nullable<Text>)]
    pub application: Option<String>,
    /// The address of the client; none for a Unix socket, or if this role may not see it.
    #[diesel(sql_type = Nullable<Text>)]
    pub client: Option<String>,
    /// When its transaction or else its session started; none if this role may not see it.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub since: Option<DateTime<Utc>>,
    /// The identifier of the prepared transaction.
    #[diesel(sql_type = Nullable<Text>)]
    pub prepared: Option<String>,
    /// Whether its role is that of this session.
    #[diesel(sql_type = Bool)]
    pub has_own_role: bool,
}

/// The columns of a [`LockHolder`] for the row `held` of `pg_locks`. They require [`JOINS`].
const COLUMNS: &str = "held.pid, coalesce(activity.usename, prepared.owner)::text AS \"user\", \
     activity.application_name AS application, pg_catalog.host(activity.client_addr) AS client, \
     coalesce(activity.xact_start, activity.backend_start, prepared.prepared) AS since, prepared.gid::text AS prepared, \
     coalesce(activity.usename = session_user, false) AS has_own_role";

/// Joins the session or the prepared transaction that holds the lock `held`. A prepared transaction has no process; it is found by
/// the lock on its own transaction ID.
const JOINS: &str = "LEFT JOIN pg_catalog.pg_stat_activity AS activity ON activity.pid = held.pid \
     LEFT JOIN pg_catalog.pg_locks AS own ON held.pid IS NULL AND own.pid IS NULL AND own.locktype = 'transactionid' \
     AND own.mode = 'ExclusiveLock' AND own.virtualtransaction = held.virtualtransaction \
     LEFT JOIN pg_catalog.pg_prepared_xacts AS prepared ON prepared.transaction = own.transactionid";

/// Replaces `HOLDER_COLUMNS` and `HOLDER_JOINS` in a query that reads a [`LockHolder`].
pub(crate) fn sql(query: &str) -> String {
    query.replace("HOLDER_COLUMNS", COLUMNS).replace("HOLDER_JOINS", JOINS)
}

impl LockHolder {
    /// The holder of the lock with a key, which is an SQL expression. `None` if the lock was released or the query failed.
    pub(crate) fn find(conn: &mut PgConnection, key: &str) -> Option<Box<Self>> {
        sql_query(sql(include_str!("lock_holder.sql")).replace("KEY", key)).get_result(conn).ok().map(Box::new)
    }

    /// The holder of an `ACCESS EXCLUSIVE` lock on a table, given by its qualified and quoted name. `None` if the lock was
    /// released or the query failed.
    pub(crate) fn find_exclusive(conn: &mut PgConnection, table: &str) -> Option<Box<Self>> {
        let query = sql_query(sql(include_str!("table_lock_holder.sql"))).bind::<Text, _>(table);
        query.get_result(conn).ok().map(Box::new)
    }

    /// Whether the `application_name` is that of a tenantry run.
    fn is_named_like_a_run(&self) -> bool {
        self.application.as_deref().is_some_and(|name| {
            name == APPLICATION || name.strip_prefix(APPLICATION).is_some_and(|rest| rest.starts_with(['/', ' ']))
        })
    }

    /// Whether the session is a tenantry run: it has the name of one and the role of this session.
    pub fn is_run(&self) -> bool {
        self.has_own_role && self.is_named_like_a_run()
    }

    /// The SQL statement that makes the holder release the lock.
    pub(crate) fn release(&self) -> String {
        match (&self.prepared, self.pid) {
            (Some(prepared), _) => format!("ROLLBACK PREPARED {}", Literal(prepared)),
            (None, Some(pid)) => format!("SELECT pg_terminate_backend({pid})"),
            (None, None) => "ROLLBACK PREPARED of the transaction in pg_prepared_xacts".to_owned(),
        }
    }

    /// How to acquire the lock.
    pub(crate) fn hint(&self) -> String {
        let release = self.release();
        if self.is_run() {
            format!("try again when that run has ended; if its host is down, release the lock with {release}")
        } else {
            format!("release the lock with {release}, then try again")
        }
    }
}

/// The `application_name` of tenantry's sessions, or its prefix.
pub(crate) const APPLICATION: &str = "tenantry";

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.prepared, self.pid) {
            (Some(prepared), _) => write!(f, "prepared transaction {prepared:?}")?,
            (None, Some(pid)) => write!(f, "process {pid}")?,
            (None, None) => f.write_str("a prepared transaction")?,
        }
        let identity = [("user", &self.user), ("application", &self.application), ("client", &self.client)];
        let identity: Vec<String> = identity
            .into_iter()
            .filter_map(|(label, value)| Some(format!("{label} {}", value.as_ref().filter(|value| !value.is_empty())?)))
            .collect();
        if !identity.is_empty() {
            write!(f, " ({})", identity.join(", "))?;
        }
        if let Some(since) = self.since {
            write!(f, " since {}", since.format("%Y-%m-%d %H:%M:%S UTC"))?;
        }
        f.write_str(match (self.is_named_like_a_run(), self.has_own_role) {
            (true, true) => "",
            (true, false) => ", which has the name of a tenantry run but another role",
            (false, _) => ", which is not a tenantry run",
        })
    }
}

/// `held by …`, or that the holder is unknown.
pub(crate) struct HeldBy<'a>(pub(crate) Option<&'a LockHolder>);

impl fmt::Display for HeldBy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(holder) => write!(f, "held by {holder}"),
            None => f.write_str("the holder is unknown; it has released the lock, or this role cannot see it"),
        }
    }
}

/// How to acquire a lock.
pub(crate) fn hint(holder: Option<&LockHolder>) -> String {
    holder.map_or_else(|| "try again".to_owned(), LockHolder::hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_own_role(application: &str) -> LockHolder {
        LockHolder { has_own_role: true, ..of_another_role(application) }
    }

    fn of_another_role(application: &str) -> LockHolder {
        LockHolder {
            pid: Some(123),
            user: Some("evil".to_owned()),
            application: Some(application.to_owned()),
            client: None,
            since: None,
            prepared: None,
            has_own_role: false,
        }
    }

    #[test]
    fn a_run_is_identified_by_its_name_and_role() {
        for name in ["tenantry", "tenantry/12 acme", "tenantry/12: fleet", "tenantry fleet 4711 ops@db1"] {
            assert!(of_own_role(name).is_run(), "{name}");
            let other = of_another_role(name);
            assert!(!other.is_run() && other.to_string().ends_with("but another role"), "{other}");
        }
        for name in ["psql", "", "tenantryx", "my tenantry/12"] {
            let other = of_own_role(name);
            assert!(!other.is_run() && other.to_string().ends_with("which is not a tenantry run"), "{other}");
        }
        assert_eq!(
            of_another_role("psql").to_string(),
            "process 123 (user evil, application psql), which is not a tenantry run"
        );
    }

    #[test]
    fn a_prepared_transaction_is_released_by_a_rollback() {
        let prepared = LockHolder { pid: None, prepared: Some("it's".to_owned()), ..of_another_role("") };
        assert_eq!(prepared.release(), "ROLLBACK PREPARED 'it''s'");
        assert!(prepared.to_string().starts_with("prepared transaction \"it's\""));
    }
}
