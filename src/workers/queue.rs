//! The jobs that are left, and what all workers know of the server.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::{LONGEST_PAUSE, Stop, TICK, growing};
use crate::error::Error;

/// A job that is put aside.
pub(super) struct Item<J> {
    pub(super) job: J,
    pub(super) not_before: Instant,
}

/// The jobs, and where each is.
pub(super) struct Queue<J> {
    pub(super) ready: VecDeque<J>,
    pub(super) aside: Vec<Item<J>>,
    pub(super) canceled: Vec<J>,
    pub(super) in_hand: usize,
    /// How many of those have a session.
    pub(super) at_work: usize,
    /// How many outcomes are not certain yet.
    pub(super) uncertain: usize,
    pub(super) outage: Option<Outage>,
    pub(super) lost: Option<Error>,
}

/// The server cannot be reached, or takes no writes.
pub(super) struct Outage {
    pub(super) since: Instant,
    pub(super) tries: u32,
    pub(super) why: Why,
}

/// In what way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Unreachable,
    ReadOnly,
}

/// What the workers and who listens to them share.
pub(super) struct Shared<'a, J> {
    pub(super) queue: Mutex<Queue<J>>,
    pub(super) changed: Condvar,
    pub(super) halt: AtomicBool,
    pub(super) stop: &'a Stop,
    pub(super) reconnect_for: Duration,
}

impl<'a, J> Shared<'a, J> {
    pub(super) fn new(jobs: Vec<J>, stop: &'a Stop, reconnect_for: Duration) -> Self {
        let queue = Queue {
            ready: jobs.into(),
            aside: Vec::new(),
            canceled: Vec::new(),
            in_hand: 0,
            at_work: 0,
            uncertain: 0,
            outage: None,
            lost: None,
        };
        Self { queue: Mutex::new(queue), changed: Condvar::new(), halt: AtomicBool::new(false), stop, reconnect_for }
    }

    /// The jobs that are left when the workers are gone, and why they are, where the server is.
    pub(super) fn left(self) -> (Vec<J>, Option<Error>) {
        let queue = self.queue.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        let aside = queue.aside.into_iter().map(|item| item.job);
        (queue.ready.into_iter().chain(aside).chain(queue.canceled).collect(), queue.lost)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Queue<J>> {
        self.queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(super) fn halted(&self) -> bool {
        self.halt.load(Ordering::Acquire) || self.stop.is_requested()
    }

    /// The next job, waited for where all that is left is put aside or may yet be. None: the work is over.
    pub(super) fn take(&self) -> Option<J> {
        let mut queue = self.lock();
        loop {
            if self.halted() || queue.lost.is_some() {
                return None;
            }
            if let Some(job) = queue.ready.pop_front() {
                queue.in_hand += 1;
                return Some(job);
            }
            let now = Instant::now();
            let due = (0..queue.aside.len()).min_by_key(|index| queue.aside[*index].not_before);
            let wait = match due {
                Some(index) if queue.aside[index].not_before <= now => {
                    queue.in_hand += 1;
                    return Some(queue.aside.swap_remove(index).job);
                }
                Some(index) => queue.aside[index].not_before - now,
                None if queue.in_hand + queue.uncertain == 0 => return None,
                None => TICK,
            };
            queue = self.changed.wait_timeout(queue, wait.min(TICK)).unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
    }

    pub(super) fn put_back(&self, job: J) {
        let mut queue = self.lock();
        queue.in_hand -= 1;
        queue.ready.push_front(job);
    }

    /// Notes that a session was had: the server lets sessions in.
    pub(super) fn is_reached(&self) {
        let mut queue = self.lock();
        queue.at_work += 1;
        if queue.outage.as_ref().is_some_and(|outage| outage.why == Why::Unreachable) {
            queue.outage = None;
        }
    }

    /// Whether any worker has a session: then it is not the server that is missing, but connections.
    pub(super) fn is_at_work(&self) -> bool {
        self.lock().at_work > 0
    }

    /// Waits a while for a server that cannot be reached. When it has been away for too long, the work is over.
    pub(super) fn wait_for_server(&self, why: Why, error: impl FnOnce() -> Error) {
        let mut queue = self.lock();
        let at_work = queue.at_work > 0;
        let outage = queue.outage.get_or_insert_with(|| Outage { since: Instant::now(), tries: 0, why });
        outage.tries += 1;
        let tries = outage.tries;
        if at_work {
            outage.since = Instant::now();
        } else if outage.since.elapsed() >= self.reconnect_for {
            queue.lost.get_or_insert_with(error);
            self.changed.notify_all();
            return;
        }
        drop(queue);
        self.stop.pause(growing(Duration::from_millis(50), tries, LONGEST_PAUSE));
    }

    /// Whether nothing is left but outcomes that are to be made certain.
    pub(super) fn is_idle(&self) -> bool {
        let queue = self.lock();
        queue.ready.is_empty() && queue.aside.is_empty() && queue.in_hand == 0
    }
}
