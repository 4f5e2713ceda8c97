//! Prints errors, and the report of a run over a fleet.

mod documents;
mod junit;
mod summary;

use std::collections::BTreeMap;
use std::ffi::OsString;

use anyhow::Result;

use super::cause::Cause;
use super::context::Context;
use super::exit::Exit;
use super::interrupt;
use super::output::{self, Output, Verbosity, count, thousands};
use super::settings::Format;
use crate::error::{Attempts, Effect, Error, FailedTenant, MigrationFailure, TenantError, mask_tenant_name};
use crate::operations::migrate::{Report, StopReason};
use crate::postgres::ServerMessage;
use crate::text::{self, MAX_KEPT, MAX_SHOWN};

pub(crate) use documents::RunDocument;
pub(crate) use documents::{ErrorDocument, FailedDocument, FailureDocument, stop_reason};
pub(crate) use junit::{suite_of_migrate_plan, suite_of_revert_plan, suite_of_run};
pub(crate) use summary::{Changed, Summary};

/// Prints an error that ends the command, on standard error and as JSON. Returns the exit status for it.
pub(crate) fn error(context: &Context, error: &anyhow::Error) -> Exit {
    let exit = show_error(context, error);
    if context.output().is_json() {
        // If it cannot be printed, standard error has it.
        let _ = context.output().json(&FailureDocument::new(error, context));
    }
    exit
}

/// Prints an error on standard error. Returns the exit status for it.
pub(crate) fn show_error(context: &Context, error: &anyhow::Error) -> Exit {
    let (output, cause) = (context.output(), Cause::of(error));
    match cause.library() {
        Some(Error::PublicMigration(failure)) => {
            output.error(format_args!("public {}", headline_of(failure)));
            migration(output, failure);
        }
        _ => output.error(format_args!("{error:#}")),
    }
    if let Some(hint) = cause.hint(context) {
        output.hint(hint);
    }
    // It waited for the lock until it was interrupted.
    let waited = matches!(cause.library(), Some(Error::FleetLocked(_)));
    if waited && interrupt::is_requested() { Exit::Interrupted } else { cause.exit() }
}

/// Prints an error in the settings, before they are read. Returns the exit status for it.
pub(crate) fn settings_error(arguments: &[OsString], message: &str) -> Exit {
    output::error(message);
    if Format::requested(arguments) == Format::Json {
        // If it cannot be printed, standard error has it.
        let _ = output::json(&FailureDocument::of_usage("invalid-settings", message.to_owned(), None));
    }
    Exit::Usage
}

/// Prints the failures of a fleet, equal ones together.
pub(crate) fn failures(context: &Context, failed: &[FailedTenant]) {
    /// More tenants than this are counted, not named, unless `--verbose`.
    const NAMED: usize = 20;
    let output = context.output();
    // Grouped by everything that is printed, in the order of the first of each group.
    let hint = |failed: &FailedTenant, tenant: &str| failed.error.hint(tenant, &|line| context.command(line));
    let mut groups: BTreeMap<String, (usize, Vec<&FailedTenant>)> = BTreeMap::new();
    for (order, one) in failed.iter().enumerate() {
        let text = mask_tenant_name(&one.error.to_string(), &one.tenant);
        let key = format!("{text}\n{:?}\n{:?}", statement_of(&one.error), hint(one, "NAME"));
        groups.entry(key).or_insert_with(|| (order, Vec::new())).1.push(one);
    }
    let mut groups: Vec<(usize, Vec<&FailedTenant>)> = groups.into_values().collect();
    groups.sort_by_key(|(order, _)| *order);
    for (_, group) in groups {
        let first = group[0];
        match group.as_slice() {
            [one] => output.error(format_args!("tenant {}: {}", one.tenant, headline(&one.error))),
            many => {
                let alike = many.iter().all(|one| headline(&one.error) == headline(&first.error));
                let headline = headline(&first.error);
                let headline = if alike { headline } else { mask_tenant_name(&headline, &first.tenant) };
                output.error(format_args!("{}: {headline}", count(many.len(), "tenant")));
            }
        }
        if let TenantError::Migration(failure) = &first.error {
            migration(output, failure);
        } else if let TenantError::Server(server) | TenantError::ConnectionLost(server) = &first.error {
            server_detail(output, server);
        } else if let TenantError::Deferred { server, holders, .. } = &first.error {
            output.more("last error", &server.message);
            server_detail(output, server);
            holders.iter().for_each(|holder| output.more("blocked by", &holder.to_string()));
            // Migrations before it may have been committed.
            output.more("effect", "rolled back; the next run resumes from there");
        }
        if group.len() > 1 {
            let shown = if output.verbosity() == Verbosity::Verbose { group.len() } else { NAMED };
            let mut names: Vec<&str> = group.iter().take(shown).map(|one| one.tenant.as_str()).collect();
            let rest = format!("and {} more", thousands(group.len().saturating_sub(shown)));
            if group.len() > shown {
                names.push(&rest);
            }
            output.more("tenants", &names.join(", "));
        }
        if let Some(hint) = hint(first, if group.len() > 1 { "NAME" } else { &first.tenant }) {
            output.hint(hint);
        }
    }
}

fn statement_of(error: &TenantError) -> Option<&str> {
    match error {
        TenantError::Migration(failure) => failure.at.as_ref().map(|at| at.sql.as_str()),
        _ => None,
    }
}

/// The error without the parts that are printed on separate lines.
fn headline(error: &TenantError) -> String {
    match error {
        TenantError::Migration(failure) => headline_of(failure),
        TenantError::Server(server) => text::clip(&server.message, MAX_SHOWN).into_owned(),
        TenantError::Deferred { contention, attempts, .. } => {
            format!("deferred: {}", Attempts(*contention, *attempts))
        }
        other => text::clip(&other.to_string(), MAX_KEPT).into_owned(),
    }
}

fn headline_of(failure: &MigrationFailure) -> String {
    let line = failure.at.as_ref().map_or(String::new(), |at| format!(":{}", at.line));
    let message = text::clip(&failure.server.message, MAX_SHOWN);
    format!("migration {}/{}{line} failed: {message}", failure.folder, failure.file)
}

fn migration(output: &Output, failure: &MigrationFailure) {
    if let Some(at) = &failure.at {
        output.more("statement", &at.sql);
    }
    server_detail(output, &failure.server);
    match (failure.effect, failure.applied_before) {
        (Effect::RolledBack, 0) => output.more("effect", "rolled back, nothing was changed"),
        (Effect::RolledBack, n) => {
            output.more("effect", &format!("rolled back; {} before it remain applied", count(n, "migration")))
        }
        (Effect::InEffect { .. }, _) => {}
    }
}

fn server_detail(output: &Output, server: &ServerMessage) {
    if let Some(detail) = &server.detail {
        output.more("detail", detail);
    }
    if let Some(hint) = &server.hint {
        output.more("server's hint", hint);
    }
    if let Some(context) = &server.context {
        output.more("context", context);
    }
}

/// Prints the report of a run over a fleet, on standard error or as JSON. Returns the exit status for it.
///
/// `verb` is what was done (`created`, `migrated`); `again` is the command that retries the rest.
pub(crate) fn run(context: &Context, report: &Report, verb: &str, again: &str) -> Result<Exit> {
    if context.output().is_json() {
        context.output().json(&RunDocument::new(report, context))?;
    }
    Ok(summarize_run(context, report, verb, again))
}

/// Prints the report of a run on standard error. Returns the exit status for it.
pub(crate) fn summarize_run(context: &Context, report: &Report, verb: &str, again: &str) -> Exit {
    let output = context.output();
    if let (Some(gathered), Some(run)) = (output.gathered(), report.run) {
        gathered.set_run(run);
    }
    failures(context, &report.failed);
    lost(context, report.ended.as_ref());
    if let Some(message) = report.ended.as_ref().and_then(stop_message) {
        output.error(message);
    }
    let mut summary = Summary::of(report.done.len(), verb)
        .with_failed(&report.failed)
        .with(report.unchanged.len(), "unchanged")
        .with(report.not_reached.len(), "not reached");
    let exit = exit(report.ended.as_ref(), &report.failed, &report.not_reached);
    if exit != Exit::Done {
        summary = summary.of_run(report.run);
    }
    summary.print(output, exit);
    let is_incomplete = !report.to_try_again().is_empty() || report.ended.is_some();
    if is_incomplete && !again.is_empty() {
        output.hint(format_args!("to retry: {}", context.command(again)));
    }
    exit
}

/// The exit status for a run over a fleet.
pub(crate) fn exit<T>(ended: Option<&StopReason>, failed: &[FailedTenant], not_reached: &[T]) -> Exit {
    match ended {
        Some(StopReason::Lost(error)) => Cause::Library(error).exit(),
        Some(StopReason::Interrupted) => Exit::Interrupted,
        None if failed.is_empty() && not_reached.is_empty() => Exit::Done,
        _ => Exit::Found,
    }
}

/// Prints the error if the run lost the server.
pub(crate) fn lost(context: &Context, ended: Option<&StopReason>) {
    if let Some(StopReason::Lost(error)) = ended {
        context.output().error(error);
        if let Some(hint) = error.hint(&|line| context.command(line)) {
            context.output().hint(hint);
        }
    }
}

/// Why a run stopped early by itself.
fn stop_message(ended: &StopReason) -> Option<&'static str> {
    match ended {
        StopReason::Interrupted | StopReason::Lost(_) => None,
        StopReason::Failure => Some(
            "stopped: more tenants failed than --max-failures or --fail-fast allows; the remaining tenants were not started",
        ),
        StopReason::Breaker => {
            Some("stopped: the first tenants all failed with the same error; the remaining tenants were not started")
        }
        StopReason::Canary => Some("canary failed; stopped before the remaining tenants"),
    }
}
