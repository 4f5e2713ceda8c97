//! Labels of tenants: keys with values, by which commands select tenants. Their syntax is that of Kubernetes.

use std::fmt;
use std::str::FromStr;

/// The longest name of a key and the longest value, in bytes.
const MAX_NAME: usize = 63;

/// The longest prefix of a key, in bytes.
const MAX_PREFIX: usize = 253;

/// The key of a label, such as `ring` or `example.com/plan`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelKey(String);

/// A label that a tenant must have to be selected: `ring=canary`, or `ring` with any value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelSelector {
    /// The key.
    pub key: LabelKey,
    /// The value; `None` for any.
    pub value: Option<String>,
}

/// A change of a label: `ring=canary` sets it, `ring-` removes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelChange {
    /// The key.
    pub key: LabelKey,
    /// The value; `None` to remove the label.
    pub value: Option<String>,
}

/// Why a text is not a label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LabelError {
    /// The key is empty or has characters that a key cannot have.
    #[error(
        "invalid label key {0:?}: expected up to 63 letters, digits, '-', '_' or '.' that begin and end with a letter or \
         digit, after an optional DNS name and '/'"
    )]
    Key(String),
    /// The value has characters that a value cannot have.
    #[error(
        "invalid label value {0:?}: expected nothing, or up to 63 letters, digits, '-', '_' or '.' that begin and end with a \
         letter or digit"
    )]
    Value(String),
    /// Neither `KEY=VALUE` nor `KEY-`.
    #[error("expected KEY=VALUE or KEY-, got {0:?}")]
    Change(String),
}

impl LabelError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        "invalid-label"
    }
}

impl LabelKey {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LabelKey {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        let (prefix, name) = match text.split_once('/') {
            Some((prefix, name)) => (Some(prefix), name),
            None => (None, text),
        };
        let is_valid = !name.is_empty() && is_name(name) && prefix.is_none_or(is_dns_name);
        if is_valid { Ok(Self(text.to_owned())) } else { Err(LabelError::Key(text.to_owned())) }
    }
}

impl LabelChange {
    /// Whether a word is a change and not the name of a tenant.
    pub fn is_change(word: &str) -> bool {
        word.contains('=') || word.ends_with('-')
    }
}

impl FromStr for LabelChange {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        match (text.split_once('='), text.strip_suffix('-')) {
            (Some((key, value)), _) => Ok(Self { key: key.parse()?, value: Some(value_of(value)?) }),
            (None, Some(key)) => Ok(Self { key: key.parse()?, value: None }),
            (None, None) => Err(LabelError::Change(text.to_owned())),
        }
    }
}

impl FromStr for LabelSelector {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        match text.split_once('=') {
            Some((key, value)) => Ok(Self { key: key.parse()?, value: Some(value_of(value)?) }),
            None => Ok(Self { key: text.parse()?, value: None }),
        }
    }
}

impl fmt::Display for LabelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value}", self.key),
            None => self.key.fmt(f),
        }
    }
}

fn value_of(text: &str) -> Result<String, LabelError> {
    if text.is_empty() || is_name(text) { Ok(text.to_owned()) } else { Err(LabelError::Value(text.to_owned())) }
}

fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.ends_with(|last: char| last.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn is_dns_name(text: &str) -> bool {
    let is_part =
        |part: &str| is_name(part) && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    text.len() <= MAX_PREFIX && text.split('.').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_are_those_of_kubernetes() {
        let long = "x".repeat(63);
        for key in ["ring", "Ring_1", "a.b-c", "example.com/plan", "1", &long, &format!("{}/k", ["a"; 126].join("."))] {
            assert_eq!(key.parse::<LabelKey>().map(|key| key.to_string()), Ok(key.to_owned()));
        }
        let too_long = "x".repeat(64);
        for key in ["", "-a", "a-", "a b", "ä", "/a", "a/", "a/b/c", "Example.com/a", "a..b/c", "a_b/c", &too_long] {
            assert_eq!(key.parse::<LabelKey>(), Err(LabelError::Key(key.to_owned())));
        }
        for value in ["", "canary", "v1.2", &long] {
            assert_eq!(format!("a={value}").parse::<LabelChange>().unwrap().value.as_deref(), Some(value));
        }
        for value in ["-a", "a-", "a b", "a=b", "ä", &too_long] {
            assert_eq!(format!("a={value}").parse::<LabelSelector>(), Err(LabelError::Value(value.to_owned())));
        }
    }

    #[test]
    fn changes_set_or_remove() {
        let change = |text: &str| text.parse::<LabelChange>().map(|change| (change.key.to_string(), change.value));
        assert_eq!(change("ring=canary"), Ok(("ring".to_owned(), Some("canary".to_owned()))));
        assert_eq!(change("ring="), Ok(("ring".to_owned(), Some(String::new()))));
        assert_eq!(change("ring-"), Ok(("ring".to_owned(), None)));
        assert_eq!(change("ring"), Err(LabelError::Change("ring".to_owned())));
        assert_eq!(["a=b", "a-", "a", "a-b"].map(LabelChange::is_change), [true, true, false, false]);
    }

    #[test]
    fn selectors_are_printed_as_they_are_written() {
        for text in ["ring=canary", "ring=", "example.com/plan"] {
            assert_eq!(text.parse::<LabelSelector>().unwrap().to_string(), text);
        }
    }
}
