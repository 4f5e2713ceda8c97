//! The measured side: the library, used as a command uses it, including the connection.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tenantry::health::{self, Health};
use tenantry::operations::migrate::{self, CreationMethod, MigratePlan, Rollout};
use tenantry::operations::{self, IfExists, IfMissing, Untracked};
use tenantry::{Connector, Database, Fleet, SchemaName, Stop, Tenancy, TenantName};

/// Puts the tracker into an empty database.
pub fn prepare(url: &str, tenancy: &Tenancy) -> Result<()> {
    migrate::migrate_public(&mut connect(url, 1)?, tenancy, &Stop::default(), &mut |_| ())?;
    Ok(())
}

/// Creates the tenants.
pub fn create(url: &str, jobs: usize, tenancy: &Tenancy, names: &[TenantName]) -> Result<()> {
    create_with(url, jobs, tenancy, CreationMethod::default(), names)
}

/// Creates the tenants in one way.
pub fn create_with(
    url: &str,
    jobs: usize,
    tenancy: &Tenancy,
    method: CreationMethod,
    names: &[TenantName],
) -> Result<()> {
    let mut db = connect(url, jobs)?;
    let plan = operations::plan_create(&mut db, tenancy, names, IfExists::Fail)?.with_method(method);
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

/// Applies the pending migrations of every tenant; each has some.
pub fn roll_out(url: &str, jobs: usize, tenancy: &Tenancy, tenants: usize) -> Result<()> {
    let done = migrate(&mut connect(url, jobs)?, tenancy)?;
    ensure!(done == tenants, "{done} of {tenants} tenants had something pending");
    Ok(())
}

/// The messages that a rollout sends.
pub fn messages(url: &str, tenancy: &Tenancy) -> Result<Vec<String>> {
    let mut db = connect(url, 1)?;
    // The messages check that the migrations they apply are recorded.
    tenantry::record::integrity::record(&mut db, tenancy)?;
    let fleet = Fleet::read(db.connection(), tenancy.tenant_migrations())?;
    let plan = MigratePlan::of(fleet, tenancy.tenant_migrations(), |_| true);
    plan.migrate.iter().map(|planned| planned.message(tenancy).context("not one transaction")).collect()
}

/// Runs a migration with nothing pending.
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
    let health = health::check(&mut connect(url, 2)?, tenancy, &health::CheckOptions::default(), |_| true)?;
    ensure!(health.checked() == tenants && all_healthy(&health), "the fleet is not healthy: {health:?}");
    Ok(())
}

/// Whether every tenant was checked and is healthy.
pub fn all_healthy(health: &Health) -> bool {
    health.findings.is_empty()
        && health.unchecked.is_empty()
        && health.drift.groups.iter().all(|group| group.differences.is_empty())
}

/// Checks that a side did its work.
pub fn expect_up_to_date(url: &str, tenancy: &Tenancy, tenants: usize) -> Result<()> {
    migrate_nothing(url, tenancy, tenants)?;
    health(url, tenancy, tenants)
}

/// A connection as a command opens it.
pub fn connect(url: &str, jobs: usize) -> Result<Database> {
    Ok(Database::connect(Connector::new(url.parse()?, Duration::from_secs(10), |_| None), jobs)?)
}

/// Migrates all tenants, and returns how many had pending migrations.
fn migrate(db: &mut Database, tenancy: &Tenancy) -> Result<usize> {
    db.require_writable(tenancy)?;
    let fleet = Fleet::read(db.connection(), tenancy.tenant_migrations())?;
    let plan = MigratePlan::of(fleet, tenancy.tenant_migrations(), |_| true);
    let report = migrate::migrate(db, tenancy, plan, &Rollout::default(), &Stop::default(), &mut ())?;
    ensure!(report.is_success(), "not all were migrated: {report:?}");
    Ok(report.done.len())
}
