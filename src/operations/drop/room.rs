//! Limits the number of locks that all workers of a run take at once.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::database::Stop;

/// The part of the server's lock table that a run may fill, as a divisor. The rest is for other sessions.
const PART: i64 = 4;

/// The smallest size of a step in locks: one or two tables.
pub(super) const LEAST: i64 = 50;

/// How often a waiting worker checks for a request to stop, which comes from a signal without a notification.
const TICK: Duration = Duration::from_millis(100);

/// The maximum number of locks that a run takes at once, for a lock table of this size.
pub(super) fn share_of(lock_table: i64) -> i64 {
    (lock_table / PART).max(LEAST)
}

/// The locks that a run may take. Workers get them in the order of their requests, so that a large schema is not delayed
/// by many small ones.
pub(super) struct Room {
    state: Mutex<State>,
    freed: Condvar,
}

struct State {
    limit: i64,
    taken: i64,
    waiting: VecDeque<u64>,
    next: u64,
}

/// Locks that a worker was granted. Dropping the value returns them.
pub(super) struct Taken<'a> {
    room: &'a Room,
    locks: i64,
}

impl Room {
    pub(super) fn new(limit: i64) -> Self {
        let state = State { limit, taken: 0, waiting: VecDeque::new(), next: 0 };
        Self { state: Mutex::new(state), freed: Condvar::new() }
    }

    /// The maximum number of locks for one transaction.
    pub(super) fn limit(&self) -> i64 {
        self.lock().limit
    }

    /// Waits for this many locks, or for all of them if it is more than the limit. Returns `None` if a stop is requested.
    pub(super) fn take(&self, locks: i64, stop: &Stop) -> Option<Taken<'_>> {
        let mut state = self.lock();
        let ticket = state.next;
        state.next += 1;
        state.waiting.push_back(ticket);
        loop {
            let locks = locks.min(state.limit);
            let stopped = stop.is_requested();
            let has_room = state.waiting.front() == Some(&ticket) && state.taken + locks <= state.limit;
            if !stopped && !has_room {
                state = self.freed.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            state.waiting.retain(|waiting| *waiting != ticket);
            self.freed.notify_all();
            if stopped {
                return None;
            }
            state.taken += locks;
            return Some(Taken { room: self, locks });
        }
    }

    /// Halves the limit after the server's lock table had no room for a transaction with this many locks. Returns whether
    /// the next transaction can be smaller.
    pub(super) fn shrink(&self, locks: i64) -> bool {
        let mut state = self.lock();
        // If several fail at once, only the first one halves the limit.
        if (LEAST + 1..=state.limit).contains(&locks) {
            state.limit = (locks / 2).max(LEAST);
        }
        state.limit < locks
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken<'_> {
    /// The number of locks.
    pub(super) fn locks(&self) -> i64 {
        self.locks
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.room.lock().taken -= self.locks;
        self.room.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn room_is_had_in_the_order_of_asking() {
        let (room, stop) = (Room::new(100), Stop::default());
        let small = room.take(60, &stop).unwrap();
        let (tell, told) = mpsc::channel();
        thread::scope(|scope| {
            for (place, locks) in [1_000, 10].into_iter().enumerate() {
                let (tell, room, stop) = (tell.clone(), &room, &stop);
                scope.spawn(move || {
                    let taken = room.take(locks, stop).unwrap();
                    tell.send(taken.locks()).unwrap();
                });
                while room.lock().waiting.len() <= place {
                    thread::yield_now();
                }
            }
            assert!(
                told.recv_timeout(TICK * 2).is_err(),
                "there would be room for the second, but the first is waiting"
            );
            std::mem::drop(small);
            assert_eq!([told.recv().unwrap(), told.recv().unwrap()], [100, 10]);
        });
        assert_eq!(room.lock().taken, 0);
    }

    #[test]
    fn whoever_waits_hears_of_a_stop() {
        let (room, stop) = (Room::new(100), Stop::default());
        let _all = room.take(100, &stop).unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| room.take(1, &stop).is_none());
            stop.request();
            assert!(waiting.join().unwrap());
        });
        assert!(room.lock().waiting.is_empty());
    }

    #[test]
    fn it_shrinks_down_to_the_least() {
        let room = Room::new(1_000);
        assert!(room.shrink(1_000));
        assert_eq!(room.limit(), 500);
        // One that had begun before.
        assert!(room.shrink(1_000));
        assert_eq!(room.limit(), 500);
        assert!(!room.shrink(LEAST), "the room is not what it lacks");
        assert_eq!(room.limit(), 500);
        assert!(room.shrink(150));
        assert_eq!(room.limit(), 75);
        assert!(room.shrink(75));
        assert!(!room.shrink(LEAST));
        assert!(!room.shrink(10));
        assert_eq!(room.limit(), LEAST);
    }
}
