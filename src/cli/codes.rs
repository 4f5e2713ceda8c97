//! The codes of findings and differences, for the options that accept them.

use std::str::FromStr;

use crate::health::{Finding, FindingKind};
use crate::model::TenantName;
use crate::roles::RoleFindingKind;
use crate::rows::findings::IsolationKind;
use crate::schema::drift::{Difference, Level, PROPERTIES, Pattern};
use crate::schema::structure::ObjectKind;
use crate::servers::findings::ServerFindingKind;
use crate::text;

/// Where the codes are listed.
const LIST: &str = "'health-check --help' lists the codes";

/// The level of findings that fail a check only on request.
pub(crate) const WARNING: &str = "warning";

/// The codes of all findings and differences.
pub(crate) fn all() -> impl Iterator<Item = String> {
    let findings = FindingKind::ALL.into_iter().map(|kind| kind.as_str().to_owned());
    let differences = ObjectKind::ALL.into_iter().flat_map(|kind| {
        let kind = kind.slug();
        ["missing", "extra"].iter().chain(PROPERTIES).map(move |aspect| format!("{kind}.{aspect}"))
    });
    let isolation = IsolationKind::ALL.iter().map(|kind| kind.as_str().to_owned());
    let roles = RoleFindingKind::ALL.iter().map(|kind| kind.as_str().to_owned());
    let servers = ServerFindingKind::ALL.iter().map(|kind| kind.as_str().to_owned());
    findings.chain(isolation).chain(roles).chain(servers).chain(differences)
}

/// A pattern for findings and differences that can match one of them.
pub(crate) fn pattern(text: &str) -> Result<Pattern, String> {
    parse(text, "code")
}

fn parse(text: &str, what: &str) -> Result<Pattern, String> {
    let pattern: Pattern = text.parse().map_err(|error: crate::schema::drift::ParsePatternError| error.to_string())?;
    if all().any(|code| pattern.matches_code(&code)) {
        return Ok(pattern);
    }
    Err(unknown(what, pattern.code()))
}

/// What makes a check fail.
#[derive(Debug, Clone)]
pub(crate) enum FailOn {
    /// Findings that are warnings.
    Warning,
    /// Findings and differences of a level.
    Level(Level),
    /// Findings and differences that a pattern matches.
    Code(Pattern),
}

impl FailOn {
    /// Whether a difference of a tenant fails.
    pub(crate) fn is_difference(&self, tenant: &TenantName, own_name: &str, difference: &Difference) -> bool {
        match self {
            Self::Warning => false,
            Self::Level(level) => difference.level == *level,
            Self::Code(pattern) => pattern.matches(tenant.as_str(), &difference.code(), &difference.name(own_name)),
        }
    }

    /// Whether a finding fails: if one of its objects matches.
    pub(crate) fn is_finding(&self, finding: &Finding) -> bool {
        let Finding { kind, tenant, items, .. } = finding;
        let matches = |pattern: &Pattern, object: &str| {
            pattern.matches(tenant.as_deref().unwrap_or_default(), kind.as_str(), object)
        };
        match self {
            Self::Warning => kind.is_warning(),
            Self::Level(level) => !kind.is_warning() && kind.level() == *level,
            Self::Code(pattern) if items.is_empty() => matches(pattern, ""),
            Self::Code(pattern) => items.iter().any(|object| matches(pattern, object)),
        }
    }
}

impl FromStr for FailOn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == WARNING {
            return Ok(Self::Warning);
        }
        match text.parse() {
            Ok(level) => Ok(Self::Level(level)),
            Err(_) => parse(text, "code or level").map(Self::Code),
        }
    }
}

/// The codes, for the help of `health-check`.
pub(crate) fn help() -> String {
    let findings: Vec<&str> = FindingKind::ALL.iter().map(|kind| kind.as_str()).collect();
    let isolation: Vec<&str> = IsolationKind::ALL.iter().map(|kind| kind.as_str()).collect();
    let servers: Vec<&str> = ServerFindingKind::ALL.iter().map(|kind| kind.as_str()).collect();
    let kinds: Vec<String> = ObjectKind::ALL.into_iter().map(ObjectKind::slug).collect();
    format!(
        "Codes of findings: {}.\n\nCodes of findings about isolation: {}.\n\n\
         Codes of findings about servers: {}.\n\n\
         Codes of differences: KIND.missing, KIND.extra and KIND.PROPERTY, for example column.type. KIND is one of {}. \
         PROPERTY is one of {}.",
        findings.join(", "),
        isolation.join(", "),
        servers.join(", "),
        kinds.join(", "),
        PROPERTIES.join(", ")
    )
}

/// The message for a word that is neither a code nor another value in `what`.
fn unknown(what: &str, given: &str) -> String {
    let codes: Vec<String> = all().chain(Level::ALL.map(|level| level.as_str().to_owned())).collect();
    match text::closest(given, codes.iter().map(String::as_str)) {
        Some(closest) => format!("unknown {what} {given:?}; a similar one is {closest}; {LIST}"),
        None => format!("unknown {what} {given:?}; {LIST}"),
    }
}
