//! The output of a program while it runs.

use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use super::wait::PATIENCE;

/// A stream that a thread reads, so that a test can wait for output and the stream never fills up.
#[derive(Clone)]
pub(super) struct Capture(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    ended: bool,
}

/// Why the wait failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WaitError {
    /// The stream ended.
    Ended,
    /// The time limit was reached.
    TimedOut,
}

impl Capture {
    /// Reads a stream to its end.
    pub(super) fn of(mut stream: impl Read + Send + 'static) -> Self {
        let capture = Self(Arc::default());
        let writer = capture.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                // A terminal whose program has ended returns an error instead of the end of the stream.
                match stream.read(&mut buffer) {
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Ok(0) | Err(_) => return writer.change(|state| state.ended = true),
                    Ok(count) => writer.change(|state| state.bytes.extend_from_slice(&buffer[..count])),
                }
            }
        });
        capture
    }

    /// The output so far.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.state().bytes).into_owned()
    }

    /// Whether the stream has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.state().ended
    }

    /// Waits for the end.
    pub(super) fn wait_for_end(&self) -> Result<(), WaitError> {
        match self.wait(|_| None::<()>) {
            Err(WaitError::Ended) => Ok(()),
            outcome => outcome,
        }
    }

    /// Waits for a text in the output.
    pub(super) fn wait<T>(&self, found: impl Fn(&[u8]) -> Option<T>) -> Result<T, WaitError> {
        let begun = Instant::now();
        let mut state = self.state();
        loop {
            if let Some(found) = found(&state.bytes) {
                return Ok(found);
            }
            if state.ended {
                return Err(WaitError::Ended);
            }
            let left = PATIENCE.checked_sub(begun.elapsed()).ok_or(WaitError::TimedOut)?;
            state = self.0.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.0.1.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
