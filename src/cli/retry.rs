//! What failed in a run, tried again by the run's id.

use std::collections::HashSet;

use anyhow::Result;

use super::context::{Context, Usage};
use crate::database::Database;
use crate::runs::{self, Retry};

/// The tenants that a run failed for, or deferred, for the command that is to try them again. Of a run that did something
/// else they are not where this command would begin: what a migration never reached is not to be reverted.
pub(super) fn failed_in(context: &Context, db: &mut Database, run: i64, retry: Retry) -> Result<HashSet<String>> {
    let Some((command, failed)) = runs::failed_in(db.connection(), run)? else {
        let hint = format!("'{}' lists those that are remembered", context.command("runs"));
        return Err(Usage::with_hint(format!("there is no run {run}"), hint).into());
    };
    let found = Retry::of(&command);
    if found == Some(retry) {
        return Ok(failed.into_iter().collect());
    }
    let (one, all) = match retry {
        Retry::MigrateAll => ("migrate-one", "migrate-all"),
        Retry::RevertAll => ("revert-one", "revert-all"),
    };
    let message = format!("run {run} was '{command}', and {all} tries again only what {one} or {all} failed to do");
    let hint = match found {
        Some(Retry::MigrateAll) => {
            let command = context.command(&format!("migrate-all --retry-failed {run}"));
            format!("'{command}' tries again what failed in it")
        }
        Some(Retry::RevertAll) => {
            let command = context.command(&format!("revert-all --to VERSION --retry-failed {run}"));
            format!("'{command}' tries again what failed in it")
        }
        None => format!("'{}' tells what it did", context.command(&format!("runs show {run}"))),
    };
    Err(Usage::with_hint(message, hint).into())
}
