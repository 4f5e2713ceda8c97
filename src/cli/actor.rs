//! Who runs a command, for the record of its run.

use std::borrow::Cow;
use std::ffi::OsString;

use clap::ArgMatches;

use super::settings::given;
use crate::database::Actor;

/// This process, with the arguments that it was given: the program, then what follows, of which `matches` were made.
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

/// Takes out what leads to the database, which may have a password in it.
fn without_url<'a>(arguments: impl Iterator<Item = &'a OsString>, url: Option<&str>) -> Vec<String> {
    const FLAG: &str = "--database-url";
    let leads_there = |one: &str| one.starts_with(FLAG) || url == Some(one);
    arguments.map(|one| one.to_string_lossy()).filter(|one| !leads_there(one)).map(Cow::into_owned).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Arguments;

    #[track_caller]
    fn check(given: &[&str], command: &str, arguments: &[&str]) {
        let given: Vec<OsString> = given.iter().map(OsString::from).collect();
        let matches = Arguments::command().try_get_matches_from(&given).unwrap();
        let actor = of_process(&given, &matches);
        assert_eq!(
            (actor.command.as_deref(), actor.arguments),
            (Some(command), arguments.iter().map(|&one| one.to_owned()).collect())
        );
    }

    #[test]
    fn no_password_is_kept_and_all_else_is() {
        let url = "postgres://u:secret@h/d";
        check(&["tenantry", "--database-url", url, "migrate-all", "--jobs", "2"], "migrate-all", &["--jobs", "2"]);
        check(&["tenantry", "create", "acme", "--database-url=host=h password=secret"], "create", &["acme"]);
        let reason = ["--accept", "1", "--reason", "see https://example.org"];
        check(&[&["tenantry", "repair", "--database-url", url], &reason[..]].concat(), "repair", &reason);
        let local = ["--extension-schema", "local"];
        check(&["tenantry", "--extension-schema", "local", "migrate-all"], "migrate-all", &local);
    }
}
