//! Verifies, records and reports outcomes.

use std::time::Duration;

use super::{FailureBudget, Job, Observer, Operation, Outcome, RunContext, StageReport, Verified};
use crate::database::Database;
use crate::error::{Error, FailedTenant};
use crate::record::runs::FailedRow;

/// A job that is finished, and its outcome.
pub(super) struct Finished<O: Operation> {
    pub(super) job: O::Job,
    pub(super) outcome: Outcome<O::Done>,
    /// The time since the first attempt began.
    pub(super) took: Duration,
}

/// Verifies outcomes, records failures and fills the report of a stage.
pub(super) struct OutcomeRecorder<'a, O: Operation> {
    pub(super) context: &'a RunContext<'a>,
    pub(super) operation: &'a O,
    pub(super) budget: &'a FailureBudget,
    pub(super) observer: &'a mut dyn Observer,
    pub(super) report: StageReport<O>,
}

impl<O: Operation> OutcomeRecorder<'_, O> {
    /// Verifies outcomes that are durable and records the failures among them. Returns the jobs whose commits were lost.
    ///
    /// # Errors
    /// The error of the server. After a lost connection, it can be called again.
    pub(super) fn verify(&mut self, db: &mut Database, finished: &mut Vec<Finished<O>>) -> Result<Vec<O::Job>, Error> {
        let done: Vec<&O::Job> = finished
            .iter()
            .filter(|finished| matches!(finished.outcome, Outcome::Done(_)))
            .map(|finished| &finished.job)
            .collect();
        let Verified { lost, mut failed } =
            if done.is_empty() { Verified::default() } else { self.operation.verify(self.context, db, &done)? };
        for Finished { job, outcome, .. } in finished.iter_mut() {
            if matches!(outcome, Outcome::Done(_))
                && !lost.contains(job.schema())
                && let Some(error) = failed.remove(job.schema())
            {
                self.budget.count_failure(job.schema().as_str(), &error);
                *outcome = Outcome::Failed(error);
            }
        }
        self.record_failures(db, finished)?;
        let (verified, lost): (Vec<Finished<O>>, Vec<Finished<O>>) = std::mem::take(finished)
            .into_iter()
            .partition(|it| !matches!(it.outcome, Outcome::Done(_)) || !lost.contains(it.job.schema()));
        *finished = verified;
        if self.operation.may_fail_verification() {
            let is_done = |it: &&Finished<O>| matches!(it.outcome, Outcome::Done(_));
            finished.iter().filter(is_done).for_each(|it| self.budget.count(it.job.schema().as_str(), &it.outcome));
        }
        let mut again: Vec<O::Job> = lost.into_iter().map(|it| it.job).collect();
        again.iter_mut().for_each(Job::commit_lost);
        Ok(again)
    }

    fn record_failures(&self, db: &mut Database, finished: &[Finished<O>]) -> Result<(), Error> {
        let failures: Vec<FailedRow<'_>> = finished
            .iter()
            .filter_map(|Finished { job, outcome, .. }| match outcome {
                Outcome::Failed(error) => {
                    Some(job.retry_state().failed_row(job.schema().as_str(), job.version_before(), error))
                }
                Outcome::Done(_) | Outcome::Unchanged => None,
            })
            .collect();
        self.context.run.record_failures(db.connection(), &failures)
    }

    /// Reports a verified outcome.
    pub(super) fn report(&mut self, Finished { job, outcome, took }: Finished<O>) {
        match outcome {
            Outcome::Done(done) => {
                self.observer.done(job.schema().as_str(), took);
                self.report.done.push(done);
            }
            Outcome::Unchanged => {
                self.observer.done(job.schema().as_str(), took);
                self.report.unchanged.push(job);
            }
            Outcome::Failed(error) => {
                self.observer.failed(job.schema().as_str(), &error);
                self.report.failed.push(FailedTenant { tenant: job.schema().as_str().to_owned(), error });
            }
        }
    }
}
