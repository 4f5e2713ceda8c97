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

impl InvalidMigrations {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        "invalid-migrations"
    }
}

/// A violation of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The folder, file and line, as in `20260105090000_create_users/up.sql:3`.
    pub location: String,
    /// The violation and how to fix it.
    pub message: String,
}

/// Reads a migration from a folder. Adds violations to `problems`; returns `None` if they make the migration unusable.
pub(super) fn migration(folder: &Folder, problems: &mut Vec<Problem>) -> Option<Migration> {
    let mut check = FolderCheck { folder, problems };
    let version = check.version();
    let metadata = check.metadata();
    let mode = metadata.as_ref().map(|metadata| metadata.mode);
    let up = check.up(mode);
    let down = check.script("down.sql", mode);
    let accepted_outside = up.as_ref().and_then(|up| accepted_outside(up.text()));
    Some(Migration {
        name: FolderName { folder: folder.name.clone(), version: version? },
        up: up?,
        // A file without statements reverts nothing and counts as missing.
        down: down.filter(|down| !down.statements().is_empty()),
        mode: mode?,
        changes_outside: metadata?.changes_outside,
        accepted_outside,
    })
}

/// Checks the parts of a folder and reports violations.
struct FolderCheck<'a> {
    folder: &'a Folder,
    problems: &'a mut Vec<Problem>,
}

impl FolderCheck<'_> {
    fn report(&mut self, location: &str, message: impl Into<String>) {
        let folder = &self.folder.name;
        let location = if location.is_empty() { folder.clone() } else { format!("{folder}/{location}") };
        self.problems.push(Problem { location, message: message.into() });
    }

    fn file(&self, name: &str) -> Option<&[u8]> {
        self.folder.files.iter().find(|(file, _)| file == name).map(|(_, contents)| contents.as_slice())
    }

    fn version(&mut self) -> Option<Version> {
        let version = self.folder.name.split('_').next().unwrap_or_default().parse().ok();
        if version.is_none() {
            self.report("", "the folder name must start with a version: digits, then _ and a name");
        }
        version
    }

    fn metadata(&mut self) -> Option<Metadata> {
        match self.file("metadata.toml").map_or_else(|| Ok(Metadata::default()), Metadata::parse) {
            Ok(metadata) => Some(metadata),
            Err(message) => {
                self.report("metadata.toml", message);
                None
            }
        }
    }

    fn up(&mut self, mode: Option<Mode>) -> Option<Script> {
        if self.file("up.sql").is_none() {
            self.report("", "up.sql is missing");
        }
        let up = self.script("up.sql", mode)?;
        if up.statements().is_empty() {
            self.report("up.sql", "the file contains no statement");
            return None;
        }
        Some(up)
    }

    /// The script in a file; `None` if the file is missing or cannot be split into statements.
    fn script(&mut self, file: &str, mode: Option<Mode>) -> Option<Script> {
        let contents = self.file(file)?;
        let mut violations = Vec::new();
        let script = script(contents, mode, |line, message| violations.push((line, message)));
        for (line, message) in violations {
            let location = line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}"));
            self.report(&location, message);
        }
        script
    }
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
        problems.push(Problem { location: b.folder().to_owned(), message });
    }
}

/// The settings of a migration in `metadata.toml`.
struct Metadata {
    mode: Mode,
    changes_outside: Option<String>,
}

/// The file `metadata.toml`. Anything else, and an empty file, is rejected: Diesel takes an empty file or a misspelled key for
/// `run_in_transaction = false`, and invalid TOML for `true`. Diesel ignores `changes_outside`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MetadataFile {
    /// `true` if only `changes_outside` is given. Diesel takes such a file for `false`.
    run_in_transaction: Option<bool>,
    /// The reason why the migration may change objects outside the tenant's schema.
    changes_outside: Option<String>,
}

impl Default for Metadata {
    fn default() -> Self {
        Self { mode: Mode::Transactional, changes_outside: None }
    }
}

impl Metadata {
    fn parse(contents: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(contents).map_err(|_| NOT_UTF8.to_owned())?;
        let invalid = |reason: &str| {
            format!(
                "set run_in_transaction = true or run_in_transaction = false, or changes_outside = \"REASON\", or both: \
                 {reason}"
            )
        };
        let file: MetadataFile = toml::from_str(text).map_err(|error| invalid(error.message().trim_end()))?;
        let mode = match (file.run_in_transaction, &file.changes_outside) {
            (Some(false), _) => Mode::NonTransactional,
            (Some(true), _) | (None, Some(_)) => Mode::Transactional,
            (None, None) => return Err(invalid("the file sets nothing")),
        };
        if file.changes_outside.as_ref().is_some_and(|reason| reason.trim().is_empty()) {
            return Err("changes_outside must not be empty".to_owned());
        }
        Ok(Self { mode, changes_outside: file.changes_outside })
    }
}

/// The lint rules about objects outside the tenant's schema. `changes_outside` accepts their findings.
pub(crate) const RULES_ABOUT_OUTSIDE: [&str; 3] = ["names-other-schema", "object-outside-tenant", "unknown-name"];

/// The reason in the first comment that accepts a finding of [`RULES_ABOUT_OUTSIDE`].
pub(super) fn accepted_outside(script: &str) -> Option<String> {
    comments(script).find_map(|comment| {
        let (rule, reason) = acceptance::read(comment)?.ok()?;
        (RULES_ABOUT_OUTSIDE.contains(&rule) && !reason.is_empty()).then(|| reason.to_owned())
    })
}

const NOT_UTF8: &str = "the file is not valid UTF-8";

/// Reads an SQL file and reports violations with their line.
pub(super) fn script(
    contents: &[u8],
    mode: Option<Mode>,
    mut report: impl FnMut(Option<usize>, String),
) -> Option<Script> {
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
    let is_dump = statements.iter().any(is_of_dump);
    for statement in statements {
        let of_dump = || dump_rejection(&statement).filter(|_| is_dump);
        if let Some(message) = rejection(&statement, mode).or_else(of_dump) {
            report(Some(statement.line()), message);
        }
    }
    Some(Script::new(text))
}

/// The advice for a statement that `pg_dump` writes.
const FROM_DUMP: &str = "; pg_dump wrote it: make the migration with 'new-migration --from-dump'";

/// Whether `pg_dump` writes such a statement before those of the schema.
fn is_of_dump(statement: &Statement<'_>) -> bool {
    const STATEMENTS: [&str; 14] = [
        "SELECT pg_catalog.set_config('search_path', '', false)",
        "SET statement_timeout =",
        "SET lock_timeout =",
        "SET idle_in_transaction_session_timeout =",
        "SET transaction_timeout =",
        "SET client_encoding =",
        "SET standard_conforming_strings =",
        "SET check_function_bodies =",
        "SET row_security =",
        "SET default_table_access_method =",
        "SET default_tablespace =",
        r"\restrict",
        r"\unrestrict",
        r"\connect",
    ];
    STATEMENTS.iter().any(|start| statement.sql().starts_with(start))
}

/// The message for a statement about a dumped schema, in a script that has other statements of a dump.
fn dump_rejection(statement: &Statement<'_>) -> Option<String> {
    let sql = statement.sql();
    if sql.starts_with("ALTER ") && sql.contains(" OWNER TO ") {
        return Some(format!("OWNER TO names the owner of the dumped object{FROM_DUMP}"));
    }
    let is_about_object = ["CREATE ", "ALTER ", "COMMENT ON "].iter().any(|start| sql.starts_with(start));
    (is_about_object && sql.contains(" public."))
        .then(|| format!("public. names the dumped schema, and not that of the tenant{FROM_DUMP}"))
}

/// The message for a statement that a migration must not contain.
fn rejection(statement: &Statement<'_>, mode: Option<Mode>) -> Option<String> {
    if let Some(command) = statement.psql_command() {
        let advice = if is_of_dump(statement) { FROM_DUMP } else { "" };
        return Some(format!("{command} is a psql command, which the server cannot execute{advice}"));
    }
    if let Some(command) = statement.transaction_command() {
        return Some(format!("{command} is not allowed, because tenantry controls the transaction; remove it"));
    }
    if statement.sets_search_path() {
        let advice = if is_of_dump(statement) { FROM_DUMP } else { "; qualify the names in the statements instead" };
        return Some(format!("changing search_path is not allowed{advice}"));
    }
    if statement.copies_from_stdin() {
        return Some("COPY … FROM STDIN is not supported; use INSERT".to_owned());
    }
    if mode == Some(Mode::Transactional) && statement.sets_for_session() {
        let advice = if is_of_dump(statement) { FROM_DUMP } else { "; use SET LOCAL" };
        return Some(format!("SET outlasts the migration and would affect the next tenant{advice}"));
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

/// A key that orders versions as numbers.
fn by_number(version: &Version) -> (usize, &str) {
    let digits = version.as_str().trim_start_matches('0');
    (digits.len(), digits)
}

struct Listed<'a>(&'a [Problem]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|problem| write!(f, "\n  {}: {}", problem.location, problem.message))
    }
}
