//! Connections to PostgreSQL: connection strings, pooling, `search_path`, error messages and their classification.

#[cfg(feature = "cli")]
mod child;
pub(crate) mod condition;
pub mod connect;
pub(crate) mod contained;
mod dispatch;
mod error;
mod from_env;
pub(crate) mod guard_violation;
pub(crate) mod lock_holder;
pub mod message;
pub mod path;
mod ping;
mod pooler;
pub(crate) mod prepared;
pub(crate) mod raw;
mod replication;
pub mod server;
pub(crate) mod session;
pub(crate) mod sqlstate;
pub mod url;

#[cfg(feature = "cli")]
pub(crate) use child::Transactions;
pub(crate) use condition::Condition;
pub use connect::{Connector, Session};
pub(crate) use connect::{READ_LIMITS, with_lock_timeout};
pub(crate) use dispatch::{Dispatch, DispatchError};
pub use error::Error;
pub use from_env::FromEnvError;
#[cfg(feature = "cli")]
pub(crate) use from_env::LIBPQ_VARIABLES;
pub(crate) use guard_violation::{CHANGED, GuardViolation, Refusal, fail_with, refuse};
pub use lock_holder::LockHolder;
pub use message::ServerMessage;
pub use path::SchemaPath;
pub(crate) use prepared::{Call, PreparedStatements};
pub use server::{CHUNK, Server};
pub use sqlstate::Sqlstate;
pub use url::{DatabaseUrl, ParseUrlError};
