//! Files that are named on the command line: they are checked, and lists of names are read, before the database is contacted.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context as _, Result};

use super::context::Usage;
use crate::model::NameError;

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
    let cannot_write = |error: &dyn std::fmt::Display| {
        Usage::new("unwritable-file", format!("cannot write {}: {error}", file.display()))
    };
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

/// The names in a file, one per line, or in standard input for `-`. Blank lines and lines that begin with # are ignored, and
/// so is white space around a name.
pub(crate) fn read_names<N>(path: &Path, parse: impl Fn(&str) -> Result<N, NameError>) -> Result<Vec<N>> {
    let shown = || if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    let reader: Box<dyn BufRead> = if path == Path::new("-") {
        let text = standard_input()
            .map_err(|error| Usage::new("unreadable-file", format!("cannot read standard input: {error}")))?;
        Box::new(text.as_bytes())
    } else {
        let file = File::open(path)
            .map_err(|error| Usage::new("unreadable-file", format!("cannot read {}: {error}", shown())))?;
        Box::new(BufReader::new(file))
    };
    let mut names = Vec::new();
    for (number, line) in reader.lines().enumerate() {
        let line = line.map_err(|error| Usage::new("unreadable-file", format!("cannot read {}: {error}", shown())))?;
        let name = line.trim();
        if !name.is_empty() && !name.starts_with('#') {
            names.push(parse(name).with_context(|| format!("line {} of {}", number + 1, shown()))?);
        }
    }
    Ok(names)
}

/// What standard input has, which is read once: a command that runs on several servers needs it on each.
pub(crate) fn standard_input() -> io::Result<&'static str> {
    static TEXT: OnceLock<Result<String, (ErrorKind, String)>> = OnceLock::new();
    let read = TEXT.get_or_init(|| io::read_to_string(io::stdin()).map_err(|error| (error.kind(), error.to_string())));
    read.as_deref().map_err(|(kind, message)| io::Error::new(*kind, message.as_str()))
}
