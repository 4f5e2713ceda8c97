//! Tokens of SQL, and the names and values that they stand for.

use super::lexer::{Escapes, scan_string};
use crate::model::MAX_BYTES;

/// The kind of a token. Numbers in parentheses are sections of PostgreSQL's manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A keyword or an unquoted identifier (4.1.1).
    Word,
    /// A quoted identifier: `"…"` or `U&"…"` (4.1.1).
    Quoted,
    /// A string constant: `'…'`, with or without one of the prefixes `E`, `B`, `X`, `N` and `U&`, or `$tag$…$tag$`
    /// (4.1.2.1 to 4.1.2.5).
    Text,
    /// A number without a sign (4.1.2.6).
    Number,
    /// A positional parameter such as `$1` (4.2.2).
    Parameter,
    /// Any other single character (4.1.3 and 4.1.4).
    Symbol,
}

/// A token of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: TokenKind,
    /// The text, including quotes.
    pub(super) text: &'a str,
    /// The byte offset of its first character.
    pub(super) start: usize,
}

impl Token<'_> {
    /// The byte offset after its last character.
    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// Whether the token is this keyword. A quoted identifier is not a keyword.
    pub(super) fn is(&self, keyword: &str) -> bool {
        self.kind == TokenKind::Word && self.text.eq_ignore_ascii_case(keyword)
    }

    /// Whether the token is this symbol.
    pub(super) fn is_symbol(&self, symbol: &str) -> bool {
        self.kind == TokenKind::Symbol && self.text == symbol
    }

    /// The name of an identifier or a keyword: in lower case unless it is quoted, and truncated to 63 bytes as in PostgreSQL.
    /// The escape character in `U&"…"` is assumed to be the backslash; `UESCAPE` is ignored.
    pub(super) fn identifier(&self) -> Option<String> {
        let mut name = match self.kind {
            // In UTF-8, the server folds only ASCII letters.
            TokenKind::Word => self.text.to_ascii_lowercase(),
            TokenKind::Quoted => {
                let open = self.text.find('"')?;
                let name = self.text[open + 1..self.text.len() - 1].replace("\"\"", "\"");
                if open > 0 { decode_unicode(&name) } else { name }
            }
            _ => return None,
        };
        let mut length = name.len().min(MAX_BYTES);
        while !name.is_char_boundary(length) {
            length -= 1;
        }
        name.truncate(length);
        Some(name)
    }

    /// The value of a string constant. Numeric escapes such as `\x41` in `E'…'` are not decoded.
    pub(super) fn constant(&self) -> Option<String> {
        if self.kind != TokenKind::Text {
            return None;
        }
        if let Some(after_dollar) = self.text.strip_prefix('$') {
            let delimiter = after_dollar.find('$')? + 2;
            return Some(self.text[delimiter..self.text.len() - delimiter].to_owned());
        }
        let mut value = String::new();
        let open = self.text.find('\'')?;
        scan_string(self.text, open, Escapes::of(self.text), |part| value.push_str(part))?;
        Some(if self.text.starts_with(['u', 'U']) { decode_unicode(&value) } else { value })
    }
}

/// Decodes the `\0041` and `\+000041` of `U&'…'` and `U&"…"` (4.1.1 and 4.1.2.3); invalid escapes are kept.
fn decode_unicode(text: &str) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        decoded.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let digits = if rest.starts_with('+') { 1..7 } else { 0..4 };
        let end = digits.end;
        let code = rest.get(digits).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        if let Some(char) = code.and_then(char::from_u32) {
            decoded.push(char);
            rest = &rest[end..];
        } else {
            decoded.push('\\');
            rest = rest.strip_prefix('\\').unwrap_or(rest);
        }
    }
    decoded + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::lexer::Lexer;

    fn only(script: &str) -> Token<'_> {
        let tokens: Vec<_> = Lexer::new(script).collect::<Result<_, _>>().expect("a terminated script");
        assert_eq!(tokens.len(), 1, "{script}");
        tokens[0]
    }

    #[test]
    fn identifiers_are_folded_and_truncated() {
        let long = "x".repeat(62);
        let cases = [
            ("Acme", Some("acme")),
            ("ÄCME", Some("Äcme")),
            ("\"Acme\"", Some("Acme")),
            ("\"a\"\"b\"", Some("a\"b")),
            ("U&\"d\\0061t\\+000061\\\\\\zz\"", Some("data\\\\zz")),
            ("U&\"\\\"", Some("\\")),
            (&format!("{long}yz"), Some(&*format!("{long}y"))),
            (&format!("{long}é"), Some(&*long)),
            (&format!("\"{long}YZ\""), Some(&*format!("{long}Y"))),
            ("'acme'", None),
            ("1", None),
        ];
        for (script, expected) in cases {
            assert_eq!(only(script).identifier().as_deref(), expected, "{script}");
        }
    }

    #[test]
    fn the_value_of_a_constant_is_decoded() {
        let cases = [
            ("''", Some("")),
            ("'it''s'", Some("it's")),
            (r"'a\n'", Some(r"a\n")),
            (r"E'\'\n\r\t\\\é'", Some("'\n\r\t\\é")),
            ("E'a'\n'\\'b'", Some("a'b")),
            ("'a' -- c\n 'b'", Some("ab")),
            ("U&'\\0061b'", Some("ab")),
            ("$$it's$$", Some("it's")),
            ("$a$ $$ $a$", Some(" $$ ")),
            ("\"x\"", None),
            ("x", None),
        ];
        for (script, expected) in cases {
            assert_eq!(only(script).constant().as_deref(), expected, "{script}");
        }
    }
}
