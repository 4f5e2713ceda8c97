//! How to reach the database.

use clap::Args;

use super::values::{connect_timeout, wait};

/// How to reach the database.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// Database to connect to: a URL or a libpq connection string
    ///
    /// If it is not given, libpq's variables apply (PGHOST, PGPORT, PGSERVICE, PGDATABASE, …). The password can also come
    /// from PGPASSWORD or ~/.pgpass.
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub(crate) database_url: Option<String>,

    /// Timeout for connecting, for each address of the host
    #[arg(
        long,
        env = "TENANTRY_CONNECT_TIMEOUT",
        hide_env_values = true,
        value_name = "TIME",
        default_value = "5s",
        value_parser = connect_timeout
    )]
    pub(crate) connect_timeout: humantime::Duration,

    /// How long to wait for a server that cannot be reached yet or is starting up
    #[arg(
        long,
        env = "TENANTRY_WAIT",
        hide_env_values = true,
        value_name = "TIME",
        default_value = "0s",
        value_parser = wait
    )]
    pub(crate) wait: humantime::Duration,
}
