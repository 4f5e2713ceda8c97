//! Existing schemas taken into the tracker, as they are.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;

use super::run::{self, Finished, Orders, Told};
use super::{Found, FoundSchema, distinct, holds_extensions, look_up};
use crate::database::Database;
use crate::error::Error;
use crate::failure::{Failed, TenantError};
use crate::integrity;
use crate::ledger;
use crate::migration::Version;
use crate::migrator::{Batch, Commit, Ended, Setback, Setbacks, Target, TrackerRow, set_state, setback, tracker_guard};
use crate::name::{SchemaName, TenantName};
use crate::postgres::{CHANGED, ServerMessage, Session};
use crate::runs::{Counts, DoneRow, FailedRow, Run};
use crate::sql::quote::{Identifier, Literal};
use crate::tenancy::Tenancy;
use crate::tracker::State;
use crate::watch::Watch;
use crate::workers::{Attempt, Observer, Stop, Work};

/// What [`adopt`] did, each list in the order asked for.
#[derive(Debug, Default)]
pub struct Adopted {
    /// The id of the run in `public.schema_run`.
    pub run: Option<i64>,
    /// The schemas that are tenants now.
    pub adopted: Vec<TenantName>,
    /// How many migrations the ledger of each adopted schema was given by the baseline.
    pub recorded: usize,
    /// Those that are not, and why.
    pub failed: Vec<Failed>,
    /// Those that are not, because the run was ended before.
    pub not_reached: Vec<TenantName>,
    /// Why it was ended.
    pub ended: Option<Ended>,
}

impl Adopted {
    /// Whether all are tenants now.
    pub fn is_success(&self) -> bool {
        self.failed.is_empty() && self.ended.is_none()
    }

    /// Those for which the same command may well succeed when it is run again.
    pub fn to_try_again(&self) -> Vec<&str> {
        let failed = self.failed.iter().filter(|failed| failed.error.is_worth_another_try());
        failed.map(|failed| failed.tenant.as_str()).chain(self.not_reached.iter().map(TenantName::as_str)).collect()
    }
}

/// Takes schemas into the tracker; nothing in them is touched but, with a baseline, the ledger.
///
/// With a `baseline`, the migrations up to it are recorded as applied, without running them. A schema with objects but no
/// ledger needs one. A tenant that is tracked already is accepted where something is amiss with it: it was registered by
/// hand, or its ledger is gone.
///
/// # Errors
/// [`Error::UnknownVersion`] when no migration has the baseline; what [`Database::require_writable`] says;
/// [`Error::NoFreeConnection`]; what the server answered before anything was begun. What is wrong with one schema is in the
/// report.
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
    let (jobs, failed) = judge_all(db, tenancy, &names, baseline.is_some())?;
    if !jobs.is_empty() {
        db.require_free_connection()?;
    }
    let run = Run::begin(db, "adopt")?;
    record(db, run, &failed)?;

    let orders = Orders { tenancy, run, watch: &Watch::new(run), stop };
    let commit = if jobs.len() == 1 { Commit::Durable } else { Commit::Deferred };
    observer.begin(jobs.len());
    let crew = Crew { orders, commit, baseline };
    let told = run::over(db, orders, &crew, jobs, observer)?;
    let report = report(&names, failed, told, &crew);
    let counts = Counts::of(report.adopted.len(), 0, &report.failed, report.not_reached.len());
    run.end(db, report.ended.as_ref(), counts);
    Ok(report)
}

/// The versions of the migrations up to one.
fn versions_up_to<'a>(tenancy: &'a Tenancy, baseline: &Version) -> Result<Vec<&'a str>, Error> {
    let set = tenancy.tenant_migrations();
    let last = set.position(baseline.as_str()).ok_or_else(|| Error::UnknownVersion { version: baseline.clone() })?;
    Ok(set.iter().take(last + 1).map(|migration| migration.version().as_str()).collect())
}

/// Decides which of the names can be adopted.
fn judge_all(
    db: &mut Database,
    tenancy: &Tenancy,
    names: &[&TenantName],
    has_baseline: bool,
) -> Result<(Vec<Job>, Vec<Failed>), Error> {
    let found = look_up(db.connection(), names)?;
    let mut earlier: HashMap<String, &TenantName> = HashMap::new();
    let (mut jobs, mut failed) = (Vec::new(), Vec::new());
    for name in names {
        let Found { tracked, schema } = &found[name.as_str()];
        // Of names that differ only by case the first that can be adopted has it.
        let before = match earlier.get(&name.folded()) {
            Some(first) => Some((first.as_str().to_owned(), State::Active)),
            None => tracked.clone(),
        };
        match judge(tenancy, name, before, *schema, has_baseline) {
            Ok(row) => {
                earlier.insert(name.folded(), name);
                jobs.push(Job::new((*name).clone(), row));
            }
            Err(error) => failed.push(Failed::new(name, error)),
        }
    }
    Ok((jobs, failed))
}

/// Decides whether a schema can be adopted, as the tracker and the catalog have it.
fn judge(
    tenancy: &Tenancy,
    name: &TenantName,
    tracked: Option<(String, State)>,
    schema: Option<FoundSchema>,
    has_baseline: bool,
) -> Result<TrackerRow, TenantError> {
    match (tracked, schema) {
        (Some((other, _)), _) if other != name.as_str() => Err(TenantError::CaseClash { tracked: other }),
        (Some((_, State::Dropping)), _) => Err(TenantError::Dropping),
        (state, None) => Err(TenantError::SchemaMissing { state: state.map(|(_, state)| state) }),
        (_, schema) if holds_extensions(tenancy, name, schema) => Err(TenantError::HoldsExtensions { new: false }),
        (_, Some(schema)) if !schema.readable => Err(TenantError::Unreadable),
        (_, Some(schema)) if !schema.has_ledger && !schema.empty && !has_baseline => Err(TenantError::LedgerMissing),
        (Some((_, State::Active)), Some(schema)) if schema.has_ledger && !has_baseline => {
            Err(TenantError::AlreadyTracked { state: State::Active })
        }
        (state, Some(_)) => Ok(state.map_or(TrackerRow::Missing, |_| TrackerRow::Known)),
    }
}

/// Records what cannot be adopted from the first.
fn record(db: &mut Database, run: Run, failed: &[Failed]) -> Result<(), Error> {
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

/// All that is known at the end, in the order of the names.
fn report(names: &[&TenantName], mut failed: Vec<Failed>, told: Told<Job>, crew: &Crew<'_>) -> Adopted {
    let place: HashMap<&str, usize> = names.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
    failed.extend(told.failed);
    failed.sort_by_key(|failed| place.get(failed.tenant.as_str()).copied());
    let in_order = |jobs: Vec<Job>| {
        let mut names: Vec<TenantName> = jobs.into_iter().map(|job| job.name).collect();
        names.sort_by_key(|name| place.get(name.as_str()).copied());
        names
    };
    let adopted = in_order(told.done.into_iter().map(|(job, _)| job).collect());
    let recorded = if adopted.is_empty() { 0 } else { crew.versions().len() };
    let not_reached = in_order(told.left);
    Adopted { run: Some(crew.orders.run.id()), adopted, recorded, failed, not_reached, ended: told.ended }
}

/// A schema in the queue of a run.
struct Job {
    name: TenantName,
    row: TrackerRow,
    setbacks: Setbacks,
    /// Look at it again before the next try: others may have changed it, or the commit may have come through.
    stale: bool,
}

impl Job {
    fn new(name: TenantName, row: TrackerRow) -> Self {
        Self { name, row, setbacks: Setbacks::default(), stale: false }
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
        let names: Vec<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
        let done = self.orders.run.done_among(db.connection(), &names)?;
        let lost = jobs.iter().filter(|job| !done.contains(job.name.as_str()));
        Ok(lost.map(|job| job.name.schema().clone()).collect())
    }
}

impl Work for Crew<'_> {
    type Job = Job;
    type Outcome = Result<Finished, TenantError>;

    fn attempt(&self, session: &mut Session, job: &mut Job) -> Attempt<Self::Outcome> {
        job.setbacks.begin(job.name.schema(), self.orders.watch);
        let done = match job.stale {
            true => self.look_again(session, job).and_then(|done| if done { Ok(()) } else { self.take(session, job) }),
            false => self.take(session, job),
        };
        let Err(setback) = done else { return Attempt::Done(Ok(job.finished())) };
        job.stale = true;
        let Orders { tenancy, watch, stop, .. } = self.orders;
        job.setbacks.next(session, setback, job.name.schema(), tenancy, watch, stop).map(Err)
    }
}

impl Crew<'_> {
    fn versions(&self) -> &[&str] {
        self.baseline.as_deref().unwrap_or_default()
    }

    /// Decides anew what is to be done. Returns whether this run has done it.
    fn look_again(&self, conn: &mut PgConnection, job: &mut Job) -> Result<bool, Setback> {
        let Orders { tenancy, run, .. } = self.orders;
        if run.done_among(conn, &[job.name.as_str()])?.contains(job.name.as_str()) {
            return Ok(true);
        }
        let Found { tracked, schema } =
            look_up(conn, &[&job.name])?.remove(job.name.as_str()).unwrap_or(Found::NOTHING);
        job.row = judge(tenancy, &job.name, tracked, schema, self.baseline.is_some()).map_err(Setback::Failed)?;
        job.stale = false;
        Ok(false)
    }

    /// Takes a schema in, in one transaction.
    fn take(&self, session: &mut Session, job: &Job) -> Result<(), Setback> {
        session.batch_execute(self.message(job).sql()).map_err(|error| {
            if session.batch_execute("ROLLBACK").is_err() {
                session.spend();
            }
            if let Some(applied) = ServerMessage::from(&error).message.strip_prefix(RECORDS) {
                return Setback::Failed(TenantError::LedgerExists { applied: applied.parse().unwrap_or(0) });
            }
            match setback(&error) {
                ControlFlow::Break(setback) => setback,
                ControlFlow::Continue(server) => Setback::Failed(TenantError::Server(server)),
            }
        })
    }

    fn message(&self, job: &Job) -> Batch {
        let Orders { tenancy, run, .. } = self.orders;
        let (schema, versions) = (job.name.schema(), self.versions());
        let target = Target::tenant(tenancy, schema, Some(run));
        let still_there = format!(
            "IF to_regnamespace({}) IS NULL THEN RAISE EXCEPTION '{CHANGED}'; END IF;",
            Literal(&Identifier::from(schema).to_string())
        );
        let mut batch = Batch::begin(target, self.commit);
        batch.guard(&[target.lock_for_transaction(), still_there, tracker_guard(schema, job.row)]);
        batch.push(&match job.row {
            TrackerRow::Missing => {
                format!(
                    "INSERT INTO public.schema_tracker (name, state) VALUES ({}, 'active');",
                    Literal(schema.as_str())
                )
            }
            TrackerRow::Known => set_state(schema, State::Active),
        });
        if !versions.is_empty() {
            batch.push(&ledger::create(schema));
            batch.guard(&[format!(
                "DECLARE n bigint := (SELECT count(*) FROM {}.{}); BEGIN IF n > 0 THEN RAISE EXCEPTION '{RECORDS}%', n; \
                 END IF; END;",
                Identifier::from(schema),
                ledger::TABLE
            )]);
            batch.push(&ledger::insert(schema, versions.iter().copied()));
        }
        let attempts = job.setbacks.attempts();
        let before = if attempts > 1 { job.setbacks.took() } else { Duration::ZERO };
        batch.push(&run.record(schema, &DoneRow { from: None, to: versions.last().copied(), before, attempts }));
        batch.commit()
    }
}

/// How the server says that a ledger is not empty.
const RECORDS: &str = "tenantry: migrations in the ledger: ";
