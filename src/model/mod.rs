//! Typed names and states. They are parsed where they enter the crate; other modules never pass them as plain text.

mod name;
mod state;

pub use name::{MAX_BYTES, NameError, NamePolicy, SchemaName, TenantName};
pub use state::{State, Unfinished, UnknownState};
