//! Errors of [`Tenants`](super::Tenants).

use diesel::r2d2::PoolError;
use diesel::result::Error as DieselError;

use crate::error::{Error, FailedTenant};
use crate::model::{ServerName, TenantName};
use crate::operations::migrate::Report;

/// Why a tenant cannot be accessed, or why its transaction was not committed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// The tracker has no tenant with this name. Names that differ in case are different.
    #[error("tenant {0} does not exist")]
    UnknownTenant(TenantName),
    /// The tenant is being created or dropped.
    #[error("tenant {tenant} is not active (state: {state})")]
    NotActive {
        /// The tenant.
        tenant: TenantName,
        /// Its state in the tracker.
        state: String,
    },
    /// The tenant is archived: out of service until it is unarchived.
    #[error("tenant {0} is archived")]
    Archived(TenantName),
    /// The tenant's schema does not exist, or the connected role has no `USAGE` privilege on it.
    #[error("the schema of tenant {0} does not exist, or this role may not use it")]
    SchemaMissing(TenantName),
    /// The tenant is on a server for which the application has no pool.
    #[error("there is no connection pool for server {0}")]
    NoPool(ServerName),
    /// No connection of the pool can be acquired.
    #[error("no database connection can be acquired from the pool")]
    Pool(#[source] PoolError),
    /// No connection of the asynchronous pool can be acquired.
    #[cfg(feature = "async")]
    #[error("no database connection can be acquired from the pool")]
    AsyncPool(#[source] diesel_async::pooled_connection::deadpool::PoolError),
    /// The transaction cannot be started, or the tracker cannot be read.
    #[error("the database rejected a statement")]
    Database(#[source] DieselError),
    /// The transaction was not committed. After a lost connection it may have been.
    #[error("the transaction was not committed")]
    Commit(#[source] DieselError),
    /// The closure returned `Ok` after one of its statements had failed or after it had ended the transaction itself.
    /// Nothing is committed that was not committed by the closure.
    #[error("the closure succeeded, but its transaction was aborted or had ended before")]
    Aborted,
    /// The connection is in a transaction, which may already work for another tenant.
    #[error("the connection is in a transaction")]
    OpenTransaction,
    /// The migrations of the tenants cannot be checked.
    #[error("the tenants cannot be checked")]
    Check(#[source] Box<Error>),
}

impl AccessError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownTenant(_) => "unknown-tenant",
            Self::NotActive { .. } => "not-active",
            Self::Archived(_) => "archived",
            Self::SchemaMissing(_) => "schema-missing",
            Self::NoPool(_) => "no-pool",
            Self::Pool(_) => "no-connection",
            #[cfg(feature = "async")]
            Self::AsyncPool(_) => "no-connection",
            Self::Database(_) => "database-error",
            Self::Commit(_) => "commit-failed",
            Self::Aborted => "transaction-aborted",
            Self::OpenTransaction => "open-transaction",
            Self::Check(error) => error.code(),
        }
    }

    /// Whether the tenant does not exist or cannot be used at present: an error of the request, not of the application.
    pub fn is_about_tenant(&self) -> bool {
        matches!(self, Self::UnknownTenant(_) | Self::NotActive { .. } | Self::Archived(_) | Self::SchemaMissing(_))
    }
}

/// Why a transaction in a tenant's schema failed. Nothing of it is committed, except as [`AccessError::Commit`] and
/// [`AccessError::Aborted`] describe.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError<E> {
    /// The tenant cannot be accessed, or the transaction was not committed.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The closure returned an error.
    #[error(transparent)]
    Closure(E),
}

impl<E> TransactionError<E> {
    /// A stable name of the error, for programs: that of the [`AccessError`], or `closure`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Closure(_) => "closure",
        }
    }
}

impl<E: From<AccessError>> TransactionError<E> {
    /// The error as one of the closure's type, for closures whose error type can hold an [`AccessError`], such as
    /// `anyhow::Error` and `Box<dyn Error>`.
    pub fn into_inner(self) -> E {
        match self {
            Self::Access(error) => error.into(),
            Self::Closure(error) => error,
        }
    }
}

/// Why [`Tenants::each`](super::Tenants::each) or its asynchronous form stopped.
#[derive(Debug, thiserror::Error)]
pub enum EachError<E> {
    /// The names of the tenants cannot be read. No transaction was started.
    #[error("the names of the tenants cannot be read")]
    Names(#[source] AccessError),
    /// The transaction of a tenant failed. Those of earlier tenants are committed.
    #[error("the transaction of tenant {tenant} failed")]
    Tenant {
        /// The tenant.
        tenant: TenantName,
        /// Why its transaction failed.
        #[source]
        error: TransactionError<E>,
    },
}

impl<E> EachError<E> {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Names(error) => error.code(),
            Self::Tenant { error, .. } => error.code(),
        }
    }
}

/// Why [`Tenants::migrate`](super::Tenants::migrate) did not bring all tenants up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The migrations could not be run.
    #[error(transparent)]
    Database(#[from] Error),
    /// Some tenants failed or were not reached. The others are up to date.
    #[error("{}", Incomplete(.0))]
    Tenants(Box<Report>),
}

impl MigrateError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Database(error) => error.code(),
            Self::Tenants(_) => "tenants-failed",
        }
    }
}

/// `1 tenant failed, 3 not reached; tenant acme: lock timeout`.
struct Incomplete<'a>(&'a Report);

impl std::fmt::Display for Incomplete<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Report { failed, not_reached, .. } = self.0;
        write!(f, "{} tenant{} failed", failed.len(), if failed.len() == 1 { "" } else { "s" })?;
        if !not_reached.is_empty() {
            write!(f, ", {} not reached", not_reached.len())?;
        }
        match failed.first() {
            Some(FailedTenant { tenant, error }) => write!(f, "; tenant {tenant}: {error}"),
            None => Ok(()),
        }
    }
}
