//! The statements of an SQL script, and their effects on the transaction, the search path and the session.
//!
//! A statement is not parsed. It is recognized by its first keywords, without comments and white space. A statement with a
//! syntax error may therefore be accepted here and rejected by the server.

mod environment;
mod plain;
mod rows;
mod search_path;
mod session;
mod split;
mod transaction;

use super::lexer::Lexer;
use super::token::Token;
use search_path::{begins_by_setting_search_path, block_sets_search_path, calls_set_config};
#[cfg(feature = "cli")]
pub use split::Unterminated;
pub use split::{comments, identifiers, line_at, split, tokens};

/// A statement of an SQL script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement<'a> {
    sql: &'a str,
    offset: usize,
    line: usize,
}

impl<'a> Statement<'a> {
    /// The text from the first to the last token, without the semicolon and surrounding white space and comments.
    pub fn sql(&self) -> &'a str {
        self.sql
    }

    /// The byte offset of [`sql`](Self::sql) in the script.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The line of the script, counted from 1, on which the statement starts.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Whether the statement sets the search path of the session or the transaction: `SET search_path`, `SET SCHEMA`,
    /// `RESET search_path`, `RESET ALL`, `DISCARD ALL`, a call of `set_config('search_path', …)`, or a `DO` block that
    /// contains one of these, directly or in an executed constant.
    ///
    /// `CREATE FUNCTION` does not: neither its `SET` clause nor its body takes effect when the function is created.
    pub fn sets_search_path(&self) -> bool {
        let tokens = self.tokens();
        if begins(&tokens, "DO") {
            return tokens.iter().filter_map(Token::constant).any(block_sets_search_path);
        }
        begins_by_setting_search_path(&tokens) || (!creates_routine(&tokens) && calls_set_config(&tokens))
    }

    /// Whether the statement is a `COPY` that reads data from the client.
    pub fn copies_from_stdin(&self) -> bool {
        let tokens = self.tokens();
        let mut nesting = split::Nesting::default();
        // The query of a COPY TO is in parentheses.
        let from = tokens.iter().enumerate().position(|(at, token)| {
            nesting.enter(&tokens[..at], token);
            nesting.is_closed() && token.is("FROM")
        });
        let source = from.and_then(|from| tokens.get(from + 1));
        // The server treats both keywords alike.
        begins(&tokens, "COPY") && source.is_some_and(|source| source.is("STDIN") || source.is("STDOUT"))
    }

    /// Whether the statement is a `SET` for the session: without `LOCAL`, and not `SET CONSTRAINTS` or `SET TRANSACTION`.
    pub fn sets_for_session(&self) -> bool {
        let tokens = self.tokens();
        let for_transaction = ["SET LOCAL", "SET CONSTRAINTS", "SET TRANSACTION"];
        begins(&tokens, "SET") && !for_transaction.iter().any(|command| begins(&tokens, command))
    }

    /// Whether the statement adds an enum value (`ALTER TYPE … ADD VALUE`), which cannot be used in the same transaction.
    pub fn adds_enum_value(&self) -> bool {
        let tokens = self.tokens();
        begins(&tokens, "ALTER TYPE") && tokens.windows(2).any(|pair| pair[0].is("ADD") && pair[1].is("VALUE"))
    }

    /// Whether the statement may start and end transactions itself: `DO` and `CALL`.
    pub fn runs_code(&self) -> bool {
        let tokens = self.tokens();
        begins(&tokens, "DO") || begins(&tokens, "CALL")
    }

    /// The command, if the statement is a psql command such as `\connect`.
    pub fn psql_command(&self) -> Option<&'a str> {
        self.sql.starts_with('\\').then(|| self.sql.split_whitespace().next()).flatten()
    }

    /// The tokens of the statement. Those of a psql command may be incomplete, because its syntax is not that of SQL.
    fn tokens(&self) -> Vec<Token<'a>> {
        Lexer::new(self.sql).map_while(Result::ok).collect()
    }
}

/// Whether the tokens start with these keywords, which are separated by single spaces.
fn begins(tokens: &[Token<'_>], keywords: &str) -> bool {
    let mut tokens = tokens.iter();
    keywords.split(' ').all(|keyword| tokens.next().is_some_and(|token| token.is(keyword)))
}

/// Whether the tokens begin with `CREATE [OR REPLACE] FUNCTION` or `PROCEDURE`.
fn creates_routine(tokens: &[Token<'_>]) -> bool {
    ["CREATE FUNCTION", "CREATE PROCEDURE", "CREATE OR REPLACE FUNCTION", "CREATE OR REPLACE PROCEDURE"]
        .iter()
        .any(|command| begins(tokens, command))
}

#[cfg(test)]
mod tests;
