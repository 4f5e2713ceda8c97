//! What a tenant's schema contains: its structure, the reference that it is compared with, and drift between them.

pub mod drift;
pub mod reference;
pub(crate) mod snapshot;
pub mod structure;
