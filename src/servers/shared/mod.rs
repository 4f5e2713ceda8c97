//! Tables that the servers of a fleet share, by logical replication.
//!
//! The registry publishes tables of its schema `public` to the other servers ([`ShareDirection::Out`]), or the other servers
//! publish tables to the registry ([`ShareDirection::In`]). There is one publication for each direction, and one slot and
//! one subscription for each server and direction, whatever the number of tables and tenants. The registry's
//! [list](tables::tables) has the shared tables; [`follow`] brings a server to it. No connection string of a subscription has
//! a password.

mod attach;
mod detach;
mod follow;
mod inspect;
mod link;
mod preflight;
mod rows;
mod state;
mod status;
pub mod tables;
mod verify;

pub use detach::{Replication, detach, detach_from_main, detach_here, leave, remains, remains_of, require_detached};
pub use follow::{Followed, check, follow, settle};
pub use link::Endpoint;
pub use rows::LocalRows;
pub use status::{LinkStatus, SharedFinding, SharedFindingKind, SharedStatus, StatusOptions, status};
pub use tables::{ShareDirection, SharedTable};
