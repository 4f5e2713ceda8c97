//! Quoted identifiers and literals for SQL that cannot bind values.

use std::fmt;

use crate::model::{ObjectName, SchemaName, TenantName};

/// An identifier, always in double quotes.
#[derive(Debug, Clone, Copy)]
pub struct Identifier<'a>(&'a str);

/// A string constant. A text with a backslash is written as `E'…'`, which does not depend on
/// `standard_conforming_strings`.
#[derive(Debug, Clone, Copy)]
pub struct Literal<'a>(pub &'a str);

impl<'a> Identifier<'a> {
    /// The name of an object, as in the catalog.
    pub fn of_object(name: &'a str) -> Self {
        Self(name)
    }
}

impl<'a> From<&'a SchemaName> for Identifier<'a> {
    fn from(name: &'a SchemaName) -> Self {
        Self(name.as_str())
    }
}

impl<'a> From<&'a TenantName> for Identifier<'a> {
    fn from(name: &'a TenantName) -> Self {
        Self(name.as_str())
    }
}

impl<'a> From<&'a ObjectName> for Identifier<'a> {
    fn from(name: &'a ObjectName) -> Self {
        Self(name.as_str())
    }
}

impl fmt::Display for Identifier<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.replace('"', "\"\""))
    }
}

impl fmt::Display for Literal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.replace('\'', "''");
        if text.contains('\\') { write!(f, "E'{}'", text.replace('\\', "\\\\")) } else { write!(f, "'{text}'") }
    }
}

/// An SQL expression for the [`Identifier`] of a name that is given as an SQL expression of type `text`.
pub fn identifier_of(name: &str) -> String {
    format!("'\"' || pg_catalog.replace({name}, '\"', '\"\"') || '\"'")
}

/// A string constant with the text of an array of texts.
pub fn text_array<'a>(elements: impl IntoIterator<Item = &'a str>) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let elements: Vec<String> = elements.into_iter().map(quoted).collect();
    Literal(&format!("{{{}}}", elements.join(","))).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_are_escaped() {
        assert_eq!(Identifier("a\"; DROP SCHEMA x; --").to_string(), "\"a\"\"; DROP SCHEMA x; --\"");
        assert_eq!(Literal("it's").to_string(), "'it''s'");
        assert_eq!(Literal("a\\' b").to_string(), "E'a\\\\'' b'");
    }

    #[test]
    fn an_array_of_texts_is_one_constant() {
        assert_eq!(text_array(["a", "it's"]), "'{\"a\",\"it''s\"}'");
        assert_eq!(text_array(["a\\\"b"]), "E'{\"a\\\\\\\\\\\\\"b\"}'");
        assert_eq!(text_array([]), "'{}'");
    }
}
