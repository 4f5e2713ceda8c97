//! Ctrl-C and SIGTERM: the first lets running tenants finish, the second cancels them on the server, the third exits.

use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::exit::INTERRUPTED;
use super::output::{self, to_stderr};
use crate::database::Stop;
use crate::text;

/// Whether running tenants finish first.
static GRACEFUL: AtomicBool = AtomicBool::new(false);

static STOP: OnceLock<Stop> = OnceLock::new();

/// What restores the terminal. Nothing is printed then, and the second signal ends the process.
static RESTORE_TERMINAL: OnceLock<fn()> = OnceLock::new();

/// The message for a process that exits immediately.
static EXIT_MESSAGE: Mutex<Option<String>> = Mutex::new(None);

/// From now on, the first signal stops the run after the running tenants. Until then, the first signal ends the process.
pub(super) fn graceful() -> Stop {
    GRACEFUL.store(true, Ordering::Release);
    stop().clone()
}

/// As [`graceful`], for a command that has taken over the terminal. `restore` restores it before the process ends.
pub(super) fn graceful_with(restore: fn()) -> Stop {
    // The first one stays: a command takes over the terminal once.
    let _ = RESTORE_TERMINAL.set(restore);
    graceful()
}

/// Whether a signal has asked the run to stop.
pub(super) fn is_requested() -> bool {
    stop().is_requested()
}

/// Sets the message for a process that exits immediately: its progress.
pub(super) fn set_exit_message(message: Option<String>) {
    *EXIT_MESSAGE.lock().unwrap_or_else(PoisonError::into_inner) = message;
}

/// Has signals end the process with the exit code for it.
pub(super) fn install() {
    let handler = || {
        let stop = stop();
        if let Some(restore) = RESTORE_TERMINAL.get() {
            if stop.is_requested() {
                restore();
                exit(i32::from(INTERRUPTED));
            }
            stop.request();
            return;
        }
        if !GRACEFUL.load(Ordering::Acquire) || stop.is_cancel() {
            if let Some(message) = EXIT_MESSAGE.lock().unwrap_or_else(PoisonError::into_inner).take() {
                to_stderr(&format!("\n{}", text::one_line(&message)));
            }
            exit(i32::from(INTERRUPTED));
        }
        if stop.is_requested() {
            stop.cancel();
            to_stderr("\ninterrupted again: canceling the running statements; interrupt again to exit immediately");
        } else {
            stop.request();
            to_stderr("\ninterrupted: finishing the running tenants; interrupt again to cancel them");
        }
    };
    // It fails if the application has its own handler, which then stays in effect.
    let _ = ctrlc::set_handler(handler);
}

fn stop() -> &'static Stop {
    STOP.get_or_init(|| {
        Stop::default()
            .on_cancel_error(|error| output::error(format_args!("cannot cancel the running statements yet: {error}")))
    })
}
