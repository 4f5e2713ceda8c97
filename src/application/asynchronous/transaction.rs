//! One transaction in a tenant's schema, over diesel-async. The messages are those of [`TenantEntry`].

use diesel::connection::TransactionManagerStatus;
use diesel::dsl::sql;
use diesel::result::Error as DieselError;
use diesel::sql_types::Text;
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection, TransactionManager};

use crate::application::transaction::{PLAIN_END, TenantEntry, TransactionEnd};
use crate::application::{AccessError, TransactionError};
use crate::postgres::SchemaPath;

impl TenantEntry<'_> {
    /// Runs `work` in a transaction in the tenant's schema, or, if the connection is in a transaction already, in a savepoint
    /// after which the search path is as before. If the transaction cannot be ended, the connection is marked as broken.
    pub(super) async fn run_async<T, E, F>(
        &self,
        conn: &mut AsyncPgConnection,
        work: F,
    ) -> Result<T, TransactionError<E>>
    where
        F: AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, E>,
    {
        match depth(conn).map_err(AccessError::Database)? {
            0 => self.run_alone_async(conn, work).await,
            _ => self.run_nested_async(conn, work).await,
        }
    }

    async fn run_alone_async<T, E, F>(&self, conn: &mut AsyncPgConnection, work: F) -> Result<T, TransactionError<E>>
    where
        F: AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, E>,
    {
        if let Err(error) = AnsiTransactionManager::begin_transaction_sql(conn, &self.begin()).await {
            roll_back(conn, &PLAIN_END).await;
            return Err(self.refusal(error).into());
        }
        match work(conn).await {
            Ok(value) => commit(conn, &PLAIN_END).await.map(|()| value).map_err(TransactionError::Access),
            Err(error) => {
                // If this fails, Diesel marks the connection.
                let _ = AnsiTransactionManager::rollback_transaction(conn).await;
                Err(TransactionError::Closure(error))
            }
        }
    }

    async fn run_nested_async<T, E, F>(&self, conn: &mut AsyncPgConnection, work: F) -> Result<T, TransactionError<E>>
    where
        F: AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, E>,
    {
        AnsiTransactionManager::begin_transaction(conn).await.map_err(AccessError::Database)?;
        match self.run_in_savepoint_async(conn, work).await {
            Ok(value) => {
                AnsiTransactionManager::commit_transaction(conn).await.map_err(AccessError::Commit)?;
                Ok(value)
            }
            Err(error) => {
                // It also restores the search path.
                let _ = AnsiTransactionManager::rollback_transaction(conn).await;
                Err(error)
            }
        }
    }

    async fn run_in_savepoint_async<T, E, F>(
        &self,
        conn: &mut AsyncPgConnection,
        work: F,
    ) -> Result<T, TransactionError<E>>
    where
        F: AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, E>,
    {
        let before: String =
            diesel::select(sql::<Text>(SchemaPath::CURRENT)).get_result(conn).await.map_err(AccessError::Database)?;
        conn.batch_execute(&self.enter()).await.map_err(|error| self.refusal(error))?;
        let value = work(conn).await.map_err(TransactionError::Closure)?;
        conn.batch_execute(&SchemaPath::restore(&before)).await.map_err(AccessError::Database)?;
        Ok(value)
    }
}

/// How many transactions and savepoints of Diesel's are open.
pub(super) fn depth(conn: &mut AsyncPgConnection) -> Result<u32, DieselError> {
    let status = AnsiTransactionManager::transaction_manager_status_mut(conn);
    Ok(status.transaction_depth()?.map_or(0, Into::into))
}

/// Commits the transaction that is open on the connection, unless it was aborted or ended.
pub(super) async fn commit(conn: &mut AsyncPgConnection, end: &TransactionEnd) -> Result<(), AccessError> {
    if depth(conn).map_err(AccessError::Commit)? != 1 {
        // The closure ended the transaction, or left a savepoint of its own open.
        roll_back(conn, end).await;
        return Err(AccessError::Aborted);
    }
    let Err(error) = conn.batch_execute(end.commit).await else {
        // Diesel does not know that this was a COMMIT.
        *AnsiTransactionManager::transaction_manager_status_mut(conn) = TransactionManagerStatus::default();
        return Ok(());
    };
    // A failed COMMIT has ended the transaction. What failed before it has not.
    let is_aborted = is_aborted(conn).await;
    roll_back(conn, end).await;
    if is_aborted { Err(AccessError::Aborted) } else { Err(AccessError::Commit(error)) }
}

/// Ends the transaction, if one is open, or marks the connection as broken.
pub(super) async fn roll_back(conn: &mut AsyncPgConnection, end: &TransactionEnd) {
    let ended = conn.batch_execute(end.roll_back).await;
    *AnsiTransactionManager::transaction_manager_status_mut(conn) = match ended {
        Ok(()) => TransactionManagerStatus::default(),
        Err(_) => TransactionManagerStatus::InError,
    };
}

/// Whether the server rejects every statement until the end of the transaction.
async fn is_aborted(conn: &mut AsyncPgConnection) -> bool {
    let rejected = conn.batch_execute("SELECT 1").await;
    rejected.is_err_and(|error| matches!(error, DieselError::DatabaseError(kind, _) if !is_connection_lost(&kind)))
}

fn is_connection_lost(kind: &diesel::result::DatabaseErrorKind) -> bool {
    matches!(
        kind,
        diesel::result::DatabaseErrorKind::ClosedConnection | diesel::result::DatabaseErrorKind::UnableToSendCommand
    )
}
