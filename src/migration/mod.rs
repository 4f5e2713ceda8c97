//! Migrations: SQL in Diesel's folder layout, loaded from a directory or from the binary, and checked whole before any of
//! it runs.

mod check;
mod load;
mod together;
mod version;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use diesel::connection::BoxableConnection;
use diesel::migration::{MigrationMetadata, MigrationName, MigrationSource, MigrationVersion};
use diesel::pg::Pg;
use diesel_migrations::MigrationError;
use sha2::{Digest, Sha256};

use crate::sql::statement::{Statement, identifiers, split, tokens};

pub use check::{InvalidMigrations, Problem};
pub use load::{Embedded, LoadError};
pub use version::{Version, VersionError};

/// One migration. It holds its SQL, which Diesel's own types hide, and is a Diesel [`Migration`](diesel::migration::Migration).
#[derive(Debug)]
pub struct Migration {
    name: FolderName,
    up: Script,
    down: Option<Script>,
    mode: Mode,
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
    /// A session may be another after it: with temporary tables, or under another role.
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
}

impl Script {
    fn new(text: String) -> Self {
        // Roles are set and temporary tables made in so many words, or by code that is called.
        const LEAVES: [&str; 8] = ["temp", "temporary", "pg_temp", "role", "authorization", "do", "call", "select"];
        const WRITES: [&str; 7] = ["insert", "update", "delete", "merge", "do", "call", "select"];
        const DEFERS: [&str; 2] = ["deferrable", "deferred"];
        let words: HashSet<String> = identifiers(&text).collect();
        let has = |list: &[&str]| list.iter().any(|word| words.contains(*word));
        let traits = Traits {
            may_leave_state: has(&LEAVES),
            may_write: has(&WRITES),
            may_defer: has(&DEFERS),
            adds_enum_value: split(&text).is_ok_and(|all| all.iter().any(Statement::adds_enum_value)),
        };
        let checksum = checksum(&text);
        Self { text, traits, checksum }
    }

    /// The file's text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 over its tokens, in hexadecimal digits: white space and comments don't count.
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
        Self { migrations: self.migrations.iter().take(n).cloned().collect() }
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
            None => Err(MigrationError::NoMigrationRevertFile.into()),
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
