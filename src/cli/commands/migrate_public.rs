//! `migrate-public`

use anyhow::Result;
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::count;
use crate::cli::report;
use crate::error::Error;
use crate::migrator;

/// Apply the public migrations: the tracker, and what the project adds to it
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(super) fn run(_: Args, context: &Context) -> Result<Exit> {
    let tenancy = context.tenancy()?;
    let mut db = context.database()?;
    let stop = context.stop();
    let report = match migrator::migrate_public(&mut db, &tenancy, &stop) {
        // It was cancelled, or waited for others no longer.
        Err(error) if stop.is_requested() && !matches!(error, Error::PublicMigration(_)) => {
            report::error(context, &error.into());
            return Ok(Exit::Interrupted);
        }
        report => report?,
    };
    let output = context.output();
    if output.is_json() {
        output.json(&Document { applied: report.applied.clone(), version: report.version.clone() })?;
    }
    for folder in &report.applied {
        output.detail(format_args!("applied {folder}"));
    }
    match report.applied.len() {
        0 => output.status("the public migrations are up to date"),
        n => output.status(format_args!("{} applied", count(n, "public migration"))),
    }
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Document {
    applied: Vec<String>,
    version: Option<String>,
}
