//! The tenants of a database: the settings that they share, the tracker, the migration ledgers and the fleet.

mod fleet;
pub mod labels;
pub mod ledger;
mod lock;
mod tenancy;
pub mod tracker;

pub(crate) use fleet::not_tracked;
#[cfg(feature = "cli")]
pub(crate) use fleet::sizes as schema_sizes;
pub use fleet::{Fleet, InvalidRow, Misnamed, Schema, Tenant};
pub use labels::Labels;
pub use ledger::Ledger;
pub(crate) use lock::{lock_key, lock_key_of};
pub use tenancy::{Limits, RunAs, Tenancy};
pub(crate) use tracker::similar_name;
