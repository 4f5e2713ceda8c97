//! What a run does for each tenant.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::{LockMonitor, RetryState};
use crate::database::{Database, Stop};
use crate::error::{Error, TenantError};
use crate::model::SchemaName;
use crate::postgres::{ServerMessage, Session};
use crate::record::runs::Run;
use crate::tenants::Tenancy;

/// When a commit is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commit {
    /// When it returns.
    Durable,
    /// With the next durable commit of any session. Nothing is reported before that.
    Deferred,
}

/// What all attempts of a run share.
pub(crate) struct RunContext<'a> {
    pub(crate) tenancy: &'a Tenancy,
    pub(crate) run: Run,
    pub(crate) commit: Commit,
    pub(crate) monitor: LockMonitor,
    pub(crate) stop: &'a Stop,
}

/// A tenant in the queue of a run.
pub(crate) trait Job: Send {
    /// The tenant's schema.
    fn schema(&self) -> &SchemaName;

    /// The attempts so far.
    fn retry_state(&self) -> &RetryState;

    /// The newest version in the tenant's ledger before the run.
    fn version_before(&self) -> Option<&str> {
        None
    }

    /// Prepares the job for another attempt after a server that crashed lost its commits.
    fn commit_lost(&mut self);
}

/// An operation on tenants: how one is attempted, and how its commit is verified.
pub(crate) trait Operation: Sync {
    type Job: Job;
    /// What is reported of a tenant that is done.
    type Done: Send;

    /// Attempts a job.
    fn attempt(&self, context: &RunContext<'_>, session: &mut Session, job: &mut Self::Job) -> Attempt<Self::Done>;

    /// Reads back tenants whose commits are durable, through another session than the one that committed.
    ///
    /// # Errors
    /// The error of the server. If the connection was lost, it is called again.
    fn verify(&self, context: &RunContext<'_>, db: &mut Database, done: &[&Self::Job]) -> Result<Verified, Error>;

    /// Whether [`verify`](Self::verify) may fail a tenant. Then a tenant that is done counts only once it is verified, and
    /// fewer tenants start before others are verified.
    fn may_fail_verification(&self) -> bool {
        false
    }
}

/// The result of [`Operation::verify`]. Tenants in neither set are verified.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    /// The tenants whose commits were lost. They are attempted again.
    pub(crate) lost: HashSet<SchemaName>,
    /// The tenants that fail although they were committed.
    pub(crate) failed: HashMap<SchemaName, TenantError>,
}

/// The final result of a tenant.
#[derive(Debug)]
pub(crate) enum Outcome<T> {
    Done(T),
    /// There was nothing to do.
    Unchanged,
    Failed(TenantError),
}

/// How an attempt ended.
pub(crate) enum Attempt<T> {
    Finished(Outcome<T>),
    /// The tenant is deferred and attempted again after this time.
    Retry(Duration),
    /// The connection was lost. The tenant is attempted again when the server is back.
    LostConnection(ServerMessage),
    /// The server accepts no writes. The tenant is attempted again when it does, or when another server has taken over.
    ReadOnly,
    /// The attempt was canceled by a request to stop.
    Canceled,
    /// The server cannot do any work. The run ends.
    Abort(Error),
}

impl<T> Attempt<T> {
    /// An attempt that is done.
    pub(crate) fn done(done: T) -> Self {
        Self::Finished(Outcome::Done(done))
    }

    /// An attempt whose tenant failed.
    pub(crate) fn failed(error: TenantError) -> Self {
        Self::Finished(Outcome::Failed(error))
    }

    /// The same attempt with the error of the tenant, if it failed, changed.
    pub(crate) fn map_error(self, change: impl FnOnce(TenantError) -> TenantError) -> Self {
        match self {
            Self::Finished(Outcome::Failed(error)) => Self::failed(change(error)),
            other => other,
        }
    }
}
