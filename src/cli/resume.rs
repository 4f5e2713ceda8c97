//! The command that goes on with what a run over the fleet left.

use super::arguments::Selection;
use super::steps::Steps;
use crate::operations::migrate::{Report, StopReason};

/// What that command is made of.
pub(crate) struct Resume<'a> {
    pub(crate) command: &'static str,
    pub(crate) selection: &'a Selection,
    pub(crate) steps: &'a Steps,
    /// The flags that say what is done to each tenant.
    pub(crate) what: String,
}

impl Resume<'_> {
    /// The command, to be completed.
    pub(crate) fn after(&self, report: &Report) -> String {
        let Self { command, selection, steps, what } = self;
        let left = report.to_try_again();
        // Canaries that are not well come first again, and may not be among what is left.
        let by_name = only(&left).filter(|_| !matches!(report.ended, Some(StopReason::Canary)));
        let which = match (by_name, report.run) {
            (Some(regex), _) => format!(" --match {regex}"),
            (None, Some(run)) if report.not_reached.is_empty() => format!(" --retry-failed {run}"),
            (None, _) => selection.flags() + &steps.retried(),
        };
        format!("{command}{which}{}{what}", steps.flags(report))
    }
}

/// How many names a command has at most that is to be typed.
pub(crate) const SHORT: usize = 10;

/// A regular expression for just these tenants, while it is short enough to be read.
pub(crate) fn only(names: &[&str]) -> Option<String> {
    (!names.is_empty() && names.len() <= SHORT).then(|| match names {
        [one] => format!("'^{one}$'"),
        many => format!("'^({})$'", many.join("|")),
    })
}
