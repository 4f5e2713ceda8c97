//! How a run ended, and the outcomes of its tenants.

use crate::database::Stop;
use crate::error::{Error, FailedTenant, TenantError};

/// The reason why a run stopped before it reached all tenants.
#[derive(Debug)]
pub enum StopReason {
    /// A [`Stop`] was requested.
    Interrupted,
    /// More tenants failed than [allowed](crate::operations::migrate::Rollout::max_failures).
    Failure,
    /// The first tenants all failed with the same error.
    Breaker,
    /// A [canary](crate::operations::migrate::Rollout::canary) failed or has drift.
    Canary,
    /// The connection to the server was lost, or the server cannot continue.
    Lost(Error),
}

impl StopReason {
    /// The reason for a run that the server made stop. An interrupt during an outage takes precedence.
    pub(crate) fn without_server(error: Error, stop: &Stop) -> Self {
        if stop.is_requested() && error.is_outage() { Self::Interrupted } else { Self::Lost(error) }
    }
}

/// The outcome of a run in `public.schema_run`.
pub(super) fn run_outcome(stop_reason: Option<&StopReason>, counts: Counts) -> &'static str {
    match stop_reason {
        Some(StopReason::Interrupted) => "interrupted",
        Some(StopReason::Failure | StopReason::Breaker | StopReason::Canary) => "stopped",
        Some(StopReason::Lost(_)) => "lost",
        None if counts.failed + counts.deferred == 0 => "done",
        None => "failed",
    }
}

/// The outcome of a tenant in `public.schema_run_tenant`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantOutcome {
    /// The run changed the tenant as planned.
    Done,
    /// The tenant failed.
    Failed,
    /// The tenant was blocked by other sessions on every attempt.
    Deferred,
}

impl TenantOutcome {
    /// The text in `public.schema_run_tenant`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Deferred => "deferred",
        }
    }

    pub(super) fn of(error: &TenantError) -> Self {
        if error.is_deferred() { Self::Deferred } else { Self::Failed }
    }
}

/// The numbers of tenants by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) done: usize,
    pub(crate) unchanged: usize,
    pub(crate) failed: usize,
    pub(crate) deferred: usize,
    pub(crate) not_reached: usize,
}

impl Counts {
    /// Counts the deferred tenants in `failed` separately from the others.
    pub(crate) fn of(done: usize, unchanged: usize, failed: &[FailedTenant], not_reached: usize) -> Self {
        let deferred = failed.iter().filter(|failed| failed.error.is_deferred()).count();
        Self { done, unchanged, failed: failed.len() - deferred, deferred, not_reached }
    }
}
