//! The commands of a database whose tenants share tables, where they differ from those of tenants with schemas.

mod cleanup;
mod create;
mod drop;
mod list;
mod migrate;

use crate::cli::context::Usage;
use crate::cli::selection::Matching;
use crate::database::{Database, Stop};
use crate::error::{Error, RowTenancyError};
use crate::operations::migrate::{Report, RevertPlan, Rollout, revert as revert_schemas};
use crate::rows::registry::{self, RegisteredTenant};
use crate::rows::{Layout, revert as revert_shared};
use crate::run::Observer;
use crate::tenants::{RunAs, Tenancy};
use crate::text;

pub(super) use self::migrate::migrate;
pub(super) use cleanup::{CleanupMode, cleanup};
pub(super) use create::{NewTenant, create};
pub(super) use drop::{DropOptions, drop};
pub(super) use list::{ListColumns, list};

/// The layout of the database; `None` if its tenants have schemas of their own.
pub(super) fn layout(db: &mut Database) -> Result<Option<Layout>, Error> {
    Layout::of(db)
}

/// Refuses a command that is for tenants with schemas of their own.
pub(super) fn require_schemas(db: &mut Database, command: &'static str) -> Result<(), Error> {
    match layout(db)? {
        None => Ok(()),
        Some(_) => Err(RowTenancyError::NotSchemas { database: db.server().database.clone(), command }.into()),
    }
}

/// Refuses to select tenants by labels.
pub(super) fn refuse_labels(matching: &Matching) -> Result<(), Usage> {
    if matching.has_labels() {
        let message = "the tenants of this database share tables: they have no labels";
        return Err(Usage::new("unexpected-option", message));
    }
    Ok(())
}

/// The settings for reverts: those of shared tables run as their owner.
pub(super) fn revert_as(tenancy: Tenancy, layout: Option<&Layout>) -> Tenancy {
    if layout.is_some() { tenancy.with_run_as(RunAs::SchemaOwner) } else { tenancy }
}

/// Executes a plan to revert migrations, and isolates shared tables again.
pub(super) fn revert(
    db: &mut Database,
    (tenancy, layout): (&Tenancy, Option<&Layout>),
    plan: RevertPlan,
    rollout: &Rollout,
    stop: &Stop,
    observer: &mut dyn Observer,
) -> Result<Report, Error> {
    match layout {
        Some(layout) => revert_shared(db, tenancy, layout, plan, stop, observer),
        None => revert_schemas(db, tenancy, plan, rollout, stop, observer),
    }
}

/// The tenants with these names.
fn find(
    db: &mut Database,
    layout: &Layout,
    names: &[String],
) -> Result<Vec<Result<RegisteredTenant, RowTenancyError>>, Error> {
    let tenants = registry::tenants(db, layout)?;
    let find = |name: &String| {
        let found = tenants.iter().find(|tenant| tenant.name == *name).cloned();
        found.ok_or_else(|| {
            let similar =
                tenants.iter().map(|tenant| tenant.name.as_str()).min_by_key(|other| text::distance(name, other));
            let similar = similar.filter(|other| text::distance(name, other) <= 2).map(str::to_owned);
            RowTenancyError::UnknownTenant { name: name.clone(), similar }
        })
    };
    Ok(names.iter().map(find).collect())
}
