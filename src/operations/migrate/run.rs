//! One run over tenants: recorded, watched, in the steps of its rollout, and each outcome made certain.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::apply::Learned;
use super::job::Orders;
use super::rollout::{Budget, Stage, StageKind};
use super::{Commit, Job, Outcome, Report, Reread, Rollout, StopReason};
use crate::database::{Database, Stop};
use crate::error::{Error, FailedTenant, TenantError};
use crate::model::{SchemaName, TenantName};
use crate::postgres::{CHUNK, Session};
use crate::record::integrity;
use crate::record::runs::{Counts, FailedRow, Run};
use crate::run::workers::{self, Attempt, Listener, Observer, Work};
use crate::run::{LockMonitor, lock_monitor};
use crate::schema::drift::{self, Stamps};
use crate::schema::reference::Reference;
use crate::tenants::{Fleet, Tenancy, ledger};

/// What [`run_jobs`] is to do.
pub(crate) struct RunJobs<'a> {
    /// What the record calls it, unless the actor has arguments.
    pub(crate) command: &'static str,
    pub(crate) jobs: Vec<Job>,
    /// Tells what is left to do for a tenant that was found changed.
    pub(crate) reread: &'a Reread<'a>,
    pub(crate) rollout: &'a Rollout,
    pub(crate) stop: &'a Stop,
    /// What is known before it begins.
    pub(crate) report: Report,
}

/// Runs jobs into a report.
pub(crate) fn run_jobs(
    db: &mut Database,
    tenancy: &Tenancy,
    what: RunJobs<'_>,
    observer: &mut dyn Observer,
) -> Result<Report, Error> {
    let RunJobs { command, jobs, reread, rollout, stop, mut report } = what;
    let budget = Budget::new(rollout, jobs.len(), report.failed.len());
    let to_look_at = rollout.to_look_at(&report.unchanged);
    if let Some(ended) = budget.take_ended() {
        report.not_reached = jobs.into_iter().map(Job::into_name).collect();
        report.ended = Some(ended);
    } else if !jobs.is_empty() || !to_look_at.is_empty() {
        db.require_free_connection()?;
        integrity::record(db, tenancy)?;
        let unchanged = match to_look_at.is_empty() {
            true => Fleet::default(),
            false => Fleet::read_some(db.connection(), tenancy.tenant_migrations(), &to_look_at)?,
        };
        let reference = reference(db, tenancy, rollout, &jobs, &unchanged)?;
        let pooler = match jobs.iter().any(|job| job.needs_a_session(tenancy)) {
            true => !db.connector().has_dedicated_session()?,
            false => false,
        };
        let run = Run::begin(db, command)?;
        report.run = Some(run.id());
        let monitor = LockMonitor::new(run);
        let commit = if jobs.len() == 1 { Commit::Durable } else { Commit::Deferred };
        let learned = Learned::default();
        let orders = Orders { tenancy, run, commit, pooler, reread, monitor: &monitor, stop, learned: &learned };
        observer.begin(jobs.len());
        let blocked: Vec<FailedRow<'_>> = report.failed.iter().map(FailedRow::of_blocked).collect();
        run.record_failures(db.connection(), &blocked)?;
        for failed in &report.failed {
            observer.failed(&failed.tenant, &failed.error);
        }
        let names = match reference {
            Some(_) => {
                jobs.iter().map(Job::name).chain(&report.unchanged).map(|name| name.as_str().to_owned()).collect()
            }
            None => HashSet::new(),
        };
        let reference = reference.as_ref();
        let budget = &budget;
        let mut teller = Teller { tenancy, run, rollout, reference, compares: false, names, budget, report, observer };
        let looked_at = teller.look_at(db, &unchanged);
        let result = looked_at.and_then(|()| stages(db, &orders, &mut teller, rollout.stages(jobs)));
        report = teller.report;
        let Report { done, unchanged, failed, not_reached, ended, .. } = &report;
        run.end(db, ended.as_ref(), Counts::of(done.len(), unchanged.len(), failed, not_reached.len()));
        result?;
    }
    report.sort();
    Ok(report)
}

/// The reference for what the jobs are to come to, where the rollout needs it.
fn reference(
    db: &mut Database,
    tenancy: &Tenancy,
    rollout: &Rollout,
    jobs: &[Job],
    unchanged: &Fleet,
) -> Result<Option<Reference>, Error> {
    if !rollout.needs_reference() {
        return Ok(None);
    }
    let goals = jobs.iter().map(|job| job.goal(tenancy.tenant_migrations()));
    let reached = unchanged.tenants.iter().filter_map(|tenant| Some(tenant.ledger()?.applied.clone()));
    let wanted: BTreeSet<Vec<String>> = goals.chain(reached).collect();
    Reference::make(db, tenancy, &wanted)?.map(Some).map_err(Error::NoReference)
}

/// Goes through the stages until one of them ends the run.
fn stages(db: &mut Database, orders: &Orders<'_>, teller: &mut Teller<'_>, stages: Vec<Stage>) -> Result<(), Error> {
    let mut stages = stages.into_iter();
    while teller.report.ended.is_none()
        && let Some(stage) = stages.next()
    {
        teller.report.ended = one_stage(db, orders, teller, stage)?;
    }
    let rest = stages.flat_map(|stage| stage.jobs).map(Job::into_name);
    teller.report.not_reached.extend(rest);
    if teller.report.not_reached.is_empty() && !matches!(teller.report.ended, Some(StopReason::Lost(_))) {
        // It was asked to end when there was nothing left to begin.
        teller.report.ended = None;
    }
    Ok(())
}

/// Does the jobs of a stage, and returns why the run ends with it, where it does.
fn one_stage(
    db: &mut Database,
    orders: &Orders<'_>,
    teller: &mut Teller<'_>,
    Stage { jobs, kind }: Stage,
) -> Result<Option<StopReason>, Error> {
    let Orders { stop, monitor, tenancy, .. } = *orders;
    let budget = teller.budget;
    if let StageKind::Batch { pause } = kind
        && !pause.is_zero()
    {
        teller.observer.pause(pause);
        // The lock of the fleet is kept meanwhile.
        lock_monitor::while_running(db, monitor, tenancy, stop, |_| stop.pause(pause));
    }
    let is_canary = kind == StageKind::Canary;
    teller.compares = is_canary || teller.rollout.verify;
    let failed_before = teller.report.failed.len();
    let crew = Crew { orders, budget, compares: teller.compares };
    let rest = lock_monitor::while_running(db, monitor, tenancy, stop, |db| {
        workers::run(db, jobs, &crew, teller, stop, tenancy.limits().reconnect_for)
    })?;
    let is_through = rest.not_reached.is_empty();
    teller.report.not_reached.extend(rest.not_reached.into_iter().map(Job::into_name));
    let has_failures = teller.report.failed.len() > failed_before;
    Ok(match rest.lost {
        Some(error) => Some(StopReason::without_server(error, stop)),
        // Whatever else was too much: they must be well before the others are begun.
        None if is_canary && has_failures => Some(StopReason::Canary),
        None => budget.take_ended().or_else(|| (stop.is_requested() && !is_through).then_some(StopReason::Interrupted)),
    })
}

/// What the workers do.
struct Crew<'a> {
    orders: &'a Orders<'a>,
    budget: &'a Budget,
    /// Whether a tenant counts as done only when its structure was held against the reference.
    compares: bool,
}

impl Work for Crew<'_> {
    type Job = Job;
    type Outcome = Outcome;

    fn attempt(&self, session: &mut Session, job: &mut Job) -> Attempt<Outcome> {
        job.attempt(session, self.orders)
    }

    fn is_durable(&self) -> bool {
        self.orders.commit == Commit::Durable
    }

    fn most_untold(&self) -> usize {
        if self.compares { self.budget.most_untold() } else { usize::MAX }
    }

    fn ends(&self, job: &Job, outcome: &Outcome) -> bool {
        let to_compare = self.compares && matches!(outcome, Outcome::Applied(_));
        !to_compare && self.budget.count(job.name().as_str(), outcome)
    }
}

/// Makes outcomes certain, and puts them into the report.
struct Teller<'a> {
    tenancy: &'a Tenancy,
    run: Run,
    rollout: &'a Rollout,
    reference: Option<&'a Reference>,
    /// Whether the tenants of this stage are held against it.
    compares: bool,
    /// The tenants of the run, where they are held against it.
    names: HashSet<String>,
    budget: &'a Budget,
    report: Report,
    observer: &'a mut dyn Observer,
}

impl Listener<Job, Outcome> for Teller<'_> {
    /// After its commit each tenant's ledger is read again, by another session than the one that wrote it: a server that
    /// went down may have lost what was not durable, and a standby that took its place may never have had it.
    fn verify(&mut self, db: &mut Database, outcomes: &mut Vec<(Job, Outcome)>) -> Result<Vec<Job>, Error> {
        let set = self.tenancy.tenant_migrations();
        let reference = self.reference.filter(|_| self.compares);
        let done = |(job, outcome): &(Job, Outcome)| matches!(outcome, Outcome::Applied(_)).then(|| job.name().clone());
        let names: Vec<TenantName> = outcomes.iter().filter_map(done).collect();
        let mut drifted = HashMap::new();
        let mut found: HashMap<TenantName, Vec<String>> = HashMap::new();
        for chunk in names.chunks(CHUNK) {
            let schemas: Vec<&SchemaName> = chunk.iter().map(TenantName::schema).collect();
            if reference.is_none()
                && let Ok(ledgers) = ledger::read_chunk(db.connection(), &schemas)
            {
                found
                    .extend(chunk.iter().cloned().zip(ledgers).filter_map(|(name, ledger)| Some((name, ledger.ok()?))));
                continue;
            }
            // One that is gone meanwhile fails the statement for all.
            let fleet = Fleet::read_some(db.connection(), set, chunk)?;
            if let Some(reference) = reference {
                drifted.extend(self.drifted(db, &fleet, reference)?);
            }
            found.extend(fleet.tenants.into_iter().filter_map(|tenant| {
                let applied = tenant.ledger()?.applied.clone();
                Some((tenant.name, applied))
            }));
        }
        let is_so = |job: &Job| found.get(job.name()).is_some_and(|applied| job.is_reached(applied, set));
        let unlike = outcomes.iter().filter(|(job, outcome)| matches!(outcome, Outcome::Applied(_)) && !is_so(job));
        let unlike: Vec<&str> = unlike.map(|(job, _)| job.name().as_str()).collect();
        // A ledger that somebody has locked, or has changed since: the row that was written with the migrations tells.
        let recorded = self.run.done_among(db.connection(), &unlike)?;
        if reference.is_some() {
            let unread = names.iter().filter(|name| recorded.contains(name.as_str()) && !found.contains_key(*name));
            let why = || TenantError::NotCompared { why: "its ledger cannot be read".to_owned() };
            drifted.extend(unread.map(|name| (name.clone(), why())));
        }
        let mut again = Vec::new();
        for (mut job, outcome) in std::mem::take(outcomes) {
            let is_so = is_so(&job) || recorded.contains(job.name().as_str());
            match outcome {
                Outcome::Applied(_) if !is_so => {
                    job.mark_stale();
                    again.push(job);
                }
                Outcome::Applied(done) => {
                    let outcome = drifted.remove(job.name()).map_or(Outcome::Applied(done), Outcome::Failed);
                    if self.compares {
                        self.budget.count(job.name().as_str(), &outcome);
                    }
                    outcomes.push((job, outcome));
                }
                other => outcomes.push((job, other)),
            }
        }
        self.record(db, outcomes)?;
        Ok(again)
    }

    fn observer(&mut self) -> &mut dyn Observer {
        self.observer
    }

    fn ends(&self) -> bool {
        self.budget.is_spent()
    }

    fn tell(&mut self, job: Job, outcome: Outcome) {
        match outcome {
            Outcome::Applied(done) => {
                self.observer.done(done.tenant.as_str(), done.took);
                self.report.done.push(done);
            }
            Outcome::Nothing => self.report.unchanged.push(job.into_name()),
            Outcome::Failed(error) => {
                let failed = FailedTenant::new(&job.into_name(), error);
                self.observer.failed(&failed.tenant, &failed.error);
                self.report.failed.push(failed);
            }
        }
    }
}

impl Teller<'_> {
    /// Looks at tenants that there is nothing to do for.
    fn look_at(&mut self, db: &mut Database, unchanged: &Fleet) -> Result<(), Error> {
        let Some(reference) = self.reference.filter(|_| !unchanged.tenants.is_empty()) else { return Ok(()) };
        let drifted = self.drifted(db, unchanged, reference)?;
        let drifted: Vec<FailedTenant> =
            drifted.into_iter().map(|(name, error)| FailedTenant::new(&name, error)).collect();
        let rows: Vec<FailedRow<'_>> = drifted.iter().map(FailedRow::of_blocked).collect();
        self.run.record_failures(db.connection(), &rows)?;
        let names: HashSet<&str> = drifted.iter().map(|failed| failed.tenant.as_str()).collect();
        self.report.unchanged.retain(|unchanged| !names.contains(unchanged.as_str()));
        let canary = drifted.iter().any(|failed| self.rollout.is_canary(&failed.tenant));
        for failed in drifted {
            self.observer.failed(&failed.tenant, &failed.error);
            self.budget.count_failure(&failed.tenant, &failed.error);
            self.report.failed.push(failed);
        }
        self.report.ended = if canary { Some(StopReason::Canary) } else { self.budget.take_ended() };
        Ok(())
    }

    fn record(&self, db: &mut Database, outcomes: &[(Job, Outcome)]) -> Result<(), Error> {
        let failures: Vec<FailedRow<'_>> = outcomes
            .iter()
            .filter_map(|(job, outcome)| match outcome {
                Outcome::Failed(error) => Some(job.setbacks().failed_row(job.name().as_str(), job.from(), error)),
                Outcome::Applied(_) | Outcome::Nothing => None,
            })
            .collect();
        self.run.record_failures(db.connection(), &failures)
    }

    /// The tenants whose structure is not the reference's, with what is told of them.
    fn drifted(
        &self,
        db: &mut Database,
        fleet: &Fleet,
        reference: &Reference,
    ) -> Result<Vec<(TenantName, TenantError)>, Error> {
        let tenants: Vec<_> = fleet.tenants.iter().collect();
        let found = drift::check(db, self.tenancy, &tenants, reference, &self.names, Stamps::Ignore)?;
        let mut drifted = Vec::new();
        for group in found.groups {
            for member in group.members {
                let own_name = &member.own_name;
                let differences: Vec<String> = group
                    .differences
                    .iter()
                    .filter(|difference| difference.level.fails_by_default())
                    .filter(|difference| !self.rollout.accepted.accepts(member.name.as_str(), own_name, difference))
                    .map(|difference| format!("{} {}", difference.code(), difference.name(own_name)))
                    .collect();
                if !differences.is_empty() {
                    drifted.push((member.name, TenantError::Drifted { differences }));
                }
            }
        }
        for unchecked in found.unchecked {
            let error = |name| (name, TenantError::NotCompared { why: unchecked.why.clone() });
            drifted.extend(unchecked.tenants.into_iter().map(error));
        }
        Ok(drifted)
    }
}
