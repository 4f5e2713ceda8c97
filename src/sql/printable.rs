//! Equivalent SQL without unprintable characters.

use std::borrow::Cow;

use super::lexer::Lexer;
use super::token::{Token, TokenKind};
use crate::text::{self, is_unprintable};

/// Returns equivalent SQL without unprintable characters except line feeds and tabs: identifiers are written as `U&"…"`, string
/// constants as `E'…'`, and characters in comments are escaped as in other text. SQL with an unterminated construct, which no
/// server accepts, is escaped as text.
///
/// Line feeds and tabs in identifiers are escaped too, because they would look like lines of the script.
pub(crate) fn printable(sql: &str) -> Cow<'_, str> {
    let suspicious = |c| is_unprintable(c) && c != '\t' && c != '\n';
    // A line feed is escaped only in a quoted identifier.
    let may_break_lines = sql.contains('"') && sql.contains('\n');
    if !may_break_lines && !sql.contains(suspicious) {
        return Cow::Borrowed(sql);
    }
    let mut out = String::with_capacity(sql.len() + 16);
    let mut end = 0;
    for token in Lexer::new(sql) {
        let Ok(token) = token else { return text::multi_line(sql) };
        out.push_str(&between(&sql[end..token.start]));
        end = token.end();
        push_token(&mut out, &token);
    }
    out.push_str(&between(&sql[end..]));
    Cow::Owned(out)
}

/// Escapes white space and comments between tokens. A carriage return ends a comment.
fn between(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n").replace(['\u{b}', '\u{c}'], " ");
    text::multi_line(&text).into_owned()
}

fn push_token(out: &mut String, token: &Token<'_>) {
    let is_identifier = matches!(token.kind, TokenKind::Quoted | TokenKind::Word);
    if !token.text.contains(|c| is_unprintable(c) && (is_identifier || (c != '\n' && c != '\t'))) {
        out.push_str(token.text);
        return;
    }
    let prefixed_unicode = token.text.starts_with(['u', 'U']) && token.text[1..].starts_with('&');
    match token.kind {
        // The escape character is assumed to be the backslash; UESCAPE is ignored.
        TokenKind::Quoted | TokenKind::Text if prefixed_unicode => escape(out, token.text, unicode),
        TokenKind::Quoted => {
            out.push_str("U&");
            escape(out, &token.text.replace('\\', "\\\\"), unicode);
        }
        TokenKind::Word => {
            let name = token.identifier().unwrap_or_default();
            out.push_str("U&\"");
            escape(out, &name.replace('\\', "\\\\"), unicode);
            out.push('"');
        }
        TokenKind::Text if token.text.starts_with(['e', 'E']) => push_escape_string(out, token.text),
        TokenKind::Text => {
            let value = token.constant().unwrap_or_default();
            out.push_str("E'");
            escape(out, &value.replace('\\', "\\\\").replace('\'', "''"), in_string);
            out.push('\'');
        }
        TokenKind::Number | TokenKind::Parameter | TokenKind::Symbol => out.push_str(&text::one_line(token.text)),
    }
}

/// Appends an `E'…'` constant. A backslash before an unprintable character is redundant.
fn push_escape_string(out: &mut String, text: &str) {
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => match characters.next() {
                Some(next) if is_unprintable(next) => in_string(out, next),
                next => out.extend([Some('\\'), next].into_iter().flatten()),
            },
            c if is_unprintable(c) && c != '\n' && c != '\t' => in_string(out, c),
            c => out.push(c),
        }
    }
}

fn escape(out: &mut String, text: &str, write: fn(&mut String, char)) {
    for c in text.chars() {
        if is_unprintable(c) {
            write(out, c);
        } else {
            out.push(c);
        }
    }
}

/// Appends an escape for `U&"…"`.
fn unicode(out: &mut String, c: char) {
    let code = u32::from(c);
    out.push_str(&if code > 0xffff { format!("\\+{code:06X}") } else { format!("\\{code:04X}") });
}

/// Appends an escape for `E'…'`.
fn in_string(out: &mut String, c: char) {
    let code = u32::from(c);
    match c {
        '\n' | '\t' => out.push(c),
        '\r' => out.push_str("\\r"),
        _ if code > 0xffff => out.push_str(&format!("\\U{code:08X}")),
        _ => out.push_str(&format!("\\u{code:04X}")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sql::quote::{Identifier, Literal};

    #[test]
    fn tokens_of_each_kind_are_escaped() {
        for (sql, expected) in [
            ("SELECT 1 AS \"a b\"", "SELECT 1 AS \"a b\""),
            ("ALTER TABLE \"a\u{1b}\\\"\"b\" ADD", "ALTER TABLE U&\"a\\001B\\\\\"\"b\" ADD"),
            ("\"two\nlines\"", "U&\"two\\000Alines\""),
            ("\"\u{e0041}\"", "U&\"\\+0E0041\""),
            ("U&\"a\\0041\u{9b}\"", "U&\"a\\0041\\009B\""),
            ("'it''s \u{7}\\n'", "E'it''s \\u0007\\\\n'"),
            ("E'\\\\\u{1b}\\n\\\u{1b}'", "E'\\\\\\u001B\\n\\u001B'"),
            ("$f$it's\r\n\ta\\b$f$", "E'it''s\\r\n\ta\\\\b'"),
            ("'a\nb'", "'a\nb'"),
            ("a\u{200b}b", "U&\"a\\200Bb\""),
            ("-- a\u{1b}\rSELECT\u{c}1", "-- a\\u{1b}\nSELECT 1"),
            ("/* \u{202e} */ SELECT 1", "/* \\u{202e} */ SELECT 1"),
            ("'open \u{1b}", "'open \\u{1b}"),
        ] {
            assert_eq!(printable(sql), expected, "{sql:?}");
        }
    }

    proptest! {
        #[test]
        fn names_and_values_are_preserved(name in "[^\0]{1,15}", value in "[^\0]{0,40}") {
            let sql = format!("COMMENT ON TABLE {} IS {}", Identifier::of_object(&name), Literal(&value));
            let printable = printable(&sql);
            prop_assert!(!printable.replace(['\n', '\t'], "").contains(is_unprintable));
            let tokens: Vec<_> = Lexer::new(&printable).map(Result::unwrap).collect();
            prop_assert_eq!(tokens.len(), 6);
            prop_assert_eq!(tokens[4].text, "IS");
            if !name.contains('\\') {
                prop_assert_eq!(tokens[3].identifier().unwrap(), name);
            }
        }
    }
}
