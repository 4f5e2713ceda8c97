//! Confirmation: makes outcomes durable, has them verified, and reports them.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::outage::REPORTED_AFTER;
use super::queue::JobQueue;
use super::{RECONNECT_PAUSE, TICK, UnfinishedJobs};
use crate::database::Database;
use crate::error::Error;
use crate::postgres::connect::Pool;
use crate::run::recorder::{Finished, OutcomeRecorder};
use crate::run::retry::backoff;
use crate::run::{Commit, Operation};

/// How often outcomes are confirmed.
const INTERVAL: Duration = Duration::from_millis(500);

/// The confirmation of outcomes, in the thread that started the run.
pub(super) struct Confirmation<'a, 'q, 'r, O: Operation> {
    db: &'a mut Database,
    pool: &'a Pool,
    queue: &'a JobQueue<'q, O::Job>,
    recorder: &'a mut OutcomeRecorder<'r, O>,
    /// Whether an outage was reported to the observer.
    is_away: bool,
    /// Jobs whose outcomes could not be confirmed.
    unconfirmed: Vec<O::Job>,
    /// Why not.
    error: Option<Error>,
}

impl<'a, 'q, 'r, O: Operation> Confirmation<'a, 'q, 'r, O> {
    pub(super) fn new(
        db: &'a mut Database,
        pool: &'a Pool,
        queue: &'a JobQueue<'q, O::Job>,
        recorder: &'a mut OutcomeRecorder<'r, O>,
    ) -> Self {
        Self { db, pool, queue, recorder, is_away: false, unconfirmed: Vec::new(), error: None }
    }

    /// Receives outcomes until the workers have ended, and confirms them in batches. Returns the jobs whose outcomes could not
    /// be confirmed.
    pub(super) fn run(mut self, received: &mpsc::Receiver<Finished<O>>) -> UnfinishedJobs<O::Job> {
        let mut batch = Vec::new();
        let mut due = Instant::now() + INTERVAL;
        loop {
            self.observe_outage();
            for wait in self.recorder.context.monitor.take_long_waits() {
                self.recorder.observer.waiting(&wait);
            }
            let message = received.recv_timeout(due.saturating_duration_since(Instant::now()));
            let have_ended = matches!(message, Err(mpsc::RecvTimeoutError::Disconnected));
            batch.extend(message.ok());
            // The outcomes that arrived during the last confirmation make one batch.
            batch.extend(received.try_iter());
            if have_ended || Instant::now() >= due || self.queue.is_idle() {
                if !batch.is_empty() {
                    self.confirm(std::mem::take(&mut batch));
                }
                due = Instant::now() + INTERVAL;
            }
            if have_ended {
                return UnfinishedJobs { jobs: self.unconfirmed, error: self.error };
            }
        }
    }

    /// Reports to the observer if the server is away, or is back.
    fn observe_outage(&mut self) {
        if self.queue.is_away() {
            self.observe_away();
        } else if std::mem::take(&mut self.is_away) {
            self.recorder.observer.back();
        }
    }

    fn observe_away(&mut self) {
        if !std::mem::replace(&mut self.is_away, true) {
            self.recorder.observer.away(self.queue.reconnect_for());
        }
    }

    /// Confirms and reports a batch of outcomes. After an error, no outcome is confirmed.
    fn confirm(&mut self, mut batch: Vec<Finished<O>>) {
        let outcomes = batch.len();
        let verified = if self.error.is_none() { self.verify(&mut batch).map(Some) } else { Ok(None) };
        let again = match verified {
            Ok(Some(again)) => {
                batch.into_iter().for_each(|finished| self.recorder.report(finished));
                if self.recorder.budget.is_spent() {
                    self.queue.halt();
                }
                again
            }
            not_verified => {
                if let Err(error) = not_verified {
                    self.queue.halt();
                    self.error = Some(error);
                }
                self.unconfirmed.extend(batch.into_iter().map(|finished| finished.job));
                Vec::new()
            }
        };
        self.queue.confirm(outcomes, again);
    }

    /// Makes outcomes durable and verifies them. After a lost connection, continues with a new one while the server may come
    /// back. Returns the jobs whose commits were lost.
    fn verify(&mut self, batch: &mut Vec<Finished<O>>) -> Result<Vec<O::Job>, Error> {
        let began = Instant::now();
        let mut tries = 0;
        loop {
            let durable = if self.recorder.context.commit == Commit::Durable { Ok(()) } else { self.db.flush() };
            let error = match durable.and_then(|()| self.recorder.verify(self.db, batch)) {
                Err(error) if error.is_outage() => error,
                result => return result,
            };
            let is_patient = began.elapsed() < self.queue.reconnect_for() || self.queue.has_sessions();
            // After a request to stop, one more try: the connection may have been closed while it was idle.
            if !is_patient || (tries > 0 && self.recorder.context.stop.is_requested()) {
                return Err(error);
            }
            tries += 1;
            if began.elapsed() >= REPORTED_AFTER {
                self.observe_away();
            }
            let (first, longest) = RECONNECT_PAUSE;
            self.recorder.context.stop.pause(backoff(first, tries, longest));
            self.reconnect();
        }
    }

    /// Opens a new connection, or takes over one of the workers', who may have all that are available. The next statement
    /// fails if there is none.
    fn reconnect(&mut self) {
        if self.db.reconnect().is_err()
            && let Ok(mut session) = self.pool.get_timeout(TICK)
        {
            self.db.replace_connection(&mut session);
        }
    }
}
