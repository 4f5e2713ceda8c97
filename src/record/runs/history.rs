//! What is recorded of runs.

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Integer};
use serde::Serialize;

use super::TenantOutcome;
use super::schema::{schema_run as r, schema_run_tenant as t};
use crate::error::Error;

/// A run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Queryable, Selectable)]
#[diesel(table_name = r)]
pub struct RunRecord {
    /// Its id.
    pub id: i64,
    /// The command.
    pub command: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The version of the tool.
    pub version: String,
    /// The role that it connected as.
    pub role: String,
    /// The user of the operating system.
    pub os_user: Option<String>,
    /// The machine.
    pub host: Option<String>,
    /// The process on it.
    pub pid: Option<i32>,
    /// The tenant migrations that it used: where they came from, how many, and the newest version.
    pub migrations: Option<String>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended. None: it goes on, or was cut off.
    pub ended_at: Option<DateTime<Utc>>,
    /// `done`, `failed`, `stopped`, `interrupted` or `lost`; none where it has no end.
    pub outcome: Option<String>,
    /// How many tenants were done. Of a run without an end, here and below, as far as is recorded.
    #[diesel(select_expression = counted("done"))]
    #[diesel(select_expression_type = SqlLiteral<Integer>)]
    pub done: i32,
    /// How many were as they should be.
    pub unchanged: i32,
    /// How many failed.
    #[diesel(select_expression = counted("failed"))]
    #[diesel(select_expression_type = SqlLiteral<Integer>)]
    pub failed: i32,
    /// How many were put off.
    #[diesel(select_expression = counted("deferred"))]
    #[diesel(select_expression_type = SqlLiteral<Integer>)]
    pub deferred: i32,
    /// How many were not reached.
    pub not_reached: i32,
    /// Whether a session of it is at work. Of a run without an end that has none, the tenants tell how far it came.
    #[diesel(select_expression = running())]
    #[diesel(select_expression_type = SqlLiteral<Bool>)]
    pub running: bool,
}

/// A count of the run's, which is written at its end; before, that of its rows with this outcome.
fn counted(outcome: &str) -> SqlLiteral<Integer> {
    sql(&format!(
        "CASE WHEN schema_run.ended_at IS NOT NULL THEN schema_run.{outcome} ELSE (SELECT pg_catalog.count(*)::integer \
         FROM public.schema_run_tenant AS t WHERE t.run = schema_run.id AND t.outcome = '{outcome}') END"
    ))
}

/// The commands that try again what runs failed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryCommand {
    /// What `migrate-one` or `migrate-all` failed to do.
    MigrateAll,
    /// What `revert-one` or `revert-all` failed to do.
    RevertAll,
}

impl RetryCommand {
    /// The one for the runs of a command; none for those that nothing is tried again of by their id, such as `drop`.
    pub fn of(command: &str) -> Option<Self> {
        match command {
            // The last is what a library's user is recorded with.
            "migrate-one" | "migrate-all" | "migrate" => Some(Self::MigrateAll),
            "revert-one" | "revert-all" | "revert" => Some(Self::RevertAll),
            _ => None,
        }
    }

    /// Its name.
    pub fn command(self) -> &'static str {
        match self {
            Self::MigrateAll => "migrate-all",
            Self::RevertAll => "revert-all",
        }
    }
}

/// What a run did for a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Queryable)]
pub struct TenantRecord {
    /// Its name.
    pub tenant: String,
    /// `done`, `failed` or `deferred`.
    pub outcome: String,
    /// The newest version in the ledger before.
    pub from_version: Option<String>,
    /// The newest version after; none where it is not done, or had none.
    pub to_version: Option<String>,
    /// When it was first tried.
    pub started_at: DateTime<Utc>,
    /// How long it took, in milliseconds.
    pub milliseconds: i64,
    /// How often it was tried.
    pub attempts: i32,
    /// The kind of the error.
    pub code: Option<String>,
    /// The error.
    pub error: Option<String>,
}

impl TenantRecord {
    /// Whether it is as the run would have it.
    pub fn is_done(&self) -> bool {
        self.outcome == TenantOutcome::Done.as_str()
    }
}

/// The newest runs, the newest first.
///
/// # Errors
/// What the server answered.
pub fn newest(conn: &mut PgConnection, many: usize) -> Result<Vec<RunRecord>, Error> {
    let many = i64::try_from(many).unwrap_or(i64::MAX);
    r::table
        .order(r::id.desc())
        .limit(many)
        .select(RunRecord::as_select())
        .load(conn)
        .map_err(Error::doing("read public.schema_run"))
}

/// One run with its tenants, by name; none where there is none of the id.
///
/// # Errors
/// What the server answered.
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
        .select((
            t::tenant,
            t::outcome,
            t::from_version,
            t::to_version,
            t::started_at,
            t::milliseconds,
            t::attempts,
            t::code,
            t::error,
        ))
        .load(conn)
        .map_err(Error::doing("read public.schema_run_tenant"))?;
    Ok(Some((found, tenants)))
}

/// The command of a run, and the tenants that it failed to bring where they should be, or deferred, in order. None: there is
/// no such run.
///
/// # Errors
/// What the server answered.
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

/// Whether one of a run's sessions is there: they are known by their `application_name`, those that work on a schema and
/// those that lock or watch. Another database has runs of the same numbers.
fn running() -> SqlLiteral<Bool> {
    sql("(ended_at IS NULL AND EXISTS (SELECT FROM pg_catalog.pg_stat_activity AS activity \
         WHERE activity.datname = pg_catalog.current_database() \
         AND activity.application_name ~ pg_catalog.concat('^tenantry/', schema_run.id, '[ :]')))")
}
