//! The identity of a database, by which a fleet recognizes it whatever its address is.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Uuid as SqlUuid};
use uuid::Uuid;

use super::FleetServer;
use crate::error::{Error, ServersError};
use crate::postgres::Connector;

#[derive(QueryableByName)]
struct IdentityRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    registry: Uuid,
}

/// Gives a database an identity if it has none: as the registry itself, or as a server of `registry`. Returns the identity.
///
/// # Errors
/// [`ServersError::OtherRegistry`] if it belongs to another registry, or the server's error.
pub fn identify(conn: &mut PgConnection, registry: Option<Uuid>) -> Result<Uuid, Error> {
    let doing = Error::doing("identify the database");
    sql_query(
        "WITH new AS (SELECT pg_catalog.gen_random_uuid() AS id) \
         INSERT INTO public.schema_identity (id, registry) SELECT new.id, COALESCE($1, new.id) FROM new \
         ON CONFLICT (singleton) DO NOTHING",
    )
    .bind::<diesel::sql_types::Nullable<SqlUuid>, _>(registry)
    .execute(conn)
    .map_err(&doing)?;
    let row: IdentityRow =
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
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        exists: bool,
    }
    let doing = Error::doing("check the identity of the database");
    let wrong = |found: &str| {
        Error::from(ServersError::WrongDatabase {
            name: server.name.to_string(),
            address: connector.address().to_owned(),
            found: found.to_owned(),
        })
    };
    let table: Row = sql_query("SELECT pg_catalog.to_regclass('public.schema_identity') IS NOT NULL AS exists")
        .get_result(conn)
        .map_err(&doing)?;
    if !table.exists {
        return Err(wrong("it has no public.schema_identity"));
    }
    let row: Option<IdentityRow> =
        sql_query("SELECT id, registry FROM public.schema_identity").get_result(conn).optional().map_err(&doing)?;
    match row {
        None => Err(wrong("it belongs to no fleet on several servers")),
        Some(row) if row.id != server.id => Err(wrong("it has another identity")),
        Some(row) if row.registry != registry => Err(wrong("it belongs to another registry")),
        Some(_) => Ok(()),
    }
}
