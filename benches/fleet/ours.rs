//! What is measured: the library, as a command uses it, connecting included.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tenantry::health::{self, Health};
use tenantry::operations::migrate::{self, MigratePlan, Rollout};
use tenantry::operations::{self, IfExists, IfMissing, Untracked};
use tenantry::{Connector, Database, Fleet, SchemaName, Stop, Tenancy, TenantName};

/// Puts the tracker into an empty database.
pub fn prepare(url: &str, tenancy: &Tenancy) -> Result<()> {
    migrate::migrate_public(&mut connect(url, 1)?, tenancy, &Stop::default())?;
    Ok(())
}

/// Creates the tenants.
pub fn create(url: &str, jobs: usize, tenancy: &Tenancy, names: &[TenantName]) -> Result<()> {
    let mut db = connect(url, jobs)?;
    let plan = operations::plan_create(&mut db, tenancy, names, IfExists::Fail)?;
    let report = operations::create(&mut db, tenancy, plan, &Stop::default(), &mut ())?;
    ensure!(report.is_success() && report.done.len() == names.len(), "not all were created: {report:?}");
    Ok(())
}

/// Drops the tenants.
pub fn drop(url: &str, jobs: usize, tenancy: &Tenancy, names: &[TenantName]) -> Result<()> {
    let mut db = connect(url, jobs)?;
    let names: Vec<SchemaName> = names.iter().map(|name| name.schema().clone()).collect();
    let plan = operations::plan_drop(&mut db, tenancy, &names, Untracked::Refuse, IfMissing::Fail)?;
    let report = operations::drop_tenants(&mut db, tenancy, plan, &Stop::default(), &mut ())?;
    ensure!(report.dropped.len() == names.len(), "not all were dropped: {report:?}");
    Ok(())
}

/// Applies what is pending in every tenant, which is something in each.
pub fn roll_out(url: &str, jobs: usize, tenancy: &Tenancy, tenants: usize) -> Result<()> {
    let done = migrate(&mut connect(url, jobs)?, tenancy)?;
    ensure!(done == tenants, "{done} of {tenants} tenants had something pending");
    Ok(())
}

/// The messages that a roll-out sends.
pub fn messages(url: &str, tenancy: &Tenancy) -> Result<Vec<String>> {
    let mut db = connect(url, 1)?;
    // The messages make sure that what they apply is recorded.
    tenantry::record::integrity::record(&mut db, tenancy)?;
    let fleet = Fleet::read(db.connection(), tenancy.tenant_migrations())?;
    let plan = MigratePlan::of(fleet, tenancy.tenant_migrations(), |_| true);
    plan.migrate.iter().map(|planned| planned.message(tenancy).context("not one transaction")).collect()
}

/// Finds that nothing is pending.
pub fn migrate_nothing(url: &str, tenancy: &Tenancy, tenants: usize) -> Result<()> {
    let mut db = connect(url, 1)?;
    let done = migrate(&mut db, tenancy)?;
    ensure!(done == 0, "{done} of {tenants} tenants had something pending");
    Ok(())
}

/// Reads the fleet.
pub fn list(url: &str, tenancy: &Tenancy, tenants: usize) -> Result<()> {
    let mut db = connect(url, 1)?;
    db.require_tracker(tenancy)?;
    let found = Fleet::read(db.connection(), tenancy.tenant_migrations())?.tenants.len();
    ensure!(found == tenants, "{found} of {tenants} tenants are listed");
    Ok(())
}

/// Checks the fleet, which is well.
pub fn health(url: &str, tenancy: &Tenancy, tenants: usize) -> Result<()> {
    let health = health::check(&mut connect(url, 2)?, tenancy, &health::Options::default(), |_| true)?;
    ensure!(health.checked() == tenants && is_well(&health), "the fleet is not well: {health:?}");
    Ok(())
}

/// Whether nothing is amiss, and everything was checked.
pub fn is_well(health: &Health) -> bool {
    health.findings.is_empty()
        && health.unchecked.is_empty()
        && health.drift.groups.iter().all(|group| group.differences.is_empty())
}

/// Makes sure that a side did its work.
pub fn expect_up_to_date(url: &str, tenancy: &Tenancy, tenants: usize) -> Result<()> {
    migrate_nothing(url, tenancy, tenants)?;
    health(url, tenancy, tenants)
}

/// A connection as a command has it.
pub fn connect(url: &str, jobs: usize) -> Result<Database> {
    Ok(Database::connect(Connector::new(url.parse()?, Duration::from_secs(10), |_| None), jobs)?)
}

/// Migrates all, and tells how many had something pending.
fn migrate(db: &mut Database, tenancy: &Tenancy) -> Result<usize> {
    db.require_writable(tenancy)?;
    let fleet = Fleet::read(db.connection(), tenancy.tenant_migrations())?;
    let plan = MigratePlan::of(fleet, tenancy.tenant_migrations(), |_| true);
    let report = migrate::migrate(db, tenancy, plan, &Rollout::default(), &Stop::default(), &mut ())?;
    ensure!(report.is_success(), "not all were migrated: {report:?}");
    Ok(report.done.len())
}
