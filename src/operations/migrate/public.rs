//! The migrations of the schema `public`: the tracker's own and the project's.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;

use super::apply::{Guards, Learned, MigrationRequest, RunRow, apply, execute};
use super::batch::{Batch, Precondition};
use super::target::SchemaTarget;
use super::{Effect, MigrationFailure, explain};
use crate::database::{Database, Stop};
use crate::error::{Error, TenantError};
use crate::migration::{Direction, Kind, Mode};
use crate::model::{SchemaName, State};
use crate::postgres::{self, CHANGED, DispatchError, GuardViolation, LockHolder, ServerMessage, connect, path};
use crate::record::integrity;
use crate::record::runs::Run;
use crate::run::{AttemptError, Commit, LockMonitor, LockWait, lock_monitor};
use crate::tenants::ledger::public::{self, Import, PublicLedger};
use crate::tenants::ledger::{self, Ledger, PUBLIC_TABLE};
use crate::tenants::{Tenancy, lock_key};

/// What [`migrate_public`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublicReport {
    /// The folders of the migrations that were applied, in order; empty if none was pending.
    pub applied: Vec<String>,
    /// The newest version in the public ledger.
    pub version: Option<String>,
    /// The versions moved to the public ledger from `public.__diesel_schema_migrations`, where an earlier release had
    /// recorded them.
    pub moved: Vec<String>,
    /// The versions of public migrations that diesel_cli had applied: they are recorded as applied and were not run.
    pub imported: Vec<String>,
}

/// Applies the pending public migrations. If [cancelled](Stop::cancel), rolls back the transaction in progress.
///
/// A database that an earlier release set up has its public ledger upgraded first, in a transaction of its own. Public
/// migrations that diesel_cli has applied are recorded and not run.
///
/// # Errors
/// [`Error::PublicMigration`] if a migration fails: its transaction is rolled back; [`Error::Busy`]; or the server's error.
///
/// `waiting` is called from another thread with each wait for a lock that lasts a few seconds, or that ends with a lock timeout
/// and is repeated.
pub fn migrate_public(
    db: &mut Database,
    tenancy: &Tenancy,
    stop: &Stop,
    waiting: &mut (dyn FnMut(&LockWait) + Send),
) -> Result<PublicReport, Error> {
    db.require_primary(tenancy)?;
    if !db.server().has_public_schema {
        return Err(Error::NoPublicSchema { database: db.server().database.clone() });
    }
    integrity::check_public(db, tenancy)?;
    // The migrations create the tables for the record.
    let run = Run::unrecorded();
    let monitor = LockMonitor::new(run);
    lock_monitor::while_running(db, &monitor, tenancy, stop, |db| {
        monitor.showing_waits(waiting, || {
            let import = upgrade(db, tenancy, run, stop, Some(&monitor))?;
            let report = apply_pending(db, tenancy, run, stop, &monitor)?;
            let report = PublicReport { moved: import.moved, imported: import.copied, ..report };
            if report.changed_anything() {
                db.refresh_server()?;
            }
            Ok(report)
        })
    })
}

impl PublicReport {
    fn changed_anything(&self) -> bool {
        !(self.applied.is_empty() && self.moved.is_empty() && self.imported.is_empty())
    }
}

fn apply_pending(
    db: &mut Database,
    tenancy: &Tenancy,
    run: Run,
    stop: &Stop,
    monitor: &LockMonitor,
) -> Result<PublicReport, Error> {
    let public = SchemaName::public();
    let set = tenancy.public_migrations();
    let pool = db.pool(1)?;
    let mut retry = StepRetry::new("apply the public migrations", tenancy, stop, Some(monitor));
    let learned = Learned::default();
    loop {
        let ledger = Ledger::new(public::read(db.connection(), tenancy)?.applied, set);
        let version = |ledger: &Ledger| ledger.version().map(str::to_owned);
        if ledger.pending.is_empty() {
            integrity::record_public(db, tenancy)?;
            return Ok(PublicReport { version: version(&ledger), ..PublicReport::default() });
        }
        let needs_session = ledger.pending.iter().any(|index| !is_transactional(tenancy, *index));
        let request = MigrationRequest {
            target: SchemaTarget::public(tenancy, &public, Some(run)),
            precondition: Precondition::Public { applied: ledger.applied.clone() },
            direction: Direction::Up,
            migrations: &ledger.pending,
            state: State::Active,
            unfinished: None,
            commit: Commit::Durable,
            pooler: needs_session && !db.connector().has_dedicated_session()?,
            guards: Guards::Inline,
            row: RunRow { from: None, to: None, began: retry.began, attempts: 1 },
            sources: None,
            learned: &learned,
        };
        let mut session = connect::session(&pool, Duration::MAX, || true)
            .map_err(|message| postgres::Error::ConnectionsLost { message })?;
        match apply(&mut session, &request) {
            Ok(()) => {
                let applied = ledger.pending.iter().map(|index| set.at(*index).folder().to_owned()).collect();
                integrity::record_public(db, tenancy)?;
                let newest = set.iter().next_back().map(|last| last.version().as_str().to_owned());
                let version = newest.max(version(&ledger));
                return Ok(PublicReport { applied, version, ..PublicReport::default() });
            }
            Err(error) => retry.after(db, error)?,
        }
    }
}

/// Has the public ledger take over its rows from Diesel's, atomically. Does nothing if there are none. If interrupted, it
/// is repeated by the next run.
fn upgrade(
    db: &mut Database,
    tenancy: &Tenancy,
    run: Run,
    stop: &Stop,
    monitor: Option<&LockMonitor>,
) -> Result<Import, Error> {
    let mut retry = StepRetry::new("upgrade the public ledger", tenancy, stop, monitor);
    loop {
        if public::read(db.connection(), tenancy)?.import.is_empty() {
            return Ok(Import::default());
        }
        match take_over(db, tenancy, run) {
            Ok(ledger) => return Ok(ledger.import),
            Err(error) => {
                // A lost connection has rolled back by itself.
                let _ = db.connection().batch_execute("ROLLBACK");
                retry.after(db, error)?;
            }
        }
    }
}

fn take_over(db: &mut Database, tenancy: &Tenancy, run: Run) -> Result<PublicLedger, AttemptError> {
    let schema = SchemaName::public();
    let target = SchemaTarget::public(tenancy, &schema, Some(run));
    let path = tenancy.path(&schema);
    let mut batch = Batch::begin(target, Commit::Durable);
    batch.push(&path.set_for_transaction());
    batch.guard(&[path.guard(), path::CATALOG_IN_BLOCK.to_owned(), target.lock_for_transaction()]);
    batch.push(&ledger::create(&schema));
    batch.guard(&[ledger::definition_guard(&schema)]);
    batch.push(&public::lock_diesel_ledger());
    let conn = db.connection();
    execute(conn, batch.sql())?;
    // Read again: another run, or diesel_cli, may have changed either ledger before it was locked.
    let ledger = public::read_in_transaction(conn, tenancy).map_err(fault)?;
    ledger.import_rows(conn).map_err(fault)?;
    execute(conn, "COMMIT")?;
    Ok(ledger)
}

/// An error that no retry resolves, unless the connection was lost.
fn fault(error: Error) -> AttemptError {
    match error {
        Error::Postgres(postgres::Error::Query { message, lost: true, .. }) => AttemptError::ConnectionLost(message),
        error => AttemptError::Fatal(error),
    }
}

/// The retries of one step while other sessions block it. [`RetryState`](crate::run::RetryState) limits the number of
/// contentions of a tenant, and defers the tenant. A step cannot be deferred: it retries for as long as a run waits for locks.
struct StepRetry<'a> {
    doing: &'static str,
    began: Instant,
    attempts: u32,
    /// How long to retry.
    patience: Duration,
    stop: &'a Stop,
    /// Shows the waits that are repeated.
    monitor: Option<&'a LockMonitor>,
}

impl<'a> StepRetry<'a> {
    fn new(doing: &'static str, tenancy: &Tenancy, stop: &'a Stop, monitor: Option<&'a LockMonitor>) -> Self {
        Self { doing, began: Instant::now(), attempts: 0, patience: tenancy.limits().busy_for, stop, monitor }
    }

    /// Pauses before the next attempt, or returns the error that ends the step.
    fn after(&mut self, db: &mut Database, error: AttemptError) -> Result<(), Error> {
        self.attempts += 1;
        let left = self.patience.saturating_sub(self.began.elapsed());
        if let (Some(monitor), AttemptError::Contention(..)) = (self.monitor, &error) {
            monitor.note_repeated_wait(&SchemaName::public(), self.began.elapsed());
        }
        match error.pause(self.attempts) {
            Some(pause) if !left.is_zero() && self.stop.pause(pause.min(left)) => Ok(()),
            _ => Err(self.failure(db, error)),
        }
    }

    fn failure(&self, db: &mut Database, error: AttemptError) -> Error {
        let query = |message, lost| Error::Postgres(postgres::Error::Query { doing: self.doing, message, lost });
        match error {
            AttemptError::Failed(TenantError::Migration(failure)) => Error::PublicMigration(failure),
            AttemptError::Failed(TenantError::Server(message))
            | AttemptError::Canceled(message)
            | AttemptError::Contention(_, message) => query(message, false),
            AttemptError::Failed(other) => Error::Public(Box::new(other)),
            AttemptError::ReadOnly => Error::Postgres(postgres::Error::ReadOnly),
            AttemptError::Fatal(error) => error,
            AttemptError::ConnectionLost(message) => query(message, true),
            AttemptError::TenantLocked => busy(db),
            // The last two are for tenant migrations only.
            AttemptError::Changed | AttemptError::NotRecorded | AttemptError::RecordLocked => unsettled(),
        }
    }
}

/// Another session holds the lock of the schema.
fn busy(db: &mut Database) -> Error {
    let key = lock_key(&SchemaName::public());
    let holder = LockHolder::find(db.connection(), &key);
    Error::Busy { what: "the schema public".to_owned(), holder }
}

/// The schema changed at every attempt.
fn unsettled() -> Error {
    Error::Public(Box::new(TenantError::ConcurrentlyChanged))
}

/// Reverts the applied public migrations, newest first, each in a transaction with its ledger row, and drops the public
/// ledger unless it records migrations that are not in the set. Migrations that Diesel's ledger records too are not
/// reverted: they belong to diesel_cli. Appends the folders of those reverted to `reverted`, and returns whether the
/// ledger was dropped.
///
/// # Errors
/// [`Error::NoDown`], before anything is reverted; [`Error::PublicMigration`], with the migrations before it reverted.
pub(crate) fn revert_public(
    db: &mut Database,
    tenancy: &Tenancy,
    stop: &Stop,
    reverted: &mut Vec<String>,
) -> Result<bool, Error> {
    let set = tenancy.public_migrations();
    let run = Run::unrecorded();
    upgrade(db, tenancy, run, stop, None)?;
    let mut ledger = public::read(db.connection(), tenancy)?;
    let to_revert = to_revert(tenancy, &ledger)?;
    for index in to_revert.iter().copied() {
        revert(db, tenancy, run, index)?;
        reverted.push(set.at(index).folder().to_owned());
    }
    ledger.applied.retain(|version| !to_revert.iter().any(|index| set.at(*index).version().as_str() == version));
    if !ledger.exists || ledger.applied.iter().any(|version| !ledger.shared.contains(version)) {
        return Ok(false);
    }
    drop_ledger(db, tenancy, run, &ledger.applied)?;
    Ok(true)
}

/// The places in the set of the migrations that a cleanup reverts, newest first.
///
/// # Errors
/// [`Error::NoDown`].
pub(crate) fn to_revert(tenancy: &Tenancy, ledger: &PublicLedger) -> Result<Vec<usize>, Error> {
    let set = tenancy.public_migrations();
    let is_ours = |index: &usize| {
        let version = set.at(*index).version().as_str();
        ledger.applied.iter().any(|applied| applied == version) && !ledger.shared.contains(version)
    };
    let indexes: Vec<usize> = (0..set.len()).rev().filter(is_ours).collect();
    match indexes.iter().map(|index| set.at(*index)).find(|migration| migration.down().is_none()) {
        Some(migration) => Err(Error::NoDown { kind: Kind::Public, folder: migration.folder().to_owned() }),
        None => Ok(indexes),
    }
}

fn revert(db: &mut Database, tenancy: &Tenancy, run: Run, index: usize) -> Result<(), Error> {
    let public = SchemaName::public();
    let migration = tenancy.public_migrations().at(index);
    let down =
        migration.down().ok_or_else(|| Error::NoDown { kind: Kind::Public, folder: migration.folder().to_owned() })?;
    let target = SchemaTarget::public(tenancy, &public, Some(run));
    let mut batch = begin(target, no_tenants());
    // Nothing else uses the schema, so concurrent forms of statements are not needed.
    batch.revert(target, index, down);
    let batch = batch.commit();
    let Err(server) = send(db, batch.sql(), || Error::TenantsCreatedDuringCleanup)? else { return Ok(()) };
    let byte = server.character().and_then(|position| batch.locate(position)).map(|(_, byte)| byte);
    Err(Error::PublicMigration(Box::new(MigrationFailure {
        version: migration.version().clone(),
        folder: migration.folder().to_owned(),
        file: "down.sql".to_owned(),
        at: byte.and_then(|byte| explain::statement_at(down, byte)),
        server,
        effect: Effect::RolledBack,
        missing: None,
        applied_before: 0,
    })))
}

/// Drops the public ledger if it records exactly `applied`.
fn drop_ledger(db: &mut Database, tenancy: &Tenancy, run: Run, applied: &[String]) -> Result<(), Error> {
    let public = SchemaName::public();
    let mut batch = begin(
        SchemaTarget::public(tenancy, &public, Some(run)),
        ledger::contents_guard(&public, applied, GuardViolation::Changed),
    );
    batch.push(&format!("DROP TABLE public.{PUBLIC_TABLE};"));
    send(db, batch.commit().sql(), unsettled)?
        .map_err(|message| postgres::Error::Query { doing: "drop the public ledger", message, lost: false }.into())
}

/// The beginning of a transaction that changes `public` if `condition` holds.
fn begin(target: SchemaTarget<'_>, condition: String) -> Batch {
    let path = target.tenancy.path(target.schema);
    let mut batch = Batch::begin(target, Commit::Durable);
    batch.push(&path.set_for_transaction());
    batch.guard(&[target.lock_for_transaction(), path.guard(), condition]);
    batch
}

/// Sends a transaction. The inner error is the server's, the outer one a guard's: `changed` for [`CHANGED`].
fn send(db: &mut Database, sql: &str, changed: impl Fn() -> Error) -> Result<Result<(), ServerMessage>, Error> {
    let dispatch = db.connector().dispatch();
    let Err(DispatchError { error, before }) = dispatch.send(db.connection(), sql, "") else { return Ok(Ok(())) };
    let mut server = ServerMessage::from(&error);
    server.position = server.position.map(|position| position.saturating_add(before));
    // A lost connection has rolled back by itself.
    let _ = db.connection().batch_execute("ROLLBACK");
    match GuardViolation::from_message(&server.message) {
        Some(GuardViolation::Changed) => Err(changed()),
        Some(GuardViolation::Busy) => Err(busy(db)),
        _ => Ok(Err(server)),
    }
}

/// A condition in PL/pgSQL that raises [`CHANGED`] if the tracker has tenants, and locks it against new ones until the
/// transaction ends.
fn no_tenants() -> String {
    format!(
        "IF pg_catalog.to_regclass('public.schema_tracker'::text) IS NOT NULL THEN \
         LOCK TABLE public.schema_tracker IN ACCESS EXCLUSIVE MODE; \
         IF EXISTS (SELECT FROM public.schema_tracker) THEN RAISE EXCEPTION '{CHANGED}'; END IF; END IF;"
    )
}

fn is_transactional(tenancy: &Tenancy, index: usize) -> bool {
    tenancy.public_migrations().at(index).mode() == Mode::Transactional
}
