//! Where a message of many statements failed, as exactly as if each had been sent alone.
//!
//! An error that the server's parser finds has a position in the message. For any other, the message's statements are
//! sent one by one in a transaction that is rolled back, until the one that fails.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::result::Error as DieselError;

use super::batch::{Batch, Commit, Opening, Target};
use crate::failure::{Effect, FailedStatement, MigrationFailure, TenantError};
use crate::ledger;
use crate::migration::{Direction, Migration, Mode, Script};
use crate::postgres::ServerMessage;
use crate::sql::statement::{Statement, line_at};

/// What took longer than this is not run again to find out where it failed.
const REPLAYED: Duration = Duration::from_secs(10);

/// Explains the failure of a message that ran `migrations`. The session is in the failed transaction, and stays in one.
pub(super) fn failure(
    conn: &mut PgConnection,
    target: Target<'_>,
    opening: &Opening,
    (direction, migrations): (Direction, &[usize]),
    batch: &Batch,
    server: ServerMessage,
    took: Duration,
) -> TenantError {
    let rolled_back = |migration, at, server| rolled_back(migration, direction, at, server);
    if let Some((index, byte)) = server.position.and_then(|position| batch.locate(position)) {
        let migration = target.migration(index);
        let at = migration.script(direction).and_then(|script| statement_at(script, byte));
        return rolled_back(migration, at, server);
    }
    // What took long would keep the tenant's tables locked as long again.
    let found = match took <= REPLAYED {
        true => replay(conn, target, opening, direction, migrations),
        false => None,
    };
    match found {
        // The same again, and now it is known where.
        Some(Found { index: Some(index), at, server: again, .. }) if again.message == server.message => {
            rolled_back(target.migration(index), at, again)
        }
        Some(Found { index: None, server: again, at_commit: false, .. }) if again.message == server.message => {
            TenantError::Server(again)
        }
        // It did not fail, or in another way: what failed first is told, without a place.
        Some(_) | None => match migrations {
            [] => TenantError::Server(server),
            [only] => rolled_back(target.migration(*only), None, server),
            many => TenantError::MigrationsOnce {
                folders: many.iter().map(|index| target.migration(*index).folder().to_owned()).collect(),
                server,
            },
        },
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
}

fn replay(
    conn: &mut PgConnection,
    target: Target<'_>,
    opening: &Opening,
    direction: Direction,
    migrations: &[usize],
) -> Option<Found> {
    conn.batch_execute("ROLLBACK").ok()?;
    let own =
        |error: DieselError| Found { index: None, at: None, server: ServerMessage::from(&error), at_commit: false };
    let applied = if direction == Direction::Up { migrations } else { &[] };
    if let Err(error) = conn.batch_execute(Batch::open(target, opening, applied, Commit::Deferred).sql()) {
        return Some(own(error));
    }
    for index in migrations {
        let migration = target.migration(*index);
        let path = target.tenancy.path(target.schema).set_for_transaction();
        if let Err(error) = conn.batch_execute(&path) {
            return Some(own(error));
        }
        let script = migration.script(direction)?;
        for statement in script.statements() {
            let sql = match (direction, migration.mode()) {
                (Direction::Down, Mode::NonTransactional) => statement.transactional_form().unwrap_or_default(),
                _ => statement.sql().into(),
            };
            if let Err(error) = conn.batch_execute(&sql) {
                let server = ServerMessage::from(&error);
                let line = line_in(script.text(), &statement, &server);
                let at = Some(FailedStatement { line, sql: statement.sql().to_owned() });
                return Some(Found { index: Some(*index), at, server, at_commit: false });
            }
        }
        let version = migration.version().as_str();
        let row = match direction {
            Direction::Up => ledger::insert(target.schema, [version]),
            Direction::Down => ledger::delete(target.schema, version),
        };
        if let Err(error) = conn.batch_execute(&row) {
            return Some(own(error));
        }
    }
    // What is checked at the commit is checked now.
    let error = conn.batch_execute("SET CONSTRAINTS ALL IMMEDIATE").err()?;
    let index = if let [only] = migrations { Some(*only) } else { None };
    Some(Found { index, at: None, server: ServerMessage::from(&error), at_commit: true })
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
