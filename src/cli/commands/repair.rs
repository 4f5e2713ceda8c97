//! `repair`

use anyhow::Result;
use serde::Serialize;

use crate::cli::context::{Context, Usage};
use crate::cli::exit::Exit;
use crate::integrity::{self, Change};
use crate::migration::Version;

/// Accept that a migration is not as it was when it was first applied: edited, removed, or late
///
/// Who accepts it and why is recorded, with what the migration was before. Tenants are not touched: those that have it
/// stay as they are.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The version of the migration
    #[arg(long, value_name = "VERSION")]
    accept: Version,

    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let reason = args.reason.trim();
    if reason.is_empty() {
        return Err(Usage::new("--reason says nothing").into());
    }
    let tenancy = context.tenancy()?;
    let mut db = context.database()?;
    let change = integrity::accept(&mut db, &tenancy, &args.accept, reason)?;
    let output = context.output();
    if output.is_json() {
        output.json(&Document::new(&change, reason))?;
    }
    output.status(format_args!("accepted: {change}"));
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Document<'a> {
    version: &'a str,
    folder: &'a str,
    /// `edited`, `removed` or `out-of-order`.
    change: &'static str,
    reason: &'a str,
}

impl<'a> Document<'a> {
    fn new(change: &'a Change, reason: &'a str) -> Self {
        Self { version: change.version.as_str(), folder: &change.folder, change: change.what.as_str(), reason }
    }
}
