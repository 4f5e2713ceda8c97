//! `demo`

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::{CommandFactory, FromArgMatches};
use diesel::connection::SimpleConnection;

use super::local::BinariesArgs;
use crate::cli::Arguments;
use crate::cli::context::{Context, Usage};
use crate::cli::exit::Exit;
use crate::cli::progress::milliseconds;
use crate::database::Stop;
use crate::local::{DATABASE, Ephemeral};
use crate::model::SchemaName;
use crate::operations::DropPlan;
use crate::schema::reference::Reference;
use crate::sql::quote::Identifier;

/// Play the whole story on a private server: set up, create, roll out, break, find, mend, drop, clean up
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Tell how long each step takes
    #[arg(long)]
    timing: bool,

    /// Play it in the database of --database-url, which must have no tracker; all that is made is cleaned up
    #[arg(long)]
    in_database: bool,

    #[command(flatten)]
    binaries: BinariesArgs,
}

/// The tenants of the story.
const TENANTS: [&str; 4] = ["acme", "globex", "initech", "umbrella"];

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    if args.in_database {
        // Where none is given, libpq's own variables say which.
        let url = context.settings().database_url.clone().unwrap_or_default();
        let mut db = context.database()?;
        let names = TENANTS.iter().map(|tenant| tenant.parse()).collect::<Result<Vec<SchemaName>, _>>()?;
        let server = db.server();
        let in_use = server.has_tracker || server.has_public_ledger || server.has_diesel_ledger;
        if in_use || crate::operations::any_exists(&mut db, &names)? {
            return Err(Usage::with_hint(
                "the database has a tracker, a public ledger, or schemas of the names that the demonstration uses",
                "give an empty database, or leave out --in-database",
            )
            .into());
        }
        return Story::new(context, url, args.timing)?.tell();
    }
    context.output().status("# A private PostgreSQL server, gone when this is over.");
    let begun = Instant::now();
    let server = Ephemeral::start(&args.binaries.find()?, &[])?;
    if args.timing {
        context.output().status(format_args!("  ({})", milliseconds(begun.elapsed())));
    }
    Story::new(context, server.url(DATABASE), args.timing)?.tell()
}

struct Story<'a> {
    context: &'a Context,
    url: String,
    timing: bool,
    begun: Instant,
    /// How many migrations the older release has.
    older: usize,
}

impl<'a> Story<'a> {
    fn new(context: &'a Context, url: String, timing: bool) -> Result<Self> {
        let migrations = context.for_demo(url.clone(), None).tenancy()?.tenant_migrations().len();
        Ok(Self { context, url, timing, begun: Instant::now(), older: migrations.saturating_sub(2).max(1) })
    }

    fn tell(&self) -> Result<Exit> {
        let told = self.steps();
        if let Err(error) = told {
            // What was made is cleaned up in any case; the error that ended the story is the one to tell.
            let _ =
                self.play(None, &format!("drop --untracked --if-exists --yes {} stray", TENANTS.join(" ")), Exit::Done);
            let _ = self.clean_up();
            return Err(error);
        }
        if self.timing {
            self.paragraph(format_args!("All in all {}.", milliseconds(self.begun.elapsed())));
        }
        Ok(Exit::Done)
    }

    fn steps(&self) -> Result<()> {
        let tenants = TENANTS.join(" ");
        let [acme, globex, ..] = TENANTS;
        self.say("The tracker is set up once in a database.");
        self.play(None, "migrate-public", Exit::Done)?;
        self.say(
            "Tenants are created, each whole or not at all. This release of the application is two migrations old.",
        );
        self.play(Some(self.older), &format!("create {tenants}"), Exit::Done)?;
        self.say("A newer release is installed. Which tenants are behind?");
        self.play(None, "list", Exit::Done)?;
        self.play(None, "migrate-all --dry-run", Exit::Done)?;
        self.say("It is rolled out to all, several at once.");
        self.play(None, "migrate-all", Exit::Done)?;
        self.play(None, "health-check", Exit::Done)?;
        self.say("Somebody breaks a tenant by hand, and makes a schema that nobody tracks.");
        self.break_by_hand(globex, acme)?;
        self.say("The health check finds it, and says what mends it. Its exit code is 1, for CI.");
        self.play(None, "health-check", Exit::Found)?;
        self.say("The stray schema goes, and the broken tenant is dropped and created anew.");
        self.play(None, "drop --untracked --yes stray", Exit::Done)?;
        self.play(None, &format!("drop --yes {globex}"), Exit::Done)?;
        self.play(None, &format!("create {globex}"), Exit::Done)?;
        self.play(None, "health-check", Exit::Done)?;
        self.say("Cleaning up: every tenant, the tracker, the public ledger.");
        self.play(None, &format!("drop --yes {tenants}"), Exit::Done)?;
        self.clean_up()
    }

    /// The end of a cleanup, without tenants: what somebody else has created meanwhile stays, and the tracker for it.
    fn clean_up(&self) -> Result<()> {
        let context = self.context.for_demo(self.url.clone(), None);
        let tenancy = context.tenancy()?;
        let mut db = context.database()?;
        let mut plan = crate::operations::plan_cleanup(&mut db, &tenancy, false)?;
        plan.tenants = DropPlan::default();
        self.paragraph(format_args!("$ {} cleanup --yes", self.context.program()));
        let begun = Instant::now();
        let report = crate::operations::cleanup(&mut db, &tenancy, plan, &Stop::default(), &mut ())?;
        if let Some(error) = report.failed {
            return Err(error.into());
        }
        let reverted = crate::cli::output::count(report.reverted.len(), "public migration");
        self.context.output().status(format_args!("{reverted} reverted, the public ledger is dropped"));
        self.took(begun.elapsed());
        Ok(())
    }

    /// Runs a command as if it had been typed, with only the `first` tenant migrations.
    fn play(&self, first: Option<usize>, line: &str, expected: Exit) -> Result<()> {
        let program = self.context.program();
        self.paragraph(format_args!("$ {program} {line}"));
        let words = std::iter::once(program).chain(line.split(' '));
        let matches = Arguments::command().try_get_matches_from(words)?;
        let command = Arguments::from_arg_matches(&matches)?.command;
        let begun = Instant::now();
        let exit = command.run(&self.context.for_demo(self.url.clone(), first))?;
        self.took(begun.elapsed());
        if exit != expected {
            bail!("the demonstration failed: '{program} {line}' ended with {}, not {}", exit.code(), expected.code());
        }
        Ok(())
    }

    /// Drops a table of one tenant, and copies the ledger of another into a schema of its own.
    fn break_by_hand(&self, broken: &str, copied: &str) -> Result<()> {
        let context = self.context.for_demo(self.url.clone(), None);
        let tenancy = context.tenancy()?;
        let mut db = context.database()?;
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

    fn say(&self, words: &str) {
        self.paragraph(format_args!("# {words}"));
    }

    /// Prints a message after a blank line.
    fn paragraph(&self, message: fmt::Arguments<'_>) {
        self.context.output().status("");
        self.context.output().status(message);
    }

    fn took(&self, time: Duration) {
        if self.timing {
            self.context.output().status(format_args!("  ({})", milliseconds(time)));
        }
    }
}
