//! One database for the length of a command: a connection of the command's own, and how many more it may use.

mod actor;
mod fleet_lock;
mod shard;
mod stop;

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

/// How many connections work at once unless told otherwise.
pub const DEFAULT_JOBS: usize = 8;

/// A database that a command is connected to.
pub struct Database {
    connector: Connector,
    conn: PgConnection,
    server: Server,
    jobs: usize,
    actor: Actor,
    /// The tenant migrations in use, for the record of a run.
    migrations: Option<String>,
    /// Held for the length of a command that works on the whole fleet.
    pub(crate) fleet_lock: Option<FleetLock>,
}

impl Database {
    /// Connects, and asks the server about itself.
    ///
    /// # Errors
    /// When it cannot be reached, or is too old.
    pub fn connect(connector: Connector, jobs: usize) -> Result<Self, Error> {
        let mut conn = connector.connect()?;
        let server = Server::ask(&mut conn)?;
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

    /// Says who the runs are recorded for.
    #[must_use]
    pub fn with_actor(mut self, actor: Actor) -> Self {
        self.actor = actor;
        self
    }

    /// Who the runs are recorded for.
    pub(crate) fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Sets the tenant migrations that the runs from now on are recorded with.
    pub(crate) fn use_migrations(&mut self, set: &MigrationSet) {
        self.migrations = (!set.is_empty()).then(|| set.summary());
    }

    /// The tenant migrations in use, once they were compared with those that are recorded.
    pub(crate) fn migrations(&self) -> Option<&str> {
        self.migrations.as_deref()
    }

    /// What the server said of itself when the connection was made.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Asks the server about itself again, after the public schema has changed.
    pub(crate) fn refresh_server(&mut self) -> Result<(), Error> {
        self.server = Server::ask(&mut self.conn)?;
        Ok(())
    }

    /// The command's own connection.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.conn
    }

    /// Where connections come from.
    pub fn connector(&self) -> &Connector {
        &self.connector
    }

    /// How many connections work at once: what was asked for, but not more than the server has free, and one left for who
    /// watches over them and cancels what they do. At least one.
    pub fn jobs(&self) -> usize {
        self.jobs.min(usize::try_from(self.server.free_connections - 1).unwrap_or(0)).max(1)
    }

    /// Makes sure that tenants can be read: the tracker is as the public migrations make it.
    ///
    /// # Errors
    /// [`Error::TrackerMissing`] or [`Error::TrackerBehind`].
    pub fn require_tracker(&mut self, tenancy: &Tenancy) -> Result<(), Error> {
        tracker::require(&mut self.conn, &self.server, tenancy)
    }

    /// Makes sure that tenants can be changed: also, the server takes writes and the schemas on the path exist.
    ///
    /// # Errors
    /// [`Error::Standby`], [`Error::NoExtensionSchema`], [`Error::TrackerMissing`] or [`Error::TrackerBehind`].
    pub fn require_writable(&mut self, tenancy: &Tenancy) -> Result<(), Error> {
        self.require_primary(tenancy)?;
        self.require_tracker(tenancy)
    }

    /// Makes sure that the server takes writes and that the extension schemas exist.
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

    /// A pool for `work` pieces of work: no larger than the work, nor than [`jobs`](Self::jobs).
    ///
    /// # Errors
    /// [`Error::NoFreeConnection`], rather than to wait for one in vain.
    pub(crate) fn pool(&self, work: usize) -> Result<Pool, Error> {
        self.require_free_connection()?;
        Ok(self.connector.pool(self.jobs().min(work)))
    }

    /// Makes sure that there can be a connection besides the command's own.
    pub(crate) fn require_free_connection(&self) -> Result<(), Error> {
        match self.server.free_connections {
            ..=0 => Err(Error::NoFreeConnection),
            _ => Ok(()),
        }
    }

    /// Makes every commit before this one durable, whatever its `synchronous_commit` was: the log is one sequence, and
    /// this commit is waited for.
    ///
    /// # Errors
    /// When the server does not answer, also through a new connection; [`Error::ReadOnly`] when it is a standby now.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        // What a standby says of its own accord is not known to be that.
        const FLUSH: &str = "BEGIN; SET LOCAL synchronous_commit TO on; \
                             DO 'BEGIN IF pg_catalog.pg_is_in_recovery() THEN RAISE read_only_sql_transaction; END IF; END'; \
                             SELECT pg_catalog.pg_logical_emit_message(true, 'tenantry'::text, ''::text); COMMIT";
        if self.conn.batch_execute(FLUSH).is_ok() {
            return Ok(());
        }
        // It was idle for long, and may have been closed for that.
        self.reconnect()?;
        self.conn.batch_execute(FLUSH).map_err(Error::doing("make the commits durable"))
    }

    /// Keeps the lock of the fleet for the rest of the command. It has a connection of its own.
    pub(crate) fn hold(&mut self, lock: FleetLock) {
        self.server.free_connections -= 1;
        self.fleet_lock = Some(lock);
    }

    /// Takes the connection of a worker's session for the command's own.
    pub(crate) fn replace_connection(&mut self, session: &mut Session) {
        if session.is_current() {
            std::mem::swap(&mut self.conn, session);
        }
        session.discard();
    }

    /// Replaces the command's own connection.
    ///
    /// # Errors
    /// When none can be made.
    pub(crate) fn reconnect(&mut self) -> Result<(), Error> {
        self.conn = self.connector.connect()?;
        Ok(())
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("place", &self.connector.place()).field("server", &self.server).finish()
    }
}
