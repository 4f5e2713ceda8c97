//! Manages PostgreSQL databases with one schema per tenant.
//!
//! The crate creates tenant schemas, applies the same Diesel migrations to all of them, detects drift, and drops them. An
//! application uses it through [`Tenants`]. It is also the library of the command line `tenantry`, which an application can
//! provide with its own migrations; see the module `cli`.
//!
//! # Terms
//! - *tenant*: a customer, whose data is in a schema with the tenant's name, the *tenant schema*
//! - *tracker*: the table `public.schema_tracker`, with a row for each tenant
//! - *migration ledger*: Diesel's table `__diesel_schema_migrations`, which each tenant schema contains
//! - *reference schema*: the structure that the tenant migrations produce
//! - *drift*: differences between a tenant schema and the reference schema
//!
//! # Use in an application
//! [`Tenants`] runs queries in a tenant's schema, with the Diesel connection pool of the application, and creates and
//! migrates tenants.
//!
//! ```no_run
//! use diesel::prelude::*;
//! use diesel::r2d2::{ConnectionManager, Pool};
//! use tenantry::{Connector, Embedded, MigrationSet, Tenancy, TenantName, Tenants, embed_migrations};
//!
//! static MIGRATIONS: Embedded = embed_migrations!("$CARGO_MANIFEST_DIR/migrations/tenant");
//!
//! diesel::table! {
//!     users (id) { id -> BigInt, email -> Text }
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let pool = Pool::new(ConnectionManager::new(std::env::var("DATABASE_URL")?))?;
//!     let tenancy = Tenancy::new(MigrationSet::from_embedded(&MIGRATIONS)?)?;
//!     let tenants = Tenants::new(pool, Connector::from_env()?, tenancy);
//!     tenants.migrate()?;
//!
//!     let acme: TenantName = "acme".parse()?;
//!     tenants.create_if_not_exists(&acme)?;
//!     let users: i64 = tenants.with(&acme, |conn| users::table.count().get_result(conn))?;
//!     println!("{acme} has {users} users");
//!     Ok(())
//! }
//! ```
//!
//! # Features
//! - `cli` (default): the command line `tenantry`, and its module `cli` for an application's own
//! - `lint`: the module `lint`, which finds dangerous statements in migrations; part of `cli`
//! - `local`: the module `local`, a private PostgreSQL server, for example for an application's tests; part of `cli`
//! - `async`: [`application`]'s `AsyncTenants`, for diesel-async
//! - `bundled`: links libpq and OpenSSL statically

pub mod application;
#[cfg(feature = "cli")]
pub mod cli;
pub mod health;
#[cfg(feature = "lint")]
pub mod lint;
#[cfg(feature = "local")]
pub mod local;
pub mod migration;
pub mod moves;
pub mod operations;
pub mod postgres;
pub mod probe;
pub mod record;
pub mod roles;
pub mod rows;
pub mod schema;
pub mod servers;
pub mod tenants;

#[cfg(feature = "cli")]
mod backup;
mod confine;
mod database;
mod error;
mod model;
mod run;
mod sql;
mod text;

pub use application::{AccessError, PgPool, RowTenancy, Tenants, TransactionError};
pub use database::{Actor, DEFAULT_JOBS, Database, KEEP, ParseShardError, Shard, Stop};
pub use error::{
    BlockingSession, ChangeKind, Contention, Effect, Error, FailedStatement, FailedTenant, FleetHolder,
    MigrationChange, MigrationChanges, MigrationFailure, MissingExtension, MoveError, ProbeError, ReferenceError,
    RoleError, RowTenancyError, ServersError, TenantError,
};
pub use migration::{Embedded, LoadError, Migration, MigrationSet, Version, VersionRange};
pub use model::{
    IdType, LabelChange, LabelError, LabelKey, LabelSelector, MAX_BYTES, NameError, NamePolicy, ObjectName, SchemaName,
    ServerName, ServerNameError, ServerState, State, TenantId, TenantIdError, TenantName, Unfinished, UnknownState,
};
pub use operations::{CreateError, create_tenant};
pub use postgres::{CHUNK, Connector, DatabaseUrl, FromEnvError, LockHolder};
pub use run::{LockWait, Observer};
pub use tenants::{Fleet, InvalidRow, Limits, Misnamed, RunAs, Schema, Tenancy, Tenant};

/// Embeds a directory of migrations in the binary: `embed_migrations!("$CARGO_MANIFEST_DIR/migrations/tenant")`.
///
/// The compiler notices an edited file by itself, but not a new folder; for that, add to `build.rs`:
/// `println!("cargo:rerun-if-changed=migrations");`.
#[macro_export]
macro_rules! embed_migrations {
    ($path:tt) => {{
        use $crate::__private::include_dir;
        $crate::Embedded::new(include_dir::include_dir!($path))
    }};
}

/// The Rust code of the documentation, which the documentation's tests compile.
#[cfg(all(doctest, feature = "cli"))]
#[doc = include_str!("../docs/library.md")]
struct LibraryPage;

#[doc(hidden)]
pub mod __private {
    pub use include_dir;

    pub use crate::sql::statement::split;
}
