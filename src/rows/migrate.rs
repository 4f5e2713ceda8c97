//! Migrates the shared tables.

use super::canonical::OWN_POLICIES;
use super::isolate::{UnassignedRows, isolate};
use super::layout::Layout;
use crate::database::{Database, Stop};
use crate::error::{Error, RowTenancyError};
use crate::migration::Version;
use crate::model::TenantName;
use crate::operations::migrate::{self, MigratePlan, Report, RevertPlan, Rollout};
use crate::postgres::path;
use crate::run::Observer;
use crate::tenants::{Fleet, RunAs, Tenancy};

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Bool, Text};

/// Applies the pending migrations to the shared tables, as their owner. Once the tables are isolated, each migration is
/// applied by itself and followed by an isolation of what it added, so that the result does not depend on how many
/// migrations are pending. The application has no access to a new table before.
///
/// # Errors
/// Those of [`isolate`](super::isolate) and of [`migrate`](migrate::migrate).
pub fn migrate(
    db: &mut Database,
    tenancy: &Tenancy,
    layout: &Layout,
    stop: &Stop,
    observer: &mut dyn Observer,
) -> Result<Report, Error> {
    let tenancy = tenancy.clone().with_run_as(RunAs::SchemaOwner);
    let schema = shared_schema(layout)?;
    let mut result = Report::default();
    loop {
        let is_isolated = is_isolated(db, layout)?;
        if is_isolated {
            isolate(db, layout, UnassignedRows::Refuse, tenancy.limits(), stop, |_| ())?;
        }
        let set = tenancy.tenant_migrations();
        let next = pending(db, &tenancy, layout)?.first().copied();
        let next: Option<Version> = next.map(|next| set.at(next).version().clone());
        let step = match (&next, is_isolated) {
            (Some(version), true) => tenancy.clone().up_to(version)?,
            _ => tenancy.clone(),
        };
        let fleet = Fleet::read_some(db.connection(), step.tenant_migrations(), std::slice::from_ref(&schema))?;
        let plan = MigratePlan::of(fleet, step.tenant_migrations(), |_| true);
        let report = migrate::migrate(db, &step, plan, &Rollout::default(), stop, observer)?;
        let is_over = !report.is_success() || next.is_none() || !is_isolated;
        result = after(result, report);
        if is_over {
            forget_dropped(db, layout)?;
            return Ok(result);
        }
    }
}

/// Reverts migrations of the shared tables, as their owner, and isolates what `down.sql` changed.
///
/// # Errors
/// Those of [`isolate`](super::isolate) and of [`revert`](migrate::revert).
pub fn revert(
    db: &mut Database,
    tenancy: &Tenancy,
    layout: &Layout,
    plan: RevertPlan,
    stop: &Stop,
    observer: &mut dyn Observer,
) -> Result<Report, Error> {
    let tenancy = tenancy.clone().with_run_as(RunAs::SchemaOwner);
    let report = migrate::revert(db, &tenancy, plan, &Rollout::default(), stop, observer)?;
    if is_isolated(db, layout)? {
        isolate(db, layout, UnassignedRows::Refuse, tenancy.limits(), stop, |_| ())?;
    }
    forget_dropped(db, layout)?;
    Ok(report)
}

/// Forgets what isolation replaced in tables that migrations have dropped: another table may get the name.
fn forget_dropped(db: &mut Database, layout: &Layout) -> Result<(), Error> {
    let conn = db.connection();
    conn.transaction(|conn| {
        conn.batch_execute(path::CATALOG_FOR_TRANSACTION)?;
        sql_query(include_str!("forget_dropped.sql")).bind::<Text, _>(layout.schema.as_str()).execute(conn)
    })
    .map(|_| ())
    .map_err(Error::doing("forget the keys of dropped tables"))
}

/// The places in the set of the migrations that the shared tables do not have yet.
pub(crate) fn pending(db: &mut Database, tenancy: &Tenancy, layout: &Layout) -> Result<Vec<usize>, Error> {
    let set = tenancy.tenant_migrations();
    let fleet = Fleet::read_some(db.connection(), set, &[shared_schema(layout)?])?;
    let Some(tenant) = fleet.tenants.first() else { return Ok(Vec::new()) };
    Ok(tenant.ledger().map_or_else(|| (0..set.len()).collect(), |ledger| ledger.pending.clone()))
}

/// The name of the shared schema as that of a tenant, which the tracker has.
fn shared_schema(layout: &Layout) -> Result<TenantName, Error> {
    let name = layout.schema.as_str().parse();
    name.map_err(|error: crate::NameError| RowTenancyError::InvalidLayout { reason: error.to_string() }.into())
}

/// Whether a table has been isolated, so that later tables must be, too.
pub(crate) fn is_isolated(db: &mut Database, layout: &Layout) -> Result<bool, Error> {
    let exists = sql::<Bool>(
        "EXISTS (SELECT FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname::pg_catalog.text = ",
    )
    .bind::<Text, _>(layout.schema.as_str())
    .sql(" AND p.polname::pg_catalog.text = ANY (")
    .bind::<Array<Text>, _>(OWN_POLICIES.map(str::to_owned).to_vec())
    .sql("))");
    diesel::select(exists).get_result(db.connection()).map_err(Error::doing("read the policies of the shared tables"))
}

/// The report of one migration after those of earlier ones.
fn after(earlier: Report, mut report: Report) -> Report {
    if let Some(before) = earlier.done.into_iter().next() {
        match report.done.first_mut() {
            Some(done) => {
                done.from = before.from;
                done.applied += before.applied;
                done.took += before.took;
            }
            None if report.failed.is_empty() => {
                report.unchanged.clear();
                report.done.push(before);
            }
            None => {}
        }
    }
    report.run = report.run.or(earlier.run);
    report
}
