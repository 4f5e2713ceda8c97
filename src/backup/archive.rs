//! Reads an archive as `pg_restore` prints it: statements, and the rows of tables between them.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ChildStdout;

use crate::local::{LocalError, PgRestore, PrintingArchive};
use crate::sql::archive::{ArchiveStatement, CopiedTable};
use crate::sql::statement::split;

/// The end of a line that may be the last one of a `COPY`.
const BEFORE_ROWS: &str = " FROM stdin;";

/// The line after the last row of a table.
const AFTER_ROWS: &[u8] = b"\\.\n";

/// A part of an archive.
pub(super) enum ArchivePart {
    /// Statements, without the `COPY` of a table.
    Statements(String),
    /// The rows of a table follow, which [`ArchiveReader::rows`] reads.
    Rows(CopiedTable),
}

/// An archive that is being read.
pub(super) struct ArchiveReader {
    path: PathBuf,
    input: BufReader<ChildStdout>,
    /// `None` after the end.
    printing: Option<PrintingArchive>,
    /// The table whose `COPY` was read with the statements before it.
    next: Option<CopiedTable>,
}

impl ArchiveReader {
    /// Begins to read an archive.
    ///
    /// # Errors
    /// If the file or the program cannot be used.
    pub(super) fn open(program: &PgRestore, path: &Path) -> Result<Self, LocalError> {
        let mut printing = program.print(path)?;
        let input = BufReader::with_capacity(1 << 16, printing.output());
        Ok(Self { path: path.to_owned(), input, printing: Some(printing), next: None })
    }

    /// The next part; `None` at the end of a complete archive.
    ///
    /// # Errors
    /// If the archive cannot be read completely.
    pub(super) fn next(&mut self) -> Result<Option<ArchivePart>, LocalError> {
        if let Some(rows) = self.next.take() {
            return Ok(Some(ArchivePart::Rows(rows)));
        }
        let mut text = String::new();
        loop {
            let before = text.len();
            let read = self.input.read_line(&mut text);
            match read.map_err(LocalError::io("read", &self.path))? {
                0 if text.trim().is_empty() => return self.end().map(|()| None),
                0 => return Ok(Some(ArchivePart::Statements(text))),
                _ => {}
            }
            if text[before..].trim_end().ends_with(BEFORE_ROWS)
                && let Some((offset, rows)) = last_rows(&text)
            {
                text.truncate(offset);
                self.next = Some(rows);
                return match text.trim().is_empty() {
                    true => Ok(self.next.take().map(ArchivePart::Rows)),
                    false => Ok(Some(ArchivePart::Statements(text))),
                };
            }
        }
    }

    /// Reads the rows of a table, each with its line feed, in the text format of `COPY`. Returns their number.
    ///
    /// # Errors
    /// If the archive ends before, or `each` fails.
    pub(super) fn rows(&mut self, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> Result<i64, LocalError> {
        let (mut count, mut line) = (0, Vec::new());
        loop {
            line.clear();
            let read = self.input.read_until(b'\n', &mut line).and_then(|read| match read {
                0 => Ok(None),
                _ if line == AFTER_ROWS => Ok(Some(false)),
                _ => each(&line).map(|()| Some(true)),
            });
            match read.map_err(LocalError::io("read", &self.path))? {
                Some(true) => count += 1,
                Some(false) => return Ok(count),
                None => {
                    self.end()?;
                    let error = io::Error::new(io::ErrorKind::UnexpectedEof, "the rows of a table are incomplete");
                    return Err(LocalError::io("read", &self.path)(error));
                }
            }
        }
    }

    fn end(&mut self) -> Result<(), LocalError> {
        self.printing.take().map_or(Ok(()), PrintingArchive::finish)
    }
}

/// The table of the `COPY` that a text ends with, and where that begins. A function may contain a line that looks like one.
fn last_rows(text: &str) -> Option<(usize, CopiedTable)> {
    let statements = split(text).ok()?;
    let last = statements.last()?;
    match ArchiveStatement::of(last) {
        Ok(ArchiveStatement::Rows(rows)) => Some((last.offset(), rows)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_within_a_function_is_no_copy() {
        let function = "CREATE FUNCTION acme.f() RETURNS void LANGUAGE sql AS $$\nCOPY acme.t (a) FROM stdin;\n";
        assert_eq!(last_rows(function).map(|(offset, _)| offset), None);
        let copy = "SELECT pg_catalog.setval('acme.s', 1);\n\n--\n-- Data\n--\n\nCOPY acme.\"a\nb\" (i) FROM stdin;\n";
        let (offset, rows) = last_rows(copy).unwrap();
        assert_eq!((&copy[offset..offset + 4], rows.table.as_str()), ("COPY", "a\nb"));
    }
}
