//! Progress of a run.

use std::time::Duration;

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

    /// The run pauses before the next batch.
    fn pause(&mut self, time: Duration) {
        let _ = time;
    }
}

/// Ignores the progress.
impl Observer for () {}
