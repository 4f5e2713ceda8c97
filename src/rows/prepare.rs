//! Brings a database of tenants that share tables up to date, for an application that does so when it starts.

use super::isolate::{UnassignedRows, isolate};
use super::keys;
use super::layout::Layout;
use super::migrate::migrate;
use super::set_up::set_up;
use super::{ContextKey, ContextKind};
use crate::database::{Database, Stop};
use crate::error::{Error, RowTenancyError};
use crate::operations::migrate::{Report, migrate_public};
use crate::record::integrity;
use crate::tenants::Tenancy;

/// Applies the public migrations, sets up shared tables, applies the tenant migrations, isolates the tables and installs the
/// key, as far as each is missing. Only one process at a time does so; others wait for at most
/// [`Limits::busy_for`](crate::Limits::busy_for).
///
/// The connected role must be a superuser, or be able to create roles.
///
/// # Errors
/// [`RowTenancyError::OtherLayout`] if the database was set up with another layout; [`RowTenancyError::Obstacles`]; or the
/// server's error. A migration that failed is in the report, which is no success then, and the tables are not isolated.
pub fn prepare(
    db: &mut Database,
    tenancy: &Tenancy,
    layout: &Layout,
    key: &ContextKey,
    stop: &Stop,
) -> Result<Report, Error> {
    db.lock_fleet(None, tenancy.limits().busy_for, stop, &mut |_| ())?;
    migrate_public(db, tenancy, stop, &mut |_| ())?;
    if Layout::read(db.connection())?.is_some_and(|recorded| recorded != *layout) {
        return Err(RowTenancyError::OtherLayout { database: db.server().database.clone() }.into());
    }
    set_up(db, tenancy, layout, stop)?;
    integrity::record(db, tenancy)?;
    let report = migrate(db, tenancy, layout, stop, &mut ())?;
    if report.is_success() {
        isolate(db, layout, UnassignedRows::Refuse, tenancy.limits(), stop, |_| ())?;
        if layout.context == ContextKind::Signed {
            keys::install(db, layout, key)?;
        }
    }
    Ok(report)
}
