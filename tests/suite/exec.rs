//! `exec`

use diesel::connection::SimpleConnection;

use crate::assert_snapshot;
use crate::support::{Database, Output, eventually, fleet};

fn exec(db: &Database, args: &[&str]) -> Output {
    db.tenantry(["exec"]).args(args).run()
}

/// Two tenants with a table of their own.
fn stocked() -> Database {
    let db = fleet(&["acme", "globex"]);
    db.execute(
        "CREATE TABLE acme.stock (item text, amount numeric, note text); \
         CREATE TABLE globex.stock (item text, amount numeric, note text); \
         INSERT INTO acme.stock VALUES ('nail', 12345678901234567890.5, NULL), ('a, \"b\"', 2, 'x'); \
         INSERT INTO globex.stock VALUES ('screw', 3, '')",
    );
    db
}

#[test]
fn rows_of_all_tenants_are_a_table() {
    let db = stocked();
    assert_snapshot!(exec(&db, &["--all", "-c", "SELECT item, amount, note FROM stock ORDER BY item DESC"]), @r#"
    TENANT  ITEM    AMOUNT                  NOTE
    acme    nail    12345678901234567890.5
    acme    a, "b"  2                       x
    globex  screw   3
    --- stderr
    2 read
    --- exit 0
    "#);
    let output = exec(&db, &["globex", "-c", "SELECT current_schema() AS here"]);
    assert_eq!(output.stdout, "TENANT  HERE\nglobex  globex\n");
}

#[test]
fn rows_are_csv_or_json() {
    let db = stocked();
    let select = "SELECT item, amount, note FROM stock ORDER BY item DESC";
    assert_snapshot!(exec(&db, &["--all", "--csv", "-c", select]), @r#"
    tenant,item,amount,note
    acme,nail,12345678901234567890.5,
    acme,"a, ""b""",2,x
    globex,screw,3,
    --- stderr
    2 read
    --- exit 0
    "#);
    assert_snapshot!(exec(&db, &["acme", "--json-lines", "-c", select]), @r#"
    {"tenant":"acme","row":{"item":"nail","amount":12345678901234567890.5,"note":null}}
    {"tenant":"acme","row":{"item":"a, \"b\"","amount":2,"note":"x"}}
    --- stderr
    1 read
    --- exit 0
    "#);
    let document = exec(&db, &["globex", "--format", "json", "-c", "SELECT 1 AS a, 2 AS b, ARRAY[1, 2] AS c"]).json();
    assert_eq!(document["tenants"][0]["rows"][0], serde_json::json!({"a": 1, "b": 2, "c": [1, 2]}));
    assert_eq!(document["run"], serde_json::Value::Null);
    exec(&db, &["--all", "--csv", "--format", "json", "-c", select]).assert_code(2);
}

#[test]
fn columns_that_only_some_tenants_have_are_empty_for_the_others() {
    let db = stocked();
    db.execute("ALTER TABLE globex.stock ADD COLUMN shelf int DEFAULT 7");
    let output = exec(&db, &["--all", "--csv", "-c", "SELECT * FROM stock ORDER BY item"]);
    assert_eq!(output.stdout.lines().next(), Some("tenant,item,amount,note,shelf"));
    assert!(output.stdout.contains("\nglobex,screw,3,,7\n"), "{}", output.stdout);
    let output = exec(&db, &["acme", "--csv", "-c", "SELECT 1 AS a, 2 AS a"]);
    assert_eq!(output.stdout, "tenant,a,a\nacme,1,2\n");
}

#[test]
fn without_write_nothing_is_changed() {
    let db = stocked();
    for sql in [
        "DELETE FROM stock",
        "CREATE TABLE t ()",
        "SELECT 1; TRUNCATE stock",
        "SELECT nextval('s')",
        "SET TRANSACTION READ WRITE; DELETE FROM stock",
        "SELECT set_config('transaction_read_only', 'off', true); DELETE FROM stock",
        "DO 'BEGIN DELETE FROM stock; END'",
    ] {
        db.execute("CREATE SEQUENCE IF NOT EXISTS acme.s");
        let output = exec(&db, &["acme", "-c", sql]);
        assert!(output.code == Some(1) || output.code == Some(2), "{sql}: {:?} {}", output.code, output.stderr);
        if sql.starts_with("DELETE") {
            assert!(output.stderr.contains("hint: to change tenants, add --write"), "{sql}: {}", output.stderr);
        }
    }
    assert_eq!(db.count("SELECT count(*) FROM acme.stock"), 2);
    assert_eq!(db.count("SELECT count(*) FROM public.schema_run WHERE command = 'exec'"), 0);
    // What outlasts a rollback is removed, too.
    db.execute("CREATE FUNCTION acme.locks() RETURNS void LANGUAGE sql AS 'SELECT pg_advisory_lock(7)'");
    exec(&db, &["acme", "-c", "SELECT locks()"]).assert_code(0);
    assert_eq!(db.count("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7"), 0);
}

#[test]
fn writes_are_confirmed_and_recorded() {
    let db = stocked();
    let delete = ["--all", "--write", "-c", "DELETE FROM stock WHERE amount < 5 RETURNING item"];
    let refused = exec(&db, &delete);
    refused.assert_code(4);
    assert_eq!(db.count("SELECT count(*) FROM acme.stock"), 2);
    let output = db.tenantry(["exec", "--yes"]).args(delete).run();
    output.assert_code(0);
    assert_eq!(output.stdout, "TENANT  ITEM\nacme    a, \"b\"\nglobex  screw\n");
    assert_eq!(db.count("SELECT (SELECT count(*) FROM acme.stock) + (SELECT count(*) FROM globex.stock)"), 1);
    assert_eq!(
        db.strings("SELECT tenant || ' ' || t.outcome FROM schema_run_tenant t JOIN schema_run r ON r.id = t.run WHERE command = 'exec' ORDER BY 1"),
        ["acme done", "globex done"]
    );
}

#[test]
fn failure_of_one_tenant_is_rolled_back_and_named() {
    let db = stocked();
    db.execute("ALTER TABLE globex.stock ADD CHECK (amount < 100)");
    let sql = "INSERT INTO stock VALUES ('new', 1);\nUPDATE stock SET amount = 1000;";
    let output = exec(&db, &["--all", "--write", "--yes", "-c", sql]);
    output.assert_code(1);
    assert!(output.stderr.contains("tenant globex") && output.stderr.contains("violates check"), "{}", output.stderr);
    assert_eq!(db.count("SELECT count(*) FROM acme.stock WHERE amount = 1000"), 3);
    assert_eq!(db.count("SELECT count(*) FROM globex.stock"), 1);

    let output = exec(&db, &["acme", "-c", "SELECT 1;\n\nSELECT nonsense"]);
    output.assert_code(1);
    assert!(output.stderr.contains("line 3: column \"nonsense\" does not exist"), "{}", output.stderr);
    let output = exec(&db, &["acme", "-c", "SELECT 1;\nSELECT nonsense;\nSELECT 1"]);
    assert!(output.stderr.contains("line 2: column \"nonsense\" does not exist"), "{}", output.stderr);
}

#[test]
fn changes_outside_the_tenant_are_refused() {
    let db = stocked();
    db.execute("CREATE SCHEMA shared; CREATE TABLE shared.prices (i int)");
    let insert = ["acme", "--write", "--yes", "-c", "INSERT INTO shared.prices VALUES (1)"];
    let output = exec(&db, &insert);
    output.assert_code(1);
    assert!(output.stderr.contains("table shared.prices"), "{}", output.stderr);
    assert_eq!(db.count("SELECT count(*) FROM shared.prices"), 0);
    db.tenantry(["exec", "--changes-outside"]).args(insert).run().assert_code(0);
    assert_eq!(db.count("SELECT count(*) FROM shared.prices"), 1);
}

#[test]
fn code_of_a_tenant_runs_as_its_owner() {
    let db = stocked();
    let role = format!("owner_{}", db.name());
    db.execute(&format!(
        "CREATE ROLE {role}; ALTER SCHEMA acme OWNER TO {role}; ALTER TABLE acme.stock OWNER TO {role}; \
         CREATE FUNCTION acme.who() RETURNS text LANGUAGE sql AS 'SELECT current_user::text'; \
         CREATE VIEW acme.executor AS SELECT acme.who() AS who; ALTER VIEW acme.executor OWNER TO {role}"
    ));
    let who = |more: &[&str]| {
        db.tenantry(["exec", "acme", "--csv", "-c", "SELECT who FROM executor"]).args(more).run().stdout
    };
    assert_eq!(who(&[]), format!("tenant,who\nacme,{role}\n"));
    assert_eq!(who(&["--as-connected-role"]), format!("tenant,who\nacme,{}\n", db.string("SELECT current_user")));
    db.execute(&format!("REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn lock_timeout_is_retried() {
    let db = stocked();
    let mut other = db.connect();
    other.batch_execute("BEGIN; LOCK TABLE acme.stock").unwrap();
    let running =
        db.tenantry(["exec", "acme", "--lock-timeout", "100ms", "--retries", "50", "-c", "TABLE stock"]).spawn();
    eventually("the first attempt waits", || {
        db.count("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'acme.stock'::regclass") == 1
    });
    other.batch_execute("ROLLBACK").unwrap();
    let output = running.wait();
    output.assert_code(0);
    assert!(output.stdout.contains("nail"), "{}", output.stdout);
}

#[test]
fn wrong_input_is_refused() {
    let db = stocked();
    let refused = |args: &[&str], part: &str| {
        let output = exec(&db, args);
        output.assert_code(2);
        assert!(output.stderr.contains(part), "{args:?}: {}", output.stderr);
    };
    refused(&["acme"], "--command");
    refused(&["-c", "SELECT 1"], "NAME");
    refused(&["acme", "-c", "COMMIT"], "line 1");
    refused(&["acme", "-c", "SET search_path TO public; SELECT 1"], "search_path");
    refused(&["acme", "-c", "EXPLAIN SELECT 1"], "use psql");
    refused(&["acme", "-c", ""], "no SQL statement was given");
    refused(&["acm", "-c", "SELECT 1"], "a tenant with a similar name is acme");
    refused(&["acme", "-f", "/nowhere.sql"], "cannot read /nowhere.sql");
    refused(&["acme", "--changes-outside", "-c", "SELECT 1"], "--write");
}

#[test]
fn rows_are_limited_and_standard_input_is_read() {
    let db = stocked();
    let output = db
        .tenantry(["exec", "acme", "--max-rows", "2", "--csv", "-f", "-"])
        .stdin("SELECT i FROM generate_series(1, 5) AS i -- five")
        .run();
    assert_eq!(output.stdout, "tenant,i\nacme,1\nacme,2\n");
    assert!(output.stderr.contains("tenant acme: only the first 2 rows are shown"), "{}", output.stderr);
}

#[test]
fn program_runs_in_the_schema_of_each_tenant() {
    let db = stocked();
    // That on PATH: downloaded servers have none.
    let psql = "psql";
    // Once by the URL, once by the variables of libpq.
    let script = format!(
        "{psql} -X -Atc 'SELECT current_schema()' \"$DATABASE_URL\" && \
         {psql} -XAtc \"SELECT '$TENANTRY_TENANT', current_schemas(false), current_database()\""
    );
    let output = exec(&db, &["--all", "--extension-schema", "public", "--", "sh", "-c", &script]);
    let expected = ["acme", "globex"].map(|name| format!("{name}\n{name}|{{{name},public}}|{}\n", db.name()));
    assert_eq!((output.stdout.as_str(), output.code), (expected.concat().as_str(), Some(0)), "{}", output.stderr);

    // A failure does not stop the other tenants. Without --write, transactions are read-only.
    let create = "CREATE TABLE acme.made (); CREATE TABLE made ()";
    let script = format!("{psql} -X -v ON_ERROR_STOP=1 -c '{create}'");
    let output = exec(&db, &["--all", "--", "sh", "-c", &script]);
    output.assert_code(1);
    assert!(output.stderr.contains("error: tenant acme: sh: exit status: 1"), "{}", output.stderr);
    assert!(output.stderr.contains("error: tenant globex: sh: exit status: 1"), "{}", output.stderr);
    assert!(output.stderr.ends_with("0 done, 2 failed\n"), "{}", output.stderr);
    let script = format!("{psql} -Xqc 'CREATE TABLE made ()'; test $TENANTRY_TENANT = globex");
    let unconfirmed = exec(&db, &["--all", "--write", "--", "sh", "-c", &script]);
    unconfirmed.assert_code(4);
    let output = exec(&db, &["--all", "--write", "--yes", "--", "sh", "-c", &script]);
    output.assert_code(1);
    assert!(output.stderr.ends_with("1 done, 1 failed\n"), "{}", output.stderr);
    assert_eq!(db.strings("SELECT schemaname FROM pg_tables WHERE tablename = 'made' ORDER BY 1"), ["acme", "globex"]);
}

/// A pooler that ignores the search path is a failure of the tenant, with a hint.
#[test]
fn program_without_its_search_path_does_not_run() {
    let db = stocked();
    let settings = [("ignore_startup_parameters", "options,extra_float_digits")];
    let pooler = crate::support::pgbouncer::PgBouncer::with_settings(crate::support::server(), &settings);
    let output =
        db.tenantry(["exec", "acme", "--", "sh", "-c", "echo ran"]).env("DATABASE_URL", pooler.url(db.name())).run();
    output.assert_code(1);
    assert_eq!(output.stdout, "");
    assert!(output.stderr.contains("a new session does not get the search_path of schema acme"), "{}", output.stderr);
    assert!(
        output.stderr.contains("hint: connect to the server directly and not through a pooler"),
        "{}",
        output.stderr
    );
}

#[test]
fn program_that_cannot_run_is_an_error() {
    let db = stocked();
    let output = exec(&db, &["acme", "--", "/nowhere/program"]);
    output.assert_code(2);
    assert!(output.stderr.contains("cannot run /nowhere/program: No such file"), "{}", output.stderr);
    for args in [&["acme", "--csv", "--", "true"][..], &["acme", "-c", "SELECT 1", "--", "true"], &["--", "true"]] {
        exec(&db, args).assert_code(2);
    }
    exec(&db, &["acme", "--format", "json", "--", "true"]).assert_code(2);
    exec(&db, &["acme", "--", "true"]).assert_code(0);
}

#[test]
#[ignore = "long: make test-long"]
fn commit_that_is_lost_is_not_repeated() {
    use crate::support::proxy::{CutPoint, Proxy};
    let template = stocked();
    let proxy = Proxy::start(crate::support::server());
    let mut cuts = 0;
    for point in [CutPoint::Before, CutPoint::After] {
        for n in 1.. {
            let db = template.copy();
            proxy.reset();
            proxy.cut_at(n, point);
            let output = db
                .tenantry(["exec", "--all", "--write", "--yes", "-c", "UPDATE stock SET amount = amount + 1"])
                .env("DATABASE_URL", proxy.url(db.name()))
                .run();
            let reached = proxy.messages();
            let amount = db.string("SELECT amount::text FROM globex.stock");
            match output.code {
                Some(0) => assert_eq!(amount, "4", "cut at {n}: {}", output.stderr),
                code => assert!(code == Some(5) && amount == "3", "cut at {n}: {code:?} {amount}: {}", output.stderr),
            }
            if reached < n {
                break;
            }
            cuts += 1;
        }
    }
    assert!(cuts > 10, "{cuts}");
}
