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
mod report;
mod resume;
mod retry;
mod settings;
mod steps;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::{CommandFactory, FromArgMatches, Parser};

use crate::migration::Embedded;

use commands::Command;
use context::Context;
use exit::Exit;
use settings::Settings;

/// A command line with migrations of its own.
#[derive(Debug, Clone)]
pub struct App {
    program: &'static str,
    tenant: &'static Embedded,
    public: Option<&'static Embedded>,
}

impl App {
    /// A command line called `program`, for tenants whose structure `tenant` produces.
    pub fn new(program: &'static str, tenant: &'static Embedded) -> Self {
        Self { program, tenant, public: None }
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
        if let Err(message) = dotenv::load() {
            anstream::eprintln!("error: {message}");
            return Exit::Usage.into();
        }
        self.run_from(std::env::args_os()).into()
    }

    /// Does what `arguments` say, the first of which is the program; `.env` is not read.
    pub fn run_from(&self, arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Exit {
        let given: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
        let parsed =
            without_empty_variables(Self::command(self.program)).try_get_matches_from(&given).and_then(|matches| {
                let mut arguments = Arguments::from_arg_matches(&matches)?;
                arguments.settings.resolve(&matches);
                Ok((arguments, actor::of_process(&given, &matches)))
            });
        let (arguments, actor) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => {
                // Nothing can be done about a standard output that does not take the help.
                let _ = error.print();
                return if error.use_stderr() { Exit::Usage } else { Exit::Done };
            }
        };
        let context = Context::new(self.clone(), actor, arguments.settings);
        match arguments.command.run(&context) {
            Ok(exit) => exit,
            Err(error) => report::error(&context, &error),
        }
    }

    fn command(program: &'static str) -> clap::Command {
        Arguments::command().name(program).bin_name(program)
    }
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
