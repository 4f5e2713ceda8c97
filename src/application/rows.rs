//! Transactions in which the application works for one tenant of those that share tables.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Integer, Text};

use super::transaction::{commit, depth};
use super::{AccessError, TransactionError};
use crate::model::TenantId;
use crate::rows::{CONTEXT_SETTING, ContextKey, TENANT_SETTING, TransactionIdentity};

/// Tenants that share tables. Each transaction works for one of them: row-level security shows it that tenant's rows, and
/// new rows belong to that tenant.
///
/// With a key, each transaction has a signed context, which SQL that runs as the application's role cannot forge.
///
/// ```no_run
/// use diesel::prelude::*;
/// use tenantry::rows::ContextKey;
/// use tenantry::{RowTenancy, TenantId};
///
/// diesel::table! {
///     items (id) { id -> BigInt, title -> Text }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key: ContextKey = std::env::var("TENANTRY_CONTEXT_KEY")?.parse()?;
/// let tenancy = RowTenancy::new(key);
/// let mut conn = PgConnection::establish(&std::env::var("DATABASE_URL")?)?;
/// let titles: Vec<String> = tenancy.with_tenant(&mut conn, 42, |conn| items::table.select(items::title).load(conn))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RowTenancy {
    key: Option<ContextKey>,
}

/// Resets what a transaction can leave in the session for the next user of the connection. `DISCARD ALL` would also drop the
/// prepared statements that Diesel has cached.
const RESET_SESSION: &str = "CLOSE ALL; UNLISTEN *; DISCARD TEMP; DISCARD SEQUENCES; RESET ALL; \
                       SELECT pg_catalog.pg_advisory_unlock_all()";

impl RowTenancy {
    /// Transactions with contexts that are signed with this key.
    pub fn new(key: ContextKey) -> Self {
        Self { key: Some(key) }
    }

    /// Transactions whose tenant is only a setting. SQL that runs as the application's role can change it; use it where the
    /// database was set up without signed contexts.
    pub fn unsigned() -> Self {
        Self { key: None }
    }

    /// Runs `work` in one transaction for a tenant, and commits if it returns `Ok`.
    ///
    /// Whether `work` returns, fails or panics, the transaction ends, and with it the context. Settings, cursors, temporary
    /// tables and advisory locks of the session are reset. `work` must not end the transaction.
    ///
    /// # Errors
    /// [`TransactionError::Closure`] with the error of `work`. [`TransactionError::Access`] with
    /// [`AccessError::OpenTransaction`] if the connection is in a transaction, as one transaction has one tenant;
    /// [`AccessError::Aborted`] if `work` ended the transaction; or the server's error.
    pub fn with_tenant<T, E>(
        &self,
        conn: &mut PgConnection,
        tenant: impl Into<TenantId>,
        work: impl FnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, TransactionError<E>> {
        if depth(conn).map_err(AccessError::Database)? > 0 {
            return Err(AccessError::OpenTransaction.into());
        }
        let result = self
            .begin(conn, tenant.into())
            .map_err(|error| TransactionError::Access(AccessError::Database(error)))
            .and_then(|()| match catch_unwind(AssertUnwindSafe(|| work(conn))) {
                Ok(result) => result.map_err(TransactionError::Closure),
                Err(panic) => {
                    roll_back(conn);
                    resume_unwind(panic)
                }
            });
        match result {
            Ok(value) => {
                let committed = commit(conn);
                reset_session(conn);
                committed.map(|()| value).map_err(TransactionError::Access)
            }
            Err(error) => {
                roll_back(conn);
                Err(error)
            }
        }
    }

    fn begin(&self, conn: &mut PgConnection, tenant: TenantId) -> QueryResult<()> {
        AnsiTransactionManager::begin_transaction_sql(conn, "BEGIN")?;
        let setting = |name: &'static str| sql::<Text>("pg_catalog.set_config(").bind::<Text, _>(name).sql(", ");
        let tenant_setting = setting(TENANT_SETTING).bind::<Text, _>(tenant.to_string()).sql(", true)");
        match &self.key {
            None => diesel::select(tenant_setting).get_result::<String>(conn).map(|_| ()),
            Some(key) => {
                let context = key.sign(&identity(conn)?, tenant);
                let context_setting = setting(CONTEXT_SETTING).bind::<Text, _>(context).sql(", true)");
                diesel::select((tenant_setting, context_setting)).get_result::<(String, String)>(conn).map(|_| ())
            }
        }
    }
}

fn identity(conn: &mut PgConnection) -> QueryResult<TransactionIdentity> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        role: String,
        #[diesel(sql_type = Integer)]
        pid: i32,
        #[diesel(sql_type = BigInt)]
        started: i64,
    }
    let row: Row = sql_query(
        "SELECT session_user::pg_catalog.text AS role, pg_catalog.pg_backend_pid() AS pid, \
         (extract(epoch FROM pg_catalog.transaction_timestamp()) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8 AS started",
    )
    .get_result(conn)?;
    Ok(TransactionIdentity { role: row.role, pid: row.pid, started: row.started })
}

/// Rolls back and resets the session.
fn roll_back(conn: &mut PgConnection) {
    if depth(conn).is_ok_and(|depth| depth > 0) {
        // If this fails, the connection is broken and Diesel marks it.
        let _ = AnsiTransactionManager::rollback_transaction(conn);
    }
    reset_session(conn);
}

/// Resets the session, or marks the connection as broken, so that a pool closes it.
fn reset_session(conn: &mut PgConnection) {
    if conn.batch_execute(RESET_SESSION).is_err() {
        AnsiTransactionManager::transaction_manager_status_mut(conn).set_in_error();
    }
}
