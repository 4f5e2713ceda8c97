//! `SELECT … INTO variable` and the like: a clause of PL/pgSQL that the SQL parser does not support.

use squawk_syntax::{SyntaxKind, SyntaxNode, SyntaxToken};

/// The text of a statement with its `INTO` clause replaced by blanks, which keeps all offsets; `None` if it has none.
pub(super) fn without_into(statement: &SyntaxNode) -> Option<String> {
    let tokens: Vec<SyntaxToken> = statement
        .descendants_with_tokens()
        .filter_map(|element| element.into_token())
        .filter(|token| !token.kind().is_trivia())
        .collect();
    let into = find(&tokens)?;
    let (first, last) = (&tokens[into], &tokens[end(&tokens, into) - 1]);
    let start: usize = statement.text_range().start().into();
    let clause = usize::from(first.text_range().start()) - start..usize::from(last.text_range().end()) - start;
    let text = statement.text().to_string();
    let blanks: String = text[clause.clone()].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect();
    Some(format!("{}{blanks}{}", &text[..clause.start], &text[clause.end..]))
}

/// The `INTO` outside parentheses that is not part of `INSERT INTO` or `MERGE INTO`.
fn find(tokens: &[SyntaxToken]) -> Option<usize> {
    let mut depth = 0_usize;
    tokens.iter().enumerate().position(|(at, token)| {
        match token.kind() {
            SyntaxKind::L_PAREN | SyntaxKind::L_BRACK => depth += 1,
            SyntaxKind::R_PAREN | SyntaxKind::R_BRACK => depth = depth.saturating_sub(1),
            _ => {}
        }
        let verb = at.checked_sub(1).map(|before| tokens[before].kind());
        let is_of_verb = matches!(verb, Some(SyntaxKind::INSERT_KW | SyntaxKind::MERGE_KW));
        token.kind() == SyntaxKind::INTO_KW && depth == 0 && !is_of_verb
    })
}

/// The offset after the variables: names with dots and subscripts, separated by commas.
fn end(tokens: &[SyntaxToken], into: usize) -> usize {
    let kind = |at: usize| tokens.get(at).map(SyntaxToken::kind);
    let mut at = into + 1;
    if kind(at) == Some(SyntaxKind::STRICT_KW) {
        at += 1;
    }
    loop {
        at += 1;
        if kind(at) == Some(SyntaxKind::L_BRACK) {
            at += tokens[at..].iter().take_while(|token| token.kind() != SyntaxKind::R_BRACK).count() + 1;
        }
        if !matches!(kind(at), Some(SyntaxKind::DOT | SyntaxKind::COMMA)) {
            return at.min(tokens.len());
        }
        at += 1;
    }
}
