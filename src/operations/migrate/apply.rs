//! Applies or reverts a tenant's migrations, in one message if all are transactional.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;

use super::batch::{Batch, Precondition, set_state};
use super::explain::Explained;
use super::target::SchemaTarget;
use super::transaction::Transaction;
use super::{explain, non_transactional, snapshot};
use crate::error::TenantError;
use crate::migration::{Boundaries, Direction, Kind, Mode};
use crate::model::{State, Unfinished};
use crate::postgres::{Call, Dispatch, DispatchError, GuardViolation, PreparedStatements, Session};
use crate::record::runs::DoneRow;
use crate::run::{AttemptError, Commit};
use crate::schema::snapshot::Sources;

/// The migrations to apply or to revert in one schema.
pub(crate) struct MigrationRequest<'a> {
    pub(crate) target: SchemaTarget<'a>,
    pub(crate) precondition: Precondition,
    pub(crate) direction: Direction,
    /// The places in the set of the migrations, in the order in which they run.
    pub(crate) migrations: &'a [usize],
    /// The state of the tenant.
    pub(crate) state: State,
    pub(crate) unfinished: Option<&'a Unfinished>,
    pub(crate) commit: Commit,
    /// Whether the server is behind a transaction pooler. Migrations that are not transactional cannot run there.
    pub(crate) pooler: bool,
    pub(crate) guards: Guards,
    /// The tenant's row in the record of the run.
    pub(crate) row: RunRow<'a>,
    /// What the tenant is created from, if it is created; otherwise the migrations are applied.
    pub(crate) sources: Option<&'a Sources>,
    /// What the run has learned from other tenants.
    pub(crate) learned: &'a Learned,
}

/// How the guards of a message are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guards {
    /// As text.
    Inline,
    /// By the names under which each session has prepared them, where no code ran that may have replaced them.
    Prepared,
}

/// What a run has learned about its migrations from errors of the server, so that other tenants do not meet the same errors.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    /// Whether the [quick check](Scrutiny::Quick) of a transaction was not sufficient.
    needs_thorough_check: AtomicBool,
    /// The migrations that need a commit before them.
    boundaries: Mutex<Boundaries>,
    /// Why the script of the snapshot failed. It is not used again in the run.
    snapshot_failure: Mutex<Option<String>>,
    /// Whether a tenant could not be created from the snapshot because of its name.
    has_quoted_name: AtomicBool,
    /// The number of tenants that took a spare schema.
    prewarmed: AtomicUsize,
    /// Whether no spare schema is left.
    has_no_spares: AtomicBool,
}

impl Learned {
    /// The server's message, if the script of the snapshot failed.
    pub(super) fn snapshot_failure(&self) -> Option<String> {
        self.snapshot_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The tenants that could not be created from the snapshot, and why.
    pub(super) fn snapshot_exception(&self) -> Option<String> {
        let text = "tenants whose names need quotes, because the schema's name is in the text of an object";
        self.has_quoted_name.load(Ordering::Relaxed).then(|| text.to_owned())
    }

    /// Records that a tenant could not be created from the snapshot because of its name.
    pub(super) fn note_quoted_name(&self) {
        self.has_quoted_name.store(true, Ordering::Relaxed);
    }

    /// The number of tenants that took a spare schema.
    pub(super) fn prewarmed(&self) -> usize {
        self.prewarmed.load(Ordering::Relaxed)
    }

    /// Counts a tenant that took a spare schema.
    pub(super) fn count_prewarmed(&self) {
        self.prewarmed.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether no spare schema is left.
    pub(super) fn has_no_spares(&self) -> bool {
        self.has_no_spares.load(Ordering::Relaxed)
    }

    /// Records that no spare schema is left.
    pub(super) fn note_no_spares(&self) {
        self.has_no_spares.store(true, Ordering::Relaxed);
    }

    /// Records that the script of the snapshot failed.
    pub(super) fn give_up_snapshot(&self, message: String) {
        *self.snapshot_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
    }

    fn boundaries(&self) -> MutexGuard<'_, Boundaries> {
        self.boundaries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The values for the tenant's row in the record of the run.
#[derive(Clone, Copy)]
pub(crate) struct RunRow<'a> {
    /// The newest version in the ledger before the run.
    pub(crate) from: Option<&'a str>,
    /// The newest version when all migrations are applied or reverted.
    pub(crate) to: Option<&'a str>,
    /// When the first attempt began.
    pub(crate) began: Instant,
    /// The number of attempts, including this one.
    pub(crate) attempts: u32,
}

/// Applies or reverts the migrations. On return the session is in its former state, or closed later.
pub(crate) fn apply(session: &mut Session, request: &MigrationRequest<'_>) -> Result<(), AttemptError> {
    let mut applied = 0;
    let result = in_order(session, request, &mut applied);
    if result.is_err() {
        // A message that failed leaves its transaction open.
        if session.batch_execute("ROLLBACK").is_err() {
            session.discard();
        }
    }
    result.map_err(|error| match error {
        AttemptError::Failed(TenantError::Migration(mut failure)) => {
            failure.applied_before = applied;
            AttemptError::Failed(TenantError::Migration(failure))
        }
        other => other,
    })
}

/// Runs the migrations in as few transactions as possible. Counts them in `applied`.
fn in_order(session: &mut Session, request: &MigrationRequest<'_>, applied: &mut usize) -> Result<(), AttemptError> {
    let target = request.target;
    // A distributed schema is committed before tables are created in it: roles without superuser rights could otherwise not
    // create tables with serial or identity columns. So nothing creates a schema and its tables in one transaction.
    let is_distributed = session.dispatch() == Dispatch::Single;
    if !is_distributed && snapshot::create(session, request)? {
        *applied = request.migrations.len();
        return Ok(());
    }
    if request.pooler
        && let Some(index) = first_non_transactional(request)
    {
        let folder = target.migration(index).folder().to_owned();
        return Err(AttemptError::Failed(TenantError::Pooler { folder }));
    }
    let mut precondition = request.precondition.clone();
    let mut rest = request.migrations;
    loop {
        let is_new = matches!(precondition, Precondition::NoSchema { .. });
        let together = match request.direction {
            Direction::Up if is_distributed && is_new => &rest[..0],
            Direction::Up => target.migrations().first_transaction(rest, &request.learned.boundaries()),
            Direction::Down => rest,
        };
        // A tenant that exists has nothing to do in a transaction before a migration that is not transactional.
        let is_alone =
            together.is_empty() && matches!(precondition, Precondition::Ledger { .. } | Precondition::Public { .. });
        let now = if is_alone { &rest[..1] } else { together };
        let after = &rest[now.len()..];
        let then = if after.is_empty() { Then::Complete } else { Then::Continue };
        if is_alone {
            non_transactional::run(session, request, &precondition, now[0], then)?;
        } else if send(session, request, &precondition, now, then)? == Sent::NeedsCommit {
            execute(session, "ROLLBACK")?;
            continue;
        }
        *applied += now.len();
        rest = after;
        if rest.is_empty() {
            return Ok(());
        }
        precondition = advance(precondition, target, now);
    }
}

fn first_non_transactional(request: &MigrationRequest<'_>) -> Option<usize> {
    request.migrations.iter().copied().find(|index| request.target.migration(*index).mode() == Mode::NonTransactional)
}

/// What follows after some migrations of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// The next migrations.
    Continue,
    /// Nothing: the tenant becomes active, and its row is written in the record of the run.
    Complete,
}

/// How a message ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    Committed,
    /// It failed because a migration needs a commit before it. [`Learned`] has that now.
    NeedsCommit,
}

/// Sends transactional migrations as one message.
fn send(
    session: &mut Session,
    request: &MigrationRequest<'_>,
    precondition: &Precondition,
    migrations: &[usize],
    then: Then,
) -> Result<Sent, AttemptError> {
    let target = request.target;
    let transaction = transaction(request, precondition, migrations);
    if !transaction.is_plain(target) {
        session.forgo_prepared();
    }
    let mut batch = message(request, &transaction, then, session.prepared())?;
    if request.guards == Guards::Prepared
        && session.prepare(batch.unprepared()).map_err(|error| AttemptError::from(&error))?
    {
        batch = message(request, &transaction, then, session.prepared())?;
    }
    let sent = Instant::now();
    let dispatch = session.dispatch();
    let Err(DispatchError { error, before }) = batch.send(session, dispatch) else {
        if transaction.leaves_state(target) {
            session.discard();
        }
        return Ok(Sent::Committed);
    };
    let mut server = match AttemptError::classify(&error) {
        Ok(error) => return Err(error),
        Err(server) => server,
    };
    server.position = server.position.map(|position| position.saturating_add(before));
    let may_be_of_prepared = server.position.is_some() || session.prepared().are_named_in(&server.message);
    if batch.executes_prepared() && may_be_of_prepared {
        // The position may be one in a prepared statement, whose objects have changed, or the statement is missing.
        execute(session, "ROLLBACK")?;
        session.forgo_prepared();
        return send(session, request, precondition, migrations, then);
    }
    let needs_thorough_check =
        GuardViolation::from_message(&server.message) == Some(GuardViolation::NeedsThoroughCheck);
    // Thorough checks never ask for thorough checks: then the text comes from the tenant's own data or code.
    if needs_thorough_check && !transaction.is_checked_thoroughly() {
        execute(session, "ROLLBACK")?;
        request.learned.needs_thorough_check.store(true, Ordering::Relaxed);
        return send(session, request, precondition, migrations, then);
    }
    match explain::failure(session, target, &transaction, &batch, server, sent.elapsed()) {
        Explained::NeedsCommit(index) => {
            // Another tenant may have found it, too.
            request.learned.boundaries().insert(index);
            Ok(Sent::NeedsCommit)
        }
        Explained::Failed(error) => Err(AttemptError::Failed(error)),
    }
}

/// A transaction of the request, checked as thoroughly as the run has found necessary.
fn transaction<'a>(
    request: &MigrationRequest<'a>,
    precondition: &'a Precondition,
    migrations: &'a [usize],
) -> Transaction<'a> {
    let mut transaction = Transaction::new(request.target, precondition, request.direction, migrations);
    if request.learned.needs_thorough_check.load(Ordering::Relaxed) {
        transaction.check_thoroughly();
    }
    transaction
}

/// The message of a transaction.
fn message(
    request: &MigrationRequest<'_>,
    transaction: &Transaction<'_>,
    then: Then,
    prepared: Arc<PreparedStatements>,
) -> Result<Batch, AttemptError> {
    let target = request.target;
    let mut batch = Batch::open(target, transaction, request.commit, prepared);
    for index in transaction.migrations {
        let migration = target.migration(*index);
        match (transaction.direction, migration.down()) {
            (Direction::Up, _) => batch.migration(target, *index, transaction.columns()),
            (Direction::Down, Some(down)) => batch.revert(target, *index, down),
            (Direction::Down, None) => {
                return Err(AttemptError::Failed(TenantError::NoDown { folder: migration.folder().to_owned() }));
            }
        }
    }
    batch.confine(target, transaction.scrutiny, Some(&transaction.applied(target)));
    if let Precondition::NoSchema { row } = transaction.precondition {
        batch.track(target.schema, *row, if then == Then::Complete { State::Active } else { State::Creating });
    } else if then == Then::Complete && becomes_active(request) {
        batch.push(&set_state(target.schema, State::Active));
    }
    batch.record_repeatables(target, transaction);
    if then == Then::Complete
        && let Some(row) = run_row(request)
    {
        batch.call(&row);
    }
    Ok(batch.commit())
}

/// The statement that writes the tenant's row in the record of the run; `None` without a recorded run.
pub(super) fn run_row(request: &MigrationRequest<'_>) -> Option<Call> {
    let RunRow { from, to, began, attempts } = request.row;
    match request.target.run {
        Some(run) if request.target.kind == Kind::Tenant => {
            run.record(request.target.schema, &DoneRow { from, to, before: began.elapsed(), attempts })
        }
        _ => None,
    }
}

/// Whether the last message makes the tenant active.
pub(super) fn becomes_active(request: &MigrationRequest<'_>) -> bool {
    request.direction == Direction::Up && request.target.kind == Kind::Tenant && !request.state.is_complete()
}

/// The precondition of the next message after `migrations` were applied.
fn advance(precondition: Precondition, target: SchemaTarget<'_>, migrations: &[usize]) -> Precondition {
    let mut applied = match precondition {
        Precondition::Ledger { applied } | Precondition::Public { applied } => applied,
        Precondition::NoSchema { .. } | Precondition::EmptySchema => Vec::new(),
    };
    let versioned = migrations.iter().map(|index| target.migration(*index)).filter(|it| !it.is_repeatable());
    applied.extend(versioned.map(|migration| migration.version().as_str().to_owned()));
    applied.sort_unstable();
    match target.kind {
        Kind::Public => Precondition::Public { applied },
        Kind::Tenant => Precondition::Ledger { applied },
    }
}

/// Executes SQL that is not a migration's.
pub(super) fn execute(conn: &mut PgConnection, sql: &str) -> Result<(), AttemptError> {
    conn.batch_execute(sql).map_err(|error| AttemptError::from(&error))
}
