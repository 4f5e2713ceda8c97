//! Tenants in an application: transactions in a tenant's schema on the application's own connection pool, and the creation
//! and migration of tenants.
//!
//! [`Tenants`] is the entry point for tenants with schemas of their own, and [`RowTenancy`] for tenants that share tables. It prints nothing and reads no environment.

#[cfg(feature = "async")]
mod asynchronous;
mod error;
mod maintenance;
mod readiness;
mod routing;
mod rows;
mod tenants;
mod transaction;

#[cfg(feature = "async")]
pub use asynchronous::{AsyncPgPool, AsyncRowTenancy, AsyncTenants};
pub use error::{AccessError, EachError, MigrateError, TransactionError};
pub use readiness::Readiness;
pub use routing::Location;
pub use rows::RowTenancy;
pub use tenants::{Creation, Migrated, PgPool, Tenants};
