//! Ignored findings and differences: they are not reported and fail nothing.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use regex::Regex;

use super::difference::Difference;

/// A pattern for findings and differences: `[TENANT/]CODE[:OBJECT]`, where `*` matches anything, for example
/// `index.extra:tmp_*`, `*.comment`, `acme/table.owner` and `acme/missing-migrations`.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    tenant: Option<Regex>,
    code: Regex,
    object: Option<Regex>,
    used: Arc<AtomicBool>,
}

/// A text that is not a [`Pattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid pattern {0:?}: expected [TENANT/]CODE[:OBJECT], for example index.extra:tmp_* or acme/*.comment")]
pub struct ParsePatternError(String);

impl ParsePatternError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        "invalid-pattern"
    }
}

/// A list of patterns. A finding or difference that matches any of them is accepted.
#[derive(Debug, Clone, Default)]
pub struct Accepted(Vec<Pattern>);

impl Pattern {
    /// The code, which can contain `*`.
    pub fn code(&self) -> &str {
        let code = self.text.split_once('/').map_or(self.text.as_str(), |(_, code)| code);
        code.split(':').next().unwrap_or_default()
    }

    /// Whether it matches a code, for some tenant and object.
    pub fn matches_code(&self, code: &str) -> bool {
        self.code.is_match(code)
    }

    /// Whether it matches a finding or difference. `tenant` is empty for a finding about the database.
    pub fn matches(&self, tenant: &str, code: &str, object: &str) -> bool {
        let accepts = self.tenant.as_ref().is_none_or(|pattern| pattern.is_match(tenant))
            && self.code.is_match(code)
            && self.object.as_ref().is_none_or(|pattern| pattern.is_match(object));
        if accepts {
            self.used.store(true, Ordering::Relaxed);
        }
        accepts
    }
}

impl Accepted {
    /// Creates a list of patterns.
    pub fn new(patterns: impl IntoIterator<Item = Pattern>) -> Self {
        Self(patterns.into_iter().collect())
    }

    /// Adds the patterns of a file, one per line, as `parse` reads them; a `#` starts a comment.
    ///
    /// # Errors
    /// The number of the first invalid line, from 1, and the error of `parse`.
    pub fn add_lines<E>(&mut self, text: &str, parse: impl Fn(&str) -> Result<Pattern, E>) -> Result<(), (usize, E)> {
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                self.0.push(parse(line).map_err(|error| (index + 1, error))?);
            }
        }
        Ok(())
    }

    /// Whether a difference of a tenant is accepted.
    pub fn accepts(&self, tenant: &str, own_name: &str, difference: &Difference) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let (code, object) = (difference.code(), difference.name(own_name));
        // All patterns are matched, so that unused patterns are known.
        self.0.iter().filter(|pattern| pattern.matches(tenant, &code, &object)).count() > 0
    }

    /// Whether a finding is accepted: all of its objects, or the finding itself if it has no objects.
    pub fn accepts_finding(&self, tenant: Option<&str>, code: &str, objects: &[String]) -> bool {
        let accepts = |object: &str| {
            self.0.iter().filter(|pattern| pattern.matches(tenant.unwrap_or_default(), code, object)).count() > 0
        };
        match objects {
            [] => accepts(""),
            objects => objects.iter().filter(|object| accepts(object)).count() == objects.len(),
        }
    }

    /// The patterns that have matched nothing yet.
    pub fn unused(&self) -> impl Iterator<Item = &Pattern> {
        self.0.iter().filter(|pattern| !pattern.used.load(Ordering::Relaxed))
    }
}

impl FromStr for Pattern {
    type Err = ParsePatternError;

    fn from_str(text: &str) -> Result<Self, ParsePatternError> {
        let (tenant, rest) = match text.split_once('/') {
            Some((tenant, rest)) => (Some(tenant), rest),
            None => (None, text),
        };
        let (code, object) = match rest.split_once(':') {
            Some((code, object)) => (code, Some(object)),
            None => (rest, None),
        };
        let is_code = !code.is_empty() && code.chars().all(|c| c.is_ascii_lowercase() || "-.*".contains(c));
        if !is_code || tenant == Some("") || object == Some("") {
            return Err(ParsePatternError(text.to_owned()));
        }
        Ok(Self {
            text: text.to_owned(),
            tenant: tenant.map(glob),
            code: glob(code),
            object: object.map(glob),
            used: Arc::default(),
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn glob(pattern: &str) -> Regex {
    let parts: Vec<String> = pattern.split('*').map(regex::escape).collect();
    Regex::new(&format!("(?s)^{}$", parts.join(".*"))).expect("what is escaped is valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(pattern: &str, tenant: &str, code: &str, object: &str) -> bool {
        pattern.parse::<Pattern>().unwrap().matches(tenant, code, object)
    }

    #[test]
    fn a_pattern_names_tenant_code_and_object() {
        assert!(accepts("index.extra", "acme", "index.extra", "users.tmp_1"));
        assert!(accepts("index.extra:users.tmp_*", "acme", "index.extra", "users.tmp_1"));
        assert!(accepts("ac*/*.comment", "acme", "table.comment", "users"));
        assert!(!accepts("index.extra", "acme", "index.extra-large", "users.tmp_1"));
        assert!(!accepts("index.extra:tmp_*", "acme", "index.extra", "users.tmp_1"));
        assert!(!accepts("globex/*", "acme", "table.comment", "users"));
    }

    #[test]
    fn finding_is_accepted_only_with_all_its_objects() {
        let accepted = |patterns: &[&str]| Accepted::new(patterns.iter().map(|pattern| pattern.parse().unwrap()));
        let two = ["1".to_owned(), "2".to_owned()];
        assert!(accepted(&["missing-migrations"]).accepts_finding(Some("acme"), "missing-migrations", &two));
        assert!(accepted(&["x:1", "x:2"]).accepts_finding(Some("acme"), "x", &two));
        assert!(!accepted(&["x:1"]).accepts_finding(Some("acme"), "x", &two));
        assert!(accepted(&["acme/schema-missing"]).accepts_finding(Some("acme"), "schema-missing", &[]));
        assert!(!accepted(&["acme/tracker-behind"]).accepts_finding(None, "tracker-behind", &[]));
        assert!(accepted(&["tracker-*"]).accepts_finding(None, "tracker-behind", &[]));
    }

    #[test]
    fn invalid_pattern_is_refused() {
        for text in ["", "/index.extra", "index extra", "acme/", "index.extra:", "Index.extra"] {
            assert!(text.parse::<Pattern>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn comments_are_skipped_and_errors_have_line_numbers() {
        let mut accepted = Accepted::default();
        accepted.add_lines("# ours\n\nindex.extra:tmp_*  # for a while\n", str::parse).unwrap();
        assert_eq!(accepted.unused().map(ToString::to_string).collect::<Vec<_>>(), ["index.extra:tmp_*"]);
        assert_eq!(accepted.add_lines("table.owner\nno pattern", str::parse).unwrap_err().0, 2);
    }
}
