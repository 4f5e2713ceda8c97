//! Retries: what the error of an attempt means, and whether and when the tenant is attempted again.

use std::time::{Duration, Instant};

use diesel::result::Error as DieselError;

use super::{Attempt, LockMonitor, RunContext};
use crate::error::{Contention, Error, MigrationFailure, TenantError};
use crate::model::SchemaName;
use crate::postgres::{self, Condition, GuardViolation, LockHolder, ServerMessage, Session};
use crate::record::integrity;
use crate::record::runs::{DoneRow, FailedRow};
use crate::tenants::{Tenancy, lock_key};

/// The maximum number of times that a changed tenant is read again, and of lost connections per tenant: a migration may
/// be what crashes the server.
const MAX_REREADS: u32 = 5;

/// The first and the longest pause after a lock timeout, a deadlock or a serialization failure.
const CONTENTION_PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// The first and the longest pause while another session holds the tenant's lock.
const LOCKED_PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Why an attempt did not finish. Its transaction was rolled back, or the connection was lost.
pub(crate) enum AttemptError {
    /// Another session holds the tenant's lock.
    TenantLocked,
    /// Another session holds the lock of the recorded migrations.
    RecordLocked,
    /// The tenant changed after it was read.
    Changed,
    /// A migration differs from its record.
    NotRecorded,
    /// Other sessions blocked the transaction.
    Contention(Contention, ServerMessage),
    /// The statement was canceled.
    Canceled(ServerMessage),
    /// The connection was lost. The transaction may have been committed.
    ConnectionLost(ServerMessage),
    /// The server accepts no writes.
    ReadOnly,
    /// The server cannot do any work, for this tenant or another.
    Fatal(Error),
    /// The tenant failed, and another attempt would fail, too.
    Failed(TenantError),
}

impl AttemptError {
    /// Classifies an error of the server.
    ///
    /// # Errors
    /// Returns the server's message if the error alone does not determine what follows for the attempt.
    pub(crate) fn classify(error: &DieselError) -> Result<Self, ServerMessage> {
        let server = ServerMessage::from(error);
        match GuardViolation::from_message(&server.message) {
            Some(GuardViolation::Busy) => return Ok(Self::TenantLocked),
            Some(GuardViolation::RecordLocked) => return Ok(Self::RecordLocked),
            // A search path leads elsewhere if the schema was dropped. Reading the tenant again finds that.
            Some(GuardViolation::Changed | GuardViolation::WrongSchema) => return Ok(Self::Changed),
            Some(GuardViolation::NotRecorded) => return Ok(Self::NotRecorded),
            // The caller finds the migration that caused these.
            Some(
                GuardViolation::Edited
                | GuardViolation::Outside
                | GuardViolation::NeedsThoroughCheck
                | GuardViolation::LedgerMismatch
                | GuardViolation::NoSpare,
            ) => {
                return Err(server);
            }
            None => {}
        }
        match Condition::of(error) {
            None | Some(Condition::OutOfSharedMemory) => Err(server),
            Some(Condition::ConnectionLost) => Ok(Self::ConnectionLost(server)),
            Some(Condition::LockTimeout) => Ok(Self::Contention(Contention::LockTimeout, server)),
            Some(Condition::Deadlock) => Ok(Self::Contention(Contention::Deadlock, server)),
            Some(Condition::Serialization) => Ok(Self::Contention(Contention::Serialization, server)),
            Some(Condition::Canceled) => Ok(Self::Canceled(server)),
            Some(Condition::ReadOnly) => Ok(Self::ReadOnly),
            Some(Condition::DiskFull) => Ok(Self::Fatal(Error::ServerFault { message: server })),
        }
    }
}

impl AttemptError {
    /// The pause before the next attempt, after this number of attempts with the same error. `None` if another attempt would
    /// fail, too, or needs a new connection.
    pub(crate) fn pause(&self, attempts: u32) -> Option<Duration> {
        match self {
            Self::Contention(..) => Some(contention_pause(attempts)),
            Self::TenantLocked | Self::RecordLocked | Self::Changed | Self::NotRecorded => Some(locked_pause(attempts)),
            Self::Canceled(_) | Self::ConnectionLost(_) | Self::ReadOnly | Self::Fatal(_) | Self::Failed(_) => None,
        }
    }
}

/// The error of a statement of tenantry's own, whose cause needs no search.
impl From<&DieselError> for AttemptError {
    fn from(error: &DieselError) -> Self {
        Self::classify(error).unwrap_or_else(|server| Self::Failed(TenantError::Server(server)))
    }
}

/// The error of reading a tenant again.
impl From<Error> for AttemptError {
    fn from(error: Error) -> Self {
        match error {
            Error::Postgres(postgres::Error::Query { message, lost: true, .. }) => Self::ConnectionLost(message),
            Error::Postgres(postgres::Error::Query { message, .. }) => Self::Failed(TenantError::Server(message)),
            _ => Self::Failed(TenantError::ConcurrentlyChanged),
        }
    }
}

impl From<TenantError> for AttemptError {
    fn from(error: TenantError) -> Self {
        Self::Failed(error)
    }
}

impl From<MigrationFailure> for AttemptError {
    fn from(failure: MigrationFailure) -> Self {
        Self::Failed(TenantError::Migration(Box::new(failure)))
    }
}

/// The attempts at one tenant so far.
#[derive(Debug, Default)]
pub(crate) struct RetryState {
    attempts: u32,
    /// When the first attempt began.
    began: Option<Instant>,
    /// Since when another session holds the tenant's lock, and how many attempts found that.
    locked: Option<(Instant, u32)>,
    contentions: u32,
    lost_connections: u32,
    rereads: u32,
}

impl RetryState {
    /// Counts an attempt that begins.
    pub(crate) fn begin(&mut self, schema: &SchemaName, monitor: &LockMonitor) {
        monitor.forget(schema);
        self.attempts += 1;
        self.began.get_or_insert_with(Instant::now);
    }

    /// When the first attempt began.
    pub(crate) fn began(&self) -> Instant {
        self.began.unwrap_or_else(Instant::now)
    }

    /// The number of attempts.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The time since the first attempt began.
    pub(crate) fn took(&self) -> Duration {
        self.began.map_or(Duration::ZERO, |began| began.elapsed())
    }

    /// The row of `public.schema_run_tenant` for a tenant whose last transaction begins now.
    pub(crate) fn done_row<'a>(&self, from: Option<&'a str>, to: Option<&'a str>) -> DoneRow<'a> {
        DoneRow { from, to, before: self.took(), attempts: self.attempts }
    }

    /// The row of `public.schema_run_tenant` for a tenant that failed.
    pub(crate) fn failed_row<'a>(
        &self,
        tenant: &'a str,
        from: Option<&'a str>,
        error: &'a TenantError,
    ) -> FailedRow<'a> {
        FailedRow { tenant, from, took: self.took(), attempts: self.attempts, error }
    }

    /// Resets the counts that limit the retries, because a part of the work was committed.
    pub(crate) fn progress(&mut self) {
        *self = Self { attempts: self.attempts, began: self.began, ..Self::default() };
    }

    /// Counts a transaction that other sessions blocked. Returns the pause before the next attempt, or `None` if no retry
    /// is left.
    pub(crate) fn contention(&mut self, tenancy: &Tenancy) -> Option<Duration> {
        self.contentions += 1;
        (self.contentions <= tenancy.limits().retries).then(|| contention_pause(self.contentions))
    }

    /// Decides how an attempt that did not finish ends: with a retry, or with the error that the tenant fails with.
    pub(crate) fn after<T>(
        &mut self,
        error: AttemptError,
        context: &RunContext<'_>,
        session: &mut Session,
        schema: &SchemaName,
    ) -> Attempt<T> {
        let RunContext { tenancy, monitor, stop, .. } = context;
        match error {
            AttemptError::Failed(error) => Attempt::failed(error),
            AttemptError::Fatal(error) => Attempt::Abort(error),
            AttemptError::ReadOnly => {
                // A new connection may reach the server that has taken over.
                session.discard();
                Attempt::ReadOnly
            }
            AttemptError::Canceled(_) if stop.is_cancel() => Attempt::Canceled,
            AttemptError::Canceled(server) => Attempt::failed(TenantError::Canceled(server)),
            AttemptError::ConnectionLost(server) => {
                session.mark_lost();
                self.lost_connections += 1;
                if self.lost_connections > MAX_REREADS {
                    return Attempt::failed(TenantError::ConnectionLost(server));
                }
                Attempt::LostConnection(server)
            }
            AttemptError::TenantLocked => self.locked(tenancy, || {
                let holder = LockHolder::find(session, &lock_key(schema));
                TenantError::Busy { holder }
            }),
            AttemptError::RecordLocked => self.locked(tenancy, || {
                let holder = LockHolder::find(session, integrity::LOCK);
                TenantError::RecordLocked { holder }
            }),
            AttemptError::Contention(contention, server) => match self.contention(tenancy) {
                Some(pause) => Attempt::Retry(pause),
                None => {
                    let (attempts, holders) = (self.contentions, monitor.blockers(schema));
                    Attempt::failed(TenantError::Deferred { contention, attempts, server, holders })
                }
            },
            AttemptError::Changed => self.reread(TenantError::ConcurrentlyChanged),
            AttemptError::NotRecorded => self.reread(TenantError::MigrationConflict),
        }
    }

    /// Retries while another session holds a lock. Fails with `error` once it has held it for longer than the run waits.
    fn locked<T>(&mut self, tenancy: &Tenancy, error: impl FnOnce() -> TenantError) -> Attempt<T> {
        let (since, attempts) = self.locked.map_or((Instant::now(), 1), |(since, attempts)| (since, attempts + 1));
        self.locked = Some((since, attempts));
        if since.elapsed() >= tenancy.limits().busy_for {
            return Attempt::failed(error());
        }
        Attempt::Retry(locked_pause(attempts))
    }

    /// Retries with a tenant that is read again. Fails with `error` if it has been read too often.
    fn reread<T>(&mut self, error: TenantError) -> Attempt<T> {
        self.rereads += 1;
        if self.rereads > MAX_REREADS {
            return Attempt::failed(error);
        }
        Attempt::Retry(locked_pause(self.rereads))
    }
}

/// The pause after a lock timeout, a deadlock or a serialization failure.
fn contention_pause(attempts: u32) -> Duration {
    let (first, longest) = CONTENTION_PAUSE;
    backoff(first, attempts, longest)
}

/// The pause while another session holds a lock or changes what was read.
fn locked_pause(attempts: u32) -> Duration {
    let (first, longest) = LOCKED_PAUSE;
    backoff(first, attempts, longest)
}

/// A pause that doubles with each attempt up to `longest`, with a jitter of 25 percent.
pub(crate) fn backoff(first: Duration, attempt: u32, longest: Duration) -> Duration {
    let pause = first.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(longest);
    pause.mul_f64(0.75 + 0.5 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_that_other_sessions_cause_have_a_pause() {
        let server = || ServerMessage::from(&DieselError::NotFound);
        for waits in [
            AttemptError::Contention(Contention::LockTimeout, server()),
            AttemptError::TenantLocked,
            AttemptError::RecordLocked,
            AttemptError::Changed,
            AttemptError::NotRecorded,
        ] {
            let (first, tenth) = (waits.pause(1).unwrap(), waits.pause(10).unwrap());
            assert!(first < tenth && tenth <= CONTENTION_PAUSE.1.mul_f64(1.25), "{first:?} {tenth:?}");
        }
        for ends in [
            AttemptError::Canceled(server()),
            AttemptError::ConnectionLost(server()),
            AttemptError::ReadOnly,
            AttemptError::Failed(TenantError::ConcurrentlyChanged),
        ] {
            assert_eq!(ends.pause(1), None);
        }
    }
}
