//! Ctrl-C and SIGTERM: the first lets what is under way finish, the second cancels it on the server, the third leaves.

use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::exit::INTERRUPTED;
use crate::workers::Stop;

/// Whether what is under way is finished first.
static GRACEFUL: AtomicBool = AtomicBool::new(false);

static STOP: OnceLock<Stop> = OnceLock::new();

/// What is said when the process leaves at once.
static LAST_WORDS: Mutex<Option<String>> = Mutex::new(None);

/// From now on the first signal asks the work to stop after what is under way. Before, the first ends the process.
pub(super) fn graceful() -> Stop {
    GRACEFUL.store(true, Ordering::Release);
    stop().clone()
}

/// Whether a signal has asked to begin nothing new.
pub(super) fn is_requested() -> bool {
    stop().is_requested()
}

/// Has something said when the process leaves at once: how far the work has come.
pub(super) fn last_words(words: Option<String>) {
    *LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner) = words;
}

/// Has signals end the process with the exit code for it.
pub(super) fn install() {
    let handler = || {
        let stop = stop();
        if !GRACEFUL.load(Ordering::Acquire) || stop.is_cancel() {
            if let Some(words) = LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner).take() {
                anstream::eprintln!("\n{words}");
            }
            exit(i32::from(INTERRUPTED));
        }
        if stop.is_requested() {
            stop.cancel();
            anstream::eprintln!("\ninterrupted again: cancelling what is under way; once more to leave at once");
        } else {
            stop.request();
            anstream::eprintln!("\ninterrupted: finishing what is under way; once more to cancel it");
        }
    };
    // It fails when an application has a handler of its own: then that one decides.
    let _ = ctrlc::set_handler(handler);
}

fn stop() -> &'static Stop {
    STOP.get_or_init(|| {
        Stop::default()
            .or_else_tell(|why| anstream::eprintln!("error: what is under way cannot be cancelled yet: {why}"))
    })
}
