//! Who watches over a run from a connection of its own: it sees who holds the locks that tenants wait for, and cancels
//! what is under way when that is asked for.
//!
//! The sessions of a run are known by their `application_name`, so that this works behind a pooler, too. The connection is
//! opened when there is something to look at: a run that is over at once has none. Of a run without the lock of the fleet it
//! also tells that it is at work, by its name, while no tenant is: all of them may be waited for, or the server.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Text;

use crate::database::{Database, FleetLock, Stop};
use crate::error::{BlockingSession, Error};
use crate::model::SchemaName;
use crate::postgres::Connector;
use crate::record::runs::Run;
use crate::tenants::Tenancy;

/// Does `work`, while a thread of its own watches over it.
pub(crate) fn while_running<T>(
    db: &mut Database,
    monitor: &LockMonitor,
    tenancy: &Tenancy,
    stop: &Stop,
    work: impl FnOnce(&mut Database) -> T,
) -> T {
    let lock_timeout = tenancy.limits().lock_timeout;
    let mut lock = db.fleet_lock.take();
    let connector = db.connector().clone();
    let (end, over) = mpsc::channel();
    let done = thread::scope(|scope| {
        let lock = lock.as_mut();
        let connector = &connector;
        scope.spawn(move || monitor.run(connector, lock_timeout, stop, &over, lock));
        let done = work(db);
        std::mem::drop(end);
        done
    });
    db.fleet_lock = lock;
    done
}

/// What was seen of a run.
pub(crate) struct LockMonitor {
    run: Run,
    /// By `application_name`.
    seen: Mutex<HashMap<String, Vec<BlockingSession>>>,
}

/// How often it looks whether there is something to do.
const TICK: Duration = Duration::from_millis(50);

/// How often it looks for waiting sessions at most.
const LONGEST_INTERVAL: Duration = Duration::from_secs(1);

/// How often it makes sure of the lock of the fleet.
const KEEP_EVERY: Duration = Duration::from_secs(3);

impl LockMonitor {
    pub(crate) fn new(run: Run) -> Self {
        Self { run, seen: Mutex::default() }
    }

    /// Who held the lock that a tenant waited for in this try, as it was seen last.
    pub(crate) fn holders(&self, schema: &SchemaName) -> Vec<BlockingSession> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(&self.run.application_name(schema)).cloned().unwrap_or_default()
    }

    /// Forgets who was in the way of a tenant, which is tried again: it may be others now, or nobody.
    pub(crate) fn forget(&self, schema: &SchemaName) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.run.application_name(schema));
    }

    /// Watches until the other end of `over` is dropped, and keeps the lock of the fleet.
    pub(crate) fn run(
        &self,
        connector: &Connector,
        lock_timeout: Duration,
        stop: &Stop,
        over: &Receiver<()>,
        mut lock: Option<&mut FleetLock>,
    ) {
        let interval = (lock_timeout / 3).clamp(TICK, LONGEST_INTERVAL);
        let mut conn: Option<PgConnection> = None;
        let mut next = Instant::now() + interval;
        let mut keep = Instant::now() + KEEP_EVERY;
        let mut backend = None;
        let mut has_told = false;
        while over.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            let cancel = stop.is_cancel();
            if !cancel && Instant::now() < next {
                continue;
            }
            next = Instant::now() + interval;
            if let Some(lock) = &mut lock
                && Instant::now() >= keep
            {
                if lock.keep(connector) {
                    backend = Some(lock.backend());
                }
                keep = Instant::now() + KEEP_EVERY;
            }
            if conn.is_none() {
                match self.connect(connector, lock.is_some()) {
                    Ok(open) => conn = Some(open),
                    Err(error) if cancel && !has_told => {
                        stop.report_cancel_error(&error);
                        has_told = true;
                    }
                    // Without a connection nothing is seen; the run goes on without it.
                    Err(_) => {}
                }
            }
            let Some(open) = &mut conn else { continue };
            if let Some(taken) = backend
                && self.run.set_backend(open, taken).is_ok()
            {
                backend = None;
            }
            let done = if cancel { self.cancel(open) } else { self.look(open) };
            if done.is_err() {
                conn = None;
            }
        }
    }

    /// Behind a pooler the session would keep the name when the run is gone.
    fn connect(&self, connector: &Connector, locked: bool) -> Result<PgConnection, Error> {
        if !locked && connector.has_dedicated_session()? {
            return Ok(connector.connect_as(&self.run.session_name("watch"))?);
        }
        Ok(connector.connect()?)
    }

    fn look(&self, conn: &mut PgConnection) -> QueryResult<()> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            waiting: String,
            #[diesel(embed)]
            holder: BlockingSession,
        }
        let rows: Vec<Row> =
            sql_query(include_str!("lock_monitor.sql")).bind::<Text, _>(self.run.application_prefix()).load(conn)?;
        let mut found: HashMap<String, Vec<BlockingSession>> = HashMap::new();
        for row in rows {
            found.entry(row.waiting).or_default().push(row.holder);
        }
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
        Ok(())
    }

    /// Cancels what the run's sessions do. Repeated until they are gone: a message has more than one statement.
    fn cancel(&self, conn: &mut PgConnection) -> QueryResult<()> {
        sql_query(
            "SELECT pg_catalog.pg_cancel_backend(pid) FROM pg_catalog.pg_stat_activity \
             WHERE datname = pg_catalog.current_database() AND state = 'active' \
             AND pg_catalog.starts_with(application_name, $1) AND pid <> pg_catalog.pg_backend_pid()",
        )
        .bind::<Text, _>(self.run.application_prefix())
        .execute(conn)
        .map(|_| ())
    }
}
