//! The lock monitor: a thread with a connection of its own that runs beside the workers of a run.
//!
//! It reads which sessions block tenants (`blockers.rs`), collects long waits for the observer (`long_waits.rs`), cancels the statements of the run on request (`cancel.rs`), keeps
//! the lock of the fleet (`fleet_lock.rs`), and has the session that shows that a run without that lock is in progress
//! (`session.rs`). It finds the sessions of the run by their `application_name`, which works behind a pooler, too.

mod blockers;
mod cancel;
mod fleet_lock;
mod long_waits;
mod session;

use std::collections::HashMap;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::database::{Database, FleetLock, Stop};
use crate::error::BlockingSession;
use crate::model::SchemaName;
use crate::postgres::Connector;
use crate::record::runs::Run;
use crate::tenants::Tenancy;

use blockers::Waiting;
use fleet_lock::FleetLockKeeper;
pub use long_waits::LockWait;
use long_waits::LongWaits;
use session::{MonitorSession, SessionName};

/// How often the thread checks for a request to cancel and for the end of the work.
const TICK: Duration = Duration::from_millis(50);

/// The longest time between two looks at the sessions that wait for locks.
const LONGEST_INTERVAL: Duration = Duration::from_secs(1);

/// The sessions that block the tenants of a run.
pub(crate) struct LockMonitor {
    run: Run,
    /// The sessions that blocked a session of the run when it was last seen waiting, by the `application_name` of the latter.
    blockers: Mutex<HashMap<String, Vec<BlockingSession>>>,
    /// The waits that the observer of the run has not been shown.
    long_waits: Mutex<LongWaits>,
}

impl LockMonitor {
    pub(crate) fn new(run: Run) -> Self {
        Self { run, blockers: Mutex::default(), long_waits: Mutex::default() }
    }

    /// The sessions that were last seen to block a tenant in this attempt.
    pub(crate) fn blockers(&self, schema: &SchemaName) -> Vec<BlockingSession> {
        self.lock().get(&self.run.application_name(schema)).cloned().unwrap_or_default()
    }

    /// Forgets the sessions that blocked a tenant, because another attempt begins.
    pub(crate) fn forget(&self, schema: &SchemaName) {
        self.lock().remove(&self.run.application_name(schema));
    }

    /// The long waits that were observed since the last call.
    pub(crate) fn take_long_waits(&self) -> Vec<LockWait> {
        self.long_waits().take()
    }

    /// Notes that an attempt ended with a lock timeout after all attempts took `waited`, and is repeated.
    pub(crate) fn note_repeated_wait(&self, schema: &SchemaName, waited: Duration) {
        let blocked_by = self.blockers(schema);
        self.long_waits().repeat(LockWait { tenant: schema.to_string(), waited, phase: None, blocked_by });
    }

    /// Does `work`, and shows long waits meanwhile, for work that is one step.
    pub(crate) fn showing_waits<T>(&self, waiting: &mut (dyn FnMut(&LockWait) + Send), work: impl FnOnce() -> T) -> T {
        let (end, ended) = mpsc::channel::<()>();
        thread::scope(|scope| {
            scope.spawn(move || {
                while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                    self.take_long_waits().iter().for_each(&mut *waiting);
                }
            });
            let result = work();
            drop(end);
            result
        })
    }

    /// Notes the sessions that wait now.
    fn observe(&self, waiting: Vec<Waiting>) {
        self.long_waits().observe(&waiting, &self.run.application_prefix());
        self.lock().extend(waiting.into_iter().map(|one| (one.session, one.blocked_by)));
    }

    fn long_waits(&self) -> MutexGuard<'_, LongWaits> {
        self.long_waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<BlockingSession>>> {
        self.blockers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does `work` while the monitor's thread runs.
pub(crate) fn while_running<T>(
    db: &mut Database,
    monitor: &LockMonitor,
    tenancy: &Tenancy,
    stop: &Stop,
    work: impl FnOnce(&mut Database) -> T,
) -> T {
    let interval = (tenancy.limits().lock_timeout / 3).clamp(TICK, LONGEST_INTERVAL);
    let mut lock = db.fleet_lock.take();
    let connector = db.connector().clone();
    let (end, ended) = mpsc::channel();
    let result = thread::scope(|scope| {
        let thread = MonitorThread::new(monitor, &connector, stop, lock.as_mut());
        scope.spawn(move || thread.run(interval, &ended));
        let result = work(db);
        drop(end);
        result
    });
    db.fleet_lock = lock;
    result
}

/// The state of the monitor's thread.
struct MonitorThread<'a> {
    monitor: &'a LockMonitor,
    connector: &'a Connector,
    stop: &'a Stop,
    session: MonitorSession<'a>,
    fleet_lock: Option<FleetLockKeeper<'a>>,
    /// Whether it was reported that statements cannot be canceled.
    cancel_failure_reported: bool,
}

impl<'a> MonitorThread<'a> {
    fn new(
        monitor: &'a LockMonitor,
        connector: &'a Connector,
        stop: &'a Stop,
        lock: Option<&'a mut FleetLock>,
    ) -> Self {
        let name = if lock.is_some() { SessionName::Default } else { SessionName::OfRun };
        let session = MonitorSession::new(connector, monitor.run, name);
        let fleet_lock = lock.map(FleetLockKeeper::new);
        Self { monitor, connector, stop, session, fleet_lock, cancel_failure_reported: false }
    }

    /// Runs until the sender of `ended` is dropped. With a request to cancel, each tick is a round.
    fn run(mut self, interval: Duration, ended: &Receiver<()>) {
        let mut next = Instant::now() + interval;
        while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            if self.stop.is_cancel() || Instant::now() >= next {
                next = Instant::now() + interval;
                self.round();
            }
        }
    }

    fn round(&mut self) {
        let is_cancel = self.stop.is_cancel();
        if let Some(lock) = &mut self.fleet_lock {
            lock.keep(self.connector);
        }
        let conn = match self.session.open() {
            Ok(conn) => conn,
            Err(error) => {
                if is_cancel && !self.cancel_failure_reported {
                    self.stop.report_cancel_error(&error);
                    self.cancel_failure_reported = true;
                }
                // The run continues. Its failures name no blocking sessions.
                return;
            }
        };
        let run = self.monitor.run;
        if let Some(lock) = &mut self.fleet_lock {
            lock.record_backend(conn, run);
        }
        let result = if is_cancel {
            cancel::cancel(conn, run)
        } else {
            blockers::read(conn, run).map(|waiting| self.monitor.observe(waiting))
        };
        if result.is_err() {
            self.session.close();
        }
    }
}
