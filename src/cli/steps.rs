//! How a command goes through the fleet: the arguments that say so.

use std::num::NonZeroUsize;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use regex::Regex;

use super::comparing::accepted_by_file;
use super::context::{Context, Usage, shell_word};
use super::resume::only;
use super::retry;
use crate::database::{Database, Shard};
use crate::model::TenantName;
use crate::operations::migrate::{Canary, MaxFailures, Report, Rollout, StopReason};
use crate::record::runs::RetryCommand;
use crate::tenants::Tenant;

/// How a command goes through the fleet.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Rollout")]
pub(crate) struct Steps {
    /// Begin with the first N tenants that there is something to do for, or with those whose names match; the others
    /// follow only when these are done and have no drift
    #[arg(long, value_name = "N|REGEX", value_parser = canary)]
    canary: Option<Canary>,

    /// Begin this many tenants together, and the next when all of them are through
    #[arg(long, value_name = "N")]
    batch: Option<NonZeroUsize>,

    /// Wait for this long between two batches
    #[arg(long, value_name = "TIME", requires = "batch")]
    pause: Option<humantime::Duration>,

    /// Begin no other tenant once more than N, or more than N in a hundred, have failed
    #[arg(long, value_name = "N|N%", conflicts_with = "fail_fast")]
    max_failures: Option<MaxFailures>,

    /// Begin no other tenant once one has failed
    #[arg(long)]
    fail_fast: bool,

    /// Only part I of the N that the fleet is split into, by a hash of the names, so that several machines share the
    /// work; all must give the same N
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,

    /// Which tenants come first: by name, the oldest, or the smallest
    #[arg(long, value_enum, default_value_t = Order::Name)]
    order: Order,

    /// Only the tenants that failed in this run or were deferred; see `runs`
    #[arg(long, value_name = "RUN")]
    retry_failed: Option<i64>,

    /// Wait for this long at most for another run that works on the fleet [default: not at all]
    #[arg(long, value_name = "TIME")]
    lock_wait: Option<humantime::Duration>,
}

/// In which order tenants are begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Order {
    Name,
    Created,
    Size,
}

fn canary(text: &str) -> Result<Canary, String> {
    match text.parse::<usize>() {
        Ok(n) => NonZeroUsize::new(n).map(Canary::First).ok_or_else(|| "at least 1".to_owned()),
        Err(_) => Regex::new(text).map(Canary::Matching).map_err(|error| error.to_string()),
    }
}

impl Steps {
    /// Takes the lock of the fleet, and tells whom it waits for.
    pub(crate) fn lock_fleet(&self, context: &Context, db: &mut Database) -> Result<()> {
        let wait = self.lock_wait.map_or(Duration::ZERO, Duration::from);
        let output = context.output();
        db.lock_fleet(self.shard, wait, &context.stop(), &mut |holder| {
            output.status(format_args!("waiting for {holder}"))
        })?;
        Ok(())
    }

    /// Which tenants are in the run, by their names.
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

    /// Puts a plan into the order that was asked for.
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

    /// A pattern that matches no tenant of the run would check nothing.
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
        Err(Usage::new(format!("--canary {} matches none of the tenants of the run", shell_word(regex.as_str())))
            .into())
    }

    /// The run whose tenants are taken, as a flag.
    pub(crate) fn retried(&self) -> String {
        self.retry_failed.map_or_else(String::new, |run| format!(" --retry-failed {run}"))
    }

    /// The flags that what is left is gone on with: what was to be done in steps is not done at once the next time.
    pub(crate) fn flags(&self, report: &Report) -> String {
        let canary = match (&self.canary, &report.ended) {
            (None, _) => None,
            // Those that are not well are held against the reference again, also when they are migrated by now.
            (Some(Canary::First(n)), Some(StopReason::Canary)) => {
                let failed: Vec<&str> = report.failed.iter().map(|failed| failed.tenant.as_str()).collect();
                only(&failed).or_else(|| Some(n.to_string()))
            }
            (Some(Canary::Matching(regex)), Some(StopReason::Canary)) => Some(shell_word(regex.as_str())),
            (Some(Canary::First(n)), _) => Some(n.to_string()),
            // Where those are done, it would match none of those that are left.
            (Some(Canary::Matching(regex)), _) => {
                let left = report.to_try_again();
                left.iter().any(|name| regex.is_match(name)).then(|| shell_word(regex.as_str()))
            }
        };
        let order = match self.order {
            Order::Name => None,
            Order::Created => Some("created".to_owned()),
            Order::Size => Some("size".to_owned()),
        };
        let max_failures = self.max_failures.map(|max| match max {
            MaxFailures::Count(count) => count.to_string(),
            MaxFailures::Percent(percent) => format!("{percent}%"),
        });
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

    pub(crate) fn rollout(&self) -> Result<Rollout> {
        let rollout = Rollout {
            canary: self.canary.clone(),
            batch: self.batch,
            pause: self.pause.map_or(Duration::ZERO, Duration::from),
            max_failures: self.max_failures,
            breaker: true,
            accepted: accepted_by_file()?,
            ..Rollout::default()
        };
        Ok(if self.fail_fast { rollout.stopping_at_failure() } else { rollout })
    }
}
