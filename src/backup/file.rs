//! The file of an archive: it has its name only when it is complete and durable.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::local::LocalError;

/// What happens to a file that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overwrite {
    /// It is an error.
    Refuse,
    /// It is replaced.
    Replace,
}

/// A file beside its final place, with the mode 0600, which is removed unless it is [kept](Self::keep).
pub(super) struct NewArchive {
    file: NamedTempFile,
    place: PathBuf,
}

impl NewArchive {
    /// Creates the file.
    pub(super) fn create(place: &Path) -> Result<Self, LocalError> {
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let file = tempfile::Builder::new().prefix(&format!(".{name}.")).suffix(".partial").tempfile_in(folder(place));
        let file = file.map_err(LocalError::io("create a file beside", place))?;
        Ok(Self { file, place: place.to_owned() })
    }

    /// The path of the file before it is kept.
    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// A handle for the program that writes it.
    pub(super) fn handle(&self) -> Result<File, LocalError> {
        self.file.as_file().try_clone().map_err(LocalError::io("write", &self.place))
    }

    /// Makes the contents durable and gives the file its name.
    pub(super) fn keep(self, overwrite: Overwrite) -> Result<(), LocalError> {
        let Self { file, place } = self;
        file.as_file().sync_all().map_err(LocalError::io("write", &place))?;
        let kept = match overwrite {
            Overwrite::Refuse => file.persist_noclobber(&place),
            Overwrite::Replace => file.persist(&place),
        };
        kept.map_err(|error| LocalError::io("create", &place)(error.error))?;
        let synced = File::open(folder(&place)).and_then(|folder| folder.sync_all());
        match synced {
            // Some file systems do not sync directories.
            Err(error) if error.kind() != io::ErrorKind::InvalidInput => Err(LocalError::io("write", &place)(error)),
            _ => Ok(()),
        }
    }
}

fn folder(place: &Path) -> &Path {
    place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
