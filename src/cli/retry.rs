//! What failed in a run, tried again by the run's id.

use std::collections::HashSet;

use anyhow::Result;
use regex::Regex;

use super::context::{Context, Usage, shell_word};
use crate::database::Database;
use crate::record::runs::{self, RetryCommand, RunRecord};

/// The tenants that a run failed for, or deferred, for the command that is to try them again. Of a run that did something
/// else they are not where this command would begin: what a migration never reached is not to be reverted.
pub(super) fn failed_in(
    context: &Context,
    db: &mut Database,
    run: i64,
    retry: RetryCommand,
) -> Result<HashSet<String>> {
    let Some((command, failed)) = runs::failed_in(db.connection(), run)? else {
        let hint = format!("'{}' lists the recorded runs", context.command("runs"));
        return Err(Usage::with_hint(format!("run {run} does not exist"), hint).into());
    };
    let found = RetryCommand::of(&command);
    if found == Some(retry) {
        return Ok(failed.into_iter().collect());
    }
    let (one, all) = match retry {
        RetryCommand::MigrateAll => ("migrate-one", "migrate-all"),
        RetryCommand::RevertAll => ("revert-one", "revert-all"),
    };
    let message = format!("run {run} was '{command}', and {all} tries again only what {one} or {all} failed to do");
    let hint = match found {
        Some(RetryCommand::MigrateAll) => {
            let command = context.command(&format!("migrate-all --retry-failed {run}"));
            format!("'{command}' tries again what failed in it")
        }
        Some(RetryCommand::RevertAll) => {
            let command = context.command(&format!("revert-all --to VERSION --retry-failed {run}"));
            format!("'{command}' tries again what failed in it")
        }
        None => format!("'{}' shows what it did", context.command(&format!("runs show {run}"))),
    };
    Err(Usage::with_hint(message, hint).into())
}

/// The command that tries again what failed in a run over the fleet, as that was given; `failed` are its tenants. None where
/// it would try nothing, or something else.
pub(super) fn again(context: &Context, run: &RunRecord, failed: &[&str]) -> Option<String> {
    let retry = RetryCommand::of(&run.command).filter(|retry| retry.command() == run.command)?;
    if failed.is_empty() || run.running {
        return None;
    }
    let mut flags = String::new();
    let mut to = false;
    let mut given = run.arguments.iter();
    while let Some(argument) = given.next() {
        let (flag, value) = match argument.split_once('=') {
            Some((flag, value)) => (flag, Some(value)),
            None => (argument.as_str(), None),
        };
        let mut add = |word: &str| flags.push_str(&format!(" {}", shell_word(word)));
        match flag {
            "--retry-failed" | "--lock-wait" => {
                if value.is_none() {
                    given.next();
                }
            }
            // It asks, as it did.
            "--yes" => {}
            "--canary" => {
                let value = value.or_else(|| given.next().map(String::as_str)).unwrap_or_default();
                if is_canary(value, failed) {
                    add(flag);
                    add(value);
                }
            }
            _ => {
                to |= flag == "--to";
                add(argument);
            }
        }
    }
    // Steps are counted from where a tenant is, so that they cannot be given again.
    if retry == RetryCommand::RevertAll && !to {
        return None;
    }
    Some(format!("{} {}{flags} --retry-failed {}", context.program(), retry.command(), run.id))
}

/// Whether what was given as canaries finds any among those that are left; where it finds none, it is refused.
fn is_canary(value: &str, left: &[&str]) -> bool {
    value.parse::<usize>().is_ok() || Regex::new(value).is_ok_and(|regex| left.iter().any(|name| regex.is_match(name)))
}
