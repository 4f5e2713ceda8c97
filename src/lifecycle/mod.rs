//! The beginning and the end of tenants: create, adopt, drop, and the reset of all.

mod adopt;
mod cleanup;
mod create;
mod drop;
mod orphans;

use std::collections::HashSet;

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Bool, Text};

use crate::database::{CHUNK, Database};
use crate::error::Error;
use crate::name::TenantName;
use crate::tenancy::Tenancy;

pub use adopt::{Adopted, adopt};
pub use cleanup::{CleanupPlan, CleanupReport, cleanup, plan_cleanup};
pub use create::{CreateError, CreatePlan, IfExists, create, create_tenant, plan_create};
pub use drop::{DropPlan, DropReport, Dropping, IfMissing, drop_tenants, plan_drop};
pub use orphans::{Orphan, orphans};

/// A schema of a tenant's name, as the catalog has it.
#[derive(Debug, Clone, QueryableByName)]
struct Found {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Bool)]
    has_ledger: bool,
    #[diesel(sql_type = Bool)]
    readable: bool,
    #[diesel(sql_type = Bool)]
    empty: bool,
    #[diesel(sql_type = Bool)]
    holds_extensions: bool,
}

/// Looks for schemas.
fn find_schemas(conn: &mut PgConnection, names: &[&TenantName]) -> Result<Vec<Found>, Error> {
    let mut found = Vec::new();
    for chunk in names.chunks(CHUNK) {
        let names: Vec<&str> = chunk.iter().map(|name| name.as_str()).collect();
        let rows: Vec<Found> = sql_query(include_str!("schemas.sql"))
            .bind::<Array<Text>, _>(names)
            .load(conn)
            .map_err(Error::doing("look for the tenants' schemas"))?;
        found.extend(rows);
    }
    Ok(found)
}

/// Whether there is a schema of the name.
pub(crate) fn schema_exists(db: &mut Database, name: &TenantName) -> Result<bool, Error> {
    any_schema_exists(db, std::slice::from_ref(name))
}

/// Whether there is a schema of any of the names.
pub(crate) fn any_schema_exists(db: &mut Database, names: &[TenantName]) -> Result<bool, Error> {
    let names: Vec<&TenantName> = names.iter().collect();
    Ok(!find_schemas(db.connection(), &names)?.is_empty())
}

/// Whether a name is that of a schema that holds extensions, as the operator says or as the catalog does.
fn holds_extensions(tenancy: &Tenancy, name: &TenantName, found: Option<&Found>) -> bool {
    found.is_some_and(|found| found.holds_extensions)
        || tenancy.extension_schemas().iter().any(|schema| schema.as_str().eq_ignore_ascii_case(name.as_str()))
}

/// Names in the order given, each once.
fn distinct(names: &[TenantName]) -> Vec<&TenantName> {
    let mut seen = HashSet::new();
    names.iter().filter(|name| seen.insert(*name)).collect()
}
