//! Runs adoptions and drops: with a lock watcher, and with each outcome verified before it is reported.

use std::collections::HashSet;
use std::time::Duration;

use crate::database::{Database, Stop};
use crate::error::{Error, FailedTenant, TenantError};
use crate::model::SchemaName;
use crate::operations::migrate::{Setbacks, StopReason};
use crate::record::runs::{FailedRow, Run};
use crate::run::workers::{self, Listener, Observer, Work};
use crate::run::{LockMonitor, lock_monitor};
use crate::tenants::Tenancy;

/// A name in the queue of a run.
pub(super) trait Job: Send {
    fn name(&self) -> &SchemaName;

    fn setbacks(&self) -> &Setbacks;

    /// Resets the job, because a server that crashed has lost its commits.
    fn start_over(&mut self);
}

/// The result of a finished job.
pub(super) struct Finished {
    pub(super) took: Duration,
    pub(super) transactions: u32,
}

/// The work on the jobs, and its verification.
pub(super) trait Crew: Work<Outcome = Result<Finished, TenantError>, Job: Job> {
    /// The names of the jobs whose commits a server that crashed has lost.
    ///
    /// # Errors
    /// Errors of the server.
    fn lost(&self, db: &mut Database, jobs: &[&Self::Job]) -> Result<HashSet<SchemaName>, Error>;
}

/// Settings that all jobs of a run share.
#[derive(Clone, Copy)]
pub(super) struct Orders<'a> {
    pub(super) tenancy: &'a Tenancy,
    pub(super) run: Run,
    pub(super) monitor: &'a LockMonitor,
    pub(super) stop: &'a Stop,
}

/// The results of all jobs.
pub(super) struct Told<J> {
    pub(super) done: Vec<(J, Finished)>,
    pub(super) failed: Vec<FailedTenant>,
    /// Jobs that were not started or not finished.
    pub(super) left: Vec<J>,
    /// Why jobs are left.
    pub(super) ended: Option<StopReason>,
}

/// Runs the jobs.
///
/// # Errors
/// [`Error::NoFreeConnection`], before any job starts.
pub(super) fn over<C: Crew>(
    db: &mut Database,
    orders: Orders<'_>,
    crew: &C,
    jobs: Vec<C::Job>,
    observer: &mut dyn Observer,
) -> Result<Told<C::Job>, Error> {
    let Orders { tenancy, run, monitor, stop } = orders;
    let mut teller = Teller { crew, run, observer, done: Vec::new(), failed: Vec::new() };
    let rest = lock_monitor::while_running(db, monitor, tenancy, stop, |db| {
        workers::run(db, jobs, crew, &mut teller, stop, tenancy.limits().reconnect_for)
    })?;
    let ended = match rest.lost {
        Some(error) => Some(StopReason::without_server(error, stop)),
        None if rest.not_reached.is_empty() => None,
        None => Some(StopReason::Interrupted),
    };
    Ok(Told { done: teller.done, failed: teller.failed, left: rest.not_reached, ended })
}

/// Verifies outcomes and collects them.
struct Teller<'a, C: Crew> {
    crew: &'a C,
    run: Run,
    observer: &'a mut dyn Observer,
    done: Vec<(C::Job, Finished)>,
    failed: Vec<FailedTenant>,
}

impl<C: Crew> Listener<C::Job, C::Outcome> for Teller<'_, C> {
    fn observer(&mut self) -> &mut dyn Observer {
        self.observer
    }

    fn verify(&mut self, db: &mut Database, outcomes: &mut Vec<(C::Job, C::Outcome)>) -> Result<Vec<C::Job>, Error> {
        let done: Vec<&C::Job> = outcomes.iter().filter(|(_, result)| result.is_ok()).map(|(job, _)| job).collect();
        let lost = if done.is_empty() { HashSet::new() } else { self.crew.lost(db, &done)? };
        let mut again = Vec::new();
        for (mut job, result) in std::mem::take(outcomes) {
            match result.is_ok() && lost.contains(job.name()) {
                true => {
                    job.start_over();
                    again.push(job);
                }
                false => outcomes.push((job, result)),
            }
        }
        let failures: Vec<FailedRow<'_>> = outcomes
            .iter()
            .filter_map(|(job, result)| {
                Some(job.setbacks().failed_row(job.name().as_str(), None, result.as_ref().err()?))
            })
            .collect();
        self.run.record_failures(db.connection(), &failures)?;
        Ok(again)
    }

    fn tell(&mut self, job: C::Job, result: C::Outcome) {
        match result {
            Ok(done) => {
                self.observer.done(job.name().as_str(), done.took);
                self.done.push((job, done));
            }
            Err(error) => {
                self.observer.failed(job.name().as_str(), &error);
                self.failed.push(FailedTenant { tenant: job.name().as_str().to_owned(), error });
            }
        }
    }
}
