//! The identifiers in deparsed texts.

use std::borrow::Cow;

use crate::schema::structure::unquoted;

/// The identifier that a text ends with, without its quotes.
pub(super) fn last_identifier(text: &str) -> Option<Cow<'_, str>> {
    let Some(inner) = text.strip_suffix('"') else {
        let word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let start = text.trim_end_matches(word).len();
        return (start < text.len()).then(|| text[start..].into());
    };
    let mut end = inner.len();
    loop {
        let quote = inner[..end].rfind('"')?;
        // A quote within the identifier is written twice.
        if !inner[..quote].ends_with('"') {
            return Some(inner[quote + 1..].replace("\"\"", "\"").into());
        }
        end = quote - 1;
    }
}

/// The schemas of a `search_path`, without quotes.
pub(super) fn schemas_on_path(path: &str) -> Vec<String> {
    let mut quoted = false;
    let names = path.split(|c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    names.map(|name| unquoted(name.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_read_backwards() {
        for (text, name) in [
            ("FROM acme", "acme"),
            ("acme", "acme"),
            ("'\"acme-corp\"", "acme-corp"),
            ("x\"has space\"", "has space"),
            ("\"a\"\"b\"", "a\"b"),
            ("\"\"\"x\"", "\"x"),
            ("\"x\"\"\"", "x\""),
            ("(ünï", "ünï"),
        ] {
            assert_eq!(last_identifier(text).as_deref(), Some(name), "{text}");
        }
        for text in ["", "a ", "a)", "\""] {
            assert_eq!(last_identifier(text), None, "{text}");
        }
    }

    #[test]
    fn a_path_is_split_outside_of_quotes() {
        assert_eq!(schemas_on_path("acme, \"a,b\", \"quo\"\"te\",pg_temp"), ["acme", "a,b", "quo\"te", "pg_temp"]);
    }
}
