//! Tenants that share tables: each row belongs to a tenant, and row-level security shows each transaction the rows of one.
//!
//! The shared tables are in one schema, which the tracker has like the schema of a tenant, so that the same operations
//! migrate it. [`isolate`] makes the tables isolated: with a tenant column, policies, and keys that begin with the tenant
//! column. The [`Layout`] names the schema, the tables and the roles. [`keys`] verify the signed context in which the
//! application's transactions run. [`findings`] are what could break the isolation.

pub mod benchmark;
mod canonical;
mod catalog;
pub mod findings;
mod isolate;
mod key;
pub mod keys;
mod layout;
mod migrate;
mod prepare;
pub mod registry;
mod seed;
mod set_up;
mod verifier;

pub use isolate::{
    IsolationPhase, IsolationPlan, IsolationStep, Obstacle, UnassignedRows, isolate, plan_isolation, plan_undo,
    undo_isolation,
};
pub(crate) use key::TransactionIdentity;
pub use key::{ContextKey, ContextKeyError, KEY_BYTES};
pub use layout::{
    CONTEXT_SETTING, ContextKind, ContextKindError, Layout, ReservedIds, ReservedIdsError, Roles, TENANT_SETTING,
    VERIFIER_SCHEMA,
};
#[cfg(feature = "cli")]
pub(crate) use migrate::{is_isolated, pending};
pub use migrate::{migrate, revert};
pub use prepare::prepare;
pub use seed::seed;
pub use set_up::{SetUp, set_up};
