//! Keeps the lock of the fleet for a run.

use std::time::{Duration, Instant};

use diesel::pg::PgConnection;

use crate::database::FleetLock;
use crate::postgres::Connector;
use crate::record::runs::Run;

/// How often the lock's connection is checked.
const INTERVAL: Duration = Duration::from_secs(3);

/// The lock of the fleet, which is acquired again if its connection is lost.
pub(super) struct FleetLockKeeper<'a> {
    lock: &'a mut FleetLock,
    next: Instant,
    /// The server process that acquired it again, until that is recorded.
    backend: Option<i32>,
}

impl<'a> FleetLockKeeper<'a> {
    pub(super) fn new(lock: &'a mut FleetLock) -> Self {
        Self { lock, next: Instant::now() + INTERVAL, backend: None }
    }

    /// Acquires the lock again if its connection was lost. Checks that every three seconds.
    pub(super) fn keep(&mut self, connector: &Connector) {
        if Instant::now() < self.next {
            return;
        }
        if self.lock.keep(connector) {
            self.backend = Some(self.lock.backend());
        }
        self.next = Instant::now() + INTERVAL;
    }

    /// Records the server process that acquired the lock again. A failure is retried at the next call.
    pub(super) fn record_backend(&mut self, conn: &mut PgConnection, run: Run) {
        if let Some(backend) = self.backend
            && run.set_backend(conn, backend).is_ok()
        {
            self.backend = None;
        }
    }
}
