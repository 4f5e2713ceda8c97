//! Splits an SQL script into tokens like PostgreSQL's scanner.
//!
//! The rules are those of [section 4.1, "Lexical Structure"][manual], of PostgreSQL's manual, with
//! `standard_conforming_strings` on, which is the default. Comments and white space are not tokens.
//!
//! An operator of several characters is split into several [symbols](TokenKind::Symbol). A `--` or `/*` in an operator starts
//! a comment, as in PostgreSQL.
//!
//! [manual]: https://www.postgresql.org/docs/current/sql-syntax-lexical.html

use thiserror::Error;

use super::token::{Token, TokenKind};

/// A construct that can be unterminated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum Construct {
    #[error("quoted string")]
    Text,
    #[error("quoted identifier")]
    Identifier,
    #[error("dollar-quoted string")]
    DollarQuoted,
    #[error("comment")]
    Comment,
}

/// An unterminated construct and the byte offset of its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpenConstruct {
    pub(super) construct: Construct,
    pub(super) start: usize,
}

/// Iterates over the tokens of a script. Ends after an error.
#[derive(Debug, Clone)]
pub(super) struct Lexer<'a> {
    source: &'a str,
    position: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(source: &'a str) -> Self {
        Self { source, position: 0 }
    }

    /// Continues at a byte offset, which must be a character boundary.
    pub(super) fn seek(&mut self, position: usize) {
        self.position = position;
    }

    fn scan(&mut self) -> Result<Option<Token<'a>>, OpenConstruct> {
        let start = skip_blanks(self.source, self.position)?;
        if start == self.source.len() {
            return Ok(None);
        }
        let (kind, end) = scan_token(self.source, start)?;
        self.position = end;
        Ok(Some(Token { kind, text: &self.source[start..end], start }))
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Result<Token<'a>, OpenConstruct>;

    fn next(&mut self) -> Option<Self::Item> {
        let scanned = self.scan();
        if scanned.is_err() {
            self.position = self.source.len();
        }
        scanned.transpose()
    }
}

/// The kind and the end of the token that starts at `start`.
fn scan_token(source: &str, start: usize) -> Result<(TokenKind, usize), OpenConstruct> {
    let open = |construct| OpenConstruct { construct, start };
    // A prefix belongs to a string only if it is a word of its own: in `name'…'` the `e` is part of the name.
    let prefix = match &source.as_bytes()[start..] {
        [b'u' | b'U', b'&', b'\'' | b'"', ..] => 2,
        [b'e' | b'E' | b'b' | b'B' | b'x' | b'X' | b'n' | b'N', b'\'', ..] => 1,
        _ => 0,
    };
    match source.as_bytes()[start + prefix] {
        b'\'' => scan_string(source, start + prefix, Escapes::of(&source[start..]), |_| ())
            .map(|end| (TokenKind::Text, end))
            .ok_or(open(Construct::Text)),
        b'"' => scan_quoted_identifier(source, start + prefix)
            .map(|end| (TokenKind::Quoted, end))
            .ok_or(open(Construct::Identifier)),
        b'$' => scan_dollar(source, start).ok_or(open(Construct::DollarQuoted)),
        byte if starts_identifier(byte) => {
            Ok((TokenKind::Word, skip_while(source, start, |byte| continues_tag(byte) || byte == b'$')))
        }
        b'0'..=b'9' => Ok((TokenKind::Number, scan_number(source, start))),
        _ => Ok((TokenKind::Symbol, start + 1)),
    }
}

/// Section 4.1.1: a letter, including non-Latin letters and letters with diacritical marks, or an underscore.
fn starts_identifier(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || !byte.is_ascii()
}

/// Section 4.1.2.4: the tag of a dollar-quoted string is an identifier without dollar signs.
fn continues_tag(byte: u8) -> bool {
    starts_identifier(byte) || byte.is_ascii_digit()
}

/// The vertical tab is white space since PostgreSQL 16, and a syntax error before.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0b' | b'\x0c')
}

/// A carriage return alone also ends a line.
fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

fn skip_while(source: &str, start: usize, matches: impl Fn(u8) -> bool) -> usize {
    source.as_bytes()[start..].iter().position(|&byte| !matches(byte)).map_or(source.len(), |length| start + length)
}

/// Skips white space and comments (4.1.5).
fn skip_blanks(source: &str, start: usize) -> Result<usize, OpenConstruct> {
    let mut at = start;
    loop {
        at = match source.as_bytes().get(at) {
            Some(byte) if is_space(*byte) => at + 1,
            _ => match skip_comment(source, at)? {
                Some(end) => end,
                None => return Ok(at),
            },
        };
    }
}

/// The end of the comment that starts at `start`, or `None` if there is no comment.
pub(super) fn skip_comment(source: &str, start: usize) -> Result<Option<usize>, OpenConstruct> {
    match &source.as_bytes()[start..] {
        [b'-', b'-', ..] => Ok(Some(skip_while(source, start, |byte| !is_line_end(byte)))),
        [b'/', b'*', ..] => match skip_block_comment(source, start) {
            Some(end) => Ok(Some(end)),
            None => Err(OpenConstruct { construct: Construct::Comment, start }),
        },
        _ => Ok(None),
    }
}

/// Block comments nest.
fn skip_block_comment(source: &str, start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = start;
    loop {
        match source.as_bytes().get(at..)? {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            [_, ..] => at += 1,
            [] => return None,
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// The escapes in a string (4.1.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escapes {
    /// `E'…'`
    Backslash,
    None,
}

impl Escapes {
    /// Those of the string that a text starts with.
    pub(super) fn of(text: &str) -> Self {
        if text.starts_with(['e', 'E']) { Self::Backslash } else { Self::None }
    }
}

/// The end of the string with the opening quote at `open`. Passes the parts of its value to `emit`.
pub(super) fn scan_string<'a>(
    source: &'a str,
    open: usize,
    escapes: Escapes,
    mut emit: impl FnMut(&'a str),
) -> Option<usize> {
    let mut at = open + 1;
    loop {
        let plain = source[at..].find(|char| char == '\'' || (escapes == Escapes::Backslash && char == '\\'))?;
        emit(&source[at..at + plain]);
        at += plain;
        let rest = &source[at..];
        if let Some(escape) = rest.strip_prefix('\\') {
            let escaped = escape.chars().next()?;
            let length = escaped.len_utf8();
            emit(match escaped {
                'n' => "\n",
                'r' => "\r",
                't' => "\t",
                _ => &escape[..length],
            });
            at += 1 + length;
        } else if rest.starts_with("''") {
            emit("'");
            at += 2;
        } else if let Some(next) = continuation(source, at + 1) {
            at = next + 1;
        } else {
            return Some(at + 1);
        }
    }
}

/// The opening quote of the next part of a string (4.1.2.1). Parts that are separated by white space with a line break, and
/// possibly a `--` comment, are one constant. The prefix of the first part applies to all of them.
fn continuation(source: &str, start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        at = match &source.as_bytes()[at..] {
            [byte, ..] if is_space(*byte) => at + 1,
            [b'-', b'-', ..] => skip_while(source, at, |byte| !is_line_end(byte)),
            [b'\'', ..] => return source[start..at].contains(['\n', '\r']).then_some(at),
            _ => return None,
        };
    }
}

fn scan_quoted_identifier(source: &str, open: usize) -> Option<usize> {
    let mut at = open + 1;
    loop {
        at += source[at..].find('"')? + 1;
        if !source[at..].starts_with('"') {
            return Some(at);
        }
        at += 1;
    }
}

/// Scans a parameter, a dollar-quoted string or a dollar sign. `None` if the string is unterminated.
fn scan_dollar(source: &str, start: usize) -> Option<(TokenKind, usize)> {
    let after = start + 1;
    let tag_end = skip_while(source, after, continues_tag);
    match source.as_bytes().get(after) {
        Some(b'0'..=b'9') => Some((TokenKind::Parameter, skip_while(source, after, |byte| byte.is_ascii_digit()))),
        _ if source[tag_end..].starts_with('$') => {
            let body = tag_end + 1;
            let delimiter = &source[start..body];
            let length = source[body..].find(delimiter)?;
            Some((TokenKind::Text, body + length + delimiter.len()))
        }
        _ => Some((TokenKind::Symbol, after)),
    }
}

/// The end of a number, including all letters and digits that follow; the server rejects a number with other letters. Two dots
/// are the range operator of PL/pgSQL, as in `1..10`.
fn scan_number(source: &str, start: usize) -> usize {
    let end = skip_while(source, start, continues_tag);
    match &source.as_bytes()[end..] {
        [b'.', b'.', ..] => end,
        [b'.', ..] => skip_while(source, end + 1, continues_tag),
        _ => end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tokens of a script, each as the first letter of its kind and its text.
    fn tokens(script: &str) -> Vec<String> {
        Lexer::new(script)
            .map(|token| match token {
                Ok(token) => format!("{}:{}", &format!("{:?}", token.kind)[..1], token.text),
                Err(open) => format!("open {} at {}", open.construct, open.start),
            })
            .collect()
    }

    #[test]
    fn scripts_are_split_into_tokens() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            (" \t\r\n\x0b\x0c", &[]),
            ("select 1", &["W:select", "N:1"]),
            ("a$b$c $b$", &["W:a$b$c", "open dollar-quoted string at 6"]),
            ("größe_1, 表", &["W:größe_1", "S:,", "W:表"]),
            // Strings
            ("'it''s' x", &["T:'it''s'", "W:x"]),
            (r"'a\' b", &[r"T:'a\'", "W:b"]),
            (r"E'a\'b' c", &[r"T:E'a\'b'", "W:c"]),
            (r"e'a\\' c", &[r"T:e'a\\'", "W:c"]),
            (r"E'é\é'", &[r"T:E'é\é'"]),
            ("B'01' x'1F' N'n' U&'d\\0061'", &["T:B'01'", "T:x'1F'", "T:N'n'", "T:U&'d\\0061'"]),
            ("name'x'", &["W:name", "T:'x'"]),
            ("u & 'x'", &["W:u", "S:&", "T:'x'"]),
            ("u&x", &["W:u", "S:&", "W:x"]),
            ("'a' 'b'", &["T:'a'", "T:'b'"]),
            ("'a'\n 'b'", &["T:'a'\n 'b'"]),
            ("'a'\r\n'b'", &["T:'a'\r\n'b'"]),
            ("'a' -- it's\n'b'", &["T:'a' -- it's\n'b'"]),
            ("'a' /*\n*/ 'b'", &["T:'a'", "T:'b'"]),
            ("E'a'\n'\\'b'", &["T:E'a'\n'\\'b'"]),
            ("'a'\nE'b'", &["T:'a'", "T:E'b'"]),
            // Dollar quotes
            ("$$;$$", &["T:$$;$$"]),
            ("$a$ $b$ $a $a$", &["T:$a$ $b$ $a $a$"]),
            ("$a$$A$$a$", &["T:$a$$A$$a$"]),
            ("$é1$'$é1$", &["T:$é1$'$é1$"]),
            ("$1$a$x$a$", &["P:$1", "T:$a$x$a$"]),
            ("$1a", &["P:$1", "W:a"]),
            ("$a-$", &["S:$", "W:a", "S:-", "S:$"]),
            // Quoted identifiers
            ("\"a\"\"b\"c", &["Q:\"a\"\"b\"", "W:c"]),
            ("U&\"d\" u&\"\"", &["Q:U&\"d\"", "Q:u&\"\""]),
            ("\";\"", &["Q:\";\""]),
            // Numbers
            ("1.5 .5 1. 0x1F 1_000", &["N:1.5", "S:.", "N:5", "N:1.", "N:0x1F", "N:1_000"]),
            ("1.e5 1..10", &["N:1.e5", "N:1", "S:.", "S:.", "N:10"]),
            ("1--2", &["N:1"]),
            // Comments and operators
            ("a--b\nc", &["W:a", "W:c"]),
            ("a--b\rc", &["W:a", "W:c"]),
            ("a/*/*;*/'*/b", &["W:a", "W:b"]),
            ("a/**/b/***/c", &["W:a", "W:b", "W:c"]),
            ("a +-- x\n- b", &["W:a", "S:+", "S:-", "W:b"]),
            ("a*/* x */-b", &["W:a", "S:*", "S:-", "W:b"]),
            ("a - -b */ c", &["W:a", "S:-", "S:-", "W:b", "S:*", "S:/", "W:c"]),
            // Left open
            ("a 'b", &["W:a", "open quoted string at 2"]),
            (r"E'b\'", &["open quoted string at 0"]),
            (r"E'b\", &["open quoted string at 0"]),
            ("'a'\n'b", &["open quoted string at 0"]),
            ("\"a\"\"", &["open quoted identifier at 0"]),
            ("$a$ $a", &["open dollar-quoted string at 0"]),
            ("x /* /* */", &["W:x", "open comment at 2"]),
            ("/*/", &["open comment at 0"]),
        ];
        for (script, expected) in cases {
            assert_eq!(tokens(script), *expected, "{script:?}");
        }
    }
}
