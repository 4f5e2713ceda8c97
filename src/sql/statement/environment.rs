//! What a statement reads when it is executed, besides the objects of the schema.

use super::{Statement, begins, creates_routine};
use crate::sql::token::{Token, TokenKind};

/// The first keywords of statements that run queries or code when they are executed.
const CODE: [&str; 10] = ["DO", "CALL", "SELECT", "WITH", "VALUES", "INSERT", "UPDATE", "DELETE", "MERGE", "EXECUTE"];

/// Words that read the clock.
const CLOCK: [&str; 12] = [
    "now",
    "current_date",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
    "clock_timestamp",
    "statement_timestamp",
    "transaction_timestamp",
    "timeofday",
    "sysdate",
    "pg_postmaster_start_time",
];

/// Constants that the server replaces with the date when the statement is executed.
const DATES: [&str; 4] = ["now", "today", "tomorrow", "yesterday"];

impl Statement<'_> {
    /// Whether the result of executing the statement may depend on the time. Defaults, views and bodies of functions, which
    /// read the clock later, do not count.
    pub(crate) fn reads_clock(&self) -> bool {
        let tokens = self.tokens();
        if creates_routine(&tokens) {
            return false;
        }
        let has_date = tokens.iter().filter_map(Token::constant).any(|constant| {
            let constant = constant.trim().to_ascii_lowercase();
            DATES.contains(&constant.as_str())
        });
        let is_bound = tokens.windows(2).any(|pair| pair[0].is("FOR") && pair[1].is("VALUES"));
        has_date || ((is_code(&tokens) || is_bound) && words(&tokens).any(|word| CLOCK.contains(&word.as_str())))
    }

    /// The words of a statement that runs queries or code, which may be names of roles or objects; none for other
    /// statements.
    pub(crate) fn words_of_code(&self) -> Vec<String> {
        let tokens = self.tokens();
        if is_code(&tokens) { words(&tokens).collect() } else { Vec::new() }
    }
}

fn is_code(tokens: &[Token<'_>]) -> bool {
    CODE.iter().any(|keyword| begins(tokens, keyword))
}

/// The words of a statement, in lower case, also those in constants.
fn words<'a>(tokens: &'a [Token<'_>]) -> impl Iterator<Item = String> + 'a {
    let texts =
        tokens.iter().filter(|token| matches!(token.kind, TokenKind::Word | TokenKind::Quoted | TokenKind::Text));
    texts.flat_map(|token| {
        let split = |c: char| !(c.is_alphanumeric() || c == '_' || c == '$' || c == '-');
        token.text.split(split).filter(|word| !word.is_empty()).map(str::to_lowercase).collect::<Vec<_>>()
    })
}

#[cfg(test)]
mod tests {
    use crate::sql::statement::split;

    #[test]
    fn statements_that_read_the_clock_are_recognized() {
        let reads_clock = |sql: &str| split(sql).unwrap().iter().any(|statement| statement.reads_clock());
        for sql in [
            "DO $$ BEGIN EXECUTE format('CREATE TABLE log_%s (i int)', to_char(now(), 'YYYYMM')); END $$",
            "CREATE TABLE t (at timestamptz DEFAULT 'now')",
            "CREATE TABLE p PARTITION OF t FOR VALUES FROM (CURRENT_DATE) TO (CURRENT_DATE + 1)",
            "SELECT set_start(current_timestamp)",
        ] {
            assert!(reads_clock(sql), "{sql}");
        }
        for sql in [
            "CREATE TABLE t (at timestamptz DEFAULT now())",
            "CREATE FUNCTION f() RETURNS date LANGUAGE sql AS 'SELECT current_date'",
            "CREATE VIEW v AS SELECT now() AS at",
            "DO $$ BEGIN CREATE TYPE mood AS ENUM ('sad'); EXCEPTION WHEN duplicate_object THEN NULL; END $$",
        ] {
            assert!(!reads_clock(sql), "{sql}");
        }
    }

    #[test]
    fn words_of_code_include_those_of_blocks() {
        let sql =
            "DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'App') THEN END IF; END $$; GRANT x TO y";
        let words: Vec<String> = split(sql).unwrap().iter().flat_map(|statement| statement.words_of_code()).collect();
        assert!(words.contains(&"app".to_owned()), "{words:?}");
        assert!(!words.contains(&"y".to_owned()), "{words:?}");
    }
}
