//! The codes of findings and differences, for the options that accept them.

use crate::health::FindingKind;
use crate::rows::findings::IsolationKind;
use crate::schema::drift::{Level, PROPERTIES, Pattern};
use crate::schema::structure::ObjectKind;
use crate::text;

/// Where the codes are listed.
const LIST: &str = "docs/drift.md and docs/isolation.md list the codes";

/// The codes of all findings and differences.
pub(crate) fn all() -> impl Iterator<Item = String> {
    let findings = FindingKind::ALL.into_iter().map(|kind| kind.as_str().to_owned());
    let differences = ObjectKind::ALL.into_iter().flat_map(|kind| {
        let kind = kind.slug();
        ["missing", "extra"].iter().chain(PROPERTIES).map(move |aspect| format!("{kind}.{aspect}"))
    });
    let isolation = IsolationKind::ALL.iter().map(|kind| kind.as_str().to_owned());
    findings.chain(isolation).chain(differences)
}

/// A pattern for findings and differences that can match one of them.
pub(crate) fn pattern(text: &str) -> Result<Pattern, String> {
    let pattern: Pattern = text.parse().map_err(|error: crate::schema::drift::ParsePatternError| error.to_string())?;
    if all().any(|code| pattern.matches_code(&code)) {
        return Ok(pattern);
    }
    Err(unknown("code", pattern.code()))
}

/// A level of differences.
pub(crate) fn level(text: &str) -> Result<Level, String> {
    text.parse().map_err(|_| format!("expected {}", Level::ALL.map(Level::as_str).join(", ")))
}

/// The message for a word that is neither a code nor another value in `what`.
pub(crate) fn unknown(what: &str, given: &str) -> String {
    let codes: Vec<String> = all().chain(Level::ALL.map(|level| level.as_str().to_owned())).collect();
    match text::closest(given, codes.iter().map(String::as_str)) {
        Some(closest) => format!("unknown {what} {given:?}; a similar one is {closest}; {LIST}"),
        None => format!("unknown {what} {given:?}; {LIST}"),
    }
}
