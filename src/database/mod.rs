//! A database: the main connection of a command, and the number of connections that its workers may open.

mod actor;
mod fleet_lock;
mod shard;
mod stop;

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Text};

use crate::error::Error;
use crate::migration::MigrationSet;
use crate::postgres::connect::Pool;
use crate::postgres::{Connector, Server, Session};
use crate::tenants::{Tenancy, tracker};

pub use actor::{Actor, KEEP};
pub(crate) use fleet_lock::FleetLock;
pub use shard::{ParseShardError, Shard};
pub use stop::Stop;

/// The default number of concurrent connections.
pub const DEFAULT_JOBS: usize = 8;

/// A connected database.
pub struct Database {
    connector: Connector,
    conn: PgConnection,
    server: Server,
    jobs: usize,
    actor: Actor,
    /// A summary of the tenant migrations, for the record of runs.
    migrations: Option<String>,
    /// The lock of the fleet, if the command has acquired it.
    pub(crate) fleet_lock: Option<FleetLock>,
}

impl Database {
    /// Connects, and reads the version and the settings of the server. `jobs` limits the number of concurrent connections.
    ///
    /// # Errors
    /// The server cannot be reached, or is too old.
    pub fn connect(connector: Connector, jobs: usize) -> Result<Self, Error> {
        let conn = connector.connect()?;
        Self::with_connection(connector, conn, jobs)
    }

    /// Connects as [`connect`](Self::connect) does. While the server cannot be reached or is starting up, retries for up to
    /// `wait`, and calls `waiting` once with the first error.
    ///
    /// # Errors
    /// As [`connect`](Self::connect). A server that refuses the role, the password or the database is not waited for.
    pub fn connect_within(
        connector: Connector,
        jobs: usize,
        wait: Duration,
        waiting: impl FnMut(&crate::postgres::Error),
    ) -> Result<Self, Error> {
        let conn = connector.connect_within(wait, waiting)?;
        Self::with_connection(connector, conn, jobs)
    }

    fn with_connection(connector: Connector, mut conn: PgConnection, jobs: usize) -> Result<Self, Error> {
        let server = Server::read(&mut conn)?;
        connector.set_dispatch(server.dispatch());
        Ok(Self {
            connector,
            conn,
            server,
            jobs: jobs.max(1),
            actor: Actor::default(),
            migrations: None,
            fleet_lock: None,
        })
    }

    /// Sets the actor that runs are recorded with.
    #[must_use]
    pub fn with_actor(mut self, actor: Actor) -> Self {
        self.actor = actor;
        self
    }

    /// The actor that runs are recorded with.
    pub(crate) fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Sets the [`request`](Actor::request) that later runs are recorded with.
    #[cfg(feature = "cli")]
    pub(crate) fn set_request(&mut self, request: String) {
        self.actor.request = Some(request);
    }

    /// Sets the tenant migrations that later runs are recorded with.
    pub(crate) fn use_migrations(&mut self, set: &MigrationSet) {
        self.migrations = (!set.is_empty()).then(|| set.summary());
    }

    /// A summary of the tenant migrations, once they were compared with the recorded migrations.
    pub(crate) fn migrations(&self) -> Option<&str> {
        self.migrations.as_deref()
    }

    /// The server, as read when the connection was opened.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Asks the server about itself again, after the public schema has changed.
    pub(crate) fn refresh_server(&mut self) -> Result<(), Error> {
        self.server = Server::read(&mut self.conn)?;
        Ok(())
    }

    /// The main connection.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.conn
    }

    /// The connector that opens connections.
    pub fn connector(&self) -> &Connector {
        &self.connector
    }

    /// The number of concurrent connections: the requested number, limited by the free connections of the server less one for
    /// the lock monitor. At least one.
    pub fn jobs(&self) -> usize {
        self.jobs.min(usize::try_from(self.server.free_connections - 1).unwrap_or(0)).max(1)
    }

    /// Checks that tenants can be read: the tracker exists and all public migrations are applied.
    ///
    /// # Errors
    /// [`Error::TrackerHidden`], [`Error::MissingPrivileges`], [`Error::TrackerMissing`], [`Error::TrackerBehind`], or the
    /// server's error.
    pub fn require_tracker(&mut self, tenancy: &Tenancy) -> Result<(), Error> {
        tracker::require(&mut self.conn, &self.server, tenancy)
    }

    /// Checks that tenants can be changed: the server accepts writes, the extension schemas exist, the tracker is up to date,
    /// and this role has the privileges on the tables of Tenantry that every change needs.
    ///
    /// # Errors
    /// [`Error::Standby`], [`Error::NoExtensionSchema`], [`Error::MissingPrivileges`], or the errors of
    /// [`require_tracker`](Self::require_tracker).
    pub fn require_writable(&mut self, tenancy: &Tenancy) -> Result<(), Error> {
        self.require_primary(tenancy)?;
        self.require_tracker(tenancy)?;
        tracker::require_writable(&self.server)
    }

    /// Checks that the server accepts writes and that the extension schemas exist.
    ///
    /// # Errors
    /// [`Error::Standby`], [`Error::NoExtensionSchema`], or the server's error.
    pub(crate) fn require_primary(&mut self, tenancy: &Tenancy) -> Result<(), Error> {
        if self.server.in_recovery {
            return Err(Error::Standby);
        }
        if tenancy.extension_schemas().is_empty() {
            return Ok(());
        }
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            name: String,
        }
        let names: Vec<&str> = tenancy.extension_schemas().iter().map(|schema| schema.as_str()).collect();
        let found: Vec<Row> = sql_query(
            "SELECT nspname::pg_catalog.text AS name FROM pg_catalog.pg_namespace \
             WHERE nspname::pg_catalog.text = ANY($1)",
        )
        .bind::<Array<Text>, _>(&names)
        .load(&mut self.conn)
        .map_err(Error::doing("look for the extension schemas"))?;
        match tenancy.extension_schemas().iter().find(|schema| !found.iter().any(|row| row.name == schema.as_str())) {
            Some(name) => Err(Error::NoExtensionSchema { name: name.clone(), database: self.server.database.clone() }),
            None => Ok(()),
        }
    }

    /// A connection pool for `work` tasks, with at most [`jobs`](Self::jobs) connections.
    ///
    /// # Errors
    /// [`Error::NoFreeConnection`].
    pub(crate) fn pool(&self, work: usize) -> Result<Pool, Error> {
        self.require_free_connection()?;
        Ok(self.connector.pool(self.jobs().min(work)))
    }

    /// Checks that the server has a free connection besides the main one.
    ///
    /// # Errors
    /// [`Error::NoFreeConnection`].
    pub(crate) fn require_free_connection(&self) -> Result<(), Error> {
        if self.server.free_connections > 0 { Ok(()) } else { Err(Error::NoFreeConnection) }
    }

    /// Makes all earlier commits durable, including asynchronous ones: commits with `synchronous_commit`, which waits for the
    /// WAL up to this point.
    ///
    /// # Errors
    /// The server does not answer on a new connection either, or has become a standby.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        // The server's own error on a standby is translated and cannot be recognized.
        const FLUSH: &str = "BEGIN; SET LOCAL synchronous_commit TO on; \
                             DO 'BEGIN IF pg_catalog.pg_is_in_recovery() THEN RAISE read_only_sql_transaction; END IF; END'; \
                             SELECT pg_catalog.pg_logical_emit_message(true, 'tenantry'::text, ''::text); COMMIT";
        if self.conn.batch_execute(FLUSH).is_ok() {
            return Ok(());
        }
        // The connection may have been closed because it was idle.
        self.reconnect()?;
        self.conn.batch_execute(FLUSH).map_err(Error::doing("make the commits durable"))
    }

    /// Keeps the lock of the fleet, which uses a connection, until the database is closed.
    pub(crate) fn set_fleet_lock(&mut self, lock: FleetLock) {
        self.server.free_connections -= 1;
        self.fleet_lock = Some(lock);
    }

    /// Makes the connection of a worker's session the main connection.
    pub(crate) fn replace_connection(&mut self, session: &mut Session) {
        if session.is_current() {
            std::mem::swap(&mut self.conn, session);
        }
        session.discard();
    }

    /// Replaces the main connection with a new one.
    ///
    /// # Errors
    /// No connection can be opened.
    pub(crate) fn reconnect(&mut self) -> Result<(), Error> {
        self.conn = self.connector.connect()?;
        Ok(())
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("address", &self.connector.address()).field("server", &self.server).finish()
    }
}
