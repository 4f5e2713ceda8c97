//! The request to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;

/// The interval at which a pause checks for a request, which a signal handler may set without a notification.
const TICK: Duration = Duration::from_millis(100);

/// A request to stop a run. Clones share the request.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    requested: Arc<AtomicU8>,
    on_cancel_error: Option<fn(&Error)>,
}

impl Stop {
    const FINISH: u8 = 1;
    const CANCEL: u8 = 2;

    /// Sets the function that reports an error of a cancel request. The request is retried.
    #[must_use]
    pub fn on_cancel_error(self, report: fn(&Error)) -> Self {
        Self { on_cancel_error: Some(report), ..self }
    }

    /// Requests to finish the tenants in progress and to start no other tenant.
    pub fn request(&self) {
        self.requested.fetch_max(Self::FINISH, Ordering::AcqRel);
    }

    /// Requests to cancel the tenants in progress, which are rolled back, and to start no other tenant.
    pub fn cancel(&self) {
        self.requested.fetch_max(Self::CANCEL, Ordering::AcqRel);
    }

    /// Whether no other tenant is to be started.
    pub fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Acquire) >= Self::FINISH
    }

    /// Whether the tenants in progress are to be canceled.
    pub fn is_cancel(&self) -> bool {
        self.requested.load(Ordering::Acquire) >= Self::CANCEL
    }

    /// Reports an error of a cancel request.
    pub(crate) fn report_cancel_error(&self, error: &Error) {
        if let Some(report) = self.on_cancel_error {
            report(error);
        }
    }

    /// Waits until the time has passed or a stop is requested. Returns whether the whole time has passed.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while !self.is_requested() {
            match until.checked_duration_since(Instant::now()) {
                None => return true,
                Some(left) => thread::sleep(left.min(TICK)),
            }
        }
        false
    }
}
