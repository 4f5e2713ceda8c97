//! Adds existing schemas to the tracker.

use std::collections::{HashMap, HashSet};

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;

use super::{NameStatus, SchemaStatus, distinct, holds_extensions, look_up};
use crate::database::{Database, Stop};
use crate::error::{Error, FailedTenant, TenantError};
use crate::migration::Version;
use crate::model::{SchemaName, State, TenantName};
use crate::operations::migrate::{Batch, SchemaTarget, StopReason, TrackerRow, tracker_guard};
use crate::postgres::{CHANGED, ServerMessage, Session, path};
use crate::record::integrity;
use crate::record::runs::{Counts, Run};
use crate::run::{
    Attempt, AttemptError, FailureBudget, Job, Observer, Operation, Outcome, RetryState, RunContext, Runner,
    StageReport, Verified,
};
use crate::sql::quote::{Identifier, Literal};
use crate::tenants::Tenancy;
use crate::tenants::ledger::{self, Columns};

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
        let failed = self.failed.iter().filter(|failed| failed.error.is_retryable());
        failed.map(|failed| failed.tenant.as_str()).chain(self.not_reached.iter().map(TenantName::as_str)).collect()
    }

    /// Adds the results of the run, in the order of `names`. `recorded` is the number of migrations up to the baseline.
    fn add(&mut self, stage: StageReport<AdoptSchemas<'_>>, names: &[&TenantName], recorded: usize) {
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

/// Adds schemas to the tracker. Nothing in a schema changes except, with a baseline, its ledger.
///
/// With a `baseline`, the migrations up to it are recorded as applied, without running them. A schema with objects but no
/// ledger needs one. A tenant that was registered by hand, or whose ledger is missing or empty, is completed. An active
/// tenant is left unchanged if there is no baseline, or if its ledger records all migrations up to the baseline, so that the
/// same call can be repeated.
///
/// # Errors
/// [`Error::UnknownVersion`] if no migration has the baseline's version; the errors of [`Database::require_writable`];
/// [`Error::NoFreeConnection`]; an error of the server before the first schema. Errors of single schemas are in the report.
pub fn adopt(
    db: &mut Database,
    tenancy: &Tenancy,
    names: &[TenantName],
    baseline: Option<&Version>,
    stop: &Stop,
    observer: &mut dyn Observer,
) -> Result<Adopted, Error> {
    db.require_writable(tenancy)?;
    integrity::record(db, tenancy)?;
    let baseline = baseline.map(|baseline| versions_up_to(tenancy, baseline)).transpose()?;
    let names = distinct(names);
    let Judged { jobs, unchanged, failed } = judge_all(db, tenancy, &names, baseline.as_deref())?;
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
    let operation = AdoptSchemas { baseline };
    let mut stage = runner.run(db, &operation, jobs, observer)?;
    let ended = runner.stop_reason(&mut stage);
    let mut report = Adopted { run: Some(run.id()), unchanged, failed, ended, ..Adopted::default() };
    report.add(stage, &names, operation.versions().len());
    let counts = Counts::of(report.adopted.len(), report.unchanged.len(), &report.failed, report.not_reached.len());
    runner.end(db, report.ended.as_ref(), counts);
    Ok(report)
}

/// The versions of the migrations up to one.
fn versions_up_to<'a>(tenancy: &'a Tenancy, baseline: &Version) -> Result<Vec<&'a str>, Error> {
    let set = tenancy.tenant_migrations();
    let last = set.position(baseline.as_str()).ok_or_else(|| Error::unknown_version(baseline, set))?;
    Ok(set.iter().take(last + 1).map(|migration| migration.version().as_str()).collect())
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
    names: &[&TenantName],
    baseline: Option<&[&str]>,
) -> Result<Judged, Error> {
    let found = look_up(db.connection(), names)?;
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
            Ok(Verdict::Unchanged) => unchanged.push((*name).clone()),
            Ok(Verdict::Adopt(adoption)) => {
                earlier.insert(name.folded(), name);
                jobs.push(AdoptionJob::new((*name).clone(), adoption));
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
    baseline: Option<&[&str]>,
) -> Result<Verdict, TenantError> {
    match (tracked, schema) {
        (Some((other, _)), _) if other != name.as_str() => Err(TenantError::CaseClash { tracked: other }),
        (Some((_, State::Dropping)), _) => Err(TenantError::Dropping),
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

/// A schema in the queue of a run.
struct AdoptionJob {
    name: TenantName,
    adoption: Adoption,
    retry: RetryState,
    /// Whether it must be looked up again before the next attempt: another session may have changed it, or the commit may
    /// have succeeded.
    is_stale: bool,
}

impl AdoptionJob {
    fn new(name: TenantName, adoption: Adoption) -> Self {
        Self { name, adoption, retry: RetryState::default(), is_stale: false }
    }
}

impl Job for AdoptionJob {
    fn schema(&self) -> &SchemaName {
        self.name.schema()
    }

    fn retry_state(&self) -> &RetryState {
        &self.retry
    }

    fn commit_lost(&mut self) {
        self.is_stale = true;
    }
}

/// Adds schemas to the tracker.
struct AdoptSchemas<'a> {
    /// The versions to record in each ledger, if there is a baseline.
    baseline: Option<Vec<&'a str>>,
}

impl Operation for AdoptSchemas<'_> {
    type Job = AdoptionJob;
    type Done = TenantName;

    fn attempt(&self, context: &RunContext<'_>, session: &mut Session, job: &mut AdoptionJob) -> Attempt<TenantName> {
        let schema = job.name.schema().clone();
        job.retry.begin(&schema, &context.monitor);
        match self.try_once(context, session, job) {
            Ok(outcome) => Attempt::Finished(outcome),
            Err(error) => {
                job.is_stale = true;
                job.retry.after(error, context, session, &schema)
            }
        }
    }

    /// Reads the rows that the run wrote in the transactions of the tenants.
    fn verify(&self, context: &RunContext<'_>, db: &mut Database, done: &[&AdoptionJob]) -> Result<Verified, Error> {
        let names: Vec<&str> = done.iter().map(|job| job.name.as_str()).collect();
        let recorded = context.run.done_among(db.connection(), &names)?;
        let lost = done.iter().filter(|job| !recorded.contains(job.name.as_str()));
        let lost: HashSet<SchemaName> = lost.map(|job| job.name.schema().clone()).collect();
        Ok(Verified { lost, ..Verified::default() })
    }
}

impl AdoptSchemas<'_> {
    fn versions(&self) -> &[&str] {
        self.baseline.as_deref().unwrap_or_default()
    }

    fn try_once(
        &self,
        context: &RunContext<'_>,
        session: &mut Session,
        job: &mut AdoptionJob,
    ) -> Result<Outcome<TenantName>, AttemptError> {
        if job.is_stale
            && let Some(outcome) = self.look_up_again(context, session, job)?
        {
            return Ok(outcome);
        }
        self.adopt(context, session, job)
    }

    /// Looks a schema up again and decides what to do. Returns the outcome if nothing is left to do.
    fn look_up_again(
        &self,
        context: &RunContext<'_>,
        conn: &mut PgConnection,
        job: &mut AdoptionJob,
    ) -> Result<Option<Outcome<TenantName>>, AttemptError> {
        let name = job.name.as_str();
        if context.run.done_among(conn, &[name])?.contains(name) {
            return Ok(Some(Outcome::Done(job.name.clone())));
        }
        let NameStatus { tracked, schema } = look_up(conn, &[&job.name])?.remove(name).unwrap_or(NameStatus::UNUSED);
        job.is_stale = false;
        match judge(context.tenancy, &job.name, tracked, schema.as_ref(), self.baseline.as_deref())? {
            Verdict::Unchanged => Ok(Some(Outcome::Unchanged)),
            Verdict::Adopt(adoption) => {
                job.adoption = adoption;
                Ok(None)
            }
        }
    }

    /// Adopts a schema in one transaction.
    fn adopt(
        &self,
        context: &RunContext<'_>,
        session: &mut Session,
        job: &AdoptionJob,
    ) -> Result<Outcome<TenantName>, AttemptError> {
        let Err(error) = session.batch_execute(self.message(context, job).sql()) else {
            return Ok(Outcome::Done(job.name.clone()));
        };
        if session.batch_execute("ROLLBACK").is_err() {
            session.discard();
        }
        let message = ServerMessage::from(&error).message;
        if message == RECORDS_BASELINE {
            return Ok(Outcome::Unchanged);
        }
        if let Some(applied) = message.strip_prefix(RECORDS) {
            return Err(TenantError::LedgerExists { applied: applied.parse().unwrap_or(0) }.into());
        }
        Err(AttemptError::from(&error))
    }

    fn message(&self, context: &RunContext<'_>, job: &AdoptionJob) -> Batch {
        let RunContext { tenancy, run, commit, .. } = *context;
        let (schema, versions) = (job.name.schema(), self.versions());
        let target = SchemaTarget::tenant(tenancy, schema, Some(run));
        let still_there = format!(
            "IF pg_catalog.to_regnamespace({}::text) IS NULL THEN RAISE EXCEPTION '{CHANGED}'; END IF;",
            Literal(&Identifier::from(schema).to_string())
        );
        let mut batch = Batch::begin(target, commit);
        batch.guard(&[
            path::CATALOG_IN_BLOCK.to_owned(),
            target.lock_for_transaction(),
            still_there,
            tracker_guard(schema, job.adoption.row),
        ]);
        batch.track(schema, job.adoption.row, State::Active);
        if !versions.is_empty() {
            batch.push(&ledger::create(schema));
            batch.guard(&[ledger::definition_guard(schema), self.ledger_guard(job)]);
            batch.push(&ledger::insert(schema, versions.iter().copied(), Columns::Version));
        }
        if let Some(row) = run.record(schema, &job.retry.done_row(None, versions.last().copied())) {
            batch.push(row.text());
        }
        batch.commit()
    }

    /// A condition in PL/pgSQL that raises an exception unless the ledger is empty. The ledger of a tenant that was adopted
    /// with this baseline, and perhaps migrated since, raises one of its own.
    fn ledger_guard(&self, job: &AdoptionJob) -> String {
        let ledger = format!("{}.{}", Identifier::from(job.name.schema()), ledger::TABLE);
        let versions: Vec<String> = self.versions().iter().map(|version| Literal(version).to_string()).collect();
        let adopted = if job.adoption.active {
            format!(
                "IF (SELECT pg_catalog.count(*) FROM {ledger} WHERE version::text IN ({})) = {} \
                 THEN RAISE EXCEPTION '{RECORDS_BASELINE}'; END IF;",
                versions.join(", "),
                versions.len()
            )
        } else {
            String::new()
        };
        format!(
            "DECLARE n bigint := (SELECT pg_catalog.count(*) FROM {ledger}); BEGIN IF n > 0 THEN {adopted} \
             RAISE EXCEPTION '{RECORDS}%', n; END IF; END;"
        )
    }
}

/// The beginning of the server's message for a ledger that is not empty.
const RECORDS: &str = "tenantry: migrations in the ledger: ";

/// The server's message for an active tenant whose ledger records the baseline.
const RECORDS_BASELINE: &str = "tenantry: the ledger records the baseline";
