//! Checks of a set of migrations before it runs.
//!
//! Each rule prevents a failure or damage in the middle of a rollout that Diesel does not prevent.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use super::load::Folder;
use super::{FolderName, Migration, Mode, Script, Version, acceptance};
use crate::sql::statement::{Statement, comments, split};

/// The rules that a set of migrations violates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid migrations in {origin}:{}", Listed(problems))]
pub struct InvalidMigrations {
    /// The origin of the migrations, for messages.
    pub origin: String,
    /// The violations; at least one.
    pub problems: Vec<Problem>,
}

/// A violation of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The folder, file and line, as in `20260105090000_create_users/up.sql:3`.
    pub place: String,
    /// The violation and how to fix it.
    pub message: String,
}

/// Reads a migration from a folder. Adds violations to `problems`; returns `None` if they make the migration unusable.
pub(super) fn migration(folder: &Folder, problems: &mut Vec<Problem>) -> Option<Migration> {
    let mut report = |file: &str, message: String| {
        let place = if file.is_empty() { folder.name.clone() } else { format!("{}/{file}", folder.name) };
        problems.push(Problem { place, message });
    };
    let version = match folder.name.split('_').next().unwrap_or_default().parse::<Version>() {
        Ok(version) => Some(version),
        Err(_) => {
            report("", "the folder name must start with a version: digits, then _ and a name".to_owned());
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
            report("", "up.sql is missing".to_owned());
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
            report("up.sql", "the file contains no statement".to_owned());
            None
        }
        false => Some(up),
    });
    let accepted = up.as_ref().and_then(|up| accepted_outside(up.text()));
    Some(Migration {
        name: FolderName { folder: folder.name.clone(), version: version? },
        up: up?,
        // A file without statements reverts nothing and counts as missing.
        down: down.filter(|down| !down.statements().is_empty()),
        mode: mode?,
        changes_outside: declared,
        accepted_outside: accepted,
    })
}

/// Checks the versions of migrations, which must be sorted by version.
pub(super) fn order(migrations: &[Arc<Migration>], problems: &mut Vec<Problem>) {
    for pair in migrations.windows(2) {
        let (a, b) = (&pair[0], &pair[1]);
        let message = if a.version() == b.version() {
            format!("duplicate version {}: {} has the same version", b.version(), a.folder())
        } else if by_number(a.version()) > by_number(b.version()) {
            format!("runs after {}, because versions are sorted as text; give all versions the same length", a.folder())
        } else {
            continue;
        };
        problems.push(Problem { place: b.folder().to_owned(), message });
    }
}

/// The contents of `metadata.toml`. Anything else is rejected: Diesel takes an empty file or a misspelled key for
/// `run_in_transaction = false`, and invalid TOML for `true`. Diesel ignores `changes_outside`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    run_in_transaction: bool,
    /// The reason why the migration may change objects outside the tenant's schema.
    changes_outside: Option<String>,
}

fn metadata(contents: &[u8]) -> Result<(Mode, Option<String>), String> {
    let text = std::str::from_utf8(contents).map_err(|_| NOT_UTF8.to_owned())?;
    let metadata: Metadata = toml::from_str(text).map_err(|error| {
        format!(
            "set run_in_transaction = true or run_in_transaction = false, and optionally changes_outside = \"REASON\": \
             {}",
            error.message().trim_end()
        )
    })?;
    let mode = if metadata.run_in_transaction { Mode::Transactional } else { Mode::NonTransactional };
    match metadata.changes_outside {
        Some(reason) if reason.trim().is_empty() => Err("changes_outside must not be empty".to_owned()),
        outside => Ok((mode, outside)),
    }
}

/// The lint rules about objects outside the tenant's schema. `changes_outside` accepts their findings.
pub(crate) const RULES_ABOUT_OUTSIDE: [&str; 3] = ["names-other-schema", "object-outside-tenant", "unknown-name"];

/// The reason in the first comment that accepts a finding of [`RULES_ABOUT_OUTSIDE`].
fn accepted_outside(script: &str) -> Option<String> {
    comments(script).find_map(|comment| {
        let (rule, reason) = acceptance::read(comment)?.ok()?;
        (RULES_ABOUT_OUTSIDE.contains(&rule) && !reason.is_empty()).then(|| reason.to_owned())
    })
}

const NOT_UTF8: &str = "the file is not valid UTF-8";

/// Reads an SQL file and reports violations with their line.
fn script(contents: &[u8], mode: Option<Mode>, mut report: impl FnMut(Option<usize>, String)) -> Option<Script> {
    if contents.starts_with(&[0xEF, 0xBB, 0xBF]) || contents.starts_with(&[0xFF, 0xFE]) {
        report(None, "the file starts with a byte-order mark; save it as UTF-8 without one".to_owned());
        return None;
    }
    let Ok(text) = std::str::from_utf8(contents) else {
        report(None, NOT_UTF8.to_owned());
        return None;
    };
    if let Some(nul) = text.find('\0') {
        report(Some(crate::sql::statement::line_at(text, nul)), "the file contains a NUL byte".to_owned());
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

/// The message for a statement that a migration must not contain.
fn refused(statement: &Statement<'_>, mode: Option<Mode>) -> Option<String> {
    if let Some(command) = statement.psql_command() {
        return Some(format!("{command} is a psql command, which the server cannot execute"));
    }
    if let Some(command) = statement.transaction_command() {
        return Some(format!("{command} is not allowed, because tenantry controls the transaction; remove it"));
    }
    if statement.sets_search_path() {
        return Some("changing search_path is not allowed; qualify the names in the statements instead".into());
    }
    if statement.copies_from_stdin() {
        return Some("COPY … FROM STDIN is not supported; use INSERT".to_owned());
    }
    if mode == Some(Mode::Transactional) && statement.sets_for_session() {
        return Some("SET outlasts the migration and would affect the next tenant; use SET LOCAL".to_owned());
    }
    if let Some(left) = statement.leaves_in_session() {
        return Some(format!("{left} outlasts the migration and would affect the next tenant; remove it"));
    }
    if statement.builds_concurrently() && statement.concurrent_index().is_none() {
        return Some(
            "CREATE INDEX CONCURRENTLY needs an index name, so that an interrupted build can be detected".to_owned(),
        );
    }
    match (mode, statement.refused_in_transaction()) {
        (Some(Mode::Transactional), Some(command)) => Some(format!(
            "{command} cannot run in a transaction; move it to a separate migration with run_in_transaction = false in \
             metadata.toml"
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
