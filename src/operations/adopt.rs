//! Adds existing schemas to the tracker.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;

use super::run::{self, Finished, Orders, Told};
use super::{Found, FoundSchema, distinct, holds_extensions, look_up};
use crate::database::{Database, Stop};
use crate::error::{Error, FailedTenant, TenantError};
use crate::migration::Version;
use crate::model::{SchemaName, State, TenantName};
use crate::operations::migrate::{
    Batch, Commit, Setback, Setbacks, StopReason, Target, TrackerRow, setback, tracker_guard,
};
use crate::postgres::{CHANGED, ServerMessage, Session, path};
use crate::record::integrity;
use crate::record::runs::{Counts, DoneRow, FailedRow, Run};
use crate::run::LockMonitor;
use crate::run::workers::{Attempt, Observer, Work};
use crate::sql::quote::{Identifier, Literal};
use crate::tenants::{Tenancy, ledger};

/// The report of [`adopt`]; each list is in the order of the names given.
#[derive(Debug, Default)]
pub struct Adopted {
    /// The id of the run in `public.schema_run`; `None` if there was nothing to do.
    pub run: Option<i64>,
    /// The schemas that this run adopted.
    pub adopted: Vec<TenantName>,
    /// The schemas that were active tenants already, with a ledger that agrees with the baseline.
    pub unchanged: Vec<TenantName>,
    /// How many migrations the baseline recorded in the ledger of each adopted schema.
    pub recorded: usize,
    /// The schemas that cannot be adopted, and why.
    pub failed: Vec<FailedTenant>,
    /// The schemas that the run did not get to.
    pub not_reached: Vec<TenantName>,
    /// Why the run ended early.
    pub ended: Option<StopReason>,
}

impl Adopted {
    /// Whether all of them are tenants now.
    pub fn is_success(&self) -> bool {
        self.failed.is_empty() && self.ended.is_none()
    }

    /// Those for which the same command may well succeed when it is run again.
    pub fn to_try_again(&self) -> Vec<&str> {
        let failed = self.failed.iter().filter(|failed| failed.error.is_retryable());
        failed.map(|failed| failed.tenant.as_str()).chain(self.not_reached.iter().map(TenantName::as_str)).collect()
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
    let Judged { jobs, unchanged, failed } = judge_all(db, tenancy, &names, baseline.is_some())?;
    if jobs.is_empty() && failed.is_empty() {
        return Ok(Adopted { unchanged, ..Adopted::default() });
    }
    if !jobs.is_empty() {
        db.require_free_connection()?;
    }
    let run = Run::begin(db, "adopt")?;
    record(db, run, &failed)?;

    let orders = Orders { tenancy, run, monitor: &LockMonitor::new(run), stop };
    let commit = if jobs.len() == 1 { Commit::Durable } else { Commit::Deferred };
    observer.begin(jobs.len());
    let crew = Crew { orders, commit, baseline };
    let told = run::over(db, orders, &crew, jobs, observer)?;
    let report = report(&names, unchanged, failed, told, &crew);
    let counts = Counts::of(report.adopted.len(), report.unchanged.len(), &report.failed, report.not_reached.len());
    run.end(db, report.ended.as_ref(), counts);
    Ok(report)
}

/// The versions of the migrations up to one.
fn versions_up_to<'a>(tenancy: &'a Tenancy, baseline: &Version) -> Result<Vec<&'a str>, Error> {
    let set = tenancy.tenant_migrations();
    let last = set.position(baseline.as_str()).ok_or_else(|| Error::UnknownVersion { version: baseline.clone() })?;
    Ok(set.iter().take(last + 1).map(|migration| migration.version().as_str()).collect())
}

/// What is to be done for all names.
struct Judged {
    jobs: Vec<Job>,
    unchanged: Vec<TenantName>,
    failed: Vec<FailedTenant>,
}

/// What is to be done for a schema that can be adopted.
#[derive(Clone, Copy)]
enum Verdict {
    /// It is an active tenant.
    Unchanged,
    /// It is added to the tracker, or completed.
    Adopt {
        row: TrackerRow,
        /// Whether it is an active tenant.
        active: bool,
    },
}

/// Decides which of the names can be adopted.
fn judge_all(db: &mut Database, tenancy: &Tenancy, names: &[&TenantName], has_baseline: bool) -> Result<Judged, Error> {
    let found = look_up(db.connection(), names)?;
    let mut earlier: HashMap<String, &TenantName> = HashMap::new();
    let (mut jobs, mut unchanged, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for name in names {
        let Found { tracked, schema } = &found[name.as_str()];
        // Of names that differ only by case the first that can be adopted has it.
        let before = match earlier.get(&name.folded()) {
            Some(first) => Some((first.as_str().to_owned(), State::Active)),
            None => tracked.clone(),
        };
        match judge(tenancy, name, before, *schema, has_baseline) {
            Ok(Verdict::Unchanged) => unchanged.push((*name).clone()),
            Ok(Verdict::Adopt { row, active }) => {
                earlier.insert(name.folded(), name);
                jobs.push(Job::new((*name).clone(), row, active));
            }
            Err(error) => failed.push(FailedTenant::new(name, error)),
        }
    }
    Ok(Judged { jobs, unchanged, failed })
}

/// Decides whether a schema can be adopted, as the tracker and the catalog have it.
fn judge(
    tenancy: &Tenancy,
    name: &TenantName,
    tracked: Option<(String, State)>,
    schema: Option<FoundSchema>,
    has_baseline: bool,
) -> Result<Verdict, TenantError> {
    match (tracked, schema) {
        (Some((other, _)), _) if other != name.as_str() => Err(TenantError::CaseClash { tracked: other }),
        (Some((_, State::Dropping)), _) => Err(TenantError::Dropping),
        (state, None) => Err(TenantError::SchemaMissing { state: state.map(|(_, state)| state) }),
        (_, schema) if holds_extensions(tenancy, name, schema) => Err(TenantError::ContainsExtensions { new: false }),
        (_, Some(schema)) if !schema.readable => Err(TenantError::LedgerUnreadable),
        (_, Some(schema)) if !schema.has_ledger && !schema.empty && !has_baseline => Err(TenantError::LedgerMissing),
        (Some((_, State::Active)), Some(_)) if !has_baseline => Ok(Verdict::Unchanged),
        (Some((_, state)), Some(_)) => Ok(Verdict::Adopt { row: TrackerRow::Known, active: state == State::Active }),
        (None, Some(_)) => Ok(Verdict::Adopt { row: TrackerRow::Missing, active: false }),
    }
}

/// Records what cannot be adopted from the first.
fn record(db: &mut Database, run: Run, failed: &[FailedTenant]) -> Result<(), Error> {
    let failures: Vec<FailedRow<'_>> = failed
        .iter()
        .map(|failed| FailedRow {
            tenant: &failed.tenant,
            from: None,
            took: Duration::ZERO,
            attempts: 1,
            error: &failed.error,
        })
        .collect();
    run.record_failures(db.connection(), &failures)
}

/// The outcome for each name, in the order of the names.
fn report(
    names: &[&TenantName],
    mut unchanged: Vec<TenantName>,
    mut failed: Vec<FailedTenant>,
    told: Told<Job>,
    crew: &Crew<'_>,
) -> Adopted {
    let place: HashMap<&str, usize> = names.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
    failed.extend(told.failed);
    failed.sort_by_key(|failed| place.get(failed.tenant.as_str()).copied());
    let in_order = |mut names: Vec<TenantName>| {
        names.sort_by_key(|name| place.get(name.as_str()).copied());
        names
    };
    let (found, done): (Vec<Job>, Vec<Job>) = told.done.into_iter().map(|(job, _)| job).partition(|job| job.unchanged);
    unchanged.extend(found.into_iter().map(|job| job.name));
    let adopted = in_order(done.into_iter().map(|job| job.name).collect());
    let recorded = if adopted.is_empty() { 0 } else { crew.versions().len() };
    Adopted {
        run: Some(crew.orders.run.id()),
        adopted,
        unchanged: in_order(unchanged),
        recorded,
        failed,
        not_reached: in_order(told.left.into_iter().map(|job| job.name).collect()),
        ended: told.ended,
    }
}

/// A schema in the queue of a run.
struct Job {
    name: TenantName,
    row: TrackerRow,
    /// Whether the tracker has it as an active tenant.
    active: bool,
    /// Whether it was found to be adopted already.
    unchanged: bool,
    setbacks: Setbacks,
    /// Look at it again before the next try: others may have changed it, or the commit may have come through.
    stale: bool,
}

impl Job {
    fn new(name: TenantName, row: TrackerRow, active: bool) -> Self {
        Self { name, row, active, unchanged: false, setbacks: Setbacks::default(), stale: false }
    }

    fn finished(&self) -> Finished {
        Finished { took: self.setbacks.took(), transactions: 1 }
    }
}

impl run::Job for Job {
    fn name(&self) -> &SchemaName {
        self.name.schema()
    }

    fn setbacks(&self) -> &Setbacks {
        &self.setbacks
    }

    fn start_over(&mut self) {
        self.stale = true;
    }
}

/// What the workers do.
struct Crew<'a> {
    orders: Orders<'a>,
    commit: Commit,
    /// The versions that each ledger is given, where there is a baseline.
    baseline: Option<Vec<&'a str>>,
}

impl run::Crew for Crew<'_> {
    fn lost(&self, db: &mut Database, jobs: &[&Job]) -> Result<HashSet<SchemaName>, Error> {
        // There is no row of the run for a schema that it did not change.
        let changed = || jobs.iter().filter(|job| !job.unchanged);
        let names: Vec<&str> = changed().map(|job| job.name.as_str()).collect();
        let done = self.orders.run.done_among(db.connection(), &names)?;
        let lost = changed().filter(|job| !done.contains(job.name.as_str()));
        Ok(lost.map(|job| job.name.schema().clone()).collect())
    }
}

impl Work for Crew<'_> {
    type Job = Job;
    type Outcome = Result<Finished, TenantError>;

    fn attempt(&self, session: &mut Session, job: &mut Job) -> Attempt<Self::Outcome> {
        job.setbacks.begin(job.name.schema(), self.orders.monitor);
        let done = match job.stale {
            true => self.look_again(session, job).and_then(|done| if done { Ok(()) } else { self.take(session, job) }),
            false => self.take(session, job),
        };
        let Err(setback) = done else { return Attempt::Done(Ok(job.finished())) };
        job.stale = true;
        let Orders { tenancy, monitor, stop, .. } = self.orders;
        job.setbacks.next(session, setback, job.name.schema(), tenancy, monitor, stop).map(Err)
    }
}

impl Crew<'_> {
    fn versions(&self) -> &[&str] {
        self.baseline.as_deref().unwrap_or_default()
    }

    /// Decides again what is to be done. Returns whether nothing is left to do.
    fn look_again(&self, conn: &mut PgConnection, job: &mut Job) -> Result<bool, Setback> {
        let Orders { tenancy, run, .. } = self.orders;
        if run.done_among(conn, &[job.name.as_str()])?.contains(job.name.as_str()) {
            return Ok(true);
        }
        let Found { tracked, schema } =
            look_up(conn, &[&job.name])?.remove(job.name.as_str()).unwrap_or(Found::NOTHING);
        job.stale = false;
        match judge(tenancy, &job.name, tracked, schema, self.baseline.is_some()).map_err(Setback::Failed)? {
            Verdict::Unchanged => job.unchanged = true,
            Verdict::Adopt { row, active } => (job.row, job.active) = (row, active),
        }
        Ok(job.unchanged)
    }

    /// Adopts a schema, in one transaction.
    fn take(&self, session: &mut Session, job: &mut Job) -> Result<(), Setback> {
        let Err(error) = session.batch_execute(self.message(job).sql()) else { return Ok(()) };
        if session.batch_execute("ROLLBACK").is_err() {
            session.discard();
        }
        let message = ServerMessage::from(&error).message;
        if message == RECORDS_BASELINE {
            job.unchanged = true;
            return Ok(());
        }
        if let Some(applied) = message.strip_prefix(RECORDS) {
            return Err(Setback::Failed(TenantError::LedgerExists { applied: applied.parse().unwrap_or(0) }));
        }
        Err(match setback(&error) {
            ControlFlow::Break(setback) => setback,
            ControlFlow::Continue(server) => Setback::Failed(TenantError::Server(server)),
        })
    }

    fn message(&self, job: &Job) -> Batch {
        let Orders { tenancy, run, .. } = self.orders;
        let (schema, versions) = (job.name.schema(), self.versions());
        let target = Target::tenant(tenancy, schema, Some(run));
        let still_there = format!(
            "IF pg_catalog.to_regnamespace({}::text) IS NULL THEN RAISE EXCEPTION '{CHANGED}'; END IF;",
            Literal(&Identifier::from(schema).to_string())
        );
        let mut batch = Batch::begin(target, self.commit);
        batch.guard(&[
            path::CATALOG_IN_BLOCK.to_owned(),
            target.lock_for_transaction(),
            still_there,
            tracker_guard(schema, job.row),
        ]);
        batch.track(schema, job.row, State::Active);
        if !versions.is_empty() {
            batch.push(&ledger::create(schema));
            batch.guard(&[ledger::definition_guard(schema), self.ledger_guard(job)]);
            batch.push(&ledger::insert(schema, versions.iter().copied()));
        }
        let attempts = job.setbacks.attempts();
        let before = if attempts > 1 { job.setbacks.took() } else { Duration::ZERO };
        batch.push(&run.record(schema, &DoneRow { from: None, to: versions.last().copied(), before, attempts }));
        batch.commit()
    }

    /// A condition in PL/pgSQL that raises an exception unless the ledger is empty. The ledger of a tenant that was adopted
    /// with this baseline, and perhaps migrated since, raises one of its own.
    fn ledger_guard(&self, job: &Job) -> String {
        let ledger = format!("{}.{}", Identifier::from(job.name.schema()), ledger::TABLE);
        let versions: Vec<String> = self.versions().iter().map(|version| Literal(version).to_string()).collect();
        let adopted = match job.active {
            true => format!(
                "IF (SELECT pg_catalog.count(*) FROM {ledger} WHERE version::text IN ({})) = {} \
                 THEN RAISE EXCEPTION '{RECORDS_BASELINE}'; END IF;",
                versions.join(", "),
                versions.len()
            ),
            false => String::new(),
        };
        format!(
            "DECLARE n bigint := (SELECT pg_catalog.count(*) FROM {ledger}); BEGIN IF n > 0 THEN {adopted} \
             RAISE EXCEPTION '{RECORDS}%', n; END IF; END;"
        )
    }
}

/// How the server says that a ledger is not empty.
const RECORDS: &str = "tenantry: migrations in the ledger: ";

/// How the server says that the ledger of an active tenant records the baseline.
const RECORDS_BASELINE: &str = "tenantry: the ledger records the baseline";
