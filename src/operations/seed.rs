//! Runs seeds in the schemas of tenants, each file in one transaction.

use diesel::connection::SimpleConnection;

use super::scripts::{TenantLock, begin};
use crate::confine;
use crate::database::Database;
use crate::migration::SeedFile;
use crate::model::{SchemaName, TenantName};
use crate::operations::migrate::{Batch, SchemaTarget};
use crate::postgres::{ServerMessage, session};
use crate::run::Commit;
use crate::sql::statement::line_at;
use crate::tenants::{RunAs, Tenancy};

/// A file that failed. Its transaction was rolled back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedSeed {
    /// The file, and the line if it is known.
    pub location: String,
    /// The server's message.
    pub message: ServerMessage,
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
        let mut batch = begin(target, Commit::Durable, TenantLock::Acquire);
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
