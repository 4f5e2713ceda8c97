//! Spare schemas, which `create` renames instead of making others.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::result::Error as DieselError;

use crate::database::{Database, Stop};
use crate::error::Error;
use crate::model::SchemaName;
use crate::operations::migrate::{Batch, SchemaTarget, spare};
use crate::postgres::{CHANGED, GuardViolation, ServerMessage};
use crate::record::integrity;
use crate::run::Commit;
use crate::schema::snapshot::spares::{self, Spare};
use crate::schema::snapshot::{Basis, basis, current_key};
use crate::sql::quote::{Identifier, Literal};
use crate::tenants::Tenancy;

/// What [`prewarm`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PrewarmReport {
    /// The number of schemas that were made.
    pub made: usize,
    /// The number of schemas that were dropped because they were made for other migrations, or have changed.
    pub dropped: usize,
    /// The number of schemas that are ready.
    pub ready: usize,
}

/// Makes spare schemas until `count` are ready, one after the other. Drops those that cannot be used any more. An interrupted
/// call leaves those that it has made.
///
/// # Errors
/// [`Error::CannotPrewarm`], [`Error::MigrationsChanged`], or the server's error.
pub fn prewarm(db: &mut Database, tenancy: &Tenancy, count: usize, stop: &Stop) -> Result<PrewarmReport, Error> {
    db.require_writable(tenancy)?;
    integrity::record(db, tenancy)?;
    let Basis { snapshot, key } = basis(db, tenancy)?;
    let snapshot = snapshot.map_err(|reason| Error::CannotPrewarm { reason })?;
    if !snapshot.is_renamable() {
        let reason = "the schema's name is in the text of an object".to_owned();
        return Err(Error::CannotPrewarm { reason });
    }
    let recorded = spares::recorded(db.connection())?;
    let ready = spares::ready(db.connection(), &recorded, &key)?;
    let stale = stale(recorded, &ready);
    let dropped = drop_all(db.connection(), tenancy, &stale)?;
    let mut made: Vec<SchemaName> = Vec::new();
    while ready.len() + made.len() < count && !stop.is_requested() {
        let name = spares::new_name();
        let message = spare(SchemaTarget::tenant(tenancy, &name, None), &snapshot, &key);
        if let Err(error) = db.connection().batch_execute(&message) {
            roll_back(db.connection(), error, "make a spare schema")?;
        }
        spares::record_stamps(db.connection(), std::slice::from_ref(&name))?;
        made.push(name);
    }
    Ok(PrewarmReport { made: made.len(), dropped, ready: ready.len() + made.len() })
}

/// Drops the spare schemas that cannot be used for these migrations, for example after they were migrated. Returns how many.
///
/// # Errors
/// The server's error.
pub fn drop_stale_spares(db: &mut Database, tenancy: &Tenancy) -> Result<usize, Error> {
    if !db.server().has_spares {
        return Ok(0);
    }
    let recorded = spares::recorded(db.connection())?;
    if recorded.is_empty() {
        return Ok(0);
    }
    let key = current_key(db, tenancy)?;
    let ready = spares::ready(db.connection(), &recorded, &key)?;
    drop_all(db.connection(), tenancy, &stale(recorded, &ready))
}

/// The spares that are not ready. Those of another role may be ready for that role.
fn stale(recorded: Vec<Spare>, ready: &[SchemaName]) -> Vec<SchemaName> {
    let own = recorded.into_iter().filter(|spare| !spare.is_foreign);
    own.map(|spare| spare.name).filter(|name| !ready.contains(name)).collect()
}

/// The names of the spare schemas.
///
/// # Errors
/// The server's error.
pub fn spare_schemas(db: &mut Database) -> Result<Vec<SchemaName>, Error> {
    if !db.server().has_spares {
        return Ok(Vec::new());
    }
    Ok(spares::recorded(db.connection())?.into_iter().map(|spare| spare.name).collect())
}

/// Drops spare schemas, except those that another session works on or has taken. Returns how many.
pub(super) fn drop_all(conn: &mut PgConnection, tenancy: &Tenancy, names: &[SchemaName]) -> Result<usize, Error> {
    let mut dropped = 0;
    for name in names {
        let target = SchemaTarget::tenant(tenancy, name, None);
        let literal = Literal(name.as_str());
        let mut batch = Batch::begin(target, Commit::Durable);
        batch.guard(&[target.lock_for_transaction()]);
        // A tenant may have taken it, and then it has another name.
        batch.guard(&[format!(
            "DELETE FROM public.schema_spare WHERE name = {literal}; IF NOT FOUND \
             OR EXISTS (SELECT FROM public.schema_tracker WHERE name = {literal}) THEN RAISE EXCEPTION '{CHANGED}'; END IF;"
        )]);
        batch.push(&format!("DROP SCHEMA IF EXISTS {} CASCADE;", Identifier::from(name)));
        match conn.batch_execute(batch.commit().sql()) {
            Ok(()) => dropped += 1,
            Err(error) => {
                let violation = GuardViolation::from_message(&ServerMessage::from(&error).message);
                roll_back(conn, error, "drop a spare schema").or_else(|error| match violation {
                    Some(GuardViolation::Busy | GuardViolation::Changed) => Ok(()),
                    _ => Err(error),
                })?;
            }
        }
    }
    Ok(dropped)
}

/// Ends a failed transaction, and returns its error.
fn roll_back(conn: &mut PgConnection, error: DieselError, doing: &'static str) -> Result<(), Error> {
    if !ServerMessage::is_connection_lost(&error) {
        conn.batch_execute("ROLLBACK").map_err(Error::doing("end a transaction"))?;
    }
    Err(Error::doing(doing)(error))
}
