//! The tracker: `public.schema_tracker`, one row for each tenant.

use diesel::pg::PgConnection;
use diesel::prelude::*;

use crate::error::Error;
#[cfg(feature = "cli")]
use crate::model::{State, TenantName};
use crate::postgres::Server;
use crate::tenants::{Tenancy, ledger};
use crate::text;

pub use schema::schema_tracker;

/// The tables of Tenantry in the schema `public`: the tracker, and those beside it.
pub(crate) const OWN_TABLES: [&str; 19] = [
    "__diesel_schema_migrations",
    "row_isolation",
    "row_tenancy",
    "schema_acceptance",
    "schema_fleet_run",
    "schema_fleet_run_server",
    "schema_identity",
    "schema_ledger",
    "schema_migration",
    "schema_move",
    "schema_placement",
    "schema_run",
    "schema_run_tenant",
    "schema_server",
    "schema_shared",
    "schema_snapshot",
    "schema_spare",
    "schema_stamp",
    "schema_tracker",
];

/// The table as Diesel sees it.
#[allow(missing_docs)]
mod schema {
    diesel::table! {
        /// One row for each tenant.
        public.schema_tracker (id) {
            id -> Uuid,
            name -> Text,
            state -> Text,
            created_at -> Timestamptz,
            unfinished_version -> Nullable<Text>,
            unfinished_statements -> Nullable<Integer>,
            unfinished_digest -> Nullable<Text>,
            unfinished_in_doubt -> Nullable<Bool>,
        }
    }
}

/// Checks that this role can read the tracker, if it exists.
///
/// # Errors
/// [`Error::TrackerHidden`] or [`Error::MissingPrivileges`].
pub fn require_readable(server: &Server) -> Result<(), Error> {
    if server.tracker_is_hidden {
        return Err(Error::TrackerHidden);
    }
    require_read_privileges(server)
}

/// Checks that this role has the privileges to read the tracker and the public ledger, if they exist.
///
/// # Errors
/// [`Error::MissingPrivileges`].
pub(crate) fn require_read_privileges(server: &Server) -> Result<(), Error> {
    require_privileges(server, &server.missing_to_read)
}

/// Checks that this role has the privileges that every command that changes tenants uses.
///
/// # Errors
/// [`Error::MissingPrivileges`].
pub(crate) fn require_writable(server: &Server) -> Result<(), Error> {
    require_privileges(server, &server.missing_to_write)
}

fn require_privileges(server: &Server, missing: &[String]) -> Result<(), Error> {
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::MissingPrivileges { role: server.role.clone(), privileges: missing.to_vec() })
}

/// Checks that this role can read the tracker, that it exists, and that all public migrations are applied.
///
/// # Errors
/// The errors of [`require_readable`], [`Error::TrackerMissing`], [`Error::TrackerBehind`], or the server's error.
pub fn require(conn: &mut PgConnection, server: &Server, tenancy: &Tenancy) -> Result<(), Error> {
    require_readable(server)?;
    let database = || server.database.clone();
    match pending_public(conn, server, tenancy)? {
        _ if !server.has_tracker => Err(Error::TrackerMissing { database: database() }),
        0 => Ok(()),
        pending => Err(Error::TrackerBehind { database: database(), pending }),
    }
}

/// The names of all tenants in any state, sorted. Omits rows without a name, which `health-check` reports.
pub(crate) fn names(conn: &mut PgConnection) -> Result<Vec<String>, Error> {
    let mut names: Vec<String> = schema_tracker::table
        .select(schema_tracker::name)
        .filter(schema_tracker::name.is_not_null())
        .load(conn)
        .map_err(Error::doing("read the tracker"))?;
    // Not by the collation of the database.
    names.sort_unstable();
    Ok(names)
}

/// The names of the active tenants, sorted. Omits names that are not valid, which `health-check` reports.
#[cfg(feature = "cli")]
pub(crate) fn active_names(conn: &mut PgConnection) -> Result<Vec<TenantName>, Error> {
    let names: Vec<String> = schema_tracker::table
        .select(schema_tracker::name)
        .filter(schema_tracker::state.eq(State::Active.as_str()))
        .filter(schema_tracker::name.is_not_null())
        .load(conn)
        .map_err(Error::doing("read the tracker"))?;
    let mut names: Vec<TenantName> = names.iter().filter_map(|name| name.parse().ok()).collect();
    names.sort();
    Ok(names)
}

/// The tenant whose name is most similar to one that no tenant has, if it is close enough to be what was intended.
pub(crate) fn similar_name(conn: &mut PgConnection, name: &str) -> Result<Option<String>, Error> {
    let names = names(conn)?;
    Ok(text::closest(name, names.iter().map(String::as_str)).map(str::to_owned))
}

/// The number of pending public migrations.
pub(crate) fn pending_public(conn: &mut PgConnection, server: &Server, tenancy: &Tenancy) -> Result<usize, Error> {
    let applied = match (server.has_public_ledger, server.has_diesel_ledger) {
        (true, _) => ledger::public::read_own(conn)?,
        (false, true) => ledger::public::read(conn, tenancy)?.applied,
        (false, false) => Vec::new(),
    };
    Ok(ledger::Ledger::new(applied, tenancy.public_migrations()).pending.len())
}
