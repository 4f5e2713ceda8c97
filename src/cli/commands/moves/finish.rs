//! `move finish`

use anyhow::Result;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::{FailedMove, MoveSetting};
use crate::cli::confirm::{Answer, ConfirmOption};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::count;
use crate::cli::settings::WriteOptions;
use crate::model::TenantName;
use crate::moves::OldSchema;

/// Drop the old schemas of tenants that have moved
///
/// Without names, those whose --keep-source has passed. An interrupted command resumes when it is repeated.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct FinishArgs {
    /// Names of the tenants [default: all whose --keep-source has passed]
    #[arg(value_name = "NAME")]
    names: Vec<TenantName>,

    #[command(flatten)]
    confirmation: ConfirmOption,

    /// Show what would be dropped, and change nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    options: WriteOptions,
}

pub(super) fn run(args: &FinishArgs, context: &Context) -> Result<Exit> {
    let mut setting = MoveSetting::new(context, &args.options)?;
    let old = setting.with_mover(None, |mover| mover.old_schemas(&args.names))?;
    let output = context.output();
    let cells = |one: &OldSchema| {
        let until = one.moved.keep_until.map_or_else(|| "-".to_owned(), |at| at.format("%Y-%m-%d %H:%M").to_string());
        vec![one.moved.tenant.to_string(), one.server.clone(), one.moved.old_schema.as_str().to_owned(), until]
    };
    if args.dry_run {
        if output.is_json() {
            output.json(&FinishPlanDocument { old_schemas: old.iter().map(OldDocument::new).collect() })?;
        } else if !old.is_empty() {
            output.table(&HEAD, old.iter().map(cells))?;
        }
        output.status(format_args!("{} would be dropped", count(old.len(), "old schema")));
        return Ok(Exit::Done);
    }
    if !old.is_empty() {
        if args.confirmation.is_asked() {
            output.table_aside(&HEAD, old.iter().map(cells));
        }
        let question = format!("Drop {} with all data? [y/N]", count(old.len(), "old schema"));
        args.confirmation.ask(&question, Answer::Yes)?;
    }
    let names: Vec<TenantName> = old.iter().map(|one| one.moved.tenant.clone()).collect();
    let mut left = old.iter();
    let mut finished = Vec::new();
    let outcome = setting.each(
        &names,
        None,
        |mover, _| match left.next() {
            Some(one) => mover.finish(one, &mut ()).map(|()| one.moved.old_schema.as_str().to_owned()),
            None => Ok(String::new()),
        },
        |_, name, _| finished.push(name.to_string()),
    )?;
    if output.is_json() {
        let (failed, not_reached) = (&outcome.failed, &outcome.not_reached);
        output.json(&Document { finished: finished.clone(), failed, not_reached })?;
    }
    output.status(format_args!("{} dropped", count(finished.len(), "old schema")));
    Ok(outcome.exit())
}

const HEAD: [&str; 4] = ["tenant", "server", "old schema", "keep until"];

#[derive(Serialize)]
struct Document<'a> {
    /// The tenants whose old schemas were dropped.
    finished: Vec<String>,
    failed: &'a [FailedMove],
    /// The tenants that an interrupted command did not reach.
    not_reached: &'a [String],
}

#[derive(Serialize)]
struct FinishPlanDocument {
    old_schemas: Vec<OldDocument>,
}

#[derive(Serialize)]
struct OldDocument {
    tenant: String,
    server: String,
    schema: String,
    keep_until: Option<String>,
}

impl OldDocument {
    fn new(one: &OldSchema) -> Self {
        let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        Self {
            tenant: one.moved.tenant.to_string(),
            server: one.server.clone(),
            schema: one.moved.old_schema.as_str().to_owned(),
            keep_until: one.moved.keep_until.map(time),
        }
    }
}
