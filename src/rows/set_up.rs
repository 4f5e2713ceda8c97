//! Sets up a database for tenants that share tables.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Text;

use super::catalog::Environment;
use super::isolate::{self, IsolationPlan, set_up};
use super::layout::Layout;
use crate::database::{Database, Stop};
use crate::error::Error;
use crate::postgres::path;
use crate::tenants::Tenancy;

/// Whether [`set_up`] changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetUp {
    /// Something was missing, and exists now.
    Changed,
    /// Everything existed.
    Unchanged,
}

/// Creates the roles, the shared schema and what verifies contexts, unless they exist, adds the shared schema to the tracker,
/// and stores the layout. The public migrations must have been applied.
///
/// # Errors
/// [`crate::RowTenancyError::Statement`], or the server's
/// error.
pub fn set_up(db: &mut Database, tenancy: &Tenancy, layout: &Layout, stop: &Stop) -> Result<SetUp, Error> {
    let doing = || Error::doing("read the roles and schemas of row-level tenancy");
    let conn = db.connection();
    conn.batch_execute(&format!("BEGIN READ ONLY; {}", path::CATALOG_FOR_TRANSACTION)).map_err(doing())?;
    let environment = Environment::read(conn, layout, None);
    conn.batch_execute("ROLLBACK").map_err(doing())?;
    let plan = IsolationPlan { steps: set_up::steps(layout, &environment?, None), obstacles: Vec::new() };
    isolate::apply(db, layout, &plan, tenancy.limits(), stop, &mut |_| ())?;
    let is_tracked = track(db, layout)?;
    let is_stored = Layout::read(db.connection())?.is_some();
    if !is_stored {
        layout.insert(db.connection()).map_err(Error::doing("store the layout of row-level tenancy"))?;
        db.refresh_server()?;
    }
    let is_unchanged = plan.steps.is_empty() && is_tracked && is_stored;
    Ok(if is_unchanged { SetUp::Unchanged } else { SetUp::Changed })
}

/// Adds the shared schema to the tracker. Returns whether it had it.
fn track(db: &mut Database, layout: &Layout) -> Result<bool, Error> {
    let inserted = sql_query("INSERT INTO public.schema_tracker (name) VALUES ($1) ON CONFLICT (name) DO NOTHING")
        .bind::<Text, _>(layout.schema.as_str())
        .execute(db.connection())
        .map_err(Error::doing("add the shared schema to the tracker"))?;
    Ok(inserted == 0)
}
