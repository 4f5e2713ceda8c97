//! A connection of the pool for the length of a transaction.

use diesel_async::pooled_connection::deadpool::Object;
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager};

use super::AsyncPgPool;
use crate::application::AccessError;

/// A connection of the pool. Unless it is released, it is closed when it is dropped: its transaction may be open, and an
/// answer of the server outstanding.
pub(super) struct Lease(Option<Object<AsyncPgConnection>>);

impl Lease {
    pub(super) async fn of(pool: &AsyncPgPool) -> Result<Self, AccessError> {
        pool.get().await.map(|conn| Self(Some(conn))).map_err(AccessError::AsyncPool)
    }

    pub(super) fn conn(&mut self) -> &mut AsyncPgConnection {
        self.0.as_mut().expect("a lease has its connection until it is released")
    }

    /// Returns the connection to the pool, unless its transaction could not be ended.
    pub(super) fn release(mut self) {
        if !AnsiTransactionManager::is_broken_transaction_manager(self.conn()) {
            drop(self.0.take());
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(conn) = self.0.take() {
            drop(Object::take(conn));
        }
    }
}
