//! Options of the commands that compare structures: the reference, and the accepted differences.

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Result;
use clap::Args;
use similar::{ChangeTag, TextDiff};

use super::codes;
use super::context::{Context, Usage};
use super::files::require_readable;
use super::output::Output;
use crate::model::TenantName;
use crate::schema::drift::{Accepted, Pattern};
use crate::schema::reference::Source;
use crate::text::shell_word;

/// The file with the patterns of the repository.
const IGNORE_FILE: &str = ".tenantry-ignore";

/// How structures are compared.
#[derive(Debug, Clone, Args)]
pub(crate) struct CompareOptions {
    /// Compare with this tenant or saved reference instead of the result of the tenant migrations; the name of a file must
    /// contain a dot or a slash
    #[arg(long, value_name = "TENANT|FILE", value_parser = Place::from_str)]
    reference: Option<Place>,

    /// Ignore findings that match [TENANT/]CODE[:OBJECT], for example index.extra:tmp_*, *.comment or
    /// acme/missing-migrations; may be repeated
    #[arg(long, value_name = "PATTERN", value_parser = codes::pattern)]
    ignore: Vec<Pattern>,

    /// Read patterns to ignore from this file, one per line [default: .tenantry-ignore, if it exists]
    #[arg(long, value_name = "FILE")]
    ignore_file: Option<PathBuf>,
}

/// A tenant's name, or a file's.
#[derive(Debug, Clone)]
struct Place(String);

impl FromStr for Place {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl CompareOptions {
    /// Whether a reference is given.
    pub(crate) fn has_reference(&self) -> bool {
        self.reference.is_some()
    }

    /// Where the reference comes from.
    ///
    /// # Errors
    /// [`Usage`] if the value is neither a tenant's name nor a file, or if the file cannot be read.
    pub(crate) fn source(&self, context: &Context) -> Result<Source> {
        match &self.reference {
            None => Ok(Source::Migrations),
            Some(Place(file)) if file.contains(['.', '/']) => {
                let path = PathBuf::from(file);
                require_readable(&path).map_err(|error| {
                    let hint = format!("create one with '{}'", context.command("reference --output FILE"));
                    Usage::with_hint(
                        "unreadable-file",
                        format!("cannot read the reference {}: {error}", path.display()),
                        hint,
                    )
                })?;
                Ok(Source::File(path))
            }
            Some(Place(name)) => {
                let tenant: TenantName = name.parse().map_err(|error| {
                    Usage::with_hint(
                        "invalid-reference",
                        format!("--reference {name:?} is neither a tenant nor a file: {error}"),
                        "the name of a file must contain a dot or a slash",
                    )
                })?;
                Ok(Source::Tenant(tenant))
            }
        }
    }

    /// The command that plans the repair of a tenant with the same reference.
    pub(crate) fn repair_plan(&self, tenant: &TenantName, context: &Context) -> String {
        let reference = match &self.reference {
            Some(Place(place)) => format!(" --reference {}", shell_word(place)),
            None => String::new(),
        };
        context.command(&format!("repair-plan {}{reference}", shell_word(tenant.as_str())))
    }

    /// Which differences are accepted.
    pub(crate) fn accepted(&self) -> Result<Accepted> {
        let mut accepted = Accepted::new(self.ignore.iter().cloned());
        add_file(&mut accepted, self.ignore_file.as_deref())?;
        Ok(accepted)
    }
}

/// What the ignore file in the working directory accepts.
pub(crate) fn accepted_by_file() -> Result<Accepted> {
    let mut accepted = Accepted::default();
    add_file(&mut accepted, None)?;
    Ok(accepted)
}

/// Adds the patterns of a file, by default of the ignore file in the working directory, if it exists.
fn add_file(accepted: &mut Accepted, file: Option<&Path>) -> Result<()> {
    let Some(file) = file.or_else(|| Some(Path::new(IGNORE_FILE)).filter(|file| file.exists())) else { return Ok(()) };
    let text = fs::read_to_string(file).map_err(|error| {
        Usage::new("unreadable-file", format!("cannot read the ignore file {}: {error}", file.display()))
    })?;
    let wrong = |(line, error)| Usage::new("invalid-pattern", format!("{}, line {line}: {error}", file.display()));
    Ok(accepted.add_lines(&text, codes::pattern).map_err(wrong)?)
}

/// Reports patterns that match nothing: their findings are fixed, or they are misspelled.
pub(crate) fn report_unused(accepted: &Accepted, output: &Output) {
    for pattern in accepted.unused() {
        output.detail(format_args!("pattern {pattern} matches nothing"));
    }
}

/// Compares the expected and the actual text: `-` precedes lines that are missing, `+` lines that are extra.
pub(crate) fn line_by_line(expected: Option<&str>, actual: Option<&str>) -> Vec<String> {
    let (expected, actual) = (expected.unwrap_or(""), actual.unwrap_or(""));
    let diff = TextDiff::from_lines(expected, actual);
    let groups = diff.grouped_ops(3);
    let mut lines = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        if index > 0 {
            lines.push("  …".to_owned());
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            lines.push(format!("{sign} {}", change.value().trim_end_matches('\n')));
        }
    }
    lines
}
