//! What is printed, and how.

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Args, ValueEnum};

use super::source;
use super::values::boolean;

/// The variable for --format.
const VARIABLE: &str = "TENANTRY_FORMAT";

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputOptions {
    /// Format of standard output
    #[arg(
        long,
        global = true,
        env = VARIABLE,
        hide_env_values = true,
        value_name = "FORMAT",
        default_value = "table"
    )]
    pub(crate) format: Format,

    /// When to use colors; NO_COLOR disables them too
    #[arg(
        long,
        global = true,
        env = "TENANTRY_COLOR",
        hide_env_values = true,
        value_name = "WHEN",
        default_value = "auto"
    )]
    pub(crate) color: Color,

    /// Print only failures
    #[arg(long, short, global = true, env = "TENANTRY_QUIET", hide_env_values = true, action = ArgAction::SetTrue,
          value_parser = boolean)]
    pub(crate) quiet: bool,

    /// Print each tenant, and the database and migrations in use
    #[arg(long, short, global = true, env = "TENANTRY_VERBOSE", hide_env_values = true, action = ArgAction::SetTrue,
          value_parser = boolean)]
    pub(crate) verbose: bool,
}

/// Format of standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Text for people.
    Table,
    /// One JSON document.
    Json,
}

impl Format {
    /// The format that arguments and the environment choose, for errors before the arguments are parsed.
    pub(crate) fn requested(arguments: &[OsString]) -> Self {
        let mut words = arguments.iter().map(|word| word.to_string_lossy()).take_while(|word| word != "--").peekable();
        let mut given = None;
        while let Some(word) = words.next() {
            given = match word.strip_prefix("--format") {
                Some("") => words.peek().map(ToString::to_string),
                Some(value) => value.strip_prefix('=').map(str::to_owned).or(given),
                None => given,
            };
        }
        let given = given.or_else(|| std::env::var(VARIABLE).ok());
        given.and_then(|name| Self::from_str(&name, false).ok()).unwrap_or(Self::Table)
    }
}

/// When to use colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl OutputOptions {
    /// Decides between --quiet and --verbose if both are set: a flag takes precedence over a variable, then --quiet.
    pub(crate) fn resolve(&mut self, matches: &ArgMatches) {
        if self.quiet && self.verbose {
            let by_flag = |id| source(matches, id) == Some(ValueSource::CommandLine);
            self.quiet = by_flag("quiet") || !by_flag("verbose");
            self.verbose = !self.quiet;
        }
    }
}
