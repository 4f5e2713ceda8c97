//! How a run goes through a fleet: canaries, batches, and the number of failures that stops it.

use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

use regex::Regex;

use super::MigrationJob;
use crate::model::TenantName;
use crate::run::{Breaker, FailureBudget, SharedFailures};
use crate::schema::drift::Accepted;

/// How a run goes through a fleet. The default: all tenants together, whatever number of them fails.
#[derive(Debug, Clone, Default)]
pub struct Rollout {
    /// The tenants that are migrated first. The others start only if all of these are done and match the reference.
    pub canary: Option<Canary>,
    /// The number of tenants in a batch. A batch starts when the one before is finished.
    pub batch: Option<NonZeroUsize>,
    /// The pause between two batches.
    pub pause: Duration,
    /// The number of tenants that may fail. If more fail, no other tenant starts.
    pub max_failures: Option<MaxFailures>,
    /// The failures of other runs that count towards an absolute [`max_failures`](Self::max_failures), too.
    pub shared_failures: Option<SharedFailures>,
    /// Whether the run stops if the first tenants all fail with the same error.
    pub breaker: Breaker,
    /// Whether the schema of each tenant is compared with the reference before the tenant counts as done. Tenants that are
    /// up to date are compared, too.
    pub verify: bool,
    /// The accepted differences between the reference and canaries or verified tenants.
    pub accepted: Accepted,
}

/// Which tenants are migrated first.
#[derive(Debug, Clone)]
pub enum Canary {
    /// The first tenants of the run that have pending migrations.
    First(NonZeroUsize),
    /// The first percent of those tenants, and at least one.
    Percent(f64),
    /// The tenants whose names match. Those without pending migrations are only compared with the reference.
    Matching(Regex),
}

/// The number of tenants that may fail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MaxFailures {
    /// An absolute number.
    Count(usize),
    /// A percentage of the tenants of the run.
    Percent(f64),
}

impl MaxFailures {
    fn of(self, tenants: usize) -> usize {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => percent_of(tenants, percent).floor() as usize,
        }
    }
}

/// A text is not a number or percentage of tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give a number of tenants or a percentage of them, as in 5 or 2%")]
pub struct ParseMaxFailuresError;

impl ParseMaxFailuresError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        "invalid-max-failures"
    }
}

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

/// A text is not a number, percentage or pattern of tenants.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseCanaryError {
    /// The number is zero.
    #[error("the minimum is 1")]
    Zero,
    /// The percentage is not a number above 0 and up to 100.
    #[error("a percentage of tenants is above 0% and at most 100%")]
    Percent,
    /// The text is not a regular expression.
    #[error(transparent)]
    Pattern(#[from] regex::Error),
}

impl ParseCanaryError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        "invalid-canary"
    }
}

impl std::str::FromStr for Canary {
    type Err = ParseCanaryError;

    fn from_str(text: &str) -> Result<Self, ParseCanaryError> {
        if let Ok(n) = text.parse() {
            return NonZeroUsize::new(n).map(Self::First).ok_or(ParseCanaryError::Zero);
        }
        // No name of a tenant contains a percent sign.
        let Some(percent) = text.strip_suffix('%') else { return Ok(Self::Matching(Regex::new(text)?)) };
        match percent.parse() {
            Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(Self::Percent(percent)),
            _ => Err(ParseCanaryError::Percent),
        }
    }
}

impl fmt::Display for Canary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First(n) => n.fmt(f),
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Matching(regex) => regex.fmt(f),
        }
    }
}

fn percent_of(tenants: usize, percent: f64) -> f64 {
    tenants as f64 * percent / 100.0
}

/// Jobs that run together.
pub(super) struct Stage {
    pub(super) jobs: Vec<MigrationJob>,
    pub(super) kind: StageKind,
    /// The pause before it starts.
    pub(super) pause: Duration,
}

/// What a stage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StageKind {
    /// The first tenants. If one of them fails, the others do not start.
    Canary,
    /// Some of the other tenants, or all.
    Batch,
}

impl Rollout {
    /// Stops before the next tenant after the first failure.
    #[must_use]
    pub fn stopping_at_failure(self) -> Self {
        Self { max_failures: Some(MaxFailures::Count(0)), ..self }
    }

    /// The budget of failures for a run with this number of jobs, in which `blocked` tenants failed before it began.
    pub(super) fn budget(&self, jobs: usize, blocked: usize) -> FailureBudget {
        let allowed = self.max_failures.map(|max| max.of(jobs + blocked));
        let budget = FailureBudget::new(allowed, self.breaker, blocked);
        match (self.max_failures, &self.shared_failures) {
            (Some(MaxFailures::Count(_)), Some(shared)) => budget.sharing(shared.clone()),
            _ => budget,
        }
    }

    /// Whether the run needs the reference.
    pub(super) fn needs_reference(&self) -> bool {
        self.verify || self.canary.is_some()
    }

    /// Whether a tenant without pending migrations is a canary.
    pub(super) fn is_unchanged_canary(&self, tenant: &str) -> bool {
        matches!(&self.canary, Some(Canary::Matching(regex)) if regex.is_match(tenant))
    }

    /// The tenants without pending migrations that are compared with the reference: an earlier run may have migrated them and
    /// found drift.
    pub(super) fn unchanged_to_compare(&self, unchanged: &[TenantName]) -> Vec<TenantName> {
        unchanged.iter().filter(|name| self.verify || self.is_unchanged_canary(name.as_str())).cloned().collect()
    }

    /// Divides the jobs into stages.
    pub(super) fn stages(&self, jobs: Vec<MigrationJob>) -> Vec<Stage> {
        let (canaries, others) = self.canaries(jobs);
        let mut stages = vec![Stage { jobs: canaries, kind: StageKind::Canary, pause: Duration::ZERO }];
        let mut others = others.into_iter();
        let size = self.batch.map_or(usize::MAX, NonZeroUsize::get);
        let mut pause = Duration::ZERO;
        loop {
            let jobs: Vec<MigrationJob> = others.by_ref().take(size).collect();
            if jobs.is_empty() {
                break;
            }
            stages.push(Stage { jobs, kind: StageKind::Batch, pause });
            pause = self.pause;
        }
        stages.retain(|stage| !stage.jobs.is_empty());
        stages
    }

    /// Separates the canaries from the other jobs.
    fn canaries(&self, mut jobs: Vec<MigrationJob>) -> (Vec<MigrationJob>, Vec<MigrationJob>) {
        match &self.canary {
            None => (Vec::new(), jobs),
            Some(Canary::First(n)) => {
                let others = jobs.split_off(n.get().min(jobs.len()));
                (jobs, others)
            }
            Some(Canary::Percent(percent)) => {
                let others = jobs.split_off(percent_of(jobs.len(), *percent).ceil() as usize);
                (jobs, others)
            }
            Some(Canary::Matching(regex)) => jobs.into_iter().partition(|job| regex.is_match(job.name().as_str())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_failures_is_a_number_or_a_percentage() {
        assert_eq!("5".parse(), Ok(MaxFailures::Count(5)));
        assert_eq!("2.5%".parse(), Ok(MaxFailures::Percent(2.5)));
        for text in ["", "%", "-1", "101%", "five", "5 %"] {
            assert_eq!(text.parse::<MaxFailures>(), Err(ParseMaxFailuresError), "{text}");
        }
        assert_eq!(MaxFailures::Percent(2.5).of(199), 4);
        assert_eq!(MaxFailures::Percent(0.0).of(199), 0);
    }

    #[test]
    fn canaries_are_a_number_a_percentage_or_a_pattern() {
        for text in ["3", "2.5%", "^a"] {
            assert_eq!(text.parse::<Canary>().unwrap().to_string(), text);
        }
        assert!(matches!("2.5%".parse(), Ok(Canary::Percent(2.5))));
        assert_eq!("0".parse::<Canary>().unwrap_err(), ParseCanaryError::Zero);
        for text in ["%", "0%", "101%", "-1%", "a%", "NaN%"] {
            assert_eq!(text.parse::<Canary>().unwrap_err(), ParseCanaryError::Percent, "{text}");
        }
        assert!(matches!("(".parse::<Canary>(), Err(ParseCanaryError::Pattern(_))));
    }
}
