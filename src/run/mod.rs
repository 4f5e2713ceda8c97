//! Runs work on many tenants at once: workers with a queue, and a monitor of the locks that they wait for.

pub(crate) mod lock_monitor;
pub(crate) mod workers;

pub(crate) use lock_monitor::LockMonitor;
pub use workers::Observer;
