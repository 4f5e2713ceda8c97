//! One PostgreSQL schema per tenant, and every one of them the same.
//!
//! This crate runs fleets of tenants: it creates their schemas, applies the same Diesel migrations to each, tells which
//! of them are not as they should be, and drops them. It is the library of the command line `tenantry`, and gives an
//! application that command line with its own migrations; see [`cli`].
//!
//! # The words
//! A *tenant* is the customer; its *schema* is the namespace, of the same name. The *tracker* is `public.schema_tracker`,
//! one row for each tenant. A *ledger* is Diesel's `__diesel_schema_migrations`, one in each schema. The *reference* is the
//! structure that the tenant migrations produce.
//!
//! # In an application
//! ```no_run
//! use std::time::Duration;
//! use tenantry::{Connector, Database, MigrationSet, Tenancy, embed_migrations};
//!
//! static MIGRATIONS: tenantry::Embedded = embed_migrations!("$CARGO_MANIFEST_DIR/migrations/tenant");
//!
//! fn sign_up(customer: &str) -> Result<(), Box<dyn std::error::Error>> {
//!     let tenancy = Tenancy::new(MigrationSet::from_embedded(&MIGRATIONS)?)?;
//!     let url = std::env::var("DATABASE_URL")?.parse()?;
//!     let connector = Connector::new(url, Duration::from_secs(5), |name| std::env::var(name).ok());
//!     let mut database = Database::connect(connector, 1)?;
//!     tenantry::create_tenant(&mut database, &tenancy, &customer.parse()?)?;
//!     Ok(())
//! }
//! ```

#[cfg(feature = "cli")]
pub mod cli;
pub mod health;
#[cfg(feature = "lint")]
pub mod lint;
#[cfg(feature = "local")]
pub mod local;
pub mod migration;
pub mod operations;
pub mod postgres;
pub mod record;
pub mod schema;
pub mod tenants;

mod confine;
mod database;
mod error;
mod model;
mod run;
mod sql;
mod text;

pub use database::{Actor, DEFAULT_JOBS, Database, KEEP, ParseShardError, Shard, Stop};
pub use error::{
    BlockingSession, ChangeKind, Contention, Effect, Error, FailedStatement, FailedTenant, FleetHolder,
    MigrationChange, MigrationChanges, MigrationFailure, ReferenceError, TenantError,
};
pub use migration::{Embedded, LoadError, Migration, MigrationSet, Version, VersionRange};
pub use model::{MAX_BYTES, NameError, SchemaName, State, TenantName, Unfinished, UnknownState};
pub use operations::{CreateError, create_tenant};
pub use postgres::{CHUNK, Connector, DatabaseUrl, LockHolder};
pub use run::Observer;
pub use tenants::{Fleet, InvalidRow, Limits, Misnamed, RunAs, Schema, Tenancy, Tenant};

/// Puts a directory of migrations into the binary: `embed_migrations!("$CARGO_MANIFEST_DIR/migrations/tenant")`.
///
/// The compiler notices an edited file by itself, but not a new folder: say so in `build.rs` with
/// `println!("cargo:rerun-if-changed=migrations");`.
#[macro_export]
macro_rules! embed_migrations {
    ($path:tt) => {{
        use $crate::__private::include_dir;
        $crate::Embedded::new(include_dir::include_dir!($path))
    }};
}

#[doc(hidden)]
pub mod __private {
    pub use include_dir;
}
