//! A run: an operation on many tenants at the same time, with retries, a monitor of lock waits and verified outcomes.
//!
//! An [`Operation`] says how one tenant is attempted and verified. The [`Runner`] does the rest, for migrate, revert,
//! create, adopt, drop and cleanup alike.

mod failure_budget;
pub(crate) mod lock_monitor;
mod observer;
mod operation;
mod recorder;
mod retry;
mod runner;
mod workers;

pub(crate) use failure_budget::FailureBudget;
pub use failure_budget::{Breaker, SharedFailures};
pub(crate) use lock_monitor::LockMonitor;
pub use lock_monitor::LockWait;
pub use observer::Observer;
pub(crate) use operation::{Attempt, Commit, Job, Operation, Outcome, RunContext, Verified};
pub(crate) use retry::{AttemptError, RetryState};
pub(crate) use runner::{Runner, StageReport};
