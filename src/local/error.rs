//! What can go wrong with a local server, and what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use thiserror::Error;

/// How many lines of a program's output, or of the server's log, an error keeps.
const KEPT_LINES: usize = 20;

/// A failure to find, make, start, stop or ask a local server.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LocalError {
    /// None of the usual places holds a complete set of PostgreSQL's server binaries.
    #[error("no PostgreSQL server binaries found on this machine")]
    BinariesNotFound,

    /// The folder that was asked for does not hold the server binaries.
    #[error("no usable `{missing}` in {}", folder.display())]
    BinariesIncomplete {
        /// The folder that was asked for.
        folder: PathBuf,
        /// The first program that is missing or does not run.
        missing: &'static str,
    },

    /// The server binaries were found, but no `psql`.
    #[error("no psql beside the server binaries in {} nor on the search path", folder.display())]
    PsqlNotFound {
        /// The folder of the server binaries.
        folder: PathBuf,
    },

    /// No `pg_dump` or `pg_restore` was found.
    #[error("no {program} {}", folder.as_deref().map_or_else(
        || "on the search path nor where packages install it".to_owned(),
        |folder| format!("in {}", folder.display())
    ))]
    PgDumpNotFound {
        /// The program.
        program: &'static str,
        /// The only folder that was searched.
        folder: Option<PathBuf>,
    },

    /// Each `pg_dump` is older than the server.
    #[error("{} is of PostgreSQL {version} and cannot dump a server of PostgreSQL {server}", program.display())]
    PgDumpTooOld {
        /// The newest one.
        program: PathBuf,
        /// Its major version.
        version: u32,
        /// The major version of the server.
        server: u32,
    },

    /// The URL contains secrets that no environment variable can pass to a program.
    #[error("the database URL contains secrets besides the password, which pg_dump would show to other users")]
    SecretsOfUrl,

    /// Root asks for a server, and there is no plain user to run it.
    #[error("PostgreSQL does not run as root, and there is no user `postgres` or `nobody` to run it instead")]
    NoAccount,

    /// The user that runs the server cannot enter a folder on the way to the server's files.
    #[error("{account} cannot enter {}, which leads to {}", barrier.display(), path.display())]
    Unreachable {
        /// The user that runs the server.
        account: String,
        /// The outermost folder that the user cannot enter.
        barrier: PathBuf,
        /// The folder that was wanted.
        path: PathBuf,
    },

    /// A folder exists that another user made or may write to, so it is not used.
    #[error("{} is not a private folder of ours: {reason}", folder.display())]
    ForeignFolder {
        /// The folder.
        folder: PathBuf,
        /// The problem.
        reason: String,
    },

    /// The data folder was made by another major version of PostgreSQL.
    #[error(
        "{} holds data of PostgreSQL {data}, but the binaries in {} are PostgreSQL {binaries}",
        folder.display(),
        bin.display()
    )]
    OtherMajorVersion {
        /// The data folder.
        folder: PathBuf,
        /// Major version that made the data folder.
        data: u32,
        /// The folder of the binaries.
        bin: PathBuf,
        /// Major version of the binaries.
        binaries: u32,
    },

    /// One of PostgreSQL's programs could not be run at all.
    #[error("cannot run `{command}`")]
    Spawn {
        /// The command line.
        command: String,
        /// Why not.
        source: io::Error,
    },

    /// One of PostgreSQL's programs failed.
    #[error("`{command}` failed ({status})")]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of what it said, and of the server's log.
        source: LastLines,
    },

    /// A server that was being started by someone else does not accept connections.
    #[error("the server (process {pid}) did not accept connections within {} s", waited.as_secs())]
    StartTimeout {
        /// The postmaster's process id.
        pid: u32,
        /// How long it was given.
        waited: Duration,
    },

    /// The server did not stop in time.
    #[error("the server (process {pid}) did not stop within {} s", waited.as_secs())]
    StopTimeout {
        /// The postmaster's process id.
        pid: u32,
        /// How long it was given.
        waited: Duration,
    },

    /// A file or folder could not be read, written or made.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as in "read".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl LocalError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BinariesNotFound => "binaries-not-found",
            Self::BinariesIncomplete { .. } => "binaries-incomplete",
            Self::PsqlNotFound { .. } => "psql-not-found",
            Self::PgDumpNotFound { .. } => "pg-dump-not-found",
            Self::PgDumpTooOld { .. } => "pg-dump-too-old",
            Self::SecretsOfUrl => "secrets-of-url",
            Self::NoAccount => "no-server-account",
            Self::Unreachable { .. } => "folder-inaccessible",
            Self::ForeignFolder { .. } => "foreign-folder",
            Self::OtherMajorVersion { .. } => "other-major-version",
            Self::Spawn { .. } => "program-not-started",
            Self::Failed { .. } => "program-failed",
            Self::StartTimeout { .. } => "start-timeout",
            Self::StopTimeout { .. } => "stop-timeout",
            Self::Io { .. } => "file-error",
        }
    }

    /// What a person can do about it, where there is something to say.
    ///
    /// May be several lines long.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::BinariesNotFound => Some(INSTALL.to_owned()),
            Self::BinariesIncomplete { .. } => Some(
                "name the folder that holds initdb, pg_ctl and postgres, such as /usr/lib/postgresql/17/bin, \
                 or name none to have it looked for"
                    .to_owned(),
            ),
            Self::PgDumpTooOld { server, .. } => {
                Some(format!("install the client programs of PostgreSQL {server}, or name their folder with --pg-bin"))
            }
            Self::SecretsOfUrl => Some("make the dump with pg_dump, and use --from-dump".to_owned()),
            Self::PsqlNotFound { .. } | Self::PgDumpNotFound { .. } => {
                Some("install PostgreSQL's client programs (package postgresql-client)".to_owned())
            }
            Self::NoAccount => Some("add one (`useradd --system postgres`), or run as a plain user".to_owned()),
            Self::Unreachable { account, barrier, .. } => {
                Some(format!("choose another folder, or let {account} pass: `chmod o+x '{}'`", barrier.display()))
            }
            Self::ForeignFolder { .. } => {
                Some("choose another folder, run as its owner, or remove it if it is not needed".to_owned())
            }
            Self::OtherMajorVersion { folder, data, .. } => Some(format!(
                "use the binaries of PostgreSQL {data}, or remove {} to start again (its data is lost)",
                folder.display()
            )),
            Self::Failed { source, .. } => known_cause(source.as_str()),
            Self::StartTimeout { .. } => {
                Some("read the server's log: it may still be recovering from a crash".to_owned())
            }
            Self::StopTimeout { pid, .. } => {
                Some(format!("read the server's log, or end it by hand: `kill -QUIT {pid}`"))
            }
            Self::Spawn { source, .. } | Self::Io { source, .. } => (source.kind() == io::ErrorKind::PermissionDenied)
                .then(|| "it may be another user's: run as that user, or choose another folder".to_owned()),
        }
    }

    /// Whether it is the failure of a program that said this.
    pub(super) fn says(&self, words: &str) -> bool {
        matches!(self, Self::Failed { source, .. } if source.as_str().contains(words))
    }

    /// For `map_err`: a [`LocalError::Io`] with the action and the path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// The last lines of a program's output, as the source of an error.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct LastLines(String);

impl LastLines {
    /// The lines, separated by newlines; at most 20 of each text that went in.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Keeps the last lines of each text that is not blank.
    pub(super) fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let kept: Vec<&str> = texts.into_iter().flat_map(last_lines).collect();
        Self(kept.join("\n"))
    }
}

impl fmt::Display for LastLines {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_str() {
            "" => out.write_str("it said nothing"),
            lines => out.write_str(lines),
        }
    }
}

fn last_lines(text: &str) -> impl Iterator<Item = &str> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let skipped = lines.len().saturating_sub(KEPT_LINES);
    lines.into_iter().skip(skipped)
}

/// The remedy for a failure that PostgreSQL's own words give away; under `LC_ALL=C` they are English.
fn known_cause(output: &str) -> Option<String> {
    const CAUSES: [(&str, &str); 5] = [
        (
            "could not look up effective user ID",
            "the user id has no entry in /etc/passwd, which PostgreSQL needs: add one \
             (`echo \"dev:x:$(id -u):$(id -g)::/tmp:/bin/sh\" >> /etc/passwd`), \
             or run as root or as a user that has one",
        ),
        ("is still in use", "processes of a server that crashed still run: wait for them to end, or end them by hand"),
        ("Address already in use", "another program took the port in the meantime: try again"),
        ("No space left on device", "free some space; in a container also look at the size of /dev/shm (`--shm-size`)"),
        ("cannot be run as root", "run as a plain user, or as a root that may change its user id"),
    ];
    CAUSES.iter().find(|(sign, _)| output.contains(sign)).map(|(_, remedy)| (*remedy).to_owned())
}

const INSTALL: &str = "\
install the server, or name the folder of its binaries:
  Debian, Ubuntu  apt install postgresql
  Fedora, RHEL    dnf install postgresql-server
  Arch            pacman -S postgresql
  Alpine          apk add postgresql
  macOS           brew install postgresql@17";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_lines_of_each_text() {
        let long: String = (1..=50).map(|n| format!("line {n}\n\n")).collect();
        let kept = LastLines::of([long.as_str(), "   \n", "tail\n"]);
        let lines: Vec<&str> = kept.as_str().lines().collect();
        assert_eq!(lines.len(), KEPT_LINES + 1);
        assert_eq!(lines.first(), Some(&"line 31"));
        assert_eq!(lines.last(), Some(&"tail"));
    }

    #[test]
    fn empty_output_is_reported() {
        assert_eq!(LastLines::of([""]).to_string(), "it said nothing");
    }

    #[test]
    fn user_without_passwd_entry_gets_a_hint() {
        let remedy = known_cause("initdb: error: could not look up effective user ID 4711: user does not exist");
        assert!(remedy.is_some_and(|text| text.contains("/etc/passwd")));
        assert_eq!(known_cause("something else"), None);
    }
}
