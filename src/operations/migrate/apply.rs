//! One tenant's migrations, applied or reverted: one message where all are transactional.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;

use super::batch::{Batch, Opening, set_state};
use super::explain::Explained;
use super::target::Target;
use super::{explain, non_transactional};
use crate::confine::{self, Scrutiny};
use crate::error::TenantError;
use crate::migration::{Boundaries, Direction, Kind, Mode, Script};
use crate::model::{State, Unfinished};
use crate::postgres::{GuardViolation, Session};
use crate::record::runs::DoneRow;
use crate::run::{AttemptError, Commit};

/// What is to be done in one schema.
pub(crate) struct Work<'a> {
    pub(crate) target: Target<'a>,
    pub(crate) opening: Opening,
    pub(crate) direction: Direction,
    /// The places in the set of the migrations to apply or to revert, in the order in which that is done.
    pub(crate) migrations: &'a [usize],
    /// The tenant's state before.
    pub(crate) state: State,
    pub(crate) unfinished: Option<&'a Unfinished>,
    pub(crate) commit: Commit,
    /// Whether the server is behind a transaction pooler, where what is not transactional cannot run.
    pub(crate) pooler: bool,
    /// What the record of the run is to tell when it is done.
    pub(crate) record: Record<'a>,
    /// What is the same for all tenants of the run.
    pub(crate) learned: &'a Learned,
}

/// What the server's errors have shown about the migrations of a run, so that the next tenant need not meet them again.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    /// Whether some transaction had to be [looked at more closely](Scrutiny::Quick).
    closer: AtomicBool,
    /// Which migrations need a commit before them.
    boundaries: Mutex<Boundaries>,
}

impl Learned {
    fn boundaries(&self) -> MutexGuard<'_, Boundaries> {
        self.boundaries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the record of the run is to tell.
#[derive(Clone, Copy)]
pub(crate) struct Record<'a> {
    /// The newest version in the ledger before.
    pub(crate) from: Option<&'a str>,
    /// The newest version when all is done.
    pub(crate) to: Option<&'a str>,
    /// When the tenant was first tried.
    pub(crate) began: Instant,
    /// How often, this time included.
    pub(crate) attempts: u32,
}

/// Applies or reverts the migrations. On return the session is in its former state, or closed later.
pub(crate) fn apply(session: &mut Session, work: &Work<'_>) -> Result<(), AttemptError> {
    let mut applied = 0;
    let result = in_order(session, work, &mut applied);
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
fn in_order(session: &mut Session, work: &Work<'_>, applied: &mut usize) -> Result<(), AttemptError> {
    let target = work.target;
    if let Some(index) = first_non_transactional(work).filter(|_| work.pooler) {
        let folder = target.migration(index).folder().to_owned();
        return Err(AttemptError::Failed(TenantError::Pooler { folder }));
    }
    let mut opening = work.opening.clone();
    let mut rest = work.migrations;
    loop {
        let together = match work.direction {
            Direction::Up => target.migrations().first_transaction(rest, &work.learned.boundaries()),
            Direction::Down => rest,
        };
        // A tenant that exists has nothing to do in a transaction before a migration that is not transactional.
        let is_alone = together.is_empty() && matches!(opening, Opening::Continue { .. } | Opening::Public { .. });
        let now = if is_alone { &rest[..1] } else { together };
        let after = &rest[now.len()..];
        if is_alone {
            non_transactional::run(session, work, &opening, now[0], after.is_empty())?;
        } else if send(session, work, &opening, now, after.is_empty())? == Sent::NeedsCommit {
            own(session, "ROLLBACK")?;
            continue;
        }
        *applied += now.len();
        rest = after;
        if rest.is_empty() {
            return Ok(());
        }
        opening = advance(opening, target, now);
    }
}

fn first_non_transactional(work: &Work<'_>) -> Option<usize> {
    work.migrations.iter().copied().find(|index| work.target.migration(*index).mode() == Mode::NonTransactional)
}

/// How a message ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    Committed,
    /// It failed because a migration needs a commit before it. [`Learned`] has that now.
    NeedsCommit,
}

/// Sends transactional migrations as one message. With `last`, nothing is left to do afterwards.
fn send(
    session: &mut Session,
    work: &Work<'_>,
    opening: &Opening,
    migrations: &[usize],
    last: bool,
) -> Result<Sent, AttemptError> {
    let target = work.target;
    let part = Part { opening, direction: work.direction, migrations, scrutiny: learned_scrutiny(work, migrations) };
    let batch = message(work, &part, last)?;
    let sent = Instant::now();
    let Err(error) = session.batch_execute(batch.sql()) else {
        if part.leaves_state(target) {
            session.discard();
        }
        return Ok(Sent::Committed);
    };
    let server = match AttemptError::classify(&error) {
        Ok(error) => return Err(error),
        Err(server) => server,
    };
    if GuardViolation::from_message(&server.message) == Some(GuardViolation::NeedsThoroughCheck) {
        own(session, "ROLLBACK")?;
        work.learned.closer.store(true, Ordering::Relaxed);
        return send(session, work, opening, migrations, last);
    }
    match explain::failure(session, target, &part, &batch, server, sent.elapsed()) {
        Explained::NeedsCommit(index) => {
            // Another tenant may have found it, too.
            work.learned.boundaries().insert(index);
            Ok(Sent::NeedsCommit)
        }
        Explained::Failed(error) => Err(AttemptError::Failed(error)),
    }
}

/// What one transaction does.
pub(super) struct Part<'a> {
    pub(super) opening: &'a Opening,
    pub(super) direction: Direction,
    /// The places in the set of its migrations, in the order in which they run.
    pub(super) migrations: &'a [usize],
    pub(super) scrutiny: Scrutiny,
}

impl Part<'_> {
    fn scripts<'a>(&'a self, target: Target<'a>) -> impl Iterator<Item = &'a Script> {
        self.migrations.iter().filter_map(move |index| target.migration(*index).script(self.direction))
    }

    /// Whether the session is another afterwards, whatever is reset.
    fn leaves_state(&self, target: Target<'_>) -> bool {
        self.scripts(target).any(|script| script.traits().may_leave_state)
    }

    /// Those of its migrations that must be as they were recorded: the ones that are applied.
    pub(super) fn recorded(&self) -> &[usize] {
        if self.direction == Direction::Up { self.migrations } else { &[] }
    }

    /// The versions that the ledger records afterwards.
    pub(super) fn applied(&self, target: Target<'_>) -> Vec<String> {
        let mut applied = self.opening.applied().to_vec();
        let version = |index: &usize| target.migration(*index).version().as_str();
        match self.direction {
            Direction::Up => applied.extend(self.migrations.iter().map(|index| version(index).to_owned())),
            Direction::Down => applied.retain(|applied| !self.migrations.iter().any(|index| version(index) == applied)),
        }
        applied.sort_unstable();
        applied
    }
}

/// How closely a transaction of a run is checked: as the run has learned, or as [`scrutiny`] says.
fn learned_scrutiny(work: &Work<'_>, migrations: &[usize]) -> Scrutiny {
    match scrutiny(work.target, work.direction, migrations) {
        Scrutiny::Quick if work.learned.closer.load(Ordering::Relaxed) => Scrutiny::Thorough,
        scrutiny => scrutiny,
    }
}

/// How closely a transaction is checked. A migration that may change objects outside is alone in its transaction.
pub(super) fn scrutiny(target: Target<'_>, direction: Direction, migrations: &[usize]) -> Scrutiny {
    let migrations = migrations.iter().map(|index| target.migration(*index));
    if target.kind == Kind::Public || migrations.clone().any(|migration| migration.outside().is_some()) {
        return Scrutiny::None;
    }
    let scripts = migrations.filter_map(|migration| migration.script(direction));
    confine::scrutiny(scripts, target.tenancy.extension_schemas())
}

/// The message of a transaction; `last`: with it the work is done.
fn message(work: &Work<'_>, part: &Part<'_>, last: bool) -> Result<Batch, AttemptError> {
    let target = work.target;
    let mut batch = Batch::open(target, part.opening, part.recorded(), work.commit, part.scrutiny);
    for index in part.migrations {
        let migration = target.migration(*index);
        match (part.direction, migration.down()) {
            (Direction::Up, _) => batch.migration(target, *index),
            (Direction::Down, Some(down)) => batch.revert(target, *index, down),
            (Direction::Down, None) => {
                return Err(AttemptError::Failed(TenantError::NoDown { folder: migration.folder().to_owned() }));
            }
        }
    }
    batch.confine(target, part.scrutiny, Some(&part.applied(target)));
    if let Opening::Create { row } = part.opening {
        batch.track(target.schema, *row, if last { State::Active } else { State::Creating });
    } else if last && becomes_active(work) {
        batch.push(&set_state(target.schema, State::Active));
    }
    if last {
        batch.push(&record(work));
    }
    Ok(batch.commit())
}

/// SQL that records what is done for a tenant; nothing where no run is recorded.
pub(super) fn record(work: &Work<'_>) -> String {
    let Record { from, to, began, attempts } = work.record;
    let before = if attempts > 1 { began.elapsed() } else { Duration::ZERO };
    let run = work.target.run.filter(|_| work.target.kind == Kind::Tenant);
    run.map(|run| run.record(work.target.schema, &DoneRow { from, to, before, attempts })).unwrap_or_default()
}

/// Whether the last message of the work is to make the tenant active.
pub(super) fn becomes_active(work: &Work<'_>) -> bool {
    work.direction == Direction::Up && work.target.kind == Kind::Tenant && work.state != State::Active
}

/// What the next message expects after `migrations` were applied.
fn advance(opening: Opening, target: Target<'_>, migrations: &[usize]) -> Opening {
    let mut applied = match opening {
        Opening::Continue { applied } | Opening::Public { applied } => applied,
        Opening::Create { .. } | Opening::Begin => Vec::new(),
    };
    applied.extend(migrations.iter().map(|index| target.migration(*index).version().as_str().to_owned()));
    applied.sort_unstable();
    match target.kind {
        Kind::Public => Opening::Public { applied },
        Kind::Tenant => Opening::Continue { applied },
    }
}

/// Runs SQL of tenantry's own on a session.
pub(super) fn own(conn: &mut PgConnection, sql: &str) -> Result<(), AttemptError> {
    conn.batch_execute(sql).map_err(|error| AttemptError::from(&error))
}
