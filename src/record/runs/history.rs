//! Reads the record of runs.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use diesel::dsl::{max, sql};
use diesel::expression::SqlLiteral;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Integer, Nullable, Text};
use serde::Serialize;

use super::TenantOutcome;
use super::schema::{schema_run as r, schema_run_tenant as t};
use crate::error::Error;

/// A run in `public.schema_run`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Queryable, Selectable)]
#[diesel(table_name = r)]
pub struct RunRecord {
    /// The id.
    pub id: i64,
    /// The command.
    pub command: String,
    /// The arguments, without the database URL.
    pub arguments: Vec<String>,
    /// The version of Tenantry.
    pub version: String,
    /// The role that was connected.
    pub role: String,
    /// The operating system user.
    pub os_user: Option<String>,
    /// The host name of the client.
    pub host: Option<String>,
    /// The process ID of the client.
    pub pid: Option<i32>,
    /// The tenant migrations: their source, their number, and the newest version.
    pub migrations: Option<String>,
    /// What the run was asked to do, as JSON; `None` for runs of earlier releases, and of commands that are not retried by run.
    #[serde(skip)]
    #[diesel(select_expression = sql("schema_run.request::pg_catalog.text"))]
    #[diesel(select_expression_type = SqlLiteral<Nullable<Text>>)]
    pub request: Option<String>,
    /// The start time.
    pub started_at: DateTime<Utc>,
    /// The end time; `None` if the run is in progress or was aborted.
    pub ended_at: Option<DateTime<Utc>>,
    /// `done`, `failed`, `stopped`, `interrupted` or `lost`; `None` without an end.
    pub outcome: Option<String>,
    /// The number of changed tenants. For a run without an end, this and the next counts are those recorded so far.
    #[diesel(select_expression = counted("done"))]
    #[diesel(select_expression_type = SqlLiteral<Integer>)]
    pub done: i32,
    /// The number of tenants that needed no change.
    pub unchanged: i32,
    /// The number of failed tenants.
    #[diesel(select_expression = counted("failed"))]
    #[diesel(select_expression_type = SqlLiteral<Integer>)]
    pub failed: i32,
    /// The number of tenants that were deferred because other sessions blocked them.
    #[diesel(select_expression = counted("deferred"))]
    #[diesel(select_expression_type = SqlLiteral<Integer>)]
    pub deferred: i32,
    /// The number of tenants that the run did not reach.
    pub not_reached: i32,
    /// Whether a session of the run is connected. A run without an end and without a session was aborted.
    #[diesel(select_expression = running())]
    #[diesel(select_expression_type = SqlLiteral<Bool>)]
    pub running: bool,
}

/// A count of the run, which is written at its end. Before, the number of its tenants with this outcome.
fn counted(outcome: &str) -> SqlLiteral<Integer> {
    sql(&format!(
        "CASE WHEN schema_run.ended_at IS NOT NULL THEN schema_run.{outcome} ELSE (SELECT pg_catalog.count(*)::integer \
         FROM public.schema_run_tenant AS t WHERE t.run = schema_run.id AND t.outcome = '{outcome}') END"
    ))
}

/// The commands that retry the failed tenants of a run with `--retry-failed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryCommand {
    /// Retries runs of `migrate-one` and `migrate-all`.
    MigrateAll,
    /// Retries runs of `revert-one` and `revert-all`.
    RevertAll,
}

impl RetryCommand {
    /// The command that retries runs of `command`; `None` for commands such as `drop`.
    pub fn of(command: &str) -> Option<Self> {
        match command {
            // The library records runs as `migrate` and `revert`.
            "migrate-one" | "migrate-all" | "migrate" => Some(Self::MigrateAll),
            "revert-one" | "revert-all" | "revert" => Some(Self::RevertAll),
            _ => None,
        }
    }

    /// The name of the command.
    pub fn command(self) -> &'static str {
        match self {
            Self::MigrateAll => "migrate-all",
            Self::RevertAll => "revert-all",
        }
    }
}

/// A tenant in `public.schema_run_tenant`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Queryable, Selectable)]
#[diesel(table_name = t)]
pub struct TenantRecord {
    /// The name of the tenant.
    pub tenant: String,
    /// `done`, `failed` or `deferred`.
    pub outcome: String,
    /// The newest version in the ledger before the run.
    pub from_version: Option<String>,
    /// The newest version after the run; `None` if the tenant was not changed, or has no version.
    pub to_version: Option<String>,
    /// The time of the first attempt.
    pub started_at: DateTime<Utc>,
    /// The duration in milliseconds.
    pub milliseconds: i64,
    /// The number of attempts.
    pub attempts: i32,
    /// The [code](crate::TenantError::code) of the error.
    pub code: Option<String>,
    /// The error.
    pub error: Option<String>,
}

impl TenantRecord {
    /// Whether the run changed the tenant as planned.
    pub fn is_done(&self) -> bool {
        self.outcome == TenantOutcome::Done.as_str()
    }
}

/// The `limit` newest runs, newest first.
///
/// # Errors
/// The server's error.
pub fn newest(conn: &mut PgConnection, limit: usize) -> Result<Vec<RunRecord>, Error> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    r::table
        .order(r::id.desc())
        .limit(limit)
        .select(RunRecord::as_select())
        .load(conn)
        .map_err(Error::doing("read public.schema_run"))
}

/// A run with its tenants, sorted by name; `None` if there is no run with this id.
///
/// # Errors
/// The server's error.
pub fn one(conn: &mut PgConnection, run: i64) -> Result<Option<(RunRecord, Vec<TenantRecord>)>, Error> {
    let found: Option<RunRecord> = r::table
        .find(run)
        .select(RunRecord::as_select())
        .first(conn)
        .optional()
        .map_err(Error::doing("read public.schema_run"))?;
    let Some(found) = found else { return Ok(None) };
    let tenants = t::table
        .filter(t::run.eq(run))
        .order(t::tenant)
        .select(TenantRecord::as_select())
        .load(conn)
        .map_err(Error::doing("read public.schema_run_tenant"))?;
    Ok(Some((found, tenants)))
}

/// The command of a run, and its failed and deferred tenants, sorted by name; `None` if there is no run with this id.
///
/// # Errors
/// The server's error.
pub fn failed_in(conn: &mut PgConnection, run: i64) -> Result<Option<(String, Vec<String>)>, Error> {
    let command: Option<String> =
        r::table.find(run).select(r::command).first(conn).optional().map_err(Error::doing("read public.schema_run"))?;
    let Some(command) = command else { return Ok(None) };
    let failed = t::table
        .filter(t::run.eq(run))
        .filter(t::outcome.ne(TenantOutcome::Done.as_str()))
        .select(t::tenant)
        .order(t::tenant)
        .load(conn)
        .map_err(Error::doing("read public.schema_run_tenant"))?;
    Ok(Some((command, failed)))
}

/// The newest runs that changed a tenant or failed to, newest first, with their commands.
///
/// # Errors
/// The server's error.
#[cfg(feature = "cli")]
pub(crate) fn of_tenant(
    conn: &mut PgConnection,
    tenant: &str,
    limit: i64,
) -> Result<Vec<(i64, String, TenantRecord)>, Error> {
    t::table
        .inner_join(r::table.on(r::id.eq(t::run)))
        .filter(t::tenant.eq(tenant))
        .order(t::run.desc())
        .limit(limit)
        .select((t::run, r::command, TenantRecord::as_select()))
        .load(conn)
        .map_err(Error::doing("read public.schema_run_tenant"))
}

/// When a recorded run last changed each tenant, by the tenant's name.
///
/// # Errors
/// The server's error.
pub(crate) fn last_changes(conn: &mut PgConnection) -> Result<HashMap<String, DateTime<Utc>>, Error> {
    let rows: Vec<(String, Option<DateTime<Utc>>)> = t::table
        .filter(t::outcome.eq(TenantOutcome::Done.as_str()))
        .group_by(t::tenant)
        .select((t::tenant, max(t::started_at)))
        .load(conn)
        .map_err(Error::doing("read public.schema_run_tenant"))?;
    Ok(rows.into_iter().filter_map(|(tenant, at)| Some((tenant, at?))).collect())
}

/// The tenants whose newest row in the record is no success: the last run that reached them failed or deferred them.
///
/// # Errors
/// The server's error.
pub fn last_failed(conn: &mut PgConnection) -> Result<BTreeSet<String>, Error> {
    let newest: Vec<(String, String)> = t::table
        .distinct_on(t::tenant)
        .order((t::tenant, t::run.desc()))
        .select((t::tenant, t::outcome))
        .load(conn)
        .map_err(Error::doing("read public.schema_run_tenant"))?;
    let failed = newest.into_iter().filter(|(_, outcome)| outcome != TenantOutcome::Done.as_str());
    Ok(failed.map(|(tenant, _)| tenant).collect())
}

/// Whether a session of the run is connected to this database. Sessions are recognized by their `application_name`.
fn running() -> SqlLiteral<Bool> {
    sql("(ended_at IS NULL AND EXISTS (SELECT FROM pg_catalog.pg_stat_activity AS activity \
         WHERE activity.datname = pg_catalog.current_database() \
         AND activity.application_name ~ pg_catalog.concat('^tenantry/', schema_run.id, '[ :]')))")
}
