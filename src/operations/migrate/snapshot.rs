//! Creates a tenant from a snapshot of what the migrations produce, or from a spare schema that was made from one, in one
//! message.

use std::sync::Arc;

use diesel::connection::SimpleConnection;

use super::apply::{MigrationRequest, execute, run_row};
use super::batch::{Batch, Precondition, TrackerRow};
use super::target::SchemaTarget;
use super::transaction::Transaction;
use super::{guards, limits};
use crate::confine::Scrutiny;
use crate::migration::Direction;
use crate::model::{SchemaName, State};
use crate::postgres::{GuardViolation, Session, path, refuse, session};
use crate::run::{AttemptError, Commit};
use crate::schema::snapshot::{Snapshot, SpareKey, spares};
use crate::sql::quote::Identifier;
use crate::tenants::ledger;

/// Creates the tenant of a request, if it has sources that can be used. Returns whether the tenant was created; otherwise the
/// migrations have to be applied.
pub(super) fn create(session: &mut Session, request: &MigrationRequest<'_>) -> Result<bool, AttemptError> {
    let Some(sources) = request.sources else { return Ok(false) };
    let target = request.target;
    let mut transaction = Transaction::new(target, &request.precondition, request.direction, request.migrations);
    let Precondition::NoSchema { row } = transaction.precondition else { return Ok(false) };
    if !sources.spares.is_empty() && !request.learned.has_no_spares() {
        let message = from_spare(request, &transaction, *row, &sources.spares);
        match send(session, &message)? {
            None => {
                request.learned.count_prewarmed();
                return Ok(true);
            }
            Some(_) => request.learned.note_no_spares(),
        }
    }
    let Ok(snapshot) = &sources.snapshot else { return Ok(false) };
    if request.learned.snapshot_failure().is_some() {
        return Ok(false);
    }
    let Some(schema) = snapshot.schema_for(target.schema) else {
        request.learned.note_quoted_name();
        return Ok(false);
    };
    // The text of the script does not show what it does.
    transaction.scrutiny = Scrutiny::ThoroughOfNew;
    let mut batch = from_snapshot(target, &transaction, request.commit, snapshot, &schema);
    end(&mut batch, request, &transaction, *row);
    session.forgo_prepared();
    if let Some(message) = send(session, &batch.commit())? {
        request.learned.give_up_snapshot(message);
        return Ok(false);
    }
    if transaction.leaves_state(target) {
        session.discard();
    }
    Ok(true)
}

/// Sends a message. Returns the server's error if the tenant may be created in another way.
fn send(session: &mut Session, batch: &Batch) -> Result<Option<String>, AttemptError> {
    let Err(error) = session.batch_execute(batch.sql()) else { return Ok(None) };
    let server = match AttemptError::classify(&error) {
        Ok(error) => return Err(error),
        Err(server) => server,
    };
    execute(session, "ROLLBACK")?;
    Ok(Some(server.message))
}

/// A message that renames a spare schema.
fn from_spare(
    request: &MigrationRequest<'_>,
    transaction: &Transaction<'_>,
    row: TrackerRow,
    spares: &[SchemaName],
) -> Batch {
    let target = request.target;
    let mut batch = Batch::begin(target, request.commit);
    let (locks, checks) = guards::of_new_schema(target, transaction, row);
    batch.push(&refuse(&locks));
    batch.push(&refuse(&checks));
    batch.push(&spares::take(spares, target.schema));
    batch.push(&target.check_path());
    let applied = transaction.applied(target);
    // Something else than its own migrations has changed the spare.
    batch.guard(&[
        ledger::definition_guard(target.schema),
        ledger::contents_guard(target.schema, &applied, GuardViolation::NoSpare),
    ]);
    end(&mut batch, request, transaction, row);
    batch.commit()
}

/// The beginning of a message that creates a schema from a snapshot, up to the checks at the end of the transaction. The
/// script runs in `schema`, whose name needs no quotes.
fn from_snapshot(
    target: SchemaTarget<'_>,
    transaction: &Transaction<'_>,
    commit: Commit,
    snapshot: &Snapshot,
    schema: &SchemaName,
) -> Batch {
    let mut batch = Batch::open(target, transaction, commit, Arc::default());
    let temporary = (schema != target.schema).then_some(schema);
    if let Some(temporary) = temporary {
        batch.push(&rename(target.schema, temporary));
    }
    batch.push(&SchemaTarget { schema, ..target }.enter());
    batch.push(&Snapshot::settings());
    batch.push(&snapshot.script_in(schema));
    batch.after_code(session::Locks::All);
    if let Some(temporary) = temporary {
        batch.push(&rename(temporary, target.schema));
        batch.push(&target.check_path());
    }
    let applied = transaction.applied(target);
    batch.push(&ledger::insert(target.schema, applied.iter().map(String::as_str), transaction.columns()));
    batch.confine(target, transaction.scrutiny, Some(&applied));
    batch
}

/// Adds the rows of a tenant that is created.
fn end(batch: &mut Batch, request: &MigrationRequest<'_>, transaction: &Transaction<'_>, row: TrackerRow) {
    batch.track(request.target.schema, row, State::Active);
    batch.record_repeatables(request.target, transaction);
    if let Some(row) = run_row(request) {
        batch.call(&row);
    }
}

/// SQL that begins a transaction which reads one snapshot of the database, as [`Batch::begin`] begins others.
pub(crate) fn begin_repeatable_read(target: SchemaTarget<'_>) -> String {
    format!("BEGIN ISOLATION LEVEL REPEATABLE READ; {}", transaction_settings(target))
}

/// SQL that sets what [`Batch::begin`] sets, after the session was reset.
pub(crate) fn transaction_settings(target: SchemaTarget<'_>) -> String {
    format!("{} {}", limits::of_transaction(target, Commit::Durable), path::CATALOG_FOR_TRANSACTION)
}

/// A message that makes a spare schema from a snapshot.
pub(crate) fn spare(target: SchemaTarget<'_>, snapshot: &Snapshot, key: &SpareKey) -> String {
    let precondition = Precondition::NoSchema { row: TrackerRow::Missing };
    let migrations: Vec<usize> = (0..target.migrations().len()).collect();
    let mut transaction = Transaction::new(target, &precondition, Direction::Up, &migrations);
    transaction.scrutiny = Scrutiny::ThoroughOfNew;
    let mut batch = from_snapshot(target, &transaction, Commit::Durable, snapshot, target.schema);
    batch.push(&spares::insert(target.schema, key));
    batch.commit().sql().to_owned()
}

fn rename(from: &SchemaName, to: &SchemaName) -> String {
    format!("ALTER SCHEMA {} RENAME TO {};", Identifier::from(from), Identifier::from(to))
}
