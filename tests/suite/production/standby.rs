//! Tenants that share tables, on a standby.

use super::outages::OwnServer;
use crate::rows::Shop;
use crate::support::Database;

#[test]
#[ignore = "long: make test-long"]
fn rows_of_shared_tables_are_not_read_on_a_standby() {
    let server = OwnServer::start();
    let shop = Shop::isolated_in(Database::on(server.0));
    // Transactions that are read-only by default are no obstacle.
    shop.db.execute(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", shop.db.name()));
    assert_eq!(shop.run(&["list", "--names"]), "acme\nglobex\n");
    assert!(shop.run(&["metrics"]).contains("tenantry_tenants{state=\"active\"} 2"));
    server.crash();
    server.start_as_standby();
    for args in [&["list"][..], &["list", "--names"], &["metrics"], &["drop", "acme", "--dry-run"]] {
        let output = shop.tenantry(args).run();
        output.assert_code(3);
        assert!(
            output.stderr.contains("rows of shared tables cannot be read on a standby"),
            "{args:?}: {}",
            output.stderr
        );
        assert!(
            output.stderr.contains("hint: set --database-url to the primary server"),
            "{args:?}: {}",
            output.stderr
        );
        assert_eq!(output.stdout, "", "{args:?}");
    }
    // What only the catalogs show is checked.
    let health = shop.tenantry(&["health-check", "--ignore", "server.cve"]).run();
    health.assert_code(1);
    assert!(health.stderr.contains("not checked: data.orphans"), "{}", health.stderr);
    shop.db.strings("SELECT pg_promote()");
}
