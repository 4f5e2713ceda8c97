//! Usage: what a command refuses before it starts, what it suggests instead, and what it names before it changes anything.

use crate::support::{Output, Screen, Tenantry, Terminal, fleet, set_up};

/// Asserts the exit status, and that standard error contains each text.
#[track_caller]
fn assert_fails(output: &Output, code: i32, texts: &[&str]) {
    output.assert_code(code);
    for text in texts {
        assert!(output.stderr.contains(text), "no {text:?} in:\n{}", output.stderr);
    }
}

#[test]
fn a_pattern_that_matches_no_tenant_fails_unless_that_is_allowed() {
    let db = fleet(&["acme", "globex"]);
    let commands: [&[&str]; 6] = [
        &["list"],
        &["list", "--names"],
        &["health-check"],
        &["migrate-all"],
        &["migrate-all", "--dry-run"],
        &["revert-all", "--steps", "1", "--yes"],
    ];
    for command in commands {
        let run = |more: &[&str]| db.tenantry(command).args(["--match", "^nobody$"]).args(more).run();
        let texts = [
            "error: --match '^nobody$' matches none of 2 tenants\n",
            "hint: 'tenantry list --names' lists the tenants; to accept this, add --allow-empty\n",
        ];
        assert_fails(&run(&[]), 1, &texts);
        run(&["--allow-empty"]).assert_code(0);
        db.tenantry(command).args(["--match", "^acme$"]).run().assert_code(0);
    }
    let empty = set_up();
    empty.tenantry(["migrate-all"]).run().assert_code(0);
    let none = empty.tenantry(["migrate-all", "--match", "a"]).run();
    assert_fails(&none, 1, &["error: --match a matches none of 0 tenants\n"]);
}

#[test]
fn a_file_that_cannot_be_used_is_refused_before_the_database_is_contacted() {
    let table: [(&[&str], &str); 8] = [
        (&["health-check", "--ignore-file", "none"], "cannot read the ignore file none: No such file or directory"),
        (&["diff", "acme", "--ignore-file", "."], "cannot read the ignore file .: Is a directory"),
        (&["health-check", "--reference", "./none"], "cannot read the reference ./none: No such file or directory"),
        (&["diff", "acme", "--reference", "."], "cannot read the reference .: is a directory"),
        (&["repair-plan", "acme", "--reference", "none.jsonl"], "cannot read the reference none.jsonl: No such file"),
        (&["health-check", "--junit", "none/report.xml"], "cannot write none/report.xml: directory none: No such file"),
        (&["health-check", "--junit", "."], "cannot write .: it is a directory"),
        (&["reference", "--output", "none/r.jsonl"], "cannot write none/r.jsonl: directory none: No such file"),
    ];
    for (command, text) in table {
        let output = Tenantry::new().args(command).env("DATABASE_URL", "postgres://127.0.0.1:1/none").run();
        assert_fails(&output, 2, &[&format!("error: {text}")]);
    }
}

#[test]
fn verbose_names_the_database_the_migrations_and_a_settings_file_above() {
    let db = fleet(&["acme"]);
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("a/b");
    std::fs::create_dir_all(&below).unwrap();
    let file = folder.path().join(".env");
    std::fs::write(&file, "TENANTRY_COLOR=never\n").unwrap();
    for command in [&["list"][..], &["health-check"], &["migrate-all"], &["diff", "acme"], &["drop", "acme", "--yes"]] {
        let run = |more: &[&str]| db.tenantry(command).args(more).current_dir(&below).run();
        let quiet = run(&["--quiet"]).snapshot();
        assert!(!quiet.contains("database: ") && !quiet.contains("settings: "), "{quiet}");
        if command[0] == "drop" {
            db.tenantry(["create", "acme"]).run().assert_code(0);
        }
        let verbose = run(&["-v"]);
        let settings = format!("settings: {}\n", file.canonicalize().unwrap().display());
        assert!(verbose.stderr.contains(&settings), "{}", verbose.stderr);
        let shown = verbose.snapshot();
        assert!(shown.contains("\ntenant migrations: MIGRATIONS (5 in all, newest 20260209090000)\n"), "{shown}");
        assert!(shown.contains("\ndatabase: DATABASE on the socket in SOCKET"), "{shown}");
    }
    // A file in the working directory is not named.
    let own = db.tenantry(["list", "-v"]).current_dir(folder.path()).run();
    assert!(!own.stderr.contains("settings: "), "{}", own.stderr);
}

#[test]
fn a_confirmation_names_the_database_and_the_migrations() {
    let db = fleet(&["acme", "globex"]);
    db.execute("CREATE SCHEMA stray");
    let table: [(&[&str], &str); 6] = [
        (&["drop", "acme"], "Drop tenant acme and all its data from database DATABASE on "),
        (&["drop", "acme", "globex"], "Drop 2 tenants and all their data from database DATABASE on "),
        (&["drop", "stray", "--untracked"], "Drop untracked schema stray and all its data from database DATABASE on "),
        (&["cleanup"], "Drop all tenants and the tracker from database DATABASE on "),
        (&["revert-one", "acme", "--steps", "1"], "Revert these migrations of tenant acme in database DATABASE on "),
        (&["revert-all", "--steps", "1"], "Revert these migrations of 2 tenants in database DATABASE on "),
    ];
    for (command, question) in table {
        for more in [&[][..], &["--quiet"], &["--verbose"]] {
            let mut terminal = Terminal::spawn(db.tenantry(command).args(more));
            terminal.expect(question.split_once(" database").expect("a database").0).type_line("no");
            let screen = Screen::of(&mut terminal);
            screen.assert_code(4);
            let shown = screen.snapshot();
            let asked = format!("{question}the socket in SOCKET");
            assert!(shown.contains(&asked), "no {asked:?} in:\n{shown}");
            let migrations = "tenant migrations: MIGRATIONS (5 in all, newest 20260209090000)\n";
            assert_eq!(shown.matches(migrations).count(), 1, "{command:?} {more:?}:\n{shown}");
        }
    }
}
