//! The queue of jobs that the workers of a run share.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::TICK;
use super::outage::{Outage, OutageKind, REPORTED_AFTER};
use crate::database::Stop;
use crate::error::Error;

/// The jobs of a run, and the state of the server.
pub(super) struct JobQueue<'a, J> {
    state: Mutex<QueueState<J>>,
    changed: Condvar,
    /// Set when no other job may start.
    halted: AtomicBool,
    stop: &'a Stop,
    reconnect_for: Duration,
    workers: usize,
}

struct QueueState<J> {
    /// Jobs that can be attempted now, in their order.
    ready: VecDeque<J>,
    /// Jobs that are attempted again later.
    deferred: Vec<Deferred<J>>,
    /// Jobs that a request to stop canceled.
    canceled: Vec<J>,
    /// The number of jobs that workers have.
    in_flight: usize,
    /// How many of those were deferred before.
    retries_in_flight: usize,
    /// How many of those have a session.
    sessions_in_use: usize,
    /// The number of outcomes that are not confirmed.
    unconfirmed: usize,
    /// Whether no other job starts before outcomes are confirmed.
    awaits_confirmation: bool,
    outage: Option<Outage>,
    /// The error that ends the run.
    error: Option<Error>,
}

struct Deferred<J> {
    job: J,
    not_before: Instant,
}

/// A job that a worker has.
pub(super) struct QueuedJob<J> {
    pub(super) job: J,
    /// Whether it was deferred before.
    is_retry: bool,
}

impl<J> QueueState<J> {
    fn start(&mut self, item: QueuedJob<J>) -> QueuedJob<J> {
        self.in_flight += 1;
        self.retries_in_flight += usize::from(item.is_retry);
        item
    }

    /// Takes an item back from a worker.
    fn take_back(&mut self, item: QueuedJob<J>) -> J {
        self.in_flight -= 1;
        self.retries_in_flight -= usize::from(item.is_retry);
        item.job
    }

    /// Takes an item back from a worker that has used a session for it.
    fn take_back_attempted(&mut self, item: QueuedJob<J>) -> J {
        self.sessions_in_use -= 1;
        self.take_back(item)
    }

    /// Notes whether the number of jobs in flight and unconfirmed has reached its maximum.
    fn is_full(&mut self, max_unconfirmed: usize) -> bool {
        self.awaits_confirmation = self.in_flight + self.unconfirmed >= max_unconfirmed;
        self.awaits_confirmation
    }

    /// The place of the deferred job that is due first.
    fn next_deferred(&self) -> Option<usize> {
        (0..self.deferred.len()).min_by_key(|place| self.deferred[*place].not_before)
    }
}

impl<'a, J> JobQueue<'a, J> {
    /// A queue for this number of workers, which wait for a server that is away for up to `reconnect_for`.
    pub(super) fn new(jobs: Vec<J>, workers: usize, stop: &'a Stop, reconnect_for: Duration) -> Self {
        let state = QueueState {
            ready: jobs.into(),
            deferred: Vec::new(),
            canceled: Vec::new(),
            in_flight: 0,
            retries_in_flight: 0,
            sessions_in_use: 0,
            unconfirmed: 0,
            awaits_confirmation: false,
            outage: None,
            error: None,
        };
        let (changed, halted) = (Condvar::new(), AtomicBool::new(false));
        Self { state: Mutex::new(state), changed, halted, stop, reconnect_for, workers }
    }

    /// The jobs without an outcome, and the error that ended the run, once the workers have ended.
    pub(super) fn into_unfinished(self) -> (Vec<J>, Option<Error>) {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let deferred = state.deferred.into_iter().map(|deferred| deferred.job);
        (state.ready.into_iter().chain(deferred).chain(state.canceled).collect(), state.error)
    }

    /// How long the workers wait for a server that is away.
    pub(super) fn reconnect_for(&self) -> Duration {
        self.reconnect_for
    }

    /// Lets no other job start.
    pub(super) fn halt(&self) {
        self.halted.store(true, Ordering::Release);
    }

    /// Waits for the next job. Returns `None` when the run ends.
    ///
    /// A deferred job that is due precedes those that were never attempted, so that failures are known early, but at most
    /// half of the workers retry while such jobs are left. No job starts while `max_unconfirmed` or more are in flight or
    /// unconfirmed, unless there are more workers.
    pub(super) fn next(&self, max_unconfirmed: impl Fn() -> usize) -> Option<QueuedJob<J>> {
        let mut state = self.lock();
        loop {
            if self.halted.load(Ordering::Acquire) || self.stop.is_requested() || state.error.is_some() {
                return None;
            }
            if state.is_full(self.at_least_workers(max_unconfirmed())) {
                state = self.wait(state, TICK);
                continue;
            }
            let now = Instant::now();
            let deferred = state.next_deferred();
            let may_retry = state.ready.is_empty() || state.retries_in_flight * 2 < self.workers;
            if let Some(place) = deferred.filter(|place| may_retry && state.deferred[*place].not_before <= now) {
                let job = state.deferred.swap_remove(place).job;
                return Some(state.start(QueuedJob { job, is_retry: true }));
            }
            if let Some(job) = state.ready.pop_front() {
                return Some(state.start(QueuedJob { job, is_retry: false }));
            }
            let wait = match deferred {
                Some(place) => state.deferred[place].not_before - now,
                None if state.in_flight + state.unconfirmed == 0 => return None,
                None => TICK,
            };
            state = self.wait(state, wait.min(TICK));
        }
    }

    /// Takes back a job that was not attempted, to be attempted next.
    pub(super) fn put_back(&self, item: QueuedJob<J>) {
        let mut state = self.lock();
        let job = state.take_back(item);
        state.ready.push_front(job);
    }

    /// Takes back a job whose attempt failed with the connection, to be attempted next.
    pub(super) fn requeue(&self, item: QueuedJob<J>) {
        let mut state = self.lock();
        let job = state.take_back_attempted(item);
        state.ready.push_front(job);
        self.changed.notify_all();
    }

    /// Takes back a job that is attempted again after a pause.
    pub(super) fn defer(&self, item: QueuedJob<J>, pause: Duration) {
        let mut state = self.lock();
        let job = state.take_back_attempted(item);
        state.deferred.push(Deferred { job, not_before: Instant::now() + pause });
        state.outage = None;
        self.changed.notify_all();
    }

    /// Takes back a job that a request to stop canceled.
    pub(super) fn cancel(&self, item: QueuedJob<J>) {
        let mut state = self.lock();
        let job = state.take_back_attempted(item);
        state.canceled.push(job);
        self.changed.notify_all();
    }

    /// Takes back a job, and ends the run.
    pub(super) fn abort(&self, item: QueuedJob<J>, error: Error) {
        let mut state = self.lock();
        let job = state.take_back_attempted(item);
        state.ready.push_front(job);
        state.error.get_or_insert(error);
        self.changed.notify_all();
    }

    /// Releases a job that has an outcome, which is to be confirmed.
    pub(super) fn finish(&self, item: QueuedJob<J>, max_unconfirmed: usize) -> J {
        let mut state = self.lock();
        let job = state.take_back_attempted(item);
        state.unconfirmed += 1;
        state.outage = None;
        state.is_full(self.at_least_workers(max_unconfirmed));
        self.changed.notify_all();
        job
    }

    /// Counts outcomes as confirmed. The jobs in `again` are attempted again.
    pub(super) fn confirm(&self, outcomes: usize, again: Vec<J>) {
        let mut state = self.lock();
        state.unconfirmed -= outcomes;
        state.ready.extend(again);
        self.changed.notify_all();
    }

    /// Whether outcomes should be confirmed at once: the workers wait for that, or have no other job.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.lock();
        let is_empty = state.ready.is_empty() && state.deferred.is_empty();
        state.in_flight == 0 && (state.awaits_confirmation || is_empty)
    }

    /// Counts a session that a worker has acquired.
    pub(super) fn session_acquired(&self) {
        let mut state = self.lock();
        state.sessions_in_use += 1;
        if state.outage.as_ref().is_some_and(Outage::ends_with_a_session) {
            state.outage = None;
        }
    }

    /// Whether a worker has a session. Then the server is reachable, and only connections are missing.
    pub(super) fn has_sessions(&self) -> bool {
        self.lock().sessions_in_use > 0
    }

    /// Whether an outage has lasted long enough to be reported.
    pub(super) fn is_away(&self) -> bool {
        self.lock().outage.as_ref().is_some_and(|outage| outage.lasted() >= REPORTED_AFTER)
    }

    /// Pauses before the server is tried again, or ends the run with `error` if the outage has lasted too long.
    pub(super) fn wait_for_server(&self, kind: OutageKind, error: impl FnOnce() -> Error) {
        let mut state = self.lock();
        let has_sessions = state.sessions_in_use > 0;
        let outage = state.outage.get_or_insert_with(|| Outage::new(kind));
        outage.failed(kind);
        if has_sessions && outage.ends_with_a_session() {
            // The server is reachable, and only connections are missing.
            outage.restart();
        } else if outage.lasted() >= self.reconnect_for {
            state.error.get_or_insert_with(error);
            self.changed.notify_all();
            return;
        }
        let pause = outage.pause();
        drop(state);
        self.stop.pause(pause);
    }

    fn at_least_workers(&self, max_unconfirmed: usize) -> usize {
        max_unconfirmed.max(self.workers)
    }

    fn lock(&self) -> MutexGuard<'_, QueueState<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'q>(&self, state: MutexGuard<'q, QueueState<J>>, timeout: Duration) -> MutexGuard<'q, QueueState<J>> {
        self.changed.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNLIMITED: fn() -> usize = || usize::MAX;

    fn deferred(queue: &JobQueue<'_, &'static str>, job: &'static str, not_before: Instant) {
        queue.lock().deferred.push(Deferred { job, not_before });
    }

    fn next(queue: &JobQueue<'_, &'static str>) -> Option<QueuedJob<&'static str>> {
        queue.next(UNLIMITED)
    }

    fn job_of(item: Option<QueuedJob<&'static str>>) -> Option<&'static str> {
        item.map(|item| item.job)
    }

    #[test]
    fn due_retries_go_first_and_leave_half_of_the_workers_to_new_jobs() {
        let stop = Stop::default();
        let queue = JobQueue::new(vec!["a", "b", "c"], 4, &stop, Duration::ZERO);
        let now = Instant::now();
        deferred(&queue, "y", now - Duration::from_secs(1));
        deferred(&queue, "x", now - Duration::from_secs(2));
        deferred(&queue, "z", now);
        deferred(&queue, "later", now + Duration::from_secs(3_600));
        let mut taken: Vec<QueuedJob<&str>> = (0..4).filter_map(|_| next(&queue)).collect();
        assert_eq!(taken.iter().map(|item| item.job).collect::<Vec<_>>(), ["x", "y", "a", "b"]);
        queue.lock().take_back(taken.swap_remove(0));
        assert_eq!(job_of(next(&queue)), Some("z"));
        // No new job is left after this one: all workers may retry.
        assert_eq!(job_of(next(&queue)), Some("c"));
        deferred(&queue, "w", now);
        assert_eq!(job_of(next(&queue)), Some("w"));
        let (unfinished, error) = queue.into_unfinished();
        assert_eq!((unfinished, error.is_none()), (vec!["later"], true));
    }

    #[test]
    fn no_job_starts_while_too_many_are_unconfirmed() {
        let stop = Stop::default();
        let queue = JobQueue::new(vec!["a", "b", "c"], 2, &stop, Duration::ZERO);
        let started = [queue.next(|| 1), queue.next(|| 1)];
        std::thread::scope(|scope| {
            let third = scope.spawn(|| job_of(queue.next(|| 1)));
            for item in started.into_iter().flatten() {
                queue.session_acquired();
                queue.finish(item, 1);
            }
            while !queue.is_idle() {
                assert!(!third.is_finished());
                std::thread::yield_now();
            }
            queue.confirm(2, Vec::new());
            assert_eq!(third.join().ok().flatten(), Some("c"));
        });
    }

    #[test]
    fn a_single_worker_takes_retries_and_new_jobs() {
        let stop = Stop::default();
        let queue = JobQueue::new(vec!["a"], 1, &stop, Duration::ZERO);
        deferred(&queue, "x", Instant::now());
        let first = next(&queue).unwrap();
        assert_eq!(queue.lock().take_back(first), "x");
        assert_eq!(job_of(next(&queue)), Some("a"));
    }

    /// Has a worker without a session meet an outage until the run ends, or for a second, while another worker has a session.
    /// Returns whether the run ended.
    fn ends(kind_of: impl Fn(u32) -> OutageKind) -> bool {
        let stop = Stop::default();
        let queue = JobQueue::new(vec![()], 2, &stop, Duration::from_millis(200));
        queue.session_acquired();
        let began = Instant::now();
        for n in 0.. {
            let kind = kind_of(n);
            // A session is needed to find that the server accepts no writes.
            if kind == OutageKind::ReadOnly {
                queue.session_acquired();
                queue.lock().sessions_in_use -= 1;
            }
            queue.wait_for_server(kind, || crate::postgres::Error::ReadOnly.into());
            if queue.lock().error.is_some() || began.elapsed() > Duration::from_secs(1) {
                break;
            }
        }
        queue.into_unfinished().1.is_some()
    }

    #[test]
    fn worker_without_a_connection_waits_while_others_have_one() {
        assert!(!ends(|_| OutageKind::Unreachable));
    }

    #[test]
    fn read_only_server_ends_the_run_despite_other_connections() {
        assert!(ends(|_| OutageKind::ReadOnly));
        // A standby whose connections are exhausted now and then.
        assert!(ends(|n| if n % 2 == 0 { OutageKind::Unreachable } else { OutageKind::ReadOnly }));
    }
}
