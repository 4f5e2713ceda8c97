//! The directory: the servers of a fleet.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Uuid as SqlUuid};
use uuid::Uuid;

use super::server::{FleetServer, ServerRow};
use crate::error::{Error, ServersError};
use crate::postgres::Server;

/// The servers of a fleet, as the registry or the copy on another server has them.
#[derive(Debug, Clone)]
pub struct Directory {
    /// The identity of the database that it was read from.
    pub identity: Uuid,
    /// The identity of the registry.
    pub registry: Uuid,
    /// The number of its newest change.
    pub version: i64,
    /// The servers: the registry first, the others by name.
    pub servers: Vec<FleetServer>,
}

impl Directory {
    /// Reads the directory of a database, or its copy. `None` if the database belongs to no fleet on several servers;
    /// nothing is read then.
    ///
    /// # Errors
    /// [`ServersError::InvalidDirectory`], or the server's error.
    pub fn read(conn: &mut PgConnection, server: &Server) -> Result<Option<Self>, Error> {
        if !server.has_servers {
            return Ok(None);
        }
        Self::read_rows(conn)
    }

    /// Reads the directory of a registry or a copy of it.
    ///
    /// # Errors
    /// [`ServersError::NoDirectory`], and the errors of [`read`](Self::read).
    pub fn require(conn: &mut PgConnection, server: &Server) -> Result<Self, Error> {
        Self::read(conn, server)?.ok_or_else(|| ServersError::NoDirectory { database: server.database.clone() }.into())
    }

    pub(super) fn read_rows(conn: &mut PgConnection) -> Result<Option<Self>, Error> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = SqlUuid)]
            id: Uuid,
            #[diesel(sql_type = SqlUuid)]
            registry: Uuid,
            #[diesel(sql_type = BigInt)]
            version: i64,
        }
        let doing = Error::doing("read the directory of servers");
        let own: Option<Row> = sql_query("SELECT id, registry, version FROM public.schema_identity")
            .get_result(conn)
            .optional()
            .map_err(&doing)?;
        let Some(own) = own else { return Ok(None) };
        let rows: Vec<ServerRow> = sql_query(
            "SELECT id, name, region, connection, peer_connection, password_variable, capacity, state, is_registry, host, copied \
             FROM public.schema_server ORDER BY is_registry DESC, name COLLATE \"C\"",
        )
        .load(conn)
        .map_err(&doing)?;
        if rows.is_empty() {
            return Ok(None);
        }
        let servers = rows.into_iter().map(ServerRow::parse).collect::<Result<_, _>>()?;
        Ok(Some(Self { identity: own.id, registry: own.registry, version: own.version, servers }))
    }

    /// Whether it was read from the registry.
    pub fn is_registry(&self) -> bool {
        self.identity == self.registry
    }

    /// The server that the directory was read from.
    pub fn here(&self) -> Option<&FleetServer> {
        self.by_id(self.identity)
    }

    /// The registry.
    pub fn registry_server(&self) -> Option<&FleetServer> {
        self.servers.iter().find(|server| server.is_registry)
    }

    /// The server with the identity.
    pub fn by_id(&self, id: Uuid) -> Option<&FleetServer> {
        self.servers.iter().find(|server| server.id == id)
    }

    /// The server with the name.
    ///
    /// # Errors
    /// [`ServersError::UnknownServer`].
    pub fn server(&self, name: &str) -> Result<&FleetServer, Error> {
        let known = || self.servers.iter().map(|server| server.name.to_string()).collect();
        self.servers
            .iter()
            .find(|server| server.name.as_str() == name)
            .ok_or_else(|| ServersError::UnknownServer { name: name.to_owned(), known: known() }.into())
    }

    /// The servers in the region.
    ///
    /// # Errors
    /// [`ServersError::UnknownRegion`] if there is none.
    pub fn in_region(&self, region: &str) -> Result<Vec<&FleetServer>, Error> {
        let found: Vec<&FleetServer> =
            self.servers.iter().filter(|server| server.region.as_deref() == Some(region)).collect();
        if found.is_empty() {
            let mut known: Vec<String> = self.servers.iter().filter_map(|server| server.region.clone()).collect();
            known.sort();
            known.dedup();
            return Err(ServersError::UnknownRegion { region: region.to_owned(), known }.into());
        }
        Ok(found)
    }

    /// Checks that it was read from the registry, so that it can be changed.
    ///
    /// # Errors
    /// [`ServersError::NotRegistry`].
    pub fn require_registry(&self, server: &Server) -> Result<(), Error> {
        if self.is_registry() {
            return Ok(());
        }
        Err(ServersError::NotRegistry { database: server.database.clone() }.into())
    }
}

/// Locks the directory against other changes until the transaction ends, and returns the number of this change.
pub(super) fn begin_change(conn: &mut PgConnection) -> QueryResult<i64> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        version: i64,
    }
    let row: Row =
        sql_query("UPDATE public.schema_identity SET version = version + 1 RETURNING version").get_result(conn)?;
    Ok(row.version)
}
