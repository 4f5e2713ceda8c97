//! Options that several commands share. They are in groups, and a command flattens the groups that apply to it. Each option
//! can also be set by an environment variable, which `.env` can contain.

mod connection;
mod given;
mod limits;
mod migrations;
mod output;
mod roles;
mod tenancy;
mod values;

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command};

pub(crate) use connection::{Connection, DatabaseOptions};
pub(crate) use given::Given;
pub(crate) use limits::{Jobs, LimitOptions, StatementTimeout, Timeouts};
pub(crate) use migrations::{Migrations, PublicMigrations, Role, SearchPath, TenantMigrations};
pub(crate) use output::{Color, Format, LintFormatOption, OutputOptions, WhereFormatOption};
pub(crate) use roles::RoleChoices;
pub(crate) use tenancy::{TenancyKind, TenancyOptions};
pub(crate) use values::{capacity, duration, keep, number, positive, run_id, spares};

/// Options of a command that reads tenants.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReadOptions {
    #[command(flatten)]
    pub(crate) connection: Connection,

    #[command(flatten)]
    pub(crate) migrations: Migrations,
}

/// Options of a command that changes tenants.
#[derive(Debug, Clone, Args)]
pub(crate) struct WriteOptions {
    #[command(flatten)]
    pub(crate) connection: Connection,

    #[command(flatten)]
    pub(crate) migrations: Migrations,

    #[command(flatten)]
    pub(crate) limits: LimitOptions,
}

/// The options of all groups, in the order in which messages repeat them.
#[derive(Debug, Clone, Args)]
struct Shared {
    #[command(flatten)]
    _migrations: Migrations,
    #[command(flatten)]
    _jobs: Jobs,
    #[command(flatten)]
    _connection: Connection,
    #[command(flatten)]
    _limits: LimitOptions,
    #[command(flatten)]
    _role: Role,
}

fn shared_options() -> Vec<Arg> {
    Shared::augment_args(Command::new("shared")).get_arguments().cloned().collect()
}

/// Also accepts the shared options before the subcommand. They are not in the help, and have no variables and no defaults
/// there: those are of the subcommands that have the option.
pub(crate) fn accept_before_subcommand(root: Command) -> Command {
    shared_options().into_iter().fold(root, |root, arg| {
        root.arg(arg.global(true).hide(true).env(Resettable::Reset).default_value(Resettable::Reset))
    })
}

/// Refuses an option that was given to a command that it does not apply to. `root` is the command without the options of
/// [`accept_before_subcommand`].
pub(crate) fn refuse_inapplicable(root: &mut Command, matches: &ArgMatches) -> Result<(), clap::Error> {
    let (mut command, mut matches) = (&*root, matches);
    let mut path = Vec::new();
    while let Some((name, below)) = matches.subcommand() {
        let Some(found) = command.find_subcommand(name) else { return Ok(()) };
        (command, matches) = (found, below);
        path.push(name.to_owned());
    }
    let wrong = shared_options().into_iter().find(|arg| {
        let id = arg.get_id().as_str();
        !given::has(command, id) && source(matches, id) == Some(ValueSource::CommandLine)
    });
    let command = path.join(" ");
    let Some(arg) = wrong else {
        let format = matches.get_one::<Format>("format").copied().unwrap_or(Format::Table);
        return format.require_for(&command).map_err(|message| root.error(ErrorKind::InvalidValue, message));
    };
    let long = arg.get_long().unwrap_or_default();
    Err(root.error(ErrorKind::UnknownArgument, format!("--{long} does not apply to '{command}'")))
}

/// Where a value came from. A global option is in the matches of the command that it was given to.
pub(super) fn source(matches: &ArgMatches, id: &str) -> Option<ValueSource> {
    let below = matches.subcommand().and_then(|(_, matches)| source(matches, id));
    below.max(matches.try_contains_id(id).ok().and_then(|_| matches.value_source(id)))
}

/// The value that was given as a flag.
pub(super) fn given(matches: &ArgMatches, id: &str) -> Option<String> {
    let below = matches.subcommand().and_then(|(_, matches)| given(matches, id));
    below.or_else(|| {
        if matches.try_contains_id(id).is_err() || matches.value_source(id) != Some(ValueSource::CommandLine) {
            return None;
        }
        let values: Vec<_> = matches.get_raw(id)?.map(|value| value.to_string_lossy()).collect();
        Some(values.join(","))
    })
}
