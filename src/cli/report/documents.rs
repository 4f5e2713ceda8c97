//! The JSON of a run over a fleet, and of failed tenants.

use serde::Serialize;

use crate::cli::context::Context;
use crate::error::{BlockingSession, Effect, FailedTenant, MigrationFailure, TenantError};
use crate::model::TenantName;
use crate::operations::migrate::{Report, StopReason};
use crate::postgres::ServerMessage;
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
    code: &'static str,
    /// Cut to 8 KiB.
    message: String,
    migration: Option<MigrationDocument>,
    server: Option<ServerMessage>,
    /// The sessions that held the lock, if the tenant was deferred.
    holders: Vec<BlockingSession>,
    hint: Option<String>,
}

#[derive(Serialize)]
struct MigrationDocument {
    version: String,
    folder: String,
    file: &'static str,
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

impl FailedDocument {
    pub(crate) fn all(failed: &[FailedTenant], context: &Context) -> Vec<Self> {
        failed.iter().map(|failed| Self::new(failed, context)).collect()
    }

    fn new(failed: &FailedTenant, context: &Context) -> Self {
        let (migration, server) = match failed.error.cause() {
            TenantError::Migration(failure) => (Some(MigrationDocument::new(failure)), Some(failure.server.clone())),
            TenantError::Server(server)
            | TenantError::ConnectionLost(server)
            | TenantError::Deferred { server, .. } => (None, Some(server.clone())),
            TenantError::LockTableFull { server, .. } => (None, Some(ServerMessage::clone(server))),
            _ => (None, None),
        };
        let holders = match failed.error.cause() {
            TenantError::Deferred { holders, .. } => holders.clone(),
            _ => Vec::new(),
        };
        Self {
            tenant: failed.tenant.clone(),
            code: failed.error.code(),
            message: text::clip(&failed.error.to_string(), MAX_KEPT).into_owned(),
            migration,
            server,
            holders,
            hint: failed.error.hint(&failed.tenant, &|line| context.command(line)),
        }
    }
}

impl MigrationDocument {
    fn new(failure: &MigrationFailure) -> Self {
        Self {
            version: failure.version.to_string(),
            folder: failure.folder.clone(),
            file: failure.file,
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
