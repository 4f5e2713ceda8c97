//! Applies and reverts the migrations of tenants.
//!
//! [`MigratePlan::of`] makes a plan from one read of the fleet. [`migrate`] executes it through several connections, in the stages
//! of a [`Rollout`]. Tenants that are up to date are not changed.

mod apply;
mod batch;
mod explain;
mod guards;
mod job;
mod limits;
mod missing;
mod non_transactional;
mod plan;
mod public;
mod repeatables;
mod revert;
mod rollout;
mod run;
mod snapshot;
mod target;
mod transaction;
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
pub use crate::run::{Breaker, SharedFailures};
pub use crate::schema::snapshot::CreatedFrom;
pub(crate) use batch::{Batch, TrackerRow, set_state, tracker_guard};
pub(crate) use job::{MigrationJob, Reread};
pub(crate) use plan::reread;
pub use plan::{MigratePlan, Planned};
pub use public::{PublicReport, migrate_public};
pub(crate) use public::{revert_public, to_revert};
pub use revert::{Back, RevertPlan, Reverting, revert};
pub use rollout::{Canary, MaxFailures, ParseCanaryError, ParseMaxFailuresError, Rollout};
pub use run::CreationMethod;
pub(crate) use run::{RunJobs, run_jobs};
pub(crate) use snapshot::{begin_repeatable_read, spare, transaction_settings};
pub(crate) use target::SchemaTarget;

/// The results of a run for all tenants, each list sorted by name.
#[derive(Debug, Default)]
pub struct Report {
    /// The id of the run in `public.schema_run`; `None` if there was nothing to do.
    pub run: Option<i64>,
    /// The tenants whose migrations were applied or reverted.
    pub done: Vec<Done>,
    /// The tenants that needed no change.
    pub unchanged: Vec<TenantName>,
    /// The tenants that failed.
    pub failed: Vec<FailedTenant>,
    /// The tenants that were not started, or were canceled and rolled back, because the run stopped early.
    pub not_reached: Vec<TenantName>,
    /// Why the run stopped early.
    pub ended: Option<StopReason>,
    /// How the other tenants were created; `None` if none had to be.
    pub created_from: Option<CreatedFrom>,
    /// The number of tenants that were created by renaming a schema that was made in advance.
    pub prewarmed: usize,
}

/// A tenant whose migrations were applied or reverted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Its name.
    pub tenant: TenantName,
    /// The newest version in its ledger before the run; `None` without one.
    pub from: Option<String>,
    /// The newest version in its ledger after the run; `None` without one.
    pub to: Option<String>,
    /// The number of migrations that were applied or reverted.
    pub applied: usize,
    /// The number of attempts.
    pub attempts: u32,
    /// The time from the first attempt to the last commit.
    pub took: Duration,
}

impl Report {
    /// Whether no tenant failed and the run did not stop early.
    pub fn is_success(&self) -> bool {
        self.failed.is_empty() && self.not_reached.is_empty() && self.ended.is_none()
    }

    /// The number of failed tenants that other sessions blocked in every attempt.
    pub fn deferred(&self) -> usize {
        self.failed.iter().filter(|failed| failed.error.is_deferred()).count()
    }

    /// Whether it is unknown of a tenant whether its transaction was committed.
    pub fn leaves_doubt(&self) -> bool {
        self.failed.iter().any(|failed| matches!(failed.error, TenantError::ConnectionLost(_)))
            || matches!(self.ended, Some(StopReason::Lost(_)))
    }

    /// The tenants for which another run of the same command may succeed.
    pub fn to_try_again(&self) -> Vec<&str> {
        let failed = self.failed.iter().filter(|failed| failed.error.is_worth_repeating());
        failed.map(|failed| failed.tenant.as_str()).chain(self.not_reached.iter().map(TenantName::as_str)).collect()
    }

    fn sort(&mut self) {
        self.done.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        self.unchanged.sort();
        self.failed.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        self.not_reached.sort();
    }
}

/// Executes a plan. A tenant that other sessions block or another run works on is retried; a tenant that another run has
/// changed is read again. After a lost connection, the record of the run shows whether the tenant's transaction was committed.
///
/// # Errors
/// [`Error::MigrationsChanged`]; [`Error::NoReference`] if the rollout needs the reference; or if commits cannot be made
/// durable. Failures of single tenants are in the report.
pub fn migrate(
    db: &mut Database,
    tenancy: &Tenancy,
    plan: MigratePlan,
    rollout: &Rollout,
    stop: &Stop,
    observer: &mut dyn Observer,
) -> Result<Report, Error> {
    let report = Report { unchanged: plan.up_to_date, failed: plan.blocked, ..Report::default() };
    settle(db.connection(), &plan.settle)?;
    let jobs = plan.migrate.into_iter().map(|planned| MigrationJob::migrate(planned.tenant)).collect();
    let (command, method) = ("migrate", CreationMethod::Replay);
    run_jobs(db, tenancy, RunJobs { command, jobs, method, reread: &plan::reread, rollout, stop, report }, observer)
}

/// Sets the state of tenants whose schemas are complete to active. Returns those that had another state.
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
