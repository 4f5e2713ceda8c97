//! The last line of a run over a fleet: how many tenants it was, each way.

use crate::cli::output::{Output, thousands};
use crate::failure::Failed;

/// How many tenants there were of each outcome. What is nought is not told.
pub(crate) struct Summary(String);

impl Summary {
    /// What was done comes first, and is told in any case.
    pub(crate) fn of(done: String) -> Self {
        Self(done)
    }

    pub(crate) fn with(mut self, n: usize, outcome: &str) -> Self {
        if n > 0 {
            self.0.push_str(&format!(", {} {outcome}", thousands(n)));
        }
        self
    }

    pub(crate) fn with_failed(self, failed: &[Failed]) -> Self {
        let deferred = failed.iter().filter(|failed| failed.error.is_deferred()).count();
        self.with(failed.len() - deferred, "failed").with(deferred, "deferred")
    }

    /// By which number `runs` knows it.
    pub(crate) fn of_run(mut self, run: Option<i64>) -> Self {
        if let Some(run) = run {
            self.0.push_str(&format!(" (run {run})"));
        }
        self
    }

    /// A failure is told also when it is to be quiet.
    pub(crate) fn tell(self, output: &Output, success: bool) {
        match success {
            true => output.status(self.0),
            false => anstream::eprintln!("{}", self.0),
        }
    }
}
