//! `where`

use super::{Fleet, texts};
use crate::support::fleet;

#[test]
fn tenants_are_found_with_their_server() {
    let fleet = Fleet::with_lines(&["eu"]);
    fleet.run(&["create", "acme", "globex", "--server", "eu"]);
    fleet.run(&["create", "acme-corp", "--any-name", "--server", "main"]);
    let json = fleet.json(&["where", "acme", "acme-corp"]);
    assert_eq!(texts(&json["tenants"], "name"), ["acme", "acme-corp"]);
    assert_eq!(texts(&json["tenants"], "server"), ["eu", "main"]);
    assert_eq!(texts(&json["tenants"], "region"), ["eu", "null"]);
    let urls = fleet.run(&["where", "acme", "--format", "url"]).stdout;
    assert_eq!(urls, fleet.line("eu").url(fleet.server("eu").name()) + "\n");
    assert_eq!(fleet.run(&["where", "--all"]).stdout.lines().count(), 4);
    fleet.says(&["where", "acne"], 2, &["tenant acne: no server has this tenant", "similar name is acme"]);
    fleet.says(&["where"], 2, &["required"]);
    fleet.says(&["where", "acme", "--all"], 2, &["cannot be used with"]);
    // A copy of the directory answers as well, also while the registry or the server is not reached.
    fleet.line("eu").cut();
    assert_eq!(fleet.run(&["where", "acme", "--format", "url"]).stdout, urls);
    let copy = fleet.server("eu").tenantry(["where", "acme", "--format", "url"]).run();
    assert_eq!(copy.assert_code(0).stdout, urls);
    let fallback = fleet
        .tenantry(&["where", "acme", "--format", "url", "--fallback-url", &fleet.server("eu").url()])
        .env("DATABASE_URL", "postgresql://postgres@/x?host=/nowhere")
        .run();
    assert_eq!(fallback.assert_code(0).stdout, urls);
    assert!(fallback.stderr.contains("using the copy of the directory of"), "{}", fallback.stderr);
}

#[test]
fn routers_get_their_configuration() {
    let fleet = Fleet::of(&["eu"]);
    fleet.run(&["create", "acme", "--server", "eu"]);
    fleet.run(&["create", "hooli", "--server", "main"]);
    fleet.run(&["create", "o'Brien \"x\"", "--any-name", "--server", "main"]);
    fleet.registry.execute(
        "UPDATE schema_server SET connection = 'postgresql://postgres@' || name || '.example.org:5433/d?sslmode=require'",
    );
    let pgdog = fleet.run(&["where", "--all", "--format", "pgdog"]).stdout;
    insta::assert_snapshot!(pgdog, @r#"
    [[databases]]
    name = "tenants"
    host = "eu.example.org"
    port = 5433
    database_name = "d"
    shard = 0

    [[databases]]
    name = "tenants"
    host = "main.example.org"
    port = 5433
    database_name = "d"
    shard = 1

    [[sharded_schemas]]
    database = "tenants"
    name = "acme"
    shard = 0

    [[sharded_schemas]]
    database = "tenants"
    name = "hooli"
    shard = 1

    [[sharded_schemas]]
    database = "tenants"
    name = "o'Brien \"x\""
    shard = 1
    "#);
    let pgbouncer = fleet.run(&["where", "--all", "--format", "pgbouncer"]).stdout;
    insta::assert_snapshot!(pgbouncer, @r#"
    [databases]
    acme = host='eu.example.org' port='5433' dbname='d'
    hooli = host='main.example.org' port='5433' dbname='d'
    "o'Brien ""x""" = host='main.example.org' port='5433' dbname='d'
    "#);
}

#[test]
fn single_server_answers_without_a_directory() {
    let db = fleet(&["acme", "globex"]);
    let output = db.tenantry(["where", "acme", "--format", "url"]).run();
    assert_eq!(output.assert_code(0).stdout, db.url() + "\n");
    let json = db.tenantry(["where", "--all", "--format", "json"]).run().json();
    assert_eq!(texts(&json["tenants"], "server"), ["main", "main"]);
    let unknown = db.tenantry(["where", "acmee"]).run();
    assert!(unknown.assert_code(2).stderr.contains("similar name is acme"), "{}", unknown.stderr);
}
