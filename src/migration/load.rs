//! The one loader: folders of files, from a directory or from the binary, become a checked [`MigrationSet`].

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use include_dir::Dir;

use super::check::{self, InvalidMigrations, Problem};
use super::{Migration, MigrationSet, Mode};

/// Migrations that [`embed_migrations!`](crate::embed_migrations) put into the binary.
#[derive(Debug, Clone)]
pub struct Embedded(Dir<'static>);

/// Why migrations could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The directory or a file in it cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// Why it was not.
        source: io::Error,
    },
    /// The folder, or what was embedded, holds no migration.
    #[error("no migrations in {origin}")]
    Empty {
        /// Where they were looked for.
        origin: String,
    },
    /// They break rules; all that they break is listed.
    #[error(transparent)]
    Invalid(#[from] InvalidMigrations),
}

impl LoadError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "migrations-unreadable",
            Self::Empty { .. } => "no-migrations",
            Self::Invalid(_) => "invalid-migrations",
        }
    }
}

/// The origin of migrations that are in the binary.
const EMBEDDED: &str = "the embedded migrations";

/// The files of a migration. Others in its folder are ignored.
const FILES: [&str; 3] = ["up.sql", "down.sql", "metadata.toml"];

/// A folder of a set, before anything is known of it.
pub(super) struct Folder {
    pub(super) name: String,
    pub(super) files: Vec<(String, Vec<u8>)>,
}

impl Embedded {
    /// Wraps what the macro embedded.
    #[doc(hidden)]
    pub const fn new(dir: Dir<'static>) -> Self {
        Self(dir)
    }
}

impl MigrationSet {
    /// Loads the migrations of a directory: a folder each, as Diesel lays them out.
    ///
    /// Ignores files beside the folders, and entries whose names begin with a dot, as Diesel does.
    ///
    /// # Errors
    /// [`LoadError::Read`] when something cannot be read, which includes broken symbolic links; [`LoadError::Empty`] when
    /// there are no migrations; [`LoadError::Invalid`] when one breaks a rule, see [`Problem`].
    pub fn from_dir(path: &Path) -> Result<Self, LoadError> {
        let folders = folders_in(path)?;
        Self::from_folders(&path.display().to_string(), folders)
    }

    /// Loads migrations from the binary.
    ///
    /// # Errors
    /// [`LoadError::Empty`] when there are none; [`LoadError::Invalid`] when one breaks a rule, see [`Problem`].
    pub fn from_embedded(embedded: &Embedded) -> Result<Self, LoadError> {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let folders = embedded
            .0
            .dirs()
            .filter(|dir| !name(dir.path()).starts_with('.'))
            .map(|dir| Folder {
                name: name(dir.path()),
                files: dir.files().map(|file| (name(file.path()), file.contents().to_vec())).collect(),
            })
            .collect();
        Self::from_folders(EMBEDDED, folders)
    }

    /// Refuses migrations that are not transactional and have several statements.
    pub(crate) fn require_single_statements(&self) -> Result<(), InvalidMigrations> {
        let several = |migration: &&Arc<Migration>| {
            migration.mode() == Mode::NonTransactional && migration.up().statements().len() > 1
        };
        let problems: Vec<Problem> = self
            .iter()
            .filter(several)
            .map(|migration| Problem {
                place: format!("{}/up.sql", migration.folder()),
                message: "a public migration that is not transactional has one statement; split it up".to_owned(),
            })
            .collect();
        match problems.is_empty() {
            true => Ok(()),
            false => Err(InvalidMigrations { origin: "the public migrations".to_owned(), problems }),
        }
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
        match problems.is_empty() {
            true => Ok(Self::new(migrations, origin)),
            false => Err(InvalidMigrations { origin: origin.to_owned(), problems }.into()),
        }
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
    match problems.is_empty() {
        true => Ok(MigrationSet::new(migrations, &one.origin)),
        false => Err(InvalidMigrations { origin: "the public migrations".to_owned(), problems }.into()),
    }
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

/// The contents of a file. Anything else is refused: reading a named pipe would wait for its writer.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    match follow(path)?.is_file() {
        true => fs::read(path),
        false => Err(io::Error::other("not a regular file")),
    }
}

fn metadata(path: &Path) -> Result<fs::Metadata, LoadError> {
    follow(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })
}

/// Follows symbolic links. A broken one is an error, so that no migration is left out silently.
fn follow(path: &Path) -> io::Result<fs::Metadata> {
    fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(io::ErrorKind::NotFound, "broken symbolic link"),
        _ => error,
    })
}

fn entries(path: &Path) -> Result<Vec<fs::DirEntry>, LoadError> {
    fs::read_dir(path).and_then(Iterator::collect).map_err(|source| LoadError::Read { path: path.to_owned(), source })
}
