//! The command line, for this crate's binary and for applications with built-in migrations.
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
mod cause;
mod codes;
mod commands;
mod compare;
mod complete;
mod confirm;
mod context;
mod dotenv;
mod files;
mod fleet;
mod fleet_options;
mod help;
mod interrupt;
mod junit;
mod output;
mod parse;
mod progress;
mod project;
mod report;
mod request;
mod resume;
mod retry;
mod rollout;
mod selection;
mod settings;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::migration::Embedded;

use commands::Command;
use context::Context;
use dotenv::Dotenv;
use exit::Exit;
use parse::ParsedArguments;
use settings::OutputOptions;

/// A command-line program: its name, and the migrations built into it.
#[derive(Debug, Clone)]
pub struct App {
    program: &'static str,
    tenant: Option<&'static Embedded>,
    sample: Option<&'static Embedded>,
    public: Option<&'static Embedded>,
}

impl App {
    /// A program with built-in tenant migrations, which `--tenant-migrations` overrides.
    pub fn new(program: &'static str, tenant: &'static Embedded) -> Self {
        Self { program, tenant: Some(tenant), sample: None, public: None }
    }

    /// A program without built-in tenant migrations. It uses those of `--tenant-migrations`, else those of the project in the
    /// working directory.
    pub fn without_migrations(program: &'static str) -> Self {
        Self { program, tenant: None, sample: None, public: None }
    }

    /// Sets the tenant migrations of the `demo` command. By default it uses those of the program.
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

    /// Reads `.env`, parses the arguments of the process and runs the command. Call it first in `main`: it adds the settings
    /// of `.env` to the environment, which is safe only before other threads start. Exits the process if a shell asks for
    /// completions.
    pub fn run(&self) -> ExitCode {
        complete::complete_if_asked(self);
        let words: Vec<OsString> = std::env::args_os().collect();
        match dotenv::load() {
            Ok(dotenv) => self.run_with(words, &dotenv).into(),
            Err(message) => report::settings_error(&words, &message).into(),
        }
    }

    /// Parses `arguments`, the first of which is the program, and runs the command. It does not read `.env`.
    pub fn run_from(&self, arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Exit {
        self.run_with(arguments, &Dotenv::default())
    }

    /// Runs the command, after the settings of `.env` were added to the environment.
    fn run_with(&self, arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>, dotenv: &Dotenv) -> Exit {
        let words: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
        let ParsedArguments { arguments, matches, given } = match parse::parse(self.program, &words) {
            Ok(parsed) => parsed,
            Err(error) => return parse::print(&words, error),
        };
        let context = Context::new(self.clone(), actor::of_process(&words, &matches), &arguments.output, given);
        if let Some(file) = &dotenv.above {
            context.output().detail(format_args!("settings: {}", file.display()));
        }
        if !dotenv.ignored.is_empty() {
            context.output().detail(format_args!(
                "ignored variables in .env: {} (only DATABASE_URL, PG* and TENANTRY_* are read)",
                dotenv.ignored.join(", ")
            ));
        }
        match fleet::run(arguments.command, &context) {
            Ok(exit) => exit,
            Err(error) => report::error(&context, &error),
        }
    }
}

/// Manage fleets of PostgreSQL tenant schemas with Diesel migrations
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 success, 1 findings, failed tenants or no matching tenant, 2 usage error, 3 refused until something \
                  is changed, 4 not confirmed, 5 temporary failure (server unreachable, locked), try again, 130 interrupted."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    output: OutputOptions,
}
