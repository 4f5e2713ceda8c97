//! Changes of the directory: servers are added, changed and removed.

use diesel::connection::{Connection, SimpleConnection};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::directory::{Directory, begin_change};
use super::server::FleetServer;
use crate::error::{Error, ServersError};
use crate::model::{ServerName, ServerState};
use crate::postgres::DatabaseUrl;

/// The name of the registry among the servers, unless another one is chosen.
const MAIN: &str = "main";

/// The registry as a server, named `main`.
pub fn main_server(id: Uuid, connection: Option<DatabaseUrl>) -> FleetServer {
    let name = MAIN.parse().expect("the name is valid");
    FleetServer { connection, is_registry: true, ..FleetServer::new(id, name) }
}

/// A change of a server; `None` leaves a value unchanged.
#[derive(Debug, Clone, Default)]
pub struct ServerChange {
    /// Its name.
    pub name: Option<ServerName>,
    /// Its region; an empty text for none.
    pub region: Option<String>,
    /// The connection string, without secrets.
    pub connection: Option<DatabaseUrl>,
    /// The connection string for the other servers, without secrets.
    pub peer_connection: Option<DatabaseUrl>,
    /// The environment variable that has the password; an empty text for none.
    pub password_variable: Option<String>,
    /// The number of tenants that it may have; a negative number for no limit.
    pub capacity: Option<i64>,
    /// Whether it takes tenants.
    pub state: Option<ServerState>,
}

/// Checks that a connection string can be stored: it names a database, and has no secret.
///
/// # Errors
/// [`ServersError::InvalidConnection`].
pub fn require_storable(name: &ServerName, url: &DatabaseUrl) -> Result<(), Error> {
    let invalid = |reason: &str| {
        Error::from(ServersError::InvalidConnection { name: name.to_string(), reason: reason.to_owned() })
    };
    if url.has_secrets() {
        return Err(invalid("it has a password, which would be stored"));
    }
    if url.get("service").is_none() && url.get("dbname").is_none_or(str::is_empty) {
        return Err(invalid("it names no database"));
    }
    Ok(())
}

fn storable(name: &ServerName, url: Option<&DatabaseUrl>) -> Result<Option<String>, Error> {
    url.map(|url| require_storable(name, url).map(|()| url.to_string())).transpose()
}

/// Checks that a server can be added: its name is free, and its database has no other name. `id` is the identity of the database,
/// if it has one; without a directory, only the registry has a name. A server that is in the directory already can be added
/// again, with the same name.
///
/// # Errors
/// [`ServersError::ServerExists`], [`ServersError::SameDatabase`].
pub fn require_new(directory: Option<&Directory>, name: &ServerName, id: Option<Uuid>) -> Result<(), Error> {
    let existing = || directory.iter().flat_map(|directory| &directory.servers);
    let same_name = |other: &&FleetServer| other.name.as_str().eq_ignore_ascii_case(name.as_str());
    if let Some(other) = existing().find(|other| Some(other.id) == id).filter(|other| !same_name(other)) {
        return Err(ServersError::SameDatabase { name: other.name.to_string() }.into());
    }
    let taken = existing().find(same_name).filter(|other| Some(other.id) != id).map(|other| other.name.as_str());
    let is_main = directory.is_none() && name.as_str().eq_ignore_ascii_case(MAIN);
    match taken.or(is_main.then_some(MAIN)) {
        Some(name) => Err(ServersError::ServerExists { name: name.to_owned() }.into()),
        None => Ok(()),
    }
}

/// Adds servers to the directory, in one transaction. A database that is in it already with the same name keeps what it has,
/// except that its connection is replaced by the new one, if there is one.
///
/// # Errors
/// [`ServersError::InvalidConnection`], [`ServersError::ServerExists`], [`ServersError::SameDatabase`], or the server's error.
pub fn add(conn: &mut PgConnection, servers: &[FleetServer]) -> Result<(), Error> {
    let directory = Directory::read_rows(conn)?;
    let mut new = Vec::new();
    for server in servers {
        let is_known = directory.as_ref().is_some_and(|directory| directory.by_id(server.id).is_some());
        if server.is_registry && is_known {
            continue;
        }
        if !server.is_registry {
            require_new(directory.as_ref(), &server.name, Some(server.id))?;
        }
        let connection = storable(&server.name, server.connection.as_ref())?;
        let peer = storable(&server.name, server.peer_connection.as_ref())?;
        new.push((server, connection, peer));
    }
    let added = conn.transaction::<_, DieselError, _>(|conn| {
        begin_change(conn)?;
        for (server, connection, peer) in &new {
            insert(conn, server, connection.as_deref(), peer.as_deref())?;
        }
        Ok(())
    });
    added.map_err(Error::doing("write the directory of servers"))
}

fn insert(
    conn: &mut PgConnection,
    server: &FleetServer,
    connection: Option<&str>,
    peer: Option<&str>,
) -> QueryResult<()> {
    sql_query(
        "INSERT INTO public.schema_server AS s \
         (id, name, region, connection, peer_connection, password_variable, capacity, is_registry, host) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
         ON CONFLICT (id) DO UPDATE SET region = COALESCE(EXCLUDED.region, s.region), \
         connection = COALESCE(EXCLUDED.connection, s.connection), \
         peer_connection = COALESCE(EXCLUDED.peer_connection, s.peer_connection), \
         password_variable = COALESCE(EXCLUDED.password_variable, s.password_variable), \
         capacity = COALESCE(EXCLUDED.capacity, s.capacity)",
    )
    .bind::<SqlUuid, _>(server.id)
    .bind::<Text, _>(server.name.as_str())
    .bind::<Nullable<Text>, _>(server.region.as_deref())
    .bind::<Nullable<Text>, _>(connection)
    .bind::<Nullable<Text>, _>(peer)
    .bind::<Nullable<Text>, _>(server.password_variable.as_deref())
    .bind::<Nullable<BigInt>, _>(server.capacity)
    .bind::<Bool, _>(server.is_registry)
    .bind::<Nullable<SqlUuid>, _>(server.host)
    .execute(conn)?;
    Ok(())
}

/// Changes a server in the directory.
///
/// # Errors
/// [`ServersError::InvalidConnection`], [`ServersError::ServerExists`], or the server's error.
pub fn change(conn: &mut PgConnection, directory: &Directory, id: Uuid, change: &ServerChange) -> Result<(), Error> {
    let own = directory.by_id(id).map(|server| server.name.clone());
    let name = change.name.as_ref().or(own.as_ref());
    let Some(name) = name else { return Ok(()) };
    let connection = storable(name, change.connection.as_ref())?;
    let peer = storable(name, change.peer_connection.as_ref())?;
    let taken = |server: &&FleetServer| server.id != id && server.name.as_str().eq_ignore_ascii_case(name.as_str());
    if let Some(other) = directory.servers.iter().find(taken) {
        return Err(ServersError::ServerExists { name: other.name.to_string() }.into());
    }
    let changed = conn.transaction::<_, DieselError, _>(|conn| {
        begin_change(conn)?;
        sql_query(
            "UPDATE public.schema_server SET name = $2, region = NULLIF(COALESCE($3, region), ''), \
             connection = COALESCE($4, connection), peer_connection = COALESCE($5, peer_connection), \
             password_variable = NULLIF(COALESCE($6, password_variable), ''), \
             capacity = CASE WHEN $7 < 0 THEN NULL ELSE COALESCE($7, capacity) END, state = COALESCE($8, state) \
             WHERE id = $1",
        )
        .bind::<SqlUuid, _>(id)
        .bind::<Text, _>(name.as_str())
        .bind::<Nullable<Text>, _>(change.region.as_deref())
        .bind::<Nullable<Text>, _>(connection)
        .bind::<Nullable<Text>, _>(peer)
        .bind::<Nullable<Text>, _>(change.password_variable.as_deref())
        .bind::<Nullable<BigInt>, _>(change.capacity)
        .bind::<Nullable<Text>, _>(change.state.map(ServerState::as_str))
        .execute(conn)?;
        Ok(())
    });
    changed.map_err(Error::doing("write the directory of servers"))
}

#[derive(QueryableByName)]
struct Used {
    #[diesel(sql_type = BigInt)]
    tenants: i64,
    #[diesel(sql_type = BigInt)]
    databases: i64,
    #[diesel(sql_type = BigInt)]
    moves: i64,
}

impl Used {
    fn of(conn: &mut PgConnection, server: &FleetServer) -> QueryResult<Self> {
        sql_query(
            "SELECT (SELECT pg_catalog.count(*) FROM public.schema_placement WHERE server = $1 AND state <> 'gone') AS tenants, \
             (SELECT pg_catalog.count(*) FROM public.schema_server WHERE host = $1) AS databases, \
             (SELECT pg_catalog.count(*) FROM public.schema_move WHERE $1 IN (source, target) \
             AND state NOT IN ('finished', 'aborted')) AS moves",
        )
        .bind::<SqlUuid, _>(server.id)
        .get_result(conn)
    }

    /// The error if anything uses the server. A registry without other servers keeps its tenants.
    fn require_none(&self, server: &FleetServer) -> Result<(), ServersError> {
        let counted = |n: i64, one: &str| (n > 0).then(|| format!("{n} {one}{}", if n == 1 { "" } else { "s" }));
        let reasons =
            counted(self.tenants, "tenant").into_iter().chain(counted(self.databases, "database of a tenant"));
        // Their old schemas have not been dropped.
        let reasons = reasons.chain(counted(self.moves, "move that is not finished"));
        let reasons: Vec<String> = reasons.collect();
        if server.is_registry || reasons.is_empty() {
            return Ok(());
        }
        Err(ServersError::InUse { name: server.name.to_string(), reasons })
    }
}

/// Checks that a server can be removed.
///
/// # Errors
/// [`ServersError::IsRegistry`] while other servers exist, [`ServersError::InUse`], or the server's error.
pub fn require_removable(conn: &mut PgConnection, directory: &Directory, server: &FleetServer) -> Result<(), Error> {
    if server.is_registry && directory.servers.len() > 1 {
        return Err(ServersError::IsRegistry { name: server.name.to_string() }.into());
    }
    let used = Used::of(conn, server).map_err(Error::doing("read the placements of tenants"))?;
    Ok(used.require_none(server)?)
}

/// Removes a server without tenants from the directory.
///
/// # Errors
/// As [`require_removable`].
pub fn remove(conn: &mut PgConnection, directory: &Directory, server: &FleetServer) -> Result<(), Error> {
    require_removable(conn, directory, server)?;
    let removed = conn.transaction::<_, DieselError, _>(|conn| {
        begin_change(conn)?;
        let refusal = Used::of(conn, server)?.require_none(server).err();
        if refusal.is_none() {
            sql_query("DELETE FROM public.schema_placement WHERE server = $1")
                .bind::<SqlUuid, _>(server.id)
                .execute(conn)?;
            sql_query("DELETE FROM public.schema_move WHERE $1 IN (source, target)")
                .bind::<SqlUuid, _>(server.id)
                .execute(conn)?;
            sql_query("DELETE FROM public.schema_server WHERE id = $1").bind::<SqlUuid, _>(server.id).execute(conn)?;
        }
        Ok(refusal)
    });
    match removed.map_err(Error::doing("write the directory of servers"))? {
        None => Ok(()),
        Some(refusal) => Err(refusal.into()),
    }
}

/// Makes a database that belongs to no fleet any more one of its own: it has no directory, no copy of one, and no identity.
///
/// # Errors
/// The server's error.
pub fn forget(conn: &mut PgConnection) -> Result<(), Error> {
    let tables = "public.schema_placement, public.schema_move, public.schema_server, public.schema_identity";
    // Truncated tables are recognized as empty without being read, but only their owner may truncate them.
    let forgotten = conn.batch_execute(&format!("TRUNCATE {tables}")).or_else(|_| {
        conn.batch_execute(
            "DELETE FROM public.schema_placement; DELETE FROM public.schema_move; DELETE FROM public.schema_server; \
             DELETE FROM public.schema_identity",
        )
    });
    forgotten.map_err(Error::doing("delete the directory of servers"))
}
