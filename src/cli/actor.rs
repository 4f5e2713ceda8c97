//! The process and its user, for the record of the run.

use std::borrow::Cow;
use std::ffi::OsString;

use clap::ArgMatches;

use super::settings::given;
use crate::database::Actor;

/// This process. `arguments` begin with the program, and `matches` are parsed from them.
pub(super) fn of_process(arguments: &[OsString], matches: &ArgMatches) -> Actor {
    let mut arguments = without_url(arguments.iter().skip(1), given(matches, "database_url").as_deref());
    let command = matches.subcommand_name().map(str::to_owned);
    if let Some(at) = arguments.iter().position(|one| Some(one) == command.as_ref()) {
        arguments.remove(at);
    }
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    Actor {
        command,
        arguments,
        os_user: variable("USER").or_else(|| variable("LOGNAME")).or_else(|| variable("USERNAME")),
        host: Some(rustix::system::uname().nodename().to_string_lossy().into_owned()).filter(|host| !host.is_empty()),
        pid: Some(std::process::id()),
        ..Actor::default()
    }
}

/// Removes the database URL, which can contain a password.
fn without_url<'a>(arguments: impl Iterator<Item = &'a OsString>, url: Option<&str>) -> Vec<String> {
    const FLAG: &str = "--database-url";
    let is_url = |one: &str| one.starts_with(FLAG) || url == Some(one);
    arguments.map(|one| one.to_string_lossy()).filter(|one| !is_url(one)).map(Cow::into_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::parse::parser;

    #[track_caller]
    fn check(given: &[&str], command: &str, arguments: &[&str]) {
        let given: Vec<OsString> = given.iter().map(OsString::from).collect();
        let matches = parser("tenantry").try_get_matches_from(&given).unwrap();
        let actor = of_process(&given, &matches);
        assert_eq!(
            (actor.command.as_deref(), actor.arguments),
            (Some(command), arguments.iter().map(|&one| one.to_owned()).collect())
        );
    }

    #[test]
    fn the_database_url_is_removed_and_other_arguments_are_kept() {
        let url = "postgres://u:secret@h/d";
        check(&["tenantry", "--database-url", url, "migrate-all", "--jobs", "2"], "migrate-all", &["--jobs", "2"]);
        check(&["tenantry", "create", "acme", "--database-url=host=h password=secret"], "create", &["acme"]);
        let reason = ["--accept", "1", "--reason", "see https://example.org"];
        check(&[&["tenantry", "repair", "--database-url", url], &reason[..]].concat(), "repair", &reason);
        let local = ["--extension-schema", "local"];
        check(&["tenantry", "--extension-schema", "local", "migrate-all"], "migrate-all", &local);
    }
}
