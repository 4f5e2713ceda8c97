//! Standard output is data; everything else goes to standard error.

use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use anyhow::Result;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::settings::{Color, Format, Settings};

/// How to talk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
    verbosity: Verbosity,
}

/// How much to tell on standard error. Failures are always told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    Quiet,
    Normal,
    Verbose,
}

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default();
const HEAD: Style = Style::new().bold();

impl Output {
    pub(crate) fn new(settings: &Settings) -> Self {
        match settings.color {
            Color::Auto => {}
            Color::Always => anstream::ColorChoice::Always.write_global(),
            Color::Never => anstream::ColorChoice::Never.write_global(),
        }
        let verbosity = match (settings.quiet, settings.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, true) => Verbosity::Verbose,
            (false, false) => Verbosity::Normal,
        };
        Self { format: settings.format, verbosity }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    pub(crate) fn verbosity(&self) -> Verbosity {
        self.verbosity
    }

    /// Writes one JSON document.
    pub(crate) fn json(&self, document: &impl Serialize) -> Result<()> {
        let mut out = io::stdout().lock();
        // As an error of the stream: whoever reads it may have had enough.
        serde_json::to_writer_pretty(&mut out, document).map_err(io::Error::from)?;
        writeln!(out)?;
        Ok(out.flush()?)
    }

    /// Writes lines.
    pub(crate) fn lines(&self, lines: impl IntoIterator<Item = impl Display>) -> Result<()> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        for line in lines {
            writeln!(out, "{line}")?;
        }
        Ok(out.flush()?)
    }

    /// Writes a table. On a terminal its cells wrap; elsewhere a row is a line.
    pub(crate) fn table(&self, head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Result<()> {
        let mut out = anstream::AutoStream::auto(io::stdout().lock());
        let drawn = draw(head, rows, io::stdout().is_terminal());
        let (first, rest) = drawn.split_once('\n').unwrap_or((&drawn, ""));
        writeln!(out, "{HEAD}{first}{HEAD:#}")?;
        if !rest.is_empty() {
            writeln!(out, "{rest}")?;
        }
        Ok(out.flush()?)
    }

    /// The same on standard error: what a question is about.
    pub(crate) fn table_aside(&self, head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
        anstream::eprintln!("{}", draw(head, rows, io::stderr().is_terminal()));
    }

    /// What was done.
    pub(crate) fn status(&self, message: impl Display) {
        if self.verbosity >= Verbosity::Normal {
            anstream::eprintln!("{message}");
        }
    }

    /// What only `--verbose` tells.
    pub(crate) fn detail(&self, message: fmt::Arguments<'_>) {
        if self.verbosity >= Verbosity::Verbose {
            anstream::eprintln!("{message}");
        }
    }

    pub(crate) fn error(&self, message: impl Display) {
        anstream::eprintln!("{ERROR}error:{ERROR:#} {message}");
    }

    pub(crate) fn warning(&self, message: impl Display) {
        anstream::eprintln!("{WARNING}warning:{WARNING:#} {message}");
    }

    pub(crate) fn hint(&self, message: impl Display) {
        anstream::eprintln!("{HINT}hint:{HINT:#} {message}");
    }

    /// What to do next when all went well.
    pub(crate) fn next(&self, message: impl Display) {
        if self.verbosity >= Verbosity::Normal {
            self.hint(message);
        }
    }

    /// More about the error before.
    pub(crate) fn more(&self, label: &str, text: &str) {
        let mut lines = text.lines();
        anstream::eprintln!("  {label}: {}", lines.next().unwrap_or_default());
        for line in lines {
            anstream::eprintln!("  {:width$}  {line}", "", width = label.len());
        }
    }
}

/// `1 tenant`, `2 tenants`.
pub(crate) fn count(n: usize, one: &str) -> String {
    format!("{} {one}{}", thousands(n), if n == 1 { "" } else { "s" })
}

/// `12,345`.
pub(crate) fn thousands(n: impl TryInto<i128>) -> String {
    let Ok(n) = n.try_into() else { return String::new() };
    let digits = n.unsigned_abs().to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if n < 0 { format!("-{out}") } else { out }
}

/// `8.0 kB` and so on, in powers of 1,024, as `pg_size_pretty` counts.
pub(crate) fn size(bytes: i64) -> String {
    let mut value = bytes as f64;
    let mut units = ["bytes", "kB", "MB", "GB", "TB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{value:.1} {unit}") }
}

fn draw(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>, wrap: bool) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(if wrap { ContentArrangement::Dynamic } else { ContentArrangement::Disabled });
    table.set_header(head.iter().map(|cell| cell.to_uppercase()));
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let drawn = table.to_string();
    drawn.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(thousands(-1_234), "-1,234");
        assert_eq!(count(1, "tenant"), "1 tenant");
        assert_eq!(count(1_000, "tenant"), "1,000 tenants");
        assert_eq!(size(0), "0 bytes");
        assert_eq!(size(8_192), "8.0 kB");
        assert_eq!(size(3 << 30), "3.0 GB");
    }
}
