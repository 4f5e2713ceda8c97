//! Prints errors, and the report of a run over a fleet.

mod documents;
mod summary;

use std::collections::BTreeMap;

use anyhow::Result;

use super::confirm::Unconfirmed;
use super::context::{Context, Usage};
use super::exit::Exit;
use super::interrupt;
use super::output::{Output, Verbosity, count, thousands};
use super::selection::NothingMatches;
use crate::error::{Attempts, Effect, Error, FailedTenant, MigrationFailure, TenantError, mask_tenant_name};
use crate::local::LocalError;
use crate::migration::LoadError;
use crate::model::NameError;
use crate::operations::migrate::{Report, StopReason};
use crate::postgres::{ParseUrlError, ServerMessage};
use crate::text::{self, MAX_KEPT, MAX_SHOWN};

use documents::RunDocument;
pub(crate) use documents::{FailedDocument, stop_reason};
pub(crate) use summary::Summary;

/// Prints an error that ends the command. Returns the exit status for it.
pub(crate) fn error(context: &Context, error: &anyhow::Error) -> Exit {
    let output = context.output();
    let failed = error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(Error::PublicMigration(failure)) => Some(failure),
        _ => None,
    });
    match failed {
        Some(failure) => {
            output.error(format_args!("public {}", headline_of(failure)));
            migration(output, failure);
        }
        None => output.error(format_args!("{error:#}")),
    }
    for cause in error.chain() {
        let hint = cause
            .downcast_ref::<Error>()
            .and_then(|error| error.hint(&|line| context.command(line)))
            .or_else(|| cause.downcast_ref::<Usage>().and_then(|usage| usage.hint().map(str::to_owned)))
            .or_else(|| cause.downcast_ref::<NothingMatches>().map(|nothing| nothing.hint().to_owned()))
            .or_else(|| cause.downcast_ref::<NameError>().and_then(|error| error.hint().map(str::to_owned)))
            .or_else(|| cause.downcast_ref::<ParseUrlError>().and_then(|error| error.hint().map(str::to_owned)))
            .or_else(|| cause.downcast_ref::<LoadError>().map(|_| "nothing was run".to_owned()))
            .or_else(|| {
                cause.downcast_ref::<Unconfirmed>().and_then(|unconfirmed| unconfirmed.hint().map(str::to_owned))
            })
            .or_else(|| cause.downcast_ref::<LocalError>().and_then(LocalError::hint));
        if let Some(hint) = hint {
            output.hint(hint);
            break;
        }
    }
    let waited = error.chain().any(|cause| matches!(cause.downcast_ref(), Some(Error::FleetLocked(_))));
    if waited && interrupt::is_requested() {
        Exit::Interrupted
    } else if error.chain().any(|cause| cause.is::<Unconfirmed>()) {
        Exit::Unconfirmed
    } else if error.chain().any(|cause| cause.is::<NothingMatches>()) {
        Exit::Found
    } else if error.chain().any(is_usage) {
        Exit::Usage
    } else {
        Exit::Refused
    }
}

fn is_usage(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.is::<Usage>()
        || cause.is::<LoadError>()
        || cause.is::<ParseUrlError>()
        || cause.is::<NameError>()
        || matches!(
            cause.downcast_ref(),
            Some(
                Error::UnknownVersion { .. }
                    | Error::UnknownMigration { .. }
                    | Error::AmbiguousMigration { .. }
                    | Error::NoExtensionSchema { .. }
                    | Error::ForeignMigrations { .. }
                    | Error::Migrations(_)
            )
        )
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
}

/// Prints the report of a run over a fleet, on standard error or as JSON. Returns the exit status for it.
///
/// `verb` is what was done (`created`, `migrated`); `again` is the command that retries the rest.
pub(crate) fn run(context: &Context, report: &Report, verb: &str, again: &str) -> Result<Exit> {
    let output = context.output();
    if output.is_json() {
        output.json(&RunDocument::new(report, context))?;
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
    Ok(exit)
}

/// The exit status for a run over a fleet.
pub(crate) fn exit<T>(ended: Option<&StopReason>, failed: &[FailedTenant], not_reached: &[T]) -> Exit {
    match ended {
        Some(StopReason::Lost(_)) => Exit::Refused,
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
