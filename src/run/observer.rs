//! Progress of a run.

use std::time::Duration;

use super::LockWait;
use crate::error::TenantError;

/// Receives the progress of a run. An outcome is reported after it is durable and verified.
pub trait Observer {
    /// The run begins, with this number of tenants.
    fn begin(&mut self, tenants: usize) {
        let _ = tenants;
    }

    /// A tenant is done.
    fn done(&mut self, tenant: &str, took: Duration) {
        let _ = (tenant, took);
    }

    /// A tenant failed.
    fn failed(&mut self, tenant: &str, error: &TenantError) {
        let _ = (tenant, error);
    }

    /// The server has been unreachable or read-only for at least a second. The run waits for it, for `patience` at most.
    fn away(&mut self, patience: Duration) {
        let _ = patience;
    }

    /// The server is back.
    fn back(&mut self) {}

    /// A tenant has waited for a lock for a few seconds. Shown once while the same sessions hold it.
    fn waiting(&mut self, wait: &LockWait) {
        let _ = wait;
    }

    /// The run pauses before the next batch.
    fn pause(&mut self, time: Duration) {
        let _ = time;
    }
}

/// Ignores the progress.
impl Observer for () {}
