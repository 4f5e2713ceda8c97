//! Moves of tenants between the servers of a fleet.
//!
//! A move makes the tenant's schema on the target, brings its rows there, blocks writes on the source, and renames the schema of
//! the source in the transaction that blocked them. Only after that transaction has committed is the tenant put into use on
//! the target, and then the directory changes. So no acknowledged row is lost or doubled, and there is one copy in use at every
//! moment, or none for the time between these two commits.
//!
//! What a move does next follows from what is on the two servers: [`Mover::resume`] and [`Mover::abort`] work after the process
//! has ended at any moment. `public.schema_move` of the registry records the move and what cannot be read from the servers.
//! The old schema on the source is kept until [`Mover::finish`] drops it.

mod arrive;
mod begin;
mod closed;
mod copying;
mod fence;
mod leave;
mod mover;
mod place;
mod plan;
mod prepare;
mod record;
mod replication;
mod roles;
mod site;
mod tables;
mod writing;

pub use begin::OldSchema;
pub use mover::{MAX_PAUSE, MovedTenant, Mover};
pub use place::{PlacedTenant, ProposedMove, even_out, tenant_sizes};
pub use plan::{MoveOptions, MovePlan};
pub use record::{MoveMethod, MoveState, TenantMove, VerifyRows, unended};
