//! `--junit`: reports in the JUnit XML format, which CI systems display.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::context::{Context, Usage};
use super::files::require_writable;
use super::output::{Output, to_stdout};
use super::settings::Format;
use crate::text;

/// Where the report is written.
#[derive(Debug, Clone, Args)]
pub(crate) struct JunitOption {
    /// Write a JUnit XML report to this file, or to standard output for -
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// Whether a command prints its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TableOutput {
    Print,
    /// Standard output has the JUnit report instead.
    Omit,
}

impl JunitOption {
    /// Checks that the report can be written, before the command starts.
    ///
    /// # Errors
    /// [`Usage`] if its directory does not exist, or if another document is printed to standard output.
    pub(crate) fn check(&self, context: &Context) -> Result<(), Usage> {
        let format = context.output().format();
        match &self.junit {
            Some(_) if self.is_stdout() && format != Format::Table => Err(Usage::with_hint(
                "argument-conflict",
                format!("--junit - and --format {} both write to standard output", format.name()),
                "write one of them to a file, for example with --junit report.xml",
            )),
            Some(path) if !self.is_stdout() => require_writable(path),
            _ => Ok(()),
        }
    }

    /// Whether the command prints its table.
    pub(crate) fn table(&self) -> TableOutput {
        if self.is_stdout() { TableOutput::Omit } else { TableOutput::Print }
    }

    fn is_stdout(&self) -> bool {
        self.junit.as_deref() == Some(Path::new("-"))
    }

    /// Writes the report if the option is given.
    pub(crate) fn write(&self, output: &Output, suite: impl FnOnce() -> TestSuite) -> Result<()> {
        let Some(path) = &self.junit else { return Ok(()) };
        match output.gathered() {
            Some(gathered) => {
                gathered.push_junit(suite(), path.clone());
                Ok(())
            }
            None => write(path, [suite()]),
        }
    }
}

/// Writes a report of test suites.
pub(crate) fn write(path: &Path, suites: impl IntoIterator<Item = TestSuite>) -> Result<()> {
    let mut report = Report::new("tenantry");
    report.add_test_suites(suites);
    if path == Path::new("-") {
        let xml = report.to_string().context("cannot write the JUnit report")?;
        return to_stdout(|out| writeln!(out, "{}", xml.trim_end()));
    }
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    report.serialize(BufWriter::new(file)).with_context(|| format!("cannot write {}", path.display()))
}

/// A test case. Its name may be any text.
pub(crate) fn case(name: &str, classname: &'static str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(&*text::one_line(name), status);
    case.set_classname(classname);
    case
}

/// The status of a test case that does not succeed: `kind` is a stable name, `lines` describe it.
pub(crate) fn non_success(status: NonSuccessKind, kind: &str, lines: &[String]) -> TestCaseStatus {
    let lines: Vec<_> = lines.iter().map(|line| text::one_line(line)).collect();
    let mut status = TestCaseStatus::non_success(status);
    status.set_type(kind).set_message(lines.join("; ")).set_description(lines.join("\n"));
    status
}

/// The status of a test case that was not run.
pub(crate) fn skipped(kind: &str, message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_type(kind).set_message(text::one_line(message));
    status
}
