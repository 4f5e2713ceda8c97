//! The lock of the fleet: of the commands that work on all tenants one runs at a time, or one for each shard.
//!
//! It is an advisory lock in a transaction that does nothing else, on a connection of its own: so it holds behind a
//! transaction pooler, and is gone with the process. It holds no snapshot. What keeps two sessions from one tenant is the
//! tenant's own lock; this one keeps two operators from doing the same work.
//!
//! When the process dies, however it does, its machine closes the connection, and the server rolls back at once. When the
//! machine dies, or the network between, nobody tells the server, whose session waits for the next message: it asks the
//! machine over TCP whether it is still there, and gives the lock up after two minutes without an answer. Behind a pooler
//! the pooler is asked, and whether it notices is its own matter; whoever is refused is told which session to end.

use std::fmt;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text, Timestamptz};
use sha2::{Digest, Sha256};

use crate::database::Database;
use crate::error::Error;
use crate::postgres::Connector;
use crate::runs::{Actor, Run};
use crate::sql::quote::Literal;
use crate::workers::Stop;

/// One part of a fleet that is split by a hash of the tenants' names, so that several machines share the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    number: u32,
    of: u32,
}

/// A text that is no [`Shard`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give the number of the shard and of how many, as in 2/8")]
pub struct NoShard;

impl Shard {
    /// Whether a tenant is in it. The hash is the same for every release: the first 8 bytes of SHA-256 over the name.
    pub fn has(self, tenant: &str) -> bool {
        let digest = Sha256::digest(tenant.as_bytes());
        let head = digest.iter().take(8).fold(0_u64, |head, byte| head << 8 | u64::from(*byte));
        head % u64::from(self.of) == u64::from(self.number - 1)
    }
}

impl std::str::FromStr for Shard {
    type Err = NoShard;

    fn from_str(text: &str) -> Result<Self, NoShard> {
        let (number, of) = text.split_once('/').ok_or(NoShard)?;
        let (number, of) = (number.parse().map_err(|_| NoShard)?, of.parse().map_err(|_| NoShard)?);
        // How many is part of a lock's key, which is an integer of the server.
        if (1..=of).contains(&number) && i32::try_from(of).is_ok() { Ok(Self { number, of }) } else { Err(NoShard) }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

/// The lock, held until this is dropped.
pub(crate) struct FleetLock {
    conn: PgConnection,
    shard: Option<Shard>,
    backend: i32,
    taken: bool,
    /// What its session is called: who has the lock, before the run is recorded.
    name: String,
}

/// Who has the lock of the fleet.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct FleetHolder {
    /// The id of its run, where it has begun to change something.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub run: Option<i64>,
    /// The command that it runs.
    #[diesel(sql_type = Nullable<Text>)]
    pub command: Option<String>,
    /// The process on its machine.
    #[diesel(sql_type = Nullable<Integer>)]
    pub pid: Option<i32>,
    /// Its machine.
    #[diesel(sql_type = Nullable<Text>)]
    pub host: Option<String>,
    /// The user of the operating system, or else the role.
    #[diesel(sql_type = Nullable<Text>)]
    pub user: Option<String>,
    /// When it began.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub started_at: Option<DateTime<Utc>>,
    /// The server's process for it.
    #[diesel(sql_type = Integer)]
    pub backend: i32,
    /// Into how many shards its operator split the fleet, where that is what keeps this run out.
    #[diesel(sql_type = Nullable<Integer>)]
    pub shards: Option<i32>,
}

impl fmt::Display for FleetHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.run, &self.command) {
            (Some(run), Some(command)) => write!(f, "run {run} ({command})")?,
            _ => write!(f, "a run that is being planned")?,
        }
        if let Some(shards) = self.shards {
            write!(f, " of a fleet in {shards} shards")?;
        }
        if let Some(user) = &self.user {
            write!(f, " by {user}")?;
        }
        if let Some(host) = &self.host {
            write!(f, " on {host}")?;
        }
        if let Some(pid) = self.pid {
            write!(f, ", process {pid}")?;
        }
        write!(f, ", the server's process {}", self.backend)?;
        match self.started_at {
            Some(started_at) => write!(f, ", since {}", started_at.format("%Y-%m-%d %H:%M:%S UTC")),
            None => Ok(()),
        }
    }
}

/// How often the lock is tried while it is waited for.
const TRY_EVERY: Duration = Duration::from_millis(500);

impl Database {
    /// Takes the lock of the fleet for the rest of the command. While another run has it, `waiting` is told once who that
    /// is, and the lock is tried again for up to `wait`.
    ///
    /// # Errors
    /// [`Error::FleetLocked`] with who has it; [`Error::NoFreeConnection`], for the lock takes one.
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
        let mut told = false;
        loop {
            if lock.try_take()? {
                self.hold(lock);
                return Ok(());
            }
            let holder = holder(self.connection(), shard)?;
            match holder {
                Some(holder) if began.elapsed() >= wait || stop.is_requested() => {
                    return Err(Error::FleetLocked(Box::new(holder)));
                }
                Some(holder) if !told => {
                    told = true;
                    waiting(&holder);
                }
                // It has just been given back.
                Some(_) | None => {}
            }
            stop.pause(TRY_EVERY.min(wait.saturating_sub(began.elapsed())).max(Duration::from_millis(10)));
        }
    }
}

/// The keys: all runs have the first, shared where they take a shard only; no two have the same shard. Those with shards
/// have the last, shared, with the number of shards behind it.
const FLEET: &str = "pg_catalog.hashtextextended('tenantry: the fleet', 0::bigint)";
const SPLIT: &str = "pg_catalog.hashtext('tenantry: shards')";

/// The session is idle for as long as the run lasts, and notices when the client's machine is gone. The server has no use
/// for the last three where the connection is no TCP, and leaves out what its system cannot do.
const WATCHFUL: &str = "SET LOCAL idle_in_transaction_session_timeout TO 0; SET LOCAL tcp_keepalives_idle TO 60; \
                        SET LOCAL tcp_keepalives_interval TO 10; SET LOCAL tcp_keepalives_count TO 6;";

impl FleetLock {
    fn try_take(&mut self) -> Result<bool, Error> {
        let doing = Error::doing("take the lock of the fleet");
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
        self.conn.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED").map_err(&doing)?;
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
        // This message also closes the query's portal, which has a snapshot for as long as it is open, and CREATE INDEX
        // CONCURRENTLY waits for those.
        let then = match taken {
            true => format!("{WATCHFUL} SET LOCAL application_name TO {}", Literal(&self.name)),
            false => "ROLLBACK".to_owned(),
        };
        self.conn.batch_execute(&then).map_err(doing)?;
        self.backend = row.backend;
        self.taken = taken;
        Ok(taken)
    }

    /// Whether all runs with shards have as many: tenants of one shard of 2 are in several of 3. Each run takes its lock
    /// before it looks for those of others, so that of two at once the later one sees the earlier; both may see each other.
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

    /// Takes the lock again after its connection was lost. Another run may have it by then: what both work on is guarded
    /// by the tenants' own locks.
    ///
    /// Whether it was taken again, and so has another process of the server.
    pub(crate) fn keep(&mut self, connector: &Connector) -> bool {
        if self.taken && self.conn.batch_execute("SELECT 1").is_ok() {
            return false;
        }
        self.taken = false;
        let Ok(conn) = connector.connect() else { return false };
        self.conn = conn;
        // Tried again the next time.
        self.try_take().unwrap_or(false)
    }

    /// Has the session tell whose lock it is, now that the run is recorded. Where its connection is lost, it does when the
    /// lock is taken again.
    pub(crate) fn belongs_to(&mut self, run: Run) {
        self.name = run.session_name("fleet");
        let _ = self.conn.batch_execute(&format!("SET LOCAL application_name TO {}", Literal(&self.name)));
    }

    /// The server's process that holds it.
    pub(crate) fn backend(&self) -> i32 {
        self.backend
    }
}

/// `tenantry fleet 4711 ops@db1`, as the query for the holder takes it apart again.
fn session_name(actor: &Actor) -> String {
    let known = |text: &Option<String>| text.clone().unwrap_or_default();
    let pid = actor.pid.map(|pid| pid.to_string()).unwrap_or_default();
    format!("tenantry fleet {pid} {}@{}", known(&actor.os_user), known(&actor.host))
}

/// Who has the lock that a run over the whole fleet or over a shard is refused for.
fn holder(conn: &mut PgConnection, shard: Option<Shard>) -> Result<Option<FleetHolder>, Error> {
    let rows: Vec<FleetHolder> = sql_query(include_str!("fleet_lock.sql"))
        .bind::<Nullable<Text>, _>(shard.map(|shard| shard.to_string()))
        .bind::<Nullable<BigInt>, _>(shard.map(|shard| i64::from(shard.of)))
        .load(conn)
        .map_err(Error::doing("find out who has the lock of the fleet"))?;
    Ok(rows.into_iter().next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::TenantName;

    #[test]
    fn every_tenant_is_in_one_shard() {
        let shards: Vec<Shard> = (1..=8).map(|number| format!("{number}/8").parse().unwrap()).collect();
        for n in 0..1_000 {
            let name: TenantName = format!("t{n}").parse().unwrap();
            assert_eq!(shards.iter().filter(|shard| shard.has(name.as_str())).count(), 1, "{name}");
        }
        let first = (0..1_000).filter(|n| shards[0].has(&format!("t{n}"))).count();
        assert!((90..160).contains(&first), "{first} of 1,000 are in one of 8");
    }

    /// What is begun with one release, or on one machine, is finished with another.
    #[test]
    fn a_tenant_is_in_the_same_shard_with_every_release() {
        for (name, of_3, of_8) in [("acme", 1, 1), ("globex", 2, 8), ("initech", 2, 4)] {
            for (of, number) in [(3, of_3), (8, of_8)] {
                assert!(Shard { number, of }.has(name), "{name} is not in {number}/{of}");
            }
        }
    }

    #[test]
    fn a_shard_is_a_number_of_how_many() {
        assert!(
            ["0/8", "9/8", "1", "1/", "/2", "a/b", "1/0", "1/2147483648"]
                .iter()
                .all(|text| text.parse::<Shard>().is_err())
        );
        assert_eq!("2/8".parse::<Shard>().unwrap().to_string(), "2/8");
    }
}
