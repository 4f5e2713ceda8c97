//! Transactions in which the application works for one tenant of those that share tables.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::result::Error as DieselError;
use diesel::sql_query;
use diesel::sql_types::Text;

use super::transaction::{TransactionEnd, commit, depth};
use super::{AccessError, TransactionError};
use crate::model::TenantId;
use crate::postgres::{ServerMessage, fail_with};
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

/// SQL that resets the session.
macro_rules! reset_session {
    () => {
        "CLOSE ALL; UNLISTEN *; DISCARD TEMP; DISCARD SEQUENCES; RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; \
         SELECT pg_catalog.pg_advisory_unlock_all(); SET TIME ZONE 'UTC'; SET CLIENT_ENCODING TO 'UTF8'"
    };
}

/// The end of a transaction, with a reset of what it can leave in the session for the next user of the connection. A message
/// is executed by one session, also behind a transaction pooler.
///
/// `DISCARD ALL` would also drop the prepared statements that Diesel has cached. Diesel sets the last two settings when it
/// connects.
pub(super) const RESETTING_END: TransactionEnd = TransactionEnd {
    commit: concat!("SAVEPOINT tenantry; COMMIT; ", reset_session!()),
    roll_back: concat!("ROLLBACK; ", reset_session!()),
};

/// What the server reports if the connection was in a transaction before [`begin`].
const OPEN_TRANSACTION: &str = "tenantry: a transaction is open";

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
    /// tables and advisory locks of the session are reset. Settings that the application made when it connected are reset,
    /// too, but for the time zone and the encoding, which Diesel sets: put others into the URL, or attach them to the role.
    /// `work` must not end the transaction.
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
        if let Err(error) = self.begin(conn, tenant.into()) {
            let error = refusal(error);
            match &error {
                // The transaction is the caller's. It is aborted, and a pool closes the connection.
                AccessError::OpenTransaction => {
                    AnsiTransactionManager::transaction_manager_status_mut(conn).set_in_error();
                }
                _ => roll_back(conn),
            }
            return Err(error.into());
        }
        match catch_unwind(AssertUnwindSafe(|| work(conn))) {
            Ok(Ok(value)) => match commit(conn, &RESETTING_END) {
                Ok(()) => Ok(value),
                Err(error) => {
                    roll_back(conn);
                    Err(error.into())
                }
            },
            Ok(Err(error)) => {
                roll_back(conn);
                Err(TransactionError::Closure(error))
            }
            Err(panic) => {
                roll_back(conn);
                resume_unwind(panic)
            }
        }
    }

    fn begin(&self, conn: &mut PgConnection, tenant: TenantId) -> QueryResult<()> {
        AnsiTransactionManager::begin_transaction_sql(conn, &begin())?;
        let identity = if self.is_signed() { Some(TransactionIdentity::query().get_result(conn)?) } else { None };
        self.context_statement(identity, tenant).execute(conn).map(|_| ())
    }

    /// Whether contexts are signed.
    pub(super) fn is_signed(&self) -> bool {
        self.key.is_some()
    }

    /// The statement that sets the context of a transaction. Contexts that are signed need the transaction's identity.
    pub(super) fn context_statement(
        &self,
        transaction: Option<TransactionIdentity>,
        tenant: TenantId,
    ) -> BoxedSqlQuery<'static, Pg, SqlQuery> {
        let set = |parts: &str| sql_query(format!("SELECT {parts}")).into_boxed::<Pg>();
        let tenant_part = format!("pg_catalog.set_config('{TENANT_SETTING}', $1, true)");
        match (&self.key, transaction) {
            (Some(key), Some(transaction)) => {
                let context = key.sign(&transaction, tenant);
                set(&format!("{tenant_part}, pg_catalog.set_config('{CONTEXT_SETTING}', $2, true)"))
                    .bind::<Text, _>(tenant.to_string())
                    .bind::<Text, _>(context)
            }
            _ => set(&tenant_part).bind::<Text, _>(tenant.to_string()),
        }
    }
}

/// The message that begins a transaction, and fails if one is open: in it, `BEGIN` has no effect, so that the transaction
/// is older than the message. Diesel does not know of transactions that SQL began.
pub(super) fn begin() -> String {
    let reason = format!(
        "CASE WHEN pg_catalog.transaction_timestamp() OPERATOR(pg_catalog.<>) pg_catalog.statement_timestamp() \
         THEN '{OPEN_TRANSACTION}' END"
    );
    format!("BEGIN; SELECT {}", fail_with(&reason))
}

/// Why a transaction did not begin.
pub(super) fn refusal(error: DieselError) -> AccessError {
    match ServerMessage::from(&error).message.contains(OPEN_TRANSACTION) {
        true => AccessError::OpenTransaction,
        false => AccessError::Database(error),
    }
}

/// Rolls back and resets the session, or marks the connection as broken, so that a pool closes it.
fn roll_back(conn: &mut PgConnection) {
    if conn.batch_execute(RESETTING_END.roll_back).is_err() {
        AnsiTransactionManager::transaction_manager_status_mut(conn).set_in_error();
    }
}
