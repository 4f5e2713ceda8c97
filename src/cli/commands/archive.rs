//! `archive`

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::rows;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::files::read_names;
use crate::cli::fleet::named_tenants;
use crate::cli::report::{Changed, FailedDocument};
use crate::cli::settings::WriteOptions;
use crate::database::Database;
use crate::error::FailedTenant;
use crate::model::TenantName;
use crate::operations::{self, ArchiveReport};
use crate::tenants::Tenancy;
use crate::text::shell_words;

/// Take tenants out of service without losing anything
///
/// Revokes the privileges on the schema from everyone but its owner, and keeps the tenant's role from logging in. An archived
/// tenant is still migrated and checked. unarchive restores what was revoked.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) tenants: ArchiveNames,

    #[command(flatten)]
    pub(super) options: WriteOptions,
}

/// The tenants of `archive` and `unarchive`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ArchiveNames {
    /// Names of the tenants
    #[arg(value_name = "NAME", required_unless_present = "from")]
    names: Vec<TenantName>,

    /// Read names from this file, one per line; - reads standard input
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

impl ArchiveNames {
    pub(super) fn read(&self) -> Result<Vec<TenantName>> {
        let mut names = self.names.clone();
        if let Some(path) = &self.from {
            names.extend(read_names(path, str::parse)?);
        }
        Ok(names)
    }
}

named_tenants!(ArchiveNames, names, from from);

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let names = args.tenants.read()?;
    let (mut db, tenancy) = connect(context, &args.options, "archive")?;
    archive(context, &mut db, &tenancy, &names, None, Vec::new())
}

/// Connects for a command that archives tenants or puts them back into service.
pub(super) fn connect(context: &Context, options: &WriteOptions, command: &'static str) -> Result<(Database, Tenancy)> {
    let tenancy = context.tenancy_if_chosen(&options.migrations)?.with_limits(options.limits.limits());
    let mut db = context.database_for_run(options, None)?;
    rows::require_schemas(&mut db, command)?;
    Ok((db, tenancy))
}

/// Archives tenants, and reports it. With `grace`, they may be purged after this time. `failed` cannot be archived.
pub(super) fn archive(
    context: &Context,
    db: &mut Database,
    tenancy: &Tenancy,
    names: &[TenantName],
    grace: Option<Duration>,
    failed: Vec<FailedTenant>,
) -> Result<Exit> {
    let mut report = operations::archive(db, tenancy, names, grace, &context.stop())?;
    report.failed.extend(failed);
    if context.output().is_json() {
        context.output().json(&Document::new(&report, context))?;
    }
    let exit = summarize(context, &report, "archived");
    if !report.not_reached.is_empty() {
        let left: Vec<&str> = report.not_reached.iter().map(TenantName::as_str).collect();
        let grace = grace.map_or_else(String::new, |grace| format!(" --grace {}s", grace.as_secs()));
        let command = if grace.is_empty() { "archive" } else { "drop" };
        let line = format!("{command} {}{grace}", shell_words(&left));
        context.output().hint(format_args!("to resume: {}", context.command(&line)));
    }
    Ok(exit)
}

/// Prints the failures and the summary of a report.
pub(super) fn summarize(context: &Context, report: &ArchiveReport, verb: &str) -> Exit {
    let changed = Changed {
        done: report.done.len(),
        unchanged: report.unchanged.len(),
        failed: &report.failed,
        not_reached: &report.not_reached,
        ended: report.ended.as_ref(),
        run: report.run,
    };
    changed.summarize(context, verb)
}

/// The names as strings.
pub(super) fn strings(names: &[TenantName]) -> Vec<String> {
    names.iter().map(TenantName::to_string).collect()
}

#[derive(Serialize)]
struct Document {
    /// The id of the run, as `runs` shows it; null if there was nothing to do.
    run: Option<i64>,
    archived: Vec<String>,
    /// The tenants that were archived before.
    unchanged: Vec<String>,
    failed: Vec<FailedDocument>,
    not_reached: Vec<String>,
}

impl Document {
    fn new(report: &ArchiveReport, context: &Context) -> Self {
        Self {
            run: report.run,
            archived: strings(&report.done),
            unchanged: strings(&report.unchanged),
            failed: FailedDocument::all(&report.failed, context),
            not_reached: strings(&report.not_reached),
        }
    }
}
