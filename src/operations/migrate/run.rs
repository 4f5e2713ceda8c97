//! A run that applies or reverts migrations, in the stages of its rollout.

use std::collections::HashSet;

use super::apply::{Guards, Learned};
use super::job::MigrationContext;
use super::rollout::{Stage, StageKind};
use super::verify::{ReferenceCheck, verify};
use super::{Done, MigrationJob, Report, Reread, Rollout, StopReason};
use crate::database::{Database, Stop};
use crate::error::{Error, FailedTenant};
use crate::model::TenantName;
use crate::postgres::Session;
use crate::record::integrity;
use crate::record::runs::{Counts, Run};
use crate::run::{Attempt, FailureBudget, Observer, Operation, RunContext, Runner, Verified};
use crate::schema::snapshot::{self, Sources};
use crate::tenants::{Fleet, Tenancy};

/// The number of existing tenants from which on the guards are prepared. When schemas are created, the server plans prepared
/// statements again.
const MIN_PREPARED: usize = 50;

/// The input of [`run_jobs`].
pub(crate) struct RunJobs<'a> {
    /// The command in the record of the run, unless the actor has one.
    pub(crate) command: &'static str,
    pub(crate) jobs: Vec<MigrationJob>,
    /// How tenants are created.
    pub(crate) method: CreationMethod,
    /// Plans again for a tenant that was changed.
    pub(crate) reread: &'a Reread<'a>,
    pub(crate) rollout: &'a Rollout,
    pub(crate) stop: &'a Stop,
    /// The tenants that need no job.
    pub(crate) report: Report,
}

/// How tenants are created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CreationMethod {
    /// From a snapshot of what the migrations produce, if there are many migrations and the snapshot is proven; otherwise by
    /// a replay.
    #[default]
    Snapshot,
    /// By applying each migration.
    Replay,
}

/// Runs jobs and reports on all tenants.
pub(crate) fn run_jobs(
    db: &mut Database,
    tenancy: &Tenancy,
    mut input: RunJobs<'_>,
    observer: &mut dyn Observer,
) -> Result<Report, Error> {
    let report = &mut input.report;
    let budget = input.rollout.budget(input.jobs.len(), report.failed.len());
    let to_compare = input.rollout.unchanged_to_compare(&report.unchanged);
    let mut report = if let Some(reason) = budget.take_stop_reason() {
        report.not_reached = input.jobs.into_iter().map(MigrationJob::into_name).collect();
        report.ended = Some(reason);
        input.report
    } else if input.jobs.is_empty() && to_compare.is_empty() {
        input.report
    } else {
        run(db, tenancy, input, budget, &to_compare, observer)?
    };
    report.sort();
    Ok(report)
}

fn run(
    db: &mut Database,
    tenancy: &Tenancy,
    input: RunJobs<'_>,
    budget: FailureBudget,
    to_compare: &[TenantName],
    observer: &mut dyn Observer,
) -> Result<Report, Error> {
    let RunJobs { command, jobs, method, reread, rollout, stop, mut report } = input;
    db.require_free_connection()?;
    integrity::record(db, tenancy)?;
    let to_compare = if to_compare.is_empty() {
        Fleet::default()
    } else {
        Fleet::read_some(db.connection(), tenancy.tenant_migrations(), to_compare)?
    };
    let created = jobs.iter().filter(|job| !job.has_tenant()).count();
    let sources = match method {
        CreationMethod::Snapshot if created > 0 => Some(snapshot::sources(db, tenancy, created)?),
        CreationMethod::Replay if created > 0 => {
            Some(Sources { snapshot: Err("a replay was requested".to_owned()), spares: Vec::new() })
        }
        CreationMethod::Snapshot | CreationMethod::Replay => None,
    };
    let check = ReferenceCheck::prepare(db, tenancy, rollout, &jobs, &report.unchanged, &to_compare)?;
    let needs_session = jobs.iter().any(|job| job.needs_session(tenancy));
    let pooler = needs_session && !db.connector().has_dedicated_session()?;
    // Detecting a pooler takes a connection.
    let existing = jobs.iter().filter(|job| job.has_tenant()).count();
    let guards = if existing >= MIN_PREPARED && db.connector().honors_startup_options() {
        Guards::Prepared
    } else {
        Guards::Inline
    };
    let run = Run::begin(db, command)?;
    report.run = Some(run.id());
    let runner = Runner::new(tenancy, run, jobs.len(), stop, budget);
    observer.begin(jobs.len());
    runner.record_blocked(db, &report.failed)?;
    report.failed.iter().for_each(|failed| observer.failed(&failed.tenant, &failed.error));
    let context = MigrationContext { pooler, guards, reread, sources, learned: Learned::default() };
    let mut rollout = MigrationRun { runner: &runner, context, rollout, check, report, observer };
    let result = rollout.compare_unchanged(db, &to_compare).and_then(|()| rollout.stages(db, jobs));
    let MigrationRun { context, report, .. } = rollout;
    let prewarmed = context.learned.prewarmed();
    let created_from = context.created_from().filter(|_| prewarmed < created);
    let report = Report { created_from, prewarmed, ..report };
    let counts = Counts::of(report.done.len(), report.unchanged.len(), &report.failed, report.not_reached.len());
    runner.end(db, report.ended.as_ref(), counts);
    result.map(|()| report)
}

/// A recorded run.
struct MigrationRun<'a> {
    runner: &'a Runner<'a>,
    context: MigrationContext<'a>,
    rollout: &'a Rollout,
    check: Option<ReferenceCheck<'a>>,
    report: Report,
    observer: &'a mut dyn Observer,
}

impl MigrationRun<'_> {
    /// Compares tenants without pending migrations with the reference.
    fn compare_unchanged(&mut self, db: &mut Database, unchanged: &Fleet) -> Result<(), Error> {
        let Some(check) = &self.check else { return Ok(()) };
        if unchanged.tenants.is_empty() {
            return Ok(());
        }
        let drifted = check.failures(db, unchanged)?;
        let drifted: Vec<FailedTenant> =
            drifted.into_iter().map(|(name, error)| FailedTenant::new(&name, error)).collect();
        self.runner.record_blocked(db, &drifted)?;
        let names: HashSet<&str> = drifted.iter().map(|failed| failed.tenant.as_str()).collect();
        self.report.unchanged.retain(|unchanged| !names.contains(unchanged.as_str()));
        let is_canary = drifted.iter().any(|failed| self.rollout.is_unchanged_canary(&failed.tenant));
        for failed in drifted {
            self.observer.failed(&failed.tenant, &failed.error);
            self.runner.budget().count_failure(&failed.tenant, &failed.error);
            self.report.failed.push(failed);
        }
        self.report.ended = if is_canary { Some(StopReason::Canary) } else { self.runner.budget().take_stop_reason() };
        Ok(())
    }

    /// Runs the stages until one of them stops the run.
    fn stages(&mut self, db: &mut Database, jobs: Vec<MigrationJob>) -> Result<(), Error> {
        let mut stages = self.rollout.stages(jobs).into_iter();
        while self.report.ended.is_none()
            && let Some(stage) = stages.next()
        {
            self.report.ended = self.stage(db, stage)?;
        }
        let rest = stages.flat_map(|stage| stage.jobs).map(MigrationJob::into_name);
        self.report.not_reached.extend(rest);
        if self.report.not_reached.is_empty() && !matches!(self.report.ended, Some(StopReason::Lost(_))) {
            // The reason came when no tenant was left to start.
            self.report.ended = None;
        }
        Ok(())
    }

    /// Runs a stage. Returns the reason if the run stops after it.
    fn stage(&mut self, db: &mut Database, stage: Stage) -> Result<Option<StopReason>, Error> {
        let Stage { jobs, kind, pause } = stage;
        self.runner.pause(db, pause, self.observer);
        let is_canary = kind == StageKind::Canary;
        let check = if is_canary || self.rollout.verify { self.check.as_ref() } else { None };
        let operation = ApplyMigrations { context: &self.context, check };
        let mut stage = self.runner.run(db, &operation, jobs, self.observer)?;
        let reason = if is_canary && stage.lost.is_none() && !stage.failed.is_empty() {
            Some(StopReason::Canary)
        } else {
            self.runner.stop_reason(&mut stage)
        };
        self.report.done.append(&mut stage.done);
        self.report.unchanged.extend(stage.unchanged.into_iter().map(MigrationJob::into_name));
        self.report.failed.append(&mut stage.failed);
        self.report.not_reached.extend(stage.not_reached.into_iter().map(MigrationJob::into_name));
        Ok(reason)
    }
}

/// Applies or reverts migrations.
struct ApplyMigrations<'a> {
    context: &'a MigrationContext<'a>,
    /// Present if the tenants of the stage are compared with the reference.
    check: Option<&'a ReferenceCheck<'a>>,
}

impl Operation for ApplyMigrations<'_> {
    type Job = MigrationJob;
    type Done = Done;

    fn attempt(&self, context: &RunContext<'_>, session: &mut Session, job: &mut MigrationJob) -> Attempt<Done> {
        job.attempt(context, self.context, session)
    }

    fn verify(&self, context: &RunContext<'_>, db: &mut Database, done: &[&MigrationJob]) -> Result<Verified, Error> {
        verify(context, db, done, self.check)
    }

    fn may_fail_verification(&self) -> bool {
        self.check.is_some()
    }
}
