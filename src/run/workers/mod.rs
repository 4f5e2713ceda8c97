//! Threads that attempt the jobs of a run, one for each connection, and the confirmation of their outcomes.
//!
//! While the server cannot be reached, the workers wait for it. An attempt whose connection was lost is repeated.

mod confirm;
mod outage;
mod queue;

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::recorder::{Finished, OutcomeRecorder};
use super::{Attempt, FailureBudget, Job, Operation, Outcome, RunContext};
use crate::database::Database;
use crate::error::Error;
use crate::postgres::connect::{self, Pool};
use crate::postgres::{self, Connector};

use confirm::Confirmation;
use outage::OutageKind;
use queue::{JobQueue, QueuedJob};

/// A session that returns to the pool when it is dropped.
type PooledSession = r2d2::PooledConnection<Connector>;

/// How often a wait checks for a request to stop, which may come from a signal handler, without a notification.
const TICK: Duration = Duration::from_millis(100);

/// The first and the longest pause before a server that is away is tried again.
const RECONNECT_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// The jobs without a confirmed outcome.
pub(super) struct UnfinishedJobs<J> {
    pub(super) jobs: Vec<J>,
    /// The error if the server was lost, or can do no work.
    pub(super) error: Option<Error>,
}

/// Attempts `jobs` through as many connections as the database allows, until each has an outcome, the run stops, or the
/// server has been away for longer than the run waits.
pub(super) fn run<O: Operation>(
    db: &mut Database,
    jobs: Vec<O::Job>,
    recorder: &mut OutcomeRecorder<'_, O>,
) -> Result<UnfinishedJobs<O::Job>, Error> {
    if jobs.is_empty() {
        return Ok(UnfinishedJobs { jobs, error: None });
    }
    let OutcomeRecorder { context, operation, budget, .. } = *recorder;
    let pool = db.pool(jobs.len())?;
    let queue = JobQueue::new(jobs, pool.max_size() as usize, context.stop, context.tenancy.limits().reconnect_for);
    let (finished, received) = mpsc::channel();
    let unconfirmed = thread::scope(|scope| {
        for _ in 0..pool.max_size() {
            let worker = Worker { context, operation, budget, pool: &pool, queue: &queue, finished: finished.clone() };
            scope.spawn(move || worker.run());
        }
        drop(finished);
        Confirmation::new(db, &pool, &queue, recorder).run(&received)
    });
    let (mut jobs, error) = queue.into_unfinished();
    jobs.extend(unconfirmed.jobs);
    Ok(UnfinishedJobs { jobs, error: error.or(unconfirmed.error) })
}

/// One of the threads that attempt jobs.
struct Worker<'a, O: Operation> {
    context: &'a RunContext<'a>,
    operation: &'a O,
    budget: &'a FailureBudget,
    pool: &'a Pool,
    queue: &'a JobQueue<'a, O::Job>,
    finished: mpsc::Sender<Finished<O>>,
}

impl<O: Operation> Worker<'_, O> {
    fn run(&self) {
        while let Some(mut item) = self.queue.next(|| self.max_unconfirmed()) {
            match self.session() {
                Ok(mut session) => {
                    self.queue.session_acquired();
                    let attempt = self.operation.attempt(self.context, &mut session, &mut item.job);
                    // Returned to the pool, so that no session is held during a pause and one that broke is replaced.
                    drop(session);
                    self.conclude(item, attempt);
                }
                Err(error) => {
                    self.queue.put_back(item);
                    if let SessionError::Unavailable(message) = error {
                        self.wait_for_reconnect(message);
                    }
                }
            }
        }
    }

    fn session(&self) -> Result<PooledSession, SessionError> {
        let timeout = self.queue.reconnect_for().max(Duration::from_secs(1));
        match connect::session(self.pool, timeout, || !self.context.stop.is_requested()) {
            Ok(session) if session.is_current() => Ok(session),
            Ok(mut outdated) => {
                outdated.discard();
                Err(SessionError::Outdated)
            }
            Err(message) => Err(SessionError::Unavailable(message)),
        }
    }

    fn conclude(&self, item: QueuedJob<O::Job>, attempt: Attempt<O::Done>) {
        let queue = self.queue;
        match attempt {
            Attempt::Finished(outcome) => {
                let is_provisional = matches!(outcome, Outcome::Done(_)) && self.operation.may_fail_verification();
                if !is_provisional {
                    self.budget.count(item.job.schema().as_str(), &outcome);
                }
                if self.budget.is_spent() {
                    queue.halt();
                }
                let took = item.job.retry_state().took();
                let job = queue.finish(item, self.max_unconfirmed());
                // Fails only after the confirmation has panicked.
                let _ = self.finished.send(Finished { job, outcome, took });
            }
            Attempt::Retry(pause) => queue.defer(item, pause),
            Attempt::Canceled => queue.cancel(item),
            Attempt::Abort(error) => queue.abort(item, error),
            Attempt::LostConnection(server) => {
                queue.requeue(item);
                self.wait_for_reconnect(server.to_string());
            }
            Attempt::ReadOnly => {
                queue.requeue(item);
                queue.wait_for_server(OutageKind::ReadOnly, || postgres::Error::ReadOnly.into());
            }
        }
    }

    fn wait_for_reconnect(&self, message: String) {
        self.queue.wait_for_server(OutageKind::Unreachable, || postgres::Error::ConnectionsLost { message }.into());
    }

    fn max_unconfirmed(&self) -> usize {
        if self.operation.may_fail_verification() { self.budget.max_unconfirmed() } else { usize::MAX }
    }
}

/// Why a worker has no session.
enum SessionError {
    /// The session was open when another one was lost, and is probably lost, too.
    Outdated,
    /// No session could be opened.
    Unavailable(String),
}
