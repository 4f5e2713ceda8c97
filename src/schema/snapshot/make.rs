//! Makes a snapshot, and proves it.
//!
//! Two replays of the migrations must produce the same structure, and nothing else: no rows, and no advanced sequence. The
//! script is rendered from that structure, as a repair plan from an empty schema. It then runs as it runs for a tenant, in a
//! schema with another name, and the result is compared as `health-check` compares tenants with the reference. All of this is
//! rolled back.

use std::collections::HashSet;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Oid, Text};

use super::{Choice, Snapshot};
use crate::database::Database;
use crate::error::{Error, ReferenceError};
use crate::migration::Migration;
use crate::model::{SchemaName, TenantName};
use crate::postgres::ServerMessage;
use crate::schema::drift::repair::{Options, Plan, Trial, Verification, plan, try_in_transaction};
use crate::schema::drift::{Compared, Difference, compare};
use crate::schema::reference::{Products, ROLL_BACK, Reference, products, scratch_name};
use crate::schema::structure::{self, Structure};
use crate::sql::quote::{Identifier, Literal};
use crate::sql::statement::Statement;
use crate::tenants::{Tenancy, ledger};

const DOING: &str = "make a snapshot of the migrations";

/// Waits for locks only briefly, because other sessions would queue behind it.
const TIMEOUTS: &str = "SET LOCAL lock_timeout TO '2s'; SET LOCAL statement_timeout TO 0;";

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
    let script = rolled_back(conn, |conn| render(conn, tenancy, version, &structure))?;
    let script = match script {
        Ok(script) => script,
        Err(reason) => return Ok(Err(reason)),
    };
    rolled_back(conn, |conn| prove(conn, tenancy, version, &structure, script))
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

/// A new schema with a ledger, as `create` makes it.
struct NewSchema {
    name: SchemaName,
    oid: u32,
}

impl NewSchema {
    fn create(conn: &mut PgConnection) -> QueryResult<Self> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Oid)]
            oid: u32,
        }
        let name = scratch_name();
        conn.batch_execute(&format!(
            "{TIMEOUTS} CREATE SCHEMA {}; {}",
            Identifier::from(&name),
            ledger::create(&name)
        ))?;
        let row: Row = sql_query("SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1")
            .bind::<Text, _>(name.as_str())
            .get_result(conn)?;
        Ok(Self { name, oid: row.oid })
    }

    fn read(&self, conn: &mut PgConnection, version: i32) -> QueryResult<Structure> {
        let mut structures = structure::read_in_transaction(conn, version, &[self.oid])?;
        Ok(structures.remove(&self.oid).unwrap_or_else(|| [].into_iter().collect()))
    }
}

/// The statements that create the structure, as they ran in a new schema, whose name they contain; or the reason why there is
/// none.
fn render(
    conn: &mut PgConnection,
    tenancy: &Tenancy,
    version: i32,
    structure: &Structure,
) -> Result<Result<(SchemaName, String), String>, Error> {
    let doing = Error::doing(DOING);
    let new = NewSchema::create(conn).map_err(&doing)?;
    let applied: Vec<String> = Vec::new();
    let compared = Compared {
        reference: Reference::of_one(applied.clone(), structure.clone()),
        applied,
        structure: new.read(conn, version).map_err(&doing)?,
        names: HashSet::new(),
    };
    let differences = compared.diff().differences;
    let options = Options { version, allow_data_loss: false };
    let name: TenantName = new.name.as_str().parse().expect("the name of a schema that is not the server's");
    let trial = Trial { tenancy, name: &name, compared: &compared, accepted: &|_| false, allow_data_loss: false };
    // New objects belong to the connected role, and so does the structure.
    let planned = plan(&compared, &differences, options).without_owner(&compared.structure);
    let tried = try_in_transaction(conn, &trial, version, planned)?;
    if let Verification::Blocked(_) = tried.verification {
        return Err(Error::from(ReferenceError::Locked));
    }
    Ok(script_of(&tried).map(|script| (new.name, script)))
}

fn script_of(plan: &Plan) -> Result<String, String> {
    let not_run = plan.statements.iter().find(|it| !it.runs() || it.unverified || it.before_transaction);
    if let Some(statement) = not_run {
        let first = statement.sql.lines().next().unwrap_or_default();
        return Err(format!("the script of the snapshot contains a statement that cannot run: {first}"));
    }
    if let Some(difference) = plan.remaining.first() {
        return Err(format!("the script of the snapshot is incomplete: {}", difference.summary("SCHEMA")));
    }
    Ok(plan.statements.iter().map(|statement| format!("{};\n", statement.sql)).collect())
}

/// Runs the script as for a tenant, and compares the result with the structure. Then does the same after renaming the schema.
fn prove(
    conn: &mut PgConnection,
    tenancy: &Tenancy,
    version: i32,
    structure: &Structure,
    (placeholder, script): (SchemaName, String),
) -> Result<Choice, Error> {
    let doing = Error::doing(DOING);
    let mut snapshot = Snapshot { script, placeholder: placeholder.as_str().to_owned(), is_renamable: false };
    let new = NewSchema::create(conn).map_err(&doing)?;
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
