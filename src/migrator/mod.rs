//! The migrator: brings tenants up to date, each in its own schema, whole or not at all.
//!
//! [`plan`](Plan::of) tells what is to be done, from one bulk read of the fleet; [`migrate`] does just that, with as many
//! connections as are allowed. Tenants that are up to date are not touched.

mod apply;
mod batch;
mod explain;
mod job;
mod non_transactional;
mod plan;
mod public;

use std::time::Duration;

use diesel::pg::PgConnection;
use diesel::prelude::*;

use crate::database::Database;
use crate::error::Error;
use crate::failure::Failed;
use crate::name::TenantName;
use crate::postgres::CHUNK;
use crate::tenancy::Tenancy;
use crate::tracker::{State, schema_tracker};
use crate::workers::{self, Observer, Stop};

pub use crate::failure::{Effect, FailedStatement, MigrationFailure};
pub(crate) use batch::{
    Batch, CHANGED, Commit, Objection, Target, TrackerRow, lock_key, set_state, statement_timeout, tracker_guard,
};
pub(crate) use job::{Job, Next, Outcome, Reread};
pub(crate) use plan::reread;
pub use plan::{Plan, Planned};
pub use public::{PublicReport, migrate_public};
pub(crate) use public::{public_applied, revert_public};

/// What follows when a tenant fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The others go on.
    Continue,
    /// No other is begun; those under way are finished.
    Stop,
}

/// What a run did, tenant by tenant, each list sorted by name.
#[derive(Debug, Default)]
pub struct Report {
    /// Those that were brought up to date.
    pub done: Vec<Done>,
    /// Those that were up to date, or there already, and were not touched.
    pub unchanged: Vec<TenantName>,
    /// Those that failed. A failure never changes what was there.
    pub failed: Vec<Failed>,
    /// Those that were not begun, because the run was ended before.
    pub not_reached: Vec<TenantName>,
    /// Why the run was ended before all tenants were reached.
    pub ended: Option<Ended>,
}

/// Why a run was ended before all tenants were reached.
#[derive(Debug)]
pub enum Ended {
    /// It was asked to [`Stop`].
    Interrupted,
    /// A tenant failed, and [`OnFailure::Stop`] was asked for.
    Failure,
    /// The server was lost.
    Lost(Error),
}

/// A tenant that was brought up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Its name.
    pub tenant: TenantName,
    /// The newest version in its ledger before; none where it had none.
    pub from: Option<String>,
    /// The newest version in its ledger now; none where there are no migrations.
    pub to: Option<String>,
    /// How many migrations were applied.
    pub applied: usize,
    /// The time from the first message to the last.
    pub took: Duration,
}

impl Report {
    /// Whether every tenant is as it should be.
    pub fn is_success(&self) -> bool {
        self.failed.is_empty() && self.not_reached.is_empty() && self.ended.is_none()
    }

    /// Those for which the same command may well succeed when it is run again.
    pub fn to_try_again(&self) -> Vec<&str> {
        let failed = self.failed.iter().filter(|failed| failed.error.is_worth_another_try());
        failed.map(|failed| failed.tenant.as_str()).chain(self.not_reached.iter().map(TenantName::as_str)).collect()
    }

    fn sort(&mut self) {
        self.done.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        self.unchanged.sort();
        self.failed.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        self.not_reached.sort();
    }
}

/// Carries out a plan. A tenant that another run is working on is put aside and tried again; one that another run has
/// changed meanwhile is read again; after a lost connection the tenant is found to be before or after its migrations.
///
/// # Errors
/// When the commits of tenants could not be made durable. What one tenant meets is in the report.
pub fn migrate(
    db: &mut Database,
    tenancy: &Tenancy,
    plan: Plan,
    on_failure: OnFailure,
    stop: &Stop,
    observer: &mut dyn Observer,
) -> Result<Report, Error> {
    let mut report = Report { unchanged: plan.up_to_date, failed: plan.blocked, ..Report::default() };
    settle(db.connection(), &plan.settle)?;
    if on_failure == OnFailure::Stop && !report.failed.is_empty() {
        report.not_reached = plan.migrate.into_iter().map(|planned| planned.tenant.name).collect();
        report.ended = Some(Ended::Failure);
        report.sort();
        return Ok(report);
    }
    let jobs = plan.migrate.into_iter().map(|planned| Job::migrate(planned.tenant)).collect();
    run_jobs(db, tenancy, Run { jobs, reread: &plan::reread, on_failure, stop, report }, observer)
}

/// What [`run_jobs`] is to do.
pub(crate) struct Run<'a> {
    pub(crate) jobs: Vec<Job>,
    /// Tells what is left to do for a tenant that was found changed.
    pub(crate) reread: &'a Reread,
    pub(crate) on_failure: OnFailure,
    pub(crate) stop: &'a Stop,
    /// What is known before it begins.
    pub(crate) report: Report,
}

/// Runs jobs into a report.
pub(crate) fn run_jobs(
    db: &mut Database,
    tenancy: &Tenancy,
    run: Run<'_>,
    observer: &mut dyn Observer,
) -> Result<Report, Error> {
    let Run { jobs, reread, on_failure, stop, mut report } = run;
    if !jobs.is_empty() {
        db.require_free_connection()?;
    }
    let pooler = match jobs.iter().any(|job| job.needs_a_session(tenancy)) {
        true => !db.connector().reaches_a_session_of_its_own()?,
        false => false,
    };
    let commit = if jobs.len() == 1 { Commit::Durable } else { Commit::Deferred };
    observer.begin(jobs.len());
    for failed in &report.failed {
        observer.failed(&failed.tenant, &failed.error);
    }
    let rest = workers::run(
        db,
        jobs,
        stop,
        |session, job| job.attempt(session, tenancy, commit, pooler, reread),
        |outcome| on_failure == OnFailure::Stop && matches!(outcome, Outcome::Failed(_)),
        |job, outcome| match outcome {
            Outcome::Applied(done) => {
                observer.done(done.tenant.as_str(), done.took);
                report.done.push(done);
            }
            Outcome::Nothing => report.unchanged.push(job.into_name()),
            Outcome::Failed(error) => {
                let failed = Failed::new(&job.into_name(), error);
                observer.failed(&failed.tenant, &failed.error);
                report.failed.push(failed);
            }
        },
    )?;
    report.not_reached.extend(rest.not_reached.into_iter().map(Job::into_name));
    report.ended = match rest.lost {
        Some(error) => Some(Ended::Lost(error)),
        None if report.not_reached.is_empty() => None,
        None if stop.is_requested() => Some(Ended::Interrupted),
        None => Some(Ended::Failure),
    };
    report.sort();
    Ok(report)
}

/// Makes tenants active whose schema was found complete under another state, and returns those that were not so yet.
pub(crate) fn settle(conn: &mut PgConnection, names: &[TenantName]) -> Result<Vec<String>, Error> {
    let passing = [State::Registered, State::Creating].map(State::as_str);
    let mut settled = Vec::new();
    for chunk in names.chunks(CHUNK) {
        let names: Vec<&str> = chunk.iter().map(TenantName::as_str).collect();
        let rows: Vec<String> = diesel::update(schema_tracker::table)
            .filter(schema_tracker::name.eq_any(names))
            .filter(schema_tracker::state.eq_any(passing))
            .set(schema_tracker::state.eq(State::Active.as_str()))
            .returning(schema_tracker::name)
            .get_results(conn)
            .map_err(Error::doing("note in the tracker that tenants are active"))?;
        settled.extend(rows);
    }
    Ok(settled)
}
