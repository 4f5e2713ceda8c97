//! `repair`

use anyhow::Result;
use serde::Serialize;

use crate::cli::context::{Context, Usage};
use crate::cli::exit::Exit;
use crate::error::MigrationChange;
use crate::migration::VersionRange;
use crate::record::integrity;

/// Accept changed, deleted or out-of-order migrations
///
/// Records who accepts them and why, and the migrations as they were before, in one transaction. Tenants are not changed. A
/// version that is accepted as removed may stay in the ledgers of tenants.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The version of a migration, or a range of versions of tenant migrations, both ends included; may be given several
    /// times
    #[arg(long, value_name = "VERSION|FIRST..LAST", required = true)]
    accept: Vec<VersionRange>,

    /// The reason, which is recorded
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let reason = args.reason.trim();
    if reason.is_empty() {
        return Err(Usage::new("--reason is empty").into());
    }
    let tenancy = context.tenancy()?;
    let mut db = context.database()?;
    let changes = integrity::accept(&mut db, &tenancy, &args.accept, reason)?;
    let output = context.output();
    if output.is_json() {
        output.json(&Document { accepted: changes.iter().map(AcceptedDocument::new).collect(), reason })?;
    }
    for change in &changes {
        output.status(format_args!("accepted: {change}"));
    }
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Document<'a> {
    /// The tenant migrations behind the public ones, each in the order of versions.
    accepted: Vec<AcceptedDocument<'a>>,
    reason: &'a str,
}

#[derive(Serialize)]
struct AcceptedDocument<'a> {
    /// `public` or `tenant`.
    kind: &'static str,
    version: &'a str,
    folder: &'a str,
    /// `edited`, `removed` or `out-of-order`.
    change: &'static str,
}

impl<'a> AcceptedDocument<'a> {
    fn new(change: &'a MigrationChange) -> Self {
        Self {
            kind: change.kind.as_str(),
            version: change.version.as_str(),
            folder: &change.folder,
            change: change.what.as_str(),
        }
    }
}
