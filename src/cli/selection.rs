//! Options that select tenants.

use clap::Args;
use regex::Regex;

use super::context::shell_word;

/// Selects tenants by name.
#[derive(Debug, Clone, Args)]
pub(crate) struct Matching {
    /// Only tenants whose names match this regular expression
    #[arg(long = "match", value_name = "REGEX")]
    pub(crate) matching: Option<Regex>,
}

/// Selects tenants by name, with exceptions.
#[derive(Debug, Clone, Args)]
pub(crate) struct Selection {
    #[command(flatten)]
    matching: Matching,

    /// Exclude tenants whose names match this regular expression
    #[arg(long, value_name = "REGEX")]
    except: Option<Regex>,
}

impl Selection {
    pub(crate) fn picks(&self, name: &str) -> bool {
        self.matching.picks(name) && !self.except.as_ref().is_some_and(|except| except.is_match(name))
    }

    /// The options as given, for a suggested command.
    pub(crate) fn flags(&self) -> String {
        [("match", &self.matching.matching), ("except", &self.except)]
            .into_iter()
            .filter_map(|(flag, regex)| Some(format!(" --{flag} {}", shell_word(regex.as_ref()?.as_str()))))
            .collect()
    }
}

impl Matching {
    pub(crate) fn picks(&self, name: &str) -> bool {
        self.matching.as_ref().is_none_or(|regex| regex.is_match(name))
    }
}
