//! `demo`

use std::ffi::OsString;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::FromArgMatches;
use diesel::connection::SimpleConnection;

use super::local::BinariesArgs;
use crate::cli::Arguments;
use crate::cli::context::{Context, Usage};
use crate::cli::exit::Exit;
use crate::cli::parse;
use crate::cli::progress::milliseconds;
use crate::cli::settings::ReadOptions;
use crate::database::{Database, Stop};
use crate::local::{DATABASE, Ephemeral};
use crate::model::SchemaName;
use crate::operations::DropPlan;
use crate::schema::reference::Reference;
use crate::sql::quote::Identifier;
use crate::tenants::Tenancy;

/// Demonstrate the commands on a private PostgreSQL server
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Show how long each step takes
    #[arg(long)]
    timing: bool,

    /// Use the database of --database-url, which must have no tracker; everything created is dropped again
    #[arg(long)]
    in_database: bool,

    #[command(flatten)]
    binaries: BinariesArgs,

    #[command(flatten)]
    options: ReadOptions,
}

/// The tenants of the demonstration.
const TENANTS: [&str; 4] = ["acme", "globex", "initech", "umbrella"];

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let timing = if args.timing { Timing::Shown } else { Timing::Hidden };
    if args.in_database {
        let mut db = context.database(&args.options.connection)?;
        let names = TENANTS.iter().map(|tenant| tenant.parse()).collect::<Result<Vec<SchemaName>, _>>()?;
        let server = db.server();
        let in_use = server.has_tracker || server.has_public_ledger || server.has_diesel_ledger;
        if in_use || crate::operations::any_exists(&mut db, &names)? {
            return Err(Usage::with_hint(
                "database-in-use",
                "the database already has a tracker, a public ledger, or a schema with a name that the demonstration uses",
                "use an empty database, or omit --in-database",
            )
            .into());
        }
        return Demonstration::new(context, args.options, timing)?.run();
    }
    context.output().status("# Start a private PostgreSQL server, which is removed at the end.");
    let begun = Instant::now();
    let server = Ephemeral::start(&args.binaries.find()?, &[])?;
    if timing == Timing::Shown {
        context.output().status(format_args!("  ({})", milliseconds(begun.elapsed())));
    }
    let mut options = args.options;
    options.connection.database.database_url = Some(server.url(DATABASE));
    Demonstration::new(context, options, timing)?.run()
}

/// Whether the duration of each step is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timing {
    Shown,
    Hidden,
}

struct Demonstration<'a> {
    context: &'a Context,
    options: ReadOptions,
    timing: Timing,
    begun: Instant,
    /// The number of migrations of the older release.
    older: usize,
}

impl<'a> Demonstration<'a> {
    fn new(context: &'a Context, options: ReadOptions, timing: Timing) -> Result<Self> {
        let migrations = context.for_demo(None).tenancy(&options.migrations)?.tenant_migrations().len();
        Ok(Self { context, options, timing, begun: Instant::now(), older: migrations.saturating_sub(2).max(1) })
    }

    fn run(&self) -> Result<Exit> {
        let result = self.steps();
        if let Err(error) = result {
            // Everything is cleaned up in any case. The first error is reported.
            let _ =
                self.play(None, &format!("drop --untracked --if-exists --yes {} stray", TENANTS.join(" ")), Exit::Done);
            let _ = self.clean_up();
            return Err(error);
        }
        if self.timing == Timing::Shown {
            self.paragraph(format_args!("Total: {}.", milliseconds(self.begun.elapsed())));
        }
        Ok(Exit::Done)
    }

    fn steps(&self) -> Result<()> {
        let tenants = TENANTS.join(" ");
        let [acme, globex, ..] = TENANTS;
        self.explain("Set up the tracker, once for each database.");
        self.play(None, "migrate-public", Exit::Done)?;
        self.explain("Create tenants, each in one transaction. The application is two migrations behind.");
        self.play(Some(self.older), &format!("create {tenants}"), Exit::Done)?;
        self.explain("Install a newer release. Show which tenants have pending migrations.");
        self.play(None, "list", Exit::Done)?;
        self.play(None, "migrate-all --dry-run", Exit::Done)?;
        self.explain("Apply the pending migrations to all tenants, several at a time.");
        self.play(None, "migrate-all", Exit::Done)?;
        self.play(None, "health-check", Exit::Done)?;
        self.explain("Damage a tenant by hand, and create a schema that is not tracked.");
        self.break_by_hand(globex, acme)?;
        self.explain("The health check reports the problems and how to fix them. The exit code is 1, for CI.");
        self.play(None, "health-check", Exit::Found)?;
        self.explain("Drop the untracked schema, and drop and create the damaged tenant again.");
        self.play(None, "drop --untracked --yes stray", Exit::Done)?;
        self.play(None, &format!("drop --yes {globex}"), Exit::Done)?;
        self.play(None, &format!("create {globex}"), Exit::Done)?;
        self.play(None, "health-check", Exit::Done)?;
        self.explain("Clean up: drop every tenant, the tracker and the public ledger.");
        self.play(None, &format!("drop --yes {tenants}"), Exit::Done)?;
        self.clean_up()
    }

    /// A cleanup without tenants. Tenants that someone else has created in the meantime are kept, with the tracker.
    fn clean_up(&self) -> Result<()> {
        let (tenancy, mut db) = self.connect()?;
        let mut plan = crate::operations::plan_cleanup(&mut db, &tenancy, crate::operations::Orphans::Keep)?;
        plan.tenants = DropPlan::default();
        self.paragraph(format_args!("$ {} cleanup --yes", self.context.program()));
        let begun = Instant::now();
        let report = crate::operations::cleanup(&mut db, &tenancy, plan, &Stop::default(), &mut ())?;
        if let Some(error) = report.failed {
            return Err(error.into());
        }
        let reverted = crate::cli::output::count(report.reverted.len(), "public migration");
        self.context.output().status(format_args!("{reverted} reverted, public.schema_ledger dropped"));
        self.took(begun.elapsed());
        Ok(())
    }

    fn connect(&self) -> Result<(Tenancy, Database)> {
        let tenancy = self.context.for_demo(None).tenancy(&self.options.migrations)?;
        Ok((tenancy, self.context.database(&self.options.connection)?))
    }

    /// Prints and runs a command, with only the `first` tenant migrations.
    fn play(&self, first: Option<usize>, line: &str, expected: Exit) -> Result<()> {
        let program = self.context.program();
        self.paragraph(format_args!("$ {program} {line}"));
        let mut words = vec![OsString::from(program)];
        if let Some(url) = &self.options.connection.database_url {
            words.extend(["--database-url".into(), url.into()]);
        }
        if let Some(dir) = &self.options.migrations.tenant.dir {
            words.extend(["--tenant-migrations".into(), dir.into()]);
        }
        words.extend(line.split(' ').map(OsString::from));
        let matches = parse::parser(program).try_get_matches_from(words)?;
        let command = Arguments::from_arg_matches(&matches)?.command;
        let begun = Instant::now();
        let exit = command.run(&self.context.for_demo(first))?;
        self.took(begun.elapsed());
        if exit != expected {
            bail!("the demonstration failed: '{program} {line}' ended with {}, not {}", exit.code(), expected.code());
        }
        Ok(())
    }

    /// Drops a table of one tenant, and copies the ledger of another into a schema of its own.
    fn break_by_hand(&self, broken: &str, copied: &str) -> Result<()> {
        let (tenancy, mut db) = self.connect()?;
        let tables = Reference::tables(&mut db, &tenancy)?;
        let (broken, copied): (SchemaName, SchemaName) = (broken.parse()?, copied.parse()?);
        let mut statements = vec![
            "CREATE SCHEMA stray".to_owned(),
            format!(
                "CREATE TABLE stray.__diesel_schema_migrations AS TABLE {}.__diesel_schema_migrations",
                Identifier::from(&copied)
            ),
        ];
        if let Some(table) = tables.first() {
            let table = Identifier::of_object(table);
            statements.insert(0, format!("DROP TABLE {}.{table} CASCADE", Identifier::from(&broken)));
        }
        for statement in statements {
            self.paragraph(format_args!("=# {statement};"));
            db.connection().batch_execute(&statement).context("the demonstration failed")?;
        }
        Ok(())
    }

    fn explain(&self, text: &str) {
        self.paragraph(format_args!("# {text}"));
    }

    /// Prints a message after a blank line.
    fn paragraph(&self, message: fmt::Arguments<'_>) {
        self.context.output().status("");
        self.context.output().status(message);
    }

    fn took(&self, time: Duration) {
        if self.timing == Timing::Shown {
            self.context.output().status(format_args!("  ({})", milliseconds(time)));
        }
    }
}
