//! Comments that accept a finding: `-- tenantry: accept RULE: reason`.

use squawk_syntax::{SourceFile, SyntaxKind};

use super::rule::Rule;
use crate::migration::acceptance;
use crate::sql::statement::{Statement, line_at};

/// A comment that is intended as an acceptance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Acceptance {
    pub(super) line: usize,
    /// Its text, without the comment markers.
    pub(super) text: String,
    /// The index in the script of the statement that it precedes or is in.
    pub(super) statement: Option<usize>,
    pub(super) meaning: Result<Meaning, String>,
}

/// The content of a valid acceptance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) rule: Rule,
    pub(super) reason: String,
}

impl Acceptance {
    /// Whether it applies to a finding of a rule in a statement.
    pub(super) fn accepts(&self, statement: usize, rule: Rule) -> bool {
        self.statement == Some(statement) && self.meaning.as_ref().is_ok_and(|meaning| meaning.rule == rule)
    }
}

/// Finds the acceptances of a script. Text in a string that resembles a comment is ignored.
pub(super) fn acceptances(script: &str, statements: &[Statement<'_>]) -> Vec<Acceptance> {
    // The tokens are correct even if the syntax tree is not.
    let tree = SourceFile::parse(script).syntax_node();
    let tokens = tree.descendants_with_tokens().filter_map(|element| element.into_token());
    tokens
        .filter(|token| token.kind() == SyntaxKind::COMMENT)
        .filter_map(|comment| {
            let meaning = meaning(comment.text())?;
            let text = acceptance::content(comment.text());
            let start: usize = comment.text_range().start().into();
            let statement = statements.iter().position(|it| start < it.offset() + it.sql().len());
            Some(Acceptance { line: line_at(script, start), text: text.to_owned(), statement, meaning })
        })
        .collect()
}

fn meaning(comment: &str) -> Option<Result<Meaning, String>> {
    let (name, reason) = match acceptance::read(comment)? {
        Ok(accepted) => accepted,
        Err(problem) => return Some(Err(problem.to_owned())),
    };
    let meant = match name.parse::<Rule>() {
        Err(_) => Err(format!("{name:?} is no rule")),
        Ok(rule) if rule.is_about_acceptances() => Err(format!("{rule} cannot be accepted")),
        Ok(_) if reason.is_empty() => Err("it gives no reason".to_owned()),
        Ok(rule) => Ok(Meaning { rule, reason: reason.to_owned() }),
    };
    Some(meant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::statement::split;

    /// For each acceptance its line, its statement, and its rule or the problem.
    fn read(script: &str) -> Vec<(usize, Option<usize>, String)> {
        let statements = split(script).expect("a script");
        let meaning = |it: &Acceptance| match &it.meaning {
            Ok(meaning) => format!("{}: {}", meaning.rule, meaning.reason),
            Err(problem) => problem.clone(),
        };
        acceptances(script, &statements).iter().map(|it| (it.line, it.statement, meaning(it))).collect()
    }

    #[test]
    fn acceptance_applies_to_the_following_or_enclosing_statement() {
        let script = "
            -- tenantry: accept drop-table: nobody uses it
            /* tenantry: accept truncate: nor this: really */
            DROP TABLE a;
            DROP TABLE b -- tenantry:accept   drop-table :  nor that
            ; -- tenantry: accept drop-column: too late";
        let owned = |text: &str| text.to_owned();
        assert_eq!(
            read(script),
            [
                (2, Some(0), owned("drop-table: nobody uses it")),
                (3, Some(0), owned("truncate: nor this: really")),
                (5, None, owned("drop-table: nor that")),
                (6, None, owned("drop-column: too late")),
            ]
        );
        let inside = "ALTER TABLE a -- tenantry: accept drop-column: x\n DROP COLUMN b, DROP COLUMN c";
        assert_eq!(read(inside), [(1, Some(0), owned("drop-column: x"))]);
    }

    #[test]
    fn acceptance_outside_a_comment_is_ignored() {
        for script in [
            "SELECT '-- tenantry: accept drop-table: x'",
            "SELECT $$\n-- tenantry: accept drop-table: x\n$$",
            "SELECT \"/* tenantry: accept drop-table: x */\" FROM a",
            "-- the tool tenantry: accept drop-table: x\nSELECT 1",
            "-- accept drop-table: x\nSELECT 1",
        ] {
            assert_eq!(read(script), [], "{script}");
        }
    }

    #[test]
    fn invalid_acceptances_are_reported() {
        for (comment, wrong) in [
            ("tenantry: accept drop-tabel: x", "\"drop-tabel\" is no rule"),
            ("tenantry: accept", "expected accept RULE: reason"),
            ("tenantry: accepts drop-table: x", "expected accept RULE: reason"),
            ("tenantry: accept drop-table", "it gives no reason"),
            ("tenantry: accept drop-table: ", "it gives no reason"),
            ("tenantry: accept unused-acceptance: x", "unused-acceptance cannot be accepted"),
            ("tenantry: ignore drop-table: x", "expected accept RULE: reason"),
        ] {
            let found = read(&format!("-- {comment}\nDROP TABLE a"));
            assert_eq!(found, [(1, Some(0), wrong.to_owned())], "{comment}");
        }
    }
}
