//! The lock of the fleet: one command at a time works on all tenants, or one per shard.
//!
//! It is an advisory lock in a transaction that does nothing else, on a connection of its own. It therefore works behind a
//! transaction pooler, is released when the process ends, and holds no snapshot. It keeps two operators from doing the
//! same work; a tenant is protected from two sessions by its own lock.
//!
//! When the process ends, its operating system closes the connection, and the server rolls back at once. When the machine
//! or the network fails, the server learns nothing, so the session uses TCP keepalives: the server releases the lock after
//! two minutes without an answer. Behind a pooler, keepalives reach the pooler only. A refusal therefore names the session
//! to terminate.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};

use super::{Actor, Database, Shard, Stop};
use crate::error::{Error, FleetHolder};
use crate::postgres::{Connector, lock_holder};
use crate::sql::quote::Literal;

/// The lock of the fleet, held until the value is dropped.
pub(crate) struct FleetLock {
    conn: PgConnection,
    shard: Option<Shard>,
    backend: i32,
    taken: bool,
    /// The `application_name` of its session, which identifies the run before and after it is recorded.
    name: String,
}

/// How many times in a row the lock may be refused without a holder to be found, before that is an error. A lock that has
/// just been released is acquired by the next attempt.
const UNKNOWN_HOLDERS: u32 = 20;

/// The interval between attempts to acquire the lock.
const TRY_EVERY: Duration = Duration::from_millis(500);

impl Database {
    /// Acquires the lock of the fleet for the rest of the command. While another session holds it, calls `waiting` once
    /// with the holder, and retries for up to `wait`.
    ///
    /// # Errors
    /// [`Error::FleetLocked`] with the holder; [`Error::NoFreeConnection`], as the lock needs a connection.
    pub fn lock_fleet(
        &mut self,
        shard: Option<Shard>,
        wait: Duration,
        stop: &Stop,
        waiting: &mut dyn FnMut(&FleetHolder),
    ) -> Result<(), Error> {
        if self.server().free_connections < 2 {
            return Err(Error::NoFreeConnection);
        }
        let name = session_name(self.actor());
        let mut lock = FleetLock { conn: self.connector().connect()?, shard, backend: 0, taken: false, name };
        let began = Instant::now();
        let mut reported = false;
        let mut unknown = 0;
        loop {
            if lock.try_take()? {
                self.set_fleet_lock(lock);
                return Ok(());
            }
            let is_over = began.elapsed() >= wait || stop.is_requested();
            match holder(self.connection(), shard)? {
                Some(holder) if is_over => return Err(Error::FleetLocked(Some(Box::new(holder)))),
                Some(holder) => {
                    unknown = 0;
                    if !reported {
                        reported = true;
                        waiting(&holder);
                    }
                }
                None => unknown += 1,
            }
            if is_over && (unknown >= UNKNOWN_HOLDERS || stop.is_requested()) {
                return Err(Error::FleetLocked(None));
            }
            stop.pause(TRY_EVERY.min(wait.saturating_sub(began.elapsed())).max(Duration::from_millis(10)));
        }
    }
}

/// The keys. Every run locks the first: exclusively, or in shared mode if it works on a shard, whose own key it then locks
/// exclusively. Runs over shards also lock the last, in shared mode, with the number of shards as its second half.
const FLEET: &str = "pg_catalog.hashtextextended('tenantry: the fleet', 0::bigint)";
const SPLIT: &str = "pg_catalog.hashtext('tenantry: shards')";

/// Settings of a session that is idle for as long as the run lasts and detects a client machine that has failed. The last
/// three have no effect on a Unix socket.
const WATCHFUL: &str = "SET LOCAL idle_in_transaction_session_timeout TO 0; SET LOCAL tcp_keepalives_idle TO 60; \
                        SET LOCAL tcp_keepalives_interval TO 10; SET LOCAL tcp_keepalives_count TO 6;";

impl FleetLock {
    fn try_take(&mut self) -> Result<bool, Error> {
        let doing = Error::doing("acquire the lock of the fleet");
        let condition = match self.shard {
            None => format!("pg_catalog.pg_try_advisory_xact_lock({FLEET})"),
            Some(shard) => format!(
                "pg_catalog.pg_try_advisory_xact_lock_shared({FLEET}) \
                 AND pg_catalog.pg_try_advisory_xact_lock_shared({SPLIT}, {of}) \
                 AND pg_catalog.pg_try_advisory_xact_lock(\
                 pg_catalog.hashtextextended('tenantry: shard {shard}', 0::bigint))",
                of = shard.of
            ),
        };
        // The name is set before the lock is acquired, so that a refused run never sees a holder without a name.
        let begin =
            format!("BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL application_name TO {}", Literal(&self.name));
        self.conn.batch_execute(&begin).map_err(&doing)?;
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Bool)]
            taken: bool,
            #[diesel(sql_type = Integer)]
            backend: i32,
        }
        let row: Row = sql_query(format!("SELECT {condition} AS taken, pg_catalog.pg_backend_pid() AS backend"))
            .get_result(&mut self.conn)
            .map_err(&doing)?;
        let taken = row.taken && self.is_split_alike().map_err(&doing)?;
        // This message also closes the query's portal, which holds a snapshot while it is open: CREATE INDEX CONCURRENTLY
        // waits for snapshots.
        self.conn.batch_execute(if taken { WATCHFUL } else { "ROLLBACK" }).map_err(doing)?;
        self.backend = row.backend;
        self.taken = taken;
        Ok(taken)
    }

    /// Whether all runs over shards use the same number of shards: the tenants of one shard of 2 are in several shards of 3.
    /// Each run acquires its own lock before it looks for others, so that at least one of two runs sees the other.
    fn is_split_alike(&mut self) -> QueryResult<bool> {
        let Some(shard) = self.shard else { return Ok(true) };
        let others = format!(
            "NOT EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2 \
             AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
             AND classid::bigint = {SPLIT}::bigint & 4294967295 AND objid::bigint <> {})",
            shard.of
        );
        diesel::select(sql::<Bool>(&others)).get_result(&mut self.conn)
    }

    /// Acquires the lock again if its connection was lost, and returns whether it did: another server process then holds
    /// it. Another run may have acquired it first; the tenants' own locks then protect each tenant.
    pub(crate) fn keep(&mut self, connector: &Connector) -> bool {
        if self.taken && self.conn.batch_execute("SELECT 1").is_ok() {
            return false;
        }
        self.taken = false;
        let Ok(conn) = connector.connect() else { return false };
        self.conn = conn;
        // A failure is retried at the next call.
        self.try_take().unwrap_or(false)
    }

    /// Sets the name of the session. If its connection is lost, the name is set when the lock is acquired again.
    pub(crate) fn rename(&mut self, name: String) {
        self.name = name;
        let _ = self.conn.batch_execute(&format!("SET LOCAL application_name TO {}", Literal(&self.name)));
    }

    /// The process ID of the server process that holds the lock.
    pub(crate) fn backend(&self) -> i32 {
        self.backend
    }
}

/// The session's name before the run is recorded, such as `tenantry fleet 4711 ops@db1`. `fleet_lock.sql` parses it.
fn session_name(actor: &Actor) -> String {
    let known = |text: &Option<String>| text.clone().unwrap_or_default();
    let pid = actor.pid.map(|pid| pid.to_string()).unwrap_or_default();
    format!("tenantry fleet {pid} {}@{}", known(&actor.os_user), known(&actor.host))
}

/// The holder of the lock that refuses a run over the whole fleet or over a shard.
fn holder(conn: &mut PgConnection, shard: Option<Shard>) -> Result<Option<FleetHolder>, Error> {
    let rows: Vec<FleetHolder> = sql_query(lock_holder::sql(include_str!("fleet_lock.sql")))
        .bind::<Nullable<Text>, _>(shard.map(|shard| shard.to_string()))
        .bind::<Nullable<BigInt>, _>(shard.map(|shard| i64::from(shard.of)))
        .load(conn)
        .map_err(Error::doing("find the holder of the lock of the fleet"))?;
    Ok(rows.into_iter().next())
}
