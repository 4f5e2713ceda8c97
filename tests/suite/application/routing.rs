//! `Tenants` in a fleet on several servers.

use tenantry::application::{AccessError, Tenants, TransactionError};
use tenantry::{Connector, MigrationSet, ServerName, Tenancy};

use super::*;

/// A fleet of `main` with the tenant acme, and `eu` with the tenant globex; each has a note with its name.
fn servers() -> (Database, Database, Dir) {
    let (main, eu, migrations) = (Database::new(), Database::new(), Dir::new().add("1_notes", NOTES));
    main.tenantry(["migrate-public"]).run().assert_code(0);
    main.tenantry(["server", "add", "eu", "--url", &eu.url()]).run().assert_code(0);
    for (tenant, server) in [("acme", "main"), ("globex", "eu")] {
        let create = main.tenantry(["create", tenant, "--server", server, "--tenant-migrations"]);
        create.arg(migrations.path()).run().assert_code(0);
    }
    main.execute("INSERT INTO acme.notes (body) VALUES ('acme')");
    eu.execute("INSERT INTO globex.notes (body) VALUES ('globex')");
    (main, eu, migrations)
}

fn server_name(name: &str) -> ServerName {
    name.parse().unwrap()
}

/// The tenants, with the pools of these servers.
fn routed(main: &Database, migrations: &Dir, pools: &[(&str, &Database)]) -> Tenants {
    let tenancy = Tenancy::new(MigrationSet::from_dir(migrations.path()).unwrap()).unwrap();
    let connector = Connector::new(main.url().parse().unwrap(), Duration::from_secs(5), |_| None);
    let pools = pools.iter().map(|(name, db)| (server_name(name), pool(&db.url(), 2)));
    Tenants::new(pool(&main.url(), 2), connector, tenancy).with_servers(pools)
}

#[test]
fn a_transaction_runs_on_the_server_of_the_tenant() {
    let (main, eu, migrations) = servers();
    let tenants = routed(&main, &migrations, &[("main", &main), ("eu", &eu)]);
    for (tenant, server) in [("acme", "main"), ("globex", "eu")] {
        let location = tenants.locate(&name(tenant)).unwrap();
        assert_eq!((location.server, location.epoch), (Some(server_name(server)), 1));
        assert_eq!(tenants.with(&name(tenant), bodies).unwrap(), [tenant]);
    }
    assert_eq!(tenants.names().unwrap(), [name("acme"), name("globex")]);
    let mut seen = Vec::new();
    let done = tenants.each(|tenant, conn| {
        seen.push((tenant.to_string(), bodies(conn)?));
        Ok::<(), DieselError>(())
    });
    assert_eq!(done.unwrap(), 2);
    assert_eq!(seen, [("acme".to_owned(), vec!["acme".to_owned()]), ("globex".to_owned(), vec!["globex".to_owned()])]);
    let unknown = tenants.with(&name("initech"), bodies);
    assert!(matches!(unknown, Err(TransactionError::Access(AccessError::UnknownTenant(_)))), "{unknown:?}");
}

#[test]
fn a_tenant_that_has_moved_is_looked_up_again() {
    let (main, eu, migrations) = servers();
    let tenants = routed(&main, &migrations, &[("main", &main), ("eu", &eu)]);
    assert_eq!(tenants.with(&name("acme"), bodies).unwrap(), ["acme"]);
    // As a move does.
    eu.execute("CREATE SCHEMA acme; CREATE TABLE acme.notes (id int PRIMARY KEY, body text); \
                INSERT INTO acme.notes VALUES (1, 'moved'); INSERT INTO schema_tracker (name, state) VALUES ('acme', 'active')");
    main.execute(
        "DROP SCHEMA acme CASCADE; DELETE FROM schema_tracker WHERE name = 'acme'; \
         UPDATE schema_placement SET epoch = epoch + 1, server = (SELECT id FROM schema_server WHERE name = 'eu') \
         WHERE tenant = 'acme'",
    );
    assert_eq!(tenants.locate(&name("acme")).unwrap().epoch, 1, "it is known");
    assert_eq!(tenants.with(&name("acme"), bodies).unwrap(), ["moved"]);
    let location = tenants.locate(&name("acme")).unwrap();
    assert_eq!((location.server, location.epoch), (Some(server_name("eu")), 2));
}

#[test]
fn without_the_registry_a_copy_of_the_directory_is_read() {
    let (main, eu, migrations) = servers();
    let tenancy = Tenancy::new(MigrationSet::from_dir(migrations.path()).unwrap()).unwrap();
    let connector = Connector::new(main.url().parse().unwrap(), Duration::from_secs(5), |_| None);
    let unreachable = Pool::builder()
        .connection_timeout(Duration::from_millis(100))
        .build_unchecked(ConnectionManager::new("host=/nonexistent dbname=x"));
    let tenants = Tenants::new(unreachable, connector, tenancy).with_servers([(server_name("eu"), pool(&eu.url(), 2))]);
    assert_eq!(tenants.with(&name("globex"), bodies).unwrap(), ["globex"]);
    let other = tenants.with(&name("acme"), bodies);
    assert!(matches!(&other, Err(TransactionError::Access(AccessError::NoPool(server))) if server.as_str() == "main"));
}

#[test]
fn with_a_single_server_no_directory_is_read() {
    let db = Database::new();
    let tenants = notes(&db, &["acme"]);
    // The tables of the directory are not read.
    db.execute("DROP TABLE schema_placement");
    let location = tenants.locate(&name("acme")).unwrap();
    assert_eq!((location.server, location.epoch), (None, 1));
    assert_eq!(tenants.with(&name("acme"), bodies).unwrap(), ["acme"]);
}
