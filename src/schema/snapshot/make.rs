//! Makes a snapshot, and proves it.
//!
//! Two replays of the migrations must produce the same structure, and nothing else: no rows, and no advanced sequence. The
//! script is rendered from that structure, as a repair plan from an empty schema. It then runs as it runs for a tenant, in a
//! schema with another name, and the result is compared as `health-check` compares tenants with the reference. All of this is
//! rolled back.

use std::collections::HashSet;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;

use super::render::{NewSchema, Rendered, render};
use super::{Choice, Snapshot};
use crate::database::Database;
use crate::error::Error;
use crate::migration::Migration;
use crate::postgres::ServerMessage;
use crate::schema::drift::{Difference, compare};
use crate::schema::reference::{Products, ROLL_BACK, products, scratch_name};
use crate::schema::structure::Structure;
use crate::sql::quote::{Identifier, Literal};
use crate::sql::statement::Statement;
use crate::tenants::Tenancy;

const DOING: &str = "make a snapshot of the migrations";

/// Waits for locks only briefly, because other sessions would queue behind it.
pub(super) const TIMEOUTS: &str = "SET LOCAL lock_timeout TO '2s'; SET LOCAL statement_timeout TO 0;";

/// Makes a snapshot. Returns the reason if the migrations must be replayed for each tenant.
///
/// # Errors
/// Those of [`Reference::make`], which another attempt may not meet.
pub(super) fn make(db: &mut Database, tenancy: &Tenancy) -> Result<Choice, Error> {
    if let Some(reason) = tenancy.tenant_migrations().iter().find_map(|migration| unsuitable(migration)) {
        return Ok(Err(reason));
    }
    let Products { structure, leftovers } = products(db, tenancy)?;
    if let Some(leftovers) = leftovers {
        return Ok(Err(format!("the migrations {leftovers}")));
    }
    if products(db, tenancy)?.structure != structure {
        return Ok(Err("two replays of the migrations produce different structures".to_owned()));
    }
    let version = db.server().version;
    let conn = db.connection();
    let rendered = match rolled_back(conn, |conn| render(conn, tenancy, version, &structure, None))? {
        Ok(rendered) => rendered,
        Err(reason) => return Ok(Err(reason)),
    };
    rolled_back(conn, |conn| prove(conn, tenancy, version, &structure, rendered))
}

/// Why a migration has effects that a snapshot may not have, as a clause.
fn unsuitable(migration: &Migration) -> Option<String> {
    let folder = migration.folder();
    if migration.outside_reason().is_some() {
        return Some(format!("migration {folder} changes objects outside the tenant's schema"));
    }
    let statements = migration.up().statements();
    if statements.iter().any(|statement| statement.reads_clock()) {
        return Some(format!("the result of migration {folder} depends on the time"));
    }
    let has_other_effects =
        |statement: &Statement<'_>| statement.transactional_form().is_none() && !statement.is_maintenance();
    statements
        .iter()
        .any(has_other_effects)
        .then(|| format!("migration {folder} contains a statement that a transaction does not accept"))
}

/// Runs `work` in a transaction that is rolled back.
fn rolled_back<T>(
    conn: &mut PgConnection,
    work: impl FnOnce(&mut PgConnection) -> Result<T, Error>,
) -> Result<T, Error> {
    conn.batch_execute("BEGIN READ WRITE").map_err(Error::doing(DOING))?;
    let result = work(conn);
    let ended = conn.batch_execute(ROLL_BACK).map_err(Error::doing(DOING));
    let result = result?;
    ended.map(|()| result)
}

/// Runs the script as for a tenant, and compares the result with the structure. Then does the same after renaming the schema.
fn prove(
    conn: &mut PgConnection,
    tenancy: &Tenancy,
    version: i32,
    structure: &Structure,
    Rendered { placeholder, statements, .. }: Rendered,
) -> Result<Choice, Error> {
    let doing = Error::doing(DOING);
    let script = statements.into_iter().map(|(_, sql)| sql).collect();
    let mut snapshot = Snapshot { script, placeholder: placeholder.as_str().to_owned(), is_renamable: false };
    conn.batch_execute(TIMEOUTS).map_err(&doing)?;
    let new = NewSchema::create(conn, None, None).map_err(&doing)?;
    let path = tenancy.path(&new.name);
    let message = format!(
        "{} {} DO {}; {}",
        Snapshot::settings(),
        path.set_for_transaction(),
        Literal(&format!("BEGIN {} END", path.guard())),
        snapshot.script_in(&new.name),
    );
    if let Err(error) = conn.batch_execute(&message) {
        return match ServerMessage::is_connection_lost(&error) {
            true => Err(doing(error)),
            false => Ok(Err(format!("the script of the snapshot fails: {}", ServerMessage::from(&error).message))),
        };
    }
    let differs = |conn: &mut PgConnection| -> Result<Option<Difference>, Error> {
        let actual = new.read(conn, version).map_err(&doing)?;
        Ok(compare(structure, &actual, &HashSet::new()).into_iter().next())
    };
    if let Some(difference) = differs(conn)? {
        let summary = difference.summary("SCHEMA");
        return Ok(Err(format!("the script of the snapshot produces another structure: {summary}")));
    }
    let renamed = scratch_name();
    let rename = format!("ALTER SCHEMA {} RENAME TO {}", Identifier::from(&new.name), Identifier::from(&renamed));
    conn.batch_execute(&rename).map_err(&doing)?;
    snapshot.is_renamable = differs(conn)?.is_none();
    Ok(Ok(snapshot))
}
