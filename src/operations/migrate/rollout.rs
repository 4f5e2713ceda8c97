//! How a run goes through a fleet: who comes first, in what steps, and what ends it early.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use regex::Regex;

use super::{Job, Outcome, StopReason};
use crate::error::{TenantError, mask_tenant_name};
use crate::model::TenantName;
use crate::schema::drift::Accepted;

/// How a run goes through a fleet. The default: all at once, and on after failures.
#[derive(Debug, Clone, Default)]
pub struct Rollout {
    /// Those that come first. Unless all of them are done, and without drift, the others are not begun.
    pub canary: Option<Canary>,
    /// How many tenants are begun together; the next are begun when all of them are through.
    pub batch: Option<NonZeroUsize>,
    /// The time between two batches.
    pub pause: Duration,
    /// How many tenants may fail. Once more have, no other is begun.
    pub max_failures: Option<MaxFailures>,
    /// Whether to begin no other tenant when the first ones all fail in the same way.
    pub breaker: bool,
    /// Whether the structure of each tenant is held against the reference before it counts as done; also of those that there
    /// is nothing to do for.
    pub verify: bool,
    /// What is accepted of the differences that canaries and verified tenants have.
    pub accepted: Accepted,
}

/// Which tenants come first.
#[derive(Debug, Clone)]
pub enum Canary {
    /// So many of those that there is something to do for, in the order of the run.
    First(NonZeroUsize),
    /// Those whose names match; of those that there is nothing to do for, the structures are looked at.
    Matching(Regex),
}

/// How many tenants may fail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MaxFailures {
    /// So many.
    Count(usize),
    /// So many of a hundred of the tenants of the run.
    Percent(f64),
}

impl MaxFailures {
    fn of(self, tenants: usize) -> usize {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => (tenants as f64 * percent / 100.0).floor() as usize,
        }
    }
}

/// A text that is no [`MaxFailures`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give a number of tenants, or a part of them, as in 5 or 2%")]
pub struct ParseMaxFailuresError;

impl std::str::FromStr for MaxFailures {
    type Err = ParseMaxFailuresError;

    fn from_str(text: &str) -> Result<Self, ParseMaxFailuresError> {
        match text.strip_suffix('%') {
            None => text.parse().map(Self::Count).map_err(|_| ParseMaxFailuresError),
            Some(percent) => match percent.parse() {
                Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Self::Percent(percent)),
                _ => Err(ParseMaxFailuresError),
            },
        }
    }
}

/// Jobs that are begun together.
pub(super) struct Stage {
    pub(super) jobs: Vec<Job>,
    pub(super) kind: StageKind,
}

/// What a stage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StageKind {
    /// Those that come first, and must be well.
    Canary,
    /// Some of the others, or all.
    Batch {
        /// The time before it is begun.
        pause: Duration,
    },
}

impl Rollout {
    /// Begins no other tenant once one has failed.
    #[must_use]
    pub fn stopping_at_failure(self) -> Self {
        Self { max_failures: Some(MaxFailures::Count(0)), ..self }
    }

    /// Whether the run needs the reference.
    pub(super) fn needs_reference(&self) -> bool {
        self.verify || self.canary.is_some()
    }

    /// Whether a tenant is a canary though there is nothing to do for it.
    pub(super) fn is_canary(&self, unchanged: &str) -> bool {
        matches!(&self.canary, Some(Canary::Matching(regex)) if regex.is_match(unchanged))
    }

    /// Those that there is nothing to do for, and that are held against the reference all the same: an earlier run may have
    /// migrated them and found drift.
    pub(super) fn to_look_at(&self, unchanged: &[TenantName]) -> Vec<TenantName> {
        unchanged.iter().filter(|name| self.verify || self.is_canary(name.as_str())).cloned().collect()
    }

    /// The jobs, in steps.
    pub(super) fn stages(&self, jobs: Vec<Job>) -> Vec<Stage> {
        let (canaries, others) = match &self.canary {
            None => (Vec::new(), jobs),
            Some(Canary::First(n)) => {
                let mut jobs = jobs;
                let others = jobs.split_off(n.get().min(jobs.len()));
                (jobs, others)
            }
            Some(Canary::Matching(regex)) => jobs.into_iter().partition(|job| regex.is_match(job.name().as_str())),
        };
        let mut stages = vec![Stage { jobs: canaries, kind: StageKind::Canary }];
        let mut others = others.into_iter();
        let size = self.batch.map_or(usize::MAX, NonZeroUsize::get);
        let mut pause = Duration::ZERO;
        loop {
            let jobs: Vec<Job> = others.by_ref().take(size).collect();
            if jobs.is_empty() {
                break;
            }
            stages.push(Stage { jobs, kind: StageKind::Batch { pause } });
            pause = self.pause;
        }
        stages.retain(|stage| !stage.jobs.is_empty());
        stages
    }
}

/// When so many tenants have all failed in the same way, and none was done, the others would, too.
const BREAKER: usize = 10;

/// How many tenants are compared together once the first were well: each comparison reads the catalogs of the whole fleet.
const MOST_UNTOLD: usize = 100;

/// Counts failures, and says when they are too many.
pub(super) struct Budget {
    allowed: Option<usize>,
    breaker: bool,
    state: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    done: usize,
    failed: usize,
    /// How many of those failed before the run began.
    failed_before: usize,
    /// In how many ways the others have; two are as good as more.
    ways: HashSet<String>,
    ended: Option<StopReason>,
}

impl Budget {
    /// For a run of so many tenants, of which some have failed before it begins.
    pub(super) fn new(rollout: &Rollout, tenants: usize, failed: usize) -> Self {
        let allowed = rollout.max_failures.map(|max| max.of(tenants + failed));
        let ended = allowed.filter(|allowed| failed > *allowed).map(|_| StopReason::Failure);
        // Who says how many may fail has thought of it.
        let breaker = rollout.breaker && allowed.is_none();
        let counted = Counted { failed, failed_before: failed, ended, ..Counted::default() };
        Self { allowed, breaker, state: Mutex::new(counted) }
    }

    /// Counts an outcome. Whether no other tenant is to be begun.
    pub(super) fn count(&self, tenant: &str, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Nothing => self.is_spent(),
            Outcome::Applied(_) => {
                self.state.lock().unwrap_or_else(PoisonError::into_inner).done += 1;
                self.is_spent()
            }
            Outcome::Failed(error) => self.count_failure(tenant, error),
        }
    }

    /// Counts a tenant that failed. Whether no other is to be begun.
    pub(super) fn count_failure(&self, tenant: &str, error: &TenantError) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failed += 1;
        if state.ways.len() < 2 {
            state.ways.insert(way(tenant, error));
        }
        if state.ended.is_none() {
            if self.allowed.is_some_and(|allowed| state.failed > allowed) {
                state.ended = Some(StopReason::Failure);
            } else if self.breaker
                && state.done == 0
                && state.failed - state.failed_before >= BREAKER
                && state.ways.len() == 1
            {
                state.ended = Some(StopReason::Breaker);
            }
        }
        state.ended.is_some()
    }

    /// How many tenants may be begun before it is known what became of the others, where those that are compared count only
    /// then.
    pub(super) fn most_untold(&self) -> usize {
        let none_done = self.state.lock().unwrap_or_else(PoisonError::into_inner).done == 0;
        match (self.allowed, self.breaker) {
            (None, false) => usize::MAX,
            _ if none_done => BREAKER,
            (Some(_), _) => MOST_UNTOLD,
            (None, true) => usize::MAX,
        }
    }

    /// Whether no other tenant is to be begun.
    pub(super) fn is_spent(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ended.is_some()
    }

    /// Why no other tenant is to be begun, where that is so.
    pub(super) fn take_ended(&self) -> Option<StopReason> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ended.take()
    }
}

/// The error without what is the tenant's own in it.
fn way(tenant: &str, error: &TenantError) -> String {
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

    #[test]
    fn failures_are_a_number_or_a_part() {
        assert_eq!("5".parse(), Ok(MaxFailures::Count(5)));
        assert_eq!("2.5%".parse(), Ok(MaxFailures::Percent(2.5)));
        for text in ["", "%", "-1", "101%", "five", "5 %"] {
            assert_eq!(text.parse::<MaxFailures>(), Err(ParseMaxFailuresError), "{text}");
        }
        assert_eq!(MaxFailures::Percent(2.5).of(199), 4);
        assert_eq!(MaxFailures::Percent(0.0).of(199), 0);
    }

    #[test]
    fn the_breaker_opens_when_the_first_fail_in_one_way_only() {
        let rollout = Rollout { breaker: true, ..Rollout::default() };
        let busy = |_| Outcome::Failed(TenantError::Busy { holder: None });
        let same = Budget::new(&rollout, 100, 0);
        assert_eq!((0..BREAKER).filter(|n| same.count(&format!("t{n}"), &busy(()))).count(), 1);
        assert!(matches!(same.take_ended(), Some(StopReason::Breaker)));

        let some_blocked = Budget::new(&rollout, 100, BREAKER - 1);
        assert_eq!((0..BREAKER).filter(|n| some_blocked.count(&format!("t{n}"), &busy(()))).count(), 1);

        let two_ways = Budget::new(&rollout, 100, 0);
        two_ways.count("a", &Outcome::Failed(TenantError::ConcurrentlyChanged));
        assert!(!(0..50).any(|n| two_ways.count(&format!("t{n}"), &busy(()))));

        let allowed = Rollout { max_failures: Some(MaxFailures::Count(20)), ..rollout };
        let budget = Budget::new(&allowed, 100, 1);
        assert_eq!((0..20).filter(|n| budget.count(&format!("t{n}"), &busy(()))).count(), 1);
        assert!(matches!(budget.take_ended(), Some(StopReason::Failure)));
    }
}
