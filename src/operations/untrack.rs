//! Removes tenants from the tracker. Their schemas and ledgers are kept.

use std::collections::HashMap;

use diesel::prelude::*;

use super::distinct;
use super::serial::{ChangesReport, SerialRun, TenantChange};
use crate::database::{Database, Stop};
use crate::error::{Error, FailedTenant, TenantError};
use crate::model::{State, TenantName};
use crate::operations::migrate::StopReason;
use crate::postgres::CHUNK;
use crate::roles::TenantRole;
use crate::sql::quote::Literal;
use crate::tenants::tracker::schema_tracker;
use crate::tenants::{Tenancy, not_tracked};

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
            Some(Ok(State::Moving | State::Arriving)) => TenantError::Moving,
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
        let report = UntrackReport { failed: plan.failed, ..UntrackReport::default() };
        if plan.untrack.is_empty() {
            return Ok(report);
        }
        let names: Vec<&str> = plan.untrack.iter().map(|(name, _)| name.as_str()).collect();
        let mut roles: HashMap<String, String> = HashMap::new();
        for chunk in names.chunks(CHUNK) {
            let recorded = TenantRole::read(self.connection(), chunk)?;
            roles.extend(recorded.into_iter().map(|role| (role.tenant, role.role)));
        }
        let change = |(name, _): (TenantName, State)| TenantChange {
            // Its stamp is deleted with it.
            statements: vec![format!("DELETE FROM public.schema_tracker WHERE name = {}", Literal(name.as_str()))],
            guard: String::new(),
            tenant: name,
        };
        let run = SerialRun {
            tenancy,
            command: "untrack",
            doing: "remove the tenant from the tracker",
            failed: report.failed,
            unchanged: 0,
        };
        let ChangesReport { run, done, failed, not_reached, ended } =
            run.execute(self, plan.untrack.into_iter().map(change).collect(), stop)?;
        let kept_roles = done.iter().filter_map(|name| roles.remove(name.as_str())).collect();
        Ok(UntrackReport { run: Some(run), untracked: done, kept_roles, failed, not_reached, ended })
    }
}
