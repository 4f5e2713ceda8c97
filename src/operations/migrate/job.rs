//! A tenant in the queue of a run.

use diesel::pg::PgConnection;

use super::Done;
use super::apply::{self, Learned, Record, Setback, Work};
use super::batch::{Commit, Opening, TrackerRow};
use super::setbacks::Setbacks;
use super::target::Target;
use crate::database::Stop;
use crate::error::{Error, TenantError};
use crate::migration::{Direction, MigrationSet, Mode};
use crate::model::{State, TenantName};
use crate::postgres::Session;
use crate::record::runs::Run;
use crate::run::LockMonitor;
use crate::run::workers::Attempt;
use crate::tenants::ledger::Ledger;
use crate::tenants::{Tenancy, Tenant};

/// One tenant's work, and what became of it so far.
pub(crate) struct Job {
    task: Task,
    /// Read the tenant again before the next try.
    stale: bool,
    setbacks: Setbacks,
    /// What the ledger recorded at first.
    from: Option<Option<String>>,
}

enum Task {
    Create(TenantName, TrackerRow),
    Migrate(Tenant),
    /// The places in the set of the migrations to revert, newest first.
    Revert(Tenant, Vec<usize>),
}

/// What is left to do for a tenant that was read again.
pub(crate) enum Next {
    Work(Box<Job>),
    Nothing,
    Blocked(TenantError),
}

/// Reads a tenant again.
pub(crate) type Reread<'a> = dyn Fn(&mut PgConnection, &Tenancy, &TenantName) -> Result<Next, Error> + Sync + 'a;

/// What became of a tenant.
pub(crate) enum Outcome {
    Applied(Done),
    Nothing,
    Failed(TenantError),
}

/// What is the same for all jobs of a run.
pub(crate) struct Orders<'a> {
    pub(crate) tenancy: &'a Tenancy,
    pub(crate) run: Run,
    pub(crate) commit: Commit,
    /// Whether the server is behind a transaction pooler.
    pub(crate) pooler: bool,
    pub(crate) reread: &'a Reread<'a>,
    pub(crate) monitor: &'a LockMonitor,
    pub(crate) stop: &'a Stop,
    pub(crate) learned: &'a Learned,
}

impl Job {
    /// Makes the tenant's schema and runs all migrations in it.
    pub(crate) fn create(name: TenantName, row: TrackerRow) -> Self {
        Self::new(Task::Create(name, row))
    }

    /// Runs a tenant's pending migrations.
    pub(crate) fn migrate(tenant: Tenant) -> Self {
        Self::new(Task::Migrate(tenant))
    }

    /// Reverts migrations of a tenant, given by their places in the set, newest first.
    pub(crate) fn revert(tenant: Tenant, migrations: Vec<usize>) -> Self {
        Self::new(Task::Revert(tenant, migrations))
    }

    fn new(task: Task) -> Self {
        Self { task, stale: false, setbacks: Setbacks::default(), from: None }
    }

    /// The tenant.
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

    /// Whether some of its migrations are not transactional, and are applied in a session of their own.
    pub(crate) fn needs_a_session(&self, tenancy: &Tenancy) -> bool {
        let set = tenancy.tenant_migrations();
        let up = !matches!(self.task, Task::Revert(..));
        up && self.migrations(set).iter().any(|index| set.at(*index).mode() == Mode::NonTransactional)
    }

    /// The newest version in its ledger when it was first tried.
    pub(crate) fn from(&self) -> Option<&str> {
        self.from.as_ref().and_then(Option::as_deref)
    }

    /// What it has met so far.
    pub(crate) fn setbacks(&self) -> &Setbacks {
        &self.setbacks
    }

    /// Has it read again before the next try.
    pub(crate) fn mark_stale(&mut self) {
        self.stale = true;
    }

    /// The versions that the tenant's ledger records when the job is done.
    pub(crate) fn goal(&self, set: &MigrationSet) -> Vec<String> {
        let migrations = self.migrations(set);
        let mut applied: Vec<String> = self.ledger().map(|ledger| ledger.applied.clone()).unwrap_or_default();
        let version = |index: &usize| set.at(*index).version().as_str();
        match self.direction() {
            Direction::Up => applied.extend(migrations.iter().map(|index| version(index).to_owned())),
            Direction::Down => applied.retain(|applied| !migrations.iter().any(|index| version(index) == applied)),
        }
        applied.sort_unstable();
        applied
    }

    /// Whether a ledger that records `applied` is as the job would have it, whatever another run has done since.
    pub(crate) fn is_reached(&self, applied: &[String], set: &MigrationSet) -> bool {
        let has = |index: usize| applied.iter().any(|version| version == set.at(index).version().as_str());
        let mut migrations = self.migrations(set).into_iter();
        match self.direction() {
            Direction::Up => migrations.all(has),
            Direction::Down => !migrations.any(has),
        }
    }

    /// Tries to do it.
    pub(crate) fn attempt(&mut self, session: &mut Session, orders: &Orders<'_>) -> Attempt<Outcome> {
        let tenancy = orders.tenancy;
        let set = tenancy.tenant_migrations();
        let name = self.name().clone();
        let began = self.setbacks.begin(name.schema(), orders.monitor);
        if self.stale {
            match orders.run.done_among(session, &[name.as_str()]) {
                // The connection was lost, and the commit had come through. What others have made of it since is theirs.
                Ok(done) if done.contains(name.as_str()) => {
                    return Attempt::Done(Outcome::Applied(self.done(set, self.migrations(set).len())));
                }
                Ok(_) => {}
                Err(error) => return self.again(session, error.into(), orders),
            }
            match self.read_again(session, orders) {
                Ok(Next::Work(next)) => self.task = next.task,
                Ok(Next::Nothing) => return Attempt::Done(Outcome::Nothing),
                Ok(Next::Blocked(error)) => return Attempt::Done(Outcome::Failed(error)),
                Err(error) => return self.again(session, error.into(), orders),
            }
            self.stale = false;
        }
        let migrations = self.migrations(set);
        if self.from.is_none() {
            self.from = Some(self.ledger().and_then(|ledger| ledger.version().map(str::to_owned)));
        }
        let goal = self.goal(set);
        let record = Record {
            from: self.from(),
            to: goal.last().map(String::as_str),
            began,
            attempts: self.setbacks.attempts(),
        };
        let work = self.work(orders, &migrations, record);
        match apply::apply(session, &work) {
            Ok(()) => Attempt::Done(Outcome::Applied(self.done(set, migrations.len()))),
            Err(setback) => self.again(session, setback, orders),
        }
    }

    fn read_again(&self, session: &mut Session, orders: &Orders<'_>) -> Result<Next, Error> {
        let Task::Revert(_, migrations) = &self.task else {
            return (orders.reread)(session, orders.tenancy, self.name());
        };
        // What was to be reverted at first, and nothing older.
        super::revert::reread(session, orders.tenancy, self.name(), migrations)
    }

    /// Decides whether there is another try. It is read again before: another session may have done it.
    fn again(&mut self, session: &mut Session, setback: Setback, orders: &Orders<'_>) -> Attempt<Outcome> {
        self.stale = true;
        let Orders { tenancy, monitor, stop, .. } = *orders;
        let name = self.name().clone();
        self.setbacks.next(session, setback, name.schema(), tenancy, monitor, stop).map(Outcome::Failed)
    }

    fn done(&self, set: &MigrationSet, applied: usize) -> Done {
        Done {
            tenant: self.name().clone(),
            from: self.from().map(str::to_owned),
            to: self.goal(set).pop(),
            applied,
            attempts: self.setbacks.attempts(),
            took: self.setbacks.took(),
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
            Task::Migrate(tenant) => tenant.pending(set),
            Task::Revert(_, migrations) => migrations.clone(),
        }
    }

    fn work<'a>(&'a self, orders: &'a Orders<'_>, migrations: &'a [usize], record: Record<'a>) -> Work<'a> {
        let (opening, state, unfinished) = match &self.task {
            Task::Create(_, row) => (Opening::Create { row: *row }, State::Creating, None),
            Task::Migrate(tenant) | Task::Revert(tenant, _) => {
                (Opening::of(tenant), tenant.state, tenant.unfinished.as_ref())
            }
        };
        let target = Target::tenant(orders.tenancy, self.name().schema(), Some(orders.run));
        let Orders { commit, pooler, learned, .. } = *orders;
        let direction = self.direction();
        Work { target, opening, direction, migrations, state, unfinished, commit, pooler, record, learned }
    }
}
