//! The migrator: brings tenants up to date, each in its own schema, whole or not at all.
//!
//! [`plan`](Plan::of) tells what is to be done, from one bulk read of the fleet; [`migrate`] does just that, with as many
//! connections as are allowed, in the steps that a [`Rollout`] has. Tenants that are up to date are not touched.

mod apply;
mod batch;
mod explain;
mod job;
mod non_transactional;
mod plan;
mod public;
mod revert;
mod rollout;
mod run;
mod target;
mod verify;

use std::time::Duration;

use diesel::pg::PgConnection;
use diesel::prelude::*;

use crate::database::{Database, Stop};
use crate::error::{Error, FailedTenant, TenantError};
use crate::model::{State, TenantName};
use crate::postgres::CHUNK;
use crate::run::Observer;
use crate::tenants::Tenancy;
use crate::tenants::tracker::schema_tracker;

pub use crate::error::{Contention, Effect, FailedStatement, MigrationFailure};
pub use crate::record::runs::StopReason;
pub(crate) use batch::{Batch, TrackerRow, set_state, tracker_guard};
pub(crate) use job::{MigrationJob, Reread};
pub(crate) use plan::reread;
pub use plan::{Plan, Planned};
pub use public::{PublicReport, migrate_public};
pub(crate) use public::{revert_public, to_revert};
pub use revert::{Back, RevertPlan, Reverting, revert};
pub use rollout::{Canary, MaxFailures, ParseMaxFailuresError, Rollout};
pub(crate) use run::{RunJobs, run_jobs};
pub(crate) use target::Target;

/// What a run did, tenant by tenant, each list sorted by name.
#[derive(Debug, Default)]
pub struct Report {
    /// The id of the run in `public.schema_run`; none where there was nothing to do.
    pub run: Option<i64>,
    /// Those that were brought up to date.
    pub done: Vec<Done>,
    /// Those that were up to date, or there already, and were not touched.
    pub unchanged: Vec<TenantName>,
    /// Those that failed. A failure never changes what was there.
    pub failed: Vec<FailedTenant>,
    /// Those that were not begun, or were cancelled and rolled back, because the run was ended before.
    pub not_reached: Vec<TenantName>,
    /// Why the run was ended before all tenants were reached.
    pub ended: Option<StopReason>,
}

/// A tenant that was brought up to date, or back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Its name.
    pub tenant: TenantName,
    /// The newest version in its ledger before; none where it had none.
    pub from: Option<String>,
    /// The newest version in its ledger now; none where there are no migrations.
    pub to: Option<String>,
    /// How many migrations were applied, or reverted.
    pub applied: usize,
    /// How often it was tried.
    pub attempts: u32,
    /// The time from the first message to the last.
    pub took: Duration,
}

impl Report {
    /// Whether every tenant is as it should be.
    pub fn is_success(&self) -> bool {
        self.failed.is_empty() && self.not_reached.is_empty() && self.ended.is_none()
    }

    /// How many of those that failed were deferred: other sessions were in their way each time that they were tried.
    pub fn deferred(&self) -> usize {
        self.failed.iter().filter(|failed| failed.error.is_deferred()).count()
    }

    /// Whether of some tenant it is not known whether it is done.
    pub fn leaves_doubt(&self) -> bool {
        self.failed.iter().any(|failed| matches!(failed.error, TenantError::ConnectionLost(_)))
            || matches!(self.ended, Some(StopReason::Lost(_)))
    }

    /// Those for which the same command may well succeed when it is run again.
    pub fn to_try_again(&self) -> Vec<&str> {
        let failed = self.failed.iter().filter(|failed| failed.error.is_retryable());
        failed.map(|failed| failed.tenant.as_str()).chain(self.not_reached.iter().map(TenantName::as_str)).collect()
    }

    fn sort(&mut self) {
        self.done.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        self.unchanged.sort();
        self.failed.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        self.not_reached.sort();
    }
}

/// Carries out a plan. A tenant that another run is working on is put aside and tried again, as is one that other sessions
/// are in the way of; one that another run has changed meanwhile is read again; after a lost connection the tenant is found
/// to be before or after its migrations.
///
/// # Errors
/// [`Error::MigrationsChanged`]; [`Error::NoReference`] where the rollout needs the reference; when the commits of tenants
/// could not be made durable. What one tenant meets is in the report.
pub fn migrate(
    db: &mut Database,
    tenancy: &Tenancy,
    plan: Plan,
    rollout: &Rollout,
    stop: &Stop,
    observer: &mut dyn Observer,
) -> Result<Report, Error> {
    let report = Report { unchanged: plan.up_to_date, failed: plan.blocked, ..Report::default() };
    settle(db.connection(), &plan.settle)?;
    let jobs = plan.migrate.into_iter().map(|planned| MigrationJob::migrate(planned.tenant)).collect();
    let command = "migrate";
    run_jobs(db, tenancy, RunJobs { command, jobs, reread: &plan::reread, rollout, stop, report }, observer)
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
