//! Drops tenants: a plan, and its execution. A schema and its tracker row are dropped together.
//!
//! `DROP SCHEMA` takes a lock for every object of a schema, and the server's lock table is small. A schema with more
//! objects than a run's share of it is dropped in several transactions. The first sets the tenant's state to `dropping`, in
//! which no other command changes it. The next ones drop its objects, an object before those that it uses. The last one
//! drops the schema and the tracker row.

#[cfg(feature = "cli")]
mod backed_up;
mod lock_budget;
mod lookup;
mod message;
mod operation;
mod order;

use std::collections::HashSet;
use std::path::PathBuf;

#[cfg(feature = "cli")]
pub(crate) use self::backed_up::{DropBackup, drop_with_backup};
use self::lock_budget::LockBudget;
use self::lookup::{look_up, measure_all};
use self::operation::{DropJob, DropSchemas};
use crate::database::{Database, Stop};
use crate::error::{Error, FailedTenant, TenantError};
use crate::model::{SchemaName, State};
use crate::operations::migrate::StopReason;
use crate::record::integrity;
use crate::record::runs::{Counts, Run};
use crate::roles::{Removal, RoleRemoval, removals};
use crate::run::{FailureBudget, Observer, Runner, StageReport};
use crate::tenants::{Tenancy, similar_name};

/// The plan for [`drop_tenants`]. A dry run shows it.
#[derive(Debug, Default)]
pub struct DropPlan {
    /// The schemas to drop, in the order of the names.
    pub drops: Vec<Dropping>,
    /// The names that cannot be dropped, with the reasons.
    pub failed: Vec<FailedTenant>,
    /// The names that do not exist, if that is not a failure.
    pub missing: Vec<String>,
    /// The maximum number of locks in one transaction: a share of the server's lock table.
    pub most_locks: i64,
    /// The roles of tenants that are kept, because they are not marked as the tenants' roles.
    pub kept_roles: Vec<String>,
    /// Whether the sizes are estimates, from `pg_class.relpages`: of a plan for more than 500 schemas, or where a session
    /// held a lock on a table.
    pub sizes_estimated: bool,
}

impl DropPlan {
    /// Whether a schema is too large for one transaction. An interrupted drop leaves a part of it.
    pub fn goes_in_steps(&self, dropping: &Dropping) -> bool {
        dropping.schema.is_some_and(|schema| schema.locks > self.most_locks)
    }
}

/// A tenant or an untracked schema to drop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropping {
    /// The schema's name.
    pub name: SchemaName,
    /// Whether the tracker has a row for it.
    pub tracked: bool,
    /// The schema's contents; `None` if only the tracker row exists.
    pub schema: Option<Contents>,
    /// The tenant's role, which is dropped, too.
    pub(crate) role: Option<RoleRemoval>,
    /// Whether it is dropped only if it is archived and its purge date has passed.
    pub(crate) only_if_due: bool,
}

impl Dropping {
    /// The name of the tenant's role, which is dropped, too.
    pub fn role(&self) -> Option<&str> {
        self.role.as_ref().map(|role| role.role.as_str())
    }
}

/// The contents of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    /// The schema's oid. A schema with the same name that is created later has another one.
    pub oid: u32,
    /// The number of tables without the ledger.
    pub tables: i64,
    /// The number of rows, estimated by the last ANALYZE.
    pub estimated_rows: i64,
    /// The size of tables and indexes on disk in bytes; an estimate if [`DropPlan::sizes_estimated`] is set.
    pub bytes: i64,
    /// The number of locks that `DROP SCHEMA` takes: one for each object.
    pub locks: i64,
}

impl Contents {
    fn of(oid: u32) -> Self {
        Self { oid, tables: 0, estimated_rows: 0, bytes: 0, locks: 0 }
    }
}

/// The result of [`drop_tenants`], each list sorted by name.
#[derive(Debug, Default)]
pub struct DropReport {
    /// The id of the run in `public.schema_run`; `None` if there was nothing to drop, or if the database's public
    /// migrations predate the record of runs.
    pub run: Option<i64>,
    /// The dropped schemas.
    pub dropped: Vec<SchemaName>,
    /// The archives of dropped schemas, if archives were written.
    pub backups: Vec<(SchemaName, PathBuf)>,
    /// The schemas that were not dropped, with the reasons.
    pub failed: Vec<FailedTenant>,
    /// The names that did not exist.
    pub missing: Vec<String>,
    /// The dropped schemas that were too large for one transaction.
    pub in_steps: Vec<InSteps>,
    /// The schemas that were dropped in part before the run ended. Another drop resumes.
    pub unfinished: Vec<SchemaName>,
    /// The schemas whose drop did not start before the run ended.
    pub not_reached: Vec<SchemaName>,
    /// Why the run stopped early.
    pub ended: Option<StopReason>,
}

impl DropReport {
    /// The names for which another drop may succeed.
    pub fn to_try_again(&self) -> Vec<&str> {
        let failed = self.failed.iter().filter(|failed| failed.error.is_worth_repeating());
        let names = self.unfinished.iter().chain(&self.not_reached).map(SchemaName::as_str);
        failed.map(|failed| failed.tenant.as_str()).chain(names).collect()
    }

    /// Adds the results of the run.
    fn add(&mut self, stage: StageReport<DropSchemas>) {
        let name = |job: DropJob| job.dropping.name;
        let (begun, not_begun): (Vec<DropJob>, Vec<DropJob>) =
            stage.not_reached.into_iter().partition(DropJob::has_begun);
        self.dropped = stage.done.iter().map(|dropped| dropped.name.clone()).collect();
        self.in_steps = stage.done.into_iter().filter(|dropped| dropped.transactions > 1).collect();
        self.unfinished = begun.into_iter().map(name).collect();
        self.not_reached = not_begun.into_iter().map(name).collect();
        self.failed.extend(stage.failed);
        self.dropped.sort();
        self.in_steps.sort_by(|a, b| a.name.cmp(&b.name));
        self.unfinished.sort();
        self.not_reached.sort();
        self.failed.sort_by(|a, b| a.tenant.cmp(&b.tenant));
    }
}

/// A schema that was dropped in steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InSteps {
    /// Its name.
    pub name: SchemaName,
    /// The number of transactions.
    pub transactions: u32,
}

/// How [`plan_drop`] treats a schema that is not tracked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untracked {
    /// Report it as failed.
    Refuse,
    /// Drop it.
    Drop,
}

/// How [`plan_drop`] treats a name that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfMissing {
    /// Report it as failed.
    Fail,
    /// Report it as missing.
    Accept,
}

/// Plans a drop.
///
/// # Errors
/// The errors of [`Database::require_writable`] and [`integrity::check`], and of the server. Problems of one name are in
/// the plan.
pub fn plan_drop(
    db: &mut Database,
    tenancy: &Tenancy,
    names: &[SchemaName],
    untracked: Untracked,
    if_missing: IfMissing,
) -> Result<DropPlan, Error> {
    db.require_writable(tenancy)?;
    integrity::check(db, tenancy)?;
    plan(db, names, untracked, if_missing)
}

/// Plans to drop archived tenants whose purge date has passed. A tenant that is unarchived in the meantime is not dropped.
///
/// # Errors
/// As [`plan_drop`].
pub fn plan_purge(db: &mut Database, tenancy: &Tenancy, names: &[SchemaName]) -> Result<DropPlan, Error> {
    let mut plan = plan_drop(db, tenancy, names, Untracked::Refuse, IfMissing::Fail)?;
    plan.drops.iter_mut().for_each(|dropping| dropping.only_if_due = true);
    Ok(plan)
}

/// Plans a drop, even if public migrations are pending.
pub(super) fn plan(
    db: &mut Database,
    names: &[SchemaName],
    untracked: Untracked,
    if_missing: IfMissing,
) -> Result<DropPlan, Error> {
    let mut seen = HashSet::new();
    let names: Vec<&SchemaName> = names.iter().filter(|name| seen.insert(*name)).collect();
    let (tracked, schemas) = look_up(db.connection(), &names)?;
    let mut roles = removals(db, &names.iter().map(|name| name.as_str()).collect::<Vec<_>>())?;
    let mut plan = DropPlan { most_locks: lock_budget::share_of(db.server().lock_table), ..DropPlan::default() };
    for name in names {
        let state = tracked.get(name.as_str()).map(|state| State::of_row(state.as_deref()));
        let is_tracked = state.is_some();
        let is_moving = matches!(state, Some(Ok(state)) if state.is_of_move());
        let invalid = state.and_then(Result::err).map(|reason| TenantError::InvalidRow { reason });
        let schema = schemas.get(name.as_str());
        let error = match schema {
            _ if is_the_databases_own(name) => Some(TenantError::SystemSchema),
            // An unknown state may be a reason to keep the tenant.
            _ if invalid.is_some() => invalid,
            _ if is_moving => Some(TenantError::Moving),
            Some(schema) if schema.holds_extensions => Some(TenantError::ContainsExtensions { new: false }),
            Some(_) if !is_tracked && untracked == Untracked::Refuse => Some(TenantError::Untracked),
            None if !is_tracked && if_missing == IfMissing::Accept => {
                plan.missing.push(name.as_str().to_owned());
                continue;
            }
            None if !is_tracked => {
                let similar =
                    if db.server().has_tracker { similar_name(db.connection(), name.as_str())? } else { None };
                Some(TenantError::NotFound { similar })
            }
            _ => None,
        };
        let mut role = None;
        let error = match roles.remove(name.as_str()) {
            _ if error.is_some() => error,
            Some(Removal::Refuse(reason)) => Some(reason.into()),
            Some(Removal::Keep(kept)) => {
                plan.kept_roles.push(kept);
                None
            }
            Some(Removal::Drop(removal)) => {
                role = Some(removal);
                None
            }
            None => None,
        };
        match error {
            Some(error) => plan.failed.push(FailedTenant { tenant: name.as_str().to_owned(), error }),
            None => plan.drops.push(Dropping {
                name: name.clone(),
                tracked: is_tracked,
                schema: schema.map(|schema| Contents::of(schema.oid)),
                role,
                only_if_due: false,
            }),
        }
    }
    measure_all(db.connection(), &mut plan)?;
    Ok(plan)
}

/// Executes a plan: drops each schema and its row in one transaction, or in steps if that takes too many locks. A schema
/// whose oid is not the planned one is not touched.
///
/// # Errors
/// [`Error::NoFreeConnection`], or an error that the run could not be recorded. Failures of one tenant are in the report.
pub fn drop_tenants(
    db: &mut Database,
    tenancy: &Tenancy,
    plan: DropPlan,
    stop: &Stop,
    observer: &mut dyn Observer,
) -> Result<DropReport, Error> {
    let mut report = DropReport { failed: plan.failed, missing: plan.missing, ..DropReport::default() };
    report.failed.sort_by(|a, b| a.tenant.cmp(&b.tenant));
    if plan.drops.is_empty() {
        return Ok(report);
    }
    db.require_free_connection()?;
    let run = Run::begin_recorded_or_not(db, "drop")?;
    report.run = run.recorded_id();
    let runner = Runner::new(tenancy, run, plan.drops.len(), stop, FailureBudget::default());
    observer.begin(plan.drops.len());
    // Two large schemas get half of the locks each. A small one fits beside one of them.
    let at_once = plan.drops.len().min(2) as i64;
    let operation = DropSchemas { lock_budget: LockBudget::new(plan.most_locks), at_once };
    let jobs: Vec<DropJob> = plan.drops.into_iter().map(DropJob::new).collect();
    let mut stage = runner.run(db, &operation, jobs, observer)?;
    report.ended = runner.stop_reason(&mut stage);
    report.add(stage);
    let not_dropped = report.unfinished.len() + report.not_reached.len();
    let counts = Counts::of(report.dropped.len(), report.missing.len(), &report.failed, not_dropped);
    runner.end(db, report.ended.as_ref(), counts);
    Ok(report)
}

/// Whether a schema with any of the names exists.
#[cfg(feature = "cli")]
pub(crate) fn any_exists(db: &mut Database, names: &[SchemaName]) -> Result<bool, Error> {
    Ok(!lookup::find(db.connection(), &names.iter().collect::<Vec<_>>())?.is_empty())
}

/// `public`, `information_schema` and PostgreSQL's own are never dropped, whatever the tracker says.
fn is_the_databases_own(name: &SchemaName) -> bool {
    let name = name.as_str().to_ascii_lowercase();
    name == "public" || name == "information_schema" || name.starts_with("pg_")
}
