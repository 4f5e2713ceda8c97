//! Arguments that several commands share.

use clap::Args;
use regex::Regex;

use super::context::shell_word;

/// Which tenants.
#[derive(Debug, Clone, Args)]
pub(crate) struct Matching {
    /// Only tenants whose names match, anywhere in the name
    #[arg(long = "match", value_name = "REGEX")]
    pub(crate) matching: Option<Regex>,
}

/// Which tenants, and which of them not.
#[derive(Debug, Clone, Args)]
pub(crate) struct Selection {
    #[command(flatten)]
    matching: Matching,

    /// Not the tenants whose names match, anywhere in the name
    #[arg(long, value_name = "REGEX")]
    except: Option<Regex>,
}

impl Selection {
    pub(crate) fn picks(&self, name: &str) -> bool {
        self.matching.picks(name) && !self.except.as_ref().is_some_and(|except| except.is_match(name))
    }

    /// As it was given, behind a command.
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
