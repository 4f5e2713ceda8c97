//! Statements of repeatable migrations, which must have the same result when they are executed again.

use crate::lint::rule::Rule;
use crate::lint::rules::Found;
use crate::sql::statement::{Statement, tokens};

/// What may come first, besides `CREATE OR REPLACE`.
const IDEMPOTENT: [&str; 8] = [
    "ALTER DEFAULT PRIVILEGES",
    "COMMENT ON",
    "GRANT",
    "REVOKE",
    "REFRESH MATERIALIZED VIEW",
    "SECURITY LABEL",
    "ANALYZE",
    "SET LOCAL",
];

/// Checks a statement of a repeatable migration. `before` is the statement before it.
pub(in crate::lint) fn check(statement: &Statement<'_>, before: Option<&Statement<'_>>, found: &mut Vec<Found>) {
    let words = words(statement.sql());
    if is_idempotent(&words) || before.is_some_and(|before| recreates(&self::words(before.sql()), &words)) {
        return;
    }
    let verb = words.iter().take(2).map(String::as_str).collect::<Vec<_>>().join(" ");
    found.push(Found {
        rule: Rule::NotRepeatable,
        line: statement.line(),
        object: None,
        message: format!("{verb} may fail or have another effect when it is executed again"),
    });
}

fn is_idempotent(words: &[String]) -> bool {
    let text = words.join(" ");
    let has = |phrase: &str| text.contains(&format!(" {phrase} "));
    match words.first().map(String::as_str) {
        Some("CREATE") => text.starts_with("CREATE OR REPLACE ") || has("IF NOT EXISTS"),
        Some("DROP") => has("IF EXISTS"),
        Some("INSERT") => has("ON CONFLICT"),
        _ => IDEMPOTENT.iter().any(|start| text == *start || text.starts_with(&format!("{start} "))),
    }
}

/// Whether the second statement creates the object that the first one drops if it exists: `DROP TRIGGER IF EXISTS t ON a;
/// CREATE TRIGGER t …`.
fn recreates(before: &[String], words: &[String]) -> bool {
    let kind = match words {
        [create, kind, ..] if create == "CREATE" => kind,
        _ => return false,
    };
    let Some((dropped, rest)) = before.split_first() else { return false };
    let name = match rest {
        [its, condition, exists, name, ..] if its == kind && condition == "IF" && exists == "EXISTS" => name,
        _ => return false,
    };
    dropped == "DROP" && words.get(2) == Some(name)
}

/// The tokens, in capitals unless they are quoted.
fn words(sql: &str) -> Vec<String> {
    let word = |token: &str| if token.starts_with(['"', '\'']) { token.to_owned() } else { token.to_ascii_uppercase() };
    tokens(sql).map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::statement::split;

    fn findings(sql: &str) -> usize {
        let statements = split(sql).unwrap();
        let mut found = Vec::new();
        for (index, statement) in statements.iter().enumerate() {
            check(statement, index.checked_sub(1).map(|before| &statements[before]), &mut found);
        }
        found.len()
    }

    #[test]
    fn statements_that_can_be_executed_again_are_accepted() {
        for sql in [
            "CREATE OR REPLACE VIEW v AS SELECT 1",
            "create or replace function f() returns int language sql as 'select 1'",
            "CREATE TABLE IF NOT EXISTS t (i int)",
            "DROP VIEW IF EXISTS v; CREATE VIEW v AS SELECT 1",
            "DROP TRIGGER IF EXISTS \"T\" ON a; CREATE TRIGGER \"T\" BEFORE UPDATE ON a EXECUTE FUNCTION f()",
            "GRANT SELECT ON v TO app",
            "COMMENT ON VIEW v IS 'x'",
            "INSERT INTO kinds VALUES (1) ON CONFLICT DO NOTHING",
        ] {
            assert_eq!(findings(sql), 0, "{sql}");
        }
    }

    #[test]
    fn others_are_found() {
        for sql in [
            "CREATE VIEW v AS SELECT 1",
            "DROP VIEW v",
            "DROP VIEW IF EXISTS w; CREATE VIEW v AS SELECT 1",
            "INSERT INTO kinds VALUES (1)",
            "UPDATE t SET i = i + 1",
            "ALTER TABLE t ADD i int",
            "DO $$ BEGIN END $$",
            "SELECT f()",
        ] {
            assert_eq!(findings(sql), 1, "{sql}");
        }
    }
}
