//! The jobs that are left, and what all workers know of the server.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::{LONGEST_PAUSE, TICK, growing};
use crate::database::Stop;
use crate::error::Error;

/// How long a server is not reached when it is told to be away.
pub(super) const AWAY: Duration = Duration::from_secs(1);

/// A job that is put aside.
pub(super) struct Item<J> {
    pub(super) job: J,
    pub(super) not_before: Instant,
}

/// The jobs, and where each is.
pub(super) struct Queue<J> {
    pub(super) ready: VecDeque<J>,
    pub(super) aside: Vec<Item<J>>,
    /// How many of those in hand were put aside before.
    pub(super) in_hand_again: usize,
    pub(super) canceled: Vec<J>,
    pub(super) in_hand: usize,
    /// How many of those have a session.
    pub(super) at_work: usize,
    /// How many outcomes are not certain yet.
    pub(super) uncertain: usize,
    /// Whether nothing else is begun before they are told.
    waits_for_telling: bool,
    pub(super) outage: Option<Outage>,
    pub(super) lost: Option<Error>,
}

/// A job that a worker has in hand.
pub(super) struct InHand<J> {
    pub(super) job: J,
    /// Whether it was put aside before.
    again: bool,
}

impl<J> Queue<J> {
    /// Notes that a worker has a job in hand no more.
    pub(super) fn leaves_hand<T>(&mut self, in_hand: &InHand<T>) {
        self.in_hand -= 1;
        self.in_hand_again -= usize::from(in_hand.again);
    }
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
    workers: usize,
}

impl<'a, J> Shared<'a, J> {
    pub(super) fn new(jobs: Vec<J>, workers: usize, stop: &'a Stop, reconnect_for: Duration) -> Self {
        let queue = Queue {
            ready: jobs.into(),
            aside: Vec::new(),
            in_hand_again: 0,
            canceled: Vec::new(),
            in_hand: 0,
            at_work: 0,
            uncertain: 0,
            waits_for_telling: false,
            outage: None,
            lost: None,
        };
        let (queue, changed, halt) = (Mutex::new(queue), Condvar::new(), AtomicBool::new(false));
        Self { queue, changed, halt, stop, reconnect_for, workers }
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
    ///
    /// What was put aside and is due goes before what was not begun, so that it is known early when nothing gets through;
    /// but half of the workers stay with the others.
    pub(super) fn take(&self, most_untold: impl Fn() -> usize) -> Option<InHand<J>> {
        let mut queue = self.lock();
        loop {
            if self.halted() || queue.lost.is_some() {
                return None;
            }
            if self.must_wait_for_telling(&mut queue, most_untold()) {
                queue = self.changed.wait_timeout(queue, TICK).unwrap_or_else(|poisoned| poisoned.into_inner()).0;
                continue;
            }
            let now = Instant::now();
            let next = (0..queue.aside.len()).min_by_key(|index| queue.aside[*index].not_before);
            let due = next.filter(|index| queue.aside[*index].not_before <= now);
            let may_try_again = queue.ready.is_empty() || queue.in_hand_again * 2 < self.workers;
            if let Some(index) = due.filter(|_| may_try_again) {
                queue.in_hand += 1;
                queue.in_hand_again += 1;
                return Some(InHand { job: queue.aside.swap_remove(index).job, again: true });
            }
            if let Some(job) = queue.ready.pop_front() {
                queue.in_hand += 1;
                return Some(InHand { job, again: false });
            }
            let wait = match next {
                Some(index) => queue.aside[index].not_before - now,
                None if queue.in_hand + queue.uncertain == 0 => return None,
                None => TICK,
            };
            queue = self.changed.wait_timeout(queue, wait.min(TICK)).unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
    }

    /// Whether so much is not told that nothing else may be begun. Noted, so that it is told at once.
    pub(super) fn must_wait_for_telling(&self, queue: &mut Queue<J>, most_untold: usize) -> bool {
        queue.waits_for_telling = queue.in_hand + queue.uncertain >= most_untold.max(self.workers);
        queue.waits_for_telling
    }

    pub(super) fn put_back(&self, in_hand: InHand<J>) {
        let mut queue = self.lock();
        queue.leaves_hand(&in_hand);
        queue.ready.push_front(in_hand.job);
    }

    /// Notes that a session was had: the server lets sessions in.
    pub(super) fn note_reached(&self) {
        let mut queue = self.lock();
        queue.at_work += 1;
        if queue.outage.as_ref().is_some_and(|outage| outage.why == Why::Unreachable) {
            queue.outage = None;
        }
    }

    /// Whether the server has been away for longer than a connection that breaks.
    pub(super) fn is_away(&self) -> bool {
        self.lock().outage.as_ref().is_some_and(|outage| outage.since.elapsed() >= AWAY)
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
        if why == Why::ReadOnly {
            // Until something is done, though it may be that no session can be had for a while.
            outage.why = why;
        }
        outage.tries += 1;
        let tries = outage.tries;
        // Who has a session shows that the server is there, and not that it takes writes: all of them may be finding out.
        if at_work && outage.why == Why::Unreachable {
            outage.since = Instant::now();
        } else if outage.since.elapsed() >= self.reconnect_for {
            queue.lost.get_or_insert_with(error);
            self.changed.notify_all();
            return;
        }
        drop(queue);
        self.stop.pause(growing(Duration::from_millis(50), tries, LONGEST_PAUSE));
    }

    /// Whether nothing goes on before outcomes are made certain, or nothing else is left.
    pub(super) fn is_idle(&self) -> bool {
        let queue = self.lock();
        queue.in_hand == 0 && (queue.waits_for_telling || queue.ready.is_empty() && queue.aside.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aside(shared: &Shared<'_, &'static str>, job: &'static str, not_before: Instant) {
        shared.lock().aside.push(Item { job, not_before });
    }

    #[test]
    fn what_is_due_again_goes_first_and_leaves_half_of_the_workers_to_the_others() {
        let stop = Stop::default();
        let shared = Shared::new(vec!["a", "b", "c"], 4, &stop, Duration::ZERO);
        let now = Instant::now();
        aside(&shared, "y", now - Duration::from_secs(1));
        aside(&shared, "x", now - Duration::from_secs(2));
        aside(&shared, "z", now);
        aside(&shared, "later", now + Duration::from_secs(3_600));
        let taken: Vec<InHand<&str>> = (0..4).filter_map(|_| shared.take(|| usize::MAX)).collect();
        assert_eq!(taken.iter().map(|in_hand| in_hand.job).collect::<Vec<_>>(), ["x", "y", "a", "b"]);
        shared.lock().leaves_hand(&taken[0]);
        assert_eq!(shared.take(|| usize::MAX).map(|in_hand| in_hand.job), Some("z"));
        // Nothing else is left to be begun: all workers may try again.
        assert_eq!(shared.take(|| usize::MAX).map(|in_hand| in_hand.job), Some("c"));
        aside(&shared, "w", now);
        assert_eq!(shared.take(|| usize::MAX).map(|in_hand| in_hand.job), Some("w"));
        let (left, lost) = shared.left();
        assert_eq!((left, lost.is_none()), (vec!["later"], true));
    }

    #[test]
    fn no_more_is_begun_than_may_be_untold() {
        let stop = Stop::default();
        let shared = Shared::new(vec!["a", "b", "c"], 2, &stop, Duration::ZERO);
        let a = shared.take(|| 1);
        let b = shared.take(|| 1);
        std::thread::scope(|scope| {
            let third = scope.spawn(|| shared.take(|| 1).map(|in_hand| in_hand.job));
            for in_hand in [a, b].into_iter().flatten() {
                let mut queue = shared.lock();
                queue.leaves_hand(&in_hand);
                queue.uncertain += 1;
            }
            while !shared.is_idle() {
                assert!(!third.is_finished());
                std::thread::yield_now();
            }
            shared.lock().uncertain = 0;
            assert_eq!(third.join().ok().flatten(), Some("c"));
        });
    }

    #[test]
    fn one_worker_does_both() {
        let stop = Stop::default();
        let shared = Shared::new(vec!["a"], 1, &stop, Duration::ZERO);
        aside(&shared, "x", Instant::now());
        let first = shared.take(|| usize::MAX).map(|in_hand| (in_hand.job, shared.lock().leaves_hand(&in_hand)));
        assert_eq!(first, Some(("x", ())));
        assert_eq!(shared.take(|| usize::MAX).map(|in_hand| in_hand.job), Some("a"));
    }

    /// Has a worker without a job find the server so until the work is over, or for a second; another has a session all
    /// the while. Returns whether it is over.
    fn ends(found: impl Fn(u32) -> Why) -> bool {
        let stop = Stop::default();
        let shared = Shared::new(vec![()], 2, &stop, Duration::from_millis(200));
        shared.lock().at_work = 1;
        let began = Instant::now();
        for n in 0.. {
            // It is told so by the server, in a session.
            if found(n) == Why::ReadOnly {
                shared.note_reached();
                shared.lock().at_work -= 1;
            }
            shared.wait_for_server(found(n), || crate::postgres::Error::ReadOnly.into());
            if shared.lock().lost.is_some() || began.elapsed() > Duration::from_secs(1) {
                break;
            }
        }
        shared.left().1.is_some()
    }

    #[test]
    fn who_only_lacks_a_connection_waits_as_long_as_others_are_at_work() {
        assert!(!ends(|_| Why::Unreachable));
    }

    #[test]
    fn a_server_that_takes_no_writes_is_given_up_though_others_are_finding_out() {
        assert!(ends(|_| Why::ReadOnly));
        // A standby whose connections are used up now and then.
        assert!(ends(|n| if n % 2 == 0 { Why::Unreachable } else { Why::ReadOnly }));
    }
}
