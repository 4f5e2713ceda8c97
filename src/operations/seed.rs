//! Runs seeds in the schemas of tenants, each file in one transaction.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::confine;
use crate::database::Database;
use crate::error::Error;
use crate::migration::SeedFile;
use crate::model::{SchemaName, State, TenantName};
use crate::operations::migrate::{Batch, SchemaTarget, TrackerRow, tracker_guard};
use crate::postgres::{ServerMessage, path, session};
use crate::run::Commit;
use crate::sql::statement::line_at;
use crate::tenants::tracker::schema_tracker;
use crate::tenants::{RunAs, Tenancy};

/// A file that failed. Its transaction was rolled back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedSeed {
    /// The file, and the line if it is known.
    pub location: String,
    /// The server's message.
    pub message: ServerMessage,
}

/// The names of the active tenants, sorted.
///
/// # Errors
/// The server's error.
pub fn active_tenants(db: &mut Database) -> Result<Vec<TenantName>, Error> {
    let names: Vec<String> = schema_tracker::table
        .select(schema_tracker::name)
        .filter(schema_tracker::state.eq(State::Active.as_str()))
        .order(schema_tracker::name)
        .load(db.connection())
        .map_err(Error::doing("read the tracker"))?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

/// Runs files in the schema of a tenant, as the owner of the schema: code that a tenant attached to its tables runs with its
/// own privileges. Stops at the first file that fails; those before it are committed.
///
/// # Errors
/// [`FailedSeed`].
pub fn seed(
    db: &mut Database,
    tenancy: &Tenancy,
    tenant: &TenantName,
    files: &[SeedFile],
) -> Result<(), Box<FailedSeed>> {
    let tenancy = tenancy.clone().with_run_as(RunAs::SchemaOwner);
    let target = SchemaTarget::tenant(&tenancy, tenant.schema(), None);
    files.iter().try_for_each(|file| {
        let script = file.script();
        let scrutiny = confine::scrutiny([script], tenancy.extension_schemas());
        let mut batch = begin(target);
        batch.inventory(target, scrutiny);
        batch.push(&target.enter());
        batch.script(0, script.text());
        if script.traits().is_plain {
            batch.after_plain(target);
        } else {
            batch.after_code(session::Locks::All);
        }
        batch.confine(target, scrutiny, None);
        execute(db, file, batch)
    })
}

/// Begins a transaction in a schema of the tracker, which it locks.
pub(crate) fn begin(target: SchemaTarget<'_>) -> Batch {
    let schema_path = target.tenancy.path(target.schema);
    let mut batch = Batch::begin(target, Commit::Durable);
    batch.push(&schema_path.set_for_transaction());
    batch.guard(&[
        schema_path.guard(),
        path::CATALOG_IN_BLOCK.to_owned(),
        target.lock_for_transaction(),
        tracker_guard(target.schema, TrackerRow::Known),
    ]);
    batch
}

/// Runs the transaction of a file and commits it.
pub(crate) fn execute(db: &mut Database, file: &SeedFile, batch: Batch) -> Result<(), Box<FailedSeed>> {
    let batch = batch.commit();
    let conn = db.connection();
    let Err(error) = conn.batch_execute(batch.sql()) else { return Ok(()) };
    // A lost connection has rolled back by itself.
    let _ = conn.batch_execute("ROLLBACK");
    let message = confine::describe_violation(conn, ServerMessage::from(&error));
    let _ = conn.batch_execute("ROLLBACK");
    let position = message.position.and_then(|position| usize::try_from(position).ok());
    let line =
        position.and_then(|position| batch.locate(position)).map(|(_, byte)| line_at(file.script().text(), byte));
    let location = line.map_or_else(|| file.name.clone(), |line| format!("{}:{line}", file.name));
    Err(Box::new(FailedSeed { location, message }))
}

/// The target of seeds in a shared schema.
pub(crate) fn shared<'a>(tenancy: &'a Tenancy, schema: &'a SchemaName) -> SchemaTarget<'a> {
    SchemaTarget::tenant(tenancy, schema, None)
}
