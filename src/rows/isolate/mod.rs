//! Isolation: makes each row of the shared tables belong to a tenant, and accessible in that tenant's transactions alone.
//!
//! The catalogs are read, and a plan is made of what is missing; a second isolation has nothing to do. Large tables are not
//! locked for long: indexes are built concurrently, and checks and foreign keys are validated after they are added.

mod access;
mod apply;
mod foreign_keys;
mod keys;
mod plan;
pub(crate) mod set_up;
mod step;
mod undo;

use std::collections::BTreeSet;

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::catalog::{Catalog, Environment, Table};
use super::layout::Layout;
use crate::database::{Database, Stop};
use crate::error::{Error, RowTenancyError};
use crate::model::IdType;
use crate::postgres::contained::{self, ReadingRights};
use crate::postgres::path;
use crate::sql::quote::Identifier;
use crate::tenants::Limits;

pub(crate) use apply::apply;
pub(crate) use plan::Planner;
pub use plan::{IsolationPlan, UnassignedRows};
pub use step::{IsolationPhase, IsolationStep, Obstacle};

/// Reads what is missing for the isolation of the shared tables. Changes nothing.
///
/// # Errors
/// [`RowTenancyError::NoRegistry`], or the server's error.
pub fn plan_isolation(db: &mut Database, layout: &Layout, unassigned: UnassignedRows) -> Result<IsolationPlan, Error> {
    let version = db.server().version;
    let conn = db.connection();
    let doing = || Error::doing("read the shared tables");
    conn.batch_execute(&format!("BEGIN; {}", path::CATALOG_FOR_TRANSACTION)).map_err(doing())?;
    let state = IsolationState::read(conn, layout, unassigned, version);
    let ended = conn.batch_execute("ROLLBACK").map_err(doing());
    let state = state?;
    ended.map(|()| state.plan)
}

/// Isolates the shared tables. Returns the plan that was executed.
///
/// If it is interrupted, some tables are isolated, and those that are not remain inaccessible to the application or as they
/// were. Another isolation continues.
///
/// # Errors
/// [`RowTenancyError::Obstacles`] with nothing changed, [`RowTenancyError::Statement`], [`RowTenancyError::Pooler`], or the
/// errors of [`plan_isolation`].
pub fn isolate(
    db: &mut Database,
    layout: &Layout,
    unassigned: UnassignedRows,
    limits: &Limits,
    stop: &Stop,
    mut observe: impl FnMut(&IsolationStep),
) -> Result<IsolationPlan, Error> {
    let plan = plan_isolation(db, layout, unassigned)?;
    if !plan.obstacles.is_empty() {
        return Err(RowTenancyError::Obstacles { number: plan.obstacles.len() }.into());
    }
    apply(db, layout, &plan, limits, stop, &mut observe)?;
    Ok(plan)
}

/// Reads what undoes the isolation. Changes nothing.
///
/// # Errors
/// The server's error.
pub fn plan_undo(db: &mut Database, layout: &Layout) -> Result<IsolationPlan, Error> {
    let conn = db.connection();
    let doing = || Error::doing("read the shared tables");
    conn.batch_execute(&format!("BEGIN READ ONLY; {}", path::CATALOG_FOR_TRANSACTION)).map_err(doing())?;
    let read = Catalog::read(conn, layout).and_then(|catalog| Ok((catalog, undo::Replaced::read(conn)?)));
    conn.batch_execute("ROLLBACK").map_err(doing())?;
    let (catalog, replaced) = read?;
    Ok(undo::plan(layout, &catalog, &replaced))
}

/// Restores the keys that isolation replaced, removes row-level security, and revokes the application's privileges on the
/// shared tables. The tenant column remains. Returns the plan that was executed.
///
/// # Errors
/// [`RowTenancyError::Statement`], for example because rows of two tenants have the same key: the keys are unchanged then.
pub fn undo_isolation(
    db: &mut Database,
    layout: &Layout,
    limits: &Limits,
    stop: &Stop,
    mut observe: impl FnMut(&IsolationStep),
) -> Result<IsolationPlan, Error> {
    let plan = plan_undo(db, layout)?;
    apply(db, layout, &plan, limits, stop, &mut observe)?;
    Ok(plan)
}

/// What the catalogs say, and the plan that follows.
pub(crate) struct IsolationState {
    pub(crate) catalog: Catalog,
    pub(crate) environment: Environment,
    pub(crate) id: IdType,
    pub(crate) plan: IsolationPlan,
}

static NONE: BTreeSet<String> = BTreeSet::new();

impl IsolationState {
    /// Reads the catalogs, and plans. The search path must have only `pg_catalog`.
    pub(crate) fn read(
        conn: &mut PgConnection,
        layout: &Layout,
        unassigned: UnassignedRows,
        version: i32,
    ) -> Result<Self, Error> {
        let catalog = Catalog::read(conn, layout)?;
        let Some(id) = catalog.id_type() else {
            let (schema, registry) = (layout.schema.as_str(), layout.registry.as_str());
            return Err(RowTenancyError::no_registry(schema, registry, catalog.registry_id.as_deref()).into());
        };
        let environment = Environment::read(conn, layout, Some(id))?;
        let with_unassigned_rows = with_unassigned_rows(conn, layout, &catalog, &environment, id)?;
        let mut plan = Planner::new(layout, &catalog, id, unassigned, &with_unassigned_rows, version).plan();
        let mut steps = set_up::steps(layout, &environment, Some(id));
        steps.append(&mut plan.steps);
        plan.steps = steps;
        plan.steps.sort_by_key(|step| step.phase);
        Ok(Self { catalog, environment, id, plan })
    }

    /// The rules by which isolation plans.
    pub(crate) fn rules<'a>(&'a self, layout: &'a Layout) -> Planner<'a> {
        Planner::new(layout, &self.catalog, self.id, UnassignedRows::Refuse, &NONE, 0)
    }
}

/// The tables that have rows without a tenant. Only tables whose tenant column is missing or nullable are read.
fn with_unassigned_rows(
    conn: &mut PgConnection,
    layout: &Layout,
    catalog: &Catalog,
    environment: &Environment,
    id: IdType,
) -> Result<BTreeSet<String>, Error> {
    let is_candidate = |table: &&Table| {
        let has_type = table.column_type.as_deref().and_then(IdType::of_type) == Some(id);
        let may_have_no_tenants = !table.has_column || (has_type && !table.is_not_null);
        may_have_no_tenants && !table.is_exempt && !table.is_partition && table.name != layout.registry.as_str()
    };
    let mut found = BTreeSet::new();
    for table in catalog.tables.iter().filter(is_candidate) {
        let condition = if table.has_column {
            format!("WHERE {} IS NULL", Identifier::from(&layout.column))
        } else {
            String::new()
        };
        let exists = format!(
            "EXISTS (SELECT FROM {}.{} {condition})",
            Identifier::from(&layout.schema),
            Identifier::of_object(&table.name)
        );
        if has_rows(conn, layout, environment, table, &exists)? {
            found.insert(table.name.clone());
        }
    }
    Ok(found)
}

/// Evaluates a condition on the rows of a table. Code of the table does not run as the connected role, unless that role owns
/// the table.
fn has_rows(
    conn: &mut PgConnection,
    layout: &Layout,
    environment: &Environment,
    table: &Table,
    condition: &str,
) -> Result<bool, Error> {
    let doing = || Error::doing("look for rows without a tenant");
    if !environment.is_superuser && table.owner == environment.role {
        return diesel::select(sql::<Bool>(condition)).get_result(conn).map_err(doing());
    }
    let rights = if environment.is_superuser {
        ReadingRights::Superuser
    } else {
        ReadingRights::Role { role: Identifier::of_object(&table.owner), schema: &layout.schema }
    };
    let value = contained::evaluate(conn, rights, condition).and_then(|value| value).map_err(doing())?;
    Ok(value == "true")
}
