//! Transactions for one tenant of those that share tables, over diesel-async.

use std::fmt;

use diesel::connection::TransactionManagerStatus;
use diesel::result::QueryResult;
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, RunQueryDsl, TransactionManager};

use super::AsyncPgPool;
use super::lease::Lease;
use super::transaction::{commit, depth, roll_back};
use crate::application::rows::{RESETTING_END, begin, refusal};
use crate::application::{AccessError, RowTenancy, TransactionError};
use crate::model::TenantId;
use crate::rows::{ContextKey, TransactionIdentity};

/// Tenants that share tables, for an application that uses diesel-async: as [`RowTenancy`]. Cloning it is cheap, and the
/// clones share the connection pool.
#[derive(Clone)]
pub struct AsyncRowTenancy {
    pool: AsyncPgPool,
    tenancy: RowTenancy,
}

impl AsyncRowTenancy {
    /// Transactions on connections of the pool, with contexts that are signed with this key.
    pub fn new(pool: AsyncPgPool, key: ContextKey) -> Self {
        Self { pool, tenancy: RowTenancy::new(key) }
    }

    /// Transactions whose tenant is only a setting, like [`RowTenancy::unsigned`].
    pub fn unsigned(pool: AsyncPgPool) -> Self {
        Self { pool, tenancy: RowTenancy::unsigned() }
    }

    /// The application's pool.
    pub fn pool(&self) -> &AsyncPgPool {
        &self.pool
    }

    /// Runs `work` in one transaction for a tenant, on a connection of the pool, and commits if it returns `Ok`. Afterwards
    /// the session is reset, as [`RowTenancy::with_tenant`] describes.
    ///
    /// If the future is dropped before it is complete, as when a request is cancelled, or if `work` panics, the connection is
    /// closed and the transaction is rolled back.
    ///
    /// # Errors
    /// As [`RowTenancy::with_tenant`], or [`AccessError::AsyncPool`].
    pub async fn with_tenant<T, E, F>(&self, tenant: impl Into<TenantId>, work: F) -> Result<T, TransactionError<E>>
    where
        F: AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, E>,
    {
        let mut lease = Lease::of(&self.pool).await?;
        let result = self.with_connection(lease.conn(), tenant, work).await;
        lease.release();
        result
    }

    /// Like [`with_tenant`](Self::with_tenant), on a connection that the caller has.
    ///
    /// If the future is dropped before it is complete, the connection is in a transaction and must be closed, which the pools
    /// of diesel-async do.
    ///
    /// # Errors
    /// As [`RowTenancy::with_tenant`].
    pub async fn with_connection<T, E, F>(
        &self,
        conn: &mut AsyncPgConnection,
        tenant: impl Into<TenantId>,
        work: F,
    ) -> Result<T, TransactionError<E>>
    where
        F: AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, E>,
    {
        if depth(conn).map_err(AccessError::Database)? > 0 {
            return Err(AccessError::OpenTransaction.into());
        }
        if let Err(error) = self.begin(conn, tenant.into()).await {
            let error = refusal(error);
            match &error {
                // The transaction is the caller's. It is aborted, and a pool closes the connection.
                AccessError::OpenTransaction => {
                    *AnsiTransactionManager::transaction_manager_status_mut(conn) = TransactionManagerStatus::InError;
                }
                _ => roll_back(conn, &RESETTING_END).await,
            }
            return Err(error.into());
        }
        match work(conn).await {
            Ok(value) => match commit(conn, &RESETTING_END).await {
                Ok(()) => Ok(value),
                Err(error) => {
                    roll_back(conn, &RESETTING_END).await;
                    Err(error.into())
                }
            },
            Err(error) => {
                roll_back(conn, &RESETTING_END).await;
                Err(TransactionError::Closure(error))
            }
        }
    }

    async fn begin(&self, conn: &mut AsyncPgConnection, tenant: TenantId) -> QueryResult<()> {
        AnsiTransactionManager::begin_transaction_sql(conn, &begin()).await?;
        let identity: Option<TransactionIdentity> =
            if self.tenancy.is_signed() { Some(TransactionIdentity::query().get_result(conn).await?) } else { None };
        self.tenancy.context_statement(identity, tenant).execute(conn).await.map(|_| ())
    }
}

impl fmt::Debug for AsyncRowTenancy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncRowTenancy").field("tenancy", &self.tenancy).finish_non_exhaustive()
    }
}
