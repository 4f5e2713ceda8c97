use super::*;

/// The single statement of a script.
pub(super) fn only(script: &str) -> Statement<'_> {
    let statements = split(script).expect("a closed script");
    assert_eq!(statements.len(), 1, "{script}: {statements:?}");
    statements[0]
}

#[test]
fn statements_that_set_the_search_path_are_recognized() {
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

/// Nests blocks deeper than a recursive search could follow on a small stack.
#[test]
fn deeply_nested_blocks_are_searched() {
    let depth = 2_000;
    let opening: String = (0..depth).map(|level| format!("DO $a{level}$ ")).collect();
    let closing: String = (0..depth).rev().map(|level| format!(" $a{level}$")).collect();
    assert!(only(&format!("{opening}SET search_path = a{closing}")).sets_search_path());
    assert!(!only(&format!("{opening}SET work_mem = 1{closing}")).sets_search_path());
}

#[test]
fn copy_from_the_client_is_recognized() {
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
