//! Settings that all commands share: a flag, or else its environment variable, or else `.env`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Args, ValueEnum};

use super::context::shell_word;
use crate::database::DEFAULT_JOBS;
use crate::model::SchemaName;

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

    /// Directory of the tenant migrations [default: those built into the program, else dir of [migrations_directory] in
    /// diesel.toml, else migrations/tenant]
    #[arg(long, global = true, env = "TENANTRY_TENANT_MIGRATIONS", hide_env_values = true, value_name = "DIR")]
    pub(crate) tenant_migrations: Option<PathBuf>,

    /// Directory of the public migrations, which are added to the tracker's own [default: those built into the program]
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
    #[arg(long, short, global = true, env = "TENANTRY_QUIET", hide_env_values = true, action = ArgAction::SetTrue,
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
        default_value = "5s",
        value_parser = connect_timeout
    )]
    pub(crate) connect_timeout: humantime::Duration,

    /// How long each wait for a lock may take in a tenant's transaction; others wait behind it
    #[arg(long, global = true, env = "TENANTRY_LOCK_TIMEOUT", hide_env_values = true, value_parser = lock_timeout, value_name = "TIME",
          default_value = "5s")]
    pub(crate) lock_timeout: humantime::Duration,

    /// How many more times a tenant is tried that other sessions are in the way of
    #[arg(
        long,
        global = true,
        env = "TENANTRY_RETRIES",
        hide_env_values = true,
        value_name = "N",
        default_value = "5"
    )]
    pub(crate) retries: u32,

    /// How long to wait for a server that is gone in the middle of a run
    #[arg(long, global = true, env = "TENANTRY_RECONNECT_FOR", hide_env_values = true, value_name = "TIME", default_value = "60s",
          value_parser = reconnect_for)]
    pub(crate) reconnect_for: humantime::Duration,

    /// How long runs are remembered
    #[arg(long, global = true, env = "TENANTRY_KEEP", hide_env_values = true, value_name = "TIME", default_value = "90days",
          value_parser = keep)]
    pub(crate) keep: humantime::Duration,

    /// How long a statement of a migration, of create or of drop may take [default: the server's setting]
    #[arg(long, global = true, env = "TENANTRY_STATEMENT_TIMEOUT", hide_env_values = true, value_parser = statement_timeout, value_name = "TIME")]
    pub(crate) statement_timeout: Option<humantime::Duration>,

    /// Run the tenant migrations as the role that owns the tenant's schema: an accident then reaches no further than that role
    ///
    /// What the migrations create belongs to that role. This is no protection against a hostile tenant, whose triggers can
    /// reset the role: for that, connect as a role with few rights.
    #[arg(long, global = true, env = "TENANTRY_AS_OWNER", hide_env_values = true, action = ArgAction::SetTrue,
          value_parser = FalseyValueParser::new())]
    pub(crate) as_owner: bool,

    /// Those that came as flags and that a command to be typed must have, as they are written behind it.
    #[arg(skip)]
    pub(crate) given: String,
}

/// The settings without which a command would do something else, or in another way. Not the database: its URL may have a
/// password.
const REPEATED: [(&str, &str); 10] = [
    ("tenant_migrations", "tenant-migrations"),
    ("public_migrations", "public-migrations"),
    ("extension_schemas", "extension-schema"),
    ("jobs", "jobs"),
    ("connect_timeout", "connect-timeout"),
    ("lock_timeout", "lock-timeout"),
    ("statement_timeout", "statement-timeout"),
    ("retries", "retries"),
    ("reconnect_for", "reconnect-for"),
    ("keep", "keep"),
];

impl Settings {
    /// Decides between --quiet and --verbose where both are set: a flag wins over a variable, and else silence. Notes what
    /// came as flags.
    pub(crate) fn resolve(&mut self, matches: &ArgMatches) {
        for (id, flag) in REPEATED {
            if let Some(value) = given(matches, id) {
                self.given.push_str(&format!(" --{flag} {}", shell_word(&value)));
            }
        }
        if source(matches, "as_owner") == Some(ValueSource::CommandLine) {
            self.given.push_str(" --as-owner");
        }
        if self.quiet && self.verbose {
            let by_flag = |id| source(matches, id) == Some(ValueSource::CommandLine);
            self.quiet = by_flag("quiet") || !by_flag("verbose");
            self.verbose = !self.quiet;
        }
    }
}

/// Where a value came from. A global argument is in the matches of the command that it was given to.
fn source(matches: &ArgMatches, id: &str) -> Option<ValueSource> {
    let below = matches.subcommand().and_then(|(_, matches)| source(matches, id));
    below.max(matches.try_contains_id(id).ok().and_then(|_| matches.value_source(id)))
}

/// What a flag was given, where it was.
pub(super) fn given(matches: &ArgMatches, id: &str) -> Option<String> {
    let below = matches.subcommand().and_then(|(_, matches)| given(matches, id));
    below.or_else(|| {
        matches.try_contains_id(id).ok().filter(|_| matches.value_source(id) == Some(ValueSource::CommandLine))?;
        let values: Vec<_> = matches.get_raw(id)?.map(|value| value.to_string_lossy()).collect();
        Some(values.join(","))
    })
}

/// A time of at most an hour, which libpq takes in whole seconds.
fn connect_timeout(text: &str) -> Result<humantime::Duration, String> {
    at_most(text, Duration::from_secs(3_600), "1h")
}

/// A time of at most 24 days, which the server takes in milliseconds, as a 32-bit number.
fn statement_timeout(text: &str) -> Result<humantime::Duration, String> {
    at_most(text, Duration::from_secs(24 * 86_400), "24days")
}

/// A time from 1 ms to 24 days: to the server 0 means without a limit.
fn lock_timeout(text: &str) -> Result<humantime::Duration, String> {
    let time = at_most(text, Duration::from_secs(24 * 86_400), "24days")?;
    match time.as_millis() {
        0 => Err("at least 1ms: without a limit, everybody waits behind it".to_owned()),
        _ => Ok(time),
    }
}

fn reconnect_for(text: &str) -> Result<humantime::Duration, String> {
    at_most(text, Duration::from_secs(86_400), "1day")
}

fn keep(text: &str) -> Result<humantime::Duration, String> {
    at_most(text, Duration::from_secs(100 * 365 * 86_400), "100years")
}

fn at_most(text: &str, most: Duration, shown: &str) -> Result<humantime::Duration, String> {
    let time: humantime::Duration =
        text.parse().map_err(|error| format!("{error}; give a unit, as in 500ms, 5s or 2m"))?;
    match *time <= most {
        true => Ok(time),
        false => Err(format!("at most {shown}")),
    }
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
