use std::borrow::Cow;

use crate::sql::statement::split;
use crate::sql::statement::tests::only;

/// A statement, its command if a transaction block rejects it, and its transactional form.
type RejectedStatement<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

#[test]
fn transaction_commands_are_recognized() {
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
fn rejected_statements_have_a_transactional_form() {
    let cases: &[RejectedStatement<'_>] = &[
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
fn rejected_subscription_commands_are_recognized() {
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
fn a_concurrently_created_index_is_named() {
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
fn target_relations_of_rejected_statements_are_listed() {
    let names = |sql: &str| split(sql).unwrap()[0].target_relations();
    let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    assert_eq!(names("CREATE INDEX CONCURRENTLY i ON ONLY t (a)"), list(&["t"]));
    assert_eq!(
        names("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS \"on\" ON public . \"T\" (a)"),
        list(&["public.\"T\""])
    );
    assert_eq!(names("DROP INDEX CONCURRENTLY IF EXISTS a, s.b"), list(&["a", "s.b"]));
    assert_eq!(names("ALTER TABLE p DETACH PARTITION q CONCURRENTLY"), list(&["p", "q"]));
    assert_eq!(names("VACUUM (ANALYZE, VERBOSE) t"), list(&["t"]));
    assert_eq!(names("REINDEX TABLE CONCURRENTLY t"), list(&["t"]));
    assert_eq!(names("VACUUM"), None);
    assert_eq!(names("CREATE DATABASE d"), None);
}
