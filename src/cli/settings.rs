//! Settings that all commands share: a flag, or else its environment variable, or else `.env`.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, ValueEnum};

use crate::database::DEFAULT_JOBS;
use crate::name::SchemaName;

/// The settings.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Settings {
    /// The database: a URL or key=value pairs, all that libpq takes
    ///
    /// Left out, libpq's own variables (PGHOST, PGSERVICE, PGDATABASE, …) say where it is. Passwords may come from
    /// PGPASSWORD or ~/.pgpass.
    #[arg(long, global = true, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub(crate) database_url: Option<String>,

    /// Read the tenant migrations from a directory instead of the binary
    #[arg(long, global = true, env = "TENANTRY_TENANT_MIGRATIONS", hide_env_values = true, value_name = "DIR")]
    pub(crate) tenant_migrations: Option<PathBuf>,

    /// Read the public migrations from a directory instead of the binary; the tracker's own are added to them
    #[arg(long, global = true, env = "TENANTRY_PUBLIC_MIGRATIONS", hide_env_values = true, value_name = "DIR")]
    pub(crate) public_migrations: Option<PathBuf>,

    /// How many connections work at once; never more than the server has free
    #[arg(long, global = true, env = "TENANTRY_JOBS", hide_env_values = true, value_name = "N", default_value_t = DEFAULT_JOBS as u16,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: u16,

    /// A schema that holds extensions, to be behind the tenant's on the search path; may be given several times
    #[arg(
        long = "extension-schema",
        global = true,
        env = "TENANTRY_EXTENSION_SCHEMA",
        hide_env_values = true,
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub(crate) extension_schemas: Vec<SchemaName>,

    /// What the data on standard output looks like
    #[arg(
        long,
        global = true,
        env = "TENANTRY_FORMAT",
        hide_env_values = true,
        value_name = "FORMAT",
        default_value = "table"
    )]
    pub(crate) format: Format,

    /// When to use color; NO_COLOR is respected
    #[arg(
        long,
        global = true,
        env = "TENANTRY_COLOR",
        hide_env_values = true,
        value_name = "WHEN",
        default_value = "auto"
    )]
    pub(crate) color: Color,

    /// Tell only of failures
    #[arg(long, short, global = true, env = "TENANTRY_QUIET", hide_env_values = true, action = ArgAction::SetTrue, conflicts_with = "verbose",
          value_parser = FalseyValueParser::new())]
    pub(crate) quiet: bool,

    /// Tell of every tenant
    #[arg(long, short, global = true, env = "TENANTRY_VERBOSE", hide_env_values = true, action = ArgAction::SetTrue,
          value_parser = FalseyValueParser::new())]
    pub(crate) verbose: bool,

    /// How long to wait for a connection, for each address of the host
    #[arg(
        long,
        global = true,
        env = "TENANTRY_CONNECT_TIMEOUT",
        hide_env_values = true,
        value_name = "TIME",
        default_value = "5s"
    )]
    pub(crate) connect_timeout: humantime::Duration,

    /// How long a statement of a migration, of create or of drop may take [default: the server's setting]
    #[arg(long, global = true, env = "TENANTRY_STATEMENT_TIMEOUT", hide_env_values = true, value_name = "TIME")]
    pub(crate) statement_timeout: Option<humantime::Duration>,
}

/// What the data on standard output looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// When to use color.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}
