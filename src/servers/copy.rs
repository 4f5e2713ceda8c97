//! The copy of the directory on each server, which only the registry's commands write.

use diesel::connection::Connection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::directory::Directory;
use super::server::FleetServer;
use crate::error::Error;

/// The number of placements in one statement.
const PAGE: i64 = 10_000;

#[derive(QueryableByName)]
struct ChangedRow {
    #[diesel(sql_type = Text)]
    tenant: String,
    #[diesel(sql_type = SqlUuid)]
    server: Uuid,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = BigInt)]
    epoch: i64,
    #[diesel(sql_type = BigInt)]
    version: i64,
}

/// Copies the changes of the directory since the last copy to a server. `directory` is what the registry has now. Does nothing
/// if the copy is current.
///
/// The copy is replaced in one transaction, and a lock keeps two commands from copying at the same time.
///
/// # Errors
/// The error of either server.
pub fn copy_directory(
    registry: &mut PgConnection,
    directory: &Directory,
    target: &mut PgConnection,
    server: &FleetServer,
) -> Result<(), Error> {
    if server.is_registry || server.copied >= directory.version {
        return Ok(());
    }
    let copied = target.transaction::<_, CopyError, _>(|target| {
        let since = lock(target)?;
        if since >= directory.version {
            return Ok(since);
        }
        write_servers(target, directory)?;
        let mut after = String::new();
        loop {
            let page = changed(registry, since, directory.version, &after).map_err(CopyError::Registry)?;
            let Some(last) = page.last() else { break };
            last.tenant.clone_into(&mut after);
            write_placements(target, &page)?;
        }
        remove_servers(target, directory)?;
        sql_query("UPDATE public.schema_identity SET version = $1")
            .bind::<BigInt, _>(directory.version)
            .execute(target)?;
        Ok(directory.version)
    });
    let copied = copied.map_err(|error| match error {
        CopyError::Registry(error) => Error::doing("read the placements of tenants")(error),
        CopyError::Target(error) => Error::doing("copy the directory of servers")(error),
    })?;
    // Removed tenants are kept until no copy has them.
    let recorded = registry.transaction::<_, DieselError, _>(|registry| {
        sql_query("UPDATE public.schema_server SET copied = GREATEST(copied, $2) WHERE id = $1")
            .bind::<SqlUuid, _>(server.id)
            .bind::<BigInt, _>(copied)
            .execute(registry)?;
        sql_query(
            "DELETE FROM public.schema_placement WHERE state = 'gone' AND version <= \
             (SELECT pg_catalog.min(copied) FROM public.schema_server WHERE NOT is_registry)",
        )
        .execute(registry)?;
        Ok(())
    });
    recorded.map_err(Error::doing("record the copy of the directory"))
}

/// The error of one of the two servers.
enum CopyError {
    Registry(DieselError),
    Target(DieselError),
}

impl From<DieselError> for CopyError {
    fn from(error: DieselError) -> Self {
        Self::Target(error)
    }
}

/// Locks the copy, and returns the newest change in it.
fn lock(target: &mut PgConnection) -> QueryResult<i64> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        version: i64,
    }
    let row: Row = sql_query("SELECT version FROM public.schema_identity FOR UPDATE").get_result(target)?;
    Ok(row.version)
}

fn changed(registry: &mut PgConnection, since: i64, until: i64, after: &str) -> QueryResult<Vec<ChangedRow>> {
    sql_query(
        "SELECT tenant, server, state, epoch, version FROM public.schema_placement \
         WHERE version > $1 AND version <= $2 AND tenant > $3 COLLATE \"C\" ORDER BY tenant COLLATE \"C\" LIMIT $4",
    )
    .bind::<BigInt, _>(since)
    .bind::<BigInt, _>(until)
    .bind::<Text, _>(after)
    .bind::<BigInt, _>(PAGE)
    .load(registry)
}

fn write_servers(target: &mut PgConnection, directory: &Directory) -> QueryResult<()> {
    use diesel::sql_types::{Bool, Nullable};
    // A name may have passed from one server to another.
    sql_query("UPDATE public.schema_server SET name = id::text, is_registry = false").execute(target)?;
    for server in &directory.servers {
        let text = |url: &Option<crate::postgres::DatabaseUrl>| url.as_ref().map(ToString::to_string);
        sql_query(
            "INSERT INTO public.schema_server \
             (id, name, region, connection, peer_connection, password_variable, capacity, state, is_registry, host) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
             ON CONFLICT (id) DO UPDATE SET (name, region, connection, peer_connection, password_variable, capacity, state, \
             is_registry, host) = ROW(EXCLUDED.name, EXCLUDED.region, EXCLUDED.connection, EXCLUDED.peer_connection, \
             EXCLUDED.password_variable, EXCLUDED.capacity, EXCLUDED.state, EXCLUDED.is_registry, EXCLUDED.host)",
        )
        .bind::<SqlUuid, _>(server.id)
        .bind::<Text, _>(server.name.as_str())
        .bind::<Nullable<Text>, _>(server.region.as_deref())
        .bind::<Nullable<Text>, _>(text(&server.connection))
        .bind::<Nullable<Text>, _>(text(&server.peer_connection))
        .bind::<Nullable<Text>, _>(server.password_variable.as_deref())
        .bind::<Nullable<BigInt>, _>(server.capacity)
        .bind::<Text, _>(server.state.as_str())
        .bind::<Bool, _>(server.is_registry)
        // The host of a database is before it: a foreign key refers to it, and a host has no host.
        .bind::<Nullable<SqlUuid>, _>(None::<Uuid>)
        .execute(target)?;
    }
    for server in directory.servers.iter().filter(|server| server.host.is_some()) {
        sql_query("UPDATE public.schema_server SET host = $2 WHERE id = $1")
            .bind::<SqlUuid, _>(server.id)
            .bind::<Nullable<SqlUuid>, _>(server.host)
            .execute(target)?;
    }
    Ok(())
}

fn write_placements(target: &mut PgConnection, page: &[ChangedRow]) -> QueryResult<()> {
    let gone: Vec<&str> = page.iter().filter(|row| row.state == "gone").map(|row| row.tenant.as_str()).collect();
    let kept: Vec<&ChangedRow> = page.iter().filter(|row| row.state != "gone").collect();
    let names: Vec<&str> = kept.iter().map(|row| row.tenant.as_str()).collect();
    // Also a name that was given up and taken in another case.
    sql_query(
        "DELETE FROM public.schema_placement AS p WHERE p.tenant = ANY ($1) \
         OR lower(p.tenant COLLATE \"C\") = ANY (ARRAY(SELECT lower(n.name COLLATE \"C\") FROM unnest($2) AS n (name)))",
    )
    .bind::<Array<Text>, _>(gone)
    .bind::<Array<Text>, _>(&names)
    .execute(target)?;
    sql_query(
        "INSERT INTO public.schema_placement (tenant, server, state, epoch, version) \
         SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[])",
    )
    .bind::<Array<Text>, _>(&names)
    .bind::<Array<SqlUuid>, _>(kept.iter().map(|row| row.server).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(kept.iter().map(|row| row.state.as_str()).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(kept.iter().map(|row| row.epoch).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(kept.iter().map(|row| row.version).collect::<Vec<_>>())
    .execute(target)?;
    Ok(())
}

/// Removes servers that the directory does not have any more.
fn remove_servers(target: &mut PgConnection, directory: &Directory) -> QueryResult<()> {
    let ids: Vec<Uuid> = directory.servers.iter().map(|server| server.id).collect();
    sql_query("DELETE FROM public.schema_placement WHERE server <> ALL ($1)")
        .bind::<Array<SqlUuid>, _>(&ids)
        .execute(target)?;
    sql_query("DELETE FROM public.schema_server WHERE id <> ALL ($1)")
        .bind::<Array<SqlUuid>, _>(&ids)
        .execute(target)?;
    Ok(())
}
