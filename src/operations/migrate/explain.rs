//! Where a message of many statements failed, as exactly as if each had been sent alone.
//!
//! An error that the server's parser finds has a position in the message. For any other, the message's statements are
//! sent one by one in a transaction that is rolled back, until the one that fails.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::result::{Error as DieselError, QueryResult};

use super::apply::Part;
use super::batch::Batch;
use super::target::Target;
use crate::confine::{self, Scrutiny};
use crate::error::{Effect, FailedStatement, MigrationFailure, TenantError};
use crate::migration::{Direction, Migration, Mode, Script};
use crate::postgres::{ServerMessage, message, path};
use crate::run::Commit;
use crate::sql::statement::{Statement, line_at};
use crate::tenants::ledger;

/// What took longer than this is not run again to find out where it failed.
const REPLAYED: Duration = Duration::from_secs(10);

/// Why a message failed.
pub(super) enum Explained {
    /// It fails for this reason.
    Failed(TenantError),
    /// The migration at this place of the set needs the commit of those before it.
    NeedsCommit(usize),
}

/// Explains the failure of a message. The session is in the failed transaction, and stays in one.
pub(super) fn failure(
    conn: &mut PgConnection,
    target: Target<'_>,
    part: &Part<'_>,
    batch: &Batch,
    server: ServerMessage,
    took: Duration,
) -> Explained {
    let rolled_back = |migration, at, server| Explained::Failed(rolled_back(migration, part.direction, at, server));
    let needs_no_commit = |index: usize| part.direction == Direction::Down || part.migrations.first() == Some(&index);
    let located = server.position.and_then(|position| batch.locate(position));
    if let Some((index, byte)) = located.filter(|(index, _)| needs_no_commit(*index)) {
        let migration = target.migration(index);
        let at = migration.script(part.direction).and_then(|script| statement_at(script, byte));
        return rolled_back(migration, at, server);
    }
    // What took long would keep the tenant's tables locked as long again.
    let found = match took <= REPLAYED {
        true => replay(conn, target, part),
        false => None,
    };
    let is_same = |again: &ServerMessage| again.message == server.message;
    match found {
        Some(Found { index: Some(index), needs_commit: true, .. }) if !needs_no_commit(index) => {
            Explained::NeedsCommit(index)
        }
        // The same again, and now it is known where.
        Some(Found { index: Some(index), at, server: again, .. }) if is_same(&again) => {
            let again = confine::in_words(conn, again);
            rolled_back(target.migration(index), at, again)
        }
        Some(Found { index: None, server: again, at_commit: false, .. }) if is_same(&again) => {
            Explained::Failed(TenantError::Server(again))
        }
        // It did not fail, or in another way: what failed first is told, without a place.
        Some(_) | None => {
            let server = confine::in_words(conn, server);
            match part.migrations {
                [] => Explained::Failed(TenantError::Server(server)),
                [only] => rolled_back(target.migration(*only), None, server),
                many => Explained::Failed(TenantError::MigrationBatch {
                    folders: many.iter().map(|index| target.migration(*index).folder().to_owned()).collect(),
                    server,
                }),
            }
        }
    }
}

/// The statement of a script that a byte of it belongs to, with the byte's line.
pub(super) fn statement_at(script: &Script, byte: usize) -> Option<FailedStatement> {
    let statements = script.statements();
    let statement = statements.iter().rev().find(|statement| statement.offset() <= byte)?;
    Some(FailedStatement { line: line_at(script.text(), byte), sql: statement.sql().to_owned() })
}

/// The failure of one statement that was sent alone.
pub(super) fn alone(
    migration: &Migration,
    script: &str,
    statement: &Statement<'_>,
    server: ServerMessage,
    effect: Effect,
) -> MigrationFailure {
    let at = FailedStatement { line: line_in(script, statement, &server), sql: statement.sql().to_owned() };
    MigrationFailure {
        version: migration.version().clone(),
        folder: migration.folder().to_owned(),
        file: "up.sql",
        at: Some(at),
        server,
        effect,
        applied_before: 0,
    }
}

struct Found {
    /// None: in what tenantry itself does.
    index: Option<usize>,
    at: Option<FailedStatement>,
    server: ServerMessage,
    at_commit: bool,
    /// Whether the statement needs the commit of what is before it.
    needs_commit: bool,
}

fn replay(conn: &mut PgConnection, target: Target<'_>, part: &Part<'_>) -> Option<Found> {
    conn.batch_execute("ROLLBACK").ok()?;
    let own = |index: Option<usize>| {
        move |error: DieselError| Found {
            index,
            at: None,
            server: ServerMessage::from(&error),
            at_commit: false,
            needs_commit: false,
        }
    };
    let open = Batch::open(target, part.opening, part.recorded(), Commit::Deferred, part.scrutiny);
    if let Err(error) = conn.batch_execute(open.sql()) {
        return Some(own(None)(error));
    }
    for index in part.migrations {
        let migration = target.migration(*index);
        let path = target.tenancy.path(target.schema).set_for_transaction();
        if let Err(error) = conn.batch_execute(&target.enter()) {
            return Some(own(None)(error));
        }
        let script = migration.script(part.direction)?;
        for statement in script.statements() {
            let sql = match (part.direction, migration.mode()) {
                (Direction::Down, Mode::NonTransactional) => statement.transactional_form().unwrap_or_default(),
                _ => statement.sql().into(),
            };
            conn.batch_execute("SAVEPOINT statement").ok()?;
            if let Err(error) = conn.batch_execute(&sql).and_then(|()| look(conn, target, part, &path)) {
                let server = ServerMessage::from(&error);
                let line = line_in(script.text(), &statement, &server);
                let at = Some(FailedStatement { line, sql: statement.sql().to_owned() });
                conn.batch_execute("ROLLBACK TO SAVEPOINT statement").ok()?;
                let needs_commit = message::needs_commit(conn, &sql).ok()?;
                return Some(Found { index: Some(*index), at, server, at_commit: false, needs_commit });
            }
            conn.batch_execute("RELEASE SAVEPOINT statement").ok()?;
        }
        let version = migration.version().as_str();
        let mut row = Batch::after_of(target, script);
        row.push(&match part.direction {
            Direction::Up => ledger::insert(target.schema, [version]),
            Direction::Down => ledger::delete(target.schema, version),
        });
        if let Err(error) = conn.batch_execute(row.sql()) {
            return Some(own(Some(*index))(error));
        }
    }
    // What is checked at the commit is checked now.
    let error = conn.batch_execute("SET CONSTRAINTS ALL IMMEDIATE").err()?;
    let index = if let [only] = part.migrations { Some(*only) } else { None };
    Some(Found { index, at: None, server: ServerMessage::from(&error), at_commit: true, needs_commit: false })
}

/// Whether a statement has changed something outside, as the end of the transaction would find out. It leaves the session
/// as the statement has left it, but for the path: roles and settings are the next statement's, too.
fn look(conn: &mut PgConnection, target: Target<'_>, part: &Part<'_>, path: &str) -> QueryResult<()> {
    if part.scrutiny == Scrutiny::None {
        return Ok(());
    }
    let mut batch = Batch::default();
    batch.push("SAVEPOINT look;");
    batch.push(&format!("SET LOCAL ROLE NONE; {}", path::CATALOG_FOR_TRANSACTION));
    batch.confine(target, part.scrutiny, None);
    batch.push("ROLLBACK TO SAVEPOINT look;");
    batch.push(path);
    conn.batch_execute(batch.sql())
}

pub(super) fn rolled_back(
    migration: &Migration,
    direction: Direction,
    at: Option<FailedStatement>,
    server: ServerMessage,
) -> TenantError {
    TenantError::Migration(Box::new(MigrationFailure {
        version: migration.version().clone(),
        folder: migration.folder().to_owned(),
        file: direction.file(),
        at,
        server,
        effect: Effect::RolledBack,
        applied_before: 0,
    }))
}

/// The line that the server points to in a statement that was sent alone, or else the statement's first.
fn line_in(script: &str, statement: &Statement<'_>, server: &ServerMessage) -> usize {
    let byte = server
        .position
        .and_then(|position| statement.sql().char_indices().nth(position.checked_sub(1)?))
        .map_or(0, |(byte, _)| byte);
    line_at(script, statement.offset() + byte)
}
