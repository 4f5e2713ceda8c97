//! The command line, for this project's binary and for applications with migrations of their own.
//!
//! ```no_run
//! use std::process::ExitCode;
//! use tenantry::{Embedded, cli::App, embed_migrations};
//!
//! static MIGRATIONS: Embedded = embed_migrations!("$CARGO_MANIFEST_DIR/migrations/tenant");
//!
//! fn main() -> ExitCode {
//!     App::new("my-app-tenants", &MIGRATIONS).run()
//! }
//! ```

pub mod exit;

mod actor;
mod arguments;
mod commands;
mod comparing;
mod confirm;
mod context;
mod dotenv;
mod interrupt;
mod output;
mod progress;
mod project;
mod report;
mod resume;
mod retry;
mod settings;
mod steps;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::{CommandFactory, FromArgMatches, Parser};

use crate::migration::Embedded;
use crate::text;

use commands::Command;
use context::Context;
use exit::Exit;
use settings::Settings;

/// A command line: its name, and the migrations that are built into it.
#[derive(Debug, Clone)]
pub struct App {
    program: &'static str,
    tenant: Option<&'static Embedded>,
    sample: Option<&'static Embedded>,
    public: Option<&'static Embedded>,
}

impl App {
    /// A command line called `program`, which applies `tenant` to its tenants unless `--tenant-migrations` names others.
    pub fn new(program: &'static str, tenant: &'static Embedded) -> Self {
        Self { program, tenant: Some(tenant), sample: None, public: None }
    }

    /// A command line called `program` without tenant migrations of its own: those of `--tenant-migrations`, else those of
    /// the project that it runs in, are applied.
    pub fn without_migrations(program: &'static str) -> Self {
        Self { program, tenant: None, sample: None, public: None }
    }

    /// Sets the tenant migrations of the `demo` command, which are used by nothing else. By default they are those of the
    /// command line.
    #[must_use]
    pub fn with_sample(mut self, sample: &'static Embedded) -> Self {
        self.sample = Some(sample);
        self
    }

    /// Adds migrations of the schema `public` to the tracker's own.
    #[must_use]
    pub fn with_public_migrations(mut self, public: &'static Embedded) -> Self {
        self.public = Some(public);
        self
    }

    /// Reads `.env` and the arguments of the process, and does what they say. To be called first in `main`: `.env` becomes
    /// part of the environment, which is safe only before there are threads.
    pub fn run(&self) -> ExitCode {
        match dotenv::load() {
            Ok(ignored) => self.run_with(std::env::args_os(), &ignored).into(),
            Err(message) => {
                output::error(message);
                Exit::Usage.into()
            }
        }
    }

    /// Does what `arguments` say, the first of which is the program; `.env` is not read.
    pub fn run_from(&self, arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Exit {
        self.run_with(arguments, &[])
    }

    /// Runs the command; `ignored` are the variables of `.env` that are no settings.
    fn run_with(&self, arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>, ignored: &[String]) -> Exit {
        let given: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
        let parsed =
            without_empty_variables(Self::command(self.program)).try_get_matches_from(&given).and_then(|matches| {
                let mut arguments = Arguments::from_arg_matches(&matches)?;
                arguments.settings.resolve(&matches);
                Ok((arguments, actor::of_process(&given, &matches)))
            });
        let (arguments, actor) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => return self.print(&given, error),
        };
        let context = Context::new(self.clone(), actor, arguments.settings);
        if !ignored.is_empty() {
            context.output().detail(format_args!(
                "ignored in .env, as they are no settings: {} (settings are DATABASE_URL, PG* and TENANTRY_*)",
                ignored.join(", ")
            ));
        }
        match arguments.command.run(&context) {
            Ok(exit) => exit,
            Err(error) => report::error(&context, &error),
        }
    }

    /// Prints help, or what is wrong with the arguments.
    fn print(&self, given: &[OsString], error: clap::Error) -> Exit {
        if !error.use_stderr() {
            return match error.print().and_then(|()| io::stdout().flush()) {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                    output::error(format_args!("cannot write to standard output: {error}"));
                    Exit::Refused
                }
                _ => Exit::Done,
            };
        }
        let words: Vec<String> = given.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        match words.iter().any(|word| word.contains(text::is_unprintable)) {
            true => output::to_stderr(text::multi_line(&escaped(error.render().to_string(), &words)).trim_end()),
            // Without standard error there is nowhere to report it.
            false => drop(error.print()),
        }
        Exit::Usage
    }

    fn command(program: &'static str) -> clap::Command {
        Arguments::command().name(program).bin_name(program)
    }
}

/// What clap says, with the unprintable characters of the arguments that it repeats escaped: line breaks of an argument
/// would pass for its own.
fn escaped(said: String, words: &[String]) -> String {
    // It repeats an argument, the value behind an equals sign, one of several values, or a single short option.
    let parts = words.iter().flat_map(|word| {
        let value = word.split_once('=').map_or("", |(_, value)| value);
        [word.as_str(), value].into_iter().chain(word.split(['=', ',']))
    });
    let options = words.iter().flat_map(|word| word.chars()).map(|c| format!("-{c}"));
    parts.map(str::to_owned).chain(options).filter(|part| part.contains(text::is_unprintable)).fold(
        said,
        |said, part| {
            // Rendering without styles takes the escape sequences of arguments out as well.
            let without_sequences = anstream::adapter::strip_str(&part).to_string();
            [&part, &without_sequences]
                .into_iter()
                .filter(|shown| shown.contains(text::is_unprintable))
                .fold(said, |said, shown| said.replace(shown.as_str(), &text::one_line(&part)))
        },
    )
}

/// A variable that is set to nothing is not set, as in the files of containers and services.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| {
            match arg.get_env().is_some_and(|name| std::env::var_os(name).is_some_and(|value| value.is_empty())) {
                true => arg.env(Resettable::Reset),
                false => arg,
            }
        })
        .mut_subcommands(without_empty_variables)
}

/// One PostgreSQL schema per tenant, and every one of them the same.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 done, 1 something is amiss or some tenants failed, 2 wrong usage, 3 the database cannot be \
                  reached, is not set up or refused, 4 not confirmed, 130 interrupted."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    settings: Settings,
}
