//! Structures compared with the reference: `diff`, `reference`, and what `health-check` makes of drift in a fleet.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs;
use std::thread;

use diesel::connection::SimpleConnection;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use tenantry::Database as Connected;
use tenantry::schema::drift::compare;
use tenantry::schema::structure::{self, Structure};

use crate::assert_snapshot;
use crate::reference::must_commit;
use crate::support::migrations::Dir;
use crate::support::{Database, Output, create_older, fleet, url_of_a_stranger};

fn diff(db: &Database, tenant: &str) -> Output {
    db.tenantry(["diff", tenant]).run()
}

/// The codes of the findings of a health check, and the tenants that have them.
fn drift(output: &Output) -> Vec<String> {
    let findings = output.json()["findings"].as_array().expect("a list").clone();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    findings
        .iter()
        .map(|finding| format!("{} {}", text(&finding["tenant"]), text(&finding["difference"]["code"])))
        .collect()
}

fn drift_of(db: &Database) -> Vec<String> {
    drift(&db.tenantry(["health-check", "--format", "json"]).run())
}

/// A fleet that is too large to be read tenant by tenant.
fn large_fleet() -> Database {
    let names: Vec<String> = (1..=12).map(|number| format!("tenant_{number:02}")).collect();
    fleet(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
#[ignore = "long: make test-long"]
fn diff_reports_all_differences_of_a_tenant() {
    let db = fleet(&["acme", "globex"]);
    assert_snapshot!(diff(&db, "acme"), @r"
        --- stderr
        acme matches the reference
        --- exit 0
    ");
    assert_snapshot!(db.tenantry(["diff", "acme", "--format", "json"]).run(), @r#"
        {
          "tenant": "acme",
          "compared_with": null,
          "identical": true,
          "differences": []
        }
        --- stderr
        --- exit 0
    "#);
    db.execute(
        "ALTER TABLE acme.users ALTER COLUMN full_name SET DEFAULT ''; \
         DROP INDEX acme.tasks_project_id_idx; \
         ALTER TABLE acme.comments ALTER COLUMN task_id SET DEFAULT nextval('globex.users_id_seq'); \
         COMMENT ON TABLE acme.tasks IS 'what is to be done'; \
         DROP VIEW acme.open_tasks; CREATE VIEW acme.open_tasks AS \
         SELECT tasks.id, tasks.title FROM acme.tasks JOIN acme.users ON users.id = tasks.assignee_id",
    );
    let output = diff(&db, "acme");
    output.assert_code(1);
    assert_snapshot!(output);
    assert_snapshot!(db.tenantry(["diff", "acme", "--format", "json"]).run());
    assert_snapshot!(db.tenantry(["diff", "acme", "globex"]).run());
    diff(&db, "globex").assert_code(0);
}

#[test]
#[ignore = "long: make test-long"]
fn diff_refuses_tenants_that_cannot_be_compared() {
    let db = fleet(&["acme"]);
    db.execute("INSERT INTO schema_tracker (name) VALUES ('later')");
    assert_snapshot!(diff(&db, "nobody"));
    assert_snapshot!(diff(&db, "later"));
    assert_snapshot!(db.tenantry(["diff", "acme", "nobody"]).run());
    db.execute(
        "CREATE SCHEMA empty; CREATE SCHEMA bare; CREATE TABLE bare.notes (i int); CREATE SCHEMA stray; \
         INSERT INTO schema_tracker (name, state) VALUES ('empty', 'active'), ('bare', 'active')",
    );
    for tenant in ["empty", "bare", "stray"] {
        assert_snapshot!(diff(&db, tenant));
    }
    // Two tenants can be compared although the first has no ledger.
    db.tenantry(["diff", "bare", "acme"]).run().assert_code(1);
    assert_snapshot!(db.tenantry(["diff", "acme", "--reference", "./no-such-file"]).run());
    assert_snapshot!(db.tenantry(["diff", "acme", "--reference", "no such tenant"]).run());
    db.execute("INSERT INTO acme.__diesel_schema_migrations (version) VALUES ('20990101000000')");
    assert_snapshot!(diff(&db, "acme"));
}

#[test]
#[ignore = "long: make test-long"]
fn level_determines_the_exit_code() {
    let db = fleet(&["acme"]);
    db.execute("COMMENT ON TABLE acme.users IS 'x'; ALTER TABLE acme.users SET (fillfactor = 70)");
    let code = |args: &[&str], code| {
        db.tenantry(["diff", "acme"]).args(args).run().assert_code(code);
        db.tenantry(["health-check"]).args(args).run().assert_code(code);
    };
    code(&[], 0);
    code(&["--fail-on", "tuning"], 1);
    code(&["--fail-on", "structural,security"], 0);
    db.execute("ALTER TABLE acme.users ENABLE ROW LEVEL SECURITY");
    code(&[], 1);
    code(&["--fail-on", "privilege"], 0);
    code(&["--fail-on", "privilege,security"], 1);
    code(&["--ignore", "table.row-security:users"], 0);
    assert_snapshot!(db.tenantry(["diff", "acme", "--fail-on", "nonsense"]).run(), @r#"
        --- stderr
        error: invalid value 'nonsense' for '--fail-on <CODE|LEVEL>': unknown code or level "nonsense"; 'health-check --help' lists the codes

        For more information, try '--help'.
        --- exit 2
    "#);
}

#[test]
#[ignore = "long: make test-long"]
fn ignore_patterns_accept_differences() {
    let db = fleet(&["acme", "globex"]);
    db.execute("CREATE INDEX tmp_a ON acme.users (id); CREATE INDEX tmp_b ON globex.users (id)");
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| db.tenantry(["health-check"]).args(args).current_dir(folder.path()).run();
    run(&[]).assert_code(1);
    run(&["--ignore", "index.extra:users.tmp_*"]).assert_code(0);
    assert_snapshot!(run(&["--ignore", "acme/index.extra", "--ignore", "column.*", "--verbose"]), @r"
        TENANT  CODE         LEVEL       FINDING                          FIX
        globex  index.extra  structural  index users.tmp_b is unexpected  tenantry repair-plan globex
        --- stderr
        tenant migrations: MIGRATIONS (5 in all, newest 20260209090000)
        database: DATABASE on the socket in SOCKET
        pattern column.* matches nothing
        2 tenants checked, 1 healthy, 1 finding
        --- exit 1
    ");
    fs::write(folder.path().join(".tenantry-ignore"), "# until the release\nindex.extra:users.tmp_*\n").unwrap();
    run(&[]).assert_code(0);
    run(&["--ignore-file", "/dev/null"]).assert_code(1);
    fs::write(folder.path().join(".tenantry-ignore"), "index.extra\nwhatever this is\n").unwrap();
    assert_snapshot!(run(&[]), @r#"
        --- stderr
        error: .tenantry-ignore, line 2: invalid pattern "whatever this is": expected [TENANT/]CODE[:OBJECT], for example index.extra:tmp_* or acme/*.comment
        --- exit 2
    "#);
    assert_snapshot!(run(&["--ignore", "Index"]), @r#"
        --- stderr
        error: invalid value 'Index' for '--ignore <PATTERN>': invalid pattern "Index": expected [TENANT/]CODE[:OBJECT], for example index.extra:tmp_* or acme/*.comment

        For more information, try '--help'.
        --- exit 2
    "#);
    assert_snapshot!(run(&["--ignore-file", "no-such-file"]), @r"
        --- stderr
        error: cannot read the ignore file no-such-file: No such file or directory (os error 2)
        --- exit 2
    ");
}

#[test]
fn accepted_differences_of_one_tenant_split_a_group() {
    let db = fleet(&["acme", "globex", "initech"]);
    db.execute("CREATE INDEX tmp ON acme.users (id); CREATE INDEX tmp ON globex.users (id)");
    let run = |args: &[&str]| db.tenantry(["health-check", "--ignore", "acme/index.extra"]).args(args).run();
    assert_snapshot!(run(&["--group"]), @r"
        TENANTS         CODE         LEVEL       FINDING                        FIX
        2 such as acme                           matches the reference
        globex          index.extra  structural  index users.tmp is unexpected  tenantry repair-plan globex
        --- stderr
        3 tenants checked, 2 healthy, 1 finding
        --- exit 1
    ");
    assert_snapshot!(run(&["--format", "json"]));
    let both = db.tenantry(["health-check", "--ignore", "index.extra", "--format", "json"]).run().json();
    assert_eq!(
        both["groups"],
        serde_json::json!([{ "tenants": 3, "first_tenant": "acme", "codes": [], "differences": [] }])
    );
}

#[test]
#[ignore = "long: make test-long"]
fn fix_names_the_reference_of_the_comparison() {
    let db = fleet(&["acme", "globex"]);
    db.execute("CREATE INDEX tmp ON acme.users (id)");
    assert_snapshot!(db.tenantry(["health-check", "--reference", "acme"]).run(), @r"
        TENANT  CODE           LEVEL       FINDING                     FIX
        globex  index.missing  structural  index users.tmp is missing  tenantry repair-plan globex --reference acme
        --- stderr
        2 tenants checked, 1 healthy, 1 finding
        --- exit 1
    ");
    assert_snapshot!(db.tenantry(["health-check", "--reference", "acme", "--group"]).run(), @r"
        TENANTS  CODE           LEVEL       FINDING                     FIX
        acme                                matches the reference
        globex   index.missing  structural  index users.tmp is missing  tenantry repair-plan globex --reference acme
        --- stderr
        2 tenants checked, 1 healthy, 1 finding
        --- exit 1
    ");
    assert_snapshot!(db.tenantry(["repair-plan", "globex", "--reference", "acme"]).run());
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| db.tenantry(args).current_dir(folder.path()).run();
    run(&["reference", "--of", "acme", "--output", "of acme.jsonl"]).assert_code(0);
    let json = run(&["health-check", "--reference", "of acme.jsonl", "--format", "json"]).json();
    assert_eq!(json["findings"][0]["fix"], "tenantry repair-plan globex --reference 'of acme.jsonl'");
    let output = run(&["diff", "globex", "--reference", "of acme.jsonl"]);
    assert!(output.stderr.contains("'tenantry repair-plan globex --reference 'of acme.jsonl''"), "{}", output.stderr);
}

#[test]
#[ignore = "long: make test-long"]
fn large_fleet_is_checked_by_fingerprints() {
    let db = large_fleet();
    assert_eq!(drift_of(&db), [""; 0]);
    db.execute(
        "CREATE INDEX tmp ON tenant_03.users (id); CREATE INDEX tmp ON tenant_07.users (id); \
         ALTER TABLE tenant_09.comments DROP COLUMN body; \
         ALTER TABLE tenant_11.users ALTER COLUMN full_name DROP NOT NULL, ALTER COLUMN created_at DROP NOT NULL; \
         ALTER TABLE tenant_11.users ALTER COLUMN full_name SET NOT NULL; \
         ALTER TABLE tenant_12.users ADD COLUMN x int; ALTER TABLE tenant_12.users DROP COLUMN x",
    );
    let found = drift_of(&db);
    assert!(found.contains(&"tenant_03 index.extra".to_owned()) && found.contains(&"tenant_07 index.extra".to_owned()));
    assert!(found.contains(&"tenant_11 column.not-null".to_owned()), "{found:?}");
    assert!(!found.iter().any(|line| line.starts_with("tenant_12")), "a gap is no difference: {found:?}");
    assert_snapshot!(db.tenantry(["health-check", "--group"]).run(), @r"
        TENANTS              CODE                                LEVEL       FINDING                                                                              FIX
        8 such as tenant_01                                                  matches the reference
        2 such as tenant_03  index.extra                         structural  index users.tmp is unexpected                                                        tenantry repair-plan tenant_03
        tenant_09            column.missing, constraint.missing  structural  column comments.body is missing; constraint comments.comments_body_check is missing  tenantry repair-plan tenant_09
        tenant_11            column.not-null                     structural  column users.created_at: not null differs                                            tenantry repair-plan tenant_11
        --- stderr
        12 tenants checked, 8 healthy, 5 findings
        --- exit 1
    ");
    let json = db.tenantry(["health-check", "--format", "json"]).run().json();
    let sizes: Vec<u64> =
        json["groups"].as_array().unwrap().iter().map(|group| group["tenants"].as_u64().unwrap()).collect();
    assert_eq!(sizes, [8, 2, 1, 1]);
}

#[test]
#[ignore = "long: make test-long"]
fn tenant_names_that_occur_in_the_structure_are_no_drift() {
    // In the view, `users` and `tasks` are tables, and `s.` is the end of both before a dot.
    let names = ["users", "tasks", "s", "id", "order_x", "Tasks2", "a", "t", "projects", "public_x", "comments"];
    let db = fleet(&names);
    assert_eq!(drift_of(&db), [""; 0]);
    for name in names {
        diff(&db, name).assert_code(0);
    }
    db.execute("CREATE INDEX tmp ON users.users (id); CREATE INDEX tmp ON \"Tasks2\".users (id)");
    assert_eq!(drift_of(&db), ["Tasks2 index.extra", "users index.extra"]);
}

#[test]
#[ignore = "long: make test-long"]
fn tenant_with_pending_migrations_is_compared_at_its_own_version() {
    let db = fleet(&["acme"]);
    create_older(&db, &["old", "older"]);
    assert!(drift_of(&db).iter().all(|line| line.ends_with(" -")), "what is pending is no drift");
    diff(&db, "old").assert_code(0);
    db.execute("DROP INDEX old.tasks_project_id_idx");
    assert!(drift_of(&db).contains(&"old index.missing".to_owned()));
    assert_snapshot!(diff(&db, "old"), @r"
        index tasks.tasks_project_id_idx (structural, index.missing)
        - CREATE INDEX tasks_project_id_idx ON old.tasks USING btree (project_id) WHERE (NOT done)

        --- stderr
        old differs from the reference: 1 difference
        hint: 'tenantry repair-plan old' prints SQL that repairs it
        --- exit 1
    ");
}

#[test]
fn junit_report_is_written() {
    let db = fleet(&["acme", "globex"]);
    db.execute("CREATE INDEX tmp ON acme.users (id); COMMENT ON TABLE globex.users IS '<&>'");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.xml");
    db.tenantry(["health-check", "--junit"]).arg(&path).run().assert_code(1);
    insta::assert_snapshot!(fs::read_to_string(path).unwrap());
    let nowhere = folder.path().join("no/such/folder.xml");
    let output = db.tenantry(["health-check", "--junit"]).arg(&nowhere).hide(folder.path().to_string_lossy(), "DIR");
    assert_snapshot!(output.run(), @r"
        --- stderr
        error: cannot write DIR/no/such/folder.xml: directory DIR/no/such: No such file or directory (os error 2)
        --- exit 2
    ");
}

#[test]
#[ignore = "long: make test-long"]
fn saved_reference_is_read_back() {
    let db = fleet(&["acme", "globex"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("reference.jsonl");
    let saved = db.tenantry(["reference", "--output"]).arg(&file).hide(folder.path().to_string_lossy(), "DIR").run();
    assert_snapshot!(saved, @r"
        --- stderr
        saved 78 objects to DIR/reference.jsonl
        --- exit 0
    ");
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(db.tenantry(["reference"]).run().assert_code(0).stdout, text, "the same, to the letter");
    assert!(!text.contains("tenantry_reference_"), "the name of the schema that it was made in is of no use");

    db.execute("CREATE INDEX tmp ON acme.users (id)");
    let with_file = |tenant: &str| db.tenantry(["diff", tenant, "--reference"]).arg(&file).run();
    with_file("acme").assert_code(1);
    with_file("globex").assert_code(0);
    // A role that can create nothing, in a read-only session.
    let url = url_of_a_stranger(&db);
    let role = format!("stranger_{}", db.name());
    db.execute(&format!("ALTER ROLE {role} SET default_transaction_read_only TO on"));
    for tenant in ["acme", "globex"] {
        db.execute(&format!(
            "GRANT USAGE ON SCHEMA {tenant} TO {role}; GRANT SELECT ON {tenant}.__diesel_schema_migrations TO {role}"
        ));
    }
    let check = db
        .tenantry(["health-check", "--ignore", "*.grants", "--format", "json", "--reference"])
        .arg(&file)
        .env("DATABASE_URL", &url)
        .run();
    assert_eq!(drift(&check), ["acme index.extra"], "{}", check.stdout);
    assert_eq!(check.json()["unchecked"].as_array().unwrap().len(), 0);

    let broken = |text: &str| {
        fs::write(&file, text).unwrap();
        db.tenantry(["diff", "acme", "--reference"]).arg(&file).hide(folder.path().to_string_lossy(), "DIR").run()
    };
    assert_snapshot!(broken("{}\n"), @r"
        --- stderr
        error: cannot use the reference DIR/reference.jsonl: it is not a reference, or its format is not supported
        hint: create one with 'tenantry reference --output FILE'
        --- exit 3
    ");
    assert_snapshot!(broken(&text.replacen("{\"kind\"", "{\"sort\"", 1)), @r"
        --- stderr
        error: cannot use the reference DIR/reference.jsonl: line 2: missing field `kind` at line 1 column 56
        hint: create one with 'tenantry reference --output FILE'
        --- exit 3
    ");
    let version = db.count("SELECT current_setting('server_version_num')::bigint");
    let other = broken(&text.replacen(&version.to_string(), "130004", 1));
    other.assert_code(3);
    assert!(other.stderr.contains("it is from PostgreSQL 13"), "{}", other.stderr);
}

#[test]
#[ignore = "long: make test-long"]
fn tenant_can_be_the_reference() {
    let db = fleet(&["acme", "globex", "users"]);
    db.execute("CREATE INDEX tmp ON acme.users (id)");
    let against = |tenant: &str, reference: &str| db.tenantry(["diff", tenant, "--reference", reference]).run();
    against("globex", "users").assert_code(0);
    against("users", "globex").assert_code(0);
    assert_snapshot!(against("globex", "acme"), @r"
        index users.tmp (structural, index.missing)
        - CREATE INDEX tmp ON globex.users USING btree (id)

        --- stderr
        globex differs from the reference: 1 difference
        hint: 'tenantry repair-plan globex --reference acme' prints SQL that repairs it
        --- exit 1
    ");
    // A reference to the reference tenant is not one to the tenant itself.
    db.execute("ALTER TABLE globex.comments ALTER COLUMN task_id SET DEFAULT nextval('users.users_id_seq')");
    let report = db.tenantry(["diff", "globex", "--reference", "users", "--format", "json"]).run().json();
    assert_eq!(report["differences"][0]["code"], "column.default");
    assert_eq!(report["differences"][0]["references_tenant"], "users");
    assert_snapshot!(against("globex", "nobody"), @r"
        --- stderr
        error: tenant nobody: not tracked in public.schema_tracker
        hint: 'tenantry create nobody' creates it
        --- exit 3
    ");
}

#[test]
#[ignore = "long: make test-long"]
fn stamped_tenant_is_read_again_only_after_a_change() {
    let db = large_fleet();
    let run = |args: &[&str]| db.tenantry(["health-check", "--format", "json"]).args(args).run();
    let stamps = || db.count("SELECT count(*) FROM schema_stamp");
    run(&[]).assert_code(0);
    assert_eq!(stamps(), 0, "a check writes nothing without --remember");
    run(&["--remember"]).assert_code(0);
    assert_eq!(stamps(), 12);
    // Every kind of catalog row that can change alone.
    let changes = [
        ("CREATE INDEX tmp ON tenant_01.users (id)", "tenant_01 index.extra"),
        ("ALTER TABLE tenant_02.users ALTER COLUMN full_name SET STATISTICS 7", "tenant_02 column.statistics"),
        ("COMMENT ON COLUMN tenant_03.users.id IS 'x'", "tenant_03 column.comment"),
        ("ALTER TABLE tenant_04.tasks DISABLE TRIGGER ALL", "tenant_04 constraint.switched-off"),
        ("GRANT SELECT ON tenant_05.users TO PUBLIC", "tenant_05 table.grants"),
        ("CREATE FUNCTION tenant_06.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "tenant_06 function.extra"),
        ("ALTER SEQUENCE tenant_07.users_id_seq CACHE 9", "tenant_07 sequence.cache"),
        ("COMMENT ON SCHEMA tenant_08 IS 'x'", "tenant_08 schema.comment"),
    ];
    for (change, _) in changes {
        db.execute(change);
    }
    let found = drift(&run(&[]));
    for (change, expected) in changes {
        assert!(found.contains(&expected.to_owned()), "{change}: {found:?}");
    }
    // A stamp is trusted if no row changed: this stamp is another tenant's, and hides the difference.
    db.execute("CREATE INDEX tmp ON tenant_12.users (id)");
    db.execute("VACUUM");
    assert!(drift(&run(&[])).contains(&"tenant_12 index.extra".to_owned()));
    run(&["--remember"]).assert_code(1);
    assert_eq!(db.count("SELECT count(*) FROM schema_stamp WHERE checked_at < now()"), 12);

    // With another reference, other roles or another database, no stamp is valid, and that is not a finding.
    // Roles are shared by the server, and other tests create some: only the change of the context is certain.
    let before = db.string(
        "SELECT context FROM schema_stamp s JOIN schema_tracker t ON t.id = s.tenant WHERE t.name = 'tenant_10'",
    );
    db.execute(&format!("CREATE ROLE role_of_{}", db.name()));
    run(&["--remember"]).assert_code(1);
    assert_ne!(
        db.string(
            "SELECT context FROM schema_stamp s JOIN schema_tracker t ON t.id = s.tenant WHERE t.name = 'tenant_10'"
        ),
        before
    );
    db.execute(&format!("DROP ROLE role_of_{}", db.name()));
    // The stamp of a dropped tenant is deleted.
    db.tenantry(["drop", "tenant_10", "--yes"]).run().assert_code(0);
    assert_eq!(stamps(), 11);
}

#[test]
#[ignore = "long: make test-long"]
fn full_check_ignores_stamps() {
    let db = large_fleet();
    db.tenantry(["health-check", "--remember"]).run().assert_code(0);
    db.execute("CREATE INDEX tmp ON tenant_02.users (id)");
    // Forged: as if the tenant had had this structure when it matched the reference.
    let stamp = "SELECT stamp FROM schema_stamp s JOIN schema_tracker t ON t.id = s.tenant WHERE t.name = 'tenant_02'";
    let old = db.string(&format!("SELECT ({stamp})::text"));
    assert!(drift_of(&db).contains(&"tenant_02 index.extra".to_owned()));
    db.execute("DROP INDEX tenant_02.tmp");
    db.tenantry(["health-check", "--remember"]).run().assert_code(0);
    assert_eq!(db.string(&format!("SELECT ({stamp})::text")), old, "the rows are what they were before");
    db.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'tenant_02.users_pkey'::regclass");
    assert!(drift_of(&db).contains(&"tenant_02 index.valid".to_owned()), "a row that was only updated counts");
    let full = db.tenantry(["health-check", "--full", "--format", "json"]).run();
    assert!(drift(&full).contains(&"tenant_02 index.valid".to_owned()));
}

/// A session with an open transaction.
fn hold(db: &Database, sql: &str) -> diesel::pg::PgConnection {
    let mut session = db.connect();
    session.batch_execute(&format!("BEGIN; {sql}")).expect("the change");
    session
}

/// Runs a check with --remember, and changes a tenant after its fingerprint was read and while it is read in full.
///
/// Both reads of a view wait for a lock on it. The first lock lets the check read the fingerprint, and the second one,
/// requested while the check waits for the first, makes it wait again.
fn check_while(db: &Database, tenant: &str, change: &str) -> Output {
    let lock = format!("LOCK TABLE {tenant}.open_tasks");
    let mut first = hold(db, &lock);
    let running = db.tenantry(["health-check", "--remember", "--format", "json"]).spawn();
    db.wait_for_waiters(1);
    let mut second = db.connect();
    let message = format!("BEGIN; {lock}; {change}");
    let mut second = thread::scope(|scope| {
        let requested = scope.spawn(move || {
            second.batch_execute(&message).expect("the change");
            second
        });
        db.wait_for_waiters(2);
        first.batch_execute("ROLLBACK").expect("the lock is released");
        requested.join().expect("the second lock")
    });
    db.wait_for_waiters(1);
    second.batch_execute("COMMIT").expect("the change");
    running.wait()
}

/// The tenants that a check reports as unchecked, with the reason.
fn unchecked(output: &Output) -> Vec<String> {
    let list = output.json()["unchecked"].as_array().expect("a list").clone();
    let text = |value: &Value| value.as_str().unwrap_or("database").to_owned();
    list.iter().map(|entry| format!("{}: {}", text(&entry["tenant"]), text(&entry["reason"]))).collect()
}

/// A fleet in which every tenant but the last has drifted in the same way, so that one of them represents the others.
fn drifted_fleet() -> Database {
    let db = large_fleet();
    let drift = (1..=12).map(|n| format!("CREATE INDEX tmp ON tenant_{n:02}.users (id);")).collect::<String>();
    db.execute(&drift);
    db
}

/// The tenants with stored stamps.
fn stamped(db: &Database) -> Vec<String> {
    db.strings("SELECT t.name FROM schema_stamp s JOIN schema_tracker t ON t.id = s.tenant ORDER BY 1")
}

#[test]
#[ignore = "long: make test-long"]
fn repair_of_a_representative_during_the_check_does_not_hide_drift() {
    let db = drifted_fleet();
    // Of equal tenants, the last one is read in full.
    let output = check_while(&db, "tenant_12", "DROP INDEX tenant_12.tmp");
    output.assert_code(1);
    let expected: Vec<String> = (1..=11).map(|n| format!("tenant_{n:02} index.extra")).collect();
    assert_eq!(drift(&output), expected, "{}", output.stdout);
    // If the wait for the lock took too long, the tenant is unchecked.
    assert!(unchecked(&output).iter().all(|line| line.starts_with("tenant_12: ")), "{}", output.stdout);
    assert!(stamped(&db).iter().all(|tenant| tenant == "tenant_12"), "no drifted tenant is remembered as healthy");
    assert_eq!(drift_of(&db), expected);
}

#[test]
#[ignore = "long: make test-long"]
fn drift_of_a_representative_during_the_check_is_not_attributed_to_others() {
    let db = large_fleet();
    let output = check_while(&db, "tenant_12", "CREATE INDEX tmp ON tenant_12.users (id)");
    let of_others = |lines: Vec<String>| lines.into_iter().find(|line| !line.starts_with("tenant_12"));
    assert_eq!(of_others(drift(&output)), None, "{}", output.stdout);
    assert_eq!(of_others(unchecked(&output)), None, "{}", output.stdout);
    assert!(!stamped(&db).contains(&"tenant_12".to_owned()), "what is remembered is from before the change");
    assert_eq!(stamped(&db).len(), 11);
    assert_eq!(drift_of(&db), ["tenant_12 index.extra"]);
}

#[test]
fn tenants_dropped_during_a_check_are_not_reported() {
    let db = drifted_fleet();
    let mut session = hold(
        &db,
        "LOCK TABLE tenant_12.open_tasks; DELETE FROM schema_tracker WHERE name IN ('tenant_05', 'tenant_12'); \
         DROP SCHEMA tenant_05 CASCADE; DROP SCHEMA tenant_12 CASCADE",
    );
    // Reading the ledgers waits for the drop.
    let running = db.tenantry(["health-check", "--format", "json"]).spawn();
    db.wait_for_waiters(1);
    session.batch_execute("COMMIT").expect("the change");
    let output = running.wait();
    output.assert_code(1);
    let gone = |line: &String| line.starts_with("tenant_05") || line.starts_with("tenant_12");
    assert!(!drift(&output).iter().any(gone), "{}", output.stdout);
    assert_eq!(unchecked(&output), [""; 0]);
    assert_eq!(output.json()["checked"], 10);
}

#[test]
#[ignore = "long: make test-long"]
fn check_during_concurrent_drops_does_not_fail() {
    let names: Vec<String> = (1..=40).map(|n| format!("tenant_{n:02}")).collect();
    let db = fleet(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let dropping = db.tenantry(["drop", "--yes"]).args(&names[10..]).args(["--jobs", "2"]).spawn();
    let left = || db.count("SELECT count(*) FROM schema_tracker");
    while left() > 10 {
        let output = db.tenantry(["health-check", "--allow-unchecked", "--format", "json"]).run();
        assert!(matches!(output.code, Some(0 | 1)), "{}", output.stderr);
        assert!(drift(&output).iter().all(|line| line.ends_with(" -")), "nothing drifts: {}", output.stdout);
    }
    dropping.wait().assert_code(0);
    db.tenantry(["health-check"]).run().assert_code(0);
}

#[test]
#[ignore = "long: make test-long"]
fn unreadable_tenant_is_unchecked_and_not_healthy() {
    let db = fleet(&["acme", "globex"]);
    let _session = hold(&db, "LOCK TABLE acme.open_tasks");
    let run = |args: &[&str]| db.tenantry(["health-check"]).args(args).run();
    let output = run(&["--format", "json"]);
    output.assert_code(1);
    let why = unchecked(&output);
    assert_eq!(why.len(), 1, "{why:?}");
    assert!(why[0].starts_with("acme: the structure cannot be read: "), "{why:?}");
    assert_eq!(output.json()["healthy"], false);
    assert_eq!(
        (&output.json()["checked"], &output.json()["tenants_with_findings"]),
        (&Value::from(1), &Value::from(0))
    );
    run(&["--allow-unchecked"]).assert_code(0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.xml");
    let junit = |args: &[&str]| {
        run(&[&["--junit", path.to_str().unwrap()], args].concat());
        fs::read_to_string(&path).unwrap()
    };
    assert!(junit(&[]).contains("<error message=\"not checked: "), "{}", junit(&[]));
    assert!(junit(&["--allow-unchecked"]).contains("<skipped message=\"not checked: "));
}

#[test]
#[ignore = "long: make test-long"]
fn stamps_do_not_depend_on_the_number_of_tenants() {
    // Above this number of tenants, the catalogs are scanned instead of read by index.
    let names: Vec<String> = (1..=101).map(|n| format!("t{n:03}")).collect();
    let db = fleet(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let extra = "CREATE TYPE t101.pair AS (a int, b int); CREATE TYPE t101.mood AS ENUM ('ok'); \
         CREATE TYPE t101.span AS RANGE (subtype = int); CREATE DOMAIN t101.small AS int CHECK (value < 9); \
         CREATE FUNCTION t101.f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; \
         CREATE AGGREGATE t101.total(int) (sfunc = int4pl, stype = int); \
         CREATE OPERATOR t101.### (leftarg = int, rightarg = int, function = int4pl); \
         CREATE COLLATION t101.c FROM \"C\"; CREATE MATERIALIZED VIEW t101.m AS SELECT 1 AS i; \
         CREATE STATISTICS t101.s ON id, email FROM t101.users; \
         CREATE TEXT SEARCH CONFIGURATION t101.ts (COPY = simple); \
         CREATE OPERATOR FAMILY t101.family USING btree; COMMENT ON TYPE t101.mood IS 'x'; \
         CREATE TABLE t101.parted (i int, e t101.mood[]) PARTITION BY LIST (i); \
         CREATE TABLE t101.part PARTITION OF t101.parted FOR VALUES IN (1); \
         ALTER DEFAULT PRIVILEGES IN SCHEMA t101 GRANT SELECT ON TABLES TO PUBLIC";
    db.execute(extra);
    let output = db.tenantry(["health-check", "--format", "json"]).run();
    assert_eq!(unchecked(&output), [""; 0], "a tenant that did not change is compared");
    assert_eq!(output.json()["checked"], 101);
    assert!(drift(&output).iter().all(|line| line.starts_with("t101 ")), "{}", output.stdout);
}

#[test]
#[ignore = "long: make test-long"]
fn committed_reference_schema_is_dropped() {
    let db = fleet(&[]);
    let dir = must_commit(Dir::copy_of_tenant());
    let run = |args: &[&str]| db.tenantry(args).arg("--tenant-migrations").arg(dir.path()).run();
    let schemas = || db.count("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'tenantry\\_reference%'");
    run(&["health-check"]).assert_code(0);
    assert_eq!(schemas(), 0);
    run(&["create", "acme"]).assert_code(0);
    run(&["health-check"]).assert_code(0);
    run(&["diff", "acme"]).assert_code(0);
    assert_eq!(schemas(), 0);

    // The next run drops the schema that a killed run left, and keeps one that only resembles it.
    let comment = "'tenantry: a reference that is being made; it is dropped again'";
    let left = "tenantry_reference_0123456789abcdef0123456789abcdef";
    db.execute(&format!(
        "CREATE SCHEMA {left}; CREATE TABLE {left}.t (i int); COMMENT ON SCHEMA {left} IS {comment}; \
         CREATE SCHEMA tenantry_reference_fedcba9876543210fedcba9876543210; \
         CREATE SCHEMA tenantry_reference_mine; COMMENT ON SCHEMA tenantry_reference_mine IS {comment}"
    ));
    run(&["diff", "acme"]).assert_code(0);
    assert_eq!(schemas(), 2);
    // A schema that a session still uses is kept.
    db.execute(&format!("CREATE SCHEMA {left}; COMMENT ON SCHEMA {left} IS {comment}"));
    let mut user = db.connect();
    let key = format!("hashtextextended('tenantry reference:{left}', 0)");
    diesel::connection::SimpleConnection::batch_execute(&mut user, &format!("SELECT pg_advisory_lock({key})")).unwrap();
    run(&["health-check"]).assert_code(0);
    assert_eq!(schemas(), 3);
}

#[test]
fn failed_reference_leaves_no_schema() {
    let db = fleet(&["acme"]);
    let dir = must_commit(Dir::copy_of_tenant()).add("20990104000000_broken", "CREATE TABLE broken (i no_such_type);");
    let output = db.tenantry(["health-check", "--tenant-migrations"]).arg(dir.path()).run();
    output.assert_code(1);
    assert!(output.stdout.contains("20990104000000_broken failed in an empty schema"), "{}", output.stdout);
    assert_eq!(db.count("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'tenantry\\_reference%'"), 0);
}

#[test]
fn reference_that_cannot_be_built_is_an_error() {
    let db = fleet(&["acme"]);
    let url = url_of_a_stranger(&db);
    assert_snapshot!(db.tenantry(["reference"]).env("DATABASE_URL", &url).run(), @r#"
        --- stderr
        error: cannot build the reference schema: role stranger_DATABASE cannot create schemas in database DATABASE
        hint: GRANT CREATE ON DATABASE "DATABASE" TO "stranger_DATABASE", or compare with a saved reference (--reference FILE)
        --- exit 3
    "#);
    let dir = Dir::copy_of_tenant().add("20990101000000_broken", "CREATE TABLE broken (i no_such_type);");
    let with_dir = |args: &[&str]| db.tenantry(args).arg("--tenant-migrations").arg(dir.path()).run();
    assert_snapshot!(with_dir(&["reference"]), @r#"
        --- stderr
        error: cannot build the reference schema: migration 20990101000000_broken failed in an empty schema: type "no_such_type" does not exist
        hint: correct 20990101000000_broken/up.sql
        --- exit 3
    "#);
    assert_snapshot!(with_dir(&["diff", "acme"]).assert_code(3), @r#"
        --- stderr
        error: cannot build the reference schema: migration 20990101000000_broken failed in an empty schema: type "no_such_type" does not exist
        hint: correct 20990101000000_broken/up.sql
        --- exit 3
    "#);
}

#[test]
fn missing_privilege_is_reported_with_its_grant() {
    let db = fleet(&["acme"]);
    let stranger = format!("stranger_{}", db.name());
    let url = url_of_a_stranger(&db);
    db.execute("CREATE TABLE public.plans (id int PRIMARY KEY)");
    let dir = Dir::copy_of_tenant()
        .add("20990101000000_plan", "ALTER TABLE users ADD COLUMN plan int REFERENCES public.plans (id)");
    let stderr = || {
        let run = db.tenantry(["reference", "--tenant-migrations"]).arg(dir.path()).env("DATABASE_URL", &url).run();
        run.assert_code(3).stderr.clone()
    };
    let without_create = stderr();
    let name = db.name();
    assert!(without_create.contains(&format!("role {stranger} cannot create schemas in database {name}")));
    assert!(without_create.contains(&format!("GRANT CREATE ON DATABASE \"{name}\" TO \"{stranger}\"")));
    db.execute(&format!("GRANT CREATE ON DATABASE {name} TO {stranger}"));
    let without_references = stderr();
    let expected =
        format!("role {stranger} cannot run migration 20990101000000_plan: permission denied for table plans");
    assert!(without_references.contains(&expected), "{without_references}");
    let expected = format!("GRANT SELECT, REFERENCES ON TABLE \"plans\" TO \"{stranger}\"");
    assert!(without_references.contains(&expected), "{without_references}");
}

#[test]
#[ignore = "long: make test-long"]
fn role_that_checks_may_differ_from_the_owner() {
    let db = fleet(&[]);
    let (owner, reader) = (format!("owner_of_{}", db.name()), format!("reader_of_{}", db.name()));
    db.execute(&format!(
        "CREATE ROLE {owner} LOGIN; CREATE ROLE {reader}; GRANT CREATE ON DATABASE {} TO {owner}; \
         GRANT ALL ON ALL TABLES IN SCHEMA public TO {owner}; \
         ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT SELECT ON TABLES TO {reader}",
        db.name()
    ));
    let url = db.url().replace("postgresql://postgres@", &format!("postgresql://{owner}@"));
    db.tenantry(["create", "acme", "globex", "initech", "umbrella"]).env("DATABASE_URL", &url).run().assert_code(0);
    // The superuser runs the check as the owner; otherwise every owner and grant would differ.
    assert_eq!(drift_of(&db), [""; 0]);
    // An unprivileged role cannot become the owner, but the reference that it saves has the owner's privileges
    // nevertheless.
    let url_of_stranger = url_of_a_stranger(&db);
    let stranger = format!("stranger_{}", db.name());
    db.execute(&format!("GRANT CREATE ON DATABASE {} TO {stranger}", db.name()));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("reference.jsonl");
    let save = db.tenantry(["reference", "--output"]).arg(&file).env("DATABASE_URL", &url_of_stranger).run();
    save.assert_code(0);
    db.tenantry(["diff", "acme", "--ignore", "*.grants", "--reference"]).arg(&file).run().assert_code(0);
    db.execute("ALTER TABLE acme.users OWNER TO postgres; ALTER SCHEMA globex OWNER TO postgres");
    assert_eq!(
        drift_of(&db),
        ["acme sequence.owner", "acme table.owner", "globex schema.owner"],
        "of a schema that changed hands, its objects are still whose they should be"
    );
    db.execute(&format!("DROP OWNED BY {owner} CASCADE; DROP OWNED BY {reader}; DROP ROLE {owner}, {reader}"));
}

/// One thing that can be in a schema; the first number distinguishes it from others of its kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Piece {
    Column(u8, u8),
    NotNull(u8),
    Default(u8, u8),
    Index(u8, u8),
    Check(u8, u8),
    Comment(u8, u8),
}

impl Piece {
    /// Objects that exist at most once.
    fn place(&self) -> (u8, u8) {
        match self {
            Self::Column(n, _) => (0, *n),
            Self::NotNull(n) => (1, *n),
            Self::Default(n, _) => (2, *n),
            Self::Index(n, _) => (3, *n),
            Self::Check(n, _) => (4, *n),
            Self::Comment(n, _) => (5, *n),
        }
    }

    fn sql(&self) -> String {
        match self {
            Self::Column(n, size) => format!("ALTER TABLE t ADD COLUMN x{n} varchar({})", size + 1),
            Self::NotNull(n) => format!("ALTER TABLE t ALTER COLUMN c{n} SET NOT NULL"),
            Self::Default(n, value) => format!("ALTER TABLE t ALTER COLUMN c{n} SET DEFAULT {value}"),
            Self::Index(n, column) => format!("CREATE INDEX i{n} ON t (c{column})"),
            Self::Check(n, value) => format!("ALTER TABLE t ADD CONSTRAINT k{n} CHECK (c0 > {value})"),
            Self::Comment(n, value) => format!("COMMENT ON COLUMN t.c{n} IS 'v{value}'"),
        }
    }
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let piece = prop_oneof![
        (0..4u8, 0..3u8).prop_map(|(n, size)| Piece::Column(n, size)),
        (0..4u8).prop_map(Piece::NotNull),
        (0..4u8, 0..3u8).prop_map(|(n, value)| Piece::Default(n, value)),
        (0..4u8, 0..4u8).prop_map(|(n, column)| Piece::Index(n, column)),
        (0..4u8, 0..3u8).prop_map(|(n, value)| Piece::Check(n, value)),
        (0..4u8, 0..3u8).prop_map(|(n, value)| Piece::Comment(n, value)),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| {
        let mut places = HashSet::new();
        pieces.into_iter().filter(|piece| places.insert(piece.place())).collect()
    })
}

/// Columns keep their order; all other objects come in any order.
fn by_another_path(pieces: &[Piece]) -> Vec<Piece> {
    let (columns, mut others): (Vec<Piece>, Vec<Piece>) =
        pieces.iter().cloned().partition(|piece| matches!(piece, Piece::Column(..)));
    others.reverse();
    others.into_iter().chain(columns).collect()
}

#[test]
#[ignore = "long: make test-long"]
fn structure_comparison_does_not_depend_on_statement_order() {
    let db = Database::new();
    let connector = crate::support::connector(&db.url());
    let connected = RefCell::new(Connected::connect(connector, 2).unwrap());
    let version = connected.borrow().server().version;
    let make = |schema: &str, pieces: &[Piece]| {
        let statements: Vec<String> = pieces.iter().map(Piece::sql).collect();
        db.execute(&format!(
            "DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}; SET search_path TO {schema}; \
             CREATE TABLE t (c0 int, c1 int, c2 int, c3 int); {}; RESET search_path",
            statements.join("; ")
        ));
    };
    let check = |one: &[Piece], other: &[Piece]| -> (bool, bool) {
        make("one", one);
        make("other_one", other);
        let oids: Vec<u32> = ["one", "other_one"]
            .iter()
            .map(|name| db.count(&format!("SELECT '{name}'::regnamespace::oid::bigint")) as u32)
            .collect();
        let mut read = structure::read(connected.borrow_mut().connection(), version, &oids).unwrap();
        let (one, other): (Structure, Structure) = (read.remove(&oids[0]).unwrap(), read.remove(&oids[1]).unwrap());
        let same = compare(&one.with_name_marked(), &other, &HashSet::new()).is_empty();
        let fingerprints = structure::fingerprints(&mut connected.borrow_mut(), &oids).unwrap();
        (same, fingerprints[&oids[0]] == fingerprints[&oids[1]])
    };
    let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    runner
        .run(&(pieces(), any::<prop::sample::Index>()), |(pieces, index)| {
            prop_assert_eq!(check(&pieces, &by_another_path(&pieces)), (true, true));
            if !pieces.is_empty() {
                let mut fewer = pieces.clone();
                fewer.remove(index.index(pieces.len()));
                prop_assert_eq!(check(&pieces, &fewer), (false, false));
            }
            Ok(())
        })
        .unwrap();
}
