//! Splits a script into statements, tokens and comments.

use thiserror::Error;

use super::{Statement, begins, creates_routine};
use crate::sql::lexer::{Construct, Lexer, OpenConstruct, skip_comment};
use crate::sql::token::{Token, TokenKind};

/// A script that ends inside a string, a quoted identifier or a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("unterminated {construct} that starts on line {line}")]
pub struct Unterminated {
    construct: Construct,
    line: usize,
}

impl Unterminated {
    /// The line of the script, counted from 1, on which the construct starts.
    pub fn line(&self) -> usize {
        self.line
    }
}

/// Splits a script into its statements, without empty ones.
///
/// A semicolon inside parentheses, brackets, or the `BEGIN ATOMIC … END` of a function or procedure does not end a
/// statement. A psql command is a separate statement and ends at the end of its line or at a semicolon. The data between
/// `COPY … FROM STDIN;` and a line with only `\.` is skipped.
///
/// # Errors
/// Fails if the script ends inside a string, a quoted identifier or a comment.
pub fn split(script: &str) -> Result<Vec<Statement<'_>>, Unterminated> {
    let mut statements = Vec::new();
    let mut lexer = Lexer::new(script);
    let mut tokens = Vec::new();
    let mut nesting = Nesting::default();
    while let Some(token) = lexer.next() {
        let token = token
            .map_err(|OpenConstruct { construct, start }| Unterminated { construct, line: line_at(script, start) })?;
        if token.is_symbol(";") && nesting.is_closed() {
            push(&mut statements, script, &tokens);
            if begins(&tokens, "COPY") && statements.last().is_some_and(Statement::copies_from_stdin) {
                lexer.seek(inline_data_end(script, token.end()).unwrap_or(token.end()));
            }
            tokens.clear();
            nesting = Nesting::default();
        } else if token.is_symbol("\\") && tokens.is_empty() {
            let rest = &script[token.start..];
            let text = &rest[..rest.find(['\n', '\r', ';']).unwrap_or(rest.len())];
            push(&mut statements, script, &[Token { text: text.trim_end(), ..token }]);
            lexer.seek(token.start + text.len());
        } else {
            nesting.enter(&tokens, &token);
            tokens.push(token);
        }
    }
    push(&mut statements, script, &tokens);
    Ok(statements)
}

/// The identifiers in a script, including keywords, folded as in PostgreSQL. Strings, including dollar-quoted ones, are not
/// searched. Stops at an unterminated construct.
pub fn identifiers(script: &str) -> impl Iterator<Item = String> + '_ {
    Lexer::new(script).map_while(Result::ok).filter_map(|token| token.identifier())
}

/// The tokens of a script, unchanged, without white space and comments. Stops at an unterminated construct.
pub fn tokens(script: &str) -> impl Iterator<Item = &str> {
    Lexer::new(script).map_while(Result::ok).map(|token| token.text)
}

/// The comments of a script. Stops at an unterminated construct.
pub fn comments(script: &str) -> impl Iterator<Item = &str> {
    let mut end = 0;
    let gaps = Lexer::new(script).map_while(Result::ok).map(|token| (token.start, token.end()));
    // A gap before each token, and one after the last token.
    gaps.chain([(script.len(), script.len())]).flat_map(move |(token_start, token_end)| {
        let mut gap = &script[end..token_start];
        end = token_end;
        std::iter::from_fn(move || {
            gap = gap.trim_start();
            let (comment, after) = gap.split_at(skip_comment(gap, 0).ok()??);
            gap = after;
            Some(comment)
        })
    })
}

/// The line, counted from 1, at a byte offset in a script. The last line for an offset after the end.
pub fn line_at(script: &str, offset: usize) -> usize {
    1 + line_ends(&script.as_bytes()[..offset.min(script.len())])
}

/// The constructs around a place in a statement inside which a semicolon does not end the statement.
#[derive(Debug, Default)]
pub(super) struct Nesting {
    /// Open parentheses and brackets.
    brackets: usize,
    /// Inside `BEGIN ATOMIC … END`: the number of tokens before the body's first statement.
    body: Option<usize>,
}

impl Nesting {
    pub(super) fn is_closed(&self) -> bool {
        self.brackets == 0 && self.body.is_none()
    }

    /// Adds a token of a statement, given the tokens before it.
    pub(super) fn enter(&mut self, before: &[Token<'_>], token: &Token<'_>) {
        match (token.kind, token.text) {
            (TokenKind::Symbol, "(" | "[") => self.brackets += 1,
            (TokenKind::Symbol, ")" | "]") => self.brackets = self.brackets.saturating_sub(1),
            (TokenKind::Word, _) => self.enter_word(before, token),
            _ => {}
        }
    }

    fn enter_word(&mut self, before: &[Token<'_>], word: &Token<'_>) {
        let follows = |last: fn(&Token<'_>) -> bool| before.last().is_some_and(last);
        match self.body {
            None => {
                let opens = word.is("ATOMIC")
                    && follows(|last| last.is("BEGIN"))
                    && self.brackets == 0
                    && creates_routine(before);
                self.body = opens.then_some(before.len() + 1);
            }
            // Each statement of the body ends with a semicolon. An END elsewhere ends a CASE, or names a column.
            Some(start) => {
                let closes = word.is("END") && (before.len() == start || follows(|last| last.is_symbol(";")));
                self.body = (!closes).then_some(start);
            }
        }
    }
}

/// Adds the statement that consists of these tokens, if there are any.
fn push<'a>(statements: &mut Vec<Statement<'a>>, script: &'a str, tokens: &[Token<'a>]) {
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
        return;
    };
    // Lines are counted from the last statement, so that the script is read only once.
    let (offset, line) = statements.last().map_or((0, 1), |last| (last.offset, last.line));
    statements.push(Statement {
        sql: &script[first.start..last.end()],
        offset: first.start,
        line: line + line_ends(&script.as_bytes()[offset..first.start]),
    });
}

fn line_ends(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte == b'\n').count()
}

/// The end of the data of a `COPY` that starts on the line after `start`: after the line `\.`, if it exists.
fn inline_data_end(script: &str, start: usize) -> Option<usize> {
    let mut end = start;
    script[start..].split_inclusive('\n').find_map(|line| {
        let is_first = end == start;
        end += line.len();
        (!is_first && line.trim_end_matches(['\r', '\n']) == "\\.").then_some(end)
    })
}

#[cfg(test)]
mod tests;
