//! Runs SQL of an operator in the schemas of tenants, each in one transaction.

use std::collections::HashSet;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::{QueryableByName, sql_query};

use super::scripts::{TenantLock, begin};
use crate::confine::{self, Scrutiny};
use crate::database::{Database, Stop};
use crate::error::{Error, FailedTenant, TenantError};
use crate::migration::AdHocScript;
use crate::model::{SchemaName, TenantName};
use crate::operations::migrate::{Batch, SchemaTarget, StopReason};
use crate::postgres::{ServerMessage, Session, session};
use crate::record::runs::{Counts, Run};
use crate::run::{
    Attempt, AttemptError, FailureBudget, Job, Observer, Operation, Outcome, RetryState, RunContext, Runner, Verified,
};
use crate::sql::statement::line_at;
use crate::tenants::Tenancy;

/// What SQL may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecAccess {
    /// Read. The transactions are read-only and rolled back.
    Read,
    /// Change objects and rows in the schema of the tenant.
    Write,
    /// Change objects and rows everywhere.
    WriteOutside,
}

/// How SQL is run in the schemas of tenants.
#[derive(Debug, Clone, Copy)]
pub struct ExecOptions {
    /// What it may do.
    pub access: ExecAccess,
    /// The maximum number of rows that are returned for each tenant.
    pub max_rows: usize,
}

/// The result of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecResult {
    /// The tenant.
    pub tenant: TenantName,
    /// The rows of the last statement, each as a JSON object with the columns in their order.
    pub rows: Vec<String>,
    /// Whether there were more rows than the maximum.
    pub truncated: bool,
}

/// The results of all tenants, each list sorted by name.
#[derive(Debug, Default)]
pub struct ExecReport {
    /// The id of the run in `public.schema_run`; `None` for [`ExecAccess::Read`].
    pub run: Option<i64>,
    /// The tenants in which the SQL ran.
    pub done: Vec<ExecResult>,
    /// The tenants in which it failed. Their transactions were rolled back.
    pub failed: Vec<FailedTenant>,
    /// The tenants that were not started.
    pub not_reached: Vec<TenantName>,
    /// Why the run stopped early.
    pub ended: Option<StopReason>,
}

/// Runs SQL in the schemas of tenants, several at a time. A write is recorded as a run.
///
/// # Errors
/// [`Error::NoFreeConnection`], or an error that the run could not be recorded. Failures of one tenant are in the report.
pub fn exec(
    db: &mut Database,
    tenancy: &Tenancy,
    tenants: Vec<TenantName>,
    script: &AdHocScript,
    options: ExecOptions,
    stop: &Stop,
    observer: &mut dyn Observer,
) -> Result<ExecReport, Error> {
    let mut report = ExecReport::default();
    if tenants.is_empty() {
        return Ok(report);
    }
    db.require_free_connection()?;
    let runner = if options.access == ExecAccess::Read {
        Runner::reading(tenancy, Run::unrecorded(), stop)
    } else {
        let run = Run::begin(db, "exec")?;
        report.run = run.recorded_id();
        Runner::new(tenancy, run, tenants.len(), stop, FailureBudget::default())
    };
    observer.begin(tenants.len());
    let jobs = tenants.into_iter().map(|tenant| ExecJob { tenant, retry: RetryState::default(), in_doubt: false });
    let mut stage = runner.run(db, &Exec { script, options }, jobs.collect(), observer)?;
    report.ended = runner.stop_reason(&mut stage);
    report.done = stage.done;
    report.done.sort_by(|a, b| a.tenant.cmp(&b.tenant));
    report.failed = stage.failed;
    report.failed.sort_by(|a, b| a.tenant.cmp(&b.tenant));
    report.not_reached = stage.not_reached.into_iter().map(|job| job.tenant).collect();
    report.not_reached.sort();
    if options.access != ExecAccess::Read {
        let counts = Counts::of(report.done.len(), 0, &report.failed, report.not_reached.len());
        runner.end(db, report.ended.as_ref(), counts);
    }
    Ok(report)
}

/// A tenant in the queue of a run.
struct ExecJob {
    tenant: TenantName,
    retry: RetryState,
    /// Whether an earlier attempt may have committed.
    in_doubt: bool,
}

impl Job for ExecJob {
    fn schema(&self) -> &SchemaName {
        self.tenant.schema()
    }

    fn retry_state(&self) -> &RetryState {
        &self.retry
    }

    fn commit_lost(&mut self) {
        self.in_doubt = true;
    }
}

/// Runs the SQL.
struct Exec<'a> {
    script: &'a AdHocScript,
    options: ExecOptions,
}

impl Operation for Exec<'_> {
    type Job = ExecJob;
    type Done = ExecResult;

    fn attempt(&self, context: &RunContext<'_>, session: &mut Session, job: &mut ExecJob) -> Attempt<ExecResult> {
        let schema = job.tenant.schema().clone();
        job.retry.begin(&schema, &context.monitor);
        match self.try_once(context, session, job) {
            Ok(done) => Attempt::Finished(Outcome::Done(done)),
            Err(error) => {
                // A message that failed leaves its transaction open.
                if session.batch_execute("ROLLBACK").is_err() {
                    session.discard();
                }
                job.in_doubt = matches!(error, AttemptError::ConnectionLost(_) | AttemptError::Canceled(_));
                job.retry.after(error, context, session, &schema)
            }
        }
    }

    /// Reads the rows that the run wrote in the transactions of the tenants.
    fn verify(&self, context: &RunContext<'_>, db: &mut Database, done: &[&ExecJob]) -> Result<Verified, Error> {
        if self.options.access == ExecAccess::Read {
            return Ok(Verified::default());
        }
        let names: Vec<&str> = done.iter().map(|job| job.tenant.as_str()).collect();
        let recorded = context.run.done_among(db.connection(), &names)?;
        let lost = done.iter().filter(|job| !recorded.contains(job.tenant.as_str()));
        let lost: HashSet<SchemaName> = lost.map(|job| job.tenant.schema().clone()).collect();
        Ok(Verified { lost, ..Verified::default() })
    }
}

impl Exec<'_> {
    fn try_once(
        &self,
        context: &RunContext<'_>,
        session: &mut Session,
        job: &ExecJob,
    ) -> Result<ExecResult, AttemptError> {
        let name = job.tenant.as_str();
        if self.options.access != ExecAccess::Read
            && job.in_doubt
            && context.run.done_among(session, &[name])?.contains(name)
        {
            // Its rows are lost with the connection.
            return Ok(ExecResult { tenant: job.tenant.clone(), rows: Vec::new(), truncated: false });
        }
        let target = SchemaTarget::tenant(context.tenancy, job.tenant.schema(), Some(context.run));
        let (first, query) = self.parts();
        let opening = self.opening(context, target, first);
        session
            .batch_execute(opening.sql())
            .map_err(|error| self.failure(session, &error, |position| Some(opening.locate(position)?.1)))?;
        let mut rows = match query {
            Some(query) => self.rows(session, query)?,
            None => Vec::new(),
        };
        let closing = self.closing(context, target, job);
        session.batch_execute(&closing).map_err(|error| self.failure(session, &error, |_| None))?;
        if self.script.script().traits().may_leave_state {
            session.discard();
        }
        let truncated = rows.len() > self.options.max_rows;
        rows.truncate(self.options.max_rows);
        Ok(ExecResult { tenant: job.tenant.clone(), rows, truncated })
    }

    /// The statements without results, and the query that is the last statement.
    fn parts(&self) -> (&str, Option<Query<'_>>) {
        let text = self.script.script().text();
        let statements = self.script.script().statements();
        match statements.last() {
            Some(last) if self.script.returns_rows() => {
                (&text[..last.offset()], Some(Query { sql: last.sql(), offset: last.offset() }))
            }
            _ => (text, None),
        }
    }

    fn scrutiny(&self, target: SchemaTarget<'_>) -> Scrutiny {
        match self.options.access {
            ExecAccess::Read | ExecAccess::WriteOutside => Scrutiny::None,
            // The locks alone show less than the text of a migration does.
            ExecAccess::Write => match confine::scrutiny([self.script.script()], target.tenancy.extension_schemas()) {
                Scrutiny::Quick => Scrutiny::Thorough,
                other => other,
            },
        }
    }

    /// Begins the transaction and runs the statements without results.
    fn opening(&self, context: &RunContext<'_>, target: SchemaTarget<'_>, sql: &str) -> Batch {
        let lock = if self.options.access == ExecAccess::Read { TenantLock::None } else { TenantLock::Acquire };
        let mut batch = begin(target, context.commit, lock);
        if self.options.access == ExecAccess::Read {
            batch.push("SET TRANSACTION READ ONLY;");
        }
        batch.inventory(target, self.scrutiny(target));
        batch.push(&target.enter());
        batch.script(0, sql);
        batch
    }

    /// Runs the query, which is the last statement.
    fn rows(&self, session: &mut Session, query: Query<'_>) -> Result<Vec<String>, AttemptError> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            json: String,
        }
        // A line of its own ends a comment of the query.
        const BEFORE: &str = "WITH tenantry_result AS (";
        let limit = self.options.max_rows.saturating_add(1);
        let sql = format!(
            "{BEFORE}{}\n) SELECT pg_catalog.to_json(tenantry_result)::pg_catalog.text AS json FROM tenantry_result LIMIT {limit}",
            query.sql
        );
        let rows: QueryResult<Vec<Row>> = sql_query(sql).load(&mut **session);
        let rows = rows.map_err(|error| {
            self.failure(session, &error, |position| {
                let (byte, _) = query.sql.char_indices().nth(position.checked_sub(BEFORE.len() + 1)?)?;
                Some(query.offset + byte)
            })
        })?;
        Ok(rows.into_iter().map(|row| row.json).collect())
    }

    /// Ends the transaction.
    fn closing(&self, context: &RunContext<'_>, target: SchemaTarget<'_>, job: &ExecJob) -> String {
        if self.options.access == ExecAccess::Read {
            return format!("{} {} ROLLBACK;", session::reset(session::Locks::All), session::CLOSE_CURSORS);
        }
        let mut batch = Batch::after_of(target, self.script.script());
        batch.confine(target, self.scrutiny(target), None);
        if let Some(row) = context.run.record(target.schema, &job.retry.done_row(None, None)) {
            batch.push(row.text());
        }
        batch.commit().sql().to_owned()
    }

    /// The error of a message. `locate` returns the byte of the script at a position of the message.
    fn failure(
        &self,
        session: &mut Session,
        error: &diesel::result::Error,
        locate: impl Fn(usize) -> Option<usize>,
    ) -> AttemptError {
        let server = match AttemptError::classify(error) {
            // The transaction is read-only, and not the server.
            Ok(AttemptError::ReadOnly) if self.options.access == ExecAccess::Read => {
                ServerMessage { advice: Some("to change tenants, add --write"), ..ServerMessage::from(error) }
            }
            Ok(error) => return error,
            Err(server) => server,
        };
        let line = server.character().and_then(locate).map(|byte| line_at(self.script.script().text(), byte));
        let server = match self.options.access {
            ExecAccess::Write => confine::describe_violation(session, server),
            ExecAccess::Read | ExecAccess::WriteOutside => server,
        };
        let message = match line {
            Some(line) => format!("line {line}: {}", server.message),
            None => server.message,
        };
        TenantError::Server(ServerMessage { message, ..server }).into()
    }
}

/// The last statement of a script, with its first byte in the script.
#[derive(Clone, Copy)]
struct Query<'a> {
    sql: &'a str,
    offset: usize,
}
