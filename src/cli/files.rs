//! Checks of files that are named on the command line, before the database is contacted.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

use super::context::Usage;

/// Checks that a file exists and can be read. Pipes are not opened.
pub(crate) fn require_readable(file: &Path) -> io::Result<()> {
    let metadata = fs::metadata(file)?;
    if metadata.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    if metadata.is_file() {
        File::open(file)?;
    }
    Ok(())
}

/// Checks that a file can be created: its directory exists, and the path is not itself a directory.
pub(crate) fn require_writable(file: &Path) -> Result<(), Usage> {
    let cannot_write = |why: &dyn std::fmt::Display| Usage::new(format!("cannot write {}: {why}", file.display()));
    if file.is_dir() {
        return Err(cannot_write(&"it is a directory"));
    }
    let directory = match file.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => return Ok(()),
    };
    match fs::metadata(directory) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(cannot_write(&format_args!("{} is not a directory", directory.display()))),
        Err(error) => Err(cannot_write(&format_args!("directory {}: {error}", directory.display()))),
    }
}
