//! Retries the failed tenants of a recorded run.

use std::collections::HashSet;

use anyhow::Result;

use super::context::{Context, Usage};
use super::request::Request;
use super::resume::SHORT;
use crate::database::Database;
use crate::record::runs::{self, RetryCommand, RunRecord};

/// The failed and deferred tenants of a run, for the command that is to retry them. A run of another kind is refused: a
/// tenant whose migration failed must not be reverted.
pub(super) fn failed_in(
    context: &Context,
    db: &mut Database,
    run: i64,
    retry: RetryCommand,
) -> Result<HashSet<String>> {
    let Some((command, failed)) = runs::failed_in(db.connection(), run)? else {
        return Err(unknown_run(context, db, run)?.into());
    };
    let found = RetryCommand::of(&command);
    if found == Some(retry) {
        return Ok(failed.into_iter().collect());
    }
    let (one, all) = match retry {
        RetryCommand::MigrateAll => ("migrate-one", "migrate-all"),
        RetryCommand::RevertAll => ("revert-one", "revert-all"),
    };
    let message = format!("run {run} is a run of '{command}', and {all} retries only runs of {one} and {all}");
    let hint = match found {
        Some(found) => format!("retry it with '{}'", context.command(&by_hand(found, run))),
        None => format!("'{}' shows its tenants", context.command(&format!("runs show {run}"))),
    };
    Err(Usage::with_hint("wrong-run", message, hint).into())
}

/// The error for a run that is not recorded. Names the newest runs.
pub(super) fn unknown_run(context: &Context, db: &mut Database, run: i64) -> Result<Usage> {
    const SHOWN: usize = 5;
    let newest = runs::newest(db.connection(), SHOWN)?;
    let hint = match newest.as_slice() {
        [] => "no run is recorded".to_owned(),
        newest => {
            let newest: Vec<String> = newest.iter().map(|run| format!("{} ({})", run.id, run.command)).collect();
            format!("the newest runs: {}; '{}' lists more", newest.join(", "), context.command("runs"))
        }
    };
    Ok(Usage::with_hint("unknown-run", format!("run {run} does not exist"), hint))
}

/// How to retry the failed tenants of a run, for `runs show`; `None` if nothing is to be retried.
pub(super) fn hint(context: &Context, run: &RunRecord, failed: &[&str]) -> Option<String> {
    if failed.is_empty() || run.running {
        return None;
    }
    match run.request.as_deref().map(serde_json::from_str::<Request>) {
        Some(Ok(Request::Drop(_))) if failed.len() > SHORT => {
            Some("retry with the same command and --if-exists".to_owned())
        }
        Some(Ok(request)) => Some(format!("retry with '{} {}'", context.program(), request.retry(run.id, failed)?)),
        Some(Err(error)) => Some(format!(
            "retry with tenantry {}, which recorded the run: this version cannot read its options ({error})",
            run.version
        )),
        None => without_request(context, run),
    }
}

/// The hint for a run without a request: an earlier release recorded it.
fn without_request(context: &Context, run: &RunRecord) -> Option<String> {
    let line = match run.command.as_str() {
        "drop" => "drop NAME --if-exists".to_owned(),
        "cleanup" => "cleanup".to_owned(),
        command => {
            let retry = RetryCommand::of(command).filter(|retry| retry.command() == command)?;
            by_hand(retry, run.id)
        }
    };
    Some(format!(
        "an earlier release recorded the run without its options; retry with '{} {line}' and the options of the run",
        context.program()
    ))
}

/// The command that retries a run, with a placeholder for the version.
fn by_hand(retry: RetryCommand, run: i64) -> String {
    match retry {
        RetryCommand::MigrateAll => format!("migrate-all --retry-failed {run}"),
        RetryCommand::RevertAll => format!("revert-all --to VERSION --retry-failed {run}"),
    }
}
