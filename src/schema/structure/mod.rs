//! Structure: the objects in a schema, with what the catalogs contain about them.

mod catalog;
mod fingerprint;
mod object;
mod read;
mod session;
mod tenant;

pub use fingerprint::{Fingerprint, fingerprints};
pub use object::{Facts, Identity, Object, ObjectKind, Structure};
pub use read::read;

pub(crate) use fingerprint::{LOOKING_UP, SCANNING, begin};
pub(crate) use object::{OWN, OWN_NAME, constant_with, filled_in, in_constant, unquoted, with_own_marked};
pub(crate) use read::{AT_ONCE, read_in_transaction};
pub(crate) use session::PINNED;
pub(crate) use tenant::{read_tenant, read_with_ledger};
