use proptest::prelude::*;

use super::*;

/// The texts of a script's statements.
fn texts(script: &str) -> Vec<&str> {
    split(script).expect("a closed script").iter().map(Statement::sql).collect()
}

/// The only statement of a script.
fn only(script: &str) -> Statement<'_> {
    let statements = split(script).expect("a closed script");
    assert_eq!(statements.len(), 1, "{script}: {statements:?}");
    statements[0]
}

#[test]
fn splits_at_semicolons_outside_of_everything() {
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
fn keeps_an_atomic_body_together() {
    let bodies = [
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END",
        "create or replace procedure p() begin/**/atomic insert into t values (1); end",
        "CREATE OR REPLACE FUNCTION f() BEGIN ATOMIC SELECT CASE WHEN a THEN 1 ELSE CASE b WHEN 2 THEN 3 END END; END",
        "CREATE PROCEDURE p() BEGIN ATOMIC SELECT (CASE WHEN a THEN 1 END); SELECT 2; END",
        "CREATE FUNCTION f() BEGIN ATOMIC SELECT 1 AS end, t.end, 2 AS case, \"end\", 'end' FROM t; SELECT 1; END",
        "CREATE FUNCTION f() BEGIN ATOMIC END",
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
fn leaves_out_the_data_of_a_copy() {
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
fn tells_where_a_statement_begins() {
    let script = "-- é\r\nSELECT\n1;\n\n /* \n */ SELECT 2; SELECT '\n'; x\n";
    let found: Vec<_> = split(script).expect("closed").iter().map(|s| (s.offset(), s.line(), s.sql())).collect();
    assert_eq!(found, [(7, 2, "SELECT\n1"), (27, 6, "SELECT 2"), (37, 6, "SELECT '\n'"), (49, 7, "x")]);
}

#[test]
fn counts_lines() {
    let script = "a\nb\r\né\n";
    let cases = [(0, 1), (1, 1), (2, 2), (4, 2), (5, 3), (6, 3), (7, 3), (8, 4), (99, 4)];
    for (offset, line) in cases {
        assert_eq!(line_at(script, offset), line, "{offset}");
    }
}

#[test]
fn says_what_is_unterminated_and_where() {
    let cases = [
        ("SELECT 1;\n 'a\n", "unterminated quoted string that begins on line 2"),
        ("SELECT E'a\\'", "unterminated quoted string that begins on line 1"),
        ("\n\nSELECT \"a", "unterminated quoted identifier that begins on line 3"),
        ("$a$\n$b$", "unterminated dollar-quoted string that begins on line 1"),
        ("/* a\n/* b */\n", "unterminated comment that begins on line 1"),
    ];
    for (script, message) in cases {
        assert_eq!(split(script).expect_err(script).to_string(), message, "{script:?}");
    }
    assert_eq!(split("\n'").expect_err("an open string").line(), 2);
}

#[test]
fn recognizes_transaction_commands() {
    let cases = [
        ("BEGIN", Some("BEGIN")),
        ("begin work isolation level serializable", Some("BEGIN")),
        ("START/**/TRANSACTION", Some("START TRANSACTION")),
        ("COMMIT AND CHAIN", Some("COMMIT")),
        ("END", Some("END")),
        ("ROLLBACK", Some("ROLLBACK")),
        ("ROLLBACK TO a", Some("ROLLBACK")),
        ("ROLLBACK WORK TO SAVEPOINT a", Some("ROLLBACK")),
        ("ABORT", Some("ABORT")),
        ("SAVEPOINT a", Some("SAVEPOINT")),
        ("RELEASE a", Some("RELEASE")),
        ("PREPARE TRANSACTION 'a'", Some("PREPARE TRANSACTION")),
        ("PREPARE transaction AS SELECT 1", None),
        ("COMMIT -- x\nPREPARED 'a'", Some("COMMIT PREPARED")),
        ("ROLLBACK PREPARED 'a'", Some("ROLLBACK PREPARED")),
        ("PREPARE a AS SELECT 1", None),
        ("SELECT 'COMMIT'", None),
        ("\"COMMIT\"", None),
        ("DO 'BEGIN COMMIT; END'", None),
        ("CREATE FUNCTION f() BEGIN ATOMIC SELECT 1; END", None),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", None),
    ];
    for (script, expected) in cases {
        assert_eq!(only(script).transaction_command(), expected, "{script}");
    }
}

#[test]
fn recognizes_what_sets_the_search_path() {
    let setting = [
        "SET search_path = a",
        "set Search_Path to a, public",
        "SET/**/search_path FROM CURRENT",
        "SET LOCAL search_path = a",
        "SET SESSION -- x\nsearch_path = a",
        "SET \"search_path\" = a",
        "SET \"SEARCH_PATH\" = a",
        "SET SCHEMA 'a'",
        "SET LOCAL SCHEMA U&'a'",
        "RESET search_path",
        "RESET ALL",
        "DISCARD ALL",
        "SELECT set_config('search_path', 'a', true)",
        "SELECT pg_catalog . set_config ( 'SEARCH_PATH', 'a', true)",
        "SELECT \"pg_catalog\".\"set_config\"(E'search_path', 'a', false)",
        "SELECT SET_CONFIG($x$search_path$x$::text, 'a', true)",
        "SELECT set_config(CAST('search_path' AS text), 'a', true)",
        "SELECT set_config(U&'search\\005fpath', 'a', true)",
        "INSERT INTO t SELECT set_config('search' \n'_path', 'a', true)",
        "DO $$ BEGIN SET search_path = a; END $$",
        "DO $a$ BEGIN IF x THEN SET LOCAL search_path TO a; END IF; END $a$ LANGUAGE plpgsql",
        "DO LANGUAGE plpgsql 'BEGIN PERFORM set_config(''search_path'', ''a'', true); END'",
        "DO E'BEGIN\\nRESET search_path; END'",
        "DO $$ BEGIN LOOP SET SCHEMA 'a'; END LOOP; END $$",
        "DO $$ BEGIN EXECUTE 'SET search_path TO ' || x; END $$",
        "DO $$ BEGIN EXECUTE format('SET LOCAL search_path TO %I', x); END $$",
        "DO $$ BEGIN DO $x$ BEGIN SET search_path = a; END $x$; END $$",
    ];
    for script in setting {
        assert!(only(script).sets_search_path(), "{script}");
    }
    let others = [
        "SET statement_timeout = 0",
        "SET search_path.a = b",
        "SET \"schema\" = 'a'",
        "SET schema = 'a'",
        "SET",
        "SET LOCAL",
        "RESET work_mem",
        "RESET",
        "DISCARD PLANS",
        "SHOW search_path",
        "SELECT 'SET search_path = a'",
        "SELECT 1 -- SET search_path",
        "UPDATE t SET search_path = 'a'",
        "SELECT set_config('work_mem', 'search_path', true)",
        "SELECT set_config(x), 'search_path'",
        "SELECT \"SET_CONFIG\"('search_path', 'a', true)",
        "SELECT reset_config('search_path', 'a', true)",
        "SELECT current_setting('search_path')",
        "ALTER ROLE a SET search_path = a",
        "ALTER DATABASE a SET search_path = a",
        "ALTER FUNCTION f() SET search_path = a",
        "ALTER PROCEDURE p() RESET search_path",
        "ALTER ROUTINE r() SET search_path = a",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = a AS 'SELECT 1'",
        "CREATE OR REPLACE PROCEDURE p() SET search_path = a AS $$ BEGIN SET search_path = b; END $$",
        "CREATE FUNCTION f() RETURNS text BEGIN ATOMIC SELECT set_config('search_path', 'a', true); END",
        "DO $$ BEGIN UPDATE t SET search_path = 'a'; END $$",
        "DO $$ BEGIN CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = a AS 'SELECT 1'; END $$",
        "DO $$ BEGIN RAISE NOTICE 'SET search_path'; END $$",
        "DO $$ BEGIN EXECUTE 'CREATE FUNCTION f() RETURNS int SET search_path = a RETURN 1'; END $$",
        "DO $$ it's open $$",
    ];
    for script in others {
        assert!(!only(script).sets_search_path(), "{script}");
    }
}

#[test]
fn recognizes_a_copy_from_the_client() {
    let cases = [
        ("COPY t FROM STDIN", true),
        ("copy a.t (b, c) from/**/stdin with (format csv)", true),
        ("COPY BINARY t FROM STDIN", true),
        ("COPY t FROM STDOUT", true),
        ("COPY t FROM 'stdin'", false),
        ("COPY t FROM PROGRAM 'cat'", false),
        ("COPY t FROM 'f' WHERE a IS DISTINCT FROM stdin", false),
        ("COPY t TO STDOUT", false),
        ("COPY (SELECT * FROM stdin) TO STDOUT", false),
        ("COPY t FROM", false),
        ("COPY", false),
        ("SELECT * FROM stdin", false),
        ("\\copy t FROM STDIN", false),
    ];
    for (script, expected) in cases {
        assert_eq!(only(script).copies_from_stdin(), expected, "{script}");
    }
}

/// A statement, its name if it is refused in a transaction, and its transactional form.
type Refusal<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

#[test]
fn knows_what_a_transaction_refuses_and_what_to_run_instead() {
    let cases: &[Refusal<'_>] = &[
        ("CREATE TABLE t (a int)", None, Some("CREATE TABLE t (a int)")),
        ("ALTER TYPE a ADD VALUE 'b'", None, Some("ALTER TYPE a ADD VALUE 'b'")),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY v", None, Some("REFRESH MATERIALIZED VIEW CONCURRENTLY v")),
        ("CREATE INDEX i ON t (a)", None, Some("CREATE INDEX i ON t (a)")),
        ("CREATE INDEX \"concurrently\" ON t (a)", None, Some("CREATE INDEX \"concurrently\" ON t (a)")),
        ("CREATE INDEX CONCURRENTLY i ON t (a)", Some("CREATE INDEX CONCURRENTLY"), Some("CREATE INDEX i ON t (a)")),
        (
            "CREATE UNIQUE INDEX\n-- x\nCONCURRENTLY\nIF NOT EXISTS i ON t (a)",
            Some("CREATE UNIQUE INDEX CONCURRENTLY"),
            Some("CREATE UNIQUE INDEX\n-- x\nIF NOT EXISTS i ON t (a)"),
        ),
        (
            "create index concurrently/* é */on t (a)",
            Some("CREATE INDEX CONCURRENTLY"),
            Some("create index /* é */on t (a)"),
        ),
        (
            "CREATE INDEX/**/CONCURRENTLY\"I\" ON t (a)",
            Some("CREATE INDEX CONCURRENTLY"),
            Some("CREATE INDEX/**/\"I\" ON t (a)"),
        ),
        ("DROP INDEX CONCURRENTLY IF EXISTS i", Some("DROP INDEX CONCURRENTLY"), Some("DROP INDEX IF EXISTS i")),
        ("DROP INDEX i", None, Some("DROP INDEX i")),
        (
            "ALTER TABLE IF EXISTS a.t DETACH PARTITION p -- x\n CONCURRENTLY",
            Some("ALTER TABLE DETACH PARTITION CONCURRENTLY"),
            Some("ALTER TABLE IF EXISTS a.t DETACH PARTITION p"),
        ),
        ("ALTER TABLE t DETACH PARTITION p FINALIZE", None, Some("ALTER TABLE t DETACH PARTITION p FINALIZE")),
        (
            "ALTER TABLE t DETACH PARTITION \"concurrently\"",
            None,
            Some("ALTER TABLE t DETACH PARTITION \"concurrently\""),
        ),
        ("REINDEX TABLE t", None, None),
        ("REINDEX TABLE CONCURRENTLY t", Some("REINDEX CONCURRENTLY"), None),
        ("REINDEX INDEX CONCURRENTLY i", Some("REINDEX CONCURRENTLY"), None),
        ("REINDEX (VERBOSE, CONCURRENTLY) TABLE t", Some("REINDEX CONCURRENTLY"), None),
        ("REINDEX (CONCURRENTLY on) TABLE t", Some("REINDEX CONCURRENTLY"), None),
        ("REINDEX (CONCURRENTLY off) TABLE t", None, None),
        ("REINDEX (CONCURRENTLY 0, VERBOSE) TABLE t", None, None),
        ("REINDEX SCHEMA a", Some("REINDEX SCHEMA"), None),
        ("REINDEX (VERBOSE) DATABASE a", Some("REINDEX DATABASE"), None),
        ("REINDEX SYSTEM CONCURRENTLY", Some("REINDEX SYSTEM"), None),
        ("REINDEX", None, None),
        ("CLUSTER", Some("CLUSTER"), None),
        ("CLUSTER VERBOSE", Some("CLUSTER"), None),
        ("CLUSTER (VERBOSE)", Some("CLUSTER"), None),
        ("CLUSTER (VERBOSE) t USING i", None, None),
        ("CLUSTER t", None, None),
        ("VACUUM", Some("VACUUM"), None),
        ("VACUUM (ANALYZE) t", Some("VACUUM"), None),
        ("ANALYZE t", None, None),
        ("CHECKPOINT", None, None),
        ("CREATE DATABASE a", Some("CREATE DATABASE"), None),
        ("DROP DATABASE IF EXISTS a", Some("DROP DATABASE"), None),
        ("ALTER DATABASE a SET TABLESPACE b", Some("ALTER DATABASE SET TABLESPACE"), None),
        ("ALTER DATABASE a SET work_mem = 1", None, Some("ALTER DATABASE a SET work_mem = 1")),
        ("ALTER DATABASE", None, Some("ALTER DATABASE")),
        ("CREATE TABLESPACE a LOCATION 'b'", Some("CREATE TABLESPACE"), None),
        ("DROP TABLESPACE a", Some("DROP TABLESPACE"), None),
        ("ALTER TABLESPACE a RENAME TO b", None, Some("ALTER TABLESPACE a RENAME TO b")),
        ("ALTER SYSTEM RESET ALL", Some("ALTER SYSTEM"), None),
        ("DISCARD ALL", Some("DISCARD ALL"), None),
        ("DISCARD TEMP", None, Some("DISCARD TEMP")),
        ("COMMIT PREPARED 'a'", Some("COMMIT PREPARED"), None),
        ("ROLLBACK PREPARED 'a'", Some("ROLLBACK PREPARED"), None),
        ("COMMIT", None, None),
        ("SAVEPOINT a", None, None),
        ("\\echo a", None, None),
        ("SELECT 'VACUUM'", None, Some("SELECT 'VACUUM'")),
        ("DROP SUBSCRIPTION a", Some("DROP SUBSCRIPTION"), None),
    ];
    for (script, refused, form) in cases {
        let statement = only(script);
        assert_eq!(statement.refused_in_transaction(), *refused, "{script}");
        assert_eq!(statement.transactional_form().as_deref(), *form, "{script}");
    }
    let unchanged = only("CREATE TABLE t ()").transactional_form();
    assert!(matches!(unchanged, Some(Cow::Borrowed(_))), "{unchanged:?}");
}

#[test]
fn knows_which_subscriptions_a_transaction_refuses() {
    let create = |options: &str| format!("CREATE SUBSCRIPTION connect CONNECTION 'x' PUBLICATION a{options}");
    let cases = [
        (create(""), Some("CREATE SUBSCRIPTION")),
        (create(" WITH (copy_data = false)"), Some("CREATE SUBSCRIPTION")),
        (create(" WITH (create_slot)"), Some("CREATE SUBSCRIPTION")),
        (create(" WITH (connect, create_slot = true)"), Some("CREATE SUBSCRIPTION")),
        (create(" WITH (connect = false)"), None),
        (create(" WITH (\"connect\" = 'FALSE')"), None),
        (create(" WITH (enabled = false, CREATE_SLOT = off)"), None),
        ("ALTER SUBSCRIPTION a REFRESH PUBLICATION".into(), Some("ALTER SUBSCRIPTION with refresh")),
        ("ALTER SUBSCRIPTION a SET PUBLICATION b".into(), Some("ALTER SUBSCRIPTION with refresh")),
        (
            "ALTER SUBSCRIPTION a ADD PUBLICATION b WITH (refresh = true)".into(),
            Some("ALTER SUBSCRIPTION with refresh"),
        ),
        ("ALTER SUBSCRIPTION a DROP PUBLICATION b WITH (refresh = 0)".into(), None),
        ("ALTER SUBSCRIPTION a SET (failover = false)".into(), Some("ALTER SUBSCRIPTION SET")),
        ("ALTER SUBSCRIPTION a SET (two_phase = false)".into(), Some("ALTER SUBSCRIPTION SET")),
        ("ALTER SUBSCRIPTION a SET (two_phase = true)".into(), None),
        ("ALTER SUBSCRIPTION a SET (slot_name = NONE)".into(), None),
        ("ALTER SUBSCRIPTION a DISABLE".into(), None),
        ("ALTER SUBSCRIPTION".into(), None),
    ];
    for (script, expected) in cases {
        assert_eq!(only(&script).refused_in_transaction(), expected, "{script}");
    }
}

#[test]
fn names_the_index_that_is_built_concurrently() {
    let long = "I".repeat(70);
    let cases = [
        ("CREATE INDEX CONCURRENTLY Users_Email ON t (a)", Some("users_email")),
        ("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS \"I\"\"x\" ON t (a)", Some("I\"x")),
        ("create index concurrently if on t (a)", Some("if")),
        ("CREATE INDEX CONCURRENTLY \"on\" ON t (a)", Some("on")),
        (&format!("CREATE INDEX CONCURRENTLY {long} ON t (a)"), Some(&*"i".repeat(63))),
        ("CREATE INDEX CONCURRENTLY ON t (a)", None),
        ("CREATE INDEX CONCURRENTLY", None),
        ("CREATE INDEX i ON t (a)", None),
        ("DROP INDEX CONCURRENTLY i", None),
        ("ALTER TABLE t DETACH PARTITION p CONCURRENTLY", None),
    ];
    for (script, expected) in cases {
        assert_eq!(only(script).concurrent_index().as_deref(), expected, "{script}");
    }
}

#[test]
fn lists_identifiers() {
    let script = "SELECT a.B, \"C\"\"d\", 'e', $$f$$ -- g\nFROM U&\"\\0068\" /* i */ WHERE x$1 = $2; 'open";
    let found: Vec<_> = identifiers(script).collect();
    assert_eq!(found, ["select", "a", "b", "C\"d", "from", "h", "where", "x$1"]);
}

/// Blocks nested deeper than a recursive search could follow on a small stack.
#[test]
fn looks_into_deeply_nested_blocks() {
    let depth = 2_000;
    let opening: String = (0..depth).map(|level| format!("DO $a{level}$ ")).collect();
    let closing: String = (0..depth).rev().map(|level| format!(" $a{level}$")).collect();
    assert!(only(&format!("{opening}SET search_path = a{closing}")).sets_search_path());
    assert!(!only(&format!("{opening}SET work_mem = 1{closing}")).sets_search_path());
}

/// Scripts of pieces that mean something together. The end of `COPY` data is not among them: where it is in a script,
/// joining the statements makes another script.
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
    fn any_script_is_split_into_slices_of_itself(script in scripts()) {
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
    fn splitting_what_was_joined_gives_the_same_statements(script in scripts()) {
        let Ok(statements) = split(&script) else { return Ok(()) };
        let expected: Vec<_> = statements.iter().map(Statement::sql).collect();
        let joined = expected.join(";");
        prop_assert_eq!(texts(&joined), expected);
    }
}
