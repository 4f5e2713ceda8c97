//! Waiting for conditions. A test never waits for a fixed time.

use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

/// The longest time that a test waits for anything. It exceeds every duration on a slow machine: only a test that hangs
/// reaches it.
pub const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// A duration longer than [`PATIENCE`], in the form of an option: a command that waits that long fails its test.
pub const FOREVER: &str = "2h";

/// The pause between two checks. A check uses a session of the server, which would take processor time from the command
/// that the test waits for.
const INTERVAL: Duration = Duration::from_millis(5);

/// Waits until a condition is true. Panics with `what` after [`PATIENCE`].
#[track_caller]
pub fn eventually(what: impl Display, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        thread::sleep(INTERVAL);
    }
}
