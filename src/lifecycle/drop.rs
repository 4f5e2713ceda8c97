//! The end of tenants: a plan that tells what goes, and its execution, schema and tracker row together.
//!
//! `DROP SCHEMA` takes a lock for every object of a schema, and the server's lock table is small. A schema that would fill
//! more than its part of it goes in several transactions: the first puts the tenant into the state `dropping`, in which
//! nothing else works on it, then its objects go, those that others use last, and at the end the schema with the row.

mod crew;
mod look;
mod message;
mod order;
mod room;

use std::collections::HashSet;

use self::crew::{Crew, Job};
use self::look::{look, weigh};
use self::room::Room;
use super::run::{self, Finished, Orders, Told};
use crate::database::Database;
use crate::error::Error;
use crate::failure::{Failed, TenantError};
use crate::integrity;
use crate::migrator::{Commit, Ended};
use crate::name::SchemaName;
use crate::runs::{Counts, Run};
use crate::tenancy::Tenancy;
use crate::watch::Watch;
use crate::workers::{Observer, Stop};

/// What [`drop_tenants`] does. Showing it is a dry run.
#[derive(Debug, Default)]
pub struct DropPlan {
    /// What goes, in the order asked for.
    pub drops: Vec<Dropping>,
    /// What cannot go, and why.
    pub failed: Vec<Failed>,
    /// What is not there, where that is no failure.
    pub missing: Vec<String>,
    /// How many of the server's locks one transaction takes at most: a part of those that its lock table has room for.
    pub most_locks: i64,
}

impl DropPlan {
    /// Whether something is too large for one transaction. Broken off, its drop leaves a part of it.
    pub fn goes_in_steps(&self, dropping: &Dropping) -> bool {
        dropping.schema.is_some_and(|schema| schema.locks > self.most_locks)
    }
}

/// A tenant, or an untracked schema, that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropping {
    /// Its name.
    pub name: SchemaName,
    /// Whether the tracker has it.
    pub tracked: bool,
    /// Its schema; none where there is none, and only the tracker's row goes.
    pub schema: Option<Contents>,
}

/// What goes with a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    /// The schema's oid: a schema of the same name made later is another one.
    pub oid: u32,
    /// How many tables, the ledger not counted.
    pub tables: i64,
    /// How many rows they have, by the server's estimate at its last ANALYZE.
    pub estimated_rows: i64,
    /// What they take on disk with their indexes, in bytes.
    pub bytes: i64,
    /// How many of the server's locks it takes to drop all of it at once: one for each object.
    pub locks: i64,
}

impl Contents {
    fn of(oid: u32) -> Self {
        Self { oid, tables: 0, estimated_rows: 0, bytes: 0, locks: 0 }
    }
}

/// What [`drop_tenants`] did, each list sorted by name.
#[derive(Debug, Default)]
pub struct DropReport {
    /// The id of the run in `public.schema_run`; none where there was nothing to drop, or the database is of an older
    /// release that recorded no runs.
    pub run: Option<i64>,
    /// What is gone.
    pub dropped: Vec<SchemaName>,
    /// What is still there, and why.
    pub failed: Vec<Failed>,
    /// What was not there.
    pub missing: Vec<String>,
    /// What of the dropped was too large for one transaction.
    pub in_steps: Vec<InSteps>,
    /// What was begun in steps and not finished, because the run was ended before: another drop goes on.
    pub unfinished: Vec<SchemaName>,
    /// What was not begun, because the run was ended before.
    pub not_reached: Vec<SchemaName>,
    /// Why it was ended.
    pub ended: Option<Ended>,
}

impl DropReport {
    /// Those for which another drop may well succeed.
    pub fn to_try_again(&self) -> Vec<&str> {
        let failed = self.failed.iter().filter(|failed| failed.error.is_worth_another_try());
        let names = self.unfinished.iter().chain(&self.not_reached).map(SchemaName::as_str);
        failed.map(|failed| failed.tenant.as_str()).chain(names).collect()
    }
}

/// A schema that was dropped in steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InSteps {
    /// Its name.
    pub name: SchemaName,
    /// How many transactions they were.
    pub transactions: u32,
}

/// What follows when there is nothing of the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfMissing {
    /// It fails.
    Fail,
    /// It is told.
    Accept,
}

/// Looks at what is to go. With `untracked`, schemas that the tracker does not have may go, too.
///
/// # Errors
/// What [`Database::require_writable`] and [`integrity::check`] say, and what the server answered. What is wrong with one name is in the plan.
pub fn plan_drop(
    db: &mut Database,
    tenancy: &Tenancy,
    names: &[SchemaName],
    untracked: bool,
    if_missing: IfMissing,
) -> Result<DropPlan, Error> {
    db.require_writable(tenancy)?;
    integrity::check(db, tenancy)?;
    plan(db, names, untracked, if_missing)
}

/// The plan, whether or not public migrations are pending.
pub(super) fn plan(
    db: &mut Database,
    names: &[SchemaName],
    untracked: bool,
    if_missing: IfMissing,
) -> Result<DropPlan, Error> {
    let mut seen = HashSet::new();
    let names: Vec<&SchemaName> = names.iter().filter(|name| seen.insert(*name)).collect();
    let (tracked, schemas) = look(db.connection(), &names)?;
    let mut plan = DropPlan { most_locks: room::share_of(db.server().lock_table), ..DropPlan::default() };
    for name in names {
        let is_tracked = tracked.contains(name.as_str());
        let schema = schemas.get(name.as_str());
        let error = match schema {
            _ if is_the_databases_own(name) => Some(TenantError::NotATenant),
            Some(schema) if schema.holds_extensions => Some(TenantError::HoldsExtensions { new: false }),
            Some(_) if !is_tracked && !untracked => Some(TenantError::Untracked),
            None if !is_tracked && if_missing == IfMissing::Accept => {
                plan.missing.push(name.as_str().to_owned());
                continue;
            }
            None if !is_tracked => Some(TenantError::Nothing),
            _ => None,
        };
        match error {
            Some(error) => plan.failed.push(Failed { tenant: name.as_str().to_owned(), error }),
            None => plan.drops.push(Dropping {
                name: name.clone(),
                tracked: is_tracked,
                schema: schema.map(|schema| Contents::of(schema.oid)),
            }),
        }
    }
    weigh(db.connection(), &mut plan)?;
    Ok(plan)
}

/// Carries out a plan: each schema and its row in one transaction, or in steps where that would take too many locks. A
/// schema that is not the one that was looked at is left alone.
///
/// # Errors
/// [`Error::NoFreeConnection`], or that the run could not be recorded. What one tenant meets is in the report.
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
    let orders = Orders { tenancy, run, watch: &Watch::new(run), stop };
    let commit = if plan.drops.len() == 1 { Commit::Durable } else { Commit::Deferred };
    observer.begin(plan.drops.len());
    // Two large ones have half of the room each; what is small finds some beside one of them.
    let at_once = plan.drops.len().min(2) as i64;
    let jobs: Vec<Job> = plan.drops.into_iter().map(Job::new).collect();
    let crew = Crew { orders, commit, room: Room::new(plan.most_locks), at_once };
    let Told { done, failed, left, ended } = run::over(db, orders, &crew, jobs, observer)?;
    for (job, Finished { transactions, .. }) in done {
        let name = job.dropping.name;
        if transactions > 1 {
            report.in_steps.push(InSteps { name: name.clone(), transactions });
        }
        report.dropped.push(name);
    }
    report.failed.extend(failed);
    let (begun, not_begun): (Vec<Job>, Vec<Job>) = left.into_iter().partition(Job::has_begun);
    report.unfinished = begun.into_iter().map(|job| job.dropping.name).collect();
    report.not_reached = not_begun.into_iter().map(|job| job.dropping.name).collect();
    report.ended = ended;
    report.dropped.sort();
    report.in_steps.sort_by(|a, b| a.name.cmp(&b.name));
    report.unfinished.sort();
    report.failed.sort_by(|a, b| a.tenant.cmp(&b.tenant));
    report.not_reached.sort();
    let left = report.unfinished.len() + report.not_reached.len();
    let counts = Counts::of(report.dropped.len(), report.missing.len(), &report.failed, left);
    run.end(db, report.ended.as_ref(), counts);
    Ok(report)
}

/// Whether there is a schema of any of the names.
pub(crate) fn any_exists(db: &mut Database, names: &[SchemaName]) -> Result<bool, Error> {
    Ok(!look::find(db.connection(), &names.iter().collect::<Vec<_>>())?.is_empty())
}

/// `public`, `information_schema` and PostgreSQL's own are never dropped, whatever the tracker says.
fn is_the_databases_own(name: &SchemaName) -> bool {
    let name = name.as_str().to_ascii_lowercase();
    name == "public" || name == "information_schema" || name.starts_with("pg_")
}
