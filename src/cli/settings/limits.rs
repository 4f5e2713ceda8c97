//! Limits of the work on tenants: time, waiting, retries, connections.

use std::time::Duration;

use clap::Args;

use super::values::{jobs, keep, lock_timeout, reconnect_for, retries, statement_timeout};
use crate::database::DEFAULT_JOBS;
use crate::tenants;

/// How many tenants are processed at the same time.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct Jobs {
    /// Number of parallel connections; at most as many as the server has free
    #[arg(long, env = "TENANTRY_JOBS", hide_env_values = true, value_name = "N", default_value_t = DEFAULT_JOBS as u16,
          value_parser = jobs)]
    pub(crate) jobs: u16,

    /// Number of parallel connections to all servers together [default: --jobs for each server]
    #[arg(long, env = "TENANTRY_TOTAL_JOBS", hide_env_values = true, value_name = "N", value_parser = jobs)]
    pub(crate) total_jobs: Option<u16>,
}

/// The limit of a statement.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct StatementTimeout {
    /// Timeout for each statement [default: the server's setting]
    #[arg(long, env = "TENANTRY_STATEMENT_TIMEOUT", hide_env_values = true, value_parser = statement_timeout,
          value_name = "TIME")]
    pub(crate) statement_timeout: Option<humantime::Duration>,
}

/// The limits of a transaction.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct Timeouts {
    /// Timeout for each wait for a lock; other sessions queue behind a waiting statement
    #[arg(long, env = "TENANTRY_LOCK_TIMEOUT", hide_env_values = true, value_parser = lock_timeout, value_name = "TIME",
          default_value = "5s")]
    pub(crate) lock_timeout: humantime::Duration,

    #[command(flatten)]
    pub(crate) statement: StatementTimeout,
}

/// The limits of a run.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitOptions {
    #[command(flatten)]
    pub(crate) timeouts: Timeouts,

    /// Retries per tenant after a lock timeout, deadlock or serialization failure
    #[arg(long, env = "TENANTRY_RETRIES", hide_env_values = true, value_name = "N", default_value = "5",
          value_parser = retries)]
    pub(crate) retries: u32,

    /// How long to try to reconnect if the connection to the server is lost
    #[arg(long, env = "TENANTRY_RECONNECT_FOR", hide_env_values = true, value_name = "TIME", default_value = "60s",
          value_parser = reconnect_for)]
    pub(crate) reconnect_for: humantime::Duration,

    /// Delete the records of runs older than this
    #[arg(long, env = "TENANTRY_KEEP", hide_env_values = true, value_name = "TIME", default_value = "90days",
          value_parser = keep)]
    pub(crate) keep: humantime::Duration,
}

impl Jobs {
    pub(crate) fn count(&self) -> usize {
        usize::from(self.jobs)
    }
}

impl Timeouts {
    pub(crate) fn limits(&self) -> tenants::Limits {
        tenants::Limits {
            statement_timeout: self.statement.statement_timeout.map(Duration::from),
            lock_timeout: self.lock_timeout.into(),
            ..tenants::Limits::default()
        }
    }
}

impl LimitOptions {
    pub(crate) fn limits(&self) -> tenants::Limits {
        tenants::Limits { retries: self.retries, reconnect_for: self.reconnect_for.into(), ..self.timeouts.limits() }
    }
}
