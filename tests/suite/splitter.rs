//! Scripts are split into the statements that PostgreSQL's own parser finds.
//!
//! The server decides. In a failed transaction, it parses a statement that a client asks to prepare, counts the
//! statements, and then refuses to continue: nothing is looked up or run.
//!
//! If the server parses a script, the script must be split, and each part must be exactly one statement. The parts are
//! then all of the server's statements, because a semicolon separates them and the grammar is unambiguous.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use diesel::connection::{CacheSize, SimpleConnection};
use diesel::prelude::*;
use diesel::sql_query;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tenantry::__private::split;

use crate::support::source::root;
use crate::support::{Database, binaries};

/// The result of the server's parser for a text.
#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    SyntaxError(String),
    /// One statement or none.
    AtMostOne,
    Several,
}

/// A session in a failed transaction.
struct Parser(PgConnection);

impl Parser {
    fn new(db: &Database) -> Self {
        let mut conn = db.connect();
        conn.set_prepared_statement_cache_size(CacheSize::Disabled);
        let mut parser = Self(conn);
        assert_eq!(parser.fail_transaction(), "division by zero");
        parser
    }

    /// Puts the transaction into the failed state, and returns the error that failed it or that it reports then.
    fn fail_transaction(&mut self) -> String {
        self.0.batch_execute("BEGIN; SELECT 1/0").expect_err("a failed transaction").to_string()
    }

    fn parse(&mut self, text: &str) -> Parsed {
        let Err(error) = sql_query(text).execute(&mut self.0) else {
            // Only the end of a transaction is accepted in the failed state.
            assert_eq!(self.fail_transaction(), "division by zero", "{text}");
            return Parsed::AtMostOne;
        };
        match error.to_string() {
            error if error.starts_with("current transaction is aborted") => Parsed::AtMostOne,
            error if error.starts_with("cannot insert multiple commands") => Parsed::Several,
            error => Parsed::SyntaxError(error),
        }
    }

    /// Compares the parts of a script with the server's statements. Returns whether the server could parse the script.
    fn check(&mut self, script: &str) -> Result<bool, String> {
        let whole = self.parse(script);
        if let Parsed::SyntaxError(_) = whole {
            return Ok(false);
        }
        let parts = split(script).map_err(|error| format!("the server parses it: {error}"))?;
        let expected = if parts.len() > 1 { Parsed::Several } else { Parsed::AtMostOne };
        if whole != expected {
            return Err(format!("{} statements, the server finds {whole:?}: {parts:#?}", parts.len()));
        }
        if parts.is_empty() && self.parse(&format!("{script}\n; SELECT 1")) != Parsed::AtMostOne {
            return Err("no statements, the server finds one".to_owned());
        }
        for part in parts {
            let parsed = self.parse(part.sql());
            if parsed != Parsed::AtMostOne {
                return Err(format!("{parsed:?}: {}", part.sql()));
            }
        }
        Ok(true)
    }
}

/// The SQL files in a folder and those below it.
fn sql_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sql_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "sql") {
            found.push(path);
        }
    }
}

/// The folder with the server's files, including the scripts of its catalogs and extensions.
fn share() -> PathBuf {
    let bin = binaries().folder();
    // As the server finds it: relative to its programs, or in the distribution's place.
    let relative = bin.parent().expect("a folder above").join("share");
    let debian = PathBuf::from("/usr/share/postgresql").join(binaries().major().to_string());
    [relative.join("postgresql"), relative, debian]
        .into_iter()
        .find(|folder| folder.join("information_schema.sql").exists())
        .expect("the server's folder of shared files")
}

#[test]
fn sql_files_are_split_as_the_server_splits_them() {
    let db = Database::new();
    let mut parser = Parser::new(&db);
    let mut files = Vec::new();
    for folder in ["migrations", "examples", "benches", "tests", "src"] {
        sql_files(&root().join(folder), &mut files);
    }
    sql_files(&share(), &mut files);
    let mut parsed = 0;
    for file in &files {
        let Ok(script) = fs::read_to_string(file) else { continue };
        // A script of an extension begins with a psql command and contains placeholders that begin with @.
        let script = script.lines().filter(|line| !line.starts_with('\\')).collect::<Vec<_>>().join("\n");
        match parser.check(&script) {
            Ok(accepted) => parsed += usize::from(accepted),
            Err(error) => panic!("{}: {error}", file.display()),
        }
    }
    assert!(parsed > 60, "the server parses {parsed} of {} files", files.len());
}

#[test]
#[ignore = "long: make test-long"]
fn generated_scripts_are_split_as_the_server_splits_them() {
    let db = Database::new();
    let parser = RefCell::new(Parser::new(&db));
    let (parsed, cases) = (RefCell::new(0), 1_500);
    let config = Config { failure_persistence: None, ..Config::with_cases(cases) };
    let checked = TestRunner::new(config).run(&scripts(), |script| {
        let accepted = parser.borrow_mut().check(&script).map_err(TestCaseError::fail)?;
        *parsed.borrow_mut() += u32::from(accepted);
        Ok(())
    });
    if let Err(error) = checked {
        panic!("{error}");
    }
    let parsed = parsed.into_inner();
    assert!(parsed > cases / 2, "the server parses {parsed} of {cases} scripts");
}

#[test]
fn copy_data_is_not_a_statement() {
    let config = Config { failure_persistence: None, ..Config::with_cases(500) };
    let row =
        prop::collection::vec(prop::sample::select(&["a", "\\N", ";", "'", "\t", "$$", "\"", "/*", "--"][..]), 0..6);
    let parts = |script: &str| -> Result<Vec<String>, TestCaseError> {
        let parts = split(script).map_err(|error| TestCaseError::fail(error.to_string()))?;
        Ok(parts.iter().map(|part| part.sql().to_owned()).collect())
    };
    let strategy = (prop::collection::vec(row, 0..4), statement(), statement());
    let checked = TestRunner::new(config).run(&strategy, |(rows, before, after)| {
        let (before, after) = (before.concat(), after.concat());
        let rows: String = rows.iter().map(|row| format!("{}\n", row.concat())).collect();
        let script = |data: &str| format!("{before};\nCOPY t (a) FROM STDIN;\n{data}{after};\n");
        prop_assert_eq!(parts(&script(&format!("{rows}\\.\n")))?, parts(&script(""))?);
        Ok(())
    });
    if let Err(error) = checked {
        panic!("{error}");
    }
}

/// The tokens of a statement or of a part of one, each with the following white space and comments.
type Tokens = Vec<String>;

/// White space and comments that resemble other syntax.
fn gap() -> impl Strategy<Value = &'static str> {
    prop::sample::select(
        &[
            " ",
            " ",
            " ",
            " ",
            " ",
            "\n",
            "\t",
            "\r\n",
            " -- ; it's $$ \"\n",
            " --\n",
            " -- /*\r",
            " /* ; */ ",
            " /* /* ' */ ; */ ",
            " /**/ ",
            " /*--*/ ",
            " /* $$ \" */ ",
        ][..],
    )
}

/// Adds a gap after each of these tokens.
fn tokens(texts: Vec<String>) -> impl Strategy<Value = Tokens> {
    let count = texts.len();
    prop::collection::vec(gap(), count)
        .prop_map(move |gaps| texts.iter().zip(gaps).map(|(text, gap)| format!("{text}{gap}")).collect())
}

/// The words of a text, separated by blanks, as tokens. A `~` is a blank inside a token.
fn words(text: &str) -> impl Strategy<Value = Tokens> + use<> {
    tokens(text.split(' ').map(|word| word.replace('~', " ")).collect())
}

fn joined(parts: Vec<Tokens>) -> Tokens {
    parts.concat()
}

/// A string constant of any kind.
fn string() -> impl Strategy<Value = String> {
    let inner =
        || prop::sample::select(&["a", ";", "''", "--", "/*", "*/", "\"", "\n", "$", "é", "E", "BEGIN ATOMIC "][..]);
    let inner = move || prop::collection::vec(inner(), 0..5).prop_map(|parts| parts.concat());
    let escapes = prop::sample::select(&["\\'", "\\\\", "''", ";", "\\n", "\\x41", "$$", "é"][..]);
    let escaped = prop::collection::vec(escapes, 0..5).prop_map(|parts| format!("E'{}'", parts.concat()));
    let tag = prop::sample::select(&["$$", "$a$", "$_1$", "$é$", "$end$"][..]);
    let dollars = prop::sample::select(&["'", ";", "\\", "$", "$b$", "$ $", "--", "/*", "END;", "\n"][..]);
    let dollar_quoted = (tag, prop::collection::vec(dollars, 0..5))
        .prop_map(|(tag, parts)| format!("{tag} {} {tag}", parts.concat().replace(tag, "")));
    prop_oneof![
        3 => inner().prop_map(|text| format!("'{text}'")),
        1 => inner().prop_map(|text| format!("'a\\'\n'{text}'")),
        1 => inner().prop_map(|text| format!("'{text}' -- it's\n 'b'")),
        1 => inner().prop_map(|text| format!("U&'{text}'")),
        1 => Just("U&'d!0061;' UESCAPE '!'".to_owned()),
        1 => Just("B'01'".to_owned()),
        1 => Just("x'1f'".to_owned()),
        1 => inner().prop_map(|text| format!("N'{text}'")),
        2 => escaped.clone(),
        1 => escaped.prop_map(|text| format!("{text}\n '\\';'")),
        3 => dollar_quoted,
    ]
}

/// A name; some resemble other syntax.
fn name() -> impl Strategy<Value = String> {
    let names = [
        "a",
        "t1",
        "a$b$",
        "_x",
        "größe",
        "\"a;b\"",
        "\"it's\"",
        "\"a\"\"b;\"",
        "\"$$\"",
        "\"case\"",
        "U&\"d\\0061;\"",
        "U&\"d!0061\" UESCAPE '!'",
        "atomic",
        "begin",
        "e",
        "n",
        "u",
        "copy",
        "表",
    ];
    prop::sample::select(names.to_vec()).prop_map(str::to_owned)
}

/// The name of a result column: after AS any keyword is allowed, and most are without it.
fn label() -> impl Strategy<Value = Tokens> {
    prop_oneof![
        4 => Just("AS a"),
        1 => Just("AS end"),
        1 => Just("AS case"),
        1 => Just("AS begin"),
        1 => Just("end"),
        1 => Just("case"),
        1 => Just("begin"),
        1 => Just("atomic"),
    ]
    .prop_flat_map(words)
}

fn expression() -> impl Strategy<Value = Tokens> + Clone {
    let leaf = prop_oneof![
        4 => string(),
        3 => name(),
        1 => prop::sample::select(vec!["1", "1.5e3", ".5", "$1", "NULL", "t.a", "t.end", "t.case", "t.\"end\""]).prop_map(str::to_owned),
    ];
    let leaf = leaf.prop_flat_map(|text| tokens(vec![text]));
    leaf.prop_recursive(3, 16, 3, |inner| {
        let pair = (inner.clone(), inner.clone());
        let operator = prop::sample::select(vec!["+", "||", "=", "<>", "@>", "->>", "- -", "%", "AND"]);
        prop_oneof![
            3 => (pair.clone(), operator.prop_flat_map(words)).prop_map(|((a, b), operator)| joined(vec![a, operator, b])),
            2 => (words("("), inner.clone(), words(")")).prop_map(|(open, a, close)| joined(vec![open, a, close])),
            3 => (words("CASE WHEN"), inner.clone(), words("THEN"), inner.clone(), words("ELSE"), inner.clone(), words("END"))
                .prop_map(|(case, a, then, b, else_, c, end)| joined(vec![case, a, then, b, else_, c, end])),
            1 => (words("( SELECT"), inner.clone(), label(), words(")"))
                .prop_map(|(open, a, label, close)| joined(vec![open, a, label, close])),
            1 => (words("ARRAY["), inner.clone(), words("]")).prop_map(|(open, a, close)| joined(vec![open, a, close])),
            1 => (words("f ("), inner, words(")")).prop_map(|(open, a, close)| joined(vec![open, a, close])),
        ]
    })
    .boxed()
}

/// A statement that may also occur in a body.
fn simple() -> impl Strategy<Value = Tokens> + Clone {
    let expression = expression();
    let of = |before: &'static str, after: &'static str| {
        (words(before), expression.clone(), words(after)).prop_map(|(before, a, after)| joined(vec![before, a, after]))
    };
    prop_oneof![
        3 => (words("SELECT"), expression.clone(), label()).prop_map(|(select, a, label)| joined(vec![select, a, label])),
        2 => of("INSERT INTO t ( a ) VALUES (", ") RETURNING a AS end"),
        1 => of("UPDATE t SET a =", "WHERE true"),
        1 => of("DELETE FROM t WHERE", "IS NULL"),
        1 => of("WITH x AS ( SELECT", ") TABLE x"),
    ]
    .boxed()
}

/// Simple statements, each followed by a semicolon.
fn body() -> impl Strategy<Value = Tokens> + Clone {
    prop::collection::vec((simple(), words(";")).prop_map(|(statement, end)| joined(vec![statement, end])), 0..4)
        .prop_map(joined)
        .boxed()
}

fn statement() -> impl Strategy<Value = Tokens> + Clone {
    let function = prop::sample::select(vec![
        "CREATE FUNCTION f ( a int , b text ) RETURNS int LANGUAGE sql",
        "create or replace function f() returns int",
        "CREATE PROCEDURE p ( begin atomic )",
        "CREATE OR REPLACE PROCEDURE s.p() LANGUAGE sql",
    ])
    .prop_flat_map(words);
    let other = prop::sample::select(vec![
        "CREATE TABLE t ( a int , \"end\" text DEFAULT ';' , CHECK ( a > 0 ) )",
        "CREATE TABLE begin ( atomic int )",
        "DO $$~BEGIN~;~END~$$",
        "BEGIN",
        "COMMIT",
        "END",
        "ROLLBACK",
        "SAVEPOINT a",
        "COPY t ( a ) TO 'f;'",
        "COPY t FROM 'f' WITH ( DELIMITER ';' )",
        "VACUUM ( FULL ) t",
        "CREATE INDEX CONCURRENTLY i ON t ( a )",
        "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
        "SET search_path TO a , \"b;c\"",
        "COMMENT ON TABLE t IS $c$~it's~;~$c$",
        "PREPARE begin AS SELECT $1 ::int atomic",
        "GRANT SELECT ON t TO PUBLIC",
    ])
    .prop_flat_map(words);
    prop_oneof![
        4 => simple(),
        3 => (function.clone(), words("BEGIN ATOMIC"), body(), words("END"))
            .prop_map(|(function, begin, body, end)| joined(vec![function, begin, body, end])),
        1 => (function.clone(), words("RETURN"), expression())
            .prop_map(|(function, return_, a)| joined(vec![function, return_, a])),
        1 => (function, words("AS"), string().prop_flat_map(|text| tokens(vec![text])))
            .prop_map(|(function, as_, text)| joined(vec![function, as_, text])),
        1 => (words("CREATE RULE r AS ON INSERT TO t DO ("), body(), simple(), words(")"))
            .prop_map(|(rule, body, last, close)| joined(vec![rule, body, last, close])),
        3 => other,
    ]
    .boxed()
}

/// A script of statements; in one of four, a token is added, removed or moved.
fn scripts() -> impl Strategy<Value = String> {
    let separator = prop::sample::select(vec![";", ";", ";", ";;", "; ;", ";\n"]);
    let statements = prop::collection::vec((statement(), separator.prop_flat_map(words)), 0..5);
    let damage =
        prop_oneof![3 => Just(None), 1 => any::<(prop::sample::Index, prop::sample::Index, u8)>().prop_map(Some)];
    (statements, damage).prop_map(|(statements, damage)| {
        let mut tokens: Tokens =
            statements.into_iter().flat_map(|(statement, end)| joined(vec![statement, end])).collect();
        if let Some((one, other, kind)) = damage
            && !tokens.is_empty()
        {
            let (one, other) = (one.index(tokens.len()), other.index(tokens.len()));
            match kind % 3 {
                0 => drop(tokens.remove(one)),
                1 => tokens.insert(one, tokens[other].clone()),
                _ => tokens.swap(one, other),
            }
        }
        tokens.concat()
    })
}
