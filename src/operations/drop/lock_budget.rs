//! Limits the number of locks that all workers of a run take at once.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::database::Stop;

/// The part of the server's lock table that a run may fill, as a divisor. The rest is for other sessions.
const PART: i64 = 4;

/// The smallest size of a step in locks: one or two tables.
pub(super) const MIN_LOCKS: i64 = 50;

/// How often a waiting worker checks for a request to stop, which comes from a signal without a notification.
const TICK: Duration = Duration::from_millis(100);

/// The maximum number of locks that a run takes at once, for a lock table of this size.
pub(super) fn share_of(lock_table: i64) -> i64 {
    (lock_table / PART).max(MIN_LOCKS)
}

/// The locks that a run may take. Workers get them in the order of their requests, so that a large schema is not delayed
/// by many small ones.
pub(super) struct LockBudget {
    state: Mutex<LockGrants>,
    freed: Condvar,
}

struct LockGrants {
    limit: i64,
    taken: i64,
    waiting: VecDeque<u64>,
    next: u64,
}

/// Locks that a worker was granted. Dropping the value returns them.
pub(super) struct LockShare<'a> {
    budget: &'a LockBudget,
    locks: i64,
}

impl LockBudget {
    pub(super) fn new(limit: i64) -> Self {
        let state = LockGrants { limit, taken: 0, waiting: VecDeque::new(), next: 0 };
        Self { state: Mutex::new(state), freed: Condvar::new() }
    }

    /// The maximum number of locks for one transaction.
    pub(super) fn limit(&self) -> i64 {
        self.lock().limit
    }

    /// Waits for this many locks, or for all of them if it is more than the limit. Returns `None` if a stop is requested.
    pub(super) fn take(&self, locks: i64, stop: &Stop) -> Option<LockShare<'_>> {
        let mut state = self.lock();
        let ticket = state.next;
        state.next += 1;
        state.waiting.push_back(ticket);
        loop {
            let locks = locks.min(state.limit);
            let stopped = stop.is_requested();
            let is_granted = state.waiting.front() == Some(&ticket) && state.taken + locks <= state.limit;
            if !stopped && !is_granted {
                state = self.freed.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            state.waiting.retain(|waiting| *waiting != ticket);
            self.freed.notify_all();
            if stopped {
                return None;
            }
            state.taken += locks;
            return Some(LockShare { budget: self, locks });
        }
    }

    /// Halves the limit after the server's lock table was too small for a transaction with this many locks. Returns whether
    /// the next transaction can be smaller.
    pub(super) fn shrink(&self, locks: i64) -> bool {
        let mut state = self.lock();
        // If several fail at once, only the first one halves the limit.
        if (MIN_LOCKS + 1..=state.limit).contains(&locks) {
            state.limit = (locks / 2).max(MIN_LOCKS);
        }
        state.limit < locks
    }

    fn lock(&self) -> MutexGuard<'_, LockGrants> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LockShare<'_> {
    /// The number of locks.
    pub(super) fn locks(&self) -> i64 {
        self.locks
    }
}

impl Drop for LockShare<'_> {
    fn drop(&mut self) {
        self.budget.lock().taken -= self.locks;
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn locks_are_granted_in_the_order_of_requests() {
        let (budget, stop) = (LockBudget::new(100), Stop::default());
        let small = budget.take(60, &stop).unwrap();
        let (sender, receiver) = mpsc::channel();
        thread::scope(|scope| {
            for (place, locks) in [1_000, 10].into_iter().enumerate() {
                let (sender, budget, stop) = (sender.clone(), &budget, &stop);
                scope.spawn(move || {
                    let taken = budget.take(locks, stop).unwrap();
                    sender.send(taken.locks()).unwrap();
                });
                while budget.lock().waiting.len() <= place {
                    thread::yield_now();
                }
            }
            assert!(
                receiver.recv_timeout(TICK * 2).is_err(),
                "enough locks for the second request are free, but the first one is waiting"
            );
            std::mem::drop(small);
            assert_eq!([receiver.recv().unwrap(), receiver.recv().unwrap()], [100, 10]);
        });
        assert_eq!(budget.lock().taken, 0);
    }

    #[test]
    fn a_stop_ends_the_wait() {
        let (budget, stop) = (LockBudget::new(100), Stop::default());
        let _all = budget.take(100, &stop).unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| budget.take(1, &stop).is_none());
            stop.request();
            assert!(waiting.join().unwrap());
        });
        assert!(budget.lock().waiting.is_empty());
    }

    #[test]
    fn the_limit_is_halved_down_to_the_minimum() {
        let budget = LockBudget::new(1_000);
        assert!(budget.shrink(1_000));
        assert_eq!(budget.limit(), 500);
        // A transaction that began before the limit was halved.
        assert!(budget.shrink(1_000));
        assert_eq!(budget.limit(), 500);
        assert!(!budget.shrink(MIN_LOCKS), "the limit is at its minimum");
        assert_eq!(budget.limit(), 500);
        assert!(budget.shrink(150));
        assert_eq!(budget.limit(), 75);
        assert!(budget.shrink(75));
        assert!(!budget.shrink(MIN_LOCKS));
        assert!(!budget.shrink(10));
        assert_eq!(budget.limit(), MIN_LOCKS);
    }
}
