//! Fleets whose servers replicate.

use std::sync::LazyLock;

use diesel::prelude::*;
use tenantry::local::Ephemeral;

use crate::support::{Database, Output, Tenantry, binaries, strings};

/// A server that can replicate, with room for many databases.
pub fn logical() -> &'static Ephemeral {
    static SERVER: LazyLock<Ephemeral> = LazyLock::new(start);
    &SERVER
}

/// Starts another such server.
pub fn start() -> Ephemeral {
    let settings = [
        ("wal_level", "logical"),
        ("max_connections", "200"),
        ("max_replication_slots", "100"),
        ("max_wal_senders", "100"),
        ("max_logical_replication_workers", "80"),
        ("max_worker_processes", "100"),
        ("wal_retrieve_retry_interval", "100ms"),
        ("autovacuum", "off"),
        ("timezone", "UTC"),
    ];
    Ephemeral::start(binaries(), &settings).expect("a server with wal_level = logical")
}

/// A registry with other servers, each a database. Subscriptions and slots are dropped with it, because no database with
/// one can be dropped.
pub struct Fleet {
    pub main: Database,
    pub regions: Vec<Database>,
}

impl Fleet {
    /// A fleet of databases of one server, with servers named eu, us, ….
    pub fn new(regions: usize) -> Self {
        Self::of(Database::on(logical()), (0..regions).map(|_| Database::on(logical())).collect())
    }

    pub fn of(main: Database, regions: Vec<Database>) -> Self {
        let fleet = Self { main, regions };
        fleet.main.tenantry(["migrate-public"]).run().assert_code(0);
        for (region, name) in fleet.regions.iter().zip(NAMES) {
            let url = region.url();
            fleet.main.tenantry(["server", "add", name, "--url", &url]).run().assert_code(0);
        }
        fleet
    }

    /// A command line on the registry.
    pub fn tenantry(&self, line: &str) -> Tenantry {
        self.main.tenantry(line.split_whitespace())
    }

    /// Runs a command on the registry, which exits with the code.
    #[track_caller]
    pub fn run(&self, line: &str, code: i32) -> Output {
        let output = self.tenantry(line).run();
        output.assert_code(code);
        output
    }

    /// Runs statements on all servers.
    #[track_caller]
    pub fn execute(&self, sql: &str) {
        self.all().for_each(|database| database.execute(sql));
    }

    fn all(&self) -> impl Iterator<Item = &Database> {
        std::iter::once(&self.main).chain(&self.regions)
    }
}

const NAMES: [&str; 4] = ["eu", "us", "ap", "af"];

/// The number of slots for shared tables in a database.
pub fn slots(database: &Database) -> i64 {
    database.count(
        "SELECT count(*) FROM pg_replication_slots WHERE database = current_database() AND slot_name LIKE 'tenantry\\_%'",
    )
}

/// The number of subscriptions in a database.
pub fn subscriptions(database: &Database) -> i64 {
    database.count(
        "SELECT count(*) FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for database in self.all() {
            let Ok(mut conn) = PgConnection::establish(&database.url()) else { continue };
            drop_replication(&mut conn);
        }
    }
}

/// Drops the subscriptions, the publications and the slots of a database.
pub fn drop_replication(conn: &mut PgConnection) {
    use diesel::connection::SimpleConnection;
    let own = "subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())";
    for name in strings(conn, &format!("SELECT quote_ident(subname) FROM pg_subscription WHERE {own}")) {
        for statement in ["DISABLE", "SET (slot_name = NONE)"] {
            let _ = conn.batch_execute(&format!("ALTER SUBSCRIPTION {name} {statement}"));
        }
        let _ = conn.batch_execute(&format!("DROP SUBSCRIPTION {name}"));
    }
    crate::support::eventually("no slot is left", || {
        let _ = conn.batch_execute(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots \
             WHERE database = current_database() AND active_pid IS NOT NULL",
        );
        conn.batch_execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()",
        )
        .is_ok()
    });
}
