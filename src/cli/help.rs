//! The help of the program itself: its commands by purpose.

use std::fmt::Write as _;

use clap::Command;

/// The commands by purpose. A test checks that each command is in one group.
const GROUPS: [(&str, &[&str]); 7] = [
    (
        "Tenants",
        &[
            "create",
            "adopt",
            "untrack",
            "rename",
            "clone",
            "dump",
            "restore",
            "label",
            "archive",
            "unarchive",
            "list",
            "stats",
            "browse",
            "exec",
            "psql",
            "drop",
            "purge",
            "cleanup",
        ],
    ),
    ("Migrations", &["migrate-public", "migrate-one", "migrate-all", "revert-one", "revert-all", "redo", "runs"]),
    ("Servers", &["server", "where", "move", "place", "shared"]),
    ("Isolation", &["isolate", "key", "benchmark"]),
    ("Checks and repair", &["health-check", "probe", "diff", "repair-plan", "reference", "repair", "metrics"]),
    ("Development", &["new-migration", "seed", "lint", "print-schema", "grants", "local", "demo"]),
    ("Shell", &["completions", "man", "help"]),
];

/// What clap's own `help` command does.
const HELP: &str = "Print the help of the program or of a command";

/// Lists the commands in groups.
pub(super) fn with_grouped_commands(command: Command) -> Command {
    let style = *command.get_styles().get_header();
    let mut groups = String::new();
    for (heading, names) in GROUPS {
        let _ = writeln!(groups, "{style}{heading}:{style:#}");
        for name in names {
            let about = command.find_subcommand(name).and_then(Command::get_about).map(ToString::to_string);
            let about = about.unwrap_or_else(|| HELP.to_owned());
            let literal = *command.get_styles().get_literal();
            let _ = writeln!(groups, "  {literal}{name}{literal:#}{}{about}", " ".repeat(16 - name.len()));
        }
        groups.push('\n');
    }
    command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}{style}Options:{style:#}\n{{options}}{{after-help}}"
    ))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Arguments;

    #[test]
    fn each_command_is_in_one_group() {
        let command = Arguments::command();
        let mut commands: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        commands.push("help");
        commands.sort_unstable();
        grouped.sort_unstable();
        assert_eq!(grouped, commands);
    }

    #[test]
    fn the_help_of_a_command_is_a_short_verb_phrase() {
        fn check(command: &Command) {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty() && about.len() < 60 && !about.ends_with('.'), "{}: {about}", command.get_name());
            command.get_subcommands().for_each(check);
        }
        Arguments::command().get_subcommands().for_each(check);
    }
}
