//! Migrations: SQL in Diesel's folder layout, loaded from a directory or from the binary, and checked whole before any of
//! it runs.

pub(crate) mod acceptance;
mod check;
mod load;
mod together;
mod version;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

use diesel::connection::BoxableConnection;
use diesel::migration::{MigrationMetadata, MigrationName, MigrationSource, MigrationVersion};
use diesel::pg::Pg;
use sha2::{Digest, Sha256};

use crate::sql::statement::{Statement, identifiers, split, tokens};

#[cfg(feature = "lint")]
pub(crate) use check::RULES_ABOUT_OUTSIDE;
pub use check::{InvalidMigrations, Problem};
pub use load::{Embedded, LoadError};
pub(crate) use together::Boundaries;
pub use version::{Version, VersionError, VersionRange, VersionRangeError};

/// One migration. It holds its SQL, which Diesel's own types hide, and is a Diesel [`Migration`](diesel::migration::Migration).
#[derive(Debug)]
pub struct Migration {
    name: FolderName,
    up: Script,
    down: Option<Script>,
    mode: Mode,
    /// What `metadata.toml` says.
    changes_outside: Option<String>,
    /// What an accepted finding of lint says.
    accepted_outside: Option<String>,
}

/// Whether a migration's statements take effect together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All of them and the ledger row, or nothing: one transaction. The default.
    Transactional,
    /// One by one, each for itself, as `run_in_transaction = false` in `metadata.toml` asks.
    NonTransactional,
}

/// An SQL file of a migration: text that is known to split into statements.
#[derive(Debug)]
pub struct Script {
    text: String,
    traits: Traits,
    checksum: String,
}

/// Which script of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// `up.sql`, which applies it.
    Up,
    /// `down.sql`, which reverts it.
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

/// Which set of migrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Those of the schema `public`.
    Public,
    /// Those of the tenants.
    Tenant,
}

impl Kind {
    /// Its name in messages and in the database.
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

/// What a script may do that others must know of, by its words and statements. Found once: a set is run in thousands of
/// tenants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traits {
    /// Its statements are known by their text: see [`Statement::is_plain`].
    pub(crate) is_plain: bool,
    /// It may leave something in the session that nothing takes back: a loaded library, the seed of random numbers.
    pub(crate) may_leave_state: bool,
    /// It may write rows.
    pub(crate) may_write: bool,
    /// It may make constraints that are checked late.
    pub(crate) may_defer: bool,
    /// It adds a value to an enum.
    pub(crate) adds_enum_value: bool,
}

/// Migrations in the order of their versions, each version once. Cloning it is cheap.
#[derive(Clone)]
pub struct MigrationSet {
    migrations: Arc<[Arc<Migration>]>,
    origin: Arc<str>,
    retired: Arc<BTreeSet<String>>,
}

#[derive(Debug)]
struct FolderName {
    folder: String,
    version: Version,
}

impl Migration {
    /// What the ledger records.
    pub fn version(&self) -> &Version {
        &self.name.version
    }

    /// The name of its folder, such as `20260105090000_create_users`.
    pub fn folder(&self) -> &str {
        &self.name.folder
    }

    /// `up.sql`: at least one statement.
    pub fn up(&self) -> &Script {
        &self.up
    }

    /// `down.sql`: at least one statement, or nothing where the file is missing or says nothing.
    pub fn down(&self) -> Option<&Script> {
        self.down.as_ref()
    }

    /// One of its scripts.
    pub fn script(&self, direction: Direction) -> Option<&Script> {
        match direction {
            Direction::Up => Some(&self.up),
            Direction::Down => self.down.as_ref(),
        }
    }

    /// Whether its statements take effect together.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Why it may change objects outside the tenant's schema: the reason that `changes_outside` in `metadata.toml` or an
    /// accepted finding of lint gives. Without one it must not.
    pub fn outside(&self) -> Option<&str> {
        self.changes_outside.as_deref().or(self.accepted_outside.as_deref())
    }

    /// The reason that `changes_outside` in `metadata.toml` gives, which accepts the findings of lint about it.
    pub fn changes_outside(&self) -> Option<&str> {
        self.changes_outside.as_deref()
    }
}

impl Script {
    /// The script of a file's text. CRLF counts as LF: a checkout with other line endings is the same script, and sends the
    /// server the same function bodies and string literals.
    fn new(text: &str) -> Self {
        let text = text.replace("\r\n", "\n");
        // Also in the bodies of code, which are constants.
        const LEAVES: [&str; 2] = ["load", "setseed"];
        // `constraints`: `SET CONSTRAINTS` holds until the transaction ends.
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

    /// The file's text, with CRLF replaced by LF.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 over its tokens, in hexadecimal digits. White space, comments and CRLF instead of LF make no difference.
    pub fn checksum(&self) -> &str {
        &self.checksum
    }

    /// What was found in it when it was loaded.
    pub(crate) fn traits(&self) -> Traits {
        self.traits
    }

    /// The statements of the text, in order.
    pub fn statements(&self) -> Vec<Statement<'_>> {
        split(&self.text).expect("a script was split when it was loaded")
    }
}

fn checksum(text: &str) -> String {
    let mut hash = Sha256::new();
    for token in tokens(text) {
        hash.update(token);
        // No token has it: it is refused in a migration.
        hash.update([0]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl MigrationSet {
    /// Every migration, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Migration>> + ExactSizeIterator {
        self.migrations.iter()
    }

    /// The migration at a place in the order, counted from 0.
    ///
    /// # Panics
    /// When there is none.
    pub fn at(&self, index: usize) -> &Arc<Migration> {
        &self.migrations[index]
    }

    /// The place of a version in the order, or nothing where the set does not have it.
    pub fn position(&self, version: &str) -> Option<usize> {
        self.migrations.binary_search_by(|migration| migration.version().as_str().cmp(version)).ok()
    }

    /// The first `n` migrations.
    #[must_use]
    pub fn first(&self, n: usize) -> Self {
        Self { migrations: self.migrations.iter().take(n).cloned().collect(), ..self.clone() }
    }

    /// A set without migrations, for what needs none.
    pub fn none() -> Self {
        Self::new(Vec::new(), "none")
    }

    /// Sorted migrations, and where they come from.
    fn new(migrations: Vec<Arc<Migration>>, origin: &str) -> Self {
        Self { migrations: migrations.into(), origin: origin.into(), retired: Arc::default() }
    }

    /// Where the migrations come from: a folder, or "the embedded migrations".
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Where the migrations come from, how many they are and the newest version, in one line.
    pub fn summary(&self) -> String {
        match self.migrations.last() {
            None => self.origin.to_string(),
            Some(newest) => format!("{} ({} in all, newest {})", self.origin, self.len(), newest.version()),
        }
    }

    /// The same set that also knows versions which were accepted as removed: a ledger may record them.
    #[must_use]
    pub fn with_retired(self, versions: BTreeSet<String>) -> Self {
        Self { retired: versions.into(), ..self }
    }

    /// Whether a version was accepted as removed and is not in the set.
    pub fn is_retired(&self, version: &str) -> bool {
        self.retired.contains(version) && self.position(version).is_none()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.migrations.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.migrations.is_empty()
    }

    /// Both sets as one. A migration that both have, text for text, counts once.
    ///
    /// # Errors
    /// When both have a version, and it is not the same migration.
    pub fn merge(&self, other: &Self) -> Result<Self, LoadError> {
        load::merge(self, other)
    }
}

impl fmt::Debug for MigrationSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|migration| migration.folder())).finish()
    }
}

impl diesel::migration::Migration<Pg> for Migration {
    fn run(&self, conn: &mut dyn BoxableConnection<Pg>) -> diesel::migration::Result<()> {
        execute(&self.up, self.mode, conn)
    }

    fn revert(&self, conn: &mut dyn BoxableConnection<Pg>) -> diesel::migration::Result<()> {
        match &self.down {
            Some(down) => execute(down, self.mode, conn),
            None => Err(format!("migration {} cannot be reverted: it has no down.sql", self.folder()).into()),
        }
    }

    fn metadata(&self) -> &dyn MigrationMetadata {
        self
    }

    fn name(&self) -> &dyn MigrationName {
        &self.name
    }
}

impl MigrationMetadata for Migration {
    fn run_in_transaction(&self) -> bool {
        self.mode == Mode::Transactional
    }
}

impl MigrationName for FolderName {
    fn version(&self) -> MigrationVersion<'_> {
        MigrationVersion::from(self.version.as_str())
    }
}

impl fmt::Display for FolderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.folder)
    }
}

impl MigrationSource<Pg> for MigrationSet {
    fn migrations(&self) -> diesel::migration::Result<Vec<Box<dyn diesel::migration::Migration<Pg>>>> {
        Ok(self.iter().map(|migration| Box::new(Shared(Arc::clone(migration))) as _).collect())
    }
}

/// A migration that Diesel's harness owns and the set keeps.
struct Shared(Arc<Migration>);

impl diesel::migration::Migration<Pg> for Shared {
    fn run(&self, conn: &mut dyn BoxableConnection<Pg>) -> diesel::migration::Result<()> {
        self.0.run(conn)
    }

    fn revert(&self, conn: &mut dyn BoxableConnection<Pg>) -> diesel::migration::Result<()> {
        self.0.revert(conn)
    }

    fn metadata(&self) -> &dyn MigrationMetadata {
        &*self.0
    }

    fn name(&self) -> &dyn MigrationName {
        &self.0.name
    }
}

/// Runs a script the way Diesel's harness expects. Several statements in one message are one implicit transaction, so
/// those of a non-transactional migration go one by one, which Diesel's own file-based migrations do not do.
fn execute(script: &Script, mode: Mode, conn: &mut dyn BoxableConnection<Pg>) -> diesel::migration::Result<()> {
    match mode {
        Mode::Transactional => conn.batch_execute(script.text())?,
        Mode::NonTransactional => {
            for statement in script.statements() {
                conn.batch_execute(statement.sql())?;
            }
        }
    }
    Ok(())
}
