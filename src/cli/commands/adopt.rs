//! `adopt`

use anyhow::Result;
use serde::Serialize;

use crate::cli::context::{Context, exit_of};
use crate::cli::exit::Exit;
use crate::cli::output::count;
use crate::cli::report::{self, FailedDocument};
use crate::lifecycle;
use crate::migration::Version;
use crate::name::TenantName;

/// Take existing schemas into the tracker, as they are
///
/// With a baseline, the migrations up to it are recorded in the schema's ledger as applied, without running them. A schema
/// that has objects in it but no ledger needs one.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The schemas
    #[arg(value_name = "NAME", required = true)]
    names: Vec<TenantName>,

    /// The newest migration that the schemas have already
    #[arg(long, value_name = "VERSION")]
    baseline: Option<Version>,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let tenancy = context.tenancy()?;
    let mut db = context.database()?;
    let report = lifecycle::adopt(&mut db, &tenancy, &args.names, args.baseline.as_ref())?;
    let output = context.output();
    if output.is_json() {
        output.json(&Document {
            adopted: report.adopted.iter().map(TenantName::to_string).collect(),
            recorded: report.recorded,
            failed: FailedDocument::all(&report.failed, context),
        })?;
    }
    report::failures(context, &report.failed);
    for name in &report.adopted {
        output.detail(format_args!("adopted {name}"));
    }
    let recorded = match report.recorded {
        0 => String::new(),
        n => format!(", with {} recorded as applied", count(n, "migration")),
    };
    let failed = match report.failed.len() {
        0 => String::new(),
        n => format!(", {n} failed"),
    };
    output.status(format_args!("{} adopted{recorded}{failed}", count(report.adopted.len(), "tenant")));
    if !report.adopted.is_empty() {
        output.next(format_args!("'{}' tells what they lack", context.command("health-check")));
    }
    Ok(exit_of(report.failed.is_empty(), false))
}

#[derive(Serialize)]
struct Document {
    adopted: Vec<String>,
    /// How many migrations each ledger was given.
    recorded: usize,
    failed: Vec<FailedDocument>,
}
