//! Seeds: SQL files with rows for the development of an application. The rules for migrations apply to them, too.

use std::io;
use std::path::{Path, PathBuf};

use super::{Mode, Problem, Script, check, load};

/// A file with seeds.
#[derive(Debug)]
pub struct SeedFile {
    /// The name of the file.
    pub name: String,
    script: Script,
}

/// Why seeds cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The directory or a file in it cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The directory contains no SQL files.
    #[error("no seeds (*.sql) in {}", path.display())]
    Empty {
        /// The directory.
        path: PathBuf,
    },
    /// A statement is not allowed, or a file cannot be split into statements.
    #[error("{}: {}", problem.location, problem.message)]
    Invalid {
        /// The first violation.
        problem: Problem,
    },
}

impl SeedError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "seeds-unreadable",
            Self::Empty { .. } => "no-seeds",
            Self::Invalid { .. } => "invalid-seeds",
        }
    }
}

impl SeedFile {
    /// Reads the SQL files of a directory, sorted by name.
    ///
    /// # Errors
    /// The errors of [`SeedError`].
    pub fn all_in(path: &Path) -> Result<Vec<Self>, SeedError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| SeedError::Read { path, source }
        };
        let entries: Vec<_> = std::fs::read_dir(path).and_then(Iterator::collect).map_err(failed(path))?;
        let mut files = Vec::new();
        for entry in entries {
            let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
            if !name.starts_with('.') && path.extension().is_some_and(|extension| extension == "sql") {
                let contents = load::read(&path).map_err(failed(&path))?;
                files.push(Self::parse(&path, name, &contents)?);
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        if files.is_empty() { Err(SeedError::Empty { path: path.to_owned() }) } else { Ok(files) }
    }

    fn parse(path: &Path, name: String, contents: &[u8]) -> Result<Self, SeedError> {
        let mut first = None;
        let script = check::script(contents, Some(Mode::Transactional), |line, message| {
            first.get_or_insert((line, message));
        });
        let path = path.display();
        let invalid = |(line, message): (Option<usize>, String)| {
            let location = line.map_or_else(|| path.to_string(), |line| format!("{path}:{line}"));
            SeedError::Invalid { problem: Problem { location, message } }
        };
        match (first, script) {
            (None, Some(script)) if script.statements().is_empty() => {
                Err(invalid((None, "the file contains no statement".to_owned())))
            }
            (None, Some(script)) => Ok(Self { name, script }),
            (first, _) => Err(invalid(first.unwrap_or_default())),
        }
    }

    /// The script.
    pub(crate) fn script(&self) -> &Script {
        &self.script
    }
}
