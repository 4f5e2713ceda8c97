//! Loads a [`MigrationSet`] from a directory or from the binary, and checks it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use include_dir::Dir;

use super::check::{self, InvalidMigrations, Problem};
use super::{Migration, MigrationSet, Mode};

/// Migrations that [`embed_migrations!`](crate::embed_migrations) embedded in the binary.
#[derive(Debug, Clone)]
pub struct Embedded {
    dir: Dir<'static>,
    repeatable: Option<&'static Self>,
}

/// Why migrations cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The directory or a file in it cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The directory or the binary contains no migrations.
    #[error("no migrations in {origin}")]
    Empty {
        /// The origin of the migrations.
        origin: String,
    },
    /// The migrations violate rules.
    #[error(transparent)]
    Invalid(#[from] InvalidMigrations),
}

impl LoadError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "migrations-unreadable",
            Self::Empty { .. } => "no-migrations",
            Self::Invalid(error) => error.code(),
        }
    }
}

/// The origin of embedded migrations, for messages.
const EMBEDDED: &str = "the embedded migrations";

/// The files of a migration. Others in its folder are ignored.
const FILES: [&str; 3] = ["up.sql", "down.sql", "metadata.toml"];

/// The files of a migration's folder, before they are checked.
pub(super) struct Folder {
    pub(super) name: String,
    pub(super) files: Vec<(String, Vec<u8>)>,
}

impl Embedded {
    /// Wraps the embedded directory.
    #[doc(hidden)]
    pub const fn new(dir: Dir<'static>) -> Self {
        Self { dir, repeatable: None }
    }

    /// Adds the SQL files of another embedded directory as repeatable migrations.
    #[must_use]
    pub const fn with_repeatable(self, repeatable: &'static Self) -> Self {
        Self { repeatable: Some(repeatable), ..self }
    }

    /// The SQL files in the directory, with their contents.
    pub(super) fn sql_files(&self) -> Vec<(String, Vec<u8>)> {
        self.dir
            .files()
            .map(|file| (name_of(file.path()), file.contents().to_vec()))
            .filter(|(name, _)| is_sql_file(name))
            .collect()
    }
}

impl MigrationSet {
    /// Loads the migrations in a directory, which contains a folder for each migration as in Diesel's layout.
    ///
    /// Like Diesel, ignores files beside the folders and entries whose names start with a dot.
    ///
    /// # Errors
    /// [`LoadError::Read`] if a file cannot be read or a symbolic link is broken; [`LoadError::Empty`] if there are no
    /// migrations; [`LoadError::Invalid`] if a migration violates a rule.
    pub fn from_dir(path: &Path) -> Result<Self, LoadError> {
        let folders = folders_in(path)?;
        let set = Self::from_folders(&path.display().to_string(), folders)?;
        Ok(Self { directory: Some(path.into()), ..set })
    }

    /// Loads embedded migrations.
    ///
    /// # Errors
    /// [`LoadError::Empty`] if there are none; [`LoadError::Invalid`] if a migration violates a rule.
    pub fn from_embedded(embedded: &Embedded) -> Result<Self, LoadError> {
        let folders = embedded
            .dir
            .dirs()
            .filter(|dir| !name_of(dir.path()).starts_with('.'))
            .map(|dir| Folder {
                name: name_of(dir.path()),
                files: dir.files().map(|file| (name_of(file.path()), file.contents().to_vec())).collect(),
            })
            .collect();
        let set = Self::from_folders(EMBEDDED, folders)?;
        match embedded.repeatable {
            Some(repeatable) => set.with_repeatable(repeatable),
            None => Ok(set),
        }
    }

    /// Rejects non-transactional migrations with several statements.
    pub(crate) fn require_single_statements(&self) -> Result<(), InvalidMigrations> {
        let several = |migration: &&Arc<Migration>| {
            migration.mode() == Mode::NonTransactional && migration.up().statements().len() > 1
        };
        let problems: Vec<Problem> = self
            .iter()
            .filter(several)
            .map(|migration| Problem {
                location: format!("{}/up.sql", migration.folder()),
                message: "a non-transactional public migration must have exactly one statement; split it".to_owned(),
            })
            .collect();
        if problems.is_empty() {
            return Ok(());
        }
        Err(InvalidMigrations { origin: "the public migrations".to_owned(), problems })
    }

    fn from_folders(origin: &str, mut folders: Vec<Folder>) -> Result<Self, LoadError> {
        if folders.is_empty() {
            return Err(LoadError::Empty { origin: origin.to_owned() });
        }
        folders.sort_by(|a, b| a.name.cmp(&b.name));
        let mut problems = Vec::new();
        let mut migrations: Vec<Arc<Migration>> =
            folders.iter().filter_map(|folder| check::migration(folder, &mut problems)).map(Arc::new).collect();
        migrations.sort_by(|a, b| a.version().cmp(b.version()));
        check::order(&migrations, &mut problems);
        if problems.is_empty() {
            return Ok(Self::new(migrations, origin));
        }
        Err(InvalidMigrations { origin: origin.to_owned(), problems }.into())
    }
}

pub(super) fn merge(one: &MigrationSet, other: &MigrationSet) -> Result<MigrationSet, LoadError> {
    let same = |a: &Migration, b: &Migration| {
        a.up.text() == b.up.text()
            && a.down.as_ref().map(|s| s.text()) == b.down.as_ref().map(|s| s.text())
            && a.mode == b.mode
    };
    let mut migrations: Vec<_> = one.migrations.to_vec();
    for migration in other.iter() {
        match one.position(migration.version().as_str()) {
            Some(index) if same(one.at(index), migration) => {}
            _ => migrations.push(Arc::clone(migration)),
        }
    }
    migrations.sort_by(|a, b| a.version().cmp(b.version()));
    let mut problems: Vec<Problem> = Vec::new();
    check::order(&migrations, &mut problems);
    if problems.is_empty() {
        return Ok(MigrationSet::new(migrations, &one.origin));
    }
    Err(InvalidMigrations { origin: "the public migrations".to_owned(), problems }.into())
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_sql_file(name: &str) -> bool {
    !name.starts_with('.') && Path::new(name).extension().is_some_and(|extension| extension == "sql")
}

/// The SQL files in a folder, with their contents.
pub(super) fn sql_files_in(folder: &Path) -> Result<Vec<(String, Vec<u8>)>, LoadError> {
    let mut files = Vec::new();
    for entry in entries(folder)? {
        let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        if is_sql_file(&name) {
            let contents = read(&path).map_err(|source| LoadError::Read { path, source })?;
            files.push((name, contents));
        }
    }
    Ok(files)
}

fn folders_in(root: &Path) -> Result<Vec<Folder>, LoadError> {
    let mut folders = Vec::new();
    for entry in entries(root)? {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        if name.starts_with('.') || !metadata(&path)?.is_dir() {
            continue;
        }
        let mut files = Vec::new();
        for file in entries(&path)? {
            let (name, path) = (file.file_name().to_string_lossy().into_owned(), file.path());
            if FILES.contains(&name.as_str()) {
                let contents = read(&path).map_err(|source| LoadError::Read { path, source })?;
                files.push((name, contents));
            }
        }
        folders.push(Folder { name, files });
    }
    Ok(folders)
}

/// Reads a regular file. Other kinds are rejected: reading a named pipe would wait for a writer.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    if !follow(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    fs::read(path)
}

fn metadata(path: &Path) -> Result<fs::Metadata, LoadError> {
    follow(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })
}

/// The metadata of a file, with symbolic links resolved. A broken link is an error, so that no migration is skipped silently.
fn follow(path: &Path) -> io::Result<fs::Metadata> {
    fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(io::ErrorKind::NotFound, "broken symbolic link"),
        _ => error,
    })
}

fn entries(path: &Path) -> Result<Vec<fs::DirEntry>, LoadError> {
    fs::read_dir(path).and_then(Iterator::collect).map_err(|source| LoadError::Read { path: path.to_owned(), source })
}
