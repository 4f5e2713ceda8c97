//! Who runs a command, for the record of its run.

use std::ffi::OsString;

use clap::CommandFactory;

use super::Arguments;
use crate::runs::Actor;

/// This process, with the arguments that it was given: the program, then what follows.
pub(super) fn of_process(given: &[OsString]) -> Actor {
    let mut arguments: Vec<String> = without_url(given.iter().skip(1).map(|one| one.to_string_lossy().into_owned()));
    let names: Vec<String> =
        Arguments::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let command = arguments.iter().position(|one| names.contains(one)).map(|at| arguments.remove(at));
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
fn without_url(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let mut left = Vec::new();
    let mut is_url = false;
    for one in arguments {
        if std::mem::take(&mut is_url) || one.starts_with("--database-url=") {
            continue;
        }
        if one == "--database-url" {
            is_url = true;
        } else if !one.contains("://") && !one.contains("password=") {
            left.push(one);
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_kept() {
        let given = ["tenantry", "--database-url", "postgres://u:secret@h/d", "migrate-all", "--jobs", "2"];
        let actor = of_process(&given.map(OsString::from));
        assert_eq!(
            (actor.command.as_deref(), actor.arguments.as_slice()),
            (Some("migrate-all"), &["--jobs".to_owned(), "2".to_owned()][..])
        );
        let given = ["tenantry", "create", "acme", "--database-url=host=h password=secret"];
        let actor = of_process(&given.map(OsString::from));
        assert_eq!((actor.command.as_deref(), actor.arguments.as_slice()), (Some("create"), &["acme".to_owned()][..]));
    }
}
