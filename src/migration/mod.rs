//! Migrations: SQL files in Diesel's folder layout, loaded from a directory or from the binary and checked before any of
//! them runs.

pub(crate) mod acceptance;
mod ad_hoc;
mod check;
mod harness;
mod load;
pub(crate) mod repeatable;
mod seeds;
mod transactions;
mod version;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::sql::statement::{Statement, identifiers, split, tokens};

pub use ad_hoc::{AdHocScript, InvalidScript};
#[cfg(feature = "lint")]
pub(crate) use check::RULES_ABOUT_OUTSIDE;
pub use check::{InvalidMigrations, Problem};
pub use load::{Embedded, LoadError};
pub use seeds::{SeedError, SeedFile};
pub(crate) use transactions::Boundaries;
pub use version::{Version, VersionError, VersionRange, VersionRangeError};

/// A migration with its SQL. It implements Diesel's [`Migration`](diesel::migration::Migration).
#[derive(Debug)]
pub struct Migration {
    name: FolderName,
    up: Script,
    down: Option<Script>,
    mode: Mode,
    /// The reason in `changes_outside` of `metadata.toml`.
    changes_outside: Option<String>,
    /// The reason in an accepted lint finding about objects outside.
    accepted_outside: Option<String>,
}

/// Whether a migration runs in a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All statements and the ledger row are one transaction. The default.
    Transactional,
    /// Each statement is a transaction of its own: `run_in_transaction = false` in `metadata.toml`.
    NonTransactional,
}

/// An SQL file of a migration. Its text is known to split into statements.
#[derive(Debug)]
pub struct Script {
    text: String,
    traits: Traits,
    checksum: String,
}

/// The direction of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Apply: `up.sql`.
    Up,
    /// Revert: `down.sql`.
    Down,
}

impl Direction {
    /// The name of the file.
    pub fn file(self) -> &'static str {
        match self {
            Self::Up => "up.sql",
            Self::Down => "down.sql",
        }
    }
}

/// The kind of a set of migrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Migrations of the schema `public`.
    Public,
    /// Migrations of the tenant schemas.
    Tenant,
}

impl Kind {
    /// The name in messages and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Tenant => "tenant",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Properties of a script that decide how it runs. They are computed once, because a script runs in thousands of tenants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traits {
    /// All statements are [plain](Statement::is_plain).
    pub(crate) is_plain: bool,
    /// It may leave session state that cannot be reset: a loaded library, or the seed of `random()`.
    pub(crate) may_leave_state: bool,
    /// It may write rows.
    pub(crate) may_write: bool,
    /// It may create deferrable constraints.
    pub(crate) may_defer: bool,
    /// It adds a value to an enum.
    pub(crate) adds_enum_value: bool,
}

/// A set of migrations, sorted by version, without duplicate versions. Cheap to clone.
#[derive(Clone)]
pub struct MigrationSet {
    migrations: Arc<[Arc<Migration>]>,
    origin: Arc<str>,
    directory: Option<Arc<Path>>,
    retired: Arc<BTreeSet<String>>,
    /// The versions that [`first`](MigrationSet::first) left out.
    later: Arc<BTreeSet<String>>,
}

#[derive(Debug)]
struct FolderName {
    folder: String,
    version: Version,
}

impl Migration {
    /// The version, which the ledger records.
    pub fn version(&self) -> &Version {
        &self.name.version
    }

    /// The folder name, such as `20260105090000_create_users`.
    pub fn folder(&self) -> &str {
        &self.name.folder
    }

    /// `up.sql`: at least one statement.
    pub fn up(&self) -> &Script {
        &self.up
    }

    /// `down.sql`; none if the file is missing or has no statements.
    pub fn down(&self) -> Option<&Script> {
        self.down.as_ref()
    }

    /// The script for a direction.
    pub fn script(&self, direction: Direction) -> Option<&Script> {
        match direction {
            Direction::Up => Some(&self.up),
            Direction::Down => self.down.as_ref(),
        }
    }

    /// Whether the migration runs in a transaction.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The reason why the migration may change objects outside the tenant's schema: that of `changes_outside` in
    /// `metadata.toml`, or of an accepted lint finding. Without a reason, such a change is an error.
    pub fn outside_reason(&self) -> Option<&str> {
        self.changes_outside.as_deref().or(self.accepted_outside.as_deref())
    }

    /// The reason in `changes_outside` of `metadata.toml`, which also accepts the lint findings about it.
    pub fn changes_outside(&self) -> Option<&str> {
        self.changes_outside.as_deref()
    }
}

impl Script {
    /// A script with the text of a file. CRLF is replaced by LF, so that the line endings of a checkout make no difference to
    /// the checksum, function bodies and string constants.
    fn new(text: &str) -> Self {
        let text = text.replace("\r\n", "\n");
        // Searched as substrings, because function bodies are string constants.
        const LEAVES: [&str; 2] = ["load", "setseed"];
        // `constraints`: `SET CONSTRAINTS` lasts until the end of the transaction.
        const WRITES: [&str; 8] = ["insert", "update", "delete", "merge", "do", "call", "select", "constraints"];
        const DEFERS: [&str; 2] = ["deferrable", "deferred"];
        let words: HashSet<String> = identifiers(&text).collect();
        let has = |list: &[&str]| list.iter().any(|word| words.contains(*word));
        let lowercase = text.to_ascii_lowercase();
        let statements = split(&text).unwrap_or_default();
        let traits = Traits {
            is_plain: statements.iter().all(Statement::is_plain),
            may_leave_state: LEAVES.iter().any(|word| lowercase.contains(word)),
            may_write: has(&WRITES),
            may_defer: has(&DEFERS),
            adds_enum_value: statements.iter().any(Statement::adds_enum_value),
        };
        let checksum = checksum(&text);
        Self { text, traits, checksum }
    }

    /// The text of the file, with CRLF replaced by LF.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The SHA-256 hash of the tokens, in hexadecimal. White space, comments and line endings make no difference.
    pub fn checksum(&self) -> &str {
        &self.checksum
    }

    /// The properties of the script.
    pub(crate) fn traits(&self) -> Traits {
        self.traits
    }

    /// The statements of the text, in order.
    pub fn statements(&self) -> Vec<Statement<'_>> {
        split(&self.text).expect("the script was split when it was loaded")
    }
}

fn checksum(text: &str) -> String {
    let mut hash = Sha256::new();
    for token in tokens(text) {
        hash.update(token);
        // A separator that no token contains: NUL is rejected in migrations.
        hash.update([0]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl MigrationSet {
    /// All migrations, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Migration>> + ExactSizeIterator {
        self.migrations.iter()
    }

    /// The migration at an index.
    ///
    /// # Panics
    /// If the index is out of range.
    pub fn at(&self, index: usize) -> &Arc<Migration> {
        &self.migrations[index]
    }

    /// The index of a version, or `None` if the set does not contain it.
    pub fn position(&self, version: &str) -> Option<usize> {
        self.migrations.binary_search_by(|migration| migration.version().as_str().cmp(version)).ok()
    }

    /// The migrations that a text names: the one with this version or this folder name; else those whose folder name or
    /// version begins with the text, or whose folder name ends with it.
    pub fn named(&self, text: &str) -> Vec<&Arc<Migration>> {
        let version = text.parse::<Version>().ok();
        let version = version.as_ref().map(Version::as_str);
        let exact = self.versioned().find(|it| Some(it.version().as_str()) == version || it.folder() == text);
        if let Some(migration) = exact {
            return vec![migration];
        }
        let is_part = |it: &&Arc<Migration>| {
            it.folder().starts_with(text)
                || it.folder().ends_with(text)
                || version.is_some_and(|version| it.version().as_str().starts_with(version))
        };
        if text.is_empty() { Vec::new() } else { self.versioned().filter(is_part).collect() }
    }

    /// The first `n` migrations. The versions of the others stay [known](Self::is_known).
    #[must_use]
    pub fn first(&self, n: usize) -> Self {
        let left_out = self.migrations.iter().skip(n).map(|migration| migration.version().to_string());
        let later = self.later.iter().cloned().chain(left_out).collect();
        let migrations = self.migrations.iter().take(n).cloned().collect();
        Self { migrations, later: Arc::new(later), ..self.clone() }
    }

    /// Whether a version is in the set, was left out of it by [`first`](Self::first), or was accepted as removed.
    pub fn is_known(&self, version: &str) -> bool {
        self.position(version).is_some() || self.later.contains(version) || self.retired.contains(version)
    }

    /// An empty set.
    pub fn none() -> Self {
        Self::new(Vec::new(), "none")
    }

    /// A set of sorted migrations with their origin.
    fn new(migrations: Vec<Arc<Migration>>, origin: &str) -> Self {
        Self {
            migrations: migrations.into(),
            origin: origin.into(),
            directory: None,
            retired: Arc::default(),
            later: Arc::default(),
        }
    }

    /// The origin of the migrations: a directory, or "the embedded migrations".
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The directory that the migrations were loaded from; `None` if they are embedded or merged.
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// The origin, the number of migrations and the newest version, in one line.
    pub fn summary(&self) -> String {
        match self.versioned().next_back() {
            None => self.origin.to_string(),
            Some(newest) => {
                let repeatable = match self.len() - self.versioned_len() {
                    0 => String::new(),
                    repeatable => format!(", {repeatable} repeatable"),
                };
                let versioned = self.versioned_len();
                format!("{} ({versioned} in all, newest {}{repeatable})", self.origin, newest.version())
            }
        }
    }

    /// The set with versions of deleted migrations that ledgers may record, because their deletion was accepted.
    #[must_use]
    pub fn with_retired(self, versions: BTreeSet<String>) -> Self {
        Self { retired: versions.into(), ..self }
    }

    /// Whether a version is that of a migration whose deletion was accepted.
    pub fn is_retired(&self, version: &str) -> bool {
        self.retired.contains(version) && self.position(version).is_none()
    }

    /// The number of migrations.
    pub fn len(&self) -> usize {
        self.migrations.len()
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.migrations.is_empty()
    }

    /// The union of two sets. Migrations with equal versions must have equal scripts.
    ///
    /// # Errors
    /// [`LoadError::Invalid`] if a version has different scripts in the two sets.
    pub fn merge(&self, other: &Self) -> Result<Self, LoadError> {
        load::merge(self, other)
    }
}

impl fmt::Debug for MigrationSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|migration| migration.folder())).finish()
    }
}

impl fmt::Display for FolderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.folder)
    }
}
