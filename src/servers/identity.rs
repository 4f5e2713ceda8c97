//! The identity of a database, by which a fleet recognizes it whatever its address is.

use diesel::connection::Connection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::FleetServer;
use crate::error::{Error, ServersError};
use crate::postgres::Connector;

/// The identity of a database of a fleet on several servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, QueryableByName)]
pub struct FleetIdentity {
    /// Its own.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// That of its registry.
    #[diesel(sql_type = SqlUuid)]
    pub registry: Uuid,
}

#[derive(QueryableByName)]
struct DatabaseName {
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(QueryableByName)]
struct Truth {
    #[diesel(sql_type = Bool)]
    value: bool,
}

/// The identity of a database, if it has one.
///
/// # Errors
/// The server's error.
pub fn identity(conn: &mut PgConnection) -> Result<Option<FleetIdentity>, Error> {
    let doing = Error::doing("read the identity of the database");
    if !has_table(conn).map_err(&doing)? {
        return Ok(None);
    }
    sql_query("SELECT id, registry FROM public.schema_identity").get_result(conn).optional().map_err(doing)
}

/// Whether the table exists, which migrations of earlier releases do not make.
fn has_table(conn: &mut PgConnection) -> QueryResult<bool> {
    let found: Truth =
        sql_query("SELECT pg_catalog.to_regclass('public.schema_identity') IS NOT NULL AS value").get_result(conn)?;
    Ok(found.value)
}

/// Whether two connections lead to the same database, whatever their addresses are. Writes nothing to either of them: a lock
/// that one takes is one that the other cannot have.
///
/// # Errors
/// The server's error.
pub fn is_same_database(one: &mut PgConnection, other: &mut PgConnection) -> Result<bool, Error> {
    let key = i64::from_ne_bytes(Uuid::new_v4().as_u64_pair().0.to_ne_bytes());
    let lock = |conn: &mut PgConnection| {
        let taken: QueryResult<Truth> = sql_query("SELECT pg_catalog.pg_try_advisory_xact_lock($1) AS value")
            .bind::<BigInt, _>(key)
            .get_result(conn);
        taken.map(|taken| taken.value)
    };
    let is_free = one.transaction::<_, DieselError, _>(|one| {
        lock(one)?;
        // Alone in its transaction, so that it is given up at once.
        lock(other)
    });
    is_free.map(|is_free| !is_free).map_err(Error::doing("compare the databases"))
}

/// Gives a database an identity if it has none: as the registry itself, or as a server of `registry`. Returns the identity. A
/// registry that never got a server can become a server of another one.
///
/// # Errors
/// [`ServersError::OtherRegistry`] if it belongs to another registry, or the server's error.
pub fn identify(conn: &mut PgConnection, registry: Option<Uuid>) -> Result<Uuid, Error> {
    let doing = Error::doing("identify the database");
    sql_query(
        "WITH new AS (SELECT pg_catalog.gen_random_uuid() AS id) \
         INSERT INTO public.schema_identity AS i (id, registry) SELECT new.id, COALESCE($1, new.id) FROM new \
         ON CONFLICT (singleton) DO UPDATE SET registry = $1 \
         WHERE $1 IS NOT NULL AND i.registry = i.id AND NOT EXISTS (SELECT FROM public.schema_server)",
    )
    .bind::<diesel::sql_types::Nullable<SqlUuid>, _>(registry)
    .execute(conn)
    .map_err(&doing)?;
    let row: FleetIdentity =
        sql_query("SELECT id, registry FROM public.schema_identity").get_result(conn).map_err(&doing)?;
    match registry {
        Some(registry) if row.registry != registry => {
            Err(ServersError::OtherRegistry { registry: row.registry }.into())
        }
        // A registry before it has another server.
        None if row.registry != row.id => Err(ServersError::OtherRegistry { registry: row.registry }.into()),
        _ => Ok(row.id),
    }
}

/// Checks that the database that was connected to is the server that was registered, and belongs to the same registry: a name
/// of the network may lead to another host than before.
///
/// # Errors
/// [`ServersError::WrongDatabase`], or the server's error.
pub fn require_identity(
    conn: &mut PgConnection,
    connector: &Connector,
    server: &FleetServer,
    registry: Uuid,
) -> Result<(), Error> {
    let doing = Error::doing("check the identity of the database");
    let found = match identity(conn)? {
        None => "it belongs to no fleet on several servers",
        Some(found) if found.id != server.id => "it has another identity",
        Some(found) if found.registry != registry => "it belongs to another registry",
        Some(_) => return Ok(()),
    };
    let database: DatabaseName =
        sql_query("SELECT pg_catalog.current_database()::pg_catalog.text AS name").get_result(conn).map_err(doing)?;
    Err(Error::from(ServersError::WrongDatabase {
        name: server.name.to_string(),
        address: format!("{} on {}", database.name, connector.address()),
        found: found.to_owned(),
    }))
}
