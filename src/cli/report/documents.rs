//! The JSON of a run over a fleet, and of errors: of tenants, and of a command.

use serde::Serialize;

use crate::cli::cause::Cause;
use crate::cli::context::Context;
use crate::error::{BlockingSession, Effect, Error, FailedTenant, MigrationFailure, TenantError};
use crate::model::TenantName;
use crate::operations::migrate::{Report, StopReason};
use crate::postgres::{ServerMessage, Sqlstate};
use crate::text::{self, MAX_KEPT, MAX_SHOWN};

/// The JSON of a run.
#[derive(Serialize)]
pub(crate) struct RunDocument {
    /// The id of the run, as `runs` shows it; null if there was nothing to do.
    run: Option<i64>,
    done: Vec<DoneDocument>,
    unchanged: Vec<String>,
    failed: Vec<FailedDocument>,
    not_reached: Vec<String>,
    /// Why the run stopped early: `interrupted`, `failure`, `breaker`, `canary`, `lost`, or null.
    stop_reason: Option<&'static str>,
    /// The error, if `stop_reason` is `lost`.
    error: Option<ErrorDocument>,
}

#[derive(Serialize)]
struct DoneDocument {
    tenant: String,
    from: Option<String>,
    to: Option<String>,
    applied: usize,
    attempts: u32,
    milliseconds: u128,
}

/// The JSON of a tenant that failed.
#[derive(Serialize)]
pub(crate) struct FailedDocument {
    tenant: String,
    #[serde(flatten)]
    error: ErrorDocument,
    /// The sessions that held the lock, if the tenant was deferred.
    holders: Vec<BlockingSession>,
}

/// The JSON of an error: the same fields in every document.
#[derive(Serialize)]
pub(crate) struct ErrorDocument {
    code: &'static str,
    /// Cut to 8 KiB.
    message: String,
    hint: Option<String>,
    /// The SQLSTATE of the server's error, if it is known.
    sqlstate: Option<Sqlstate>,
    /// Whether the same command can succeed later without a change.
    retryable: bool,
    migration: Option<MigrationDocument>,
    server: Option<ServerMessage>,
}

/// The JSON of a command that an error ended.
#[derive(Serialize)]
pub(crate) struct FailureDocument {
    error: CommandErrorDocument,
}

#[derive(Serialize)]
struct CommandErrorDocument {
    #[serde(flatten)]
    error: ErrorDocument,
    /// The tenant that the error concerns; null if it concerns none or several.
    tenant: Option<String>,
    /// What the error lists, such as migrations, privileges or valid values.
    details: Vec<String>,
}

#[derive(Serialize)]
struct MigrationDocument {
    version: String,
    folder: String,
    file: String,
    line: Option<usize>,
    /// Cut to 2 KiB.
    statement: Option<String>,
    /// How many migrations were applied before it in this run, and remain applied.
    applied_before: usize,
    /// How many statements are in effect although the migration failed; 0 if it was rolled back.
    statements_in_effect: usize,
}

impl RunDocument {
    pub(crate) fn new(report: &Report, context: &Context) -> Self {
        Self {
            run: report.run,
            done: report
                .done
                .iter()
                .map(|done| DoneDocument {
                    tenant: done.tenant.to_string(),
                    from: done.from.clone(),
                    to: done.to.clone(),
                    applied: done.applied,
                    attempts: done.attempts,
                    milliseconds: done.took.as_millis(),
                })
                .collect(),
            unchanged: report.unchanged.iter().map(TenantName::to_string).collect(),
            failed: FailedDocument::all(&report.failed, context),
            not_reached: report.not_reached.iter().map(TenantName::to_string).collect(),
            stop_reason: report.ended.as_ref().map(stop_reason),
            error: ErrorDocument::of_run(report.ended.as_ref(), context),
        }
    }
}

/// Why a run stopped early, in JSON.
pub(crate) fn stop_reason(ended: &StopReason) -> &'static str {
    match ended {
        StopReason::Interrupted => "interrupted",
        StopReason::Failure => "failure",
        StopReason::Breaker => "breaker",
        StopReason::Canary => "canary",
        StopReason::Lost(_) => "lost",
    }
}

impl FailureDocument {
    pub(crate) fn new(error: &anyhow::Error, context: &Context) -> Self {
        let cause = Cause::of(error);
        Self {
            error: CommandErrorDocument {
                error: ErrorDocument::of_cause(cause, format!("{error:#}"), context),
                tenant: cause.tenant().map(str::to_owned),
                details: cause.details(),
            },
        }
    }

    /// An error in arguments or settings.
    pub(crate) fn of_usage(code: &'static str, message: String, hint: Option<String>) -> Self {
        let error =
            ErrorDocument { code, message, hint, sqlstate: None, retryable: false, migration: None, server: None };
        Self { error: CommandErrorDocument { error, tenant: None, details: Vec::new() } }
    }
}

impl FailedDocument {
    pub(crate) fn all(failed: &[FailedTenant], context: &Context) -> Vec<Self> {
        failed.iter().map(|failed| Self::new(failed, context)).collect()
    }

    pub(crate) fn new(failed: &FailedTenant, context: &Context) -> Self {
        let holders = match failed.error.cause() {
            TenantError::Deferred { holders, .. } => holders.clone(),
            _ => Vec::new(),
        };
        Self { tenant: failed.tenant.clone(), error: ErrorDocument::of_tenant(failed, context), holders }
    }
}

impl ErrorDocument {
    /// The error that ended a run, if it lost the server.
    pub(crate) fn of_run(ended: Option<&StopReason>, context: &Context) -> Option<Self> {
        match ended {
            Some(StopReason::Lost(error)) => Some(Self::of_library(error, context)),
            _ => None,
        }
    }

    pub(crate) fn of_library(error: &Error, context: &Context) -> Self {
        Self::of_cause(Cause::Library(error), error.to_string(), context)
    }

    fn of_cause(cause: Cause<'_>, message: String, context: &Context) -> Self {
        let library = cause.library();
        let migration = match library {
            Some(Error::PublicMigration(failure)) => Some(MigrationDocument::new(failure)),
            _ => None,
        };
        Self {
            code: cause.code(),
            message: text::clip(&message, MAX_KEPT).into_owned(),
            hint: cause.hint(context),
            sqlstate: library.and_then(Error::sqlstate),
            retryable: cause.is_retryable(),
            migration,
            server: library.and_then(Error::server).cloned(),
        }
    }

    fn of_tenant(failed: &FailedTenant, context: &Context) -> Self {
        let error = &failed.error;
        let migration = match error.cause() {
            TenantError::Migration(failure) => Some(MigrationDocument::new(failure)),
            _ => None,
        };
        Self {
            code: error.code(),
            message: text::clip(&error.to_string(), MAX_KEPT).into_owned(),
            hint: error.hint(&failed.tenant, &|line| context.command(line)),
            sqlstate: error.server().and_then(|server| server.sqlstate),
            retryable: error.is_retryable(),
            migration,
            server: error.server().cloned(),
        }
    }
}

impl MigrationDocument {
    fn new(failure: &MigrationFailure) -> Self {
        Self {
            version: failure.version.to_string(),
            folder: failure.folder.clone(),
            file: failure.file.clone(),
            line: failure.at.as_ref().map(|at| at.line),
            statement: failure.at.as_ref().map(|at| text::clip(&at.sql, MAX_SHOWN).into_owned()),
            applied_before: failure.applied_before,
            statements_in_effect: match failure.effect {
                Effect::RolledBack => 0,
                Effect::InEffect { statements, .. } => statements,
            },
        }
    }
}
