//! Runs an operation on tenants.

use std::time::Duration;

use super::recorder::OutcomeRecorder;
use super::workers::{self, UnfinishedJobs};
use super::{Commit, FailureBudget, LockMonitor, Observer, Operation, RunContext, lock_monitor};
use crate::database::{Database, Stop};
use crate::error::{Error, FailedTenant};
use crate::record::runs::{Counts, FailedRow, Run, StopReason};
use crate::tenants::Tenancy;

/// A run in progress.
pub(crate) struct Runner<'a> {
    context: RunContext<'a>,
    budget: FailureBudget,
}

/// The results of a stage.
pub(crate) struct StageReport<O: Operation> {
    pub(crate) done: Vec<O::Done>,
    /// The jobs that had nothing to do.
    pub(crate) unchanged: Vec<O::Job>,
    pub(crate) failed: Vec<FailedTenant>,
    /// The jobs that were not started, or were canceled or deferred and not attempted again.
    pub(crate) not_reached: Vec<O::Job>,
    /// The error if the server was lost, or can do no work.
    pub(crate) lost: Option<Error>,
}

impl<O: Operation> Default for StageReport<O> {
    fn default() -> Self {
        Self { done: Vec::new(), unchanged: Vec::new(), failed: Vec::new(), not_reached: Vec::new(), lost: None }
    }
}

impl<'a> Runner<'a> {
    /// A runner for `tenants` tenants in `run`, which has been recorded.
    pub(crate) fn new(tenancy: &'a Tenancy, run: Run, tenants: usize, stop: &'a Stop, budget: FailureBudget) -> Self {
        // A single commit is made durable without another round trip.
        let commit = if tenants == 1 { Commit::Durable } else { Commit::Deferred };
        let context = RunContext { tenancy, run, commit, monitor: LockMonitor::new(run), stop };
        Self { context, budget }
    }

    /// A runner that commits nothing in `run`, which is not recorded.
    pub(crate) fn reading(tenancy: &'a Tenancy, run: Run, stop: &'a Stop) -> Self {
        let context = RunContext { tenancy, run, commit: Commit::Durable, monitor: LockMonitor::new(run), stop };
        Self { context, budget: FailureBudget::default() }
    }

    /// The budget of failures.
    pub(crate) fn budget(&self) -> &FailureBudget {
        &self.budget
    }

    /// Records tenants that failed before any attempt.
    ///
    /// # Errors
    /// The error of the server.
    pub(crate) fn record_blocked(&self, db: &mut Database, blocked: &[FailedTenant]) -> Result<(), Error> {
        let rows: Vec<FailedRow<'_>> = blocked.iter().map(FailedRow::of_blocked).collect();
        self.context.run.record_failures(db.connection(), &rows)
    }

    /// Runs an operation on jobs, with as many connections as the database allows, until all are finished or the run stops.
    /// Outcomes are verified before they are reported.
    ///
    /// # Errors
    /// If no connection can be opened, before any job starts.
    pub(crate) fn run<O: Operation>(
        &self,
        db: &mut Database,
        operation: &O,
        jobs: Vec<O::Job>,
        observer: &mut dyn Observer,
    ) -> Result<StageReport<O>, Error> {
        let RunContext { tenancy, monitor, stop, .. } = &self.context;
        let report = StageReport::default();
        let mut recorder =
            OutcomeRecorder { context: &self.context, operation, budget: &self.budget, observer, report };
        let UnfinishedJobs { jobs, error } =
            lock_monitor::while_running(db, monitor, tenancy, stop, |db| workers::run(db, jobs, &mut recorder))?;
        Ok(StageReport { not_reached: jobs, lost: error, ..recorder.report })
    }

    /// Why the run stops after a stage.
    pub(crate) fn stop_reason<O: Operation>(&self, stage: &mut StageReport<O>) -> Option<StopReason> {
        let stop = self.context.stop;
        if let Some(error) = stage.lost.take() {
            return Some(StopReason::without_server(error, stop));
        }
        let is_interrupted = stop.is_requested() && !stage.not_reached.is_empty();
        self.budget.take_stop_reason().or_else(|| is_interrupted.then_some(StopReason::Interrupted))
    }

    /// Pauses between two stages. The lock of the fleet is kept meanwhile.
    pub(crate) fn pause(&self, db: &mut Database, time: Duration, observer: &mut dyn Observer) {
        if time.is_zero() {
            return;
        }
        observer.pause(time);
        let RunContext { tenancy, monitor, stop, .. } = &self.context;
        lock_monitor::while_running(db, monitor, tenancy, stop, |_| stop.pause(time));
    }

    /// Records the end of the run.
    pub(crate) fn end(self, db: &mut Database, stopped: Option<&StopReason>, counts: Counts) {
        self.context.run.end(db, stopped, counts);
    }
}
