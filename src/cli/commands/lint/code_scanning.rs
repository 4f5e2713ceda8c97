//! The findings for services that annotate lines of files: SARIF 2.1.0, and commands of GitHub workflows.

use std::env;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::lint::{LintFinding, Rule};
use crate::migration::MigrationSet;
use crate::migration::repeatable;

/// The schema of the log, as the standard names it.
const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The root of the repository that paths are relative to. A service replaces it by the place of its checkout.
const ROOT: &str = "%SRCROOT%";

/// The variable with the folder of the checkout in a GitHub workflow.
const WORKSPACE: &str = "GITHUB_WORKSPACE";

/// How much a finding matters to a service. The names are those of both formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Annotation {
    Error,
    Warning,
}

impl Annotation {
    /// A warning states that something could not be checked, or that a comment accepts nothing.
    fn of(rule: Rule) -> Self {
        match rule {
            Rule::NotUnderstood | Rule::UnknownName => Self::Warning,
            rule if rule.is_about_acceptances() => Self::Warning,
            _ => Self::Error,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Where the files of the migrations are.
pub(super) struct Files {
    /// The directory of the migrations, relative to the checkout or to the working directory if it is below them.
    directory: PathBuf,
}

impl Files {
    /// Embedded migrations have no directory: their files are named by their folders.
    pub(super) fn of(set: &MigrationSet) -> Self {
        let directory = set.directory().unwrap_or(Path::new("")).to_owned();
        let roots = [env::var_os(WORKSPACE).map(PathBuf::from), env::current_dir().ok()];
        let Ok(absolute) = directory.canonicalize() else { return Self { directory } };
        let below = roots.into_iter().flatten().find_map(|root| {
            let below = absolute.strip_prefix(root.canonicalize().ok()?).ok()?;
            Some(below.to_owned())
        });
        Self { directory: below.unwrap_or(absolute) }
    }

    fn path(&self, finding: &LintFinding) -> PathBuf {
        let (folder, file) = finding.path();
        // The repeatable migrations are in a folder beside that of the others.
        let is_beside = folder == repeatable::FOLDER;
        let directory = if is_beside { self.directory.parent().unwrap_or(Path::new("")) } else { &self.directory };
        directory.join(folder).join(file)
    }
}

/// The workflow commands, one a line.
pub(super) fn workflow_commands(findings: &[LintFinding], files: &Files) -> Vec<String> {
    let command = |finding: &LintFinding| {
        format!(
            "::{} file={},line={},title={}::{}",
            Annotation::of(finding.rule).as_str(),
            property(&files.path(finding).to_string_lossy()),
            finding.line,
            property(&format!("tenantry lint: {}", finding.rule)),
            data(&message(finding))
        )
    };
    findings.iter().map(command).collect()
}

fn message(finding: &LintFinding) -> String {
    format!("{}\ninstead: {}", finding.message, finding.rule.remedy())
}

/// The message of a workflow command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// A SARIF log with one run.
#[derive(Serialize)]
pub(super) struct SarifLog {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [SarifRun; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifRun {
    tool: SarifTool,
    column_kind: &'static str,
    results: Vec<SarifResult>,
}

#[derive(Serialize)]
struct SarifTool {
    driver: SarifDriver,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifDriver {
    name: &'static str,
    semantic_version: &'static str,
    information_uri: &'static str,
    rules: Vec<SarifRule>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifRule {
    id: &'static str,
    short_description: SarifText,
    help: SarifText,
    help_uri: String,
    default_configuration: SarifConfiguration,
}

#[derive(Serialize)]
struct SarifConfiguration {
    level: Annotation,
}

#[derive(Serialize)]
struct SarifText {
    text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifResult {
    rule_id: &'static str,
    /// The place of the rule in the list of the driver.
    rule_index: usize,
    level: Annotation,
    message: SarifText,
    locations: [SarifLocation; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifLocation {
    physical_location: SarifPlace,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifPlace {
    artifact_location: SarifFile,
    region: SarifRegion,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifFile {
    uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri_base_id: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifRegion {
    start_line: usize,
    snippet: SarifText,
}

impl SarifLog {
    /// The log with the findings that are not accepted, and all rules.
    pub(super) fn new(findings: &[LintFinding], files: &Files) -> Self {
        let repository = env!("CARGO_PKG_REPOSITORY");
        let rule = |rule: &Rule| SarifRule {
            id: rule.name(),
            short_description: SarifText::new(rule.what()),
            help: SarifText::new(rule.remedy()),
            help_uri: format!("{repository}/blob/main/docs/lint.md"),
            default_configuration: SarifConfiguration { level: Annotation::of(*rule) },
        };
        let result = |finding: &LintFinding| SarifResult {
            rule_id: finding.rule.name(),
            rule_index: Rule::ALL.iter().position(|rule| *rule == finding.rule).unwrap_or_default(),
            level: Annotation::of(finding.rule),
            message: SarifText::new(&message(finding)),
            locations: [SarifLocation {
                physical_location: SarifPlace {
                    artifact_location: SarifFile::new(&files.path(finding)),
                    region: SarifRegion { start_line: finding.line, snippet: SarifText::new(&finding.statement) },
                },
            }],
        };
        let driver = SarifDriver {
            name: env!("CARGO_PKG_NAME"),
            semantic_version: env!("CARGO_PKG_VERSION"),
            information_uri: repository,
            rules: Rule::ALL.iter().map(rule).collect(),
        };
        let results = findings.iter().map(result).collect();
        let run = SarifRun { tool: SarifTool { driver }, column_kind: "unicodeCodePoints", results };
        Self { schema: SCHEMA, version: "2.1.0", runs: [run] }
    }
}

impl SarifText {
    fn new(text: &str) -> Self {
        Self { text: text.to_owned() }
    }
}

impl SarifFile {
    fn new(path: &Path) -> Self {
        let encoded = percent_encoded(&path.to_string_lossy());
        match path.is_absolute() {
            true => Self { uri: format!("file://{encoded}"), uri_base_id: None },
            false => Self { uri: encoded, uri_base_id: Some(ROOT) },
        }
    }
}

/// The path of a URI: everything but the characters that a URI does not reserve, and the slash, is encoded.
fn percent_encoded(path: &str) -> String {
    let mut encoded = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_workflows_are_escaped() {
        assert_eq!(data("100%:\r\na, b"), "100%25:%0D%0Aa, b");
        assert_eq!(property("a,b:c%\nd"), "a%2Cb%3Ac%25%0Ad");
    }

    #[test]
    fn paths_become_uris() {
        assert_eq!(percent_encoded("a b/ü#1?/up.sql"), "a%20b/%C3%BC%231%3F/up.sql");
        let absolute = SarifFile::new(Path::new("/a b/up.sql"));
        assert_eq!((absolute.uri.as_str(), absolute.uri_base_id), ("file:///a%20b/up.sql", None));
        let relative = SarifFile::new(Path::new("a/up.sql"));
        assert_eq!((relative.uri.as_str(), relative.uri_base_id), ("a/up.sql", Some(ROOT)));
    }
}
