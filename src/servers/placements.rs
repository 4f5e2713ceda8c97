//! The server of each tenant.

use std::collections::{HashMap, HashSet};

use diesel::connection::Connection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::directory::{Directory, begin_change};
use super::server::FleetServer;
use crate::error::{Error, ServersError};

/// Where a tenant is.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Placement {
    /// The tenant.
    #[diesel(sql_type = Text)]
    pub tenant: String,
    /// The identity of the server.
    #[diesel(sql_type = SqlUuid)]
    pub server: Uuid,
    /// `placing`, `active` or `moving`.
    #[diesel(sql_type = Text)]
    pub state: String,
    /// Increased when the tenant moves.
    #[diesel(sql_type = BigInt)]
    pub epoch: i64,
}

/// What [`reconcile`] changed, or how the directory [differs](differences) from a server, by the names of the tenants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Tenants of the server that the directory did not have.
    pub added: Vec<String>,
    /// Tenants that the server does not have any more.
    pub removed: Vec<String>,
    /// Tenants of the server that the directory has on another one: nothing was changed.
    pub elsewhere: Vec<String>,
}

/// The placement of each of the tenants that has one; a name matches in any case.
///
/// # Errors
/// The server's error.
pub fn of(conn: &mut PgConnection, tenants: &[&str]) -> Result<Vec<Placement>, Error> {
    rows_of(conn, tenants).map_err(Error::doing("read the placements of tenants"))
}

fn rows_of(conn: &mut PgConnection, tenants: &[&str]) -> QueryResult<Vec<Placement>> {
    sql_query(
        "SELECT p.tenant, p.server, p.state, p.epoch FROM public.schema_placement AS p \
         WHERE lower(p.tenant COLLATE \"C\") = ANY (ARRAY(SELECT lower(n.name COLLATE \"C\") FROM unnest($1) AS n (name))) \
         AND p.state <> 'gone' ORDER BY p.tenant COLLATE \"C\"",
    )
    .bind::<Array<Text>, _>(tenants)
    .load(conn)
}

/// Deletes the rows of dropped tenants whose names differ from these only in case.
fn delete_other_case(conn: &mut PgConnection, tenants: &[&str]) -> QueryResult<()> {
    sql_query(
        "DELETE FROM public.schema_placement AS p USING unnest($1) AS n (name) \
         WHERE lower(p.tenant COLLATE \"C\") = lower(n.name COLLATE \"C\") AND p.state = 'gone' AND p.tenant <> n.name",
    )
    .bind::<Array<Text>, _>(tenants)
    .execute(conn)?;
    Ok(())
}

/// All placements, of one server or of all, sorted by tenant.
///
/// # Errors
/// The server's error.
pub fn all(conn: &mut PgConnection, server: Option<Uuid>) -> Result<Vec<Placement>, Error> {
    sql_query(
        "SELECT p.tenant, p.server, p.state, p.epoch FROM public.schema_placement AS p \
         WHERE p.state <> 'gone' AND ($1 IS NULL OR p.server = $1) ORDER BY p.tenant COLLATE \"C\"",
    )
    .bind::<Nullable<SqlUuid>, _>(server)
    .load(conn)
    .map_err(Error::doing("read the placements of tenants"))
}

/// The number of tenants on each server, without dropped tenants.
///
/// # Errors
/// The server's error.
pub fn counts(conn: &mut PgConnection) -> Result<HashMap<Uuid, i64>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        server: Uuid,
        #[diesel(sql_type = BigInt)]
        tenants: i64,
    }
    let rows: Vec<Row> = sql_query(
        "SELECT server, pg_catalog.count(*) AS tenants FROM public.schema_placement WHERE state <> 'gone' GROUP BY server",
    )
    .load(conn)
    .map_err(Error::doing("read the placements of tenants"))?;
    Ok(rows.into_iter().map(|row| (row.server, row.tenants)).collect())
}

/// Reserves names for tenants that are to be made on a server. A name that is reserved on that server already, by a command
/// that was interrupted, is reserved again.
///
/// # Errors
/// [`ServersError::Placed`] if a tenant with the name, in any case, is on another server; or the server's error. No name is
/// reserved then. Returns the names that had no placement before.
pub fn claim(
    conn: &mut PgConnection,
    directory: &Directory,
    server: &FleetServer,
    tenants: &[&str],
) -> Result<Vec<String>, Error> {
    #[derive(QueryableByName)]
    struct Claimed {
        #[diesel(sql_type = Text)]
        tenant: String,
    }
    let claimed = conn.transaction::<_, DieselError, _>(|conn| {
        let version = begin_change(conn)?;
        let placed = rows_of(conn, tenants)?;
        if let Some(taken) = placed.into_iter().find(|placement| placement.server != server.id) {
            return Ok(Err(taken));
        }
        delete_other_case(conn, tenants)?;
        let claimed: Vec<Claimed> = sql_query(
            "INSERT INTO public.schema_placement AS p (tenant, server, state, version) \
             SELECT n.name, $2, 'placing', $3 FROM (SELECT DISTINCT n.name FROM unnest($1) AS n (name)) AS n \
             WHERE NOT EXISTS (SELECT FROM public.schema_placement AS o WHERE o.state <> 'gone' \
                 AND lower(o.tenant COLLATE \"C\") = lower(n.name COLLATE \"C\")) \
             ON CONFLICT (tenant) DO UPDATE SET server = $2, state = 'placing', version = $3, epoch = p.epoch + 1 \
             RETURNING p.tenant",
        )
        .bind::<Array<Text>, _>(tenants)
        .bind::<SqlUuid, _>(server.id)
        .bind::<BigInt, _>(version)
        .load(conn)?;
        Ok(Ok(claimed.into_iter().map(|claimed| claimed.tenant).collect()))
    });
    match claimed.map_err(Error::doing("reserve the names of tenants"))? {
        Ok(claimed) => Ok(claimed),
        Err(taken) => {
            let server = directory.by_id(taken.server).map_or("of another fleet", |server| server.name.as_str());
            Err(ServersError::Placed { tenant: taken.tenant, server: server.to_owned() }.into())
        }
    }
}

/// Gives up names that [`claim`] has reserved on a server on which nothing was done.
///
/// # Errors
/// The server's error.
pub fn release(conn: &mut PgConnection, server: Uuid, tenants: &[String]) -> Result<(), Error> {
    let released = conn.transaction::<_, DieselError, _>(|conn| {
        let version = begin_change(conn)?;
        sql_query(
            "UPDATE public.schema_placement SET state = 'gone', version = $3 \
             WHERE tenant = ANY ($1) AND server = $2 AND state = 'placing'",
        )
        .bind::<Array<Text>, _>(tenants)
        .bind::<SqlUuid, _>(server)
        .bind::<BigInt, _>(version)
        .execute(conn)
    });
    released.map(drop).map_err(Error::doing("write the placements of tenants"))
}

/// Brings the directory up to date with the tracker of a server, which has tenants with these names. A placement that is
/// `moving` is left as it is. With `only`, considers only tenants with those names.
///
/// # Errors
/// The server's error.
pub fn reconcile(
    conn: &mut PgConnection,
    server: Uuid,
    tracked: &[String],
    only: Option<&[&str]>,
) -> Result<Reconciled, Error> {
    // Read first, without a lock: nearly always, nothing has changed.
    let placed = match only {
        Some(names) => of(conn, names)?,
        None => all(conn, None)?,
    };
    let changes = differences(server, tracked, &placed, only);
    if changes.added.is_empty() && changes.removed.is_empty() {
        return Ok(changes);
    }
    let written = conn.transaction::<_, DieselError, _>(|conn| {
        let version = begin_change(conn)?;
        sql_query(
            "UPDATE public.schema_placement SET state = 'gone', version = $3 \
             WHERE tenant = ANY ($1) AND server = $2 AND state IN ('placing', 'active')",
        )
        .bind::<Array<Text>, _>(&changes.removed)
        .bind::<SqlUuid, _>(server)
        .bind::<BigInt, _>(version)
        .execute(conn)?;
        let added: Vec<&str> = changes.added.iter().map(String::as_str).collect();
        delete_other_case(conn, &added)?;
        // A name that another command has placed elsewhere in the meantime stays there.
        sql_query(
            "INSERT INTO public.schema_placement AS p (tenant, server, state, version) \
             SELECT n.name, $2, 'active', $3 FROM unnest($1) AS n (name) \
             ON CONFLICT (tenant) DO UPDATE SET server = $2, state = 'active', version = $3, \
                 epoch = p.epoch + CASE WHEN p.server = $2 THEN 0 ELSE 1 END \
             WHERE p.state = 'gone' OR p.server = $2",
        )
        .bind::<Array<Text>, _>(&changes.added)
        .bind::<SqlUuid, _>(server)
        .bind::<BigInt, _>(version)
        .execute(conn)?;
        Ok(())
    });
    written.map_err(Error::doing("write the placements of tenants"))?;
    Ok(changes)
}

/// How the directory differs from the tracker of a server, which has tenants with the names `tracked`. With `only`, considers
/// only tenants with those names.
pub fn differences(server: Uuid, tracked: &[String], placed: &[Placement], only: Option<&[&str]>) -> Reconciled {
    let tracked: HashSet<&str> = tracked.iter().map(String::as_str).collect();
    let considered = |name: &str| only.is_none_or(|only| only.contains(&name));
    let here: HashMap<&str, &Placement> =
        placed.iter().filter(|placement| placement.server == server).map(|it| (it.tenant.as_str(), it)).collect();
    let others: HashSet<String> = placed
        .iter()
        .filter(|placement| placement.server != server)
        .map(|placement| placement.tenant.to_ascii_lowercase())
        .collect();
    // Both servers of a move may have the tenant.
    let moving: HashSet<String> = placed
        .iter()
        .filter(|placement| placement.state == "moving")
        .map(|placement| placement.tenant.to_ascii_lowercase())
        .collect();
    let is_settled = |name: &&str| !moving.contains(&name.to_ascii_lowercase());
    let mut changes = Reconciled::default();
    for name in tracked.iter().copied().filter(|name| considered(name)).filter(is_settled) {
        if others.contains(&name.to_ascii_lowercase()) {
            changes.elsewhere.push(name.to_owned());
        } else if here.get(name).is_none_or(|placement| placement.state == "placing") {
            changes.added.push(name.to_owned());
        }
    }
    let removed = here.values().filter(|it| it.state != "moving" && !tracked.contains(it.tenant.as_str()));
    changes.removed = removed.map(|it| it.tenant.clone()).filter(|name| considered(name)).collect();
    changes.added.sort();
    changes.removed.sort();
    changes.elsewhere.sort();
    changes
}
