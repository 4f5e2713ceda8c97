//! Standard output is data; everything else goes to standard error. Both print foreign text only as [`crate::text`] makes it
//! safe: no control character reaches a terminal, and no text can imitate a line of the tool.

mod gathered;
mod table;

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::sync::Arc;

use anstyle::{AnsiColor, Style};
use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

use super::settings::{Color, Format, OutputOptions};
use crate::text::{self, MAX_SHOWN};
pub(crate) use gathered::{Gathered, Part, TableForm, Unmatched};
pub(crate) use table::terminal_width;
use table::{DrawnTable, MaxWidth, draw};

/// Prints to standard output and standard error, as the settings say.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    format: Format,
    verbosity: Verbosity,
    /// Set for a command on one of several servers.
    gathered: Option<Arc<Gathered>>,
}

/// How much is printed to standard error. Errors are always printed.
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

/// The style of a line that is missing, and of one that is unexpected.
pub(crate) const MISSING: Style = AnsiColor::Red.on_default();
pub(crate) const UNEXPECTED: Style = AnsiColor::Green.on_default();
pub(crate) const TITLE: Style = HEAD;

impl Output {
    pub(crate) fn new(options: &OutputOptions) -> Self {
        match options.color {
            Color::Auto => {}
            Color::Always => anstream::ColorChoice::Always.write_global(),
            Color::Never => anstream::ColorChoice::Never.write_global(),
        }
        let verbosity = match (options.quiet, options.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, true) => Verbosity::Verbose,
            (false, false) => Verbosity::Normal,
        };
        Self { format: options.format, verbosity, gathered: None }
    }

    /// The output of a command on one of several servers: what it prints to standard output is gathered, and each message
    /// begins with the name of the server.
    pub(crate) fn gathering(&self, gathered: Arc<Gathered>) -> Self {
        Self { gathered: Some(gathered), ..self.clone() }
    }

    /// Where the data of a command on one of several servers is gathered.
    pub(crate) fn gathered(&self) -> Option<&Gathered> {
        self.gathered.as_deref()
    }

    /// Prints data, or gathers it.
    fn data(&self, part: impl FnOnce() -> Result<Part>, print: impl FnOnce() -> Result<()>) -> Result<()> {
        match &self.gathered {
            Some(gathered) => {
                gathered.push(part()?);
                Ok(())
            }
            None => print(),
        }
    }

    /// A message with the name of the server in front.
    fn located(&self, message: impl Display) -> String {
        match &self.gathered {
            Some(gathered) => format!("{}: {message}", gathered.server),
            None => message.to_string(),
        }
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    pub(crate) fn verbosity(&self) -> Verbosity {
        self.verbosity
    }

    /// Prints a JSON document.
    pub(crate) fn json(&self, document: &impl Serialize) -> Result<()> {
        self.data(|| Ok(Part::Json(serde_json::to_value(document)?)), || json(document))
    }

    /// Prints JSON that is serialized already.
    pub(crate) fn json_text(&self, text: &str) -> Result<()> {
        self.data(
            || Ok(Part::Json(serde_json::from_str(text)?)),
            || to_stdout(|out| writeln!(out, "{}", text::json(text.trim_end()))),
        )
    }

    /// Prints items, each as one line.
    pub(crate) fn lines(&self, lines: impl IntoIterator<Item = impl Display>) -> Result<()> {
        let lines: Vec<String> =
            lines.into_iter().map(|line| text::one_line_with_tabs(&line.to_string()).into_owned()).collect();
        self.data(|| Ok(Part::Lines(lines.clone())), || print_lines(&lines))
    }

    /// Prints a script. Its statements keep their line breaks.
    pub(crate) fn script(&self, lines: impl IntoIterator<Item = impl Display>) -> Result<()> {
        let lines: Vec<String> =
            lines.into_iter().map(|line| text::multi_line(&line.to_string()).into_owned()).collect();
        self.data(|| Ok(Part::Lines(lines.clone())), || print_lines(&lines))
    }

    /// Prints lines in styles. Without colors, they are printed like [`lines`](Self::lines).
    pub(crate) fn styled_lines(&self, lines: impl IntoIterator<Item = (Style, String)>) -> Result<()> {
        let styled = |(style, line): (Style, String)| {
            let style = if has_colors() { style } else { Style::new() };
            format!("{style}{}{style:#}", text::one_line_with_tabs(&line))
        };
        let lines: Vec<String> = lines.into_iter().map(styled).collect();
        self.data(|| Ok(Part::Lines(lines.clone())), || print_lines(&lines))
    }

    /// Prints a table. On a terminal its cells wrap, or each row is a record of several lines; elsewhere a row is a line.
    pub(crate) fn table(&self, head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Result<()> {
        if let Some(gathered) = &self.gathered {
            let head = head.iter().map(|cell| (*cell).to_owned()).collect();
            gathered.push(Part::Table { head, rows: rows.into_iter().collect(), form: TableForm::Drawn });
            return Ok(());
        }
        let DrawnTable { head, rest } = draw(head, rows, MaxWidth::of(&io::stdout()));
        let style = if has_colors() { HEAD } else { Style::new() };
        to_stdout(|out| {
            if let Some(head) = head {
                writeln!(out, "{style}{head}{style:#}")?;
            }
            if !rest.is_empty() {
                writeln!(out, "{rest}")?;
            }
            Ok(())
        })
    }

    /// Prints records as CSV.
    pub(crate) fn csv(&self, head: &[&str], rows: Vec<Vec<String>>) -> Result<()> {
        if let Some(gathered) = &self.gathered {
            let head = head.iter().map(|cell| (*cell).to_owned()).collect();
            gathered.push(Part::Table { head, rows, form: TableForm::Csv });
            return Ok(());
        }
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record(head)?;
        for cells in rows {
            csv.write_record(cells)?;
        }
        let bytes = csv.into_inner().context("cannot write CSV")?;
        to_stdout(|out| out.write_all(&bytes))
    }

    /// Prints JSON documents, each on one line.
    pub(crate) fn json_lines(&self, documents: Vec<String>) -> Result<()> {
        self.data(|| Ok(Part::JsonLines(documents.clone())), || print_lines(&documents))
    }

    /// Whether `--quiet` is set.
    pub(crate) fn is_quiet(&self) -> bool {
        self.verbosity < Verbosity::Normal
    }

    /// Prints a table to standard error, for a question that follows.
    pub(crate) fn table_aside(&self, head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
        let DrawnTable { head, rest } = draw(head, rows, MaxWidth::of(&io::stderr()));
        to_stderr(&head.into_iter().chain([rest]).filter(|lines| !lines.is_empty()).collect::<Vec<_>>().join("\n"));
    }

    /// Prints what was done.
    pub(crate) fn status(&self, message: impl Display) {
        if self.verbosity >= Verbosity::Normal {
            self.summary(message);
        }
    }

    /// Prints what was done, also with `--quiet`.
    pub(crate) fn summary(&self, message: impl Display) {
        to_stderr(&indented(&self.located(message), 4));
    }

    /// Prints what only `--verbose` shows.
    pub(crate) fn detail(&self, message: fmt::Arguments<'_>) {
        if self.verbosity >= Verbosity::Verbose {
            self.summary(message);
        }
    }

    pub(crate) fn error(&self, message: impl Display) {
        error(self.located(message));
    }

    pub(crate) fn warning(&self, message: impl Display) {
        labelled(WARNING, "warning", self.located(message));
    }

    pub(crate) fn hint(&self, message: impl Display) {
        labelled(HINT, "hint", self.located(message));
    }

    /// Prints what to do next after a success.
    pub(crate) fn next(&self, message: impl Display) {
        if self.verbosity >= Verbosity::Normal {
            self.hint(message);
        }
    }

    /// Prints more about the error before, at most [`MAX_SHOWN`] bytes of it.
    pub(crate) fn more(&self, label: &str, text: &str) {
        let text = text::clip(text, MAX_SHOWN);
        to_stderr(&format!("  {label}: {}", indented(&text, label.len() + 4)));
    }
}

/// Prints lines that are safe to print.
fn print_lines(lines: &[String]) -> Result<()> {
    to_stdout(|out| lines.iter().try_for_each(|line| writeln!(out, "{line}")))
}

/// Whether standard output has colors: as `--color` says, by default on a terminal unless `NO_COLOR` is set.
fn has_colors() -> bool {
    anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
}

/// Prints a JSON document where there are no settings yet.
pub(crate) fn json(document: &impl Serialize) -> Result<()> {
    to_stdout(|out| {
        document.serialize(&mut Serializer::with_formatter(&mut *out, Escaping(PrettyFormatter::new())))?;
        writeln!(out)
    })
}

/// Prints an error where there are no settings yet.
pub(crate) fn error(message: impl Display) {
    labelled(ERROR, "error", message);
}

fn labelled(style: Style, label: &str, message: impl Display) {
    to_stderr(&format!("{style}{label}:{style:#} {}", indented(&message.to_string(), label.len() + 2)));
}

/// The text with its lines after the first indented, so that none of them can be taken for a line of the tool.
fn indented(text: &str, width: usize) -> String {
    let text = text::multi_line(text.trim_end_matches(['\n', '\r']));
    let mut lines = text.split('\n');
    let mut out = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        out.push('\n');
        if !line.is_empty() {
            out.push_str(&" ".repeat(width));
            out.push_str(line);
        }
    }
    out
}

/// Writes to standard output. A reader that has closed it has seen enough, as `head` has: that is no error, and the command
/// ends as if everything had been read.
///
/// # Errors
/// Any other failure: what was to be printed is lost.
pub(crate) fn to_stdout(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = write(&mut out).and_then(|()| out.flush());
    // What is left in the buffer is not tried again.
    let _ = out.into_parts();
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

/// Writes a line to standard error. A failure cannot be reported anywhere, and does not change what the command does.
pub(crate) fn to_stderr(line: &str) {
    // In one piece, so that lines of several threads do not mix.
    let _ = anstream::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// JSON whose strings have no unprintable characters.
struct Escaping<'a>(PrettyFormatter<'a>);

macro_rules! delegate {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {
        $(fn $name<W: ?Sized + Write>(&mut self, writer: &mut W, $($argument: $type),*) -> io::Result<()> {
            self.0.$name(writer, $($argument),*)
        })*
    };
}

impl Formatter for Escaping<'_> {
    delegate! {
        begin_array();
        end_array();
        begin_array_value(first: bool);
        end_array_value();
        begin_object();
        end_object();
        begin_object_key(first: bool);
        begin_object_value();
        end_object_value();
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        writer.write_all(text::json(fragment).as_bytes())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_thousands_separators() {
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

    #[test]
    fn lines_of_foreign_text_are_indented() {
        assert_eq!(indented("a\nhint: b\r\n\n  error: c\n", 7), "a\n       hint: b\n\n         error: c");
        assert_eq!(indented("\u{1b}[2Ja\rb", 2), "\\u{1b}[2Ja\\rb");
    }

    #[test]
    fn json_has_no_unprintable_characters() {
        let mut out = Vec::new();
        let document = serde_json::json!({ "a\u{9b}": ["\u{202e}", "\u{1b}", "é"], "b": {} });
        document.serialize(&mut Serializer::with_formatter(&mut out, Escaping(PrettyFormatter::new()))).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(!text.replace('\n', "").contains(text::is_unprintable), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), document);
    }
}
