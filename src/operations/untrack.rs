//! Removes tenants from the tracker. Their schemas and ledgers are kept.

use std::collections::HashMap;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error as DieselError;

use super::distinct;
use crate::database::{Database, Stop};
use crate::error::{Error, FailedTenant, TenantError};
use crate::model::{State, TenantName};
use crate::operations::migrate::{Batch, SchemaTarget, StopReason, TrackerRow, tracker_guard};
use crate::postgres::{CHUNK, Condition, GuardViolation, LockHolder, ServerMessage, path};
use crate::record::runs::{Counts, DoneRow, FailedRow, Run};
use crate::roles::TenantRole;
use crate::run::Commit;
use crate::sql::quote::Literal;
use crate::tenants::tracker::schema_tracker;
use crate::tenants::{Tenancy, lock_key, not_tracked};

/// The plan for [`Database::untrack`].
#[derive(Debug, Default)]
pub struct UntrackPlan {
    /// The tenants to remove from the tracker, with their states.
    pub untrack: Vec<(TenantName, State)>,
    /// The tenants that cannot be removed, and why.
    pub failed: Vec<FailedTenant>,
}

/// The report of [`Database::untrack`].
#[derive(Debug, Default)]
pub struct UntrackReport {
    /// The id of the run in `public.schema_run`; `None` if there was nothing to do.
    pub run: Option<i64>,
    /// The tenants that the tracker no longer has.
    pub untracked: Vec<TenantName>,
    /// The roles of these tenants. They are kept.
    pub kept_roles: Vec<String>,
    /// The tenants that were not removed, and why.
    pub failed: Vec<FailedTenant>,
    /// The tenants that an interrupted run did not reach.
    pub not_reached: Vec<TenantName>,
    /// Why the run stopped early.
    pub ended: Option<StopReason>,
}

impl UntrackReport {
    /// Whether the tracker has none of the tenants any more.
    pub fn is_success(&self) -> bool {
        self.failed.is_empty() && self.ended.is_none()
    }
}

/// Plans which tenants are removed from the tracker: all that it has, unless they are being dropped.
///
/// # Errors
/// The errors of [`Database::require_tracker`].
pub fn plan_untrack(db: &mut Database, tenancy: &Tenancy, names: &[TenantName]) -> Result<UntrackPlan, Error> {
    db.require_tracker(tenancy)?;
    let names = distinct(names);
    let mut states: HashMap<String, Option<String>> = HashMap::new();
    for chunk in names.chunks(CHUNK) {
        let rows: Vec<(String, Option<String>)> = schema_tracker::table
            .select((schema_tracker::name, schema_tracker::state.nullable()))
            .filter(schema_tracker::name.eq_any(chunk.iter().map(|name| name.as_str())))
            .load(db.connection())
            .map_err(Error::doing("read the tracker"))?;
        states.extend(rows);
    }
    let mut plan = UntrackPlan::default();
    for name in names {
        let error = match states.get(name.as_str()).map(|state| State::of_row(state.as_deref())) {
            Some(Ok(State::Dropping)) => TenantError::Dropping,
            Some(Ok(state)) => {
                plan.untrack.push((name.clone(), state));
                continue;
            }
            Some(Err(reason)) => TenantError::InvalidRow { reason },
            None => not_tracked(db.connection(), name)?,
        };
        plan.failed.push(FailedTenant::new(name, error));
    }
    Ok(plan)
}

impl Database {
    /// Removes tenants from the tracker, each in one transaction, with what Tenantry has recorded about its structure and
    /// about an unfinished migration. Schemas and ledgers are not touched, so that [`adopt`](super::adopt) takes a tenant
    /// back. The record of runs is kept. A tenant that another session works on fails.
    ///
    /// # Errors
    /// The errors of [`require_writable`](Self::require_writable), or the server's error if the connection is lost.
    pub fn untrack(&mut self, tenancy: &Tenancy, plan: UntrackPlan, stop: &Stop) -> Result<UntrackReport, Error> {
        self.require_writable(tenancy)?;
        let mut report = UntrackReport { failed: plan.failed, ..UntrackReport::default() };
        if plan.untrack.is_empty() {
            return Ok(report);
        }
        let names: Vec<&str> = plan.untrack.iter().map(|(name, _)| name.as_str()).collect();
        let mut roles: HashMap<String, String> = HashMap::new();
        for chunk in names.chunks(CHUNK) {
            let recorded = TenantRole::read(self.connection(), chunk)?;
            roles.extend(recorded.into_iter().map(|role| (role.tenant, role.role)));
        }
        let run = Run::begin(self, "untrack")?;
        report.run = Some(run.id());
        for (name, _) in plan.untrack {
            if stop.is_requested() {
                report.not_reached.push(name);
                continue;
            }
            match self.connection().batch_execute(&message(tenancy, run, &name)) {
                Ok(()) => {
                    report.kept_roles.extend(roles.remove(name.as_str()));
                    report.untracked.push(name);
                }
                Err(error) => {
                    let error = self.tenant_error(error, &name)?;
                    report.failed.push(FailedTenant::new(&name, error));
                }
            }
        }
        let rows: Vec<FailedRow<'_>> = report.failed.iter().map(FailedRow::of_blocked).collect();
        run.record_failures(self.connection(), &rows)?;
        let counts = Counts::of(report.untracked.len(), 0, &report.failed, report.not_reached.len());
        report.ended = (!report.not_reached.is_empty()).then_some(StopReason::Interrupted);
        run.end(self, report.ended.as_ref(), counts);
        Ok(report)
    }

    /// Ends the failed transaction of a tenant. Returns the tenant's error.
    fn tenant_error(&mut self, error: DieselError, name: &TenantName) -> Result<TenantError, Error> {
        if Condition::of(&error) == Some(Condition::ConnectionLost) {
            return Err(Error::doing("remove the tenant from the tracker")(error));
        }
        self.connection().batch_execute("ROLLBACK").map_err(Error::doing("end a transaction"))?;
        let message = ServerMessage::from(&error);
        Ok(match GuardViolation::from_message(&message.message) {
            Some(GuardViolation::Busy) => {
                TenantError::Busy { holder: LockHolder::find(self.connection(), &lock_key(name.schema())) }
            }
            Some(GuardViolation::Changed) => TenantError::ConcurrentlyChanged,
            _ => TenantError::Server(message),
        })
    }
}

/// Removes a tenant's row, and the rows that refer to it.
fn message(tenancy: &Tenancy, run: Run, name: &TenantName) -> String {
    let schema = name.schema();
    let target = SchemaTarget::tenant(tenancy, schema, Some(run));
    let mut batch = Batch::begin(target, Commit::Durable);
    batch.guard(&[
        path::CATALOG_IN_BLOCK.to_owned(),
        target.lock_for_transaction(),
        tracker_guard(schema, TrackerRow::Known),
    ]);
    // Its stamp is deleted with it.
    batch.push(&format!("DELETE FROM public.schema_tracker WHERE name = {};", Literal(name.as_str())));
    let row = DoneRow { from: None, to: None, before: Duration::ZERO, attempts: 1 };
    if let Some(row) = run.record(schema, &row) {
        batch.push(row.text());
    }
    batch.commit().sql().to_owned()
}
