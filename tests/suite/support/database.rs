//! A database for one test.

use std::sync::atomic::{AtomicUsize, Ordering};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Nullable, Text};
use tenantry::Connector;
use tenantry::local::Ephemeral;

use super::wait::PATIENCE;
use super::{Tenantry, binaries, eventually, percent_encoded, server, socket_of};

/// An empty database, which is dropped with the value; open connections are closed.
pub struct Database {
    server: &'static Ephemeral,
    name: String,
}

impl Database {
    /// A database on the shared server.
    pub fn new() -> Self {
        Self::on(server())
    }

    /// A database on another server.
    pub fn on(server: &'static Ephemeral) -> Self {
        // No session can be connected to template0, which would make the copy fail.
        Self::made_of("template0", server)
    }

    /// A copy. No session may be connected to the original.
    pub fn copy(&self) -> Self {
        Self::made_of(&self.name, self.server)
    }

    fn made_of(template: &str, server: &'static Ephemeral) -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        // As long as the placeholder DATABASE in snapshots, so that tables keep their layout.
        let name = format!("db_{:05}", MADE.fetch_add(1, Ordering::Relaxed));
        let database = Self { server, name };
        // Copied by files, because a copy by pages would be written to the WAL in full.
        let strategy = if binaries().major() >= 15 { " STRATEGY file_copy" } else { "" };
        database.maintain(&format!("CREATE DATABASE {} TEMPLATE {template}{strategy}", database.name));
        database
    }

    /// The server that it is on.
    pub fn server(&self) -> &'static Ephemeral {
        self.server
    }

    /// Its name, an identifier that needs no quotes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its URL, over the server's socket.
    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// A connection to it.
    pub fn connect(&self) -> PgConnection {
        connect(&self.url())
    }

    /// Runs statements, in one message.
    #[track_caller]
    pub fn execute(&self, sql: &str) {
        self.connect().batch_execute(sql).unwrap_or_else(|error| panic!("{error}, from: {sql}"));
    }

    /// The first column of a query's rows as text, with `NULL` for a null. The query is a `SELECT`, `VALUES` or `TABLE`.
    #[track_caller]
    pub fn strings(&self, sql: &str) -> Vec<String> {
        strings(&mut self.connect(), sql)
    }

    /// The first column of a query's only row as text.
    #[track_caller]
    pub fn string(&self, sql: &str) -> String {
        let mut rows = self.strings(sql);
        assert_eq!(rows.len(), 1, "one row was expected of: {sql}");
        rows.remove(0)
    }

    /// The number in the first column of a query's only row.
    #[track_caller]
    pub fn count(&self, sql: &str) -> i64 {
        let text = self.string(sql);
        text.parse().unwrap_or_else(|_| panic!("`{text}` is no number, from: {sql}"))
    }

    /// Waits until the given number of sessions of this database wait for a lock.
    #[track_caller]
    pub fn wait_for_waiters(&self, many: i64) {
        self.wait_for(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
            many,
        );
    }

    /// Waits until a concurrent index build waits for a session with an older snapshot.
    #[track_caller]
    pub fn wait_for_concurrent_build(&self) {
        self.wait_for(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND query LIKE '%CONCURRENTLY%' AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()",
            1,
        );
    }

    /// Waits until no other session of this database runs a statement or has an open transaction.
    #[track_caller]
    pub fn wait_for_quiet(&self) {
        self.wait_for(
            "SELECT (count(*) = 0)::int FROM pg_stat_activity WHERE datname = current_database() \
             AND backend_type = 'client backend' AND state <> 'idle' AND pid <> pg_backend_pid()",
            1,
        );
    }

    /// Waits until a query's number is at least `many`.
    #[track_caller]
    pub fn wait_for(&self, sql: &str, many: i64) {
        eventually(format_args!("{many} from: {sql}"), || self.count(sql) >= many);
    }

    /// The command line with `DATABASE_URL` set to this database.
    pub fn tenantry<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Tenantry {
        let (folder, _) = socket_of(self.server);
        Tenantry::new()
            .args(args)
            .env("DATABASE_URL", self.url())
            .hide(&self.name, "DATABASE")
            .hide(percent_encoded(&folder), "SOCKET")
            .hide(folder, "SOCKET")
    }

    #[track_caller]
    fn maintain(&self, sql: &str) {
        connect(&self.server.url("postgres")).batch_execute(sql).unwrap_or_else(|error| panic!("{error}, from: {sql}"));
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The failure of the test matters more, and the server is removed anyway.
            let Ok(mut conn) = PgConnection::establish(&self.server.url("postgres")) else { return };
            let _ = conn.batch_execute(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        } else {
            self.maintain(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        }
    }
}

/// A connector of the library, whose connect timeout is the limit of a test.
pub fn connector(url: &str) -> Connector {
    Connector::new(url.parse().expect("a URL"), PATIENCE, |_| None)
}

/// A connection. Panics on failure.
#[track_caller]
pub(super) fn connect(url: &str) -> PgConnection {
    PgConnection::establish(url).unwrap_or_else(|error| panic!("cannot connect to {url}: {error}"))
}

/// The first column of a query's rows as text.
#[track_caller]
pub fn strings(conn: &mut PgConnection, sql: &str) -> Vec<String> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Text>)]
        value: Option<String>,
    }
    // A list of aliases may be shorter than the columns, so this names the first column regardless of its name.
    let first = format!("SELECT t.value::text AS value FROM ({}) AS t(value)", sql.trim().trim_end_matches(';'));
    let rows: Vec<Row> = sql_query(first).load(conn).unwrap_or_else(|error| panic!("{error}, from: {sql}"));
    rows.into_iter().map(|row| row.value.unwrap_or_else(|| "NULL".to_owned())).collect()
}
