//! The last line of a run over a fleet: the number of tenants by outcome.

use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Output, thousands};
use crate::error::FailedTenant;
use crate::model::TenantName;
use crate::operations::migrate::StopReason;

/// The number of tenants by outcome. Zeros are omitted.
pub(crate) struct Summary(String);

impl Summary {
    /// Starts with the number of tenants that were `created`, `migrated` and so on, also if it is zero.
    pub(crate) fn of(done: usize, outcome: &str) -> Self {
        Self(format!("{} {outcome}", thousands(done)))
    }

    pub(crate) fn with(mut self, n: usize, outcome: &str) -> Self {
        if n > 0 {
            self.0.push_str(&format!(", {} {outcome}", thousands(n)));
        }
        self
    }

    pub(crate) fn with_failed(self, failed: &[FailedTenant]) -> Self {
        let deferred = failed.iter().filter(|failed| failed.error.is_deferred()).count();
        self.with(failed.len() - deferred, "failed").with(deferred, "deferred")
    }

    /// Adds a remark on the tenants that succeeded.
    pub(crate) fn remark(mut self, remark: &str) -> Self {
        self.0.push_str(remark);
        self
    }

    /// Adds the id of the run.
    pub(crate) fn of_run(mut self, run: Option<i64>) -> Self {
        if let Some(run) = run {
            self.0.push_str(&format!(" (run {run})"));
        }
        self
    }

    /// Prints it. With `--quiet` only what did not succeed is printed.
    pub(crate) fn print(self, output: &Output, exit: Exit) {
        if exit == Exit::Done {
            output.status(self.0);
        } else {
            output.summary(self.0);
        }
    }
}

/// What a run did to tenants that it changed one after the other.
pub(crate) struct Changed<'a> {
    pub(crate) done: usize,
    pub(crate) unchanged: usize,
    pub(crate) failed: &'a [FailedTenant],
    pub(crate) not_reached: &'a [TenantName],
    pub(crate) ended: Option<&'a StopReason>,
    pub(crate) run: Option<i64>,
}

impl Changed<'_> {
    /// Prints the failures and the summary. Returns the exit status.
    pub(crate) fn summarize(self, context: &Context, verb: &str) -> Exit {
        super::failures(context, self.failed);
        let exit = super::exit(self.ended, self.failed, self.not_reached);
        Summary::of(self.done, verb)
            .with_failed(self.failed)
            .with(self.unchanged, "unchanged")
            .with(self.not_reached.len(), "not reached")
            .of_run(self.run.filter(|_| exit != Exit::Done))
            .print(context.output(), exit);
        exit
    }
}
