//! An outage of the server, as the workers of a run see it.

use std::time::{Duration, Instant};

use super::RECONNECT_PAUSE;
use crate::run::retry::backoff;

/// How long an outage lasts before it is reported. A single broken connection is not.
pub(super) const REPORTED_AFTER: Duration = Duration::from_secs(1);

/// Why the server is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutageKind {
    /// It cannot be reached.
    Unreachable,
    /// It accepts no writes.
    ReadOnly,
}

/// The server cannot be reached, or accepts no writes.
#[derive(Debug)]
pub(super) struct Outage {
    since: Instant,
    kind: OutageKind,
    /// The number of workers that met it, each time that they did.
    failures: u32,
}

impl Outage {
    /// An outage that begins now.
    pub(super) fn new(kind: OutageKind) -> Self {
        Self { since: Instant::now(), kind, failures: 0 }
    }

    /// Counts a worker that met it.
    pub(super) fn failed(&mut self, kind: OutageKind) {
        if kind == OutageKind::ReadOnly {
            // Until a write succeeds, even if no connection can be opened for a while.
            self.kind = kind;
        }
        self.failures += 1;
    }

    /// Counts its time from now.
    pub(super) fn restart(&mut self) {
        self.since = Instant::now();
    }

    /// Whether a session shows that it is over.
    pub(super) fn ends_with_a_session(&self) -> bool {
        self.kind == OutageKind::Unreachable
    }

    /// How long it has lasted.
    pub(super) fn lasted(&self) -> Duration {
        self.since.elapsed()
    }

    /// The pause before the server is tried again.
    pub(super) fn pause(&self) -> Duration {
        let (first, longest) = RECONNECT_PAUSE;
        backoff(first, self.failures, longest)
    }
}
