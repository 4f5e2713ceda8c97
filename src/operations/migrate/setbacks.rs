//! What follows when a tenant's work was not done: another try, and when, or its failure.

use std::time::{Duration, Instant};

use super::apply::Setback;
use super::target::lock_key_of;
use crate::database::Stop;
use crate::error::TenantError;
use crate::model::SchemaName;
use crate::postgres::{LockHolder, Session};
use crate::record::integrity;
use crate::record::runs::FailedRow;
use crate::run::LockMonitor;
use crate::run::workers::{Attempt, growing};
use crate::tenants::Tenancy;

/// How often a tenant is read again after it was found changed, and how often its connection may be lost: a migration may
/// be what brings the server down.
const READS: u32 = 5;

/// The pauses before a tenant is tried again that other sessions were in the way of: the first, and the longest.
const CONTENTION_PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// The pauses before a tenant is tried again that another run is working on.
const BUSY_PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// What one tenant's work has met so far.
#[derive(Debug, Default)]
pub(crate) struct Setbacks {
    attempts: u32,
    began: Option<Instant>,
    busy: Option<(Instant, u32)>,
    contentions: u32,
    losses: u32,
    reads: u32,
}

impl Setbacks {
    /// Counts a try, and returns when the first began.
    pub(crate) fn begin(&mut self, schema: &SchemaName, monitor: &LockMonitor) -> Instant {
        monitor.forget(schema);
        self.attempts += 1;
        *self.began.get_or_insert_with(Instant::now)
    }

    /// How often it was tried.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The time since it was first tried.
    pub(crate) fn took(&self) -> Duration {
        self.began.map_or(Duration::ZERO, |began| began.elapsed())
    }

    /// The record's row of the tenant, which failed.
    pub(crate) fn failed_row<'a>(
        &self,
        tenant: &'a str,
        from: Option<&'a str>,
        error: &'a TenantError,
    ) -> FailedRow<'a> {
        FailedRow { tenant, from, took: self.took(), attempts: self.attempts, error }
    }

    /// Notes that some of the work is done: what was met before counts no more.
    pub(crate) fn progress(&mut self) {
        *self = Self { attempts: self.attempts, began: self.began, ..Self::default() };
    }

    /// Counts that other sessions were in the way, and returns how long to wait before another try, where there is one.
    pub(crate) fn contention(&mut self, tenancy: &Tenancy) -> Option<Duration> {
        self.contentions += 1;
        let (first, longest) = CONTENTION_PAUSE;
        (self.contentions <= tenancy.limits().retries).then(|| growing(first, self.contentions, longest))
    }

    /// Decides whether there is another try. [`Attempt::Done`] is the error that it fails with.
    pub(crate) fn next(
        &mut self,
        session: &mut Session,
        setback: Setback,
        schema: &SchemaName,
        tenancy: &Tenancy,
        monitor: &LockMonitor,
        stop: &Stop,
    ) -> Attempt<TenantError> {
        let (tries, (first, longest)) = match setback {
            Setback::Failed(error) => return Attempt::Done(error),
            Setback::Fault(error) => return Attempt::Fault(error),
            Setback::ReadOnly => {
                // Another server may have taken its place.
                session.discard();
                return Attempt::ReadOnly;
            }
            Setback::Canceled(_) if stop.is_cancel() => return Attempt::Canceled,
            Setback::Canceled(server) => return Attempt::Done(TenantError::Canceled(server)),
            Setback::Lost(server) => {
                session.mark_lost();
                self.losses += 1;
                return match self.losses <= READS {
                    true => Attempt::Lost(server),
                    false => Attempt::Done(TenantError::ConnectionLost(server)),
                };
            }
            Setback::Busy | Setback::RecordLocked => {
                let (since, tries) = self.busy.map_or((Instant::now(), 1), |(since, tries)| (since, tries + 1));
                self.busy = Some((since, tries));
                if since.elapsed() >= tenancy.limits().busy_for {
                    let is_record = matches!(setback, Setback::RecordLocked);
                    let key = match is_record {
                        true => integrity::LOCK.to_owned(),
                        false => lock_key_of(schema),
                    };
                    let holder = LockHolder::find(session, &key);
                    return Attempt::Done(match is_record {
                        true => TenantError::RecordLocked { holder },
                        false => TenantError::Busy { holder },
                    });
                }
                (tries, BUSY_PAUSE)
            }
            Setback::Contention(contention, server) => {
                return match self.contention(tenancy) {
                    Some(pause) => Attempt::Later(pause),
                    None => {
                        let (attempts, holders) = (self.contentions, monitor.holders(schema));
                        Attempt::Done(TenantError::Deferred { contention, attempts, server, holders })
                    }
                };
            }
            // What needs a commit is tried again where it is found out.
            Setback::Changed | Setback::Edited | Setback::NotRecorded | Setback::NeedsCommit => {
                self.reads += 1;
                if self.reads > READS {
                    return Attempt::Done(match setback {
                        Setback::NotRecorded => TenantError::MigrationConflict,
                        _ => TenantError::ConcurrentlyChanged,
                    });
                }
                (self.reads, BUSY_PAUSE)
            }
        };
        Attempt::Later(growing(first, tries, longest))
    }
}
