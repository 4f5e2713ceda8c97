//! Options of a rollout: in which order, batches and shards tenants are processed, and when the run stops.

use std::num::NonZeroUsize;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;

use super::compare::accepted_by_file;
use super::context::{Context, Usage};
use super::request::RolloutRequest;
use super::resume::only;
use super::retry;
use super::settings::{duration, positive, run_id};
use crate::database::{Database, Shard};
use crate::model::TenantName;
use crate::operations::migrate::{Breaker, Canary, MaxFailures, Report, Rollout, StopReason};
use crate::record::runs::RetryCommand;
use crate::tenants::Tenant;
use crate::text::shell_word;

/// Options of a rollout.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Rollout")]
pub(crate) struct RolloutOptions {
    /// Process the first N tenants, or N percent, or those whose names match, before the others; stop if one fails or has
    /// drift
    #[arg(long, value_name = "N|N%|REGEX")]
    canary: Option<Canary>,

    /// Process the tenants in batches of this size
    #[arg(long, value_name = "N", value_parser = positive::<NonZeroUsize>)]
    batch: Option<NonZeroUsize>,

    /// Pause between two batches
    #[arg(long, value_name = "TIME", requires = "batch", value_parser = duration)]
    pause: Option<humantime::Duration>,

    /// Stop before the next tenant if more than N tenants, or N percent of them, have failed
    #[arg(long, value_name = "N|N%", conflicts_with = "fail_fast")]
    max_failures: Option<MaxFailures>,

    /// Stop before the next tenant if one has failed
    #[arg(long)]
    fail_fast: bool,

    /// Process only shard I of N, by a hash of the names; use the same N on each machine
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,

    /// Order of the tenants: by name, oldest first, or smallest first
    #[arg(long, value_enum, default_value_t = Order::Name)]
    order: Order,

    /// Process only the tenants that failed or were deferred in this run, see runs
    #[arg(long, value_name = "RUN", value_parser = run_id)]
    retry_failed: Option<i64>,

    /// How long to wait for another run on these tenants to end [default: 0s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    lock_wait: Option<humantime::Duration>,
}

/// The order of the tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Order {
    Name,
    Created,
    Size,
}

impl RolloutOptions {
    /// Acquires the lock of the fleet, and shows the session that it waits for.
    pub(crate) fn lock_fleet(&self, context: &Context, db: &mut Database) -> Result<()> {
        let wait = self.lock_wait.map_or(Duration::ZERO, Duration::from);
        let output = context.output();
        db.lock_fleet(self.shard, wait, &context.stop(), &mut |holder| {
            output.status(format_args!("waiting for {holder}"))
        })?;
        Ok(())
    }

    /// Selects the tenants of the run by name.
    pub(crate) fn picks(
        &self,
        context: &Context,
        db: &mut Database,
        retry: RetryCommand,
    ) -> Result<impl Fn(&str) -> bool + use<>> {
        let failed = self.retry_failed.map(|run| retry::failed_in(context, db, run, retry)).transpose()?;
        let shard = self.shard;
        Ok(move |name: &str| {
            shard.is_none_or(|shard| shard.has(name)) && failed.as_ref().is_none_or(|failed| failed.contains(name))
        })
    }

    /// Whether some tenants come before the others.
    pub(crate) fn has_canary(&self) -> bool {
        self.canary.is_some()
    }

    /// Sorts a plan by --order.
    pub(crate) fn sort<T>(&self, db: &mut Database, plan: &mut [T], tenant: impl Fn(&T) -> &Tenant) -> Result<()> {
        match self.order {
            Order::Name => {}
            Order::Created => plan.sort_by_key(|planned| tenant(planned).created_at),
            Order::Size => {
                let sizes = crate::tenants::schema_sizes(db.connection())?;
                let size = |oid: Option<u32>| oid.and_then(|oid| sizes.get(&oid)).copied().unwrap_or(0);
                plan.sort_by_key(|planned| size(tenant(planned).schema_oid()));
            }
        }
        Ok(())
    }

    /// Refuses a --canary pattern that matches no tenant of the run.
    pub(crate) fn require_canary<'a>(&self, mut names: impl Iterator<Item = &'a TenantName>) -> Result<()> {
        let Some(Canary::Matching(regex)) = &self.canary else { return Ok(()) };
        let mut any = false;
        if names.any(|name| {
            any = true;
            regex.is_match(name.as_str())
        }) || !any
        {
            return Ok(());
        }
        Err(Usage::new(
            "nothing-matches",
            format!("--canary {} matches no tenant of this run", shell_word(regex.as_str())),
        )
        .into())
    }

    /// --retry-failed as given, for a suggested command.
    pub(crate) fn retried(&self) -> String {
        self.retry_failed.map_or_else(String::new, |run| format!(" --retry-failed {run}"))
    }

    /// The rollout options for a command that resumes the run.
    pub(crate) fn flags(&self, report: &Report) -> String {
        let canary = match (&self.canary, &report.ended) {
            (None, _) => None,
            // Canaries that failed are verified again, even if they are migrated now.
            (Some(canary @ (Canary::First(_) | Canary::Percent(_))), Some(StopReason::Canary)) => {
                let failed: Vec<&str> = report.failed.iter().map(|failed| failed.tenant.as_str()).collect();
                only(&failed).or_else(|| Some(canary.to_string()))
            }
            (Some(Canary::Matching(regex)), Some(StopReason::Canary)) => Some(shell_word(regex.as_str())),
            (Some(canary @ (Canary::First(_) | Canary::Percent(_))), _) => Some(canary.to_string()),
            // If the canaries are done, the pattern matches none of the remaining tenants.
            (Some(Canary::Matching(regex)), _) => {
                let left = report.to_try_again();
                left.iter().any(|name| regex.is_match(name)).then(|| shell_word(regex.as_str()))
            }
        };
        let RolloutRequest { max_failures, order, .. } = self.request();
        let given = [
            ("canary", canary),
            ("batch", self.batch.map(|batch| batch.to_string())),
            ("pause", self.pause.map(|pause| shell_word(&pause.to_string()))),
            ("max-failures", max_failures),
            ("shard", self.shard.map(|shard| shard.to_string())),
            ("order", order),
        ];
        let mut flags: String =
            given.into_iter().filter_map(|(flag, value)| Some(format!(" --{flag} {}", value?))).collect();
        if self.fail_fast {
            flags.push_str(" --fail-fast");
        }
        flags
    }

    /// The rollout, for the record of the run.
    pub(crate) fn request(&self) -> RolloutRequest {
        RolloutRequest {
            canary: self.canary.as_ref().map(Canary::to_string),
            batch: self.batch.map(NonZeroUsize::get),
            pause: self.pause.map(|pause| pause.to_string()),
            max_failures: self.max_failures.map(|max| match max {
                MaxFailures::Count(count) => count.to_string(),
                MaxFailures::Percent(percent) => format!("{percent}%"),
            }),
            fail_fast: self.fail_fast,
            shard: self.shard.map(|shard| shard.to_string()),
            order: match self.order {
                Order::Name => None,
                Order::Created => Some("created".to_owned()),
                Order::Size => Some("size".to_owned()),
            },
        }
    }

    /// How the run goes through the fleet.
    pub(crate) fn rollout(&self, context: &Context) -> Result<Rollout> {
        let rollout = Rollout {
            canary: self.canary.clone(),
            batch: self.batch,
            pause: self.pause.map_or(Duration::ZERO, Duration::from),
            max_failures: self.max_failures,
            shared_failures: context.shared_failures(),
            breaker: Breaker::On,
            accepted: accepted_by_file()?,
            ..Rollout::default()
        };
        Ok(if self.fail_fast { rollout.stopping_at_failure() } else { rollout })
    }
}
