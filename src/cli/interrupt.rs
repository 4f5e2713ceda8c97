//! Ctrl-C and SIGTERM.

use std::process::exit;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::exit::INTERRUPTED;
use crate::workers::Stop;

/// Whether what is under way is finished first.
static GRACEFUL: AtomicBool = AtomicBool::new(false);

static STOP: OnceLock<Stop> = OnceLock::new();

/// From now on the first signal asks the work to stop after what is under way, and a second ends the process: the server
/// rolls back what was under way. Before, the first ends it.
pub(super) fn graceful() -> Stop {
    GRACEFUL.store(true, Ordering::Release);
    stop().clone()
}

/// Has signals end the process with the exit code for it.
pub(super) fn install() {
    let handler = || {
        if !GRACEFUL.load(Ordering::Acquire) || stop().is_requested() {
            exit(i32::from(INTERRUPTED));
        }
        stop().request();
        anstream::eprintln!("\ninterrupted: finishing the tenants under way; once more to leave at once");
    };
    // It fails when an application has a handler of its own: then that one decides.
    let _ = ctrlc::set_handler(handler);
}

fn stop() -> &'static Stop {
    STOP.get_or_init(Stop::default)
}
