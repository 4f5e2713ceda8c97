//! Runs a plan on the tenant, in a transaction that is rolled back.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Oid, Text};

use super::execution::{Execution, StopCause};
use super::{Plan, Verification};
use crate::database::Database;
use crate::error::Error;
use crate::model::TenantName;
use crate::schema::drift::difference::Difference;
use crate::schema::drift::one::Compared;
use crate::schema::structure::{self, Structure};
use crate::sql::quote::Literal;
use crate::tenants::Tenancy;

/// The statement timeout unless the tenancy sets one. A long statement may block the tenant's users.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// The tenant on which a plan is verified.
pub struct Trial<'a> {
    /// What all tenants share.
    pub tenancy: &'a Tenancy,
    /// The tenant's name.
    pub name: &'a TenantName,
    /// The structures from which the plan was made.
    pub compared: &'a Compared,
    /// Whether a difference is accepted, and stays.
    pub accepted: &'a dyn Fn(&Difference) -> bool,
    /// Whether statements that lose data run.
    pub allow_data_loss: bool,
}

/// Runs the statements of a plan one by one in a transaction on the tenant's schema, reads the structure again, compares it
/// with the reference, and rolls back. A statement that fails does not run in the resulting plan, nor do those of its group.
///
/// If another session holds a lock that a statement needs, verification ends, because other sessions would queue up behind
/// it: the plan is returned unchanged, with [`Verification::Blocked`].
///
/// # Errors
/// [`Error::CannotCompare`] if the tenant has changed since it was compared, or the server's error.
pub fn verify(db: &mut Database, trial: &Trial<'_>, plan: Plan) -> Result<Plan, Error> {
    let version = db.server().version;
    let conn = db.connection();
    let verified = verify_in_transaction(conn, trial, version, &plan);
    let rolled_back = conn.batch_execute("ROLLBACK").map_err(Error::doing("roll back the repair plan"));
    match verified {
        Ok(verified) => rolled_back.map(|()| verified),
        Err(StopCause::Blocked { sql }) => {
            rolled_back.map(|()| Plan { verification: Verification::Blocked(sql), ..plan })
        }
        Err(StopCause::Error(error)) => Err(error),
    }
}

/// Runs the statements of a plan in the caller's transaction, which has created the schema, and those that are planned for
/// what remains. The transaction is to be rolled back.
///
/// # Errors
/// The server's error.
pub(crate) fn try_in_transaction(
    conn: &mut PgConnection,
    trial: &Trial<'_>,
    version: i32,
    plan: Plan,
) -> Result<Plan, Error> {
    let structure = trial.compared.structure.clone();
    conn.batch_execute(&trial.settings()).map_err(Error::doing("verify the repair plan"))?;
    let mut execution = Execution::new(conn, trial, version, &plan, structure);
    match execution.run_plan() {
        Ok(()) => Ok(execution.into_plan()),
        Err(StopCause::Blocked { sql }) => Ok(Plan { verification: Verification::Blocked(sql), ..plan }),
        Err(StopCause::Error(error)) => Err(error),
    }
}

fn verify_in_transaction(
    conn: &mut PgConnection,
    trial: &Trial<'_>,
    version: i32,
    plan: &Plan,
) -> Result<Plan, StopCause> {
    conn.batch_execute("BEGIN READ WRITE").map_err(Error::doing("verify the repair plan"))?;
    let actual = trial.read(conn, version)?;
    if actual != trial.compared.structure {
        return Err(Error::cannot_compare(trial.name, "the tenant changed during the comparison").into());
    }
    conn.batch_execute(&trial.settings()).map_err(Error::doing("verify the repair plan"))?;
    let mut execution = Execution::new(conn, trial, version, plan, actual);
    execution.run_plan()?;
    if trial.allow_data_loss {
        execution.find_accepted();
        execution.escalate()?;
        execution.add_row_counts()?;
    }
    Ok(execution.into_plan())
}

impl Trial<'_> {
    /// The statement timeout.
    pub(super) fn timeout(&self) -> Duration {
        self.tenancy.limits().statement_timeout.unwrap_or(STATEMENT_TIMEOUT)
    }

    /// SQL that prepares the transaction: its settings, its path with a guard, and the savepoint to which it returns.
    fn settings(&self) -> String {
        let path = self.tenancy.path(self.name.schema());
        // A policy would hide rows from a copy. Without row security, the copy fails instead.
        let row_security = if self.allow_data_loss { "SET LOCAL row_security TO off; " } else { "" };
        format!(
            "SET LOCAL lock_timeout TO '2s'; SET LOCAL statement_timeout TO {}; SET LOCAL check_function_bodies TO off; \
             SET LOCAL client_min_messages TO error; {row_security}{} {} DO {}; SAVEPOINT begun",
            self.timeout().as_millis(),
            structure::PINNED,
            path.set_for_transaction(),
            Literal(&format!("BEGIN {} END", path.guard())),
        )
    }

    /// Reads the tenant's structure in the caller's transaction.
    pub(super) fn read(&self, conn: &mut PgConnection, version: i32) -> Result<Structure, Error> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Oid)]
            oid: u32,
        }
        let dropped = || Error::cannot_compare(self.name, "the tenant was dropped during the comparison");
        let doing = Error::doing("read the structure of a schema");
        let row: Option<Row> = sql_query("SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1")
            .bind::<Text, _>(self.name.as_str())
            .get_result(conn)
            .optional()
            .map_err(&doing)?;
        let oid = row.ok_or_else(dropped)?.oid;
        let mut structures = structure::read_in_transaction(conn, version, &[oid]).map_err(&doing)?;
        structures.remove(&oid).ok_or_else(dropped)
    }
}
