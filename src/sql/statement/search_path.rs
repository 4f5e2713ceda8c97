//! Recognition of statements that set the search path.

use crate::sql::lexer::Lexer;
use crate::sql::token::{Token, TokenKind};

use super::begins;

/// Whether the tokens start with a command that sets or resets the search path.
pub(super) fn begins_by_setting_search_path(tokens: &[Token<'_>]) -> bool {
    if begins(tokens, "RESET ALL") || begins(tokens, "DISCARD ALL") {
        return true;
    }
    let is_set = begins(tokens, "SET");
    if !is_set && !begins(tokens, "RESET") {
        return false;
    }
    let scoped = is_set && (begins(&tokens[1..], "LOCAL") || begins(&tokens[1..], "SESSION"));
    match &tokens[1 + usize::from(scoped)..] {
        [word, schema, ..] if is_set && word.is("SCHEMA") => schema.kind == TokenKind::Text,
        // `search_path.x` is a parameter of an extension named search_path.
        [name, rest @ ..] => {
            // The names of parameters are case-insensitive even in quotes.
            name.identifier().is_some_and(|name| name.eq_ignore_ascii_case("search_path"))
                && !rest.first().is_some_and(|token| token.is_symbol("."))
        }
        [] => false,
    }
}

/// Whether `set_config` is called with the search path as its first argument.
pub(super) fn calls_set_config(tokens: &[Token<'_>]) -> bool {
    tokens.windows(2).enumerate().any(|(at, call)| {
        call[1].is_symbol("(")
            && call[0].identifier().is_some_and(|name| name == "set_config")
            && tokens[at + 2..]
                .iter()
                .take_while(|token| !token.is_symbol(",") && !token.is_symbol(")"))
                .filter_map(Token::constant)
                .any(|parameter| parameter.eq_ignore_ascii_case("search_path"))
    })
}

/// Whether the body of a `DO` block sets the search path, directly or in an executed constant.
pub(super) fn block_sets_search_path(body: String) -> bool {
    // A list instead of recursion, because deeply nested blocks would overflow the stack.
    let mut bodies = vec![body];
    while let Some(body) = bodies.pop() {
        let tokens: Vec<_> = Lexer::new(&body).map_while(Result::ok).collect();
        let is_set =
            (0..tokens.len()).any(|at| starts_statement(&tokens[..at]) && begins_by_setting_search_path(&tokens[at..]));
        if is_set || calls_set_config(&tokens) {
            return true;
        }
        let executed = (0..tokens.len()).filter(|&at| is_executed(&tokens[..at]));
        bodies.extend(executed.filter_map(|at| tokens[at].constant()));
    }
    false
}

/// Whether a PL/pgSQL statement may start after these tokens.
fn starts_statement(before: &[Token<'_>]) -> bool {
    before.last().is_none_or(|last| {
        last.is_symbol(";") || ["BEGIN", "THEN", "ELSE", "LOOP"].iter().any(|keyword| last.is(keyword))
    })
}

/// Whether a constant after these tokens is executed: `EXECUTE '…'`, `EXECUTE format('…')` or an inner `DO '…'`.
fn is_executed(before: &[Token<'_>]) -> bool {
    match before {
        [.., execute, format, open] if open.is_symbol("(") => execute.is("EXECUTE") && format.is("FORMAT"),
        [.., last] => last.is("EXECUTE") || last.is("DO"),
        [] => false,
    }
}
