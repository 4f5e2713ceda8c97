//! A tenant in the queue of a run.

use std::time::{Duration, Instant};

use diesel::pg::PgConnection;

use super::Done;
use super::apply::{self, Setback, Work};
use super::batch::{Commit, Opening, Target, TrackerRow};
use crate::error::Error;
use crate::failure::TenantError;
use crate::fleet::{Schema, Tenant};
use crate::migration::{MigrationSet, Mode};
use crate::name::TenantName;
use crate::postgres::Session;
use crate::tenancy::Tenancy;
use crate::tracker::State;
use crate::workers::Attempt;

/// How long a run waits for another that is working on a tenant.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a tenant is read again after it was found changed, or after the connection was lost.
const READS: u32 = 5;

/// One tenant's work, and what became of it so far.
pub(crate) struct Job {
    task: Task,
    /// Read the tenant again before the next try.
    stale: bool,
    reads: u32,
    busy_since: Option<Instant>,
    began: Option<Instant>,
    /// What the ledger recorded at first.
    from: Option<Option<String>>,
    /// How many migrations were under way when the connection was lost.
    in_doubt: Option<usize>,
}

enum Task {
    Create(TenantName, TrackerRow),
    Migrate(Tenant),
}

/// What is left to do for a tenant that was read again.
pub(crate) enum Next {
    Work(Box<Job>),
    Nothing,
    Blocked(TenantError),
}

/// Reads a tenant again.
pub(crate) type Reread = dyn Fn(&mut PgConnection, &Tenancy, &TenantName) -> Result<Next, Error> + Sync;

/// What became of a tenant.
pub(crate) enum Outcome {
    Applied(Done),
    Nothing,
    Failed(TenantError),
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

    fn new(task: Task) -> Self {
        Self { task, stale: false, reads: 0, busy_since: None, began: None, from: None, in_doubt: None }
    }

    /// The tenant.
    pub(crate) fn name(&self) -> &TenantName {
        match &self.task {
            Task::Create(name, _) => name,
            Task::Migrate(tenant) => &tenant.name,
        }
    }

    pub(crate) fn into_name(self) -> TenantName {
        match self.task {
            Task::Create(name, _) => name,
            Task::Migrate(tenant) => tenant.name,
        }
    }

    /// Whether some of its migrations are not transactional.
    pub(crate) fn needs_a_session(&self, tenancy: &Tenancy) -> bool {
        let set = tenancy.tenant_migrations();
        self.pending(set).iter().any(|index| set.at(*index).mode() == Mode::NonTransactional)
    }

    /// Tries to do it.
    pub(crate) fn attempt(
        &mut self,
        session: &mut Session,
        tenancy: &Tenancy,
        commit: Commit,
        pooler: bool,
        reread: &Reread,
    ) -> Attempt<Outcome> {
        let began = *self.began.get_or_insert_with(Instant::now);
        if self.stale {
            match reread(session, tenancy, self.name()) {
                Ok(Next::Work(next)) => self.task = next.task,
                // The connection was lost, and the commit had come through.
                Ok(Next::Nothing | Next::Blocked(TenantError::AlreadyTracked { .. })) if self.in_doubt.is_some() => {
                    let applied = self.in_doubt.unwrap_or_default();
                    return Attempt::Done(Outcome::Applied(self.done(tenancy, applied, began.elapsed())));
                }
                Ok(Next::Nothing) => return Attempt::Done(Outcome::Nothing),
                Ok(Next::Blocked(error)) => return Attempt::Done(Outcome::Failed(error)),
                Err(Error::Query { message, lost: true, .. }) => return self.again(session, Setback::Lost(message)),
                Err(Error::Query { message, .. }) => {
                    return Attempt::Done(Outcome::Failed(TenantError::Server(message)));
                }
                Err(_) => return Attempt::Done(Outcome::Failed(TenantError::Unsettled)),
            }
            self.stale = false;
        }
        let pending = self.pending(tenancy.tenant_migrations());
        self.from.get_or_insert_with(|| match &self.task {
            Task::Create(..) => None,
            Task::Migrate(tenant) => tenant.ledger().and_then(|ledger| ledger.version().map(str::to_owned)),
        });
        let work = self.work(tenancy, &pending, commit, pooler);
        match apply::apply(session, &work) {
            Ok(()) => Attempt::Done(Outcome::Applied(self.done(tenancy, pending.len(), began.elapsed()))),
            Err(setback) => {
                if matches!(setback, Setback::Lost(_)) {
                    self.in_doubt = Some(pending.len());
                }
                self.again(session, setback)
            }
        }
    }

    /// Decides whether there is another try.
    fn again(&mut self, session: &mut Session, setback: Setback) -> Attempt<Outcome> {
        let error = match setback {
            Setback::Failed(error) => return Attempt::Done(Outcome::Failed(error)),
            Setback::Busy => {
                let since = *self.busy_since.get_or_insert_with(Instant::now);
                // It is read again before: the other session may have done it.
                self.stale = true;
                match since.elapsed() < PATIENCE {
                    true => return Attempt::Later,
                    false => TenantError::Busy,
                }
            }
            Setback::Changed | Setback::Edited => TenantError::Unsettled,
            Setback::Lost(message) => {
                session.spend();
                TenantError::ConnectionLost(message)
            }
        };
        self.stale = true;
        self.reads += 1;
        match self.reads <= READS && !matches!(error, TenantError::Busy) {
            true => Attempt::Later,
            false => Attempt::Done(Outcome::Failed(error)),
        }
    }

    fn done(&self, tenancy: &Tenancy, applied: usize, took: Duration) -> Done {
        Done {
            tenant: self.name().clone(),
            from: self.from.clone().flatten(),
            to: tenancy.tenant_migrations().iter().next_back().map(|last| last.version().as_str().to_owned()),
            applied,
            took,
        }
    }

    fn pending(&self, set: &MigrationSet) -> Vec<usize> {
        match &self.task {
            Task::Migrate(Tenant { schema: Schema::Ledger { ledger, .. }, .. }) => ledger.pending.clone(),
            _ => (0..set.len()).collect(),
        }
    }

    fn work<'a>(&'a self, tenancy: &'a Tenancy, pending: &'a [usize], commit: Commit, pooler: bool) -> Work<'a> {
        let set = tenancy.tenant_migrations();
        let (opening, state, unfinished) = match &self.task {
            Task::Create(_, row) => {
                let at_once = apply::is_one_transaction(set, pending);
                let state = if at_once { State::Active } else { State::Creating };
                (Opening::Create { row: *row, state }, State::Creating, None)
            }
            Task::Migrate(tenant) => {
                let opening = match tenant.ledger() {
                    Some(ledger) => Opening::Continue { applied: ledger.applied.clone() },
                    None => Opening::Begin,
                };
                (opening, tenant.state, tenant.unfinished.as_ref())
            }
        };
        let target = Target::tenant(tenancy, self.name().schema());
        Work { target, opening, pending, state, unfinished, commit, pooler }
    }
}
