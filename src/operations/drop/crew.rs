//! Drops one schema: in one transaction, or in several if one takes too many of the server's locks.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::result::Error as DieselError;
use diesel::sql_types::{Nullable, Oid, Text};
use diesel::{QueryableByName, RunQueryDsl, sql_query};

use super::look::{dependents, is_gone, look};
use super::message::{self, Known};
use super::order::{Address, Left, Step};
use super::room::{Room, Taken};
use super::{Contents, Dropping};
use crate::database::Database;
use crate::error::{Error, TenantError};
use crate::model::SchemaName;
use crate::operations::migrate::{Batch, Commit, Setback, Setbacks, Target, setback};
use crate::operations::run::{self, Finished, Orders};
use crate::postgres::{Condition, ServerMessage, Session};
use crate::record::runs::DoneRow;
use crate::run::workers::{Attempt, Work};

/// A schema in the queue of a run.
pub(super) struct Job {
    pub(super) dropping: Dropping,
    setbacks: Setbacks,
    /// Whether the connection was lost during the drop. The schema may have been dropped.
    in_doubt: bool,
    /// Whether this run has set the tenant's state to `dropping`.
    announced: bool,
    /// The number of transactions that this run has committed for it.
    transactions: u32,
}

/// What the workers do.
pub(super) struct Crew<'a> {
    pub(super) orders: Orders<'a>,
    pub(super) commit: Commit,
    pub(super) room: Room,
    /// The number of schemas that may be dropped in steps at the same time.
    pub(super) at_once: i64,
}

/// Why a schema was not dropped.
enum Trouble {
    Setback(Box<Setback>),
    /// The server's lock table is full.
    Full(Full, Box<ServerMessage>),
    /// A stop was requested.
    Stopped,
}

/// A transaction for which the server's lock table had no room.
struct Full {
    /// The number of locks that it takes.
    locks: i64,
    /// A description of what it drops.
    what: String,
    /// Whether it can be divided into smaller ones.
    divisible: bool,
}

impl Job {
    pub(super) fn new(dropping: Dropping) -> Self {
        Self { dropping, setbacks: Setbacks::default(), in_doubt: false, announced: false, transactions: 0 }
    }

    /// Whether a transaction was committed for it.
    pub(super) fn has_begun(&self) -> bool {
        self.transactions > 0
    }

    fn gone(&self) -> Finished {
        Finished { took: self.setbacks.took(), transactions: self.transactions }
    }

    fn committed(&mut self) {
        self.transactions += 1;
        self.setbacks.progress();
    }

    /// Adds to an error that the schema was dropped in part.
    fn failed(&self, error: TenantError) -> TenantError {
        match self.has_begun() {
            true => TenantError::DropIncomplete { tracked: self.dropping.tracked, error: Box::new(error) },
            false => error,
        }
    }
}

impl run::Job for Job {
    fn name(&self) -> &SchemaName {
        &self.dropping.name
    }

    fn setbacks(&self) -> &Setbacks {
        &self.setbacks
    }

    fn start_over(&mut self) {
        self.announced = false;
        self.transactions = 0;
    }
}

impl run::Crew for Crew<'_> {
    /// The schemas that exist as before the drop.
    fn lost(&self, db: &mut Database, jobs: &[&Job]) -> Result<HashSet<SchemaName>, Error> {
        let names: Vec<&SchemaName> = jobs.iter().map(|job| &job.dropping.name).collect();
        let (tracked, schemas) = look(db.connection(), &names)?;
        let is_there = |dropping: &Dropping| {
            let oid = schemas.get(dropping.name.as_str()).map(|schema| schema.oid);
            tracked.contains_key(dropping.name.as_str()) == dropping.tracked
                && oid == dropping.schema.map(|schema| schema.oid)
        };
        let there = jobs.iter().filter(|job| is_there(&job.dropping));
        Ok(there.map(|job| job.dropping.name.clone()).collect())
    }
}

impl Work for Crew<'_> {
    type Job = Job;
    type Outcome = Result<Finished, TenantError>;

    /// In steps, only the last transaction commits durably, which makes the earlier ones durable.
    fn is_durable(&self) -> bool {
        self.commit == Commit::Durable
    }

    fn attempt(&self, session: &mut Session, job: &mut Job) -> Attempt<Self::Outcome> {
        job.setbacks.begin(&job.dropping.name, self.orders.monitor);
        let trouble = match self.drop_one(session, job) {
            Ok(()) => return Attempt::Done(Ok(job.gone())),
            Err(trouble) => trouble,
        };
        let setback = match trouble {
            Trouble::Stopped => return Attempt::Canceled,
            Trouble::Full(full, server) => {
                return self.full(full, server, &mut job.setbacks).map(|error| Err(job.failed(error)));
            }
            Trouble::Setback(setback) => *setback,
        };
        let attempt = match setback {
            // The connection was lost after the commit, or another run has dropped the rest.
            Setback::Changed if (job.in_doubt || job.has_begun()) && is_gone(session, &job.dropping) => {
                return Attempt::Done(Ok(job.gone()));
            }
            Setback::Changed => Attempt::Done(changed(session, job)),
            setback => {
                if matches!(setback, Setback::Lost(_)) {
                    job.in_doubt = true;
                    // A server that crashed may have lost the commit.
                    job.announced = false;
                }
                let Orders { tenancy, monitor, stop, .. } = self.orders;
                job.setbacks.next(session, setback, &job.dropping.name, tenancy, monitor, stop)
            }
        };
        attempt.map(|error| Err(job.failed(error)))
    }
}

impl Crew<'_> {
    fn drop_one(&self, session: &mut Session, job: &mut Job) -> Result<(), Trouble> {
        match job.dropping.schema {
            Some(schema) if job.has_begun() || schema.locks > self.room.limit() => self.in_steps(session, job, schema),
            schema => {
                let locks = schema.map_or(0, |schema| schema.locks);
                let _taken = self.room(locks)?;
                let full = Full { locks, what: "its schema".to_owned(), divisible: true };
                self.rest(session, job, full)
            }
        }
    }

    /// Drops a schema in several transactions. After a failure, the next attempt continues with what is left.
    fn in_steps(&self, session: &mut Session, job: &mut Job, schema: Contents) -> Result<(), Trouble> {
        let room = self.room(self.room.limit() / self.at_once)?;
        if job.dropping.tracked && !job.announced {
            self.announce(session, job)?;
        }
        let mut before = i64::MAX;
        loop {
            let reading = || Full { locks: 1, what: "a look at what is left of it".to_owned(), divisible: false };
            let look = message::begin_look(self.target(job));
            let left = Left::read(session, schema.oid, look.sql()).map_err(|error| trouble(&error, reading))?;
            // If the last round dropped nothing, the rest cannot be divided.
            let divisible = left.locks < before;
            if left.locks <= room.locks() || !divisible {
                let full = Full { locks: left.locks, what: "what is left of it".to_owned(), divisible };
                return self.rest(session, job, full);
            }
            before = left.locks;
            let mut locks = left.locks;
            for step in left.steps(room.locks()) {
                if self.orders.stop.is_requested() {
                    return Err(Trouble::Stopped);
                }
                if locks <= room.locks() {
                    break;
                }
                self.step(session, job, &step)?;
                locks -= step.locks;
            }
        }
    }

    /// Sets the tenant's state to `dropping` before anything is dropped.
    fn announce(&self, session: &mut Session, job: &mut Job) -> Result<(), Trouble> {
        let batch = message::announce(self.target(job), &job.dropping);
        self.send(session, &batch, || Full { locks: 1, what: "its state".to_owned(), divisible: false })?;
        job.announced = true;
        job.committed();
        Ok(())
    }

    /// Drops the objects of a step.
    fn step(&self, session: &mut Session, job: &mut Job, step: &Step) -> Result<(), Trouble> {
        let batch = message::step(self.target(job), &job.dropping, &step.objects);
        let full = || Full { locks: step.locks, what: "some objects of it".to_owned(), divisible: true };
        let mut sent = self.send(session, &batch, full);
        if let (Err(Trouble::Full(full, _)), [object]) = (&mut sent, step.objects.as_slice()) {
            full.divisible = false;
            full.what = describe(session, *object).unwrap_or_else(|| full.what.clone());
        }
        sent?;
        job.committed();
        Ok(())
    }

    /// Drops the rest of a schema and the tenant's row.
    fn rest(&self, session: &mut Session, job: &mut Job, full: Full) -> Result<(), Trouble> {
        let known = if job.announced { Known::Announced } else { Known::AsPlanned };
        let before = if job.has_begun() { job.setbacks.took() } else { Duration::ZERO };
        let done = DoneRow { from: None, to: None, before, attempts: job.setbacks.attempts() };
        let record = self.orders.run.record(&job.dropping.name, &done);
        let batch = message::rest(self.target(job), &job.dropping, known, self.commit, &record);
        self.send(session, &batch, || full)?;
        job.committed();
        Ok(())
    }

    fn target<'a>(&'a self, job: &'a Job) -> Target<'a> {
        Target::tenant(self.orders.tenancy, &job.dropping.name, Some(self.orders.run))
    }

    fn room(&self, locks: i64) -> Result<Taken<'_>, Trouble> {
        self.room.take(locks, self.orders.stop).ok_or(Trouble::Stopped)
    }

    fn send(&self, session: &mut Session, batch: &Batch, full: impl FnOnce() -> Full) -> Result<(), Trouble> {
        session.batch_execute(batch.sql()).map_err(|error| {
            if session.batch_execute("ROLLBACK").is_err() {
                session.discard();
            }
            trouble(&error, full)
        })
    }

    /// Reacts to a full lock table: with smaller transactions, or with the same transaction later.
    fn full(&self, full: Full, server: Box<ServerMessage>, setbacks: &mut Setbacks) -> Attempt<TenantError> {
        if full.divisible && self.room.shrink(full.locks) {
            return Attempt::Later(Duration::ZERO);
        }
        match setbacks.contention(self.orders.tenancy) {
            Some(pause) => Attempt::Later(pause),
            None => Attempt::Done(TenantError::LockTableFull { what: full.what, locks: full.locks, server }),
        }
    }
}

/// Classifies an error.
fn trouble(error: &DieselError, full: impl FnOnce() -> Full) -> Trouble {
    if Condition::of(error) == Some(Condition::OutOfSharedMemory) {
        return Trouble::Full(full(), Box::new(ServerMessage::from(error)));
    }
    Trouble::Setback(Box::new(match setback(error) {
        ControlFlow::Break(setback) => setback,
        ControlFlow::Continue(server) => Setback::Failed(TenantError::Server(server)),
    }))
}

/// Finds out how a schema differs from the expectation.
fn changed(session: &mut Session, job: &Job) -> TenantError {
    let Some(schema) = job.dropping.schema.filter(|_| job.has_begun()) else {
        return TenantError::ChangedSincePlan;
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
