//! `revert-one` and `revert-all`.

use crate::assert_snapshot;
use crate::support::migrations::Dir;
use crate::support::{Database, Screen, Terminal, run_with, set_up};

/// Three tenants with three migrations, the last of which is not transactional.
fn fleet() -> (Database, Dir) {
    let db = set_up();
    let migrations = Dir::new()
        .add("1_a", "CREATE TABLE a (i int);")
        .down("DROP TABLE a;")
        .add("2_b", "CREATE TABLE b (i int);")
        .down("DROP TABLE b;\n")
        .add("3_c", "CREATE INDEX CONCURRENTLY a_i_idx ON a (i);")
        .metadata("run_in_transaction = false")
        .down("DROP INDEX CONCURRENTLY a_i_idx;");
    run_with(&db, &migrations, &["create", "acme", "globex", "initech"]).assert_code(0);
    (db, migrations)
}

fn versions(db: &Database, tenant: &str) -> String {
    db.strings(&format!("SELECT version FROM {tenant}.__diesel_schema_migrations ORDER BY 1")).join(" ")
}

#[test]
fn revert_one_reverts_the_given_number_of_steps() {
    let (db, migrations) = fleet();
    assert_snapshot!(run_with(&db, &migrations, &["revert-one", "acme", "--steps", "2", "--dry-run"]), @r"
        TENANT  VERSION  REVERTED
        acme    3        3_c, 2_b
        --- stderr
        tenant migrations: MIGRATIONS (3 in all, newest 3)
        3_c: 1 tenant
        2_b: 1 tenant
        1 would be reverted, 0 unchanged
        --- exit 0
    ");
    assert_snapshot!(run_with(&db, &migrations, &["revert-one", "acme", "--steps", "2"]), @r"
        --- stderr
        tenant migrations: MIGRATIONS (3 in all, newest 3)
        3_c: 1 tenant
        2_b: 1 tenant
        error: confirmation required, but there is no terminal
        hint: check with --dry-run, then add --yes
        --- exit 4
    ");
    assert_eq!(versions(&db, "acme"), "1 2 3", "not without a confirmation");
    assert_snapshot!(run_with(&db, &migrations, &["revert-one", "acme", "--steps", "2", "--yes"]), @r"
        --- stderr
        1 reverted
        --- exit 0
    ");
    assert_eq!(versions(&db, "acme"), "1");
    assert_eq!(
        db.count(
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'acme'::regnamespace AND relname IN ('b', 'a_i_idx')"
        ),
        0
    );
    assert_eq!(versions(&db, "globex"), "1 2 3");
    run_with(&db, &migrations, &["migrate-one", "acme"]).assert_code(0);
    run_with(&db, &migrations, &["health-check"]).assert_code(0);
}

#[test]
fn revert_all_reverts_to_a_version_and_skips_tenants_at_it() {
    let (db, migrations) = fleet();
    run_with(&db, &migrations, &["revert-one", "acme", "--to", "1", "--yes"]).assert_code(0);
    assert_snapshot!(run_with(&db, &migrations, &["revert-all", "--to", "1", "--dry-run"]));
    assert_snapshot!(run_with(&db, &migrations, &["revert-all", "--to", "1", "--dry-run", "--format", "json"]));
    assert_snapshot!(run_with(&db, &migrations, &["revert-all", "--to", "1", "--yes"]), @r"
        --- stderr
        2 reverted, 1 unchanged
        --- exit 0
    ");
    assert_eq!(["acme", "globex", "initech"].map(|tenant| versions(&db, tenant)), ["1", "1", "1"]);
    assert_snapshot!(run_with(&db, &migrations, &["revert-all", "--to", "1", "--yes"]), @r"
        --- stderr
        0 reverted, 3 unchanged
        --- exit 0
    ");
    assert_eq!(
        db.strings("SELECT concat_ws(' ', command, outcome, done, unchanged) FROM schema_run ORDER BY id DESC LIMIT 1"),
        ["revert-all done 2 1"]
    );
}

#[test]
fn migration_without_down_sql_is_refused_before_the_run_starts() {
    let (db, migrations) = fleet();
    let migrations = migrations.add("4_d", "CREATE TABLE d (i int);");
    run_with(&db, &migrations, &["migrate-one", "globex"]).assert_code(0);
    assert_snapshot!(run_with(&db, &migrations, &["revert-all", "--steps", "1", "--yes"]), @r"
        --- stderr
        error: tenant migration 4_d cannot be reverted: it has no down.sql
        hint: add a down.sql to the migration
        --- exit 3
    ");
    assert_eq!(["acme", "globex", "initech"].map(|tenant| versions(&db, tenant)), ["1 2 3", "1 2 3 4", "1 2 3"]);
    // Tenants that do not need it can be reverted.
    run_with(&db, &migrations, &["revert-all", "--steps", "1", "--yes", "--except", "globex"]).assert_code(0);
    assert_eq!(versions(&db, "acme"), "1 2");
}

#[test]
fn failed_revert_is_rolled_back_and_reported() {
    let (db, migrations) = fleet();
    db.execute("CREATE VIEW initech.on_b AS SELECT * FROM initech.b");
    assert_snapshot!(run_with(&db, &migrations, &["revert-all", "--to", "1", "--yes"]));
    assert_eq!(["acme", "globex", "initech"].map(|tenant| versions(&db, tenant)), ["1", "1", "1 2 3"]);
    assert_eq!(db.string("SELECT to_regclass('initech.a_i_idx')"), "initech.a_i_idx");
}

#[test]
fn retry_hint_replaces_steps_by_the_target_version() {
    let (db, migrations) = fleet();
    db.execute("CREATE VIEW globex.of_b AS SELECT i FROM globex.b");
    let output = run_with(&db, &migrations, &["revert-all", "--steps", "2", "--yes"]);
    assert_snapshot!(output);
    assert_eq!(["acme", "globex", "initech"].map(|tenant| versions(&db, tenant)), ["1", "1 2 3", "1"]);
    db.execute("DROP VIEW globex.of_b");
    run_with(&db, &migrations, &["revert-all", "--match", "^globex$", "--to", "1", "--yes"]).assert_code(0);
    // If the steps lead to different versions, the remaining tenants are named.
    run_with(&db, &migrations, &["migrate-one", "acme"]).assert_code(0);
    db.execute("DROP INDEX acme.a_i_idx");
    let output = run_with(&db, &migrations, &["revert-all", "--steps", "1", "--yes"]);
    output.assert_code(1);
    assert!(output.stderr.contains("to retry: tenantry revert-all --match '^acme$' --steps 1"), "{}", output.stderr);
}

#[test]
fn changes_during_confirmation_are_not_reverted() {
    let (db, migrations) = fleet();
    let path = migrations.path().to_str().unwrap();
    let asked = |args: &[&str]| {
        let mut terminal = Terminal::spawn(db.tenantry(args).args(["--tenant-migrations", path]));
        terminal.expect("[y/N]");
        terminal
    };
    let mut left = asked(&["revert-all", "--steps", "1"]);
    left.type_text("\u{3}");
    Screen::of(&mut left).assert_code(130);

    let mut all = asked(&["revert-all", "--steps", "1"]);
    let mut one = asked(&["revert-one", "acme", "--steps", "1"]);
    let migrations = migrations.add("4_d", "CREATE TABLE d (i int);").down("DROP TABLE d;");
    run_with(&db, &migrations, &["migrate-all"]).assert_code(0);
    for terminal in [&mut all, &mut one] {
        terminal.type_line("y");
    }
    let (all, one) = (Screen::of(&mut all), Screen::of(&mut one));
    all.assert_code(4);
    assert_snapshot!(all, @r"
        tenant migrations: TEMPORARY (3 in all, newest 3)
        3_c: 3 tenants
        Revert these migrations of 3 tenants in database DATABASE on the socket in SOCKET? Data in the tables and columns they created is lost. [y/N] y
        error: tenants changed after they were shown; nothing was done
        hint: run the command again to see the current plan
        --- exit 4
    ");
    one.assert_code(1);
    assert_snapshot!(one, @r"
        tenant migrations: TEMPORARY (3 in all, newest 3)
        3_c: 1 tenant
        Revert these migrations of tenant acme in database DATABASE on the socket in SOCKET? Data in the tables and columns they created is lost. [y/N] y
        error: tenant acme: another run applied migration 4; nothing was reverted
        hint: check that this migration may be reverted, then run the command again
        0 reverted, 1 failed (run 3)
        --- exit 1
    ");
    assert_eq!(["acme", "globex", "initech"].map(|tenant| versions(&db, tenant)), ["1 2 3 4"; 3]);
}

#[test]
fn tenants_that_cannot_be_reverted_are_reported() {
    let (db, migrations) = fleet();
    db.execute(
        "INSERT INTO acme.__diesel_schema_migrations (version) VALUES ('9'); \
         UPDATE schema_tracker SET state = 'dropping' WHERE name = 'globex'; \
         UPDATE schema_tracker SET unfinished_version = '4', unfinished_statements = 0, unfinished_digest = '', \
         unfinished_in_doubt = false WHERE name = 'initech'",
    );
    assert_snapshot!(run_with(&db, &migrations, &["revert-all", "--steps", "1", "--yes"]));
    assert_snapshot!(run_with(&db, &migrations, &["revert-one", "nobody", "--steps", "1", "--yes"]), @r"
        --- stderr
        error: tenant nobody: not tracked in public.schema_tracker
        hint: 'tenantry create nobody --tenant-migrations MIGRATIONS' creates it
        0 reverted, 1 failed
        --- exit 1
    ");
    assert_snapshot!(run_with(&db, &migrations, &["revert-all", "--to", "7", "--yes"]), @r"
        --- stderr
        error: no tenant migration has version 7
        hint: valid versions: 3, 2, 1
        --- exit 2
    ");
    assert_snapshot!(run_with(&db, &migrations, &["revert-all", "--yes"]), @r"
        --- stderr
        error: the following required arguments were not provided:
          <--to <VERSION>|--steps <N>>

        Usage: tenantry revert-all --yes --tenant-migrations <DIR> --database-url <URL> <--to <VERSION>|--steps <N>>

        For more information, try '--help'.
        --- exit 2
    ");
}
