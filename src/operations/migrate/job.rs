//! A tenant in the queue of a run that applies or reverts migrations.

use diesel::pg::PgConnection;

use super::Done;
use super::apply::{self, Guards, Learned, MigrationRequest, RunRow};
use super::batch::{Precondition, TrackerRow};
use super::repeatables::with_all_repeatable;
use super::target::SchemaTarget;
use crate::migration::{Direction, MigrationSet, Mode};
use crate::model::{SchemaName, State, TenantName};
use crate::postgres::Session;
use crate::run::{self, Attempt, AttemptError, Outcome, RetryState, RunContext};
use crate::schema::snapshot::{CreatedFrom, Sources};
use crate::tenants::ledger::Ledger;
use crate::tenants::{Tenancy, Tenant};

/// A tenant to create, to migrate or to revert.
pub(crate) struct MigrationJob {
    task: Task,
    /// Whether the tenant must be read again before the next attempt, because another session may have changed it.
    is_stale: bool,
    retry: RetryState,
    /// The newest version in the ledger before the first attempt; `None` before it is known.
    from: Option<Option<String>>,
}

enum Task {
    Create(TenantName, TrackerRow),
    Migrate(Tenant),
    /// With the places in the set of the migrations to revert, newest first.
    Revert(Tenant, Vec<usize>),
}

/// Reads a tenant again and plans for it; `None` if nothing is left to do.
pub(crate) type Reread<'a> =
    dyn Fn(&mut PgConnection, &Tenancy, &TenantName) -> Result<Option<MigrationJob>, AttemptError> + Sync + 'a;

/// What the attempts need beside the context of the run.
pub(super) struct MigrationContext<'a> {
    /// Whether the server is behind a transaction pooler.
    pub(super) pooler: bool,
    pub(super) guards: Guards,
    pub(super) reread: &'a Reread<'a>,
    /// What tenants are created from; `None` if none is created.
    pub(super) sources: Option<Sources>,
    pub(super) learned: Learned,
}

impl MigrationContext<'_> {
    /// How the tenants were created that took no spare schema; `None` if none had to be created.
    pub(super) fn created_from(&self) -> Option<CreatedFrom> {
        let reason = match &self.sources.as_ref()?.snapshot {
            Err(reason) => reason.clone(),
            Ok(_) => match self.learned.snapshot_failure() {
                Some(message) => format!("the script of the snapshot failed: {message}"),
                None => return Some(CreatedFrom::Snapshot { except: self.learned.snapshot_exception() }),
            },
        };
        Some(CreatedFrom::Migrations { reason })
    }
}

impl run::Job for MigrationJob {
    fn schema(&self) -> &SchemaName {
        self.name().schema()
    }

    fn retry_state(&self) -> &RetryState {
        &self.retry
    }

    fn version_before(&self) -> Option<&str> {
        self.from.as_ref().and_then(Option::as_deref)
    }

    fn commit_lost(&mut self) {
        self.is_stale = true;
    }
}

impl MigrationJob {
    /// Creates the tenant's schema and applies all migrations.
    pub(crate) fn create(name: TenantName, row: TrackerRow) -> Self {
        Self::new(Task::Create(name, row))
    }

    /// Applies a tenant's pending migrations.
    pub(crate) fn migrate(tenant: Tenant) -> Self {
        Self::new(Task::Migrate(tenant))
    }

    /// Reverts migrations of a tenant, given by their places in the set, newest first.
    pub(crate) fn revert(tenant: Tenant, migrations: Vec<usize>) -> Self {
        Self::new(Task::Revert(tenant, migrations))
    }

    fn new(task: Task) -> Self {
        Self { task, is_stale: false, retry: RetryState::default(), from: None }
    }

    /// The tenant's name.
    pub(crate) fn name(&self) -> &TenantName {
        match &self.task {
            Task::Create(name, _) => name,
            Task::Migrate(tenant) | Task::Revert(tenant, _) => &tenant.name,
        }
    }

    pub(crate) fn into_name(self) -> TenantName {
        match self.task {
            Task::Create(name, _) => name,
            Task::Migrate(tenant) | Task::Revert(tenant, _) => tenant.name,
        }
    }

    /// Whether the tenant exists.
    pub(super) fn has_tenant(&self) -> bool {
        !matches!(self.task, Task::Create(..))
    }

    /// Whether some of the migrations to apply are not transactional, and need a session that no pooler shares.
    pub(super) fn needs_session(&self, tenancy: &Tenancy) -> bool {
        let set = tenancy.tenant_migrations();
        self.direction() == Direction::Up
            && self.migrations(set).iter().any(|index| set.at(*index).mode() == Mode::NonTransactional)
    }

    /// The effective versions of the tenant when the job is done.
    pub(super) fn goal(&self, set: &MigrationSet) -> Vec<String> {
        let migrations = self.migrations(set);
        let mut applied: Vec<String> = self.ledger().map(|ledger| ledger.effective.clone()).unwrap_or_default();
        applied.retain(|version| !migrations.iter().any(|index| set.at(*index).version().as_str() == version));
        let version = |index: &usize| set.at(*index).version().as_str();
        match self.direction() {
            Direction::Up => applied.extend(migrations.iter().map(|index| version(index).to_owned())),
            Direction::Down => applied.retain(|applied| !migrations.iter().any(|index| version(index) == applied)),
        }
        applied.sort_unstable();
        applied
    }

    /// Whether a ledger with these versions shows that the job is done, whatever another run has done since.
    pub(super) fn is_reached(&self, applied: &[String], set: &MigrationSet) -> bool {
        let is_applied = |index: usize| applied.iter().any(|version| version == set.at(index).version().as_str());
        let mut migrations = self.migrations(set).into_iter().filter(|index| !set.at(*index).is_repeatable());
        match self.direction() {
            Direction::Up => migrations.all(is_applied),
            Direction::Down => !migrations.any(is_applied),
        }
    }

    /// Attempts the job.
    pub(super) fn attempt(
        &mut self,
        context: &RunContext<'_>,
        migration: &MigrationContext<'_>,
        session: &mut Session,
    ) -> Attempt<Done> {
        let schema = self.name().schema().clone();
        self.retry.begin(&schema, &context.monitor);
        match self.try_once(context, migration, session) {
            Ok(outcome) => Attempt::Finished(outcome),
            Err(error) => {
                // Another session may have done it.
                self.is_stale = true;
                self.retry.after(error, context, session, &schema)
            }
        }
    }

    fn try_once(
        &mut self,
        context: &RunContext<'_>,
        migration: &MigrationContext<'_>,
        session: &mut Session,
    ) -> Result<Outcome<Done>, AttemptError> {
        let set = context.tenancy.tenant_migrations();
        if self.is_stale {
            let name = self.name().as_str();
            if context.run.done_among(session, &[name])?.contains(name) {
                // The commit succeeded before the connection was lost. Later changes by others do not count.
                return Ok(Outcome::Done(self.done(set)));
            }
            match self.reread(context, migration, session)? {
                Some(job) => self.task = job.task,
                None => return Ok(Outcome::Unchanged),
            }
            self.is_stale = false;
        }
        if self.from.is_none() {
            self.from = Some(self.ledger().and_then(|ledger| ledger.version().map(str::to_owned)));
        }
        let migrations = self.migrations(set);
        let goal = self.goal(set);
        let request = self.request(context, migration, &migrations, newest_of(set, &goal));
        apply::apply(session, &request)?;
        Ok(Outcome::Done(self.done(set)))
    }

    fn reread(
        &self,
        context: &RunContext<'_>,
        migration: &MigrationContext<'_>,
        session: &mut Session,
    ) -> Result<Option<Self>, AttemptError> {
        match &self.task {
            Task::Create(..) | Task::Migrate(_) => (migration.reread)(session, context.tenancy, self.name()),
            // The migrations that were planned at first, and none before them.
            Task::Revert(_, migrations) => super::revert::reread(session, context.tenancy, self.name(), migrations),
        }
    }

    fn done(&self, set: &MigrationSet) -> Done {
        Done {
            tenant: self.name().clone(),
            from: run::Job::version_before(self).map(str::to_owned),
            to: newest_of(set, &self.goal(set)).map(str::to_owned),
            applied: self.migrations(set).len(),
            attempts: self.retry.attempts(),
            took: self.retry.took(),
        }
    }

    fn direction(&self) -> Direction {
        match self.task {
            Task::Create(..) | Task::Migrate(_) => Direction::Up,
            Task::Revert(..) => Direction::Down,
        }
    }

    fn ledger(&self) -> Option<&Ledger> {
        match &self.task {
            Task::Create(..) => None,
            Task::Migrate(tenant) | Task::Revert(tenant, _) => tenant.ledger(),
        }
    }

    /// The places in the set of the migrations to apply or to revert.
    fn migrations(&self, set: &MigrationSet) -> Vec<usize> {
        match &self.task {
            Task::Create(..) => (0..set.len()).collect(),
            Task::Migrate(tenant) => with_all_repeatable(tenant.pending(set), set),
            Task::Revert(_, migrations) => migrations.clone(),
        }
    }

    fn request<'a>(
        &'a self,
        context: &'a RunContext<'_>,
        migration: &'a MigrationContext<'_>,
        migrations: &'a [usize],
        to: Option<&'a str>,
    ) -> MigrationRequest<'a> {
        let (precondition, state, unfinished) = match &self.task {
            Task::Create(_, row) => (Precondition::NoSchema { row: *row }, State::Creating, None),
            Task::Migrate(tenant) | Task::Revert(tenant, _) => {
                (Precondition::of(tenant), tenant.state, tenant.unfinished.as_ref())
            }
        };
        let (from, began, attempts) = (run::Job::version_before(self), self.retry.began(), self.retry.attempts());
        MigrationRequest {
            target: SchemaTarget::tenant(context.tenancy, self.name().schema(), Some(context.run)),
            precondition,
            direction: self.direction(),
            migrations,
            state,
            unfinished,
            commit: context.commit,
            pooler: migration.pooler,
            guards: migration.guards,
            row: RunRow { from, to, began, attempts },
            sources: migration.sources.as_ref().filter(|_| matches!(self.task, Task::Create(..))),
            learned: &migration.learned,
        }
    }
}

/// The newest of these versions that a ledger records.
fn newest_of<'a>(set: &MigrationSet, versions: &'a [String]) -> Option<&'a str> {
    let is_repeatable = |version: &str| set.position(version).is_some_and(|index| set.at(index).is_repeatable());
    versions.iter().rev().map(String::as_str).find(|version| !is_repeatable(version))
}
