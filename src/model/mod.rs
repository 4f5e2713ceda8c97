//! Typed names, ids, labels and states. They are parsed where they enter the crate; other modules never pass them as plain text.

mod label;
mod name;
mod object_name;
mod server_name;
mod state;
mod tenant_id;

pub use label::{LabelChange, LabelError, LabelKey, LabelSelector};
pub(crate) use name::create_verb;
pub use name::{MAX_BYTES, NameError, NamePolicy, SchemaName, TenantName};
pub use object_name::ObjectName;
pub use server_name::{ServerName, ServerNameError, ServerState};
pub use state::{State, Unfinished, UnknownState};
pub use tenant_id::{IdType, TenantId, TenantIdError};
