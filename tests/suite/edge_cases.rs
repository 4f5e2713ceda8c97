//! Rare failures and interleavings: renamed schemas, lost confirmations, edits between runs, unusual ledgers.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::support::migrations::Dir;
use crate::support::proxy::{CutPoint, Proxy};
use crate::support::{Database, Running, Signal, schemas, server, set_up, small_fleet, with};

const GATE: &str = "LOCK TABLE public.gate IN ACCESS EXCLUSIVE MODE";

/// A fleet of small tenants whose migration waits at a gate that the returned connection holds.
fn gated(tenants: usize) -> (Database, PgConnection) {
    let db = set_up();
    small_fleet(&db, tenants, &["1"]);
    db.execute("CREATE TABLE public.gate (i int)");
    let mut holder = db.connect();
    holder.batch_execute(&format!("BEGIN; {GATE}")).unwrap();
    (db, holder)
}

#[test]
fn schema_renamed_between_statements_stops_a_non_transactional_migration() {
    let (db, mut holder) = gated(1);
    let migrations = Dir::new()
        .add("1_a", "SELECT 1")
        .add("2_b", &format!("{GATE}; CREATE TABLE customers (i int); CREATE TABLE more (i int);"))
        .metadata("run_in_transaction = false");
    let run = with(&db, &migrations, &["migrate-all", "--extension-schema", "public"]).spawn();
    db.wait_for_waiters(1);
    db.execute("ALTER SCHEMA t00000 RENAME TO elsewhere");
    holder.batch_execute("ROLLBACK").unwrap();
    let output = run.wait();
    output.assert_code(1);
    assert!(output.stderr.contains("schema does not exist"), "{}", output.stderr);
    assert_eq!(db.count("SELECT count(*) FROM pg_class WHERE relname IN ('customers', 'more')"), 0);
}

#[test]
fn committed_statement_is_not_repeated_after_a_lost_confirmation() {
    let (db, mut holder) = gated(1);
    db.execute("CREATE TABLE t00000.account (n int); INSERT INTO t00000.account VALUES (100)");
    let up = "UPDATE account SET n = n + 50 WHERE (SELECT count(*) FROM public.gate) >= 0;\n\
              CREATE INDEX CONCURRENTLY account_n ON account (n);\nDROP INDEX CONCURRENTLY account_n;";
    let migrations = Dir::new().add("1_a", "SELECT 1").add("2_b", up).metadata("run_in_transaction = false");
    let run = with(&db, &migrations, &["migrate-all"]).spawn();
    db.wait_for_waiters(1);
    run.kill();
    assert_eq!(run.wait().code, None);
    // The server process continues, and commits.
    holder.batch_execute("ROLLBACK").unwrap();
    db.wait_for_quiet();
    assert_eq!(db.count("SELECT n FROM t00000.account"), 150);
    with(&db, &migrations, &["migrate-all"]).run().assert_code(0);
    assert_eq!(db.count("SELECT n FROM t00000.account"), 150);
    // A drop that took effect before it was recorded.
    db.execute(
        "DELETE FROM t00000.__diesel_schema_migrations WHERE version = '2'; \
         UPDATE schema_tracker SET unfinished_version = '2', unfinished_statements = 2, unfinished_in_doubt = true, \
         unfinished_digest = 'none'",
    );
    let edited = with(&db, &migrations, &["migrate-all"]).run();
    edited.assert_code(1);
    assert!(edited.stderr.contains("was changed after its first 2 statements were executed"), "{}", edited.stderr);
    let first_two = up.lines().take(2).map(|line| format!("{};", line.trim_end_matches(';'))).collect::<String>();
    db.execute(&format!("UPDATE schema_tracker SET unfinished_digest = md5($${first_two}$$)"));
    with(&db, &migrations, &["migrate-all"]).run().assert_code(0);
    assert_eq!(db.count("SELECT n FROM t00000.account"), 150);
}

#[test]
fn migration_edited_after_a_partial_run_is_refused() {
    let db = set_up();
    small_fleet(&db, 1, &["1"]);
    let migrations = Dir::new()
        .add("1_a", "SELECT 1")
        .add("2_b", "CREATE TABLE x (i int); CREATE TABLE y (i int); SELECT 1/0;")
        .metadata("run_in_transaction = false");
    with(&db, &migrations, &["migrate-all"]).run().assert_code(1);
    for changed in ["CREATE TABLE z (i int);", "CREATE TABLE x (i int); CREATE TABLE z (i int); SELECT 1;"] {
        migrations.write("2_b/up.sql", changed);
        let output = with(&db, &migrations, &["migrate-all"]).run();
        output.assert_code(1);
        assert!(output.stderr.contains("restore those statements unchanged"), "{}", output.stderr);
    }
    migrations.write("2_b/up.sql", "CREATE TABLE x (i int); CREATE TABLE y (i int); CREATE TABLE z (i int);");
    with(&db, &migrations, &["migrate-all"]).run().assert_code(0);
    assert_eq!(db.count("SELECT count(*) FROM pg_class WHERE relname IN ('x', 'y', 'z')"), 3);
}

#[test]
fn existing_index_with_another_definition_is_an_error() {
    let db = set_up();
    small_fleet(&db, 1, &["1"]);
    db.execute("CREATE TABLE t00000.a (i int, j int); CREATE INDEX a_idx ON t00000.a (j)");
    let migrations = Dir::new()
        .add("1_a", "SELECT 1")
        .add("2_b", "CREATE UNIQUE INDEX CONCURRENTLY a_idx ON a (i);")
        .metadata("run_in_transaction = false");
    for _ in 0..2 {
        let output = with(&db, &migrations, &["migrate-all"]).run();
        output.assert_code(1);
        assert!(output.stderr.contains("relation \"a_idx\" already exists"), "{}", output.stderr);
    }
}

#[test]
fn session_state_is_reset_between_tenants() {
    let db = set_up();
    small_fleet(&db, 6, &["1"]);
    let role = format!("other_{}", db.name());
    db.execute(&format!("CREATE ROLE {role}; GRANT USAGE, CREATE ON SCHEMA t00000 TO {role}"));
    let set = Dir::new().add("1_a", "SELECT 1").add("2_b", &format!("SET ROLE {role};"));
    let refused = with(&db, &set, &["migrate-all"]).run();
    refused.assert_code(2);
    assert!(refused.stderr.contains("use SET LOCAL"), "{}", refused.stderr);
    // A session-wide role that code sets, and temporary tables, are reset after each tenant.
    let up = format!(
        "CREATE TEMP TABLE scratch (i int);\nDO $$ BEGIN IF current_schema() = 't00000' THEN SET ROLE {role}; END IF; END $$;\nCREATE TABLE b (i int);"
    );
    let migrations = Dir::new().add("1_a", "SELECT 1").add("2_b", &up);
    db.execute(&format!("GRANT ALL ON ALL TABLES IN SCHEMA t00000 TO {role}"));
    with(&db, &migrations, &["migrate-all", "--jobs", "1"]).run().assert_code(0);
    let owned = format!("SELECT count(*) FROM pg_class WHERE relname = 'b' AND relowner = '{role}'::regrole");
    assert_eq!(db.count(&owned), 1);
    assert_eq!(db.count("SELECT count(*) FROM pg_class WHERE relname = 'b'"), 6);
    db.execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
}

#[test]
fn new_enum_value_is_usable_in_the_next_migration() {
    let db = set_up();
    let base = Dir::new().add("1_a", "CREATE TYPE role AS ENUM ('admin'); CREATE TABLE r (role role);");
    with(&db, &base, &["create", "acme"]).run().assert_code(0);
    let migrations =
        base.add("2_b", "ALTER TYPE role ADD VALUE 'guest';").add("3_c", "INSERT INTO r VALUES ('guest');");
    with(&db, &migrations, &["migrate-all"]).run().assert_code(0);
    with(&db, &migrations, &["create", "globex"]).run().assert_code(0);
    assert_eq!(
        db.strings("SELECT role::text FROM acme.r UNION ALL SELECT role::text FROM globex.r"),
        ["guest", "guest"]
    );
    with(&db, &migrations, &["health-check"]).run().assert_code(0);
}

#[test]
fn deferred_constraints_are_checked_before_the_next_migration() {
    let db = set_up();
    let base = Dir::new().add(
        "1_a",
        "CREATE TABLE p (i int PRIMARY KEY); CREATE TABLE c (i int REFERENCES p DEFERRABLE INITIALLY DEFERRED);",
    );
    with(&db, &base, &["create", "acme"]).run().assert_code(0);
    let migrations = base
        .add("2_b", "INSERT INTO c VALUES (1); INSERT INTO p VALUES (1);")
        .add("3_c", "ALTER TABLE c ADD COLUMN j int;");
    with(&db, &migrations, &["migrate-all"]).run().assert_code(0);
}

#[test]
fn invalid_ledger_fails_only_its_tenant() {
    let db = set_up();
    small_fleet(&db, 3, &["1"]);
    db.execute("ALTER TABLE t00001.__diesel_schema_migrations RENAME COLUMN version TO v");
    let migrations = Dir::new().add("1_a", "SELECT 1").add("2_b", "CREATE TABLE b (i int);");
    let output = with(&db, &migrations, &["migrate-all"]).run();
    output.assert_code(1);
    assert!(
        output.stderr.contains("tenant t00001: invalid migration ledger: it has no column version"),
        "{}",
        output.stderr
    );
    assert!(output.stderr.contains("2 migrated, 1 failed"), "{}", output.stderr);
    let health = with(&db, &migrations, &["health-check"]).run();
    health.assert_code(1);
    assert!(health.stdout.contains("invalid-ledger"), "{}", health.stdout);
}

#[test]
fn drop_removes_own_types_and_keeps_foreign_data() {
    let db = set_up();
    db.tenantry(["create", "acme", "globex"]).run().assert_code(0);
    db.execute(
        "CREATE TYPE acme.span AS RANGE (subtype = int); CREATE TYPE acme.pair AS (a int, b acme.span); \
         CREATE DOMAIN acme.positive AS int CHECK (VALUE > 0); CREATE TABLE acme.rich (s acme.span, p acme.pair[], n acme.positive) \
         PARTITION BY RANGE (n); CREATE TABLE acme.rich_1 PARTITION OF acme.rich FOR VALUES FROM (1) TO (10); \
         CREATE CAST (acme.pair AS text) WITH INOUT; CREATE STATISTICS acme.st ON s, n FROM acme.rich; \
         CREATE MATERIALIZED VIEW acme.mat AS SELECT 1 AS one; CREATE TEXT SEARCH CONFIGURATION acme.ts (PARSER = default)",
    );
    db.tenantry(["drop", "--yes", "acme"]).run().assert_code(0);
    // An access method that uses the tenant's function, and a table of another schema that uses the access method.
    db.execute(
        "CREATE FUNCTION globex.h(internal) RETURNS table_am_handler LANGUAGE internal AS 'heap_tableam_handler'; \
         CREATE ACCESS METHOD theirs TYPE TABLE HANDLER globex.h; CREATE SCHEMA y; \
         CREATE TABLE y.precious USING theirs AS SELECT 1 AS i",
    );
    let refused = db.tenantry(["drop", "--yes", "globex"]).run();
    refused.assert_code(1);
    assert!(refused.stderr.contains("access method theirs"), "{}", refused.stderr);
    assert_eq!(db.count("SELECT i FROM y.precious"), 1);
}

/// A cleanup that waits for a lock on the only tenant's table, which the returned connection holds.
fn blocked_cleanup() -> (Database, PgConnection, Running) {
    let db = set_up();
    small_fleet(&db, 1, &["1"]);
    db.execute("CREATE TABLE t00000.held (i int)");
    let mut other = db.connect();
    // Measuring the table is possible under this lock, and dropping it waits.
    other.batch_execute("BEGIN; LOCK TABLE t00000.held IN ACCESS SHARE MODE").unwrap();
    let migrations = Dir::new().add("1_a", "SELECT 1");
    let run = with(&db, &migrations, &["cleanup", "--yes"]).spawn();
    db.wait_for_waiters(1);
    (db, other, run)
}

#[test]
fn interrupted_cleanup_keeps_the_tracker() {
    let (db, mut other, run) = blocked_cleanup();
    run.signal(Signal::INT);
    run.wait_for_stderr_line("interrupted");
    other.batch_execute("ROLLBACK").unwrap();
    run.wait().assert_code(130);
    assert_eq!(db.count("SELECT count(*) FROM schema_tracker"), 0);
    db.tenantry(["cleanup", "--yes"]).run().assert_code(0);
}

#[test]
#[ignore = "long: make test-long"]
fn tenant_created_during_a_cleanup_is_kept() {
    let (db, mut other, run) = blocked_cleanup();
    let migrations = Dir::new().add("1_a", "SELECT 1");
    with(&db, &migrations, &["create", "newborn"]).run().assert_code(0);
    other.batch_execute("ROLLBACK").unwrap();
    let output = run.wait();
    output.assert_code(3);
    assert!(output.stderr.contains("tenants were created during the cleanup"), "{}", output.stderr);
    assert_eq!(db.strings("SELECT name FROM schema_tracker"), ["newborn"]);
    assert_eq!(schemas(&db), ["newborn"]);
}

#[test]
#[ignore = "long: make test-long"]
fn create_with_a_lost_confirmation_is_recognized_as_its_own() {
    let migrations = Dir::new().add("1_a", "CREATE TABLE a (i int);");
    let proxy = Proxy::start(server());
    let mut created = 0;
    for n in 1.. {
        let db = set_up();
        proxy.reset();
        proxy.cut_at(n, CutPoint::After);
        let create = |args: &[&str]| with(&db, &migrations, args).env("DATABASE_URL", proxy.url(db.name())).run();
        let output = create(&["create", "acme"]);
        let (there, reached) = (!schemas(&db).is_empty(), proxy.messages());
        assert_eq!(output.code == Some(0), there, "cut at {n}: {}", output.stderr);
        created += usize::from(there);
        proxy.reset();
        create(&["create", "--if-not-exists", "acme"]).assert_code(0);
        if reached < n {
            break;
        }
    }
    assert!(created >= 2, "the lost answer, and the run that was not cut");
}

#[test]
fn missing_public_schema_is_an_error() {
    let db = Database::new();
    db.execute("DROP SCHEMA public");
    let output = db.tenantry(["migrate-public"]).run();
    output.assert_code(3);
    assert!(output.stderr.contains("has no schema public"), "{}", output.stderr);
}

#[test]
#[ignore = "long: make test-long"]
fn lock_on_a_table_outside_the_tenant_is_not_a_finding() {
    let db = set_up();
    db.execute("CREATE TABLE public.plans (i int PRIMARY KEY)");
    let migrations = Dir::new()
        .add("1_a", "CREATE TABLE a (plan int REFERENCES public.plans);")
        .metadata("run_in_transaction = true\nchanges_outside = \"a key to the shared plans\"");
    with(&db, &migrations, &["create", "acme"]).run().assert_code(0);
    let mut holder = db.connect();
    holder.batch_execute("BEGIN; LOCK TABLE public.plans IN ROW EXCLUSIVE MODE").unwrap();
    let output = with(&db, &migrations, &["health-check", "--allow-unchecked"]).run();
    output.assert_code(0);
    assert!(output.stderr.contains("another session locks an object outside the tenant"), "{}", output.stderr);
    // Nothing was found, but the tenant was not checked either.
    let output = with(&db, &migrations, &["health-check"]).run();
    output.assert_code(1);
    assert_eq!(output.stdout, "");
    assert!(output.stderr.contains("0 tenants checked, 1 unchecked"), "{}", output.stderr);
    holder.batch_execute("ROLLBACK").unwrap();
}
