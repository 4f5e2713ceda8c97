//! The options that were given as flags, for the commands that messages suggest.

use std::collections::BTreeMap;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use super::{given, shared_options, source};
use crate::cli::request::SettingsRequest;
use crate::model::ServerName;
use crate::text::shell_word;

/// The flags to repeat, by command: those that were given and that apply to the command.
///
/// The database URL is not repeated, because it can contain a password. Options of the environment apply anyway.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given {
    flags: BTreeMap<String, String>,
    /// The flags that choose servers.
    servers: BTreeMap<String, String>,
    settings: SettingsRequest,
}

impl Given {
    /// The flags in `matches`, for each subcommand of `root`.
    pub(crate) fn new(root: &Command, matches: &ArgMatches) -> Self {
        let (mut by_command, mut servers) = (BTreeMap::new(), BTreeMap::new());
        for arg in
            shared_options().iter().filter(|arg| !["database_url", "fallback_url"].contains(&arg.get_id().as_str()))
        {
            let (id, long) = (arg.get_id().as_str(), arg.get_long().unwrap_or_default());
            if source(matches, id) != Some(ValueSource::CommandLine) {
                continue;
            }
            let flag = match given(matches, id) {
                Some(value) if arg.get_action().takes_values() => format!(" --{long} {}", shell_word(&value)),
                _ => format!(" --{long}"),
            };
            let flags: &mut BTreeMap<String, String> =
                if ["server", "region"].contains(&id) { &mut servers } else { &mut by_command };
            for command in root.get_subcommands().filter(|command| has(command, id)) {
                flags.entry(command.get_name().to_owned()).or_default().push_str(&flag);
            }
        }
        Self { flags: by_command, servers, settings: SettingsRequest::of(matches) }
    }

    /// The settings that were given as flags, for the record of a run.
    pub(crate) fn settings(&self) -> &SettingsRequest {
        &self.settings
    }

    /// The same flags, for commands on one of several servers.
    pub(crate) fn on_server(mut self, root: &Command, server: &ServerName) -> Self {
        let applies = root.get_subcommands().filter(|command| has(command, "server"));
        let flag = |command: &Command| (command.get_name().to_owned(), format!(" --server {server}"));
        self.servers = applies.map(flag).collect();
        self
    }

    /// The flags behind a command line, each after a space.
    pub(crate) fn flags_of(&self, line: &str) -> String {
        let command = line.split(' ').next().unwrap_or_default();
        let of = |flags: &BTreeMap<String, String>| flags.get(command).cloned().unwrap_or_default();
        of(&self.servers) + &of(&self.flags)
    }
}

/// Whether an option applies to a command.
pub(super) fn has(command: &Command, id: &str) -> bool {
    command.get_arguments().any(|arg| arg.get_id() == id)
}
