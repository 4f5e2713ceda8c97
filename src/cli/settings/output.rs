//! What is printed, and how.

use std::ffi::OsString;

use clap::builder::{PossibleValuesParser, TypedValueParser};
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
        default_value = "table",
        value_parser = general_format()
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

/// The option --format of `lint`, which has formats of its own. It takes the place of the one of [`OutputOptions`].
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct LintFormatOption {
    /// Format of standard output
    #[arg(
        long = "format",
        id = "format",
        env = VARIABLE,
        hide_env_values = true,
        value_name = "FORMAT",
        default_value = "table",
        display_order = 0,
        value_parser = formats_of("lint")
    )]
    _format: Format,
}

/// The option --format of `where`, as [`LintFormatOption`].
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct WhereFormatOption {
    /// Format of standard output
    #[arg(
        long = "format",
        id = "format",
        env = VARIABLE,
        hide_env_values = true,
        value_name = "FORMAT",
        default_value = "table",
        display_order = 0,
        value_parser = formats_of("where")
    )]
    _format: Format,
}

/// Format of standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Text for people.
    Table,
    /// One JSON document.
    Json,
    /// A SARIF 2.1.0 log, for code scanning.
    Sarif,
    /// Commands of a GitHub workflow, which annotate lines of files.
    Github,
    /// The URL of each tenant's database, one per line.
    Url,
    /// Configuration of PgDog.
    Pgdog,
    /// Configuration of PgBouncer.
    Pgbouncer,
}

/// Shows only the formats that every command has. The others are parsed, too, because the option can precede the command.
fn general_format() -> impl TypedValueParser<Value = Format> {
    formats_of("")
}

/// Shows only the formats that a command has.
fn formats_of(command: &'static str) -> impl TypedValueParser<Value = Format> {
    let values = Format::value_variants().iter().filter_map(|format| {
        let value = format.to_possible_value()?;
        Some(value.hide(format.require_for(command).is_err()))
    });
    // It parses these values only.
    PossibleValuesParser::new(values).map(|name| Format::from_str(&name, false).unwrap_or(Format::Table))
}

impl Format {
    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Sarif => "sarif",
            Self::Github => "github",
            Self::Url => "url",
            Self::Pgdog => "pgdog",
            Self::Pgbouncer => "pgbouncer",
        }
    }

    /// Checks that a command has it.
    ///
    /// # Errors
    /// The message if it has not.
    pub(crate) fn require_for(self, command: &str) -> Result<(), String> {
        let only = match self {
            Self::Table | Self::Json => return Ok(()),
            Self::Sarif | Self::Github => "lint",
            Self::Url | Self::Pgdog | Self::Pgbouncer => "where",
        };
        if command == only {
            return Ok(());
        }
        Err(format!("--format {} does not apply to '{command}': only '{only}' has it", self.name()))
    }

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
