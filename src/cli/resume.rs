//! The command that resumes a run over the fleet.

use super::context::shell_word;
use super::rollout::RolloutOptions;
use super::selection::Selection;
use crate::operations::migrate::{Report, StopReason};

/// The parts of that command.
pub(crate) struct Resume<'a> {
    pub(crate) command: &'static str,
    pub(crate) selection: &'a Selection,
    pub(crate) steps: &'a RolloutOptions,
    /// The options that determine what is done to each tenant.
    pub(crate) what: String,
}

impl Resume<'_> {
    /// The command line after the program's name.
    pub(crate) fn after(&self, report: &Report) -> String {
        let Self { command, selection, steps, what } = self;
        let left = report.to_try_again();
        // FailedTenant canaries come first again, and may not be among the remaining tenants.
        let by_name = if matches!(report.ended, Some(StopReason::Canary)) { None } else { only(&left) };
        let which = match (by_name, report.run) {
            (Some(regex), _) => format!(" --match {regex}"),
            (None, Some(run)) if report.not_reached.is_empty() => format!(" --retry-failed {run}"),
            (None, _) => selection.flags() + &steps.retried(),
        };
        format!("{command}{which}{}{what}", steps.flags(report))
    }
}

/// The maximum number of names in a suggested command.
pub(crate) const SHORT: usize = 10;

/// A regular expression for exactly these tenants, as a word of a shell, if it is short enough to read.
pub(crate) fn only(names: &[&str]) -> Option<String> {
    let escaped: Vec<String> = names.iter().map(|name| regex::escape(name)).collect();
    (!names.is_empty() && names.len() <= SHORT).then(|| match escaped.as_slice() {
        [one] => shell_word(&format!("^{one}$")),
        many => shell_word(&format!("^({})$", many.join("|"))),
    })
}
