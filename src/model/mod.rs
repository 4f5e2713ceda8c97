//! Values that are parsed once, where they enter the crate: below, no text stands for a name or a state.

mod name;
mod state;

pub use name::{MAX_BYTES, NameError, SchemaName, TenantName};
pub use state::{State, Unfinished, UnknownState};
