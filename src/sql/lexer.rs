//! The tokens of an SQL script, cut as PostgreSQL's own scanner cuts them.
//!
//! The rules are those of [section 4.1, "Lexical Structure"][manual], of PostgreSQL's manual, with
//! `standard_conforming_strings` on, its default since version 9.1. Comments and white space separate tokens and are
//! not tokens themselves.
//!
//! An operator of several characters comes as several [symbols](Kind::Symbol): nothing here depends on which operator
//! it is, and a `--` or `/*` inside one starts a comment anyway.
//!
//! [manual]: https://www.postgresql.org/docs/current/sql-syntax-lexical.html

use thiserror::Error;

/// What a token is. A number in brackets is the section of the manual that describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword or an identifier without quotes (4.1.1).
    Word,
    /// An identifier in quotes: `"…"` or `U&"…"` (4.1.1).
    Quoted,
    /// A string constant: `'…'`, with or without one of the prefixes `E`, `B`, `X`, `N` and `U&`, or `$tag$…$tag$`
    /// (4.1.2.1 to 4.1.2.5).
    Text,
    /// A number (4.1.2.6). A sign before it is a symbol.
    Number,
    /// A positional parameter such as `$1` (4.2.2).
    Parameter,
    /// One character of anything else (4.1.3 and 4.1.4).
    Symbol,
}

/// A construct that a script leaves open.
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

/// What is left open, and the byte offset at which it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) construct: Construct,
    pub(super) start: usize,
}

/// One token of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    /// The token as it is written, quotes included.
    pub(super) text: &'a str,
    /// The byte offset of its first character.
    pub(super) start: usize,
}

impl Token<'_> {
    /// The byte offset after its last character.
    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// Whether it is this keyword. An identifier in quotes never is one.
    pub(super) fn is(&self, keyword: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(keyword)
    }

    /// Whether it is this symbol.
    pub(super) fn is_symbol(&self, symbol: &str) -> bool {
        self.kind == Kind::Symbol && self.text == symbol
    }

    /// The name that it stands for when it is an identifier (or a keyword): folded to lower case unless it is quoted,
    /// and cut to the 63 bytes that PostgreSQL keeps. In `U&"…"` the escape character is taken to be the backslash,
    /// whatever a `UESCAPE` after it says.
    pub(super) fn identifier(&self) -> Option<String> {
        let mut name = match self.kind {
            // Only ASCII letters: in UTF-8 the server leaves all others alone.
            Kind::Word => self.text.to_ascii_lowercase(),
            Kind::Quoted => {
                let open = self.text.find('"')?;
                let name = self.text[open + 1..self.text.len() - 1].replace("\"\"", "\"");
                if open > 0 { decode_unicode(&name) } else { name }
            }
            _ => return None,
        };
        let mut length = name.len().min(LONGEST_NAME);
        while !name.is_char_boundary(length) {
            length -= 1;
        }
        name.truncate(length);
        Some(name)
    }

    /// The value of a string constant. Numeric escapes such as `\x41` in an `E'…'` stay undecoded: the value is here
    /// to be recognized, not to be stored.
    pub(super) fn constant(&self) -> Option<String> {
        if self.kind != Kind::Text {
            return None;
        }
        if let Some(after_dollar) = self.text.strip_prefix('$') {
            let delimiter = after_dollar.find('$')? + 2;
            return Some(self.text[delimiter..self.text.len() - delimiter].to_owned());
        }
        let mut value = String::new();
        let open = self.text.find('\'')?;
        scan_string(self.text, open, self.text.starts_with(['e', 'E']), |part| value.push_str(part))?;
        Some(if self.text.starts_with(['u', 'U']) { decode_unicode(&value) } else { value })
    }
}

/// Cuts a script into tokens. After an error there are no more.
#[derive(Debug, Clone)]
pub(super) struct Lexer<'a> {
    source: &'a str,
    position: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(source: &'a str) -> Self {
        Self { source, position: 0 }
    }

    /// Goes on at a byte offset, which has to be a character boundary.
    pub(super) fn seek(&mut self, position: usize) {
        self.position = position;
    }

    fn scan(&mut self) -> Result<Option<Token<'a>>, Open> {
        let start = skip_blanks(self.source, self.position)?;
        let Some(&first) = self.source.as_bytes().get(start) else {
            return Ok(None);
        };
        let (kind, end) = scan_token(self.source, start, first)?;
        self.position = end;
        Ok(Some(Token { kind, text: &self.source[start..end], start }))
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Result<Token<'a>, Open>;

    fn next(&mut self) -> Option<Self::Item> {
        let scanned = self.scan();
        if scanned.is_err() {
            self.position = self.source.len();
        }
        scanned.transpose()
    }
}

/// `NAMEDATALEN - 1` of a server as it is distributed.
const LONGEST_NAME: usize = 63;

/// The kind and the end of the token that begins at `start`, with the byte `first`.
fn scan_token(source: &str, start: usize, first: u8) -> Result<(Kind, usize), Open> {
    let open = |construct| Open { construct, start };
    // The prefix of a string counts only right before its quote: in `name'…'` the `e` belongs to the word.
    let prefix = match &source.as_bytes()[start..] {
        [b'u' | b'U', b'&', b'\'' | b'"', ..] => 2,
        [b'e' | b'E' | b'b' | b'B' | b'x' | b'X' | b'n' | b'N', b'\'', ..] => 1,
        _ => 0,
    };
    match source.as_bytes()[start + prefix] {
        b'\'' => scan_string(source, start + prefix, matches!(first, b'e' | b'E'), |_| ())
            .map(|end| (Kind::Text, end))
            .ok_or(open(Construct::Text)),
        b'"' => scan_quoted_identifier(source, start + prefix)
            .map(|end| (Kind::Quoted, end))
            .ok_or(open(Construct::Identifier)),
        b'$' => scan_dollar(source, start).ok_or(open(Construct::DollarQuoted)),
        byte if starts_identifier(byte) => {
            Ok((Kind::Word, skip_while(source, start, |byte| continues_tag(byte) || byte == b'$')))
        }
        b'0'..=b'9' => Ok((Kind::Number, scan_number(source, start))),
        _ => Ok((Kind::Symbol, start + 1)),
    }
}

/// 4.1.1: a letter, one with diacritical marks or not Latin at all included, or an underscore.
fn starts_identifier(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || !byte.is_ascii()
}

/// 4.1.2.4: the tag of a dollar-quoted string follows the rules of identifiers, except that it has no dollar sign.
fn continues_tag(byte: u8) -> bool {
    starts_identifier(byte) || byte.is_ascii_digit()
}

/// PostgreSQL 16 made the vertical tab white space; before, it was a syntax error.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0b' | b'\x0c')
}

/// A carriage return alone ends a line, too.
fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

fn skip_while(source: &str, start: usize, matches: impl Fn(u8) -> bool) -> usize {
    source.as_bytes()[start..].iter().position(|&byte| !matches(byte)).map_or(source.len(), |length| start + length)
}

/// Skips white space and comments (4.1.5).
fn skip_blanks(source: &str, start: usize) -> Result<usize, Open> {
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

/// The end of the comment that begins at `start`; `None` where none does.
pub(super) fn skip_comment(source: &str, start: usize) -> Result<Option<usize>, Open> {
    match &source.as_bytes()[start..] {
        [b'-', b'-', ..] => Ok(Some(skip_while(source, start, |byte| !is_line_end(byte)))),
        [b'/', b'*', ..] => match skip_block_comment(source, start) {
            Some(end) => Ok(Some(end)),
            None => Err(Open { construct: Construct::Comment, start }),
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

/// The end of the string whose opening quote is at `open`, and through `emit` the pieces of its value.
fn scan_string<'a>(source: &'a str, open: usize, escapes: bool, mut emit: impl FnMut(&'a str)) -> Option<usize> {
    let mut at = open + 1;
    loop {
        let plain = source[at..].find(|char| char == '\'' || (escapes && char == '\\'))?;
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

/// The opening quote of the next part of a string (4.1.2.1): parts with only white space and a line end between them
/// are one constant, and the rules of its first part hold for all of them. A `--` comment may stand between them.
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

/// What begins with a dollar sign: a parameter, a dollar-quoted string, or only the sign. `None` if the string does
/// not end.
fn scan_dollar(source: &str, start: usize) -> Option<(Kind, usize)> {
    let after = start + 1;
    let tag_end = skip_while(source, after, continues_tag);
    match source.as_bytes().get(after) {
        Some(b'0'..=b'9') => Some((Kind::Parameter, skip_while(source, after, |byte| byte.is_ascii_digit()))),
        _ if source[tag_end..].starts_with('$') => {
            let body = tag_end + 1;
            let delimiter = &source[start..body];
            let length = source[body..].find(delimiter)?;
            Some((Kind::Text, body + length + delimiter.len()))
        }
        _ => Some((Kind::Symbol, after)),
    }
}

/// Takes every letter and digit that follows, since a server refuses a number with letters that mean nothing. Two dots
/// after it are PL/pgSQL's range, as in `1..10`.
fn scan_number(source: &str, start: usize) -> usize {
    let end = skip_while(source, start, continues_tag);
    match &source.as_bytes()[end..] {
        [b'.', b'.', ..] => end,
        [b'.', ..] => skip_while(source, end + 1, continues_tag),
        _ => end,
    }
}

/// Decodes the `\0041` and `\+000041` of `U&'…'` and `U&"…"` (4.1.1 and 4.1.2.3); what is not valid stays as it is.
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

    /// The tokens of a script, each as its kind's first letter and its text.
    fn tokens(script: &str) -> Vec<String> {
        Lexer::new(script)
            .map(|token| match token {
                Ok(token) => format!("{}:{}", &format!("{:?}", token.kind)[..1], token.text),
                Err(open) => format!("open {} at {}", open.construct, open.start),
            })
            .collect()
    }

    fn only(script: &str) -> Token<'_> {
        let tokens: Vec<_> = Lexer::new(script).collect::<Result<_, _>>().expect("a closed script");
        assert_eq!(tokens.len(), 1, "{script}");
        tokens[0]
    }

    #[test]
    fn cuts_as_the_server_does() {
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

    #[test]
    fn folds_identifiers_as_the_server_does() {
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
    fn reads_the_value_of_a_constant() {
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
