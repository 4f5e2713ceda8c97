//! Creates a tenant from a snapshot of what the migrations produce, in one message with the whole ledger.

use std::sync::Arc;

use diesel::connection::SimpleConnection;

use super::apply::{MigrationRequest, execute, run_row};
use super::batch::{Batch, Precondition};
use super::target::SchemaTarget;
use super::transaction::Transaction;
use crate::confine::Scrutiny;
use crate::model::{SchemaName, State};
use crate::postgres::{Session, session};
use crate::run::AttemptError;
use crate::schema::snapshot::Snapshot;
use crate::sql::quote::Identifier;
use crate::tenants::ledger;

/// Creates the tenant of a request, if it has a snapshot. Returns whether the tenant was created: if the script of the snapshot
/// fails, the migrations have to be applied.
pub(super) fn create(session: &mut Session, request: &MigrationRequest<'_>) -> Result<bool, AttemptError> {
    let Some(snapshot) = request.snapshot.filter(|_| request.learned.snapshot_failure().is_none()) else {
        return Ok(false);
    };
    let target = request.target;
    let Some(schema) = snapshot.schema_for(target.schema) else {
        request.learned.note_quoted_name();
        return Ok(false);
    };
    let mut transaction = Transaction::new(target, &request.precondition, request.direction, request.migrations);
    // The text of the script does not show what it does.
    transaction.scrutiny = Scrutiny::ThoroughOfNew;
    let Some(batch) = message(request, &transaction, snapshot, &schema) else { return Ok(false) };
    session.forgo_prepared();
    let Err(error) = session.batch_execute(batch.sql()) else {
        if transaction.leaves_state(target) {
            session.discard();
        }
        return Ok(true);
    };
    let server = match AttemptError::classify(&error) {
        Ok(error) => return Err(error),
        Err(server) => server,
    };
    execute(session, "ROLLBACK")?;
    request.learned.give_up_snapshot(server.message);
    Ok(false)
}

/// The message; `None` if the schema exists. The script runs in `schema`, whose name needs no quotes.
fn message(
    request: &MigrationRequest<'_>,
    transaction: &Transaction<'_>,
    snapshot: &Snapshot,
    schema: &SchemaName,
) -> Option<Batch> {
    let Precondition::NoSchema { row } = transaction.precondition else { return None };
    let target = request.target;
    let mut batch = Batch::open(target, transaction, request.commit, Arc::default());
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
    batch.track(target.schema, *row, State::Active);
    batch.record_repeatables(target, transaction);
    if let Some(row) = run_row(request) {
        batch.call(&row);
    }
    Some(batch.commit())
}

fn rename(from: &SchemaName, to: &SchemaName) -> String {
    format!("ALTER SCHEMA {} RENAME TO {};", Identifier::from(from), Identifier::from(to))
}
