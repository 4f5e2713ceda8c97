//! Adds existing schemas to the tracker.

mod operation;
mod preview;
mod verify;

use std::collections::HashMap;

use super::{NameStatus, SchemaStatus, distinct, holds_extensions, look_up};
use crate::database::{Database, Stop};
use crate::error::{Error, FailedTenant, TenantError};
use crate::migration::Version;
use crate::model::{State, TenantName};
use crate::operations::migrate::{StopReason, TrackerRow};
use crate::record::integrity;
use crate::record::runs::{Counts, Run};
use crate::run::{FailureBudget, Observer, Runner, StageReport};
use crate::schema::drift::Accepted;
use crate::tenants::Tenancy;

use operation::{AdoptSchemas, AdoptionJob};
pub use preview::{AdoptPreview, SchemaContents};

/// The report of [`adopt`]; each list is in the order of the names given.
#[derive(Debug, Default)]
pub struct Adopted {
    /// The id of the run in `public.schema_run`; `None` if there was nothing to do.
    pub run: Option<i64>,
    /// The schemas that this run adopted.
    pub adopted: Vec<TenantName>,
    /// The schemas that were active tenants already, with a ledger that agrees with the baseline.
    pub unchanged: Vec<TenantName>,
    /// The number of migrations that the baseline recorded in the ledger of each adopted schema.
    pub recorded: usize,
    /// The schemas that cannot be adopted, and why.
    pub failed: Vec<FailedTenant>,
    /// The schemas that the run did not reach.
    pub not_reached: Vec<TenantName>,
    /// Why the run stopped early.
    pub ended: Option<StopReason>,
}

impl Adopted {
    /// Whether all schemas are tenants now.
    pub fn is_success(&self) -> bool {
        self.failed.is_empty() && self.ended.is_none()
    }

    /// The schemas for which another run of the same command may succeed.
    pub fn to_try_again(&self) -> Vec<&str> {
        let failed = self.failed.iter().filter(|failed| failed.error.is_worth_repeating());
        failed.map(|failed| failed.tenant.as_str()).chain(self.not_reached.iter().map(TenantName::as_str)).collect()
    }

    /// Adds the results of the run, in the order of `names`. `recorded` is the number of migrations up to the baseline.
    fn add(&mut self, stage: StageReport<AdoptSchemas>, names: &[TenantName], recorded: usize) {
        let names_of = |jobs: Vec<AdoptionJob>| jobs.into_iter().map(|job| job.name);
        self.adopted = stage.done;
        self.unchanged.extend(names_of(stage.unchanged));
        self.failed.extend(stage.failed);
        self.not_reached = names_of(stage.not_reached).collect();
        self.recorded = if self.adopted.is_empty() { 0 } else { recorded };
        let place: HashMap<&str, usize> =
            names.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
        let place_of = |name: &str| place.get(name).copied();
        self.adopted.sort_by_key(|name| place_of(name.as_str()));
        self.unchanged.sort_by_key(|name| place_of(name.as_str()));
        self.failed.sort_by_key(|failed| place_of(&failed.tenant));
        self.not_reached.sort_by_key(|name| place_of(name.as_str()));
    }
}

/// How schemas are adopted.
#[derive(Debug, Default)]
pub struct AdoptOptions {
    /// The newest migration that the schemas already contain. The migrations up to it are recorded as applied, without running
    /// them. A schema with objects but no ledger needs one.
    pub baseline: Option<Version>,
    /// Whether the baseline replaces another one that adopt has recorded, if no run has changed the tenant's migrations since.
    pub replace_baseline: bool,
    /// Fails a schema whose structure differs from the reference at the baseline, or else at the migrations in its ledger,
    /// but for these differences. `None` compares nothing.
    pub verify: Option<Accepted>,
}

/// The plan for [`adopt`].
pub struct AdoptPlan {
    /// The versions of the migrations up to the baseline.
    versions: Option<Vec<String>>,
    replace: ExistingBaseline,
    /// The names given, in their order.
    names: Vec<TenantName>,
    jobs: Vec<AdoptionJob>,
    unchanged: Vec<TenantName>,
    failed: Vec<FailedTenant>,
}

/// What happens to a baseline that adopt has recorded before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExistingBaseline {
    Keep,
    Replace,
}

/// Plans which of the schemas are adopted.
///
/// # Errors
/// [`Error::UnknownVersion`] if no migration has the baseline's version; the errors of [`Database::require_tracker`];
/// [`Error::NoReference`] if structures are to be compared; an error of the server. Errors of single schemas are in the plan.
pub fn plan_adopt(
    db: &mut Database,
    tenancy: &Tenancy,
    names: &[TenantName],
    options: &AdoptOptions,
) -> Result<AdoptPlan, Error> {
    db.require_tracker(tenancy)?;
    let versions = options.baseline.as_ref().map(|baseline| versions_up_to(tenancy, baseline)).transpose()?;
    let names: Vec<TenantName> = distinct(names).into_iter().cloned().collect();
    let Judged { mut jobs, unchanged, mut failed } = judge_all(db, tenancy, &names, versions.as_deref())?;
    if let Some(accepted) = &options.verify {
        failed.extend(verify::remove_differing(db, tenancy, &mut jobs, versions.as_deref(), accepted)?);
    }
    let replace = if options.replace_baseline { ExistingBaseline::Replace } else { ExistingBaseline::Keep };
    Ok(AdoptPlan { versions, replace, names, jobs, unchanged, failed })
}

/// Adds the schemas of a plan to the tracker. Nothing in a schema changes except, with a baseline, its ledger.
///
/// A tenant that was registered by hand, or whose ledger is missing or empty, is completed. An active tenant is left unchanged
/// if there is no baseline, or if its ledger records all migrations up to the baseline, so that the same call can be repeated.
///
/// # Errors
/// The errors of [`Database::require_writable`]; [`Error::NoFreeConnection`]; an error of the server before the first schema.
/// Errors of single schemas are in the report.
pub fn adopt(
    db: &mut Database,
    tenancy: &Tenancy,
    plan: AdoptPlan,
    stop: &Stop,
    observer: &mut dyn Observer,
) -> Result<Adopted, Error> {
    db.require_writable(tenancy)?;
    integrity::record(db, tenancy)?;
    let AdoptPlan { versions, replace, names, jobs, unchanged, failed } = plan;
    if jobs.is_empty() && failed.is_empty() {
        return Ok(Adopted { unchanged, ..Adopted::default() });
    }
    if !jobs.is_empty() {
        db.require_free_connection()?;
    }
    let run = Run::begin(db, "adopt")?;
    let runner = Runner::new(tenancy, run, jobs.len(), stop, FailureBudget::default());
    runner.record_blocked(db, &failed)?;
    observer.begin(jobs.len());
    let operation = AdoptSchemas { baseline: versions, replace, known: known_versions(tenancy) };
    let mut stage = runner.run(db, &operation, jobs, observer)?;
    let ended = runner.stop_reason(&mut stage);
    let mut report = Adopted { run: Some(run.id()), unchanged, failed, ended, ..Adopted::default() };
    report.add(stage, &names, operation.versions().len());
    let counts = Counts::of(report.adopted.len(), report.unchanged.len(), &report.failed, report.not_reached.len());
    runner.end(db, report.ended.as_ref(), counts);
    Ok(report)
}

/// The versions of all tenant migrations.
fn known_versions(tenancy: &Tenancy) -> Vec<String> {
    tenancy.all_tenant_migrations().versioned().map(|migration| migration.version().to_string()).collect()
}

/// The versions of the migrations up to one.
fn versions_up_to(tenancy: &Tenancy, baseline: &Version) -> Result<Vec<String>, Error> {
    let set = tenancy.tenant_migrations();
    let last = set.position(baseline.as_str()).ok_or_else(|| Error::unknown_version(baseline, set))?;
    Ok(set.iter().take(last + 1).map(|migration| migration.version().to_string()).collect())
}

/// The decisions for all names.
struct Judged {
    jobs: Vec<AdoptionJob>,
    unchanged: Vec<TenantName>,
    failed: Vec<FailedTenant>,
}

/// The decision for a schema that can be adopted.
#[derive(Clone, Copy)]
enum Verdict {
    /// It is an active tenant.
    Unchanged,
    /// It is added to the tracker, or completed.
    Adopt(Adoption),
}

/// What the tracker has of a schema that is adopted.
#[derive(Clone, Copy)]
struct Adoption {
    row: TrackerRow,
    /// Whether it is an active tenant.
    active: bool,
}

/// Decides which of the names can be adopted.
fn judge_all(
    db: &mut Database,
    tenancy: &Tenancy,
    names: &[TenantName],
    baseline: Option<&[String]>,
) -> Result<Judged, Error> {
    let found = look_up(db.connection(), &names.iter().collect::<Vec<_>>())?;
    let mut earlier: HashMap<String, &TenantName> = HashMap::new();
    let (mut jobs, mut unchanged, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for name in names {
        let NameStatus { tracked, schema } = &found[name.as_str()];
        // Of names that differ only by case, the first one that can be adopted counts.
        let before = match earlier.get(&name.folded()) {
            Some(first) => Some((first.as_str().to_owned(), State::Active)),
            None => tracked.clone(),
        };
        match judge(tenancy, name, before, schema.as_ref(), baseline) {
            Ok(Verdict::Unchanged) => unchanged.push(name.clone()),
            Ok(Verdict::Adopt(adoption)) => {
                earlier.insert(name.folded(), name);
                let schema = schema.as_ref().map(|schema| (schema.oid, schema.has_ledger));
                jobs.push(AdoptionJob::new(name.clone(), adoption, schema));
            }
            Err(error) => failed.push(FailedTenant::new(name, error)),
        }
    }
    Ok(Judged { jobs, unchanged, failed })
}

/// Decides from the tracker and the catalog whether a schema can be adopted.
fn judge(
    tenancy: &Tenancy,
    name: &TenantName,
    tracked: Option<(String, State)>,
    schema: Option<&SchemaStatus>,
    baseline: Option<&[String]>,
) -> Result<Verdict, TenantError> {
    match (tracked, schema) {
        (Some((other, _)), _) if other != name.as_str() => Err(TenantError::CaseClash { tracked: other }),
        (Some((_, State::Dropping)), _) => Err(TenantError::Dropping),
        (Some((_, State::Moving | State::Arriving)), _) => Err(TenantError::Moving),
        (Some((_, state @ State::Archived)), _) => Err(TenantError::AlreadyTracked { state }),
        (state, None) => Err(TenantError::SchemaMissing { state: state.map(|(_, state)| state) }),
        (_, schema) if holds_extensions(tenancy, name, schema) => Err(TenantError::ContainsExtensions { new: false }),
        (_, Some(SchemaStatus { unreadable: Some(reason), .. })) => Err(TenantError::LedgerUnreadable(reason.clone())),
        (_, Some(schema)) if !schema.has_ledger && !schema.empty && baseline.is_none() => {
            Err(TenantError::LedgerMissing)
        }
        (Some((_, State::Active)), Some(_)) if baseline.is_none() => Ok(Verdict::Unchanged),
        (Some((_, state)), Some(_)) => {
            Ok(Verdict::Adopt(Adoption { row: TrackerRow::Known, active: state == State::Active }))
        }
        (None, Some(_)) => Ok(Verdict::Adopt(Adoption { row: TrackerRow::Missing, active: false })),
    }
}
