//! Whether a statement returns rows.

use super::{Statement, Token, begins};

/// The keywords of a main statement, after the queries of a `WITH`.
const MAIN: [&str; 7] = ["SELECT", "VALUES", "TABLE", "INSERT", "UPDATE", "DELETE", "MERGE"];

impl Statement<'_> {
    /// Whether it is a query, or a command with `RETURNING`.
    pub(crate) fn returns_rows(&self) -> bool {
        let tokens = self.tokens();
        let outside = outside_parentheses(&tokens);
        let main = match outside.first() {
            // Parentheses around the first query of a UNION.
            None => return true,
            Some(first) if first.is("WITH") => outside.iter().find(|token| MAIN.iter().any(|word| token.is(word))),
            first => first,
        };
        let Some(main) = main else { return false };
        let is_query = ["SELECT", "VALUES", "TABLE"].iter().any(|word| main.is(word));
        let is_parenthesized = tokens.first().is_some_and(|token| token.is_symbol("("));
        let is_change = ["INSERT", "UPDATE", "DELETE", "MERGE"].iter().any(|word| main.is(word));
        is_query || is_parenthesized || (is_change && outside.iter().any(|token| token.is("RETURNING")))
    }

    /// Whether it is a statement that returns a description, and cannot be part of a query.
    pub(crate) fn describes(&self) -> bool {
        let tokens = self.tokens();
        ["EXPLAIN", "SHOW", "FETCH", "EXECUTE"].iter().any(|command| begins(&tokens, command))
    }
}

/// The tokens outside all parentheses.
fn outside_parentheses<'t, 's>(tokens: &'t [Token<'s>]) -> Vec<&'t Token<'s>> {
    let mut depth = 0_usize;
    let is_outside = |token: &&Token<'_>| {
        if token.is_symbol("(") {
            depth += 1;
        } else if token.is_symbol(")") {
            depth = depth.saturating_sub(1);
            return false;
        }
        depth == 0
    };
    tokens.iter().filter(is_outside).collect()
}
