//! Operations on tenants: create, migrate, revert, adopt, untrack, label, drop and cleanup, and the sizes of tenants.

mod adopt;
mod archive;
mod catalogs;
mod cleanup;
mod clone;
mod create;
mod drop;
mod exec;
mod grants;
mod label;
mod lookup;
pub mod migrate;
mod orphans;
mod path_benchmark;
mod prewarm;
mod print_schema;
mod rename;
mod roles;
#[cfg(feature = "cli")]
mod schemas;
pub(crate) mod scripts;
pub mod seed;
mod serial;
mod sizes;
mod stats;
mod untrack;

pub use adopt::{AdoptOptions, AdoptPlan, AdoptPreview, Adopted, SchemaContents, adopt, plan_adopt};
pub use archive::{ArchiveReport, ArchivedTenant, archive, archived, unarchive};
pub use cleanup::{CleanupPlan, CleanupReport, Orphans, cleanup, plan_cleanup};
pub(crate) use clone::SchemaCopyFailure;
pub use clone::{ClonedRows, ClonedTenant, clone};
pub(crate) use create::create_one;
pub use create::{CreateError, CreatePlan, IfExists, create, create_tenant, plan_create};
pub use drop::{
    Contents, DropPlan, DropReport, Dropping, IfMissing, InSteps, Untracked, drop_tenants, plan_drop, plan_purge,
};
#[cfg(feature = "cli")]
pub(crate) use drop::{DropBackup, any_exists, drop_with_backup};
pub use exec::{ExecAccess, ExecOptions, ExecReport, ExecResult, exec};
pub use grants::{GrantPurpose, GrantStatements, Grantees, create_role, grants, tenant_grants};
pub use label::{LabeledTenant, label};
use lookup::{NameStatus, SchemaStatus, distinct, holds_extensions, look_up};
#[cfg(feature = "cli")]
pub(crate) use lookup::{dumpable_schema, schema_oid};
pub use orphans::{Orphan, orphans};
pub use path_benchmark::{
    Latency, PathBenchmark, PathBenchmarkSize, PathOperation, VisitedTenants, benchmark_search_path,
};
pub use prewarm::{PrewarmReport, drop_stale_spares, prewarm, spare_schemas};
pub use print_schema::{DieselSchema, print_schema};
#[cfg(feature = "cli")]
pub(crate) use rename::mentions::in_structure as mentions_of;
#[cfg(feature = "cli")]
pub(crate) use rename::require_free;
pub use rename::{InUse, RenameOptions, RenamedTenant, rename};
pub use roles::{
    PasswordChoice, RoleRemovalPlan, RolesPlan, RolesReport, give_roles, plan_role_removal, plan_roles, take_roles,
};
#[cfg(feature = "cli")]
pub(crate) use schemas::schema_names;
#[cfg(feature = "cli")]
pub(crate) use serial::transaction_error;
pub use stats::{FleetStats, TenantSize, TenantStats, stats};
pub use untrack::{UntrackPlan, UntrackReport, plan_untrack};
