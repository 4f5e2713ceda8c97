//! `migrate-public`

use anyhow::Result;
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::count;
use crate::cli::report;
use crate::cli::settings::{Connection, PublicMigrations, SearchPath, TenancyOptions, Timeouts};
use crate::error::Error;
use crate::operations::migrate::{self, PublicReport};
use crate::rows::{self, Layout, SetUp};

/// Apply the tracker's and the project's public migrations
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    connection: Connection,

    #[command(flatten)]
    migrations: PublicMigrations,

    #[command(flatten)]
    path: SearchPath,

    #[command(flatten)]
    timeouts: Timeouts,

    #[command(flatten)]
    tenancy: TenancyOptions,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let tenancy = context.tenancy_of_public(&args.migrations)?;
    let tenancy = tenancy.with_extension_schemas(args.path.extension_schemas).with_limits(args.timeouts.limits());
    let mut db = context.database(&args.connection)?;
    let recorded = if db.server().has_row_tenancy { Layout::read(db.connection())? } else { None };
    let layout = args.tenancy.layout(recorded)?;
    let stop = context.stop();
    let output = context.output().clone();
    let report = match migrate::migrate_public(&mut db, &tenancy, &stop, &mut |wait| output.status(wait)) {
        // It was canceled, or stopped waiting for another session.
        Err(error) if stop.is_requested() && !matches!(error, Error::PublicMigration(_)) => {
            report::error(context, &error.into());
            return Ok(Exit::Interrupted);
        }
        report => report?,
    };
    let was_set_up = match &layout {
        Some(layout) => rows::set_up(&mut db, &tenancy, layout, &stop)?,
        None => SetUp::Unchanged,
    };
    if output.is_json() {
        output.json(&Document::new(&report))?;
    }
    if !report.moved.is_empty() {
        let rows = count(report.moved.len(), "row");
        output.status(format_args!("{rows} moved from public.__diesel_schema_migrations to public.schema_ledger"));
    }
    if !report.imported.is_empty() {
        let migrations = count(report.imported.len(), "public migration");
        let versions = report.imported.join(", ");
        output.status(format_args!("{migrations} recorded without running, applied by diesel_cli before: {versions}"));
    }
    for folder in &report.applied {
        output.detail(format_args!("applied {folder}"));
    }
    match report.applied.len() {
        0 => output.status("the public migrations are up to date"),
        n => output.status(format_args!("{} applied", count(n, "public migration"))),
    }
    if let (Some(layout), SetUp::Changed) = (&layout, was_set_up) {
        output
            .status(format_args!("set up for shared tables in schema {}, as role {}", layout.schema, layout.roles.app));
        output.next(format_args!("'{}' applies the tenant migrations to it", context.command("migrate-all")));
    }
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Document<'a> {
    /// The folders of the migrations applied, in order.
    applied: &'a [String],
    /// The newest version in the public ledger.
    version: Option<&'a str>,
    /// The versions moved from Diesel's ledger to the public ledger.
    moved: &'a [String],
    /// The versions that diesel_cli had applied, recorded and not run.
    imported: &'a [String],
}

impl<'a> Document<'a> {
    fn new(report: &'a PublicReport) -> Self {
        let PublicReport { applied, version, moved, imported } = report;
        Self { applied, version: version.as_deref(), moved, imported }
    }
}
