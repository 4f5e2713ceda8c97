//! The server: where it is, how to reach it, what it says when it refuses, and the one place that sets `search_path`.

pub(crate) mod condition;
pub mod connect;
pub mod message;
pub(crate) mod objection;
pub mod path;
pub mod server;
pub mod url;

pub(crate) use condition::Condition;
pub(crate) use connect::impatient;
pub use connect::{Connector, Session};
pub use message::ServerMessage;
pub(crate) use objection::{CHANGED, Objection};
pub use path::SchemaPath;
pub use server::{CHUNK, Server};
pub use url::{DatabaseUrl, ParseUrlError};
