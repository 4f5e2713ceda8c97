//! The shared tables, as the registry has them.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Bool, Text};

use crate::error::{Error, ServersError};
use crate::model::ObjectName;
use crate::tenants::tracker;

/// Who publishes the rows of a shared table. A table has one direction, so that no row travels in a circle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ShareDirection {
    /// The registry publishes the table to the other servers.
    Out,
    /// The other servers publish the table to the registry.
    In,
}

impl ShareDirection {
    /// Both directions.
    pub const ALL: [Self; 2] = [Self::Out, Self::In];

    /// The value in `public.schema_shared`, and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
        }
    }
}

/// A table of the schema `public` that the servers share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SharedTable {
    /// Its name.
    pub name: ObjectName,
    /// Who publishes it.
    pub direction: ShareDirection,
}

/// The names of the tables with a direction.
pub(super) fn names(tables: &[SharedTable], direction: ShareDirection) -> Vec<&str> {
    tables.iter().filter(|table| table.direction == direction).map(|table| table.name.as_str()).collect()
}

/// The tables in `public.schema_shared`, by name: the shared tables on the registry, and the copies on another server. None
/// if a pending public migration creates that table.
///
/// # Errors
/// [`ServersError::InvalidDirectory`], or the server's error.
pub fn tables(conn: &mut PgConnection) -> Result<Vec<SharedTable>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        table_name: String,
        #[diesel(sql_type = Text)]
        direction: String,
    }
    let doing = Error::doing("read the shared tables");
    if !exists(conn)? {
        return Ok(Vec::new());
    }
    let rows: Vec<Row> =
        sql_query("SELECT table_name, direction FROM public.schema_shared ORDER BY table_name COLLATE \"C\"")
            .load(conn)
            .map_err(doing)?;
    let invalid = |reason: String| Error::from(ServersError::InvalidDirectory { reason });
    let parse = |row: Row| {
        let direction = ShareDirection::ALL
            .into_iter()
            .find(|direction| direction.as_str() == row.direction)
            .ok_or_else(|| invalid(format!("shared table {} has an unknown direction", row.table_name)))?;
        let name = row.table_name.parse().map_err(|error: crate::model::NameError| invalid(error.to_string()))?;
        Ok(SharedTable { name, direction })
    };
    rows.into_iter().map(parse).collect()
}

fn exists(conn: &mut PgConnection) -> Result<bool, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        exists: bool,
    }
    let row: Row = sql_query("SELECT pg_catalog.to_regclass('public.schema_shared') IS NOT NULL AS exists")
        .get_result(conn)
        .map_err(Error::doing("read the shared tables"))?;
    Ok(row.exists)
}

/// Checks that tables can be shared in a direction.
///
/// # Errors
/// [`ServersError::NotShareable`] for a table of Tenantry, or one that is shared in the other direction.
pub fn require_shareable(shared: &[SharedTable], new: &[ObjectName], direction: ShareDirection) -> Result<(), Error> {
    for name in new {
        let not = |reason: &str| ServersError::NotShareable { table: name.to_string(), reason: reason.to_owned() };
        if tracker::OWN_TABLES.contains(&name.as_str()) {
            return Err(not("it belongs to tenantry, and is each server's own").into());
        }
        if shared.iter().any(|table| table.name == *name && table.direction != direction) {
            return Err(not("it is shared in the other direction, and rows would travel in a circle").into());
        }
    }
    Ok(())
}

/// Records shared tables on the registry, or copies on another server. Tables that are recorded keep their direction.
///
/// # Errors
/// The server's error.
pub fn record(conn: &mut PgConnection, names: &[&str], direction: ShareDirection) -> Result<(), Error> {
    sql_query(
        "INSERT INTO public.schema_shared (table_name, direction) SELECT n.name, $2 FROM unnest($1) AS n (name) \
         ON CONFLICT (table_name) DO NOTHING",
    )
    .bind::<Array<Text>, _>(names)
    .bind::<Text, _>(direction.as_str())
    .execute(conn)
    .map_err(Error::doing("record the shared tables"))?;
    Ok(())
}

/// Removes tables from `public.schema_shared`, whose rows stay.
///
/// # Errors
/// The server's error.
pub fn forget(conn: &mut PgConnection, names: &[&str]) -> Result<(), Error> {
    sql_query("DELETE FROM public.schema_shared WHERE table_name = ANY ($1)")
        .bind::<Array<Text>, _>(names)
        .execute(conn)
        .map_err(Error::doing("record the shared tables"))?;
    Ok(())
}

/// Removes the record of copies that the registry does not publish any more.
pub(super) fn keep_copies(conn: &mut PgConnection, names: &[&str]) -> Result<(), Error> {
    if !exists(conn)? {
        return Ok(());
    }
    sql_query("DELETE FROM public.schema_shared WHERE table_name <> ALL ($1)")
        .bind::<Array<Text>, _>(names)
        .execute(conn)
        .map_err(Error::doing("record the shared tables"))?;
    Ok(())
}
