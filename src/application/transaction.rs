//! One transaction in a tenant's schema.
//!
//! The message that begins it also sets the search path and checks that the tenant is active and that the path leads to its
//! schema, so that it costs no round trip more than `BEGIN`. The path ends with the transaction, also behind a transaction
//! pooler.

use diesel::RunQueryDsl;
use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::result::Error as DieselError;
use diesel::sql_types::Text;

use super::{AccessError, TransactionError};
use crate::model::{State, TenantName};
use crate::postgres::path::WRONG_SCHEMA;
use crate::postgres::{SchemaPath, ServerMessage, fail_with};
use crate::sql::quote::Literal;
use crate::tenants::Tenancy;

/// What precedes the state of a tenant that is not active in the error of [`TenantEntry::enter`]. A bracket follows the state, which
/// is empty if the tenant is not tracked.
const NOT_ACTIVE: &str = "tenantry: the tenant is not active [";

/// The messages that end a transaction.
pub(super) struct TransactionEnd {
    /// Commits, or fails if the transaction is aborted or has ended. By itself, `COMMIT` succeeds in both cases.
    pub(super) commit: &'static str,
    /// Rolls back, if a transaction is open.
    pub(super) roll_back: &'static str,
}

/// The end of a transaction that leaves the session unchanged.
pub(super) const PLAIN_END: TransactionEnd =
    TransactionEnd { commit: "SAVEPOINT tenantry; COMMIT", roll_back: "ROLLBACK" };

/// The entry into a tenant's schema.
pub(super) struct TenantEntry<'a> {
    tenancy: &'a Tenancy,
    tenant: &'a TenantName,
}

impl<'a> TenantEntry<'a> {
    pub(super) fn new(tenancy: &'a Tenancy, tenant: &'a TenantName) -> Self {
        Self { tenancy, tenant }
    }

    /// Sets the search path for the rest of the transaction, and fails unless the tenant is active and its schema exists.
    pub(super) fn enter(&self) -> String {
        let path = self.tenancy.path(self.tenant.schema());
        let (active, tenant) = (Literal(State::Active.as_str()), Literal(self.tenant.as_str()));
        // A tenant is in use until it has moved to another server.
        let moving = Literal(State::Moving.as_str());
        let reason = format!(
            "CASE \
             WHEN found.state IS DISTINCT FROM {active}::pg_catalog.text THEN \
                pg_catalog.concat('{NOT_ACTIVE}'::pg_catalog.text, found.state, ']'::pg_catalog.text) \
             WHEN pg_catalog.current_schema() IS DISTINCT FROM {tenant}::pg_catalog.name THEN '{WRONG_SCHEMA}' \
             END"
        );
        format!(
            "{path} SELECT {failure} \
             FROM (SELECT (SELECT CASE WHEN t.state OPERATOR(pg_catalog.=) {moving}::pg_catalog.text AND t.archived_at IS NULL \
                THEN {active}::pg_catalog.text ELSE t.state END FROM public.schema_tracker AS t \
                WHERE t.name OPERATOR(pg_catalog.=) {tenant}::pg_catalog.text) AS state) AS found",
            path = path.set_for_transaction(),
            failure = fail_with(&reason),
        )
    }

    /// The message that begins the transaction.
    pub(super) fn begin(&self) -> String {
        format!("BEGIN; {}", self.enter())
    }

    /// Why the tenant cannot be entered.
    pub(super) fn refusal(&self, error: DieselError) -> AccessError {
        let message = ServerMessage::from(&error).message;
        let state = message.split_once(NOT_ACTIVE).and_then(|(_, rest)| rest.split_once(']')).map(|(state, _)| state);
        match state {
            Some("") => AccessError::UnknownTenant(self.tenant.clone()),
            Some(state) if state == State::Archived.as_str() => AccessError::Archived(self.tenant.clone()),
            Some(state) => AccessError::NotActive { tenant: self.tenant.clone(), state: state.to_owned() },
            None if message.contains(WRONG_SCHEMA) => AccessError::SchemaMissing(self.tenant.clone()),
            None => AccessError::Database(error),
        }
    }

    /// Runs `work` in a transaction in the tenant's schema, or, if the connection is in a transaction already, in a savepoint
    /// after which the search path is as before.
    pub(super) fn run<T, E>(
        &self,
        conn: &mut PgConnection,
        work: impl FnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, TransactionError<E>> {
        match depth(conn).map_err(AccessError::Database)? {
            0 => self.run_alone(conn, work),
            _ => self.run_nested(conn, work),
        }
    }

    fn run_alone<T, E>(
        &self,
        conn: &mut PgConnection,
        work: impl FnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, TransactionError<E>> {
        if let Err(error) = AnsiTransactionManager::begin_transaction_sql(conn, &self.begin()) {
            // The server has begun the transaction. If this fails, the connection is broken and Diesel marks it.
            let _ = conn.batch_execute("ROLLBACK");
            return Err(self.refusal(error).into());
        }
        match work(conn) {
            Ok(value) => commit(conn, &PLAIN_END).map(|()| value).map_err(TransactionError::Access),
            Err(error) => {
                // If this fails, the connection is broken, and the server rolls back.
                let _ = AnsiTransactionManager::rollback_transaction(conn);
                Err(TransactionError::Closure(error))
            }
        }
    }

    fn run_nested<T, E>(
        &self,
        conn: &mut PgConnection,
        work: impl FnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, TransactionError<E>> {
        AnsiTransactionManager::begin_transaction(conn).map_err(AccessError::Database)?;
        match self.run_in_savepoint(conn, work) {
            Ok(value) => {
                AnsiTransactionManager::commit_transaction(conn).map_err(AccessError::Commit)?;
                Ok(value)
            }
            Err(error) => {
                // It also restores the search path.
                let _ = AnsiTransactionManager::rollback_transaction(conn);
                Err(error)
            }
        }
    }

    fn run_in_savepoint<T, E>(
        &self,
        conn: &mut PgConnection,
        work: impl FnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, TransactionError<E>> {
        let before: String =
            diesel::select(sql::<Text>(SchemaPath::CURRENT)).get_result(conn).map_err(AccessError::Database)?;
        conn.batch_execute(&self.enter()).map_err(|error| self.refusal(error))?;
        let value = work(conn).map_err(TransactionError::Closure)?;
        conn.batch_execute(&SchemaPath::restore(&before)).map_err(AccessError::Database)?;
        Ok(value)
    }
}

/// How many transactions and savepoints of Diesel's are open.
pub(super) fn depth(conn: &mut PgConnection) -> Result<u32, DieselError> {
    let status = AnsiTransactionManager::transaction_manager_status_mut(conn);
    Ok(status.transaction_depth()?.map_or(0, Into::into))
}

/// Commits the transaction that is open on the connection, unless it was aborted or ended.
pub(super) fn commit(conn: &mut PgConnection, end: &TransactionEnd) -> Result<(), AccessError> {
    if depth(conn).map_err(AccessError::Commit)? != 1 {
        // The closure ended the transaction, or left a savepoint of its own open.
        let _ = conn.batch_execute(end.roll_back);
        return Err(AccessError::Aborted);
    }
    let Err(error) = conn.batch_execute(end.commit) else { return Ok(()) };
    // A failed COMMIT has ended the transaction. What failed before it has not.
    match depth(conn) {
        Ok(0) | Err(_) => Err(AccessError::Commit(error)),
        Ok(_) => {
            let _ = conn.batch_execute(end.roll_back);
            Err(AccessError::Aborted)
        }
    }
}
