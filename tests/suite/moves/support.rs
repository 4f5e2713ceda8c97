//! Fleets on two databases, and what both have of a tenant.

use std::sync::LazyLock;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use tenantry::local::Ephemeral;

use crate::support::{Database, Running, binaries, fleet, schemas, set_up};

/// A registry with the tenants acme and globex, and a server `eu` without tenants.
pub struct Pair {
    pub main: Database,
    pub eu: Database,
}

impl Pair {
    pub fn new() -> Self {
        Self::of(fleet(&["acme", "globex"]), set_up())
    }

    pub fn of(main: Database, eu: Database) -> Self {
        main.tenantry(["server", "add", "eu", "--url", &eu.url()]).run().assert_code(0);
        Self { main, eu }
    }

    /// The server of a tenant, its state and its epoch in the directory.
    pub fn placement(&self, tenant: &str) -> String {
        self.main.string(&format!(
            "SELECT concat_ws(' ', s.name, p.state, p.epoch) FROM schema_placement p JOIN schema_server s ON s.id = p.server \
             WHERE p.tenant = '{tenant}'"
        ))
    }

    /// The state of a tenant in the trackers of both databases.
    pub fn states(&self, tenant: &str) -> [String; 2] {
        let state = |db: &Database| {
            db.strings(&format!("SELECT state FROM schema_tracker WHERE name = '{tenant}'")).pop().unwrap_or_default()
        };
        [state(&self.main), state(&self.eu)]
    }

    /// Asserts that nothing of a move is left in either database but old schemas and their record.
    #[track_caller]
    pub fn assert_clean(&self) {
        for db in [&self.main, &self.eu] {
            assert_eq!(db.count("SELECT count(*) FROM pg_publication"), 0, "publications of {}", db.name());
            assert_eq!(
                db.count("SELECT count(*) FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = current_database()"),
                0,
                "subscriptions of {}",
                db.name()
            );
            assert_eq!(
                db.count("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"),
                0,
                "slots of {}",
                db.name()
            );
            assert_eq!(
                db.count(
                    "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relreplident = 'f' \
                     AND n.nspname !~ '^(pg_|information)'"
                ),
                0,
                "replica identities of {}",
                db.name()
            );
            assert_eq!(db.count("SELECT count(*) FROM schema_tracker WHERE move IS NOT NULL"), 0);
        }
    }

    /// The old schemas on the registry's server.
    pub fn old_schemas(&self) -> Vec<String> {
        schemas(&self.main).into_iter().filter(|name| name.starts_with("tenantry_left_")).collect()
    }
}

/// The migrations of this repository's tenants, with rows in each kind of table.
pub fn fill(db: &Database, tenant: &str) {
    db.execute(&format!(
        "INSERT INTO {tenant}.users (email, full_name) SELECT 'u' || n || '@x', 'User ' || n FROM generate_series(1, 50) n; \
         CREATE TABLE {tenant}.extra (id int GENERATED ALWAYS AS IDENTITY, note text, twice int GENERATED ALWAYS AS (7) STORED); \
         INSERT INTO {tenant}.extra (note) VALUES ('tab\t and \\ backslash'), (NULL), ('é')"
    ));
}

/// The tables of a schema with their rows as text, for comparisons.
pub fn contents(db: &Database, schema: &str) -> Vec<String> {
    let tables = db.strings(&format!(
        "SELECT relname FROM pg_class WHERE relnamespace = '{schema}'::regnamespace AND relkind = 'r' ORDER BY 1"
    ));
    let mut all = Vec::new();
    for table in tables {
        let rows = db.strings(&format!("SELECT t::text FROM {schema}.\"{table}\" t ORDER BY 1"));
        all.push(format!("{table}: {}", rows.join(" | ")));
    }
    all
}

/// A server on which logical replication is possible.
pub fn logical() -> &'static Ephemeral {
    static SERVER: LazyLock<Ephemeral> = LazyLock::new(|| {
        Ephemeral::options()
            .setting("wal_level", "logical")
            .setting("max_connections", "100")
            .setting("max_wal_senders", "40")
            .setting("max_replication_slots", "40")
            .setting("max_logical_replication_workers", "40")
            .setting("max_worker_processes", "60")
            .setting("wal_retrieve_retry_interval", "200ms")
            .setting("autovacuum", "off")
            .setting("jit", "off")
            .setting("timezone", "UTC")
            .start(binaries())
            .expect("a server")
    });
    &SERVER
}

/// Two databases of [`logical`], the first with the tenant acme.
pub fn logical_pair() -> Pair {
    let [main, eu] = [Database::on(logical()), Database::on(logical())];
    main.tenantry(["migrate-public"]).run().assert_code(0);
    main.tenantry(["create", "acme"]).run().assert_code(0);
    Pair::of(main, eu)
}

/// A move that waits before it records a state, or before it marks the tenant.
pub struct Held<'a> {
    pub pair: &'a Pair,
    pub running: Running,
    lock: PgConnection,
}

impl<'a> Held<'a> {
    pub fn new(pair: &'a Pair, state: &str, args: &[&str]) -> Self {
        let mut lock = pair.main.connect();
        lock.batch_execute("SELECT pg_advisory_lock(4711)").expect("a lock");
        let (table, state) = if state == "planned" { ("schema_tracker", "moving") } else { ("schema_move", state) };
        pair.main.execute(&format!(
            "CREATE FUNCTION public.hold() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN PERFORM pg_catalog.pg_advisory_lock(4711); PERFORM pg_catalog.pg_advisory_unlock(4711); RETURN NEW; END'; \
             CREATE TRIGGER hold BEFORE UPDATE ON public.{table} FOR EACH ROW \
             WHEN (NEW.state = '{state}' AND OLD.state <> '{state}') EXECUTE FUNCTION public.hold()"
        ));
        let running = pair.main.tenantry(args).spawn();
        pair.main.wait_for(WAITING, 1);
        Self { pair, running, lock }
    }

    /// Kills the process and its session.
    pub fn kill(mut self) {
        self.running.kill();
        self.pair.main.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
             AND wait_event_type = 'Lock' AND wait_event = 'advisory'",
        );
        self.pair.main.wait_for(&format!("SELECT (({WAITING}) = 0)::int"), 1);
        self.release();
    }

    /// Lets the process continue.
    pub fn release(&mut self) {
        self.lock.batch_execute("SELECT pg_advisory_unlock_all()").expect("a lock");
        self.pair.main.execute("DROP FUNCTION IF EXISTS public.hold() CASCADE");
    }
}

const WAITING: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'";
