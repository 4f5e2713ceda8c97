//! SQL that an operator runs in the schemas of tenants. The rules for migrations apply to it, too.

use super::{Script, check};

/// SQL that is run once in each of some tenants.
#[derive(Debug)]
pub struct AdHocScript {
    script: Script,
    /// The last statement returns rows.
    returns_rows: bool,
}

/// Why SQL cannot be run in the schemas of tenants.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", line.map_or(String::new(), |line| format!("line {line}: ")))]
pub struct InvalidScript {
    /// The line, if it is known.
    pub line: Option<usize>,
    /// The violation and how to fix it.
    pub message: String,
}

impl InvalidScript {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        "invalid-script"
    }
}

impl AdHocScript {
    /// Parses SQL.
    ///
    /// # Errors
    /// [`InvalidScript`] with the first violation of the rules for the scripts of transactional migrations, or if there is no
    /// statement.
    pub fn parse(sql: &[u8]) -> Result<Self, InvalidScript> {
        let mut first = None;
        let script = check::script(sql, None, |line, message| {
            first.get_or_insert((line, message));
        });
        let invalid = |(line, message): (Option<usize>, String)| InvalidScript { line, message };
        let (None, Some(script)) = (&first, script) else {
            return Err(invalid(first.unwrap_or_default()));
        };
        let Some(last) = script.statements().last().copied() else {
            return Err(invalid((None, "no SQL statement was given".to_owned())));
        };
        let refused = script.statements().iter().find_map(|one| Some((one.line(), one.refused_in_transaction()?)));
        if let Some((line, command)) = refused {
            return Err(invalid((Some(line), format!("{command} cannot run in a transaction; use psql"))));
        }
        if last.describes() {
            let message = "EXPLAIN and SHOW return no rows here; use psql".to_owned();
            return Err(invalid((Some(last.line()), message)));
        }
        Ok(Self { returns_rows: last.returns_rows(), script })
    }

    /// Whether the last statement returns rows.
    pub fn returns_rows(&self) -> bool {
        self.returns_rows
    }

    /// The script.
    pub(crate) fn script(&self) -> &Script {
        &self.script
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_statement_decides_whether_rows_are_returned() {
        let cases = [
            ("SELECT 1", true),
            ("select 1; CREATE TABLE t ()", false),
            ("CREATE TABLE t (); TABLE t;", true),
            ("VALUES (1)", true),
            ("INSERT INTO t VALUES (1)", false),
            ("INSERT INTO t VALUES (1) RETURNING i", true),
            ("DELETE FROM t WHERE text = 'RETURNING'", false),
            ("WITH a AS (SELECT 1) SELECT * FROM a", true),
            ("WITH a AS (SELECT 1) UPDATE t SET i = 1", false),
            ("WITH a AS (SELECT 1) UPDATE t SET i = 1 RETURNING i", true),
            ("WITH a AS (DELETE FROM t RETURNING i) INSERT INTO u TABLE a", false),
            ("(SELECT 1) UNION SELECT 2", true),
        ];
        for (sql, returns_rows) in cases {
            assert_eq!(AdHocScript::parse(sql.as_bytes()).unwrap().returns_rows(), returns_rows, "{sql}");
        }
    }

    #[test]
    fn sql_that_ends_the_transaction_is_refused_with_its_line() {
        let error = |sql: &str| AdHocScript::parse(sql.as_bytes()).unwrap_err().to_string();
        assert!(error("SELECT 1;\nCOMMIT").starts_with("line 2: "), "{}", error("SELECT 1;\nCOMMIT"));
        assert_eq!(error("-- nothing"), "no SQL statement was given");
        assert_eq!(error("SELECT 1;\nVACUUM"), "line 2: VACUUM cannot run in a transaction; use psql");
        assert!(error("EXPLAIN SELECT 1").contains("use psql"));
        assert!(error("SELECT 'x").contains("line 1"));
    }
}
