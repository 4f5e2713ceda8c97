//! Finds the statement at which a message failed.
//!
//! An error of the server's parser has a position in the message. For other errors, the statements of the message are sent
//! one by one, in a transaction that is rolled back, until one fails.

use std::sync::Arc;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::result::{Error as DieselError, QueryResult};

use super::batch::Batch;
use super::missing::MissingObject;
use super::target::SchemaTarget;
use super::transaction::Transaction;
use crate::confine::{self, Scrutiny};
use crate::error::{Effect, FailedStatement, MigrationFailure, MissingExtension, TenantError};
use crate::migration::{Direction, Migration, Mode, Script};
use crate::postgres::message::{self, Diagnosis};
use crate::postgres::{ServerMessage, Sqlstate, path, session};
use crate::run::Commit;
use crate::sql::statement::{Statement, line_at};
use crate::tenants::ledger;

/// A message that took longer is not run again.
const MAX_REPLAYED: Duration = Duration::from_secs(10);

/// Why a message failed.
pub(super) enum Explained {
    /// The tenant fails with this error.
    Failed(TenantError),
    /// The migration at this place of the set needs the commit of those before it.
    NeedsCommit(usize),
}

/// Finds the error of a message that failed. The session is in the failed transaction, and remains in a transaction.
pub(super) fn failure(
    conn: &mut PgConnection,
    target: SchemaTarget<'_>,
    transaction: &Transaction<'_>,
    batch: &Batch,
    server: ServerMessage,
    took: Duration,
) -> Explained {
    let rolled_back =
        |migration, at, server| Explained::Failed(rolled_back(migration, transaction.direction, at, server));
    let needs_no_commit =
        |index: usize| transaction.direction == Direction::Down || transaction.migrations.first() == Some(&index);
    let located = server.character().and_then(|position| batch.locate(position));
    let located = located.filter(|(index, _)| needs_no_commit(*index)).map(|(index, byte)| {
        let migration = target.migration(index);
        let at = migration.script(transaction.direction).and_then(|script| statement_at(script, byte));
        (migration, at)
    });
    if let Some((migration, at)) = &located
        && !at.as_ref().is_some_and(|at| names_missing_extension(conn, target, &server.message, &at.sql))
    {
        return rolled_back(migration, at.clone(), server);
    }
    // A long replay would lock the tenant's tables for as long again.
    let found = if took <= MAX_REPLAYED { replay(conn, target, transaction) } else { None };
    let is_same = |again: &ServerMessage| again.message == server.message;
    if let Some((migration, at)) = located {
        let missing = found.filter(|again| is_same(&again.server)).and_then(|again| again.missing(conn, target));
        return with_missing(rolled_back(migration, at, server), missing);
    }
    let needs_commit = found.as_ref().and_then(ReplayFailure::needs_commit).filter(|index| !needs_no_commit(*index));
    if let Some(index) = needs_commit {
        return Explained::NeedsCommit(index);
    }
    match found {
        // The same error, and now its statement is known.
        Some(again @ ReplayFailure { index: Some(index), .. }) if is_same(&again.server) => {
            let missing = again.missing(conn, target);
            let server = confine::describe_violation(conn, again.server);
            with_missing(rolled_back(target.migration(index), again.at, server), missing)
        }
        Some(ReplayFailure { index: None, server: again, at_commit: false, .. }) if is_same(&again) => {
            Explained::Failed(TenantError::Server(again))
        }
        // It failed at the commit, or not again, or with another error. The first error is reported without a statement.
        found => {
            let context = found.filter(|again| is_same(&again.server)).and_then(|again| again.server.context);
            let server = confine::describe_violation(conn, ServerMessage { context, ..server });
            match transaction.migrations {
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

/// The statement at a byte of a script, with the line of that byte.
pub(super) fn statement_at(script: &Script, byte: usize) -> Option<FailedStatement> {
    let statements = script.statements();
    let statement = statements.iter().rev().find(|statement| statement.offset() <= byte)?;
    Some(FailedStatement { line: line_at(script.text(), byte), sql: statement.sql().to_owned() })
}

/// The failure of a statement that was sent alone.
pub(super) fn statement_failure(
    migration: &Migration,
    script: &str,
    statement: &Statement<'_>,
    server: ServerMessage,
    effect: Effect,
) -> MigrationFailure {
    let at = FailedStatement { line: line_in(script, statement, &server), sql: statement.sql().to_owned() };
    MigrationFailure {
        version: migration.version().clone(),
        folder: migration.place(Direction::Up).0.to_owned(),
        file: migration.place(Direction::Up).1.to_owned(),
        at: Some(at),
        server,
        effect,
        missing: None,
        applied_before: 0,
    }
}

/// The first failure of a replay.
struct ReplayFailure {
    /// The migration's place in the set; `None` if a statement that is not a migration's failed.
    index: Option<usize>,
    at: Option<FailedStatement>,
    server: ServerMessage,
    at_commit: bool,
    /// Its SQLSTATE and context, if it failed again.
    diagnosis: Option<Diagnosis>,
}

impl ReplayFailure {
    /// The migration, if its statement needs the commit of those before it.
    fn needs_commit(&self) -> Option<usize> {
        self.index.filter(|_| self.diagnosis.as_ref().is_some_and(Diagnosis::needs_commit))
    }

    /// The extension with the object that does not exist. The session remains in a transaction.
    fn missing(&self, conn: &mut PgConnection, target: SchemaTarget<'_>) -> Option<MissingExtension> {
        let sqlstate = &self.diagnosis.as_ref()?.sqlstate;
        extension(conn, target, &MissingObject::of(sqlstate, &self.server.message, &self.at.as_ref()?.sql)?)
    }
}

/// Whether an extension that the path does not have has an object with a name in the message, if the message reports that it
/// does not exist. The session remains in a transaction.
fn names_missing_extension(conn: &mut PgConnection, target: SchemaTarget<'_>, message: &str, sql: &str) -> bool {
    MissingObject::in_any_state(message, sql).any(|missing| extension(conn, target, &missing).is_some())
}

fn extension(
    conn: &mut PgConnection,
    target: SchemaTarget<'_>,
    missing: &MissingObject<'_>,
) -> Option<MissingExtension> {
    // A lost connection shows in the next statement.
    let _ = conn.batch_execute("ROLLBACK");
    let found = missing.extension(conn, target);
    let _ = conn.batch_execute("BEGIN");
    found
}

fn with_missing(explained: Explained, missing: Option<MissingExtension>) -> Explained {
    match explained {
        Explained::Failed(TenantError::Migration(failure)) => {
            Explained::Failed(TenantError::Migration(Box::new(MigrationFailure { missing, ..*failure })))
        }
        other => other,
    }
}

fn replay(conn: &mut PgConnection, target: SchemaTarget<'_>, transaction: &Transaction<'_>) -> Option<ReplayFailure> {
    conn.batch_execute("ROLLBACK").ok()?;
    let internal = |index: Option<usize>| {
        move |error: DieselError| ReplayFailure {
            index,
            at: None,
            server: ServerMessage::from(&error),
            at_commit: false,
            diagnosis: None,
        }
    };
    let open = Batch::open(target, transaction, Commit::Deferred, Arc::default());
    if let Err(error) = conn.batch_execute(open.sql()) {
        return Some(internal(None)(error));
    }
    for index in transaction.migrations {
        let migration = target.migration(*index);
        let path = target.tenancy.path(target.schema).set_for_transaction();
        if let Err(error) = conn.batch_execute(&target.enter()) {
            return Some(internal(None)(error));
        }
        let script = migration.script(transaction.direction)?;
        for statement in script.statements() {
            let sql = match (transaction.direction, migration.mode()) {
                (Direction::Down, Mode::NonTransactional) => statement.transactional_form().unwrap_or_default(),
                _ => statement.sql().into(),
            };
            conn.batch_execute("SAVEPOINT statement").ok()?;
            if let Err(error) = conn.batch_execute(&sql).and_then(|()| check_outside(conn, target, transaction, &path))
            {
                let mut server = ServerMessage::from(&error);
                let line = line_in(script.text(), &statement, &server);
                let at = Some(FailedStatement { line, sql: statement.sql().to_owned() });
                let diagnosis = diagnose(conn, &sql, &mut server)?;
                return Some(ReplayFailure { index: Some(*index), at, server, at_commit: false, diagnosis });
            }
            conn.batch_execute("RELEASE SAVEPOINT statement").ok()?;
        }
        let mut row = Batch::after_of(target, script);
        match transaction.direction {
            Direction::Up => row.ledger_row(target, *index, transaction.columns()),
            Direction::Down => row.push(&ledger::delete(target.schema, migration.version().as_str())),
        }
        if let Err(error) = conn.batch_execute(row.sql()) {
            return Some(internal(Some(*index))(error));
        }
    }
    conn.batch_execute(&format!("{} SAVEPOINT statement", target.enter())).ok()?;
    let error = conn.batch_execute(session::RUN_DEFERRED_TRIGGERS).err()?;
    let mut server = ServerMessage::from(&error);
    diagnose(conn, session::RUN_DEFERRED_TRIGGERS, &mut server)?;
    let index = if let [only] = transaction.migrations { Some(*only) } else { None };
    Some(ReplayFailure { index, at: None, server, at_commit: true, diagnosis: None })
}

/// Diagnoses the error of the statement after the savepoint, and adds the context and the SQLSTATE to its message. `None` if the connection is
/// lost.
fn diagnose(conn: &mut PgConnection, sql: &str, server: &mut ServerMessage) -> Option<Option<Diagnosis>> {
    conn.batch_execute("ROLLBACK TO SAVEPOINT statement").ok()?;
    let diagnosis = message::diagnose(conn, sql, &server.message).ok()?;
    server.context = diagnosis.as_ref().and_then(|diagnosis| diagnosis.context.clone());
    let sqlstate = diagnosis.as_ref().and_then(|diagnosis| Sqlstate::parse(&diagnosis.sqlstate));
    server.sqlstate = server.sqlstate.or(sqlstate);
    Some(diagnosis)
}

/// Checks that a statement has changed nothing outside the schema, as the end of the transaction does. Leaves the role and
/// the settings of the session unchanged for the next statement.
fn check_outside(
    conn: &mut PgConnection,
    target: SchemaTarget<'_>,
    transaction: &Transaction<'_>,
    path: &str,
) -> QueryResult<()> {
    if transaction.scrutiny == Scrutiny::None {
        return Ok(());
    }
    let mut batch = Batch::default();
    batch.push("SAVEPOINT look;");
    batch.push(&format!("SET LOCAL ROLE NONE; {}", path::CATALOG_FOR_TRANSACTION));
    batch.confine(target, transaction.scrutiny, None);
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
        folder: migration.place(direction).0.to_owned(),
        file: migration.place(direction).1.to_owned(),
        at,
        server,
        effect: Effect::RolledBack,
        missing: None,
        applied_before: 0,
    }))
}

/// The line of the server's error position in a statement that was sent alone, or else the first line of the statement.
fn line_in(script: &str, statement: &Statement<'_>, server: &ServerMessage) -> usize {
    let byte = server
        .character()
        .and_then(|position| statement.sql().char_indices().nth(position.checked_sub(1)?))
        .map_or(0, |(byte, _)| byte);
    line_at(script, statement.offset() + byte)
}
