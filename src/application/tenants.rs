//! The tenants of an application.

use std::fmt;
use std::sync::Arc;

use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool, PooledConnection};
use diesel::sql_types::Bool;

use super::maintenance::Maintenance;
use super::routing::{Location, LocationSource, Router};
use super::transaction::TenantEntry;
use super::{AccessError, EachError, MigrateError, Readiness, TransactionError};
use crate::error::Error;
use crate::model::{ServerName, State, TenantName};
use crate::operations::CreateError;
use crate::operations::migrate::{PublicReport, Report};
use crate::postgres::Connector;
use crate::tenants::Tenancy;
use crate::tenants::tracker::schema_tracker;

/// The connection pool of an application that uses Diesel.
pub type PgPool = Pool<ConnectionManager<PgConnection>>;

/// The tenants of an application. Cloning it is cheap, and the clones share the connection pool.
///
/// Transactions in a tenant's schema use the application's pool. Creation and migration open connections of their own with
/// a [`Connector`], which may log in as another role: the one that owns the tenants' schemas.
#[derive(Clone)]
pub struct Tenants {
    pool: PgPool,
    maintenance: Maintenance,
    router: Arc<Router>,
}

/// What [`Tenants::create_if_not_exists`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Creation {
    /// The tenant was created.
    Created,
    /// The tenant existed and was active.
    Existed,
}

/// What [`Tenants::migrate`] did.
#[derive(Debug)]
pub struct Migrated {
    /// The public migrations that were applied.
    pub public: PublicReport,
    /// The tenants that were brought up to date, and those that were up to date.
    pub tenants: Report,
}

impl Tenants {
    /// The tenants in the database of `pool`. `connector` opens connections to the same database to create and migrate them.
    pub fn new(pool: PgPool, connector: Connector, tenancy: Tenancy) -> Self {
        Self { pool, maintenance: Maintenance::new(connector, tenancy), router: Arc::default() }
    }

    /// Adds the pools of the servers of a fleet on several servers, by their names in the directory; the registry is one of
    /// them. Then [`with`](Self::with) runs on the server of the tenant. The pool given to [`new`](Self::new) is that of the
    /// registry, where the directory is read; if it gives no connection, the copy on another server is read.
    ///
    /// Creation and migration work on the registry only; on other servers, the command line does.
    #[must_use]
    pub fn with_servers(mut self, pools: impl IntoIterator<Item = (ServerName, PgPool)>) -> Self {
        let mut router = Router::default();
        pools.into_iter().for_each(|(server, pool)| router.add(&server, pool));
        self.router = Arc::new(router);
        self
    }

    /// The server of a tenant, with its pool. Locations are remembered until [`with`](Self::with) fails there, for example
    /// because the tenant has moved. Without [`with_servers`](Self::with_servers), the only server, and no query.
    ///
    /// # Errors
    /// [`AccessError::UnknownTenant`], [`AccessError::NoPool`], [`AccessError::Pool`] or [`AccessError::Database`].
    pub fn locate(&self, tenant: &TenantName) -> Result<Location, AccessError> {
        if self.router.is_empty() {
            return Ok(Location { server: None, epoch: 1, pool: self.pool.clone() });
        }
        self.router.locate(&self.pool, tenant).map(|(location, _)| location)
    }

    /// Sets how many connections [`migrate`](Self::migrate) uses for tenants; [`DEFAULT_JOBS`](crate::DEFAULT_JOBS) by default.
    #[must_use]
    pub fn with_jobs(mut self, jobs: usize) -> Self {
        self.maintenance.jobs = jobs;
        self
    }

    /// The application's pool.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// The migrations of the tenants and how they are run.
    pub fn tenancy(&self) -> &Tenancy {
        &self.maintenance.tenancy
    }

    /// Runs `work` in one transaction in the tenant's schema, on a connection of the pool, and commits if it returns `Ok`.
    ///
    /// Unqualified names in `work` resolve to the tenant's schema, then to the [extension
    /// schemas](Tenancy::extension_schemas). The search path is set for the transaction alone. `work` must not set it, must
    /// not end the transaction, and must not change settings of the session: the next user of the connection has them, too.
    ///
    /// If `work` panics, the transaction is rolled back and the connection is closed.
    ///
    /// # Errors
    /// [`TransactionError::Closure`] with the error of `work`. [`TransactionError::Access`] if no connection can be acquired,
    /// the tenant does not exist or is not active, or the transaction was not committed; see [`AccessError`].
    pub fn with<T, E>(
        &self,
        tenant: &TenantName,
        work: impl FnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, TransactionError<E>> {
        if self.router.is_empty() {
            let mut conn = self.connection()?;
            return self.with_connection(&mut conn, tenant, work);
        }
        self.routed(tenant, work)
    }

    /// Runs `work` on the server of the tenant. If the tenant is not where it was, looks it up again, once.
    fn routed<T, E>(
        &self,
        tenant: &TenantName,
        work: impl FnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, TransactionError<E>> {
        let mut work = Some(work);
        loop {
            let (location, source) = self.router.locate(&self.pool, tenant)?;
            let mut conn = location.pool.get().map_err(AccessError::Pool)?;
            // It is called at most once: the tenant is entered before.
            let result = self.with_connection(&mut conn, tenant, |conn| match work.take().map(|work| work(conn)) {
                Some(Ok(value)) => Ok(Some(value)),
                Some(Err(error)) => Err(Some(error)),
                None => Err(None),
            });
            if result.is_err() {
                self.router.forget(tenant);
            }
            return match result {
                Ok(Some(value)) => Ok(value),
                Err(TransactionError::Closure(Some(error))) => Err(TransactionError::Closure(error)),
                Err(TransactionError::Access(error)) if source == LocationSource::Cache && error.is_about_tenant() => {
                    continue;
                }
                Err(TransactionError::Access(error)) => Err(error.into()),
                Ok(None) | Err(TransactionError::Closure(None)) => Err(AccessError::Aborted.into()),
            };
        }
    }

    /// Like [`with`](Self::with), on a connection that the caller has. If the connection is in a transaction, such as
    /// Diesel's test transaction, `work` runs in a savepoint, and the search path is as before afterwards.
    ///
    /// # Errors
    /// As [`with`](Self::with), except for the pool's.
    pub fn with_connection<T, E>(
        &self,
        conn: &mut PgConnection,
        tenant: &TenantName,
        work: impl FnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, TransactionError<E>> {
        TenantEntry::new(self.tenancy(), tenant).run(conn, work)
    }

    /// Runs `work` for each active tenant, in the order of their names and each in a transaction of its own as
    /// [`with`](Self::with) does, and returns how many there were. All of them use one connection of each server. Skips tenants that are
    /// dropped in the meantime.
    ///
    /// # Errors
    /// [`EachError`] at the first tenant that fails. The transactions of earlier tenants are committed.
    pub fn each<E>(
        &self,
        mut work: impl FnMut(&TenantName, &mut PgConnection) -> Result<(), E>,
    ) -> Result<usize, EachError<E>> {
        let mut conn = self.connection().map_err(EachError::Names)?;
        let mut done = 0;
        let names = if self.router.is_empty() { names(&mut conn) } else { self.router.names(&mut conn) };
        for tenant in names.map_err(EachError::Names)? {
            let result = if self.router.is_empty() {
                self.with_connection(&mut conn, &tenant, |conn| work(&tenant, conn))
            } else {
                self.routed(&tenant, |conn| work(&tenant, conn))
            };
            match result {
                Ok(()) => done += 1,
                Err(TransactionError::Access(AccessError::UnknownTenant(_))) => {}
                Err(error) => return Err(EachError::Tenant { tenant, error }),
            }
        }
        Ok(done)
    }

    /// The names of the active tenants, sorted. Omits names that are not valid, which `health-check` reports.
    ///
    /// # Errors
    /// [`AccessError::Pool`] or [`AccessError::Database`].
    pub fn names(&self) -> Result<Vec<TenantName>, AccessError> {
        let mut conn = self.connection()?;
        if self.router.is_empty() { names(&mut conn) } else { self.router.names(&mut conn) }
    }

    /// Creates a tenant: its schema and everything that its migrations create.
    ///
    /// # Errors
    /// [`CreateError::Tenant`] with [`AlreadyTracked`](crate::TenantError::AlreadyTracked) if it exists, or with the
    /// migration that failed; [`CreateError::Database`] if nothing was attempted.
    pub fn create(&self, tenant: &TenantName) -> Result<(), CreateError> {
        self.maintenance.create(tenant)
    }

    /// Creates a tenant unless it exists. A tenant whose creation was interrupted is completed.
    ///
    /// # Errors
    /// As [`create`](Self::create), but not if the tenant exists.
    pub fn create_if_not_exists(&self, tenant: &TenantName) -> Result<Creation, CreateError> {
        self.maintenance.create_if_not_exists(tenant)
    }

    /// Applies the pending public migrations, and then the pending migrations of all tenants, while it holds the lock of the
    /// fleet. Several instances of an application may call it when they start: one of them migrates, and the others wait for
    /// up to [`busy_for`](crate::Limits::busy_for).
    ///
    /// # Errors
    /// [`MigrateError::Tenants`] if some tenants failed: the others are up to date. [`MigrateError::Database`] with
    /// [`Error::FleetLocked`] if another run holds the lock for longer, or with the reason why no tenant was migrated.
    pub fn migrate(&self) -> Result<Migrated, MigrateError> {
        self.maintenance.migrate()
    }

    /// Reads which migrations are pending, in one query for the tracker and one for each 500 tenants.
    ///
    /// # Errors
    /// Errors of the server.
    pub fn readiness(&self) -> Result<Readiness, Error> {
        self.maintenance.readiness()
    }

    /// Whether the database can be reached and no migration is pending, for a readiness probe.
    ///
    /// Until it was true once, or [`migrate`](Self::migrate) has succeeded, a call reads the [`readiness`](Self::readiness).
    /// Afterwards it is one query on a connection of the pool, for any number of tenants, and checks that the tracker exists.
    ///
    /// # Errors
    /// [`AccessError::Pool`] or [`AccessError::Database`] if the database cannot be reached, or [`AccessError::Check`].
    pub fn is_ready(&self) -> Result<bool, AccessError> {
        if !self.maintenance.was_up_to_date() {
            return self.maintenance.is_up_to_date();
        }
        let exists = sql::<Bool>("pg_catalog.to_regclass('public.schema_tracker') IS NOT NULL");
        diesel::select(exists).get_result(&mut self.connection()?).map_err(AccessError::Database)
    }

    fn connection(&self) -> Result<PooledConnection<ConnectionManager<PgConnection>>, AccessError> {
        self.pool.get().map_err(AccessError::Pool)
    }
}

impl fmt::Debug for Tenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenants").field("address", &self.maintenance.address()).finish_non_exhaustive()
    }
}

/// The names of the active tenants, sorted.
fn names(conn: &mut PgConnection) -> Result<Vec<TenantName>, AccessError> {
    let names: Vec<String> = schema_tracker::table
        .select(schema_tracker::name)
        .filter(schema_tracker::state.eq_any([State::Active, State::Moving].map(State::as_str)))
        .load(conn)
        .map_err(AccessError::Database)?;
    Ok(sorted(&names))
}

/// The valid names, sorted.
pub(super) fn sorted(names: &[String]) -> Vec<TenantName> {
    let mut names: Vec<TenantName> = names.iter().filter_map(|name| name.parse().ok()).collect();
    names.sort();
    names
}
