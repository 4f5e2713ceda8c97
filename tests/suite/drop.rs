//! `drop`

use crate::assert_snapshot;
use crate::support::{Database, Screen, Tenantry, Terminal, binaries, fleet};

/// The names of all schemas except PostgreSQL's own.
pub(crate) fn schemas(db: &Database) -> String {
    db.strings(
        "SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema' \
         ORDER BY nspname COLLATE \"C\"",
    )
    .join(" ")
}

fn tracked(db: &Database) -> String {
    db.strings("SELECT name FROM schema_tracker ORDER BY name COLLATE \"C\"").join(" ")
}

#[test]
fn dry_run_shows_the_plan() {
    let db = fleet(&["acme", "globex"]);
    db.execute(
        "INSERT INTO acme.users (email, full_name) SELECT i || '@x', 'x' FROM generate_series(1, 1500) AS i; \
         ANALYZE acme.users",
    );
    assert_snapshot!(db.tenantry(["drop", "globex", "acme", "nobody", "--dry-run"]).run());
    assert_snapshot!(db.tenantry(["drop", "globex", "acme", "nobody", "--dry-run", "--format", "json"]).run());
    assert_eq!((tracked(&db), schemas(&db)), ("acme globex".to_owned(), "acme globex public".to_owned()));
}

#[test]
fn confirmation_is_required_without_a_terminal() {
    let db = fleet(&["acme"]);
    assert_snapshot!(db.tenantry(["drop", "acme"]).run(), @r"
        --- stderr
        tenant migrations: MIGRATIONS (5 in all, newest 20260209090000)
        TENANT  TRACKED  TABLES  ROWS (ESTIMATED)  SIZE
        acme    yes      4       0 SIZE
        error: confirmation required, but there is no terminal
        hint: check with --dry-run, then add --yes
        --- exit 4
    ");
    // Piped input is not a confirmation.
    db.tenantry(["drop", "acme"]).stdin("y\n").run().assert_code(4);
    assert_snapshot!(db.tenantry(["drop", "acme", "--format", "json"]).run());
    assert_eq!((tracked(&db), schemas(&db)), ("acme".to_owned(), "acme public".to_owned()));
}

#[test]
fn yes_confirms_the_drop() {
    let db = fleet(&["acme", "globex", "initech"]);
    assert_snapshot!(db.tenantry(["drop", "acme", "initech", "--yes"]).run(), @r"
        --- stderr
        2 dropped
        --- exit 0
    ");
    assert_eq!((tracked(&db), schemas(&db)), ("globex".to_owned(), "globex public".to_owned()));
    assert_snapshot!(db.tenantry(["drop", "globex", "--yes", "--format", "json"]).run());
    assert_eq!((tracked(&db), schemas(&db)), (String::new(), "public".to_owned()));
}

#[test]
fn answer_yes_confirms_the_drop() {
    for answer in ["y", "Y", "yes", " YES "] {
        let db = fleet(&["acme"]);
        let mut terminal = Terminal::spawn(db.tenantry(["drop", "acme"]));
        terminal.expect("[y/N]").type_line(answer);
        let screen = Screen::of(&mut terminal);
        screen.assert_code(0);
        assert_eq!((tracked(&db), schemas(&db)), (String::new(), "public".to_owned()), "{answer:?}");
        if answer == "y" {
            assert_snapshot!(screen);
        }
    }
}

#[test]
fn any_other_answer_cancels_the_drop() {
    let db = fleet(&["acme"]);
    for answer in ["n", "", "yep", "acme", "no"] {
        let mut terminal = Terminal::spawn(db.tenantry(["drop", "acme"]));
        terminal.expect("[y/N]").type_line(answer);
        let screen = Screen::of(&mut terminal);
        screen.assert_code(4);
        if answer == "n" {
            assert_snapshot!(screen);
        }
    }
    // End of input.
    let mut terminal = Terminal::spawn(db.tenantry(["drop", "acme"]));
    terminal.expect("[y/N]").type_text("\u{4}");
    Screen::of(&mut terminal).assert_code(4);
    // An interrupt.
    let mut terminal = Terminal::spawn(db.tenantry(["drop", "acme"]));
    terminal.expect("[y/N]").type_text("\u{3}");
    Screen::of(&mut terminal).assert_code(130);
    assert_eq!((tracked(&db), schemas(&db)), ("acme".to_owned(), "acme public".to_owned()));
}

#[test]
fn unknown_tenant_is_refused_unless_if_exists() {
    let db = fleet(&["acme"]);
    assert_snapshot!(db.tenantry(["drop", "nobody", "--yes"]).run(), @r"
        --- stderr
        error: tenant nobody: no tenant or schema has this name
        hint: check the name, or add --if-exists
        0 dropped, 1 failed
        --- exit 1
    ");
    assert_snapshot!(db.tenantry(["drop", "nobody", "acme", "--yes", "--if-exists"]).run(), @r"
        --- stderr
        nobody does not exist
        1 dropped
        --- exit 0
    ");
    assert_snapshot!(db.tenantry(["drop", "nobody", "acme", "--if-exists"]).run(), @r"
        --- stderr
        nobody does not exist
        acme does not exist
        0 dropped
        --- exit 0
    ");
    assert_snapshot!(db.tenantry(["drop", "nobody", "--if-exists", "--yes", "--format", "json"]).run());
}

#[test]
fn failures_do_not_affect_other_tenants() {
    let db = fleet(&["acme"]);
    db.execute("CREATE SCHEMA stranger");
    assert_snapshot!(db.tenantry(["drop", "nobody", "acme", "stranger", "--yes"]).run(), @r"
        --- stderr
        error: tenant nobody: no tenant or schema has this name
        hint: check the name, or add --if-exists
        error: tenant stranger: not tracked; only tracked schemas are dropped
        hint: 'tenantry drop --untracked stranger' drops it anyway
        1 dropped, 2 failed (run 2)
        --- exit 1
    ");
    assert_eq!((tracked(&db), schemas(&db)), (String::new(), "public stranger".to_owned()));
}

#[test]
fn untracked_schema_is_dropped_only_with_untracked() {
    let db = fleet(&[]);
    db.execute("CREATE SCHEMA stranger; CREATE TABLE stranger.t(i int)");
    assert_snapshot!(db.tenantry(["drop", "stranger", "--yes"]).run(), @r"
        --- stderr
        error: tenant stranger: not tracked; only tracked schemas are dropped
        hint: 'tenantry drop --untracked stranger' drops it anyway
        0 dropped, 1 failed
        --- exit 1
    ");
    assert_snapshot!(db.tenantry(["drop", "stranger", "--yes", "--format", "json"]).run());
    assert_eq!(schemas(&db), "public stranger");
    assert_snapshot!(db.tenantry(["drop", "stranger", "--untracked", "--dry-run"]).run(), @r"
        TENANT    TRACKED  TABLES  ROWS (ESTIMATED)  SIZE
        stranger  no       1       0 SIZE
        --- stderr
        tenant migrations: MIGRATIONS (5 in all, newest 20260209090000)
        1 tenant would be dropped
        --- exit 0
    ");
    assert_snapshot!(db.tenantry(["drop", "stranger", "--untracked", "--yes"]).run(), @r"
        --- stderr
        1 dropped
        --- exit 0
    ");
    assert_eq!(schemas(&db), "public");
}

#[test]
fn tracked_tenant_without_a_schema_is_dropped() {
    let db = fleet(&["gone"]);
    db.execute("DROP SCHEMA gone CASCADE; INSERT INTO schema_tracker (name) VALUES ('registered')");
    assert_snapshot!(db.tenantry(["drop", "gone", "registered", "--dry-run"]).run(), @r"
        TENANT      TRACKED  TABLES     ROWS (ESTIMATED)  SIZE
        gone        yes      no schema  -                 -
        registered  yes      no schema  -                 -
        --- stderr
        tenant migrations: MIGRATIONS (5 in all, newest 20260209090000)
        2 tenants would be dropped
        --- exit 0
    ");
    assert_snapshot!(db.tenantry(["drop", "gone", "registered", "--yes"]).run(), @r"
        --- stderr
        2 dropped
        --- exit 0
    ");
    assert_eq!(tracked(&db), "");
}

#[test]
fn tenants_in_every_state_are_dropped() {
    let db = fleet(&["acme", "globex", "initech"]);
    db.execute(
        "UPDATE schema_tracker SET state = 'dropping' WHERE name = 'acme'; \
         UPDATE schema_tracker SET state = 'creating' WHERE name = 'globex'; \
         UPDATE schema_tracker SET state = 'registered' WHERE name = 'initech'",
    );
    db.tenantry(["drop", "acme", "globex", "initech", "--yes"]).run().assert_code(0);
    assert_eq!((tracked(&db), schemas(&db)), (String::new(), "public".to_owned()));
}

#[test]
fn tenant_being_dropped_is_not_compared() {
    let db = fleet(&["acme", "globex"]);
    db.execute("UPDATE schema_tracker SET state = 'dropping' WHERE name = 'acme'");
    for args in [&["diff", "acme"][..], &["diff", "globex", "acme"], &["repair-plan", "acme"]] {
        let output = db.tenantry(args).run();
        output.assert_code(3);
        assert!(output.stderr.contains("error: tenant acme: a drop is in progress"), "{}", output.stderr);
        assert!(output.stderr.contains("hint: 'tenantry drop acme' completes the drop"), "{}", output.stderr);
    }
}

#[test]
#[ignore = "long: make test-long"]
fn dependent_objects_outside_the_schema_prevent_the_drop() {
    let db = fleet(&["acme", "globex", "initech"]);
    db.execute(
        "CREATE VIEW globex.of_acme AS SELECT id FROM acme.users; \
         CREATE SCHEMA billing; CREATE TABLE billing.invoices (user_id bigint REFERENCES acme.users (id)); \
         CREATE TABLE billing.roles (role acme.user_role); \
         CREATE FUNCTION billing.f(acme.users) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    );
    assert_snapshot!(db.tenantry(["drop", "acme", "initech", "--dry-run"]).run(), @r"
        TENANT   TRACKED  TABLES  ROWS (ESTIMATED)  SIZE
        initech  yes      4       0 SIZE
        --- stderr
        tenant migrations: MIGRATIONS (5 in all, newest 20260209090000)
        error: tenant acme: objects outside the schema depend on it: column role of table billing.roles, constraint invoices_user_id_fkey on table billing.invoices, function billing.f(acme.users), view globex.of_acme
        hint: drop those objects first, or move them into the schema
        1 tenant would be dropped
        --- exit 1
    ");
    assert_snapshot!(db.tenantry(["drop", "acme", "--yes"]).run(), @r"
        --- stderr
        error: tenant acme: objects outside the schema depend on it: column role of table billing.roles, constraint invoices_user_id_fkey on table billing.invoices, function billing.f(acme.users), view globex.of_acme
        hint: drop those objects first, or move them into the schema
        0 dropped, 1 failed
        --- exit 1
    ");
    assert_snapshot!(db.tenantry(["drop", "acme", "--yes", "--format", "json"]).run());
    assert_eq!(tracked(&db), "acme globex initech");
    assert_eq!(db.count("SELECT count(*) FROM globex.of_acme"), 0, "the view is there");
    db.execute("INSERT INTO billing.invoices VALUES (NULL)");
    let keys = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND connamespace = 'billing'::regnamespace";
    assert_eq!(db.count(keys), 1, "the foreign key is there");
    // An object that depends on other objects does not prevent the drop.
    db.execute("DROP SCHEMA billing CASCADE");
    db.tenantry(["drop", "globex", "--yes"]).run().assert_code(0);
    db.tenantry(["drop", "acme", "--yes"]).run().assert_code(0);
}

/// `CASCADE` drops an object outside the schema if a part of it is in the schema.
#[test]
fn schema_with_a_part_of_an_outside_object_is_not_dropped() {
    for (make, of, count) in [
        (
            "ALTER EXTENSION plpgsql ADD FUNCTION acme.touch_updated_at()",
            "extension plpgsql",
            "SELECT count(*) FROM pg_extension WHERE extname = 'plpgsql'",
        ),
        (
            "CREATE TYPE public.span AS RANGE (subtype = int, multirange_type_name = acme.spans)",
            "type public.span",
            "SELECT count(*) FROM pg_type WHERE typname = 'span'",
        ),
    ] {
        let db = fleet(&["acme"]);
        db.execute(make);
        let output = db.tenantry(["drop", "acme", "--yes", "--format", "json"]).run();
        output.assert_code(1);
        let failed = &output.json()["failed"][0];
        assert_eq!(failed["code"], "dependents");
        assert!(failed["message"].as_str().is_some_and(|message| message.contains(of)), "{failed}");
        assert_eq!(db.count(count), 1);
        assert_eq!(db.count("SELECT count(*) FROM pg_namespace WHERE nspname = 'acme'"), 1);
    }
}

/// A plan for more tenants than one statement may touch marks its sizes as estimates.
#[test]
fn sizes_in_a_large_plan_are_estimates() {
    let db = fleet(&["acme"]);
    db.execute("ANALYZE");
    let exact = db.tenantry(["drop", "acme", "--dry-run", "--format", "json"]).run().json();
    assert_eq!(exact["sizes_estimated"], false);
    db.execute(
        "DO $$ BEGIN FOR i IN 1..500 LOOP \
         EXECUTE format('CREATE SCHEMA x%s', i); \
         INSERT INTO schema_tracker (name, state) VALUES ('x' || i, 'active'); END LOOP; END $$",
    );
    let names: Vec<String> = (1..=500).map(|i| format!("x{i}")).collect();
    let mut args = vec!["drop", "--dry-run", "acme"];
    args.extend(names.iter().map(String::as_str));
    let table = db.tenantry(&args).run();
    table.assert_code(0);
    assert!(table.stdout.lines().next().is_some_and(|head| head.contains("SIZE (ESTIMATED)")), "{}", table.stdout);
    args.extend(["--format", "json"]);
    let estimated = db.tenantry(&args).run().json();
    assert_eq!(estimated["sizes_estimated"], true);
    // ANALYZE has recorded the pages of every table and index.
    assert_eq!(estimated["drops"][0], exact["drops"][0]);
}

#[test]
fn publication_of_its_tables_does_not_prevent_the_drop() {
    let db = fleet(&["acme"]);
    db.execute("CREATE PUBLICATION of_users FOR TABLE acme.users");
    // PostgreSQL 14 cannot publish a whole schema.
    if binaries().major() >= 15 {
        db.execute("CREATE PUBLICATION of_acme FOR TABLES IN SCHEMA acme");
    }
    db.tenantry(["drop", "acme", "--yes"]).run().assert_code(0);
    assert_eq!((tracked(&db), schemas(&db)), (String::new(), "public".to_owned()));
}

#[test]
fn dependency_added_during_confirmation_prevents_the_drop() {
    let db = fleet(&["acme"]);
    let mut terminal = Terminal::spawn(db.tenantry(["drop", "acme"]));
    terminal.expect("[y/N]");
    db.execute("CREATE VIEW public.of_acme AS SELECT id FROM acme.users");
    terminal.type_line("y");
    let screen = Screen::of(&mut terminal);
    screen.assert_code(1);
    assert_snapshot!(screen, @r"
        tenant migrations: MIGRATIONS (5 in all, newest 20260209090000)
        TENANT  TRACKED  TABLES  ROWS (ESTIMATED)  SIZE
        acme    yes      4       0 SIZE
        Drop tenant acme and all its data from database DATABASE on the socket in SOCKET? [y/N] y
        error: tenant acme: changed after the plan was shown; nothing was dropped
        hint: 'tenantry drop --dry-run acme' shows its current state
        0 dropped, 1 failed (run 2)
        --- exit 1
    ");
    assert_eq!((tracked(&db), schemas(&db)), ("acme".to_owned(), "acme public".to_owned()));
    assert_eq!(db.count("SELECT count(*) FROM public.of_acme"), 0);
}

#[test]
fn schema_replaced_during_confirmation_is_not_dropped() {
    let db = fleet(&["acme"]);
    let mut terminal = Terminal::spawn(db.tenantry(["drop", "acme"]));
    terminal.expect("[y/N]");
    db.execute("DROP SCHEMA acme CASCADE; CREATE SCHEMA acme; CREATE TABLE acme.precious AS SELECT 1 AS i");
    terminal.type_line("y");
    let screen = Screen::of(&mut terminal);
    screen.assert_code(1);
    assert!(!screen.snapshot().contains("migrate-one"), "the way on is another drop: {}", screen.snapshot());
    assert_snapshot!(screen, @r"
        tenant migrations: MIGRATIONS (5 in all, newest 20260209090000)
        TENANT  TRACKED  TABLES  ROWS (ESTIMATED)  SIZE
        acme    yes      4       0 SIZE
        Drop tenant acme and all its data from database DATABASE on the socket in SOCKET? [y/N] y
        error: tenant acme: changed after the plan was shown; nothing was dropped
        hint: 'tenantry drop --dry-run acme' shows its current state
        0 dropped, 1 failed (run 2)
        --- exit 1
    ");
    assert_eq!(db.count("SELECT count(*) FROM acme.precious"), 1);
    assert_eq!(tracked(&db), "acme");
}

#[test]
fn schema_adopted_during_confirmation_is_not_dropped() {
    let db = fleet(&[]);
    db.execute("CREATE SCHEMA stranger");
    let mut terminal = Terminal::spawn(db.tenantry(["drop", "--untracked", "stranger"]));
    terminal.expect("[y/N]");
    db.tenantry(["adopt", "stranger"]).run().assert_code(0);
    terminal.type_line("y");
    Screen::of(&mut terminal).assert_code(1);
    assert_eq!((tracked(&db), schemas(&db)), ("stranger".to_owned(), "public stranger".to_owned()));
}

#[test]
fn system_schemas_are_never_dropped() {
    let db = fleet(&[]);
    let own = ["public", "pg_catalog", "information_schema", "pg_toast"];
    assert_snapshot!(db.tenantry(["drop", "--untracked", "--yes"]).args(own).run(), @r"
        --- stderr
        error: 4 tenants: a system schema cannot be a tenant
          tenants: information_schema, pg_catalog, pg_toast, public
        hint: if the tracker has such a row: DELETE FROM public.schema_tracker WHERE name = 'NAME'
        0 dropped, 4 failed
        --- exit 1
    ");
    // Not even if they are in the tracker.
    db.execute("INSERT INTO schema_tracker (name) VALUES ('public'), ('information_schema')");
    assert_snapshot!(db.tenantry(["drop", "--yes", "public", "information_schema"]).run(), @r"
        --- stderr
        error: 2 tenants: a system schema cannot be a tenant
          tenants: information_schema, public
        hint: if the tracker has such a row: DELETE FROM public.schema_tracker WHERE name = 'NAME'
        0 dropped, 2 failed
        --- exit 1
    ");
    assert_eq!(tracked(&db), "information_schema public");
    assert_eq!(db.count("SELECT count(*) FROM pg_namespace WHERE nspname = 'information_schema'"), 1);
}

#[test]
fn tenant_that_contains_an_extension_is_not_dropped() {
    let db = fleet(&["acme"]);
    db.execute("CREATE EXTENSION citext SCHEMA acme");
    let output = db.tenantry(["drop", "--yes", "acme"]).run();
    assert!(!output.stderr.contains("choose another name"), "it has its name already: {}", output.stderr);
    assert_snapshot!(output, @r"
        --- stderr
        error: tenant acme: schema contains extensions
        hint: move the extensions out of it: ALTER EXTENSION … SET SCHEMA …
        0 dropped, 1 failed
        --- exit 1
    ");
    assert_eq!((tracked(&db), schemas(&db)), ("acme".to_owned(), "acme public".to_owned()));
}

#[test]
fn role_that_does_not_own_the_schema_is_refused() {
    let db = fleet(&["acme"]);
    let url = crate::support::url_of_a_stranger(&db);
    assert_snapshot!(db.tenantry(["drop", "--yes", "acme"]).env("DATABASE_URL", url).run(), @r"
        --- stderr
        error: tenant acme: must be owner of schema acme
        0 dropped, 1 failed (run 2)
        hint: to resume: tenantry drop acme
        --- exit 1
    ");
    assert_eq!((tracked(&db), schemas(&db)), ("acme".to_owned(), "acme public".to_owned()));
}

#[test]
fn missing_tracker_or_name_is_an_error() {
    assert_snapshot!(Database::new().tenantry(["drop", "acme", "--yes"]).run(), @r#"
        --- stderr
        error: database "DATABASE" has no tracker (public.schema_tracker)
        hint: run 'tenantry migrate-public'
        --- exit 3
    "#);
    assert_snapshot!(Tenantry::new().without_migrations().arg("drop").run(), @r"
        --- stderr
        error: the following required arguments were not provided:
          <NAME>...

        Usage: tenantry drop <NAME>...

        For more information, try '--help'.
        --- exit 2
    ");
    assert_snapshot!(Tenantry::new().without_migrations().args(["drop", ""]).run(), @"
    --- stderr
    error: invalid value '' for '[NAME]...': the name is empty

    For more information, try '--help'.
    --- exit 2
    ");
}

#[test]
fn verbose_reports_every_tenant() {
    let db = fleet(&["acme", "globex"]);
    let output = db.tenantry(["drop", "--yes", "--verbose", "--jobs", "1", "acme", "globex"]).run();
    output.assert_code(0);
    for name in ["acme", "globex"] {
        assert!(output.stderr.contains(&format!("dropped {name}")), "{}", output.stderr);
    }
    // Dropping several relations takes more than 0 ms.
    assert!(!output.stderr.contains(" in 0 ms"), "the time it took: {}", output.stderr);
}
