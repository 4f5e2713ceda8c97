//! The options that were given as flags, for the commands that messages suggest.

use std::collections::BTreeMap;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use super::{given, shared_options, source};
use crate::cli::request::SettingsRequest;
use crate::text::shell_word;

/// The flags to repeat, by command: those that were given and that apply to the command.
///
/// The database URL is not repeated, because it can contain a password. Options of the environment apply anyway.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given {
    flags: BTreeMap<String, String>,
    settings: SettingsRequest,
}

impl Given {
    /// The flags in `matches`, for each subcommand of `root`.
    pub(crate) fn new(root: &Command, matches: &ArgMatches) -> Self {
        let mut by_command: BTreeMap<String, String> = BTreeMap::new();
        for arg in shared_options().iter().filter(|arg| arg.get_id() != "database_url") {
            let (id, long) = (arg.get_id().as_str(), arg.get_long().unwrap_or_default());
            if source(matches, id) != Some(ValueSource::CommandLine) {
                continue;
            }
            let flag = match given(matches, id) {
                Some(value) if arg.get_action().takes_values() => format!(" --{long} {}", shell_word(&value)),
                _ => format!(" --{long}"),
            };
            for command in root.get_subcommands().filter(|command| has(command, id)) {
                by_command.entry(command.get_name().to_owned()).or_default().push_str(&flag);
            }
        }
        Self { flags: by_command, settings: SettingsRequest::of(matches) }
    }

    /// The settings that were given as flags, for the record of a run.
    pub(crate) fn settings(&self) -> &SettingsRequest {
        &self.settings
    }

    /// The flags behind a command line, each after a space.
    pub(crate) fn flags_of(&self, line: &str) -> &str {
        let command = line.split(' ').next().unwrap_or_default();
        self.flags.get(command).map_or("", String::as_str)
    }
}

/// Whether an option applies to a command.
pub(super) fn has(command: &Command, id: &str) -> bool {
    command.get_arguments().any(|arg| arg.get_id() == id)
}
