//! Selection: which tenants a command works on, and which migration `--to` names.

use crate::assert_snapshot;
use crate::support::migrations::Dir;
use crate::support::{Database, Screen, Terminal, fleet, run_with};

/// Three tenants at the first of three migrations.
fn numbered() -> (Database, Dir) {
    let migrations = Dir::new().add("2026-01-01-000000_create_orders", "CREATE TABLE orders (i int)");
    let migrations = migrations.down("DROP TABLE orders");
    let db = fleet(&[]);
    run_with(&db, &migrations, &["create", "acme", "globex", "initech"]).assert_code(0);
    let migrations = migrations
        .add("2026-01-02-000000_add_orders", "CREATE TABLE more_orders (i int)")
        .down("DROP TABLE more_orders")
        .add("2026-02-03-000000_add_notes", "ALTER TABLE orders ADD note text")
        .down("ALTER TABLE orders DROP note");
    (db, migrations)
}

fn names(db: &Database, more: &[&str]) -> String {
    db.tenantry(["list", "--names"]).args(more).run().assert_code(0).stdout.clone()
}

#[test]
fn several_patterns_select_the_union() {
    let (db, migrations) = numbered();
    assert_eq!(names(&db, &["--match", "^acme$", "--match", "^g"]), "acme\nglobex\n");
    assert_eq!(names(&db, &["--match", "e", "--match", "^acme$"]), "acme\nglobex\ninitech\n");
    let checked = run_with(&db, &migrations, &["health-check", "--match", "^a", "--match", "^g", "--format", "json"]);
    assert_eq!(checked.json()["checked"], 2);
    // Each pattern must match: one of several may be misspelled.
    let none = db.tenantry(["list", "--match", "^acme$", "--match", "^gloxeb$"]).run();
    assert!(
        none.assert_code(1).stderr.contains("error: --match '^gloxeb$' matches none of 3 tenants"),
        "{}",
        none.stderr
    );
    assert_eq!(names(&db, &["--match", "^acme$", "--match", "^gloxeb$", "--allow-empty"]), "acme\n");

    let migrate = ["migrate-all", "--match", "^(a|g)", "--match", "i", "--except", "^g", "--except", "^i"];
    let output = run_with(&db, &migrations, &migrate);
    assert!(output.assert_code(0).stderr.contains("1 migrated"), "{}", output.stderr);
    assert_eq!(
        db.string("SELECT request -> 'selection' FROM schema_run ORDER BY id DESC LIMIT 1"),
        r#"{"match": ["^(a|g)", "i"], "except": ["^g", "^i"]}"#
    );
}

#[test]
#[ignore = "long: make test-long"]
fn health_check_of_named_tenants_reports_only_these() {
    let db = fleet(&["acme", "globex"]);
    db.execute("DROP TABLE acme.comments CASCADE; DROP TABLE globex.comments CASCADE; CREATE SCHEMA acme_old");
    db.execute("CREATE TABLE acme_old.__diesel_schema_migrations AS TABLE acme.__diesel_schema_migrations");
    let tenants = |args: &[&str]| -> Vec<String> {
        let document = db.tenantry(["health-check", "--format", "json"]).args(args).run().assert_code(1).json();
        let findings = document["findings"].as_array().expect("a list").clone();
        let mut names: Vec<String> = findings.iter().map(|finding| finding["tenant"].to_string()).collect();
        names.dedup();
        names
    };
    assert_eq!(tenants(&[]), ["null", r#""acme""#, r#""globex""#]);
    assert_eq!(tenants(&["globex"]), [r#""globex""#]);
    assert_eq!(tenants(&["globex", "acme", "globex"]), [r#""acme""#, r#""globex""#]);
    // Findings of the database do not depend on the names.
    db.execute("DELETE FROM schema_ledger WHERE version = '20261129090000'");
    assert_eq!(tenants(&["globex"]), ["null", r#""globex""#]);

    assert_snapshot!(db.tenantry(["health-check", "acme", "glboex"]).run(), @r"
        --- stderr
        error: tenant glboex: not tracked in public.schema_tracker
        hint: a tenant with a similar name is globex
        --- exit 3
    ");
    db.tenantry(["health-check", "acme", "--match", "acme"]).run().assert_code(2);
}

#[test]
fn tenants_to_drop_are_read_from_a_file() {
    let db = fleet(&[]);
    let tenants: Vec<String> = (0..25).map(|n| format!("t{n:02}")).collect();
    db.tenantry(["create"]).args(&tenants).run().assert_code(0);
    let list = format!("# old tenants\n\n{}\n", tenants[1..].join("\n"));
    let refused = db.tenantry(["drop", "--from", "-"]).stdin(&list).run();
    assert!(
        refused.assert_code(4).stderr.contains("confirmation required, but there is no terminal"),
        "{}",
        refused.stderr
    );
    assert_eq!(db.count("SELECT count(*) FROM schema_tracker"), 25);
    assert_snapshot!(db.tenantry(["drop", "--from", "-", "--yes"]).stdin("t01\nno body\0\n").run(), @r#"
        --- stderr
        error: line 2 of standard input: "no body\0" contains '\0', which is not printable
        --- exit 2
    "#);

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("old");
    std::fs::write(&file, &list).expect("a file");
    let mut terminal = Terminal::spawn(db.tenantry(["drop", "--from"]).arg(&file));
    terminal.expect("[y/N]").type_line("y");
    let screen = Screen::of(&mut terminal);
    screen.assert_code(0);
    let shown = screen.snapshot();
    for text in
        ["… and 4 more; --dry-run shows all", "Drop 24 tenants (t01, t02, t03, …) and all their data", "24 dropped"]
    {
        assert!(shown.contains(text), "no {text:?} in {shown}");
    }
    assert!(!shown.contains("t21 "), "only the first are shown: {shown}");
    assert_eq!(names(&db, &[]), "t00\n");
    db.tenantry(["drop", "--from", "-", "--yes", "--if-exists"]).stdin(&list).run().assert_code(0);
    db.tenantry(["drop", "--from", "nowhere", "--yes"]).run().assert_code(2);
}

#[test]
#[ignore = "long: make test-long"]
fn a_migration_is_named_by_its_folder_or_a_unique_part_of_it() {
    let (db, migrations) = numbered();
    let run = |args: &[&str]| run_with(&db, &migrations, args);
    let version = || db.string("SELECT max(version) FROM acme.__diesel_schema_migrations");
    for (name, expected) in [
        ("2026-01-02-000000_add_orders", "20260102000000"),
        ("add_notes", "20260203000000"),
        ("202601020", "20260102000000"),
        ("2026-02", "20260203000000"),
        ("create_orders", "20260101000000"),
        ("2026-01-02-000000_add", "20260102000000"),
    ] {
        run(&["migrate-one", "acme", "--to", name]).assert_code(0);
        run(&["revert-one", "acme", "--yes", "--to", name]).assert_code(0);
        assert_eq!(version(), expected, "{name}");
    }
    for command in [
        &["migrate-all", "--to"][..],
        &["migrate-one", "acme", "--to"],
        &["revert-all", "--yes", "--to"],
        &["revert-one", "acme", "--yes", "--to"],
        &["adopt", "acme", "--baseline"],
    ] {
        let with = |name: &str| run(&[command, &[name]].concat());
        let ambiguous = with("orders");
        let texts = [
            "error: several tenant migrations match \"orders\"",
            "hint: give one of: 2026-01-01-000000_create_orders, 2026-01-02-000000_add_orders",
        ];
        assert!(texts.iter().all(|text| ambiguous.assert_code(2).stderr.contains(text)), "{}", ambiguous.stderr);
        let unknown = with("add_note");
        let texts = [
            "error: no tenant migration has the name \"add_note\"",
            "hint: tenant migrations: 2026-02-03-000000_add_notes, 2026-01-02-000000_add_orders",
        ];
        assert!(texts.iter().all(|text| unknown.assert_code(2).stderr.contains(text)), "{}", unknown.stderr);
        assert!(with("").assert_code(2).stderr.contains("no tenant migration has the name \"\""));
    }
    // The record of the run has the version, because folders may be renamed.
    run(&["migrate-all", "--to", "add_orders"]).assert_code(0);
    assert_eq!(db.string("SELECT request ->> 'to' FROM schema_run ORDER BY id DESC LIMIT 1"), "20260102000000");
}
