//! The reference: how migrations are replayed, what remains afterwards, and the settings under which structures are
//! read.

use serde_json::Value;

use crate::support::migrations::Dir;
use crate::support::{Database, Output, fleet, run_with, set_up};

/// The findings of a health check as `tenant code`.
fn findings(output: &Output) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let json = output.json();
    assert_eq!(json["unchecked"].as_array().map(Vec::len), Some(0), "{}", output.stdout);
    let findings = json["findings"].as_array().expect("a list");
    findings.iter().map(|finding| format!("{} {}", text(&finding["tenant"]), text(&finding["code"]))).collect()
}

/// A deferrable foreign key, rows, and a change of the table in the next migration, as Django writes them.
fn deferrable() -> Dir {
    Dir::new()
        .add(
            "1_tables",
            "CREATE TABLE parent (id int PRIMARY KEY); \
             CREATE TABLE child (id int PRIMARY KEY, \
                 parent_id int CONSTRAINT child_parent_fk REFERENCES parent DEFERRABLE INITIALLY DEFERRED);",
        )
        .add("2_rows", "INSERT INTO child VALUES (1, 1); INSERT INTO parent VALUES (1);")
        .add("3_column", "ALTER TABLE child ADD COLUMN note text;")
        // The constraint is deferred again.
        .add("4_more", "INSERT INTO child VALUES (2, 2); INSERT INTO parent VALUES (2);")
        .add("5_index", "CREATE INDEX child_note_idx ON child (note);")
}

#[test]
#[ignore = "long: make test-long"]
fn deferred_constraints_are_checked_at_commit() {
    let db = set_up();
    let migrations = deferrable();
    run_with(&db, &migrations, &["create", "acme", "globex"]).assert_code(0);
    run_with(&db, &migrations, &["health-check"]).assert_code(0);
    run_with(&db, &migrations, &["diff", "acme"]).assert_code(0);
    run_with(&db, &migrations, &["migrate-all", "--verify"]).assert_code(0);
    let next = deferrable().add("6_next", "CREATE TABLE next (i int);");
    run_with(&db, &next, &["migrate-all", "--verify", "--canary", "1"]).assert_code(0);
    db.execute("DROP TABLE acme.child");
    let check = run_with(&db, &next, &["health-check", "--format", "json"]);
    check.assert_code(1);
    assert_eq!(findings(&check), ["acme table.missing"]);
    assert_eq!(scratch_schemas(&db), 0);
}

#[test]
fn deferred_constraints_alone_need_no_commit() {
    let db = set_up();
    let role = format!("single_{}", db.name());
    db.execute(&format!(
        "CREATE ROLE {role} LOGIN CONNECTION LIMIT 1; GRANT CREATE ON DATABASE {} TO {role}; \
         GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
        db.name()
    ));
    let url = db.url().replace("postgresql://postgres@", &format!("postgresql://{role}@"));
    let reference = |migrations: &Dir| {
        db.tenantry(["reference", "--tenant-migrations"]).arg(migrations.path()).env("DATABASE_URL", &url).run()
    };
    reference(&deferrable()).assert_code(0);
    // A replay that commits needs its own connection, which this role cannot open.
    reference(&must_commit(Dir::new())).assert_code(5);
    db.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn violated_deferred_constraint_fails_the_replay() {
    let db = set_up();
    let migrations = deferrable().add("6_orphan", "INSERT INTO child VALUES (3, 3);");
    run_with(&db, &migrations, &["create", "acme"]).assert_code(1);
    let check = run_with(&db, &migrations, &["health-check"]);
    check.assert_code(1);
    assert!(check.stdout.contains("migration 6_orphan failed in an empty schema"), "{}", check.stdout);
    assert_eq!(scratch_schemas(&db), 0);
}

#[test]
fn constraint_deferred_by_dynamic_sql_is_committed() {
    let db = set_up();
    // The text does not show that a constraint is deferrable, or that rows are written.
    let migrations = Dir::new()
        .add("1_tables", "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int, parent_id int);")
        .add(
            "2_rows",
            "DO $$ BEGIN \
                 EXECUTE 'ALTER TABLE child ADD FOREIGN KEY (parent_id) REFERENCES parent DEFERRABLE INITIALLY DEFERRED'; \
                 SET CONSTRAINTS ALL DEFERRED; INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1, 1); \
             END $$;",
        )
        .add("3_column", "ALTER TABLE child ADD COLUMN note text;");
    let output = run_with(&db, &migrations, &["reference"]);
    output.assert_code(0);
    assert!(output.stdout.contains("\"name\":\"note\""), "{}", output.stdout);
    assert_eq!(scratch_schemas(&db), 0);
}

/// A new enum value that only a `DO` block adds, and its use.
fn enum_by_code() -> Dir {
    Dir::new()
        .add("1_type", "CREATE TYPE role AS ENUM ('admin'); CREATE TABLE t (role role);")
        .add("2_value", "DO $$ BEGIN ALTER TYPE role ADD VALUE 'guest'; END $$;")
}

#[test]
#[ignore = "long: make test-long"]
fn enum_value_added_by_dynamic_sql_is_committed_before_use() {
    let db = set_up();
    run_with(&db, &enum_by_code(), &["create", "acme"]).assert_code(0);
    let migrations = enum_by_code().add("3_use", "ALTER TABLE t ALTER COLUMN role SET DEFAULT 'guest';");
    run_with(&db, &migrations, &["migrate-all", "--verify"]).assert_code(0);
    let check = run_with(&db, &migrations, &["health-check", "--format", "json"]);
    assert_eq!(findings(&check), [""; 0]);
    run_with(&db, &migrations, &["diff", "acme"]).assert_code(0);
    assert_eq!(scratch_schemas(&db), 0);
    // Its own failure is reported with the server's message.
    let broken = migrations.add("4_broken", "CREATE TABLE broken (i no_such_type);");
    let check = run_with(&db, &broken, &["health-check"]);
    check.assert_code(1);
    assert!(
        check.stdout.contains("migration 4_broken failed in an empty schema: type \"no_such_type\" does not exist"),
        "{}",
        check.stdout
    );
}

fn scratch_schemas(db: &Database) -> i64 {
    db.count("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'tenantry\\_reference%'")
}

/// The tenant migrations of this repository, followed by those of [`deferrable`].
fn deferrable_in_copy() -> Dir {
    Dir::copy_of_tenant()
        .add(
            "20980101000000_tables",
            "CREATE TABLE parent (id int PRIMARY KEY); \
             CREATE TABLE child (id int, parent_id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);",
        )
        .add("20980102000000_rows", "INSERT INTO child VALUES (1, 1); INSERT INTO parent VALUES (1);")
        .add("20980103000000_column", "ALTER TABLE child ADD COLUMN note text;")
}

/// Adds migrations whose replay must commit: the deferred constraint cannot be deferred by name, because a constraint
/// that is not deferrable has the same name.
pub(crate) fn must_commit(migrations: Dir) -> Dir {
    migrations
        .add(
            "20990101000000_same",
            "CREATE TABLE p (i int PRIMARY KEY); \
             CREATE TABLE c (i int CONSTRAINT same REFERENCES p DEFERRABLE INITIALLY DEFERRED); \
             CREATE TABLE d (i int CONSTRAINT same REFERENCES p);",
        )
        .add("20990102000000_rows", "INSERT INTO c VALUES (1); INSERT INTO p VALUES (1);")
        .add("20990103000000_column", "ALTER TABLE c ADD COLUMN note text;")
}

#[test]
fn session_state_of_a_migration_ends_with_the_replay() {
    let db = set_up();
    let plain = must_commit(Dir::new());
    // The lock and the prepared statement outlast a rollback, and would block the replay that commits. Only dynamic SQL
    // can do this: the loader refuses it in plain text.
    let leaving = must_commit(Dir::new()).add(
        "20250101000000_session",
        "DO $$ BEGIN \
             EXECUTE 'SELECT set_' || 'config(''DateStyle'', ''German'', false)'; \
             EXECUTE 'SELECT set_' || 'config(''quote_all_identifiers'', ''on'', false)'; \
             EXECUTE 'SELECT set_' || 'config(''standard_conforming_strings'', ''off'', false)'; \
             EXECUTE 'SELECT pg_advisory_' || 'lock(4711)'; \
             EXECUTE 'PREP' || 'ARE left_behind AS SELECT 1'; \
         END $$;",
    );
    let objects = |migrations: &Dir| -> Vec<String> {
        let output = run_with(&db, migrations, &["reference"]);
        output.assert_code(0);
        output.stdout.lines().skip(1).map(str::to_owned).collect()
    };
    assert_eq!(objects(&leaving), objects(&plain));
}

#[test]
fn committing_replay_runs_as_the_tenant_owner() {
    let db = set_up();
    let (owner, reader) = (format!("owner_of_{}", db.name()), format!("reader_of_{}", db.name()));
    db.execute(&format!(
        "CREATE ROLE {owner} LOGIN; CREATE ROLE {reader}; GRANT CREATE ON DATABASE {} TO {owner}; \
         GRANT ALL ON ALL TABLES IN SCHEMA public TO {owner}; \
         ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT SELECT ON TABLES TO {reader}",
        db.name()
    ));
    let url = db.url().replace("postgresql://postgres@", &format!("postgresql://{owner}@"));
    let migrations = must_commit(Dir::new().add("1_notes", "CREATE TABLE notes (i int);"));
    let create = db.tenantry(["create", "acme", "globex", "--tenant-migrations"]).arg(migrations.path());
    create.env("DATABASE_URL", &url).run().assert_code(0);
    assert_eq!(findings(&run_with(&db, &migrations, &["health-check", "--format", "json"])), [""; 0]);
    assert_eq!(scratch_schemas(&db), 0);
    // A member that does not inherit the owner's privileges can do it as well, and can drop what was left behind.
    let member = format!("member_of_{}", db.name());
    let left = "tenantry_reference_0123456789abcdef0123456789abcdef";
    db.execute(&format!(
        "CREATE ROLE {member} LOGIN NOINHERIT IN ROLE {owner}; GRANT CREATE ON DATABASE {} TO {member}; \
         GRANT SELECT ON ALL TABLES IN SCHEMA public TO {member}; \
         GRANT USAGE ON SCHEMA acme, globex TO {member}; \
         GRANT SELECT ON acme.__diesel_schema_migrations, globex.__diesel_schema_migrations TO {member}; \
         CREATE SCHEMA {left} AUTHORIZATION {owner}; \
         COMMENT ON SCHEMA {left} IS 'tenantry: a reference that is being made; it is dropped again'",
        db.name()
    ));
    let url = db.url().replace("postgresql://postgres@", &format!("postgresql://{member}@"));
    let check = db.tenantry(["diff", "acme", "--ignore", "*.grants", "--tenant-migrations"]).arg(migrations.path());
    check.env("DATABASE_URL", &url).run().assert_code(0);
    assert_eq!(scratch_schemas(&db), 0);
    db.execute(&format!(
        "DROP OWNED BY {member}; DROP OWNED BY {owner} CASCADE; DROP OWNED BY {reader}; \
         DROP ROLE {member}, {owner}, {reader}"
    ));
}

/// Everything that the database stores: the rows of its catalogs except the statistics, the rows of each table, and the
/// position of each sequence.
fn contents(db: &Database) -> Vec<String> {
    let queries = db.strings(
        "SELECT format('SELECT %L || md5(coalesce(string_agg(t::text, '' '' ORDER BY t::text COLLATE \"C\"), '''')) FROM %s t', \
             oid::regclass || ' ', oid::regclass) \
         FROM pg_class WHERE relkind IN ('r', 'm') AND relpersistence <> 't' AND NOT relisshared \
           AND relname !~ '^pg_statistic' AND relnamespace <> 'information_schema'::regnamespace \
         UNION ALL SELECT format('SELECT %L || (s.last_value, s.is_called)::text FROM %s s', oid::regclass || ' ', oid::regclass) \
         FROM pg_class WHERE relkind = 'S'",
    );
    db.strings(&format!("{} ORDER BY 1", queries.join(" UNION ALL ")))
}

/// The commands that only read.
const READ_ONLY: [&[&str]; 15] = [
    &["health-check"],
    &["health-check", "--full"],
    &["diff", "acme"],
    &["diff", "acme", "globex"],
    &["repair-plan", "acme"],
    &["reference"],
    &["list"],
    &["migrate-all", "--dry-run"],
    &["migrate-one", "acme", "--dry-run"],
    &["revert-all", "--steps", "1", "--dry-run"],
    &["revert-one", "acme", "--steps", "1", "--dry-run"],
    &["drop", "acme", "--dry-run"],
    &["cleanup", "--dry-run"],
    &["migrate-all", "--verify"],
    &["migrate-all", "--canary", "1"],
];

#[test]
#[ignore = "long: make test-long"]
fn read_only_commands_leave_the_database_unchanged() {
    let db = fleet(&["acme", "globex"]);
    for migrations in [deferrable_in_copy(), must_commit(deferrable_in_copy())] {
        run_with(&db, &migrations, &["migrate-all"]).assert_code(0);
        for command in READ_ONLY {
            let before = contents(&db);
            let output = run_with(&db, &migrations, command);
            assert_ne!(output.code, Some(2), "{}", output.stderr);
            let after = contents(&db);
            // The record of runs shows that the tenants were verified.
            let is_recorded = |line: &&String| command[0] == "migrate-all" && line.starts_with("schema_run");
            let changed: Vec<&String> =
                after.iter().filter(|line| !before.contains(line)).filter(|line| !is_recorded(line)).collect();
            assert!(changed.is_empty() && after.len() == before.len(), "{command:?} changed {changed:?}");
        }
    }
}

#[test]
#[ignore = "long: make test-long"]
fn replay_changes_nothing_outside_its_schema() {
    let db = fleet(&[]);
    db.execute("CREATE TABLE public.plan (tenant text)");
    let outside = |migrations: Dir| {
        migrations.add(
            "20970101000000_plan",
            "INSERT INTO public.plan VALUES (current_schema()); CREATE TABLE plans (i int);",
        )
    };
    let declared = |migrations: Dir| {
        outside(migrations).metadata("run_in_transaction = true\nchanges_outside = \"each tenant has a plan\"")
    };
    let before = contents(&db);
    let run = |migrations: &Dir| {
        let reference = run_with(&db, migrations, &["reference"]);
        let health = run_with(&db, migrations, &["health-check", "--format", "json"]);
        assert_eq!(contents(&db), before);
        assert_eq!(scratch_schemas(&db), 0);
        (reference, health)
    };
    let names_it = "migration 20970101000000_plan changes objects outside the tenant's schema: table public.plan";
    for undeclared in [outside(Dir::copy_of_tenant()), must_commit(outside(Dir::new()))] {
        let (reference, health) = run(&undeclared);
        reference.assert_code(3);
        assert!(reference.stderr.contains(names_it), "{}", reference.stderr);
        health.assert_code(1);
        assert_eq!(findings(&health), ["- reference-failed"]);
    }
    // It is rolled back.
    let (reference, health) = run(&declared(Dir::copy_of_tenant()));
    assert!(reference.assert_code(0).stdout.contains("\"name\":\"plans\""));
    health.assert_code(0);
    let (reference, health) = run(&must_commit(declared(Dir::new())));
    reference.assert_code(3);
    let why = "the migrations must be committed one by one, and 20970101000000_plan changes objects outside the tenant's schema";
    assert!(reference.stderr.contains(why), "{}", reference.stderr);
    assert_eq!(health.json()["unchecked"], serde_json::json!([]), "there is no tenant");
    db.execute("INSERT INTO schema_tracker (name) VALUES ('acme')");
    let health = run_with(&db, &must_commit(declared(Dir::new())), &["health-check", "--format", "json"]);
    health.assert_code(1);
    let unchecked = serde_json::json!([{ "tenant": "acme", "reason": format!("no reference: {why}") }]);
    assert_eq!(health.json()["unchecked"], unchecked);
}

/// Settings that affect how the server writes or reads constants and names, each with a value other than the default.
const SETTINGS: [(&str, &str); 16] = [
    ("quote_all_identifiers", "on"),
    ("standard_conforming_strings", "off"),
    ("DateStyle", "'German, DMY'"),
    ("IntervalStyle", "sql_standard"),
    ("TimeZone", "'Asia/Kathmandu'"),
    ("extra_float_digits", "-10"),
    ("bytea_output", "escape"),
    ("lc_monetary", "'C.UTF-8'"),
    ("array_nulls", "off"),
    ("backslash_quote", "on"),
    ("escape_string_warning", "off"),
    ("xmlbinary", "hex"),
    ("xmloption", "document"),
    ("transform_null_equals", "on"),
    ("row_security", "off"),
    ("search_path", "information_schema, pg_catalog"),
];

/// A migration with a constant for each of the [`SETTINGS`] that affect constants. Its parsing depends on none of them.
fn constants() -> Dir {
    Dir::new().add(
        "1_constants",
        r#"CREATE TABLE comments (id int);
           CREATE TABLE constants (
               d date DEFAULT '2020-01-31'::date,
               t timestamptz DEFAULT '2020-01-31 12:00:00+00'::timestamptz,
               i interval DEFAULT '1 year 2 days 03:04:05'::interval,
               f double precision DEFAULT '0.1234567890123456'::float8,
               b bytea DEFAULT E'\\x01ff'::bytea,
               m money DEFAULT '1234.50'::money,
               s text DEFAULT E'a\\b''c',
               "Quoted name" int CHECK ("Quoted name" > 0)
           );
           CREATE TABLE parted (at timestamptz) PARTITION BY RANGE (at);
           CREATE TABLE part PARTITION OF parted FOR VALUES FROM ('2020-01-01 00:00:00+00') TO ('2021-01-01 00:00:00+00');
           CREATE VIEW recent AS SELECT d, s FROM constants WHERE t > '2020-06-01 00:00:00+00'::timestamptz;
           CREATE INDEX constants_idx ON constants (t) WHERE d > '2020-02-01'::date;"#,
    )
}

#[test]
#[ignore = "long: make test-long"]
fn settings_of_role_and_database_do_not_affect_findings() {
    let db = set_up();
    let migrations = constants();
    // Enough tenants to be read by fingerprint, some with names that need quotes.
    let mut names: Vec<String> = (1..=10).map(|number| format!("tenant_{number:02}")).collect();
    names.extend(["Upper".to_owned(), "order_x".to_owned()]);
    let mut create = vec!["create"];
    create.extend(names.iter().map(String::as_str));
    run_with(&db, &migrations, &create).assert_code(0);
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("reference.jsonl");
    let saved = saved.to_str().unwrap();
    run_with(&db, &migrations, &["reference", "--output", saved]).assert_code(0);

    // Ten of the tenants match the reference.
    db.execute("DROP TABLE tenant_01.comments; DROP TABLE \"Upper\".comments");
    let missing = ["Upper table.missing", "tenant_01 table.missing"];
    let json = ["health-check", "--format", "json"];
    let check = |setting: &str| {
        assert_eq!(findings(&run_with(&db, &migrations, &json)), missing, "{setting}");
        let diff = run_with(&db, &migrations, &["diff", "tenant_02", "--reference", saved]);
        assert_eq!(diff.code, Some(0), "{setting}: {}", diff.stdout);
    };
    for (setting, value) in SETTINGS {
        db.execute(&format!("ALTER DATABASE {} SET {setting} TO {value}", db.name()));
        check(setting);
        db.execute(&format!("ALTER DATABASE {} RESET {setting}", db.name()));
    }
    // All settings together, for a role.
    for (setting, value) in SETTINGS {
        db.execute(&format!("ALTER ROLE postgres IN DATABASE {} SET {setting} TO {value}", db.name()));
    }
    check("all");
    let against_file = ["health-check", "--reference", saved, "--format", "json"];
    assert_eq!(findings(&run_with(&db, &migrations, &against_file)), missing);
    for (tenant, code) in [("Upper", 1), ("tenant_01", 1), ("order_x", 0)] {
        run_with(&db, &migrations, &["diff", tenant]).assert_code(code);
        run_with(&db, &migrations, &["diff", tenant, "--reference", saved]).assert_code(code);
    }
    // The plan covers exactly the dropped objects.
    let plan = run_with(&db, &migrations, &["repair-plan", "Upper"]);
    assert_eq!(plan.stdout.matches("CREATE TABLE").count(), 1, "{}", plan.stdout);
    assert!(plan.stdout.contains("No differences remain"), "{}", plan.stdout);
}
