//! The request to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;

/// How often a pause checks for a request to stop, which may come from a signal handler, without a notification.
const TICK: Duration = Duration::from_millis(100);

/// A request to begin nothing new. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    asked: Arc<AtomicU8>,
    unable: Option<fn(&Error)>,
}

impl Stop {
    const FINISH: u8 = 1;
    const CANCEL: u8 = 2;

    /// Has a function told why what is under way cannot be cancelled, though that was asked for. It is tried again.
    #[must_use]
    pub fn on_cancel_error(self, unable: fn(&Error)) -> Self {
        Self { unable: Some(unable), ..self }
    }

    /// Asks to begin nothing new, and to finish what is under way.
    pub fn request(&self) {
        self.asked.fetch_max(Self::FINISH, Ordering::AcqRel);
    }

    /// Asks to begin nothing new, and to cancel on the server what is under way: it is rolled back.
    pub fn cancel(&self) {
        self.asked.fetch_max(Self::CANCEL, Ordering::AcqRel);
    }

    /// Whether nothing new is to begin.
    pub fn is_requested(&self) -> bool {
        self.asked.load(Ordering::Acquire) >= Self::FINISH
    }

    /// Whether what is under way is to be cancelled.
    pub fn is_cancel(&self) -> bool {
        self.asked.load(Ordering::Acquire) >= Self::CANCEL
    }

    /// Tells that what is under way cannot be cancelled.
    pub(crate) fn report_cancel_error(&self, why: &Error) {
        if let Some(unable) = self.unable {
            unable(why);
        }
    }

    /// Waits, unless it is requested before. Returns whether the whole time has passed.
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
