//! The work on one schema: a transaction, or several where one would take too many of the server's locks.

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
use crate::error::Error;
use crate::failure::TenantError;
use crate::lifecycle::run::{self, Finished, Orders};
use crate::migrator::{Batch, Commit, Setback, Setbacks, Target, setback};
use crate::name::SchemaName;
use crate::postgres::{Condition, ServerMessage, Session};
use crate::runs::DoneRow;
use crate::workers::{Attempt, Work};

/// A schema in the queue of a run.
pub(super) struct Job {
    pub(super) dropping: Dropping,
    setbacks: Setbacks,
    /// Whether the connection was lost while it was under way: it may be gone.
    in_doubt: bool,
    /// Whether the tracker says that it is being dropped, by this run.
    announced: bool,
    /// How many transactions of it this run has committed.
    transactions: u32,
}

/// What the workers do.
pub(super) struct Crew<'a> {
    pub(super) orders: Orders<'a>,
    pub(super) commit: Commit,
    pub(super) room: Room,
    /// How many schemas may be dropped in steps at the same time.
    pub(super) at_once: i64,
}

/// Why a schema is still there.
enum Trouble {
    Setback(Box<Setback>),
    /// The server's lock table is full.
    Full(Full, Box<ServerMessage>),
    /// Nothing more is to begin.
    Stopped,
}

/// A transaction that the server's lock table had no room for.
struct Full {
    /// How many locks it takes.
    locks: i64,
    /// What it drops.
    what: String,
    /// Whether it can be made of smaller ones.
    divisible: bool,
}

impl Job {
    pub(super) fn new(dropping: Dropping) -> Self {
        Self { dropping, setbacks: Setbacks::default(), in_doubt: false, announced: false, transactions: 0 }
    }

    /// Whether something of it was committed.
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

    /// An error with what is left behind.
    fn failed(&self, error: TenantError) -> TenantError {
        match self.has_begun() {
            true => TenantError::DroppedInPart { tracked: self.dropping.tracked, error: Box::new(error) },
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
    /// Those that are there as before.
    fn lost(&self, db: &mut Database, jobs: &[&Job]) -> Result<HashSet<SchemaName>, Error> {
        let names: Vec<&SchemaName> = jobs.iter().map(|job| &job.dropping.name).collect();
        let (tracked, schemas) = look(db.connection(), &names)?;
        let is_there = |dropping: &Dropping| {
            let oid = schemas.get(dropping.name.as_str()).map(|schema| schema.oid);
            tracked.contains(dropping.name.as_str()) == dropping.tracked
                && oid == dropping.schema.map(|schema| schema.oid)
        };
        let there = jobs.iter().filter(|job| is_there(&job.dropping));
        Ok(there.map(|job| job.dropping.name.clone()).collect())
    }
}

impl Work for Crew<'_> {
    type Job = Job;
    type Outcome = Result<Finished, TenantError>;

    /// In steps, only what is left at the end commits so; the steps before are made durable by it.
    fn is_durable(&self) -> bool {
        self.commit == Commit::Durable
    }

    fn attempt(&self, session: &mut Session, job: &mut Job) -> Attempt<Self::Outcome> {
        job.setbacks.begin(&job.dropping.name, self.orders.watch);
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
            // The connection was lost, and the commit had come through; or another run has done the rest.
            Setback::Changed if (job.in_doubt || job.has_begun()) && is_gone(session, &job.dropping) => {
                return Attempt::Done(Ok(job.gone()));
            }
            Setback::Changed => Attempt::Done(changed(session, job)),
            setback => {
                if matches!(setback, Setback::Lost(_)) {
                    job.in_doubt = true;
                    // A server that went down may have lost it.
                    job.announced = false;
                }
                let Orders { tenancy, watch, stop, .. } = self.orders;
                job.setbacks.next(session, setback, &job.dropping.name, tenancy, watch, stop)
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

    /// Drops a schema in several transactions. What is left of it when one fails is what the next try begins with.
    fn in_steps(&self, session: &mut Session, job: &mut Job, schema: Contents) -> Result<(), Trouble> {
        let room = self.room(self.room.limit() / self.at_once)?;
        if job.dropping.tracked && !job.announced {
            self.announce(session, job)?;
        }
        let mut before = i64::MAX;
        loop {
            let reading = || Full { locks: 1, what: "a look at what is left of it".to_owned(), divisible: false };
            let look = message::look(self.target(job));
            let left = Left::read(session, schema.oid, look.sql()).map_err(|error| trouble(&error, reading))?;
            // Where nothing went in the last round, nothing of it can be dropped by itself.
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

    /// Has everybody know that a tenant is being dropped, before anything of it is gone.
    fn announce(&self, session: &mut Session, job: &mut Job) -> Result<(), Trouble> {
        let batch = message::announce(self.target(job), &job.dropping);
        self.send(session, &batch, || Full { locks: 1, what: "its state".to_owned(), divisible: false })?;
        job.announced = true;
        job.committed();
        Ok(())
    }

    /// Drops some objects of a schema.
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

    /// Drops what is left of a schema, and the tenant's row.
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
                session.spend();
            }
            trouble(&error, full)
        })
    }

    /// What follows when there was no room in the server's lock table: smaller transactions, or the same one later.
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

/// What an error calls for.
fn trouble(error: &DieselError, full: impl FnOnce() -> Full) -> Trouble {
    if Condition::of(error) == Some(Condition::OutOfSharedMemory) {
        return Trouble::Full(full(), Box::new(ServerMessage::from(error)));
    }
    Trouble::Setback(Box::new(match setback(error) {
        ControlFlow::Break(setback) => setback,
        ControlFlow::Continue(server) => Setback::Failed(TenantError::Server(server)),
    }))
}

/// Tells in what a schema is not as it is expected to be.
fn changed(session: &mut Session, job: &Job) -> TenantError {
    let Some(schema) = job.dropping.schema.filter(|_| job.has_begun()) else {
        return TenantError::ChangedSincePlan;
    };
    match dependents(session, &[schema.oid]) {
        Ok(mut found) if !found.is_empty() => {
            TenantError::Dependents { objects: found.remove(&schema.oid).unwrap_or_default() }
        }
        _ => TenantError::ChangedMeanwhile,
    }
}

/// An object as PostgreSQL describes it.
fn describe(session: &mut Session, (class, id): Address) -> Option<String> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Text>)]
        description: Option<String>,
    }
    let row: Row = sql_query("SELECT pg_describe_object($1, $2, 0) AS description")
        .bind::<Oid, _>(class)
        .bind::<Oid, _>(id)
        .get_result(&mut **session)
        .ok()?;
    row.description
}
