//! Creation and migration of tenants, over connections of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{AccessError, Creation, MigrateError, Migrated, Readiness, readiness};
use crate::database::{DEFAULT_JOBS, Database, Stop};
use crate::error::Error;
use crate::model::TenantName;
use crate::operations::migrate::{self, MigratePlan, Rollout};
use crate::operations::{CreateError, IfExists, create_one, drop_stale_spares};
use crate::postgres::Connector;
use crate::record::integrity;
use crate::tenants::{Fleet, Tenancy};

/// Creates and migrates tenants.
#[derive(Debug, Clone)]
pub(super) struct Maintenance {
    connector: Connector,
    pub(super) tenancy: Arc<Tenancy>,
    pub(super) jobs: usize,
    /// Whether all tenants were found up to date once.
    was_ready: Arc<AtomicBool>,
}

impl Maintenance {
    pub(super) fn new(connector: Connector, tenancy: Tenancy) -> Self {
        Self { connector, tenancy: Arc::new(tenancy), jobs: DEFAULT_JOBS, was_ready: Arc::default() }
    }

    pub(super) fn create(&self, tenant: &TenantName) -> Result<(), CreateError> {
        create_one(&mut self.database(1)?, &self.tenancy, tenant, IfExists::Fail).map(|_| ())
    }

    pub(super) fn create_if_not_exists(&self, tenant: &TenantName) -> Result<Creation, CreateError> {
        let done = create_one(&mut self.database(1)?, &self.tenancy, tenant, IfExists::Leave)?;
        Ok(if done.is_some() { Creation::Created } else { Creation::Existed })
    }

    pub(super) fn migrate(&self) -> Result<Migrated, MigrateError> {
        let stop = Stop::default();
        let mut db = self.database(self.jobs)?;
        db.lock_fleet(None, self.tenancy.limits().busy_for, &stop, &mut |_| ())?;
        let public = migrate::migrate_public(&mut db, &self.tenancy, &stop, &mut |_| ())?;
        integrity::record(&mut db, &self.tenancy)?;
        let tenancy = Tenancy::clone(&self.tenancy).with_retired(integrity::accepted_removals(&mut db)?);
        let set = tenancy.tenant_migrations();
        let plan = MigratePlan::of(Fleet::read(db.connection(), set)?, set, |_| true);
        let tenants = migrate::migrate(&mut db, &tenancy, plan, &Rollout::default(), &stop, &mut ())?;
        drop_stale_spares(&mut db, &tenancy)?;
        if tenants.is_success() {
            self.was_ready.store(true, Ordering::Relaxed);
            Ok(Migrated { public, tenants })
        } else {
            Err(MigrateError::Tenants(Box::new(tenants)))
        }
    }

    pub(super) fn readiness(&self) -> Result<Readiness, Error> {
        readiness::read(&mut self.database(1)?, &self.tenancy)
    }

    /// Whether all tenants are up to date. Remembers that they were.
    pub(super) fn is_up_to_date(&self) -> Result<bool, AccessError> {
        let ready = self.readiness().map_err(|error| AccessError::Check(Box::new(error)))?.is_ready();
        self.was_ready.store(ready, Ordering::Relaxed);
        Ok(ready)
    }

    /// Whether all tenants were found up to date before.
    pub(super) fn was_up_to_date(&self) -> bool {
        self.was_ready.load(Ordering::Relaxed)
    }

    pub(super) fn address(&self) -> &str {
        self.connector.address()
    }

    fn database(&self, jobs: usize) -> Result<Database, Error> {
        Database::connect(self.connector.clone(), jobs)
    }
}
