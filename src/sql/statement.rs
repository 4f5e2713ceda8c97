//! The statements of an SQL script: where each begins and ends, and what it would do to the transaction, the search
//! path and the connection that run it.
//!
//! This is no parser. A statement is recognized by the keywords that PostgreSQL's grammar requires at its beginning,
//! with comments and white space left out, so what the server would refuse as a syntax error may pass here.

mod plain;
mod search_path;
mod session;

use std::borrow::Cow;

use thiserror::Error;

use super::lexer::{Construct, Kind, Lexer, Open, Token, skip_comment};
use search_path::{begins_by_setting_search_path, block_sets_search_path, calls_set_config};

/// One statement of an SQL script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement<'a> {
    sql: &'a str,
    offset: usize,
    line: usize,
}

impl<'a> Statement<'a> {
    /// The statement from its first token to its last: without the semicolon, and without the white space and comments
    /// around it.
    pub fn sql(&self) -> &'a str {
        self.sql
    }

    /// The byte offset of [`sql`](Self::sql) in the script.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The line of the script, counted from 1, on which the statement begins.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The command's name if the statement begins or ends a transaction or a part of one, such as `COMMIT` or
    /// `SAVEPOINT`.
    pub fn transaction_command(&self) -> Option<&'static str> {
        let tokens = self.tokens();
        if begins(&tokens, "PREPARE TRANSACTION") {
            // `PREPARE transaction AS …` names a prepared statement.
            return tokens.get(2).filter(|token| token.kind == Kind::Text).map(|_| "PREPARE TRANSACTION");
        }
        TRANSACTION_COMMANDS.into_iter().find(|command| begins(&tokens, command))
    }

    /// Whether the statement changes the session's or the transaction's search path: `SET search_path`, `SET SCHEMA`,
    /// `RESET search_path`, `RESET ALL`, `DISCARD ALL`, a call of `set_config('search_path', …)`, or a `DO` block that
    /// does one of these, be it by `EXECUTE` of a constant.
    ///
    /// `CREATE FUNCTION` never does: neither its `SET` clause nor its body runs when the function is created.
    pub fn sets_search_path(&self) -> bool {
        let tokens = self.tokens();
        if begins(&tokens, "DO") {
            return tokens.iter().filter_map(Token::constant).any(block_sets_search_path);
        }
        begins_by_setting_search_path(&tokens) || (!creates_routine(&tokens) && calls_set_config(&tokens))
    }

    /// Whether the statement is a `COPY` that waits for data from the client.
    pub fn copies_from_stdin(&self) -> bool {
        let tokens = self.tokens();
        let mut nesting = Nesting::default();
        // A query to copy from stands in parentheses.
        let from = tokens.iter().enumerate().position(|(at, token)| {
            nesting.enter(&tokens[..at], token);
            nesting.is_closed() && token.is("FROM")
        });
        let source = from.and_then(|from| tokens.get(from + 1));
        // The server takes the two words for the same.
        begins(&tokens, "COPY") && source.is_some_and(|source| source.is("STDIN") || source.is("STDOUT"))
    }

    /// The command's name if PostgreSQL (15 to 18) refuses the statement inside a transaction block.
    ///
    /// Where that depends on what is in the database, the answer is what the text alone says: `DROP SUBSCRIPTION`
    /// counts as refused, although the server accepts it for a subscription without a slot; `REINDEX TABLE` and
    /// `CLUSTER` of a table do not, although it refuses them for a partitioned one.
    pub fn refused_in_transaction(&self) -> Option<&'static str> {
        let tokens = self.tokens();
        if let Some((command, _)) = built_concurrently(&tokens) {
            return Some(command);
        }
        REFUSED_COMMANDS
            .into_iter()
            .find(|command| begins(&tokens, command))
            .or_else(|| refused_maintenance(&tokens))
            .or_else(|| refused_subscription(&tokens))
            .or_else(|| {
                let moved = begins(&tokens, "ALTER DATABASE") && begins(tokens.get(3..)?, "SET TABLESPACE");
                moved.then_some("ALTER DATABASE SET TABLESPACE")
            })
    }

    /// The name of the index that a `CREATE INDEX CONCURRENTLY` builds, folded as PostgreSQL folds it. `None` for
    /// another statement, and for an index that the server is left to name.
    pub fn concurrent_index(&self) -> Option<String> {
        let tokens = self.tokens();
        let (command, concurrently) = built_concurrently(&tokens)?;
        let mut rest = &tokens[concurrently + 1..];
        if begins(rest, "IF NOT EXISTS") {
            rest = &rest[3..];
        }
        let name = rest.first().filter(|token| command.starts_with("CREATE") && !token.is("ON"))?;
        name.identifier()
    }

    /// The index that a `DROP INDEX CONCURRENTLY` of one index without a schema drops, folded as PostgreSQL folds it.
    pub fn dropped_index(&self) -> Option<String> {
        let tokens = self.tokens();
        let (command, concurrently) = built_concurrently(&tokens)?;
        let mut rest = &tokens[concurrently + 1..];
        if begins(rest, "IF EXISTS") {
            rest = &rest[2..];
        }
        let name = rest.first().filter(|_| command.starts_with("DROP"))?;
        let alone = rest.get(1).is_none_or(|next| next.is("CASCADE") || next.is("RESTRICT"));
        alone.then(|| name.identifier()).flatten()
    }

    /// Whether it is a `CREATE INDEX CONCURRENTLY`, also of an index that the server is left to name.
    pub fn builds_concurrently(&self) -> bool {
        built_concurrently(&self.tokens()).is_some_and(|(command, _)| command.starts_with("CREATE"))
    }

    /// Whether it is a `SET` that outlasts the transaction: without `LOCAL`, and not `SET CONSTRAINTS` or
    /// `SET TRANSACTION`.
    pub fn sets_for_session(&self) -> bool {
        let tokens = self.tokens();
        let ends_with_it = ["SET LOCAL", "SET CONSTRAINTS", "SET TRANSACTION"];
        begins(&tokens, "SET") && !ends_with_it.iter().any(|command| begins(&tokens, command))
    }

    /// Whether it adds a value to an enum, which cannot be used in the same transaction (`ALTER TYPE … ADD VALUE`).
    pub fn adds_enum_value(&self) -> bool {
        let tokens = self.tokens();
        begins(&tokens, "ALTER TYPE") && tokens.windows(2).any(|pair| pair[0].is("ADD") && pair[1].is("VALUE"))
    }

    /// Whether it may begin and end transactions of its own: `DO` and `CALL`.
    pub fn runs_code(&self) -> bool {
        let tokens = self.tokens();
        begins(&tokens, "DO") || begins(&tokens, "CALL")
    }

    /// The same change of structure in a form that a transaction accepts: without `CONCURRENTLY` where that is all that
    /// keeps it out, else the statement itself.
    ///
    /// `None` for a statement without effect on the structure (`VACUUM`, `ANALYZE`, `REINDEX`, `CLUSTER`,
    /// `CHECKPOINT`), for one that has no such form (such as `CREATE DATABASE`), for a
    /// [transaction command](Self::transaction_command) and for a [psql command](Self::psql_command).
    pub fn transactional_form(&self) -> Option<Cow<'a, str>> {
        let tokens = self.tokens();
        if let Some((_, concurrently)) = built_concurrently(&tokens) {
            return Some(Cow::Owned(self.without(&tokens, concurrently)));
        }
        let has_none = MAINTENANCE_COMMANDS.iter().any(|command| begins(&tokens, command))
            || self.psql_command().is_some()
            || self.transaction_command().is_some()
            || self.refused_in_transaction().is_some();
        (!has_none).then_some(Cow::Borrowed(self.sql))
    }

    /// The command, such as `\connect`, if this is one for psql and not for a server.
    pub fn psql_command(&self) -> Option<&'a str> {
        self.sql.starts_with('\\').then(|| self.sql.split_whitespace().next()).flatten()
    }

    /// The statement's tokens. Only a psql command, which follows rules of its own, can break off.
    fn tokens(&self) -> Vec<Token<'a>> {
        Lexer::new(self.sql).map_while(Result::ok).collect()
    }

    /// The statement without one of its tokens. Of the space around it only what follows is dropped, because a line
    /// end before it may be the end of a comment.
    fn without(&self, tokens: &[Token<'_>], removed: usize) -> String {
        let (before, after) = self.sql.split_at(tokens[removed].start);
        let after = after[tokens[removed].text.len()..].trim_ascii_start();
        if after.is_empty() {
            return self.sql[..tokens[removed - 1].end()].to_owned();
        }
        format!("{before}{after}")
    }
}

/// A script that ends inside a string, a quoted identifier or a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("unterminated {construct} that begins on line {line}")]
pub struct Unterminated {
    construct: Construct,
    line: usize,
}

impl Unterminated {
    /// The line of the script, counted from 1, on which the construct begins.
    pub fn line(&self) -> usize {
        self.line
    }
}

/// Splits a script into its statements. Empty ones are dropped.
///
/// A semicolon does not end a statement inside parentheses or brackets, nor inside the `BEGIN ATOMIC … END` of a
/// function or procedure. A psql command is a statement of its own and ends with its line, or at a semicolon. The data
/// between a `COPY … FROM STDIN;` and a line with only `\.` is no statement and is left out.
///
/// # Errors
///
/// The script ends inside a string, a quoted identifier or a comment.
pub fn split(script: &str) -> Result<Vec<Statement<'_>>, Unterminated> {
    let mut statements = Vec::new();
    let mut lexer = Lexer::new(script);
    let mut tokens = Vec::new();
    let mut nesting = Nesting::default();
    while let Some(token) = lexer.next() {
        let token =
            token.map_err(|Open { construct, start }| Unterminated { construct, line: line_at(script, start) })?;
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

/// Every identifier in a script, keywords included, folded as PostgreSQL folds them. Strings are not looked into,
/// dollar-quoted ones included. Ends where the script leaves something open.
pub fn identifiers(script: &str) -> impl Iterator<Item = String> + '_ {
    Lexer::new(script).map_while(Result::ok).filter_map(|token| token.identifier())
}

/// The tokens of a script as they stand in it, without the white space and comments between them. Ends where the script
/// leaves something open.
pub fn tokens(script: &str) -> impl Iterator<Item = &str> {
    Lexer::new(script).map_while(Result::ok).map(|token| token.text)
}

/// The comments of a script, one by one. Ends where the script leaves something open.
pub fn comments(script: &str) -> impl Iterator<Item = &str> {
    let mut end = 0;
    let mut tokens = Lexer::new(script).map_while(Result::ok);
    let mut is_over = false;
    let gaps = std::iter::from_fn(move || {
        if is_over {
            return None;
        }
        let start = end;
        let next = tokens.next();
        is_over = next.is_none();
        let until = next.map_or(script.len(), |token| {
            end = token.end();
            token.start
        });
        Some(&script[start..until])
    });
    gaps.flat_map(|gap| {
        let mut rest = gap;
        std::iter::from_fn(move || {
            rest = rest.trim_start();
            let (comment, after) = rest.split_at(skip_comment(rest, 0).ok()??);
            rest = after;
            Some(comment)
        })
    })
}

/// The line, counted from 1, of a byte offset in a script; the last line for an offset beyond its end.
pub fn line_at(script: &str, offset: usize) -> usize {
    1 + line_ends(&script.as_bytes()[..offset.min(script.len())])
}

/// `ROLLBACK TO` is a `ROLLBACK`; `PREPARE TRANSACTION` needs a closer look and stands apart.
const TRANSACTION_COMMANDS: [&str; 10] = [
    "COMMIT PREPARED",
    "ROLLBACK PREPARED",
    "START TRANSACTION",
    "BEGIN",
    "COMMIT",
    "END",
    "ROLLBACK",
    "ABORT",
    "SAVEPOINT",
    "RELEASE",
];

/// What a transaction block never accepts, known by its first words alone.
const REFUSED_COMMANDS: [&str; 10] = [
    "CREATE DATABASE",
    "DROP DATABASE",
    "CREATE TABLESPACE",
    "DROP TABLESPACE",
    "DROP SUBSCRIPTION",
    "ALTER SYSTEM",
    "DISCARD ALL",
    "COMMIT PREPARED",
    "ROLLBACK PREPARED",
    "VACUUM",
];

/// What leaves the structure of a database as it is.
const MAINTENANCE_COMMANDS: [&str; 6] = ["VACUUM", "ANALYZE", "ANALYSE", "REINDEX", "CLUSTER", "CHECKPOINT"];

/// How deep a place in a statement is inside constructs whose semicolons do not end it.
#[derive(Debug, Default)]
struct Nesting {
    brackets: usize,
    /// The open `BEGIN ATOMIC`, and the `CASE`s inside it, which end with `END`, too.
    blocks: usize,
}

impl Nesting {
    fn is_closed(&self) -> bool {
        self.brackets == 0 && self.blocks == 0
    }

    /// Takes one more token of a statement, given those before it.
    fn enter(&mut self, before: &[Token<'_>], token: &Token<'_>) {
        match (token.kind, token.text) {
            (Kind::Symbol, "(" | "[") => self.brackets += 1,
            (Kind::Symbol, ")" | "]") => self.brackets = self.brackets.saturating_sub(1),
            (Kind::Word, _) => self.enter_word(before, token),
            _ => {}
        }
    }

    fn enter_word(&mut self, before: &[Token<'_>], word: &Token<'_>) {
        let follows = |keyword| before.last().is_some_and(|token| token.is(keyword));
        if self.blocks == 0 {
            let opens = word.is("ATOMIC") && follows("BEGIN") && self.brackets == 0 && creates_routine(before);
            self.blocks = usize::from(opens);
            return;
        }
        // Both words are reserved, but any word may name a column after AS or a dot.
        if follows("AS") || before.last().is_some_and(|token| token.is_symbol(".")) {
            return;
        }
        if word.is("CASE") {
            self.blocks += 1;
        } else if word.is("END") {
            self.blocks -= 1;
        }
    }
}

/// Whether the tokens begin with these keywords, which are written with one space between them.
fn begins(tokens: &[Token<'_>], keywords: &str) -> bool {
    let mut tokens = tokens.iter();
    keywords.split(' ').all(|keyword| tokens.next().is_some_and(|token| token.is(keyword)))
}

/// Adds the statement that consists of these tokens, unless there are none.
fn push<'a>(statements: &mut Vec<Statement<'a>>, script: &'a str, tokens: &[Token<'a>]) {
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
        return;
    };
    // Counting on from the last statement keeps a long script from being read once a statement.
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

/// Where the data of a `COPY` ends that begins on the line after `start`: after the line `\.`, if there is one.
fn inline_data_end(script: &str, start: usize) -> Option<usize> {
    let mut end = start;
    script[start..].split_inclusive('\n').find_map(|line| {
        let is_first = end == start;
        end += line.len();
        (!is_first && line.trim_end_matches(['\r', '\n']) == "\\.").then_some(end)
    })
}

fn creates_routine(tokens: &[Token<'_>]) -> bool {
    ["CREATE FUNCTION", "CREATE PROCEDURE", "CREATE OR REPLACE FUNCTION", "CREATE OR REPLACE PROCEDURE"]
        .iter()
        .any(|command| begins(tokens, command))
}

/// The command, and the place of `CONCURRENTLY` in it, if a transaction would accept the command without that word. The
/// word cannot be a name unless it is quoted.
fn built_concurrently(tokens: &[Token<'_>]) -> Option<(&'static str, usize)> {
    let index = ["CREATE INDEX CONCURRENTLY", "CREATE UNIQUE INDEX CONCURRENTLY", "DROP INDEX CONCURRENTLY"]
        .into_iter()
        .find(|command| begins(tokens, command))
        .map(|command| (command, command.split(' ').count() - 1));
    index.or_else(|| {
        let (last, rest) = tokens.split_last()?;
        let detached = last.is("CONCURRENTLY")
            && begins(rest, "ALTER TABLE")
            && (0..rest.len()).any(|at| begins(&rest[at..], "DETACH PARTITION"));
        detached.then_some(("ALTER TABLE DETACH PARTITION CONCURRENTLY", rest.len()))
    })
}

/// The command's name for a `REINDEX` or `CLUSTER` that a transaction block refuses.
fn refused_maintenance(tokens: &[Token<'_>]) -> Option<&'static str> {
    let (command, rest) = tokens.split_first()?;
    let (options, rest) = match rest.iter().position(|token| token.is_symbol(")")) {
        Some(end) if rest[0].is_symbol("(") => rest.split_at(end + 1),
        _ => rest.split_at(0),
    };
    if command.is("CLUSTER") {
        let target = rest.iter().find(|token| !token.is("VERBOSE"));
        return target.is_none().then_some("CLUSTER");
    }
    if !command.is("REINDEX") {
        return None;
    }
    let whole = [("SCHEMA", "REINDEX SCHEMA"), ("DATABASE", "REINDEX DATABASE"), ("SYSTEM", "REINDEX SYSTEM")];
    let concurrently =
        rest.get(1).is_some_and(|token| token.is("CONCURRENTLY")) || option(options, "concurrently") == Some(true);
    whole
        .into_iter()
        .find_map(|(target, command)| begins(rest, target).then_some(command))
        .or(concurrently.then_some("REINDEX CONCURRENTLY"))
}

/// The command's name for a `CREATE` or `ALTER SUBSCRIPTION` that a transaction block refuses, because it changes
/// something on the publisher's server.
fn refused_subscription(tokens: &[Token<'_>]) -> Option<&'static str> {
    let options = tokens.iter().position(|token| token.is("WITH")).map_or(&[][..], |with| &tokens[with..]);
    let is_on = |name| option(options, name).unwrap_or(true);
    if begins(tokens, "CREATE SUBSCRIPTION") {
        return (is_on("connect") && is_on("create_slot")).then_some("CREATE SUBSCRIPTION");
    }
    if !begins(tokens, "ALTER SUBSCRIPTION") {
        return None;
    }
    let action = tokens.get(3..)?;
    let refreshes = begins(action, "REFRESH PUBLICATION")
        || ["SET PUBLICATION", "ADD PUBLICATION", "DROP PUBLICATION"].iter().any(|change| begins(action, change))
            && is_on("refresh");
    // PostgreSQL 17 and 18 change the slot for these two.
    let changes_slot =
        begins(action, "SET") && (option(action, "failover").is_some() || option(action, "two_phase") == Some(false));
    refreshes.then_some("ALTER SUBSCRIPTION with refresh").or(changes_slot.then_some("ALTER SUBSCRIPTION SET"))
}

/// The value of an option such as `name`, `name = off` or `name 0` in a list of them, if it is there.
fn option(tokens: &[Token<'_>], name: &str) -> Option<bool> {
    let at = tokens.iter().position(|token| token.identifier().is_some_and(|option| option == name))?;
    let value = tokens[at + 1..].iter().find(|token| !token.is_symbol("="));
    let value = value.map(|token| token.constant().unwrap_or_else(|| token.text.to_owned())).unwrap_or_default();
    Some(!["false", "off", "0"].iter().any(|off| value.eq_ignore_ascii_case(off)))
}

#[cfg(test)]
mod tests;
