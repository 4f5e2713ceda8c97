//! A database of its own is not affected by fleets on several servers.

use crate::support::proxy::Proxy;
use crate::support::{Tenantry, fleet, server};

#[test]
#[ignore = "long: make test-long"]
fn single_server_is_asked_nothing_more() {
    let db = fleet(&["acme", "globex"]);
    let proxy = Proxy::start(server());
    let run = |args: &[&str]| {
        proxy.reset();
        Tenantry::new().args(args).env("DATABASE_URL", proxy.url(db.name())).run().assert_code(0);
        let asked = proxy.queries();
        // The one query about the server looks at the size of the table.
        let asks = |sql: &String| {
            ["schema_placement", "schema_identity", "schema_fleet_run"].iter().any(|name| sql.contains(name))
                || sql.contains("public.schema_server")
        };
        assert_eq!(asked.iter().filter(|sql| asks(sql)).count(), 0, "{args:?}: {asked:#?}");
        proxy.messages()
    };
    let commands: [&[&str]; 8] = [
        &["list"],
        &["list", "--fallback-url", "dbname=x"],
        &["migrate-all"],
        &["health-check"],
        &["stats"],
        &["exec", "acme", "-c", "SELECT 1"],
        &["where", "acme"],
        &["label", "acme", "ring=1"],
    ];
    let before: Vec<usize> = commands.iter().map(|args| run(args)).collect();
    // The same as if the tables did not exist.
    db.execute(
        "DROP TABLE schema_fleet_run_server, schema_fleet_run, schema_move, schema_placement, schema_server, schema_identity",
    );
    for (args, before) in commands.iter().zip(before) {
        if args[0] != "label" {
            proxy.reset();
            Tenantry::new().args(*args).env("DATABASE_URL", proxy.url(db.name())).run().assert_code(0);
            assert_eq!(proxy.messages(), before, "{args:?}");
        }
    }
}

#[test]
fn options_of_servers_are_refused_on_a_single_server() {
    let db = fleet(&["acme"]);
    for args in
        [&["list", "--server", "main"][..], &["migrate-all", "--region", "eu"], &["create", "x", "--server", "eu"]]
    {
        let output = db.tenantry(args).run();
        assert!(output.assert_code(3).stderr.contains("has no directory of servers"), "{}", output.stderr);
    }
    db.tenantry(["create", "hooli", "--place", "least-bytes"]).run().assert_code(0);
}
