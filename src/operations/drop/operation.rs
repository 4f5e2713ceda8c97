//! Drops one schema: in one transaction, or in several if one takes too many of the server's locks.

use std::collections::HashSet;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::result::Error as DieselError;
use diesel::sql_types::{Nullable, Oid, Text};
use diesel::{QueryableByName, RunQueryDsl, sql_query};

use super::lock_budget::{LockBudget, LockShare};
use super::lookup::{dependents, is_dropped, look_up};
use super::message::{self, ExpectedRow};
use super::order::{Address, Remaining, Step};
use super::{Contents, Dropping, InSteps};
use crate::database::Database;
use crate::error::{Error, TenantError};
use crate::model::SchemaName;
use crate::operations::migrate::{Batch, SchemaTarget};
use crate::postgres::{Call, Condition, ServerMessage, Session};
use crate::run::{Attempt, AttemptError, Job, Operation, RetryState, RunContext, Verified};

/// A schema in the queue of a run.
pub(super) struct DropJob {
    pub(super) dropping: Dropping,
    retry: RetryState,
    /// Whether the connection was lost during the drop. The schema may have been dropped.
    in_doubt: bool,
    /// Whether this run has set the tenant's state to `dropping`.
    announced: bool,
    /// The number of transactions that this run has committed for it.
    transactions: u32,
}

/// Why a schema was not dropped.
enum DropError {
    Attempt(Box<AttemptError>),
    LockTableFull(LargeTransaction, Box<ServerMessage>),
    /// A stop was requested between two transactions.
    Stopped,
}

/// A transaction for which the server's lock table was too small.
struct LargeTransaction {
    /// The number of locks that it takes.
    locks: i64,
    /// A description of what it does, such as `dropping table acme.users`.
    doing: String,
    /// Whether it can be divided into smaller ones.
    divisible: bool,
}

impl DropJob {
    pub(super) fn new(dropping: Dropping) -> Self {
        Self { dropping, retry: RetryState::default(), in_doubt: false, announced: false, transactions: 0 }
    }

    /// Whether a transaction was committed for it.
    pub(super) fn has_begun(&self) -> bool {
        self.transactions > 0
    }

    fn committed(&mut self) {
        self.transactions += 1;
        self.retry.progress();
    }

    fn done(&self) -> InSteps {
        InSteps { name: self.dropping.name.clone(), transactions: self.transactions }
    }
}

impl Job for DropJob {
    fn schema(&self) -> &SchemaName {
        &self.dropping.name
    }

    fn retry_state(&self) -> &RetryState {
        &self.retry
    }

    fn commit_lost(&mut self) {
        self.announced = false;
        self.transactions = 0;
    }
}

/// Drops schemas and their tracker rows.
pub(super) struct DropSchemas {
    /// The locks that all workers may take together.
    pub(super) lock_budget: LockBudget,
    /// The number of schemas that may be dropped in steps at the same time.
    pub(super) at_once: i64,
}

impl Operation for DropSchemas {
    type Job = DropJob;
    type Done = InSteps;

    fn attempt(&self, context: &RunContext<'_>, session: &mut Session, job: &mut DropJob) -> Attempt<InSteps> {
        job.retry.begin(&job.dropping.name, &context.monitor);
        let attempt = match (DropAttempt { operation: self, context }).drop_schema(session, job) {
            Ok(()) => Attempt::done(job.done()),
            Err(DropError::Stopped) => Attempt::Canceled,
            Err(DropError::LockTableFull(transaction, server)) => {
                self.lock_table_full(context, transaction, server, &mut job.retry)
            }
            Err(DropError::Attempt(error)) => after_error(*error, context, session, job),
        };
        if !job.has_begun() {
            return attempt;
        }
        let tracked = job.dropping.tracked;
        attempt.map_error(|error| TenantError::DropIncomplete { tracked, error: Box::new(error) })
    }

    /// Finds the schemas and rows that exist as before the drop.
    fn verify(&self, _: &RunContext<'_>, db: &mut Database, done: &[&DropJob]) -> Result<Verified, Error> {
        let names: Vec<&SchemaName> = done.iter().map(|job| &job.dropping.name).collect();
        let (tracked, schemas) = look_up(db.connection(), &names)?;
        let exists = |dropping: &Dropping| {
            let oid = schemas.get(dropping.name.as_str()).map(|schema| schema.oid);
            tracked.contains_key(dropping.name.as_str()) == dropping.tracked
                && oid == dropping.schema.map(|schema| schema.oid)
        };
        let lost = done.iter().map(|job| &job.dropping).filter(|dropping| exists(dropping));
        let lost: HashSet<SchemaName> = lost.map(|dropping| dropping.name.clone()).collect();
        Ok(Verified { lost, ..Verified::default() })
    }
}

impl DropSchemas {
    /// Reacts to a full lock table: with smaller transactions, or with the same transaction later.
    fn lock_table_full(
        &self,
        context: &RunContext<'_>,
        transaction: LargeTransaction,
        server: Box<ServerMessage>,
        retry: &mut RetryState,
    ) -> Attempt<InSteps> {
        if transaction.divisible && self.lock_budget.shrink(transaction.locks) {
            return Attempt::Retry(Duration::ZERO);
        }
        match retry.contention(context.tenancy) {
            Some(pause) => Attempt::Retry(pause),
            None => {
                let LargeTransaction { doing, locks, .. } = transaction;
                Attempt::failed(TenantError::LockTableFull { doing, locks, server })
            }
        }
    }
}

/// Decides how an attempt that did not finish ends.
fn after_error(
    error: AttemptError,
    context: &RunContext<'_>,
    session: &mut Session,
    job: &mut DropJob,
) -> Attempt<InSteps> {
    match error {
        // The connection was lost after the commit, or another run has dropped the rest.
        AttemptError::Changed if (job.in_doubt || job.has_begun()) && is_dropped(session, &job.dropping) => {
            Attempt::done(job.done())
        }
        AttemptError::Changed => Attempt::failed(changed(session, job)),
        error => {
            if matches!(error, AttemptError::ConnectionLost(_)) {
                job.in_doubt = true;
                // A server that crashed may have lost the commit.
                job.announced = false;
            }
            job.retry.after(error, context, session, &job.dropping.name)
        }
    }
}

/// An attempt to drop a schema.
struct DropAttempt<'a> {
    operation: &'a DropSchemas,
    context: &'a RunContext<'a>,
}

impl DropAttempt<'_> {
    fn drop_schema(&self, session: &mut Session, job: &mut DropJob) -> Result<(), DropError> {
        match job.dropping.schema {
            Some(schema) if job.has_begun() || schema.locks > self.operation.lock_budget.limit() => {
                self.in_steps(session, job, schema)
            }
            schema => {
                let locks = schema.map_or(0, |schema| schema.locks);
                let _share = self.take_locks(locks)?;
                let transaction = LargeTransaction { locks, doing: "dropping the schema".to_owned(), divisible: true };
                self.rest(session, job, transaction)
            }
        }
    }

    /// Drops a schema in several transactions. After a failure, the next attempt continues with the remaining objects.
    fn in_steps(&self, session: &mut Session, job: &mut DropJob, schema: Contents) -> Result<(), DropError> {
        let share = self.take_locks(self.operation.lock_budget.limit() / self.operation.at_once)?;
        if job.dropping.tracked && !job.announced {
            self.announce(session, job)?;
        }
        let mut before = i64::MAX;
        loop {
            let remaining = self.remaining(session, job, schema)?;
            // If the last round dropped nothing, the rest cannot be divided.
            let divisible = remaining.locks < before;
            if remaining.locks <= share.locks() || !divisible {
                let doing = "dropping the remaining objects".to_owned();
                return self.rest(session, job, LargeTransaction { locks: remaining.locks, doing, divisible });
            }
            before = remaining.locks;
            let mut locks = remaining.locks;
            for step in remaining.steps(share.locks()) {
                if self.context.stop.is_requested() {
                    return Err(DropError::Stopped);
                }
                if locks <= share.locks() {
                    break;
                }
                self.step(session, job, &step)?;
                locks -= step.locks;
            }
        }
    }

    /// Reads the remaining objects of a schema.
    fn remaining(&self, session: &mut Session, job: &DropJob, schema: Contents) -> Result<Remaining, DropError> {
        let begin = message::begin_reading(self.target(job));
        Remaining::read(session, schema.oid, begin.sql()).map_err(|error| {
            classify(&error, || LargeTransaction {
                locks: 1,
                doing: "reading the remaining objects".to_owned(),
                divisible: false,
            })
        })
    }

    /// Sets the tenant's state to `dropping` before anything is dropped.
    fn announce(&self, session: &mut Session, job: &mut DropJob) -> Result<(), DropError> {
        let batch = message::announce(self.target(job), &job.dropping);
        self.send(session, &batch, || LargeTransaction {
            locks: 1,
            doing: "setting the state".to_owned(),
            divisible: false,
        })?;
        job.announced = true;
        job.committed();
        Ok(())
    }

    /// Drops the objects of a step.
    fn step(&self, session: &mut Session, job: &mut DropJob, step: &Step) -> Result<(), DropError> {
        let batch = message::step(self.target(job), &job.dropping, &step.objects);
        let transaction = || LargeTransaction {
            locks: step.locks,
            doing: "dropping some of its objects".to_owned(),
            divisible: true,
        };
        let mut result = self.send(session, &batch, transaction);
        if let (Err(DropError::LockTableFull(transaction, _)), [object]) = (&mut result, step.objects.as_slice()) {
            transaction.divisible = false;
            if let Some(description) = describe(session, *object) {
                transaction.doing = format!("dropping {description}");
            }
        }
        result?;
        job.committed();
        Ok(())
    }

    /// Drops the rest of a schema and the tenant's row.
    fn rest(&self, session: &mut Session, job: &mut DropJob, transaction: LargeTransaction) -> Result<(), DropError> {
        let expected = if job.announced { ExpectedRow::Dropping } else { ExpectedRow::AsPlanned };
        let record = self.context.run.record(&job.dropping.name, &job.retry.done_row(None, None));
        let record = record.as_ref().map_or("", Call::text);
        let batch = message::rest(self.target(job), &job.dropping, expected, self.context.commit, record);
        self.send(session, &batch, || transaction)?;
        job.committed();
        Ok(())
    }

    fn target<'a>(&'a self, job: &'a DropJob) -> SchemaTarget<'a> {
        SchemaTarget::tenant(self.context.tenancy, &job.dropping.name, Some(self.context.run))
    }

    fn take_locks(&self, locks: i64) -> Result<LockShare<'_>, DropError> {
        self.operation.lock_budget.take(locks, self.context.stop).ok_or(DropError::Stopped)
    }

    /// Sends a message. `transaction` describes it if the server's lock table is full.
    fn send(
        &self,
        session: &mut Session,
        batch: &Batch,
        transaction: impl FnOnce() -> LargeTransaction,
    ) -> Result<(), DropError> {
        session.batch_execute(batch.sql()).map_err(|error| {
            if session.batch_execute("ROLLBACK").is_err() {
                session.discard();
            }
            classify(&error, transaction)
        })
    }
}

fn classify(error: &DieselError, transaction: impl FnOnce() -> LargeTransaction) -> DropError {
    if Condition::of(error) == Some(Condition::OutOfSharedMemory) {
        DropError::LockTableFull(transaction(), Box::new(ServerMessage::from(error)))
    } else {
        DropError::Attempt(Box::new(AttemptError::from(error)))
    }
}

/// The error of a schema that is not in the expected state.
fn changed(session: &mut Session, job: &DropJob) -> TenantError {
    let schema = match job.dropping.schema {
        Some(schema) if job.has_begun() => schema,
        _ => return TenantError::ChangedSincePlan,
    };
    match dependents(session, &[schema.oid]) {
        Ok(mut found) if !found.is_empty() => {
            TenantError::Dependents { objects: found.remove(&schema.oid).unwrap_or_default() }
        }
        _ => TenantError::ChangedDuringDrop,
    }
}

/// PostgreSQL's description of an object.
fn describe(session: &mut Session, (class, id): Address) -> Option<String> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Text>)]
        description: Option<String>,
    }
    let row: Row = sql_query("SELECT pg_catalog.pg_describe_object($1, $2, 0) AS description")
        .bind::<Oid, _>(class)
        .bind::<Oid, _>(id)
        .get_result(&mut **session)
        .ok()?;
    row.description
}
