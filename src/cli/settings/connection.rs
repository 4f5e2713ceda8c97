//! How to reach the database.

use std::ops::Deref;

use clap::Args;

use super::values::{connect_timeout, wait};

/// How to reach the database, and on which servers the command works if the fleet is on several.
#[derive(Debug, Clone, Args)]
pub(crate) struct Connection {
    #[command(flatten)]
    pub(crate) database: DatabaseOptions,

    #[command(flatten)]
    pub(crate) servers: ServerChoice,
}

/// The servers on which a command works.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ServerChoice {
    /// Only this server of a fleet on several servers; may be repeated
    #[arg(
        long,
        env = "TENANTRY_SERVER",
        hide_env_values = true,
        value_name = "NAME",
        value_delimiter = ',',
        conflicts_with = "region"
    )]
    pub(crate) server: Vec<String>,

    /// Only the servers in this region
    #[arg(long, env = "TENANTRY_REGION", hide_env_values = true, value_name = "REGION")]
    pub(crate) region: Option<String>,
}

/// How to reach the database.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct DatabaseOptions {
    /// Database to connect to: a URL or a libpq connection string
    ///
    /// If it is not given, libpq's variables apply (PGHOST, PGPORT, PGSERVICE, PGDATABASE, …). The password can also come
    /// from PGPASSWORD or ~/.pgpass.
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub(crate) database_url: Option<String>,

    /// Databases with a copy of the directory of servers, in case the registry cannot be reached
    ///
    /// Tried in their order. Commands that only read or migrate tenants continue without the registry.
    #[arg(long, env = "TENANTRY_FALLBACK_URL", hide_env_values = true, value_name = "URL", value_delimiter = ' ')]
    pub(crate) fallback_url: Vec<String>,

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

impl Deref for Connection {
    type Target = DatabaseOptions;

    fn deref(&self) -> &DatabaseOptions {
        &self.database
    }
}

impl From<DatabaseOptions> for Connection {
    fn from(database: DatabaseOptions) -> Self {
        Self { database, servers: ServerChoice::default() }
    }
}

impl ServerChoice {
    /// Whether servers are chosen.
    pub(crate) fn is_given(&self) -> bool {
        !self.server.is_empty() || self.region.is_some()
    }
}
