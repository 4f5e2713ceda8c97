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
#[ignore = "long: make test-long"]
fn pattern_without_a_match_fails_unless_allow_empty() {
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
fn unusable_file_is_refused_before_connecting() {
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
#[ignore = "long: make test-long"]
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
#[ignore = "long: make test-long"]
fn a_confirmation_names_the_database_and_the_migrations() {
    let db = fleet(&["acme", "globex"]);
    db.execute("CREATE SCHEMA stray");
    let table: [(&[&str], &str); 6] = [
        (&["drop", "acme"], "Drop tenant acme and all its data from database DATABASE on "),
        (&["drop", "acme", "globex"], "Drop 2 tenants (acme, globex) and all their data from database DATABASE on "),
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

#[test]
#[ignore = "long: make test-long"]
fn unknown_tenant_is_refused_with_closest_name() {
    let db = fleet(&["acme", "globex"]);
    let commands: [&[&str]; 7] = [
        &["migrate-one"],
        &["revert-one", "--steps", "1", "--yes"],
        &["diff"],
        &["repair-plan"],
        &["print-schema"],
        &["reference", "--of"],
        &["drop", "--yes"],
    ];
    for command in commands {
        let misspelled = db.tenantry(command).arg("acem").run();
        let similar = "hint: a tenant with a similar name is acme";
        assert!(misspelled.code != Some(0) && misspelled.stderr.contains(similar), "{}", misspelled.stderr);
        assert!(!misspelled.stderr.contains("create"), "{}", misspelled.stderr);
        let other = db.tenantry(command).arg("umbrella").run();
        assert!(other.code != Some(0) && !other.stderr.contains("similar"), "{}", other.stderr);
    }
}

#[test]
fn unknown_version_or_run_is_refused_with_valid_values() {
    let db = fleet(&["acme"]);
    let version = "20260209090001";
    let table: [(&[&str], &[&str]); 4] = [
        (&["migrate-all", "--to", version], &["hint: valid versions: 20260209090000, "]),
        (&["migrate-one", "acme", "--to", version], &["hint: valid versions: 20260209090000, "]),
        (&["revert-all", "--yes", "--to", version], &["hint: valid versions: 20260209090000, "]),
        (&["lint", "--since", version], &["hint: valid versions: 20260209090000, "]),
    ];
    for (command, texts) in table {
        assert_fails(&db.tenantry(command).run(), 2, texts);
    }
    let none = set_up().tenantry(["runs", "show", "99"]).run();
    assert_fails(&none, 2, &["error: run 99 does not exist\n", "hint: no run is recorded\n"]);
    for command in [&["runs", "show", "99"][..], &["migrate-all", "--retry-failed", "99"]] {
        let newest = "hint: the newest runs: 1 (create); 'tenantry runs' lists more\n";
        assert_fails(&db.tenantry(command).run(), 2, &["error: run 99 does not exist\n", newest]);
    }
}

#[test]
#[ignore = "long: make test-long"]
fn unknown_code_level_or_number_is_refused_with_valid_values() {
    let table: [(&[&str], &str); 14] = [
        (
            &["health-check", "--fail-on", "colum.type"],
            "unknown code or level \"colum.type\"; a similar one is column.type; 'health-check --help' lists",
        ),
        (
            &["health-check", "--fail-on", "strutural"],
            "unknown code or level \"strutural\"; a similar one is structural",
        ),
        (
            &["health-check", "--fail-on", "tracker-behnd"],
            "a similar one is tracker-behind; 'health-check --help' lists the codes",
        ),
        (
            &["health-check", "--fail-on", "acme/nonsense.*"],
            "unknown code or level \"nonsense.*\"; 'health-check --help' lists the codes",
        ),
        (
            &["health-check", "--ignore", "index.mising"],
            "unknown code \"index.mising\"; a similar one is index.missing",
        ),
        (&["diff", "acme", "--ignore", "acme/stuck-creatin:x"], "a similar one is stuck-creating"),
        (&["diff", "acme", "--fail-on", "high"], "unknown code or level \"high\""),
        (
            &["migrate-all", "--jobs", "many"],
            "invalid value 'many' for '--jobs <N>': expected a number from 1 to 65535",
        ),
        (&["migrate-all", "--jobs", "0"], "expected a number from 1 to 65535"),
        (&["migrate-all", "--retries=-1"], "expected a number from 0 to 4294967295"),
        (&["migrate-all", "--batch", "0"], "expected a number, at least 1"),
        (&["revert-all", "--steps", "all"], "expected a number, at least 1"),
        (&["runs", "show", "latest"], "expected the number of a run; 'runs' lists them"),
        (&["migrate-all", "--retry-failed", "last"], "expected the number of a run; 'runs' lists them"),
    ];
    for (command, text) in table {
        assert_fails(&Tenantry::new().args(command).run(), 2, &[text]);
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".tenantry-ignore"), "*.comment\n# a comment\nindex.mising\n").unwrap();
    let output = Tenantry::new().args(["diff", "acme"]).current_dir(folder.path()).run();
    assert_fails(
        &output,
        2,
        &["error: .tenantry-ignore, line 3: unknown code \"index.mising\"; a similar one is index.missing"],
    );
    // Patterns that match a code are accepted, so that only the database is missing.
    for pattern in
        ["*", "*.comment", "acme/*", "index.*:tmp_*", "*-migrations", "index-column.statistics", "table.column-order"]
    {
        let output = Tenantry::new().args(["diff", "acme", "--ignore", pattern]).run();
        assert_fails(&output, 2, &["error: no database specified"]);
    }
}

/// docs/drift.md lists each part of a code.
#[test]
fn every_part_of_a_code_is_documented() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/drift.md")).unwrap();
    let kinds = tenantry::schema::structure::ObjectKind::ALL.map(|kind| kind.slug());
    let parts = kinds.iter().map(String::as_str).chain(tenantry::schema::drift::PROPERTIES.iter().copied());
    let findings = tenantry::health::FindingKind::ALL.map(|kind| kind.as_str());
    let missing: Vec<&str> = parts.chain(findings).filter(|part| !page.contains(&format!("`{part}`"))).collect();
    assert_eq!(missing, [""; 0]);
}

/// Not what the parser of the standard library says, such as "invalid digit found in string".
#[test]
fn an_invalid_number_is_answered_with_what_is_expected() {
    let table: [(&[&str], &str); 9] = [
        (&["runs", "--last", "x"], "0"),
        (&["runs", "fleet", "--last=-1"], "0"),
        (&["stats", "--top", "1.5"], "0"),
        (&["exec", "acme", "-c", "SELECT 1", "--max-rows", "many"], "0"),
        (&["shared", "status", "--max-behind", "1GB"], "0"),
        (&["benchmark", "isolation", "--rows", "0"], "1"),
        (&["benchmark", "search-path", "--tenants", "x"], "1"),
        (&["place", "--limit", "0"], "1"),
        (&["revert-all", "--steps", "0"], "1"),
    ];
    for (args, least) in table {
        let output = Tenantry::new().args(args).run();
        let expected = format!("expected a number, at least {least}");
        assert!(output.assert_code(2).stderr.contains(&expected), "{args:?}: {}", output.stderr);
    }
}
