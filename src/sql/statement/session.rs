//! Recognition of statements that leave state in the session.

use super::{Statement, begins};
use crate::sql::lexer::Lexer;
use crate::sql::token::Token;

/// Commands with effects that outlast the transaction. For `SET`, see [`Statement::sets_for_session`].
const COMMANDS: [&str; 8] =
    ["LISTEN", "UNLISTEN", "PREPARE", "DEALLOCATE", "DISCARD", "LOAD", "CLOSE ALL", "RESET SESSION AUTHORIZATION"];

/// Functions that take session-level locks.
const LOCKS: [&str; 4] =
    ["pg_advisory_lock", "pg_advisory_lock_shared", "pg_try_advisory_lock", "pg_try_advisory_lock_shared"];

impl Statement<'_> {
    /// The command or function that leaves state in the session, as far as the text of the statement shows.
    pub(crate) fn leaves_in_session(&self) -> Option<String> {
        let tokens = self.tokens();
        if let Some(command) = COMMANDS.iter().find(|command| begins(&tokens, command)) {
            return Some((*command).to_owned());
        }
        if begins(&tokens, "DECLARE") && has_pair(&tokens, "WITH", "HOLD") {
            return Some("DECLARE … WITH HOLD".to_owned());
        }
        if super::creates_routine(&tokens) {
            return None;
        }
        if let Some(function) = function_with_session_state(&tokens) {
            return Some(function);
        }
        if !begins(&tokens, "DO") {
            return None;
        }
        let body = |body: String| {
            function_with_session_state(&Lexer::new(&body).map_while(Result::ok).collect::<Vec<Token<'_>>>())
        };
        tokens.iter().filter_map(Token::constant).find_map(body)
    }
}

/// The first called function that leaves state in the session.
fn function_with_session_state(tokens: &[Token<'_>]) -> Option<String> {
    (0..tokens.len()).find_map(|at| {
        let name = tokens[at].identifier()?;
        let arguments = tokens.get(at + 1).filter(|next| next.is_symbol("(")).map(|_| &tokens[at + 2..])?;
        if LOCKS.contains(&name.as_str()) {
            return Some(name);
        }
        (name == "set_config" && is_for_session(arguments)).then(|| "set_config(…, false)".to_owned())
    })
}

/// Whether the third argument of `set_config` is the constant `false`.
fn is_for_session(arguments: &[Token<'_>]) -> bool {
    let (mut depth, mut argument) = (0, 0);
    for (at, token) in arguments.iter().enumerate() {
        match token.text {
            "(" => depth += 1,
            ")" if depth == 0 => return false,
            ")" => depth -= 1,
            "," if depth == 0 => {
                argument += 1;
                if argument == 2 {
                    let value = arguments.get(at + 1);
                    return value
                        .is_some_and(|value| value.is("FALSE") || value.constant().is_some_and(|it| is_off(&it)));
                }
            }
            _ => {}
        }
    }
    false
}

fn is_off(text: &str) -> bool {
    ["f", "false", "off", "no", "n", "0"].iter().any(|off| text.eq_ignore_ascii_case(off))
}

fn has_pair(tokens: &[Token<'_>], first: &str, second: &str) -> bool {
    tokens.windows(2).any(|pair| pair[0].is(first) && pair[1].is(second))
}

#[cfg(test)]
mod tests {
    use crate::sql::statement::split;

    #[test]
    fn session_state_is_recognized() {
        for sql in [
            "LISTEN changes",
            "PREPARE p AS SELECT 1",
            "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
            "LOAD 'auto_explain'",
            "SELECT pg_catalog.set_config('DateStyle', 'German, DMY', false)",
            "DO $$ BEGIN PERFORM set_config('a.b', concat('c', 'd'), false); END $$",
            "SELECT pg_advisory_lock(1)",
            "DISCARD TEMP",
        ] {
            assert!(split(sql).unwrap()[0].leaves_in_session().is_some(), "{sql}");
        }
        for sql in [
            "SELECT set_config('a.b', 'c', true)",
            "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ SELECT set_config('a.b', 'c', false) $$",
            "DECLARE c CURSOR FOR SELECT 1",
            "SELECT pg_advisory_xact_lock(1)",
            "INSERT INTO t VALUES ('LISTEN changes')",
        ] {
            assert!(split(sql).unwrap()[0].leaves_in_session().is_none(), "{sql}");
        }
    }
}
