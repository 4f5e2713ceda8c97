//! Repeatable migrations: scripts that create or replace functions and views, and that are applied again when they change.
//!
//! They follow the versioned migrations of a set, sorted by name. Their versions contain their checksums.

use std::path::Path;
use std::sync::Arc;

use super::check::{self, InvalidMigrations, Problem};
use super::load::{self, Embedded, LoadError};
use super::{Direction, FolderName, Migration, MigrationSet, Mode, Version};

/// The folder beside that of the tenant migrations.
pub const FOLDER: &str = "repeatable";

/// The longest name of a file in bytes.
const MAX_NAME: usize = 100;

impl Migration {
    /// Whether it is a repeatable migration, which is applied again when it changes.
    pub fn is_repeatable(&self) -> bool {
        self.name.version.repeatable().is_some()
    }

    /// The folder and the file of a script.
    pub(crate) fn place(&self, direction: Direction) -> (&str, &str) {
        self.folder().split_once('/').unwrap_or((self.folder(), direction.file()))
    }

    /// The file and the checksum of a repeatable migration, as the tracker records them.
    pub(crate) fn as_repeatable(&self) -> Option<(&str, &str)> {
        self.name.version.repeatable()
    }
}

impl Version {
    fn of_repeatable(file: &str, checksum: &str) -> Self {
        Self(version_of(file, checksum))
    }

    /// The file and the checksum; `None` for the version of a versioned migration.
    pub(crate) fn repeatable(&self) -> Option<(&str, &str)> {
        self.as_str().strip_prefix(FOLDER)?.strip_prefix('/')?.split_once('@')
    }
}

/// The version of a repeatable migration. It is sorted after the digits of a versioned one.
pub(crate) fn version_of(file: &str, checksum: &str) -> String {
    format!("{FOLDER}/{file}@{checksum}")
}

impl MigrationSet {
    /// The migrations with a version of digits, which come first. The others are repeatable.
    pub fn versioned(&self) -> impl DoubleEndedIterator<Item = &Arc<Migration>> + ExactSizeIterator {
        self.migrations[..self.versioned_len()].iter()
    }

    /// The number of versioned migrations.
    pub fn versioned_len(&self) -> usize {
        self.migrations.partition_point(|migration| !migration.is_repeatable())
    }

    /// The versions of the repeatable migrations, with those that [`first`](Self::first) left out.
    pub(crate) fn all_repeatable(&self) -> impl Iterator<Item = &str> {
        let of_set = self.migrations[self.versioned_len()..].iter().map(|migration| migration.version().as_str());
        of_set.chain(self.later.iter().map(String::as_str).filter(|version| version.starts_with(FOLDER)))
    }

    /// Adds the repeatable migrations of the folder `repeatable` beside the directory that the set was loaded from, if it exists.
    ///
    /// # Errors
    /// As [`from_dir`](Self::from_dir).
    pub fn with_repeatable_beside(self, directory: &Path) -> Result<Self, LoadError> {
        let absolute = directory.canonicalize();
        let absolute = absolute.map_err(|source| LoadError::Read { path: directory.to_owned(), source })?;
        let Some(parent) = absolute.parent() else { return Ok(self) };
        let folder = parent.join(FOLDER);
        if !folder.is_dir() {
            return Ok(self);
        }
        let files = load::sql_files_in(&folder)?;
        self.with_repeatable_files(&folder.display().to_string(), files)
    }

    /// Adds embedded repeatable migrations: the SQL files of a folder.
    ///
    /// # Errors
    /// As [`from_embedded`](Self::from_embedded).
    pub fn with_repeatable(self, embedded: &Embedded) -> Result<Self, LoadError> {
        self.with_repeatable_files("the embedded repeatable migrations", embedded.sql_files())
    }

    /// Adds repeatable migrations, given by their names and contents.
    fn with_repeatable_files(self, origin: &str, mut files: Vec<(String, Vec<u8>)>) -> Result<Self, LoadError> {
        files.sort();
        let mut problems = Vec::new();
        let added: Vec<Arc<Migration>> =
            files.iter().filter_map(|(name, contents)| parse(name, contents, &mut problems)).map(Arc::new).collect();
        if !problems.is_empty() {
            return Err(InvalidMigrations { origin: origin.to_owned(), problems }.into());
        }
        let mut migrations: Vec<Arc<Migration>> = self.migrations.iter().cloned().chain(added).collect();
        migrations.sort_by(|a, b| a.version().cmp(b.version()));
        Ok(Self { migrations: migrations.into(), ..self })
    }
}

fn parse(name: &str, contents: &[u8], problems: &mut Vec<Problem>) -> Option<Migration> {
    let mut report = |line: Option<usize>, message: String| {
        let line = line.map_or_else(String::new, |line| format!(":{line}"));
        problems.push(Problem { location: format!("{FOLDER}/{name}{line}"), message });
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.len() > MAX_NAME || !name.chars().all(is_plain) {
        report(None, format!("the name must have at most {MAX_NAME} letters, digits, '-', '_' and '.'"));
        return None;
    }
    let up = check::script(contents, Some(Mode::Transactional), &mut report)?;
    if up.statements().is_empty() {
        report(None, "the file contains no statement".to_owned());
        return None;
    }
    let version = Version::of_repeatable(name, up.checksum());
    let accepted_outside = check::accepted_outside(up.text());
    Some(Migration {
        name: FolderName { folder: format!("{FOLDER}/{name}"), version },
        up,
        down: None,
        mode: Mode::Transactional,
        changes_outside: None,
        accepted_outside,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(files: &[(&str, &str)]) -> Result<MigrationSet, LoadError> {
        let versioned = super::super::tests::load(&[("20260101000000_a/up.sql", b"CREATE TABLE a ();")]).unwrap();
        let files = files.iter().map(|(name, sql)| ((*name).to_owned(), sql.as_bytes().to_vec())).collect();
        versioned.with_repeatable_files("files", files)
    }

    #[test]
    fn they_follow_the_versioned_migrations_by_name() {
        let set = set(&[("b.sql", "SELECT 2"), ("a.sql", "SELECT 1")]).unwrap();
        let folders: Vec<&str> = set.iter().map(|migration| migration.folder()).collect();
        assert_eq!(folders, ["20260101000000_a", "repeatable/a.sql", "repeatable/b.sql"]);
        let summary = set.summary();
        assert_eq!(set.versioned_len(), 1);
        assert!(summary.ends_with(" (1 in all, newest 20260101000000, 2 repeatable)"), "{summary}");
        assert_eq!(set.at(1).as_repeatable().map(|(file, _)| file), Some("a.sql"));
        assert_eq!(set.first(1).len(), 1);
    }

    #[test]
    fn an_edited_one_has_another_version_and_a_comment_makes_no_difference() {
        let version = |sql: &str| set(&[("a.sql", sql)]).unwrap().at(1).version().clone();
        assert_eq!(version("SELECT 1"), version("SELECT  1 -- a comment"));
        assert_ne!(version("SELECT 1"), version("SELECT 2"));
    }

    #[test]
    fn invalid_files_are_refused_with_their_place() {
        for (name, sql, expected) in [
            ("a b.sql", "SELECT 1", "repeatable/a b.sql: the name must have"),
            ("a.sql", " -- nothing", "repeatable/a.sql: the file contains no statement"),
            ("a.sql", "SELECT 1;\nCOMMIT", "repeatable/a.sql:2: COMMIT is not allowed"),
            ("a.sql", "VACUUM", "repeatable/a.sql:1: VACUUM cannot run in a transaction"),
        ] {
            let error = set(&[(name, sql)]).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
