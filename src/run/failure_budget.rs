//! The number of failures that stops a run.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Outcome;
use crate::error::{TenantError, mask_tenant_name};
use crate::record::runs::StopReason;

/// The number of tenants that must fail with the same error, and none succeed, before the circuit breaker stops a run.
const BREAKER: usize = 10;

/// The maximum number of unverified tenants once some tenant is done. Each comparison with the reference reads the catalogs
/// of the whole fleet.
const MAX_UNCONFIRMED: usize = 100;

/// The number of tenants that failed in several runs, which share a limit: those of a fleet on several servers.
#[derive(Debug, Clone, Default)]
pub struct SharedFailures(Arc<AtomicUsize>);

/// Counts failed tenants and stops the run when there are too many.
#[derive(Default)]
pub(crate) struct FailureBudget {
    /// The failures of all runs that share the limit.
    shared: Option<SharedFailures>,
    /// The number of tenants that may fail.
    allowed: Option<usize>,
    breaker: Breaker,
    counts: Mutex<FailureCounts>,
}

/// Whether a run stops if its first tenants all fail with the same error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Breaker {
    /// It stops.
    On,
    /// It continues.
    #[default]
    Off,
}

#[derive(Default)]
struct FailureCounts {
    done: usize,
    failed: usize,
    /// The number of tenants that failed before the run began.
    failed_before: usize,
    /// The different errors of the other failures, at most two.
    errors: HashSet<String>,
    stopped: Option<StopReason>,
}

impl FailureBudget {
    /// A budget for a run in which `blocked` tenants failed before it began. `allowed` is the number of tenants that may fail;
    /// with such a number, the circuit breaker is off.
    pub(crate) fn new(allowed: Option<usize>, breaker: Breaker, blocked: usize) -> Self {
        let stopped = allowed.filter(|allowed| blocked > *allowed).map(|_| StopReason::Failure);
        let counts = FailureCounts { failed: blocked, failed_before: blocked, stopped, ..FailureCounts::default() };
        let breaker = if allowed.is_none() { breaker } else { Breaker::Off };
        Self { shared: None, allowed, breaker, counts: Mutex::new(counts) }
    }

    /// The same budget for several runs together.
    pub(crate) fn sharing(self, shared: SharedFailures) -> Self {
        shared.0.fetch_add(self.counts().failed_before, Ordering::Relaxed);
        Self { shared: Some(shared), ..self }
    }

    /// Counts an outcome.
    pub(crate) fn count<T>(&self, tenant: &str, outcome: &Outcome<T>) {
        match outcome {
            Outcome::Unchanged => {}
            Outcome::Done(_) => self.counts().done += 1,
            Outcome::Failed(error) => self.count_failure(tenant, error),
        }
    }

    /// Counts a tenant that failed.
    pub(crate) fn count_failure(&self, tenant: &str, error: &TenantError) {
        let mut counts = self.counts();
        counts.failed += 1;
        let failed = self.shared.as_ref().map_or(counts.failed, |shared| shared.0.fetch_add(1, Ordering::Relaxed) + 1);
        if counts.errors.len() < 2 {
            counts.errors.insert(error_without_tenant(tenant, error));
        }
        if counts.stopped.is_some() {
            return;
        }
        if self.allowed.is_some_and(|allowed| failed > allowed) {
            counts.stopped = Some(StopReason::Failure);
        } else if self.breaker == Breaker::On
            && counts.done == 0
            && counts.failed - counts.failed_before >= BREAKER
            && counts.errors.len() == 1
        {
            counts.stopped = Some(StopReason::Breaker);
        }
    }

    /// The maximum number of tenants in progress or unverified, for a run in which verification may fail tenants.
    pub(crate) fn max_unconfirmed(&self) -> usize {
        let none_done = self.counts().done == 0;
        match (self.allowed, self.breaker) {
            (None, Breaker::Off) => usize::MAX,
            _ if none_done => BREAKER,
            (Some(_), _) => MAX_UNCONFIRMED,
            (None, Breaker::On) => usize::MAX,
        }
    }

    /// Whether no other tenant may start.
    pub(crate) fn is_spent(&self) -> bool {
        let mut counts = self.counts();
        let failed = self.shared.as_ref().map(|shared| shared.0.load(Ordering::Relaxed));
        if failed.zip(self.allowed).is_some_and(|(failed, allowed)| failed > allowed) {
            counts.stopped.get_or_insert(StopReason::Failure);
        }
        counts.stopped.is_some()
    }

    /// Takes the reason why no other tenant may start.
    pub(crate) fn take_stop_reason(&self) -> Option<StopReason> {
        self.counts().stopped.take()
    }

    fn counts(&self) -> MutexGuard<'_, FailureCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error's code and text without the tenant's name, so that the same error of two tenants is equal.
fn error_without_tenant(tenant: &str, error: &TenantError) -> String {
    let text = match error {
        TenantError::Migration(failure) => format!("{} {}", failure.version, failure.server.message),
        TenantError::Deferred { contention, .. } => contention.to_string(),
        other => other.to_string(),
    };
    format!("{} {}", error.code(), mask_tenant_name(&text, tenant))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of tenants that fail with the same error before the budget is spent, out of `tenants`.
    fn failures_until_spent(budget: &FailureBudget, tenants: usize) -> Option<usize> {
        (1..=tenants).find(|n| {
            budget.count_failure(&format!("t{n}"), &TenantError::Busy { holder: None });
            budget.is_spent()
        })
    }

    #[test]
    fn breaker_stops_a_run_whose_first_tenants_fail_with_the_same_error() {
        let budget = FailureBudget::new(None, Breaker::On, 0);
        assert_eq!(failures_until_spent(&budget, 50), Some(BREAKER));
        assert!(matches!(budget.take_stop_reason(), Some(StopReason::Breaker)));

        let some_blocked = FailureBudget::new(None, Breaker::On, BREAKER - 1);
        assert_eq!(failures_until_spent(&some_blocked, 50), Some(BREAKER));

        let two_errors = FailureBudget::new(None, Breaker::On, 0);
        two_errors.count_failure("a", &TenantError::ConcurrentlyChanged);
        assert_eq!(failures_until_spent(&two_errors, 50), None);

        let one_done = FailureBudget::new(None, Breaker::On, 0);
        one_done.count("a", &Outcome::Done(()));
        assert_eq!(failures_until_spent(&one_done, 50), None);
    }

    #[test]
    fn explicit_failure_limit_replaces_the_breaker() {
        let budget = FailureBudget::new(Some(20), Breaker::On, 1);
        assert_eq!(failures_until_spent(&budget, 50), Some(20));
        assert!(matches!(budget.take_stop_reason(), Some(StopReason::Failure)));
        assert!(FailureBudget::new(Some(0), Breaker::Off, 1).is_spent());
    }

    #[test]
    fn runs_that_share_a_limit_stop_together() {
        let shared = SharedFailures::default();
        let budget = |blocked| FailureBudget::new(Some(3), Breaker::On, blocked).sharing(shared.clone());
        let (one, other) = (budget(1), budget(0));
        assert_eq!(failures_until_spent(&one, 2), None);
        assert!(!other.is_spent());
        assert_eq!(failures_until_spent(&other, 50), Some(1));
        assert!(one.is_spent());
        assert!(matches!(one.take_stop_reason(), Some(StopReason::Failure)));
    }
}
