use proptest::prelude::*;

use super::*;
use crate::sql::statement::tests::only;

/// The texts of a script's statements.
fn texts(script: &str) -> Vec<&str> {
    split(script).expect("a closed script").iter().map(Statement::sql).collect()
}

#[test]
fn scripts_are_split_at_semicolons() {
    let cases: &[(&str, &[&str])] = &[
        ("", &[]),
        (" ; ;; -- nothing\n /* at all */ ;", &[]),
        ("SELECT 1", &["SELECT 1"]),
        ("SELECT 1;SELECT 2;", &["SELECT 1", "SELECT 2"]),
        ("-- a;\nSELECT 1 -- b;\n;/* c; */ SELECT 2 /* d /* ; */ ; */", &["SELECT 1", "SELECT 2"]),
        ("SELECT 1 -- a\r\n;\r\nSELECT 2\r\n", &["SELECT 1", "SELECT 2"]),
        ("SELECT /* ; */ 1 -- ;\n + 2;", &["SELECT /* ; */ 1 -- ;\n + 2"]),
        ("SELECT ';', 'it'';', E'\\';'; x", &["SELECT ';', 'it'';', E'\\';'", "x"]),
        ("SELECT '\\'; x", &["SELECT '\\'", "x"]),
        ("SELECT E'a'\n'\\';'; x", &["SELECT E'a'\n'\\';'", "x"]),
        ("SELECT \";\"\"\", U&\";\"; x", &["SELECT \";\"\"\", U&\";\"", "x"]),
        ("SELECT $$;$$, $a$;$$;$a$; x", &["SELECT $$;$$, $a$;$$;$a$", "x"]),
        ("SELECT a$b$c; x$b$", &["SELECT a$b$c", "x$b$"]),
        ("SELECT $1;$2", &["SELECT $1", "$2"]),
        ("SELECT 1 +--;\n2 */*;*/3; x", &["SELECT 1 +--;\n2 */*;*/3", "x"]),
        ("SÉLECT 'ü;'; 表;", &["SÉLECT 'ü;'", "表"]),
        (
            "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); x",
            &["CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)", "x"],
        ),
        ("SELECT a[1;2]; x", &["SELECT a[1;2]", "x"]),
        ("SELECT 1); x", &["SELECT 1)", "x"]),
        ("SELECT (1; x", &["SELECT (1; x"]),
        ("BEGIN; SELECT 1; END; x", &["BEGIN", "SELECT 1", "END", "x"]),
        (
            "CREATE FUNCTION f() RETURNS int AS $$ BEGIN; END $$; x",
            &["CREATE FUNCTION f() RETURNS int AS $$ BEGIN; END $$", "x"],
        ),
        ("CREATE TABLE begin (atomic int); x", &["CREATE TABLE begin (atomic int)", "x"]),
        ("CREATE VIEW v AS SELECT 1 begin ATOMIC; x; END", &["CREATE VIEW v AS SELECT 1 begin ATOMIC", "x", "END"]),
        ("CREATE FUNCTION f(begin atomic) RETURN 1; x", &["CREATE FUNCTION f(begin atomic) RETURN 1", "x"]),
    ];
    for (script, expected) in cases {
        assert_eq!(texts(script), *expected, "{script:?}");
    }
}

#[test]
fn an_atomic_body_is_not_split() {
    let bodies = [
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END",
        "create or replace procedure p() begin/**/atomic insert into t values (1); end",
        "CREATE OR REPLACE FUNCTION f() BEGIN ATOMIC SELECT CASE WHEN a THEN 1 ELSE CASE b WHEN 2 THEN 3 END END; END",
        "CREATE PROCEDURE p() BEGIN ATOMIC SELECT (CASE WHEN a THEN 1 END); SELECT 2; END",
        "CREATE FUNCTION f() BEGIN ATOMIC SELECT 1 AS end, t.end, 2 AS case, \"end\", 'end' FROM t; SELECT 1; END",
        "CREATE FUNCTION f() BEGIN ATOMIC END",
        "CREATE FUNCTION f() BEGIN ATOMIC SELECT 1 end; SELECT a case, atomic end FROM t; END",
    ];
    for body in bodies {
        assert_eq!(texts(&format!("{body}; x;")), [body, "x"]);
    }
    let never_ends = "CREATE FUNCTION f() BEGIN ATOMIC SELECT 1; x";
    assert_eq!(texts(never_ends), [never_ends]);
}

#[test]
fn a_psql_command_ends_with_its_line() {
    let script = "\\connect acme -- it's\nSELECT 1; \\echo it's;SELECT '\\x'\\gexec\r\n;\\.\r\n\\";
    assert_eq!(
        texts(script),
        ["\\connect acme -- it's", "SELECT 1", "\\echo it's", "SELECT '\\x'\\gexec", "\\.", "\\"]
    );
    let commands: Vec<_> = split(script).expect("closed").iter().map(Statement::psql_command).collect();
    assert_eq!(commands, [Some("\\connect"), None, Some("\\echo"), None, Some("\\."), Some("\\")]);
}

#[test]
fn copy_data_is_skipped() {
    let cases: &[(&str, &[&str])] = &[
        ("COPY t FROM stdin;\n1\tO'Brien; x\n\\N\n\\.\nSELECT 1;", &["COPY t FROM stdin", "SELECT 1"]),
        ("COPY t FROM stdin;\r\n'\r\n\\.\r\nSELECT 1", &["COPY t FROM stdin", "SELECT 1"]),
        ("COPY t FROM stdin;\n\\.", &["COPY t FROM stdin"]),
        ("COPY t FROM stdin; SELECT 1;\nSELECT 2", &["COPY t FROM stdin", "SELECT 1", "SELECT 2"]),
        ("COPY t FROM 'f';\nSELECT 1;\n\\.\n", &["COPY t FROM 'f'", "SELECT 1", "\\."]),
    ];
    for (script, expected) in cases {
        assert_eq!(texts(script), *expected, "{script:?}");
    }
}

#[test]
fn statements_have_an_offset_and_a_line() {
    let script = "-- é\r\nSELECT\n1;\n\n /* \n */ SELECT 2; SELECT '\n'; x\n";
    let found: Vec<_> = split(script).expect("closed").iter().map(|s| (s.offset(), s.line(), s.sql())).collect();
    assert_eq!(found, [(7, 2, "SELECT\n1"), (27, 6, "SELECT 2"), (37, 6, "SELECT '\n'"), (49, 7, "x")]);
}

#[test]
fn lines_are_counted_from_one() {
    let script = "a\nb\r\né\n";
    let cases = [(0, 1), (1, 1), (2, 2), (4, 2), (5, 3), (6, 3), (7, 3), (8, 4), (99, 4)];
    for (offset, line) in cases {
        assert_eq!(line_at(script, offset), line, "{offset}");
    }
}

#[test]
fn unterminated_constructs_are_reported_with_their_line() {
    let cases = [
        ("SELECT 1;\n 'a\n", "unterminated quoted string that starts on line 2"),
        ("SELECT E'a\\'", "unterminated quoted string that starts on line 1"),
        ("\n\nSELECT \"a", "unterminated quoted identifier that starts on line 3"),
        ("$a$\n$b$", "unterminated dollar-quoted string that starts on line 1"),
        ("/* a\n/* b */\n", "unterminated comment that starts on line 1"),
    ];
    for (script, message) in cases {
        assert_eq!(split(script).expect_err(script).to_string(), message, "{script:?}");
    }
    assert_eq!(split("\n'").expect_err("an open string").line(), 2);
}

#[test]
fn identifiers_are_listed() {
    let script = "SELECT a.B, \"C\"\"d\", 'e', $$f$$ -- g\nFROM U&\"\\0068\" /* i */ WHERE x$1 = $2; 'open";
    let found: Vec<_> = identifiers(script).collect();
    assert_eq!(found, ["select", "a", "b", "C\"d", "from", "h", "where", "x$1"]);
}

/// Scripts of fragments that form constructs together. The end of `COPY` data is not included, because joined statements
/// would form a different script.
fn scripts() -> impl Strategy<Value = String> {
    const PIECES: [&str; 62] = [
        "'",
        "''",
        "\"",
        "\"\"",
        "$",
        "$$",
        "$a$",
        "$1",
        "--",
        "/*",
        "*/",
        "-",
        "/",
        "*",
        "\\",
        ";",
        "(",
        ")",
        "[",
        "]",
        "\n",
        "\r\n",
        " ",
        "\t",
        "E'",
        "e",
        "U&",
        "U&'",
        "U&\"",
        "N'",
        "x",
        "1",
        "1.",
        "a$b",
        "é",
        "表",
        "\u{a0}",
        "=",
        ",",
        "\\connect ",
        "CREATE ",
        "OR REPLACE ",
        "FUNCTION ",
        "BEGIN ",
        "ATOMIC ",
        "CASE ",
        "END ",
        "AS ",
        "COPY ",
        "FROM ",
        "STDIN ",
        "SET ",
        "search_path ",
        "set_config",
        "DO ",
        "INDEX ",
        "CONCURRENTLY ",
        "ALTER TABLE t DETACH PARTITION ",
        "REINDEX ",
        "CLUSTER ",
        "SUBSCRIPTION ",
        "WITH ",
    ];
    let piece = prop_oneof![9 => proptest::sample::select(&PIECES[..]).prop_map(str::to_owned), 1 => "[^.]"];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn statements_are_slices_of_the_script(script in scripts()) {
        let _ = identifiers(&script).count();
        let Ok(statements) = split(&script) else { return Ok(()) };
        let mut end = 0;
        for statement in &statements {
            prop_assert!(statement.offset() >= end && !statement.sql().is_empty());
            end = statement.offset() + statement.sql().len();
            prop_assert_eq!(statement.sql(), &script[statement.offset()..end]);
            prop_assert_eq!(statement.line(), line_at(&script, statement.offset()));
            let _ = (statement.sets_search_path(), statement.refused_in_transaction(), statement.concurrent_index());
            if let Some(form) = statement.transactional_form() {
                prop_assert_eq!(only(&form).sql(), form.as_ref());
            }
        }
    }

    #[test]
    fn joined_statements_are_split_again(script in scripts()) {
        let Ok(statements) = split(&script) else { return Ok(()) };
        let expected: Vec<_> = statements.iter().map(Statement::sql).collect();
        let joined = expected.join(";");
        prop_assert_eq!(texts(&joined), expected);
    }
}
