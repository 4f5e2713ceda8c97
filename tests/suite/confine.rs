//! Confinement: a migration changes nothing outside its tenant's schema unless it declares so, and leaves no state to
//! the next migration, ledger or tenant.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::migrations::Dir;
use crate::support::{Database, Output, exhaustive, set_up, with};

/// Runs a command without retries.
fn run_once(db: &Database, migrations: &Dir, args: &[&str]) -> Output {
    with(db, migrations, args).env("TENANTRY_RETRIES", "0").run()
}

/// Everything outside the tenants: the objects with their catalog rows, and the rows of the tables.
fn outside(db: &Database) -> Vec<String> {
    db.strings(
        "SELECT concat_ws(' ', d.class, d.id, d.state) FROM ( \
             SELECT 'relation' AS class, c.oid::text AS id, c.xmin::text || ' ' || c.relname AS state FROM pg_class c \
                 WHERE c.relnamespace IN ('public'::regnamespace, 'shared'::regnamespace) AND c.relname NOT LIKE 'schema\\_%' \
             UNION ALL SELECT 'function', p.oid::text, p.xmin::text FROM pg_proc p \
                 WHERE p.pronamespace IN ('public'::regnamespace, 'shared'::regnamespace) \
             UNION ALL SELECT 'type', t.oid::text, t.xmin::text FROM pg_type t \
                 WHERE t.typnamespace IN ('public'::regnamespace, 'shared'::regnamespace) AND t.typname !~ '^_?schema_' \
             UNION ALL SELECT 'enum', e.oid::text, e.xmin::text FROM pg_enum e \
             UNION ALL SELECT 'schema', n.oid::text, n.xmin::text FROM pg_namespace n WHERE n.nspname !~ '^(pg_|acme$)' \
             UNION ALL SELECT 'role', r.oid::text, r.rolname FROM pg_roles r WHERE r.rolname = 'confined_role' \
             UNION ALL SELECT 'extension', e.oid::text, e.xmin::text FROM pg_extension e \
             UNION ALL SELECT 'default privileges', a.oid::text, a.xmin::text FROM pg_default_acl a WHERE a.defaclnamespace = 0 \
             UNION ALL SELECT 'cast', k.oid::text, k.xmin::text FROM pg_cast k WHERE k.oid >= 16384 \
             UNION ALL SELECT 'settings', s.setdatabase::text, s.setconfig::text FROM pg_db_role_setting s \
             UNION ALL SELECT 'rows', 'settings', (SELECT string_agg(s::text, ',' ORDER BY s::text) FROM shared.settings s) \
             UNION ALL SELECT 'rows', 'globex', (SELECT string_agg(s::text, ',' ORDER BY s::text) FROM globex.own s) \
             UNION ALL SELECT 'relation', c.oid::text, c.xmin::text FROM pg_class c \
                 WHERE c.relnamespace = 'globex'::regnamespace \
         ) d ORDER BY 1",
    )
}

/// Two tenants, and a schema of objects whose names no tenant uses.
fn shared() -> (Database, Dir) {
    let db = set_up();
    db.execute(
        "CREATE SCHEMA shared; \
         CREATE TABLE shared.settings (id int PRIMARY KEY, name text); INSERT INTO shared.settings VALUES (1, 'one'); \
         CREATE TYPE shared.mood AS ENUM ('calm'); CREATE TYPE shared.pair AS (a int, b int); \
         CREATE DOMAIN shared.amount AS int CHECK (VALUE >= 0); CREATE SEQUENCE shared.numbers; \
         CREATE FUNCTION shared.answer() RETURNS int LANGUAGE sql AS 'SELECT 42'; \
         CREATE VIEW shared.names AS SELECT name FROM shared.settings",
    );
    let migrations = Dir::new()
        .add("1_base", "CREATE TABLE own (id int PRIMARY KEY, name text); INSERT INTO own VALUES (1, 'mine')");
    run_once(&db, &migrations, &["create", "acme", "globex", "--extension-schema", "shared"]).assert_code(0);
    (db, migrations)
}

#[test]
#[ignore = "long: make test-long"]
fn change_outside_the_tenant_is_rolled_back_and_named() {
    let cases: &[(&str, &str)] = &[
        ("DROP TABLE settings CASCADE", "table shared.settings"),
        ("DROP TABLE IF EXISTS settings CASCADE; CREATE TABLE settings (id int)", "table shared.settings"),
        ("UPDATE settings SET name = 'two'", "table shared.settings"),
        ("DELETE FROM settings WHERE false", "table shared.settings"),
        ("TRUNCATE settings", "table shared.settings"),
        ("ALTER TABLE settings ADD COLUMN more int", "table shared.settings"),
        ("CREATE INDEX ON settings (name)", "table shared.settings"),
        ("LOCK TABLE settings IN SHARE UPDATE EXCLUSIVE MODE", "table shared.settings"),
        ("CREATE TABLE u (id int REFERENCES settings)", "table shared.settings"),
        ("COMMENT ON TABLE settings IS 'mine'", "table shared.settings"),
        ("GRANT SELECT ON settings TO PUBLIC", "table shared.settings"),
        (
            "CREATE TRIGGER t BEFORE INSERT ON settings FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "table shared.settings",
        ),
        ("DROP VIEW names", "view shared.names"),
        ("SELECT nextval('numbers')", "sequence shared.numbers"),
        ("ALTER TYPE mood ADD VALUE 'wild'", "type shared.mood"),
        ("ALTER TYPE mood RENAME VALUE 'calm' TO 'quiet'", "type shared.mood"),
        ("ALTER TYPE pair ADD ATTRIBUTE c int", "composite type shared.pair"),
        ("DROP TYPE mood", "type shared.mood"),
        ("ALTER DOMAIN amount ADD CHECK (VALUE < 100)", "constraint amount_check1"),
        ("ALTER DOMAIN amount SET DEFAULT 1", "type shared.amount"),
        ("DROP FUNCTION answer()", "function shared.answer()"),
        (
            "CREATE OR REPLACE FUNCTION shared.answer() RETURNS int LANGUAGE sql AS 'SELECT 43'",
            "function shared.answer()",
        ),
        ("ALTER FUNCTION answer() IMMUTABLE", "function shared.answer()"),
        ("GRANT EXECUTE ON FUNCTION answer() TO pg_monitor", "function shared.answer()"),
        ("CREATE FUNCTION shared.more() RETURNS int LANGUAGE sql AS 'SELECT 1'", "function shared.more()"),
        ("CREATE TYPE shared.other AS ENUM ('a')", "type shared.other"),
        ("CREATE TABLE shared.other (i int)", "table shared.other"),
        (
            "CREATE OPERATOR shared.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)",
            "operator shared.===(integer,integer)",
        ),
        ("CREATE CAST (shared.pair AS text) WITH INOUT", "cast from shared.pair to text"),
        ("CREATE SCHEMA other", "schema other"),
        ("GRANT CREATE ON SCHEMA shared TO pg_monitor", "schema shared"),
        ("CREATE EXTENSION pgcrypto", "extension pgcrypto"),
        ("CREATE ROLE confined_role", "pg_authid"),
        ("ALTER DATABASE postgres SET work_mem TO '5MB'", "pg_db_role_setting"),
        ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC", "default privileges on new relations"),
        ("SELECT lo_create(0)", "large object"),
        ("UPDATE globex.own SET name = 'theirs'", "table globex.own"),
        ("DROP TABLE globex.own", "table globex.own"),
        ("DO $$ BEGIN EXECUTE 'DROP TABLE ' || 'globex' || '.own'; END $$", "table globex.own"),
        (
            "DO $$ BEGIN BEGIN UPDATE settings SET name = ''; EXCEPTION WHEN division_by_zero THEN NULL; END; END $$",
            "table shared.settings",
        ),
        (
            "DO $$ BEGIN BEGIN CREATE FUNCTION shared.late() RETURNS int LANGUAGE sql AS 'SELECT 1'; EXCEPTION WHEN division_by_zero THEN NULL; END; END $$",
            "function shared.late()",
        ),
        ("UPDATE public.schema_tracker SET state = 'dropping'", "table public.schema_tracker"),
        ("INSERT INTO public.schema_tracker (name) VALUES ('planted')", "table public.schema_tracker"),
    ];
    let (db, _) = shared();
    let before = outside(&db);
    for (up, object) in cases {
        let migrations = Dir::new()
            .add("1_base", "CREATE TABLE own (id int PRIMARY KEY, name text); INSERT INTO own VALUES (1, 'mine')")
            .add("2_own", "ALTER TABLE own ADD COLUMN note text")
            .add("3_outside", &format!("CREATE TABLE mine (i int);\n{up}"));
        let output =
            run_once(&db, &migrations, &["migrate-one", "acme", "--extension-schema", "shared", "--format", "json"]);
        output.assert_code(1);
        let failed = &output.json()["failed"][0];
        assert_eq!(failed["migration"]["folder"], "3_outside", "{up}: {failed:#}");
        assert_eq!(failed["migration"]["line"], 2, "{up}: {failed:#}");
        let message = failed["server"]["message"].as_str().unwrap_or_default();
        assert!(message.contains("outside the tenant's schema") && message.contains(object), "{up}: {message}");
        assert_eq!(outside(&db), before, "{up}");
        assert_eq!(db.strings("SELECT version FROM acme.__diesel_schema_migrations ORDER BY 1"), ["1"], "{up}");
    }
    assert_eq!(db.count("SELECT count(*) FROM public.schema_tracker"), 2);
}

#[test]
#[ignore = "long: make test-long"]
fn changes_inside_the_tenant_are_allowed() {
    let (db, migrations) = shared();
    let before = outside(&db);
    let migrations = migrations
        .add("2_create", "CREATE TABLE more (id serial PRIMARY KEY, at timestamptz DEFAULT now(), name text UNIQUE); CREATE INDEX ON more (at); CREATE TYPE color AS ENUM ('red'); CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE TYPE span AS RANGE (subtype = int)")
        .add("3_code", "CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql AS 'SELECT 2 * $1'; CREATE OPERATOR ### (LEFTARG = int, RIGHTARG = int, FUNCTION = int4pl); CREATE VIEW latest AS SELECT max(at) AS at FROM more; CREATE CAST (span AS text) WITH INOUT")
        .add("4_rewrite", "ALTER TABLE own ALTER COLUMN id TYPE bigint; ALTER TABLE own ALTER COLUMN name TYPE varchar(50)")
        .add("5_temporary", "CREATE TEMP TABLE scratch (id serial, name text); INSERT INTO scratch (name) VALUES ('a'); INSERT INTO more (name) SELECT name FROM scratch; DROP TABLE scratch; CREATE TEMP TABLE left_behind (i int)")
        .add("6_passing", "CREATE TABLE passing (id serial PRIMARY KEY); DROP TABLE passing; DO $$ BEGIN BEGIN CREATE TYPE inner_type AS (a int); EXCEPTION WHEN division_by_zero THEN NULL; END; DROP TYPE inner_type; END $$")
        .add("7_rights", "GRANT SELECT ON own TO PUBLIC; GRANT USAGE ON SCHEMA acme TO PUBLIC; ALTER DEFAULT PRIVILEGES IN SCHEMA acme GRANT SELECT ON TABLES TO PUBLIC; COMMENT ON FUNCTION twice(int) IS 'doubles'")
        .add("8_reading", "CREATE TABLE copied AS SELECT name FROM settings; SELECT answer(); CREATE TABLE typed (m mood, p pair, a amount DEFAULT 1)")
        .add("9_dropping", "DROP CAST (span AS text); DROP OPERATOR ### (int, int); DROP FUNCTION twice(int); DROP VIEW latest; DROP TABLE more, copied; DROP TYPE color, span; DROP DOMAIN positive");
    // First one at a time, so that each migration drops objects of an earlier transaction; then all in one transaction.
    for version in 2..=9 {
        run_once(
            &db,
            &migrations,
            &["migrate-all", "--to", &version.to_string(), "--match", "acme", "--extension-schema", "shared"],
        )
        .assert_code(0);
    }
    assert_eq!(outside(&db), before);
    db.execute("DROP SCHEMA acme CASCADE; DELETE FROM public.schema_tracker WHERE name = 'acme'");
    run_once(&db, &migrations, &["create", "acme", "--extension-schema", "shared"]).assert_code(0);
    assert_eq!(outside(&db), before);
}

#[test]
fn revert_drops_nothing_outside_the_tenant() {
    let (db, migrations) = shared();
    let migrations =
        migrations.add("2_settings", "CREATE TABLE settings (id int PRIMARY KEY)").down("DROP TABLE settings");
    let settings = ["--extension-schema", "shared"];
    run_once(&db, &migrations, &[&["migrate-one", "acme"], &settings[..]].concat()).assert_code(0);
    db.execute("DROP TABLE acme.settings; DROP VIEW shared.names");
    let before = outside(&db);
    let output = run_once(
        &db,
        &migrations,
        &[&["revert-one", "acme", "--to", "1", "--yes", "--format", "json"], &settings[..]].concat(),
    );
    output.assert_code(1);
    let failed = &output.json()["failed"][0];
    assert!(failed["server"]["message"].as_str().unwrap().contains("table shared.settings"), "{failed:#}");
    assert_eq!(failed["migration"]["file"], "down.sql");
    assert_eq!(outside(&db), before);
    assert_eq!(db.strings("SELECT version FROM acme.__diesel_schema_migrations ORDER BY 1"), ["1", "2"]);
}

#[test]
fn declared_change_runs_in_its_own_transaction() {
    let (db, _) = shared();
    let base = || {
        Dir::new()
            .add("1_base", "CREATE TABLE own (id int PRIMARY KEY, name text); INSERT INTO own VALUES (1, 'mine')")
            .add("2_shared", "UPDATE settings SET name = name || '!'")
    };
    let settings = ["--extension-schema", "shared"];
    let declared = base().metadata("run_in_transaction = true\nchanges_outside = \"counts tenants\"");
    // The next migration changes the same table, without a declaration.
    let both = base()
        .metadata("run_in_transaction = true\nchanges_outside = \"counts tenants\"")
        .add("3_sneaks", "UPDATE settings SET name = 'sneaked'");
    let output = run_once(&db, &both, &[&["migrate-one", "acme", "--format", "json"], &settings[..]].concat());
    output.assert_code(1);
    assert_eq!(output.json()["failed"][0]["migration"]["folder"], "3_sneaks");
    assert_eq!(db.string("SELECT name FROM shared.settings"), "one!");
    run_once(&db, &declared, &[&["migrate-one", "globex"], &settings[..]].concat()).assert_code(0);
    assert_eq!(db.string("SELECT name FROM shared.settings"), "one!!");
    // Declared by a comment, which lint accepts as well.
    let accepted = base().add(
        "3_more",
        "-- tenantry: accept names-other-schema: the plans are everybody's\nINSERT INTO shared.settings VALUES (2, 'two')",
    );
    let accepted_all = [&["migrate-one", "acme"], &settings[..]].concat();
    // Without run_in_transaction, the migration is transactional.
    accepted.write("2_shared/metadata.toml", "changes_outside = \"counts tenants\"");
    run_once(&db, &accepted, &accepted_all).assert_code(0);
    assert_eq!(db.count("SELECT count(*) FROM shared.settings"), 2);
    let without_reason = base().metadata("run_in_transaction = true\nchanges_outside = \" \"");
    run_once(&db, &without_reason, &["migrate-all"]).assert_code(2);
}

#[test]
#[ignore = "long: make test-long"]
fn non_transactional_change_outside_the_tenant_is_refused() {
    let (db, _) = shared();
    let before = outside(&db);
    for (up, expected) in [
        ("CREATE INDEX CONCURRENTLY i ON settings (name)", "table shared.settings"),
        ("DROP INDEX CONCURRENTLY settings_name_idx", "index shared.settings_name_idx"),
        ("VACUUM settings", "table shared.settings"),
        ("REINDEX TABLE CONCURRENTLY settings", "table shared.settings"),
        ("CALL change()", "table shared.settings"),
        ("DO $$ BEGIN UPDATE settings SET name = ''; END $$", "table shared.settings"),
        ("VACUUM", "cannot be found out"),
    ] {
        db.execute(
            "CREATE INDEX IF NOT EXISTS settings_name_idx ON shared.settings (name); \
             CREATE OR REPLACE PROCEDURE shared.change() LANGUAGE sql AS 'UPDATE shared.settings SET name = '''''",
        );
        let before_this = outside(&db);
        let migrations = Dir::new()
            .add("1_base", "CREATE TABLE own (id int PRIMARY KEY, name text); INSERT INTO own VALUES (1, 'mine')")
            .add("2_alone", up)
            .metadata("run_in_transaction = false");
        let output =
            run_once(&db, &migrations, &["migrate-one", "acme", "--extension-schema", "shared", "--format", "json"]);
        output.assert_code(1);
        let failed = output.json()["failed"][0].clone();
        let message = failed["server"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains(expected), "{up}: {failed:#}");
        assert_eq!(outside(&db), before_this, "{up}");
        // Clears the unfinished migration for the next case.
        db.execute(
            "UPDATE public.schema_tracker SET unfinished_version = NULL, unfinished_statements = NULL, \
             unfinished_digest = NULL, unfinished_in_doubt = NULL; DELETE FROM public.schema_migration WHERE version = '2'",
        );
    }
    assert!(outside(&db).len() > before.len());
    // A procedure that commits is declared.
    let code = "DO $$ BEGIN UPDATE own SET name = 'a'; COMMIT; UPDATE own SET name = 'b'; END $$";
    let commits = |metadata: &str| {
        Dir::new()
            .add("1_base", "CREATE TABLE own (id int PRIMARY KEY, name text); INSERT INTO own VALUES (1, 'mine')")
            .add("2_alone", code)
            .metadata(metadata)
    };
    let undeclared =
        run_once(&db, &commits("run_in_transaction = false"), &["migrate-one", "acme", "--format", "json"]);
    undeclared.assert_code(1);
    assert!(undeclared.json()["failed"][0]["server"]["hint"].as_str().unwrap().contains("changes_outside"));
    let declared = commits("run_in_transaction = false\nchanges_outside = \"commits in batches\"");
    run_once(&db, &declared, &["migrate-one", "acme"]).assert_code(0);
    assert_eq!(db.string("SELECT name FROM acme.own"), "b");
}

/// A migration whose effect the next one would show if it were not reset.
const LEAKS: [(&str, &str); 8] = [
    ("SET LOCAL TimeZone TO 'Asia/Tokyo'", "INSERT INTO seen SELECT 'zone', current_setting('TimeZone')"),
    ("SET LOCAL lock_timeout TO '7s'", "INSERT INTO seen SELECT 'lock', current_setting('lock_timeout')"),
    ("SET LOCAL DateStyle TO 'German, DMY'", "INSERT INTO seen SELECT 'date', '03/04/2024'::date"),
    (
        "SET LOCAL session_replication_role TO replica",
        "INSERT INTO seen SELECT 'replication', current_setting('session_replication_role')",
    ),
    (
        "CREATE TEMP TABLE passing AS SELECT 1 AS i",
        "INSERT INTO seen SELECT 'temporary', to_regclass('passing') IS NULL",
    ),
    ("SET LOCAL ROLE confined", "INSERT INTO seen SELECT 'role', current_user = session_user"),
    (
        "SELECT set_config('confine.note', 'left', true)",
        "INSERT INTO seen SELECT 'custom', coalesce(nullif(current_setting('confine.note', true), ''), 'none')",
    ),
    ("SELECT setval('numbers', 5)", "INSERT INTO seen SELECT 'numbers', last_value FROM numbers"),
];

/// Migrations in which each leak is followed by the migration that shows it, in the given order.
fn leaking(order: &[usize]) -> Dir {
    let mut migrations =
        Dir::new().add("10_base", "CREATE TABLE seen (what text, found text); CREATE SEQUENCE numbers");
    for (place, leak) in order.iter().enumerate() {
        let (leaks, shows) = LEAKS[*leak];
        migrations = migrations.add(&format!("{}_leaks", 11 + 2 * place), leaks);
        migrations = migrations.add(&format!("{}_shows", 12 + 2 * place), shows);
    }
    migrations
}

#[test]
#[ignore = "long: make test-long"]
fn the_result_does_not_depend_on_how_many_migrations_are_pending() {
    let mut runner =
        TestRunner::new(Config { cases: exhaustive::choose(12, 3), failure_persistence: None, ..Config::default() });
    let orders = Just((0..LEAKS.len()).collect::<Vec<_>>()).prop_shuffle();
    let splits = proptest::collection::vec(any::<bool>(), 2 * LEAKS.len());
    runner
        .run(&(orders, splits), |(order, splits)| {
            let db = set_up();
            db.execute("DO $$ BEGIN CREATE ROLE confined; EXCEPTION WHEN duplicate_object THEN NULL; END $$");
            let migrations = leaking(&order);
            let last = 10 + 2 * LEAKS.len();
            let [one_by_one, at_once, split] = ["one_by_one", "at_once", "split"];
            let to = |name: &str, version: usize| {
                run_once(
                    &db,
                    &migrations,
                    &["migrate-all", "--match", &format!("^{name}$"), "--to", &version.to_string()],
                )
                .assert_code(0);
            };
            run_once(&db, &migrations, &["create", at_once]).assert_code(0);
            for name in [one_by_one, split] {
                db.execute(&format!(
                    "CREATE SCHEMA {name}; INSERT INTO public.schema_tracker (name) VALUES ('{name}')"
                ));
            }
            for version in 10..=last {
                to(one_by_one, version);
            }
            for (place, ends) in splits.iter().enumerate() {
                if *ends {
                    to(split, 10 + place);
                }
            }
            to(split, last);
            let rows = |name: &str| db.strings(&format!("SELECT (what, found)::text FROM {name}.seen ORDER BY 1"));
            prop_assert_eq!(rows(at_once), rows(one_by_one));
            prop_assert_eq!(rows(split), rows(one_by_one));
            prop_assert!(rows(at_once).contains(&"(zone,UTC)".to_owned()), "{:?}", rows(at_once));
            // The reference is replayed with all of them.
            run_once(&db, &migrations, &["health-check"]).assert_code(0);
            Ok(())
        })
        .unwrap();
}

#[test]
fn replication_role_does_not_leak_into_the_next_migration() {
    let db = set_up();
    let migrations = Dir::new()
        .add("1_base", "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (a int REFERENCES a)")
        .add("2_copies", "SET LOCAL session_replication_role TO replica; INSERT INTO a VALUES (1)")
        .add("3_orphan", "INSERT INTO b VALUES (99)");
    let output = run_once(&db, &migrations, &["create", "acme", "--format", "json"]);
    output.assert_code(1);
    assert_eq!(output.json()["failed"][0]["migration"]["folder"], "3_orphan");
}

#[test]
fn ledger_is_written_after_a_migration_sets_a_role() {
    let db = set_up();
    db.execute("DO $$ BEGIN CREATE ROLE confined; EXCEPTION WHEN duplicate_object THEN NULL; END $$");
    let migrations = Dir::new().add("1_base", "CREATE TABLE t (i int)").add("2_role", "SET LOCAL ROLE confined");
    run_once(&db, &migrations, &["create", "acme"]).assert_code(0);
    assert_eq!(db.count("SELECT count(*) FROM acme.__diesel_schema_migrations"), 2);
}

#[test]
fn session_state_does_not_leak_into_the_next_tenant() {
    let db = set_up();
    // Each tenant records the state of its session, and then leaves as much state behind as it can.
    let up = "CREATE TABLE found (what text, value text); \
        INSERT INTO found SELECT 'setting ' || name, setting FROM pg_settings WHERE name IN ('DateStyle', 'client_encoding', 'session_replication_role', 'standard_conforming_strings', 'confine.note', 'work_mem'); \
        INSERT INTO found SELECT 'channel', c FROM pg_listening_channels() c; \
        INSERT INTO found SELECT 'prepared', name FROM pg_prepared_statements; \
        INSERT INTO found SELECT 'cursor', name FROM pg_cursors WHERE is_holdable; \
        INSERT INTO found SELECT 'lock', objid::text FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory' AND objid = 4711; \
        INSERT INTO found SELECT 'temporary', relname FROM pg_class WHERE relpersistence = 't'; \
        INSERT INTO found SELECT 'role', current_user; \
        DO $do$ BEGIN \
            EXECUTE $x$SELECT set_config('DateStyle', 'German, DMY', false), set_config('session_replication_role', 'replica', false), set_config('work_mem', '77kB', 'f'::text::boolean), set_config('confine.note', 'left', 0 = 1)$x$; \
            EXECUTE 'LISTEN ' || 'changes'; EXECUTE 'PREPARE ' || 'p AS SELECT 1'; \
            EXECUTE 'SELECT pg_advisory_' || 'lock(4711)'; \
            EXECUTE 'CREATE TEMP TABLE ' || 'left_behind (i int)'; \
            EXECUTE 'DECLARE c CURSOR ' || 'WITH HOLD FOR SELECT 1'; \
        END $do$";
    let migrations = Dir::new().add("1_found", up);
    let names: Vec<String> = (0..12).map(|n| format!("t{n}")).collect();
    let mut args = vec!["create", "--jobs", "2"];
    args.extend(names.iter().map(String::as_str));
    run_once(&db, &migrations, &args).assert_code(0);
    let mut states: Vec<String> = names
        .iter()
        .map(|name| db.strings(&format!("SELECT what || '=' || value FROM {name}.found ORDER BY 1")).join("; "))
        .collect();
    states.dedup();
    assert_eq!(states.len(), 1, "{states:#?}");
    assert!(!states[0].contains("German") && !states[0].contains("temporary"), "{states:?}");
}

#[test]
fn statement_with_session_wide_effect_is_refused() {
    let db = set_up();
    for up in [
        "SELECT set_config('DateStyle', 'German, DMY', false)",
        "DO $$ BEGIN PERFORM set_config('DateStyle', 'German, DMY', false); END $$",
        "LISTEN changes",
        "SELECT pg_advisory_lock(1)",
        "PREPARE p AS SELECT 1",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "LOAD 'auto_explain'",
    ] {
        let output = run_once(&db, &Dir::new().add("1_leaks", up), &["create", "acme"]);
        output.assert_code(2);
        assert!(output.stderr.contains("outlasts the migration"), "{up}: {}", output.stderr);
    }
}

#[test]
fn migration_without_its_ledger_row_is_rolled_back() {
    let db = set_up();
    let swallow = "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
        CREATE TABLE total (n int); INSERT INTO total VALUES (1); \
        DO $$ BEGIN EXECUTE format('CREATE TRIGGER t BEFORE INSERT ON %I.__diesel_schema_migrations FOR EACH ROW EXECUTE FUNCTION swallow()', current_schema()); END $$";
    let migrations = Dir::new().add("1_swallow", swallow).add("2_twice", "UPDATE total SET n = n * 2");
    let output = run_once(&db, &migrations, &["create", "acme", "--format", "json"]);
    output.assert_code(1);
    let message = output.json()["failed"][0]["message"].to_string();
    assert!(message.contains("ledger"), "{message}");
    assert_eq!(db.count("SELECT count(*) FROM pg_namespace WHERE nspname = 'acme'"), 0);
}

#[test]
fn enum_value_added_by_dynamic_sql_is_committed_before_use() {
    let db = set_up();
    let migrations = Dir::new()
        .add("1_base", "CREATE TYPE mood AS ENUM ('calm'); CREATE TABLE people (name text, mood mood)")
        // The text of the statement does not show that it adds a value.
        .add("2_value", "DO $$ BEGIN EXECUTE 'ALTER TYPE mood ADD ' || 'VALUE ''wild'''; END $$")
        .add("3_use", "CREATE TABLE notes (i int); INSERT INTO people VALUES ('a', 'wild')");
    run_once(&db, &migrations, &["create", "acme"]).assert_code(0);
    assert_eq!(db.string("SELECT mood FROM acme.people"), "wild");
    assert_eq!(db.string("SELECT state FROM public.schema_tracker"), "active");
    run_once(&db, &migrations, &["health-check"]).assert_code(0);
    // In an existing tenant, all at once and one by one; later tenants of the run use the known boundary.
    run_once(&db, &migrations, &["create", "globex", "initech", "umbrella"]).assert_code(0);
    // A migration that fails after such a commit keeps the migrations before it.
    let fails = migrations.add("4_fails", "SELECT 1/0");
    let output = run_once(&db, &fails, &["create", "hooli", "--format", "json"]);
    output.assert_code(1);
    assert_eq!(output.json()["failed"][0]["migration"]["folder"], "4_fails");
    assert_eq!(db.string("SELECT state FROM public.schema_tracker WHERE name = 'hooli'"), "creating");
}

#[test]
fn rows_with_pending_triggers_are_committed_before_alter_table() {
    let db = set_up();
    let migrations = Dir::new()
        .add("1_base", "CREATE TABLE a (id int PRIMARY KEY); DO $$ BEGIN EXECUTE 'CREATE TABLE b (a int REFERENCES a DEFER' || 'RABLE INITIALLY DEFER' || 'RED)'; END $$")
        .add("2_rows", "INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)")
        .add("3_alter", "ALTER TABLE b ADD COLUMN more int");
    run_once(&db, &migrations, &["create", "acme"]).assert_code(0);
    assert_eq!(db.count("SELECT count(*) FROM acme.b"), 1);
    run_once(&db, &migrations, &["health-check"]).assert_code(0);
}
