//! Fleets on several servers: the directory, and the placements of tenants.
//!
//! Each server is a database with a tracker, ledgers and a record of runs of its own, so that what one transaction
//! guarantees for a tenant does not depend on another server. One of them, the *registry*, also has the *directory*: the
//! servers, and the server of each tenant. The tracker of a server is the truth about what exists there; the directory is
//! brought up to date with it ([`placements::reconcile`]). A name is [claimed](placements::claim) in the directory before
//! a tenant with that name is made anywhere, so that no two servers have tenants with the same name.
//!
//! The other servers have a [copy](copy_directory) of the directory. Programs look tenants up and migrate them with it
//! while the registry cannot be reached.

mod copy;
mod directory;
pub mod findings;
mod identity;
mod inspect;
pub mod placements;
mod register;
mod runs;
mod server;
pub mod shared;

pub use copy::copy_directory;
pub use directory::Directory;
pub use identity::{FleetIdentity, identify, identity, is_same_database, require_identity};
pub use inspect::{ServerFacts, TlsUse, remarks, unsuitable};
pub use register::{
    ServerChange, add, change, forget, main_server, remove, require_new, require_removable, require_storable,
};
pub use runs::{JointRun, ServerRun, runs};
pub use server::FleetServer;
