//! `runs`

mod fleet;

use std::time::Duration;

use anyhow::Result;
use clap::Subcommand;
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{count, thousands};
use crate::cli::progress::milliseconds;
use crate::cli::retry;
use crate::cli::settings::{Connection, PublicMigrations, number, run_id};
use crate::record::runs::{self, RunRecord, TenantRecord};
use crate::servers;
use crate::text::shell_word;
use crate::text::{self, MAX_KEPT, MAX_SHOWN};

/// List the runs that changed tenants, newest first
#[derive(Debug, Clone, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Runs>,

    /// Maximum number of runs to list
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = number::<usize>)]
    last: usize,

    #[command(flatten)]
    options: RunsOptions,
}

#[derive(Debug, Clone, Subcommand)]
enum Runs {
    /// Show one run and its outcome for each tenant
    Show {
        /// Id of the run
        #[arg(value_name = "RUN", value_parser = run_id)]
        id: i64,

        /// Show only tenants that failed or were deferred
        #[arg(long)]
        failed: bool,

        #[command(flatten)]
        options: RunsOptions,
    },

    /// List the runs over several servers, with the run on each
    Fleet {
        /// Maximum number of runs to list
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = number::<usize>)]
        last: usize,

        #[command(flatten)]
        options: RunsOptions,
    },
}

/// How to read the record of runs.
#[derive(Debug, Clone, clap::Args)]
struct RunsOptions {
    #[command(flatten)]
    connection: Connection,

    #[command(flatten)]
    migrations: PublicMigrations,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let options = match &args.command {
        None => &args.options,
        Some(Runs::Show { options, .. } | Runs::Fleet { options, .. }) => options,
    };
    let tenancy = context.tenancy_of_public(&options.migrations)?;
    let mut db = context.database(&options.connection)?;
    db.require_tracker(&tenancy)?;
    match args.command {
        None => list(context, &runs::newest(db.connection(), args.last)?),
        Some(Runs::Fleet { last, .. }) => fleet::list(context, &servers::runs(db.connection(), last)?),
        Some(Runs::Show { id, failed, .. }) => {
            let Some((run, mut tenants)) = runs::one(db.connection(), id)? else {
                return Err(retry::unknown_run(context, &mut db, id)?.into());
            };
            tenants.retain(|tenant| !failed || !tenant.is_done());
            for error in tenants.iter_mut().filter_map(|tenant| tenant.error.as_mut()) {
                *error = text::clip(error, MAX_KEPT).into_owned();
            }
            show(context, &run, &tenants)
        }
    }
}

fn list(context: &Context, runs: &[RunRecord]) -> Result<Exit> {
    let output = context.output();
    if output.is_json() {
        output.json(&ListDocument { runs })?;
        return Ok(Exit::Done);
    }
    if !runs.is_empty() {
        let head =
            ["run", "started", "duration", "command", "user", "outcome", "done", "failed", "deferred", "not reached"];
        let rows = runs.iter().map(|run| {
            vec![
                run.id.to_string(),
                time(run.started_at),
                took(run),
                run.command.clone(),
                by(run),
                outcome(run).to_owned(),
                thousands(run.done),
                thousands(run.failed),
                thousands(run.deferred),
                thousands(run.not_reached),
            ]
        });
        output.table(&head, rows)?;
    }
    output.status(count(runs.len(), "run"));
    Ok(Exit::Done)
}

fn show(context: &Context, run: &RunRecord, tenants: &[TenantRecord]) -> Result<Exit> {
    let output = context.output();
    if output.is_json() {
        output.json(&ShowDocument { run, tenants })?;
        return Ok(Exit::Done);
    }
    if !tenants.is_empty() {
        let head = ["tenant", "outcome", "from", "to", "duration", "attempts", "error"];
        let rows = tenants.iter().map(|tenant| {
            vec![
                tenant.tenant.clone(),
                tenant.outcome.clone(),
                tenant.from_version.clone().unwrap_or_else(|| "-".to_owned()),
                tenant.to_version.clone().unwrap_or_else(|| "-".to_owned()),
                milliseconds(Duration::from_millis(u64::try_from(tenant.milliseconds).unwrap_or(0))),
                tenant.attempts.to_string(),
                tenant.error.as_deref().map(one_line).unwrap_or_default(),
            ]
        });
        output.table(&head, rows)?;
    }
    let arguments: Vec<String> = run.arguments.iter().map(|argument| shell_word(argument)).collect();
    output.status(format_args!(
        "run {}: {} {}, version {}, by {}, process {}",
        run.id,
        run.command,
        arguments.join(" "),
        run.version,
        by(run),
        run.pid.map_or("unknown".to_owned(), |pid| pid.to_string())
    ));
    if let Some(migrations) = &run.migrations {
        output.status(format_args!("tenant migrations: {migrations}"));
    }
    output.status(format_args!("started {}, duration {}, outcome {}", time(run.started_at), took(run), outcome(run)));
    match run.ended_at {
        Some(_) => output.status(format_args!(
            "{} done, {} failed, {} deferred, {} unchanged, {} not reached",
            thousands(run.done),
            thousands(run.failed),
            thousands(run.deferred),
            thousands(run.unchanged),
            thousands(run.not_reached)
        )),
        None if run.running => {}
        None if tenants.is_empty() => output.status("the run was aborted before it finished any tenant"),
        None => output.status("the run was aborted; the tenants above are those that it finished"),
    }
    let failed: Vec<&str> =
        tenants.iter().filter(|tenant| !tenant.is_done()).map(|tenant| tenant.tenant.as_str()).collect();
    if let Some(hint) = retry::hint(context, run, &failed) {
        output.next(hint);
    }
    Ok(Exit::Done)
}

fn time(time: chrono::DateTime<chrono::Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S").to_string()
}

fn took(run: &RunRecord) -> String {
    let took = run.ended_at.and_then(|ended| (ended - run.started_at).to_std().ok());
    took.map_or("-".to_owned(), milliseconds)
}

fn by(run: &RunRecord) -> String {
    let user = run.os_user.as_deref().unwrap_or(&run.role);
    run.host.as_deref().map_or(user.to_owned(), |host| format!("{user}@{host}"))
}

fn outcome(run: &RunRecord) -> &str {
    match &run.outcome {
        Some(outcome) => outcome,
        None if run.running => "running",
        None => "aborted",
    }
}

fn one_line(error: &str) -> String {
    text::clip(error, MAX_SHOWN).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[derive(Serialize)]
struct ListDocument<'a> {
    runs: &'a [RunRecord],
}

#[derive(Serialize)]
struct ShowDocument<'a> {
    #[serde(flatten)]
    run: &'a RunRecord,
    tenants: &'a [TenantRecord],
}
