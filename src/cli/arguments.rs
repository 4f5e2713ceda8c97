//! Arguments that several commands share.

use clap::Args;
use regex::Regex;

/// Which tenants.
#[derive(Debug, Clone, Args)]
pub(crate) struct Matching {
    /// Only tenants whose names match, anywhere in the name
    #[arg(long = "match", value_name = "REGEX")]
    pub(crate) matching: Option<Regex>,
}

impl Matching {
    pub(crate) fn picks(&self, name: &str) -> bool {
        self.matching.as_ref().is_none_or(|regex| regex.is_match(name))
    }
}
