//! What a set of migrations must be before any of it runs.
//!
//! Each rule stands for a way in which a migration passes by Diesel and then fails, or does harm, in the middle of a fleet.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use super::load::Folder;
use super::{FolderName, Migration, Mode, Script, Version, acceptance};
use crate::sql::statement::{Statement, comments, split};

/// Every rule that a set of migrations breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin} cannot be used:{}", Listed(problems))]
pub struct InvalidMigrations {
    /// Where they came from, for messages.
    pub origin: String,
    /// What is wrong; not empty.
    pub problems: Vec<Problem>,
}

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The folder, file and line: `20260105090000_create_users/up.sql:3`.
    pub place: String,
    /// What is wrong and what to do about it.
    pub message: String,
}

/// Reads a folder. What is wrong with it is added to `problems`, and then there may be no migration.
pub(super) fn migration(folder: &Folder, problems: &mut Vec<Problem>) -> Option<Migration> {
    let mut report = |file: &str, message: String| {
        let place = if file.is_empty() { folder.name.clone() } else { format!("{}/{file}", folder.name) };
        problems.push(Problem { place, message });
    };
    let version = match folder.name.split('_').next().unwrap_or_default().parse::<Version>() {
        Ok(version) => Some(version),
        Err(_) => {
            report("", "the folder's name does not begin with a version: digits, then _ and a name".to_owned());
            None
        }
    };
    let file = |name: &str| folder.files.iter().find(|(file, _)| file == name).map(|(_, contents)| contents.as_slice());
    let (mode, declared) = match file("metadata.toml").map(metadata) {
        None => (Some(Mode::Transactional), None),
        Some(Ok((mode, outside))) => (Some(mode), outside),
        Some(Err(message)) => {
            report("metadata.toml", message);
            (None, None)
        }
    };
    let up = match file("up.sql") {
        None => {
            report("", "there is no up.sql".to_owned());
            None
        }
        Some(contents) => script(contents, mode, |line, message| report(&place("up.sql", line), message)),
    };
    let down = match file("down.sql") {
        None => None,
        Some(contents) => script(contents, mode, |line, message| report(&place("down.sql", line), message)),
    };
    let up = up.and_then(|up| match up.statements().is_empty() {
        true => {
            report("up.sql", "there is no statement in it".to_owned());
            None
        }
        false => Some(up),
    });
    let accepted = up.as_ref().and_then(|up| accepted_outside(up.text()));
    Some(Migration {
        name: FolderName { folder: folder.name.clone(), version: version? },
        up: up?,
        // A file that says nothing undoes nothing: as if it were missing.
        down: down.filter(|down| !down.statements().is_empty()),
        mode: mode?,
        changes_outside: declared,
        accepted_outside: accepted,
    })
}

/// Checks migrations that are sorted by version against each other.
pub(super) fn order(migrations: &[Arc<Migration>], problems: &mut Vec<Problem>) {
    for pair in migrations.windows(2) {
        let (a, b) = (&pair[0], &pair[1]);
        let message = if a.version() == b.version() {
            format!("the version {} is also that of {}; Diesel would run one of them", b.version(), a.folder())
        } else if by_number(a.version()) > by_number(b.version()) {
            format!("it would run after {}, for versions are ordered as text; pad them to one length", a.folder())
        } else {
            continue;
        };
        problems.push(Problem { place: b.folder().to_owned(), message });
    }
}

/// Diesel reads `metadata.toml` leniently: an empty file or a misspelt key means "not in a transaction", and broken TOML
/// means the opposite. Here it says one thing, or it is refused. Diesel ignores the second key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    run_in_transaction: bool,
    /// Why the migration may change objects outside the tenant's schema.
    changes_outside: Option<String>,
}

fn metadata(contents: &[u8]) -> Result<(Mode, Option<String>), String> {
    let text = std::str::from_utf8(contents).map_err(|_| NOT_UTF8.to_owned())?;
    let metadata: Metadata = toml::from_str(text).map_err(|error| {
        format!(
            "it must set run_in_transaction = true or run_in_transaction = false, and may set \
             changes_outside = \"REASON\": {}",
            error.message().trim_end()
        )
    })?;
    let mode = if metadata.run_in_transaction { Mode::Transactional } else { Mode::NonTransactional };
    match metadata.changes_outside {
        Some(reason) if reason.trim().is_empty() => Err("changes_outside gives no reason".to_owned()),
        outside => Ok((mode, outside)),
    }
}

/// The rules of lint that find what reaches outside the tenant's schema. A migration may declare it.
pub(crate) const RULES_ABOUT_OUTSIDE: [&str; 3] = ["names-other-schema", "object-outside-tenant", "unknown-name"];

/// The reason of the first comment that accepts a finding of lint about objects outside the tenant.
fn accepted_outside(script: &str) -> Option<String> {
    comments(script).find_map(|comment| {
        let (rule, reason) = acceptance::read(comment)?.ok()?;
        (RULES_ABOUT_OUTSIDE.contains(&rule) && !reason.is_empty()).then(|| reason.to_owned())
    })
}

const NOT_UTF8: &str = "it is not UTF-8; save it as UTF-8";

/// Reads an SQL file and reports what is wrong with it, with the line.
fn script(contents: &[u8], mode: Option<Mode>, mut report: impl FnMut(Option<usize>, String)) -> Option<Script> {
    if contents.starts_with(&[0xEF, 0xBB, 0xBF]) || contents.starts_with(&[0xFF, 0xFE]) {
        report(None, "it begins with a byte-order mark; save it as UTF-8 without one".to_owned());
        return None;
    }
    let Ok(text) = std::str::from_utf8(contents) else {
        report(None, NOT_UTF8.to_owned());
        return None;
    };
    if let Some(nul) = text.find('\0') {
        report(Some(crate::sql::statement::line_at(text, nul)), "there is a NUL byte in it".to_owned());
        return None;
    }
    let statements = match split(text) {
        Ok(statements) => statements,
        Err(unterminated) => {
            report(Some(unterminated.line()), unterminated.to_string());
            return None;
        }
    };
    for statement in statements {
        if let Some(message) = refused(&statement, mode) {
            report(Some(statement.line()), message);
        }
    }
    Some(Script::new(text))
}

fn refused(statement: &Statement<'_>, mode: Option<Mode>) -> Option<String> {
    if let Some(command) = statement.psql_command() {
        return Some(format!("{command} is a command of psql, not of the server"));
    }
    if let Some(command) = statement.transaction_command() {
        return Some(format!("{command}: the migration's transaction is not its own; take the command out"));
    }
    if statement.sets_search_path() {
        return Some(
            "it changes search_path, which leads to the tenant; name the schema in the statement instead".into(),
        );
    }
    if statement.copies_from_stdin() {
        return Some("COPY … FROM STDIN needs data beside the SQL; write INSERT".to_owned());
    }
    if mode == Some(Mode::Transactional) && statement.sets_for_session() {
        return Some("SET lasts beyond the migration, and would meet the next tenant; write SET LOCAL".to_owned());
    }
    if let Some(left) = statement.leaves_in_session() {
        return Some(format!("{left} outlasts the migration and would affect the next tenant; remove it"));
    }
    if statement.builds_concurrently() && statement.concurrent_index().is_none() {
        return Some(
            "an index that is built concurrently needs a name, by which a broken-off build is found".to_owned(),
        );
    }
    match (mode, statement.refused_in_transaction()) {
        (Some(Mode::Transactional), Some(command)) => Some(format!(
            "{command} cannot run in a transaction; put it in a migration of its own with run_in_transaction = false \
             in metadata.toml"
        )),
        _ => None,
    }
}

fn place(file: &str, line: Option<usize>) -> String {
    line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}"))
}

/// A key that orders versions as numbers.
fn by_number(version: &Version) -> (usize, &str) {
    let digits = version.as_str().trim_start_matches('0');
    (digits.len(), digits)
}

struct Listed<'a>(&'a [Problem]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|problem| write!(f, "\n  {}: {}", problem.place, problem.message))
    }
}
