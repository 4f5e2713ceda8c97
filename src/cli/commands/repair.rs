//! `repair`

use anyhow::Result;
use serde::Serialize;

use crate::cli::context::{Context, Usage};
use crate::cli::exit::Exit;
use crate::cli::settings::ReadOptions;
use crate::error::MigrationChange;
use crate::migration::VersionRange;
use crate::record::integrity;

/// Accept changed, deleted or out-of-order migrations
///
/// Records who accepts the change and why, and the previous text of each migration, in one transaction. Tenants are not
/// changed. The ledgers of tenants can keep the version of a deleted migration that was accepted.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Version of a migration, or an inclusive range of versions of tenant migrations; may be repeated
    #[arg(long, value_name = "VERSION|FIRST..LAST", required = true)]
    accept: Vec<VersionRange>,

    /// The reason, which is recorded
    #[arg(long, value_name = "TEXT")]
    reason: String,

    #[command(flatten)]
    options: ReadOptions,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let reason = args.reason.trim();
    if reason.is_empty() {
        return Err(Usage::new("empty-reason", "--reason is empty").into());
    }
    let tenancy = context.tenancy(&args.options.migrations)?;
    let mut db = context.database(&args.options.connection)?;
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
