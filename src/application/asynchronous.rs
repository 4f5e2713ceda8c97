//! The tenants of an application that uses diesel-async.

mod lease;
mod rows;
mod transaction;

use std::fmt;
use std::panic;

use diesel::dsl::sql;
use diesel::sql_types::Bool;
use diesel::{ExpressionMethods, QueryDsl};
use diesel_async::pooled_connection::deadpool::Pool;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use self::lease::Lease;
use super::maintenance::Maintenance;
use super::tenants::sorted;
use super::transaction::TenantEntry;
use super::{AccessError, Creation, EachError, MigrateError, Migrated, Readiness, TransactionError};
use crate::error::Error;
use crate::model::{State, TenantName};
use crate::operations::CreateError;
use crate::postgres::Connector;
use crate::tenants::Tenancy;
use crate::tenants::tracker::schema_tracker;

pub use rows::AsyncRowTenancy;

/// The connection pool of an application that uses diesel-async with deadpool.
pub type AsyncPgPool = Pool<AsyncPgConnection>;

/// The tenants of an application that uses diesel-async. Cloning it is cheap, and the clones share the connection pool.
///
/// Transactions in a tenant's schema use the application's pool. Creation and migration run on threads for blocking work,
/// over connections of their own. The functions must be called in a Tokio runtime.
#[derive(Clone)]
pub struct AsyncTenants {
    pool: AsyncPgPool,
    maintenance: Maintenance,
}

impl AsyncTenants {
    /// The tenants in the database of `pool`. `connector` opens connections to the same database to create and migrate them.
    pub fn new(pool: AsyncPgPool, connector: Connector, tenancy: Tenancy) -> Self {
        Self { pool, maintenance: Maintenance::new(connector, tenancy) }
    }

    /// Sets how many connections [`migrate`](Self::migrate) uses for tenants; [`DEFAULT_JOBS`](crate::DEFAULT_JOBS) by
    /// default.
    #[must_use]
    pub fn with_jobs(mut self, jobs: usize) -> Self {
        self.maintenance.jobs = jobs;
        self
    }

    /// The application's pool.
    pub fn pool(&self) -> &AsyncPgPool {
        &self.pool
    }

    /// The migrations of the tenants and how they are run.
    pub fn tenancy(&self) -> &Tenancy {
        &self.maintenance.tenancy
    }

    /// Runs `work` in one transaction in the tenant's schema, on a connection of the pool, and commits if it returns `Ok`.
    /// [`Tenants::with`](super::Tenants::with) describes what `work` may do.
    ///
    /// If the future is dropped before it is complete, as when a request is cancelled, or if `work` panics, the connection is
    /// closed and the transaction is rolled back.
    ///
    /// # Errors
    /// As [`Tenants::with`](super::Tenants::with).
    pub async fn with<T, E, F>(&self, tenant: &TenantName, work: F) -> Result<T, TransactionError<E>>
    where
        F: AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, E>,
    {
        let mut lease = Lease::of(&self.pool).await?;
        let result = self.with_connection(lease.conn(), tenant, work).await;
        lease.release();
        result
    }

    /// Like [`with`](Self::with), on a connection that the caller has. If the connection is in a transaction, such as
    /// Diesel's test transaction, `work` runs in a savepoint, and the search path is as before afterwards.
    ///
    /// If the future is dropped before it is complete, the connection is in a transaction and must be closed, which the pools
    /// of diesel-async do.
    ///
    /// # Errors
    /// As [`with`](Self::with), except for the pool's.
    pub async fn with_connection<T, E, F>(
        &self,
        conn: &mut AsyncPgConnection,
        tenant: &TenantName,
        work: F,
    ) -> Result<T, TransactionError<E>>
    where
        F: AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, E>,
    {
        TenantEntry::new(self.tenancy(), tenant).run_async(conn, work).await
    }

    /// Runs `work` for each active tenant, in the order of their names and each in a transaction of its own as
    /// [`with`](Self::with) does, and returns how many there were. All of them use one connection. Skips tenants that are
    /// dropped in the meantime.
    ///
    /// # Errors
    /// [`EachError`] at the first tenant that fails. The transactions of earlier tenants are committed.
    pub async fn each<E, F>(&self, mut work: F) -> Result<usize, EachError<E>>
    where
        F: AsyncFnMut(&TenantName, &mut AsyncPgConnection) -> Result<(), E>,
    {
        let mut lease = Lease::of(&self.pool).await.map_err(EachError::Names)?;
        let mut done = 0;
        for tenant in names(lease.conn()).await.map_err(EachError::Names)? {
            match self.with_connection(lease.conn(), &tenant, async |conn| work(&tenant, conn).await).await {
                Ok(()) => done += 1,
                Err(TransactionError::Access(AccessError::UnknownTenant(_))) => {}
                Err(error) => {
                    lease.release();
                    return Err(EachError::Tenant { tenant, error });
                }
            }
        }
        lease.release();
        Ok(done)
    }

    /// The names of the active tenants, sorted. Omits names that are not valid, which `health-check` reports.
    ///
    /// # Errors
    /// [`AccessError::AsyncPool`] or [`AccessError::Database`].
    pub async fn names(&self) -> Result<Vec<TenantName>, AccessError> {
        names(&mut *self.pool.get().await.map_err(AccessError::AsyncPool)?).await
    }

    /// Creates a tenant, like [`Tenants::create`](super::Tenants::create). It is completed even if the future is dropped.
    ///
    /// # Errors
    /// As [`Tenants::create`](super::Tenants::create).
    pub async fn create(&self, tenant: &TenantName) -> Result<(), CreateError> {
        let (maintenance, tenant) = (self.maintenance.clone(), tenant.clone());
        off_thread(move || maintenance.create(&tenant)).await
    }

    /// Creates a tenant unless it exists, like [`Tenants::create_if_not_exists`](super::Tenants::create_if_not_exists). It
    /// is completed even if the future is dropped.
    ///
    /// # Errors
    /// As [`Tenants::create_if_not_exists`](super::Tenants::create_if_not_exists).
    pub async fn create_if_not_exists(&self, tenant: &TenantName) -> Result<Creation, CreateError> {
        let (maintenance, tenant) = (self.maintenance.clone(), tenant.clone());
        off_thread(move || maintenance.create_if_not_exists(&tenant)).await
    }

    /// Applies all pending migrations, like [`Tenants::migrate`](super::Tenants::migrate). It is completed even if the future
    /// is dropped.
    ///
    /// # Errors
    /// As [`Tenants::migrate`](super::Tenants::migrate).
    pub async fn migrate(&self) -> Result<Migrated, MigrateError> {
        let maintenance = self.maintenance.clone();
        off_thread(move || maintenance.migrate()).await
    }

    /// Reads which migrations are pending, like [`Tenants::readiness`](super::Tenants::readiness).
    ///
    /// # Errors
    /// Errors of the server.
    pub async fn readiness(&self) -> Result<Readiness, Error> {
        let maintenance = self.maintenance.clone();
        off_thread(move || maintenance.readiness()).await
    }

    /// Whether the database can be reached and no migration is pending, like
    /// [`Tenants::is_ready`](super::Tenants::is_ready).
    ///
    /// # Errors
    /// As [`Tenants::is_ready`](super::Tenants::is_ready).
    pub async fn is_ready(&self) -> Result<bool, AccessError> {
        if !self.maintenance.was_up_to_date() {
            let maintenance = self.maintenance.clone();
            return off_thread(move || maintenance.is_up_to_date()).await;
        }
        let mut conn = self.pool.get().await.map_err(AccessError::AsyncPool)?;
        let exists = sql::<Bool>("pg_catalog.to_regclass('public.schema_tracker') IS NOT NULL");
        diesel::select(exists).get_result(&mut conn).await.map_err(AccessError::Database)
    }
}

impl fmt::Debug for AsyncTenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncTenants").field("address", &self.maintenance.address()).finish_non_exhaustive()
    }
}

/// The names of the active tenants, sorted.
async fn names(conn: &mut AsyncPgConnection) -> Result<Vec<TenantName>, AccessError> {
    let names: Vec<String> = schema_tracker::table
        .select(schema_tracker::name)
        .filter(schema_tracker::state.eq_any([State::Active, State::Moving].map(State::as_str)))
        .load(conn)
        .await
        .map_err(AccessError::Database)?;
    Ok(sorted(&names))
}

/// Runs blocking work on a thread for it. The work is completed even if the future is dropped.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => panic::resume_unwind(panic),
            Err(error) => panic!("the runtime was shut down: {error}"),
        },
    }
}
