//! Whether the application can serve all tenants.

use crate::database::Database;
use crate::error::{Error, FailedTenant};
use crate::model::TenantName;
use crate::operations::migrate::MigratePlan;
use crate::record::integrity;
use crate::tenants::{Fleet, Tenancy, tracker};

/// Which migrations are pending. The structure of the tenants is not compared with the migrations.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Readiness {
    /// The number of pending public migrations. If there are any, the tenants are not read.
    pub pending_public: usize,
    /// The number of tenants that are up to date.
    pub up_to_date: usize,
    /// The tenants with pending migrations, sorted.
    pub behind: Vec<TenantName>,
    /// The tenants that cannot be migrated, with the reason.
    pub blocked: Vec<FailedTenant>,
}

impl Readiness {
    /// Whether no migration is pending and no tenant is blocked.
    pub fn is_ready(&self) -> bool {
        self.pending_public == 0 && self.behind.is_empty() && self.blocked.is_empty()
    }
}

/// Reads the tracker and the ledgers of all tenants.
pub(super) fn read(db: &mut Database, tenancy: &Tenancy) -> Result<Readiness, Error> {
    let server = db.server().clone();
    tracker::require_readable(&server)?;
    let pending_public = tracker::pending_public(db.connection(), &server, tenancy)?;
    if pending_public > 0 || !server.has_tracker {
        return Ok(Readiness { pending_public: pending_public.max(1), ..Readiness::default() });
    }
    let set = tenancy.tenant_migrations().clone().with_retired(integrity::accepted_removals(db)?);
    let plan = MigratePlan::of(Fleet::read(db.connection(), &set)?, &set, |_| true);
    Ok(Readiness {
        pending_public,
        up_to_date: plan.up_to_date.len(),
        behind: plan.migrate.into_iter().map(|planned| planned.tenant.name).collect(),
        blocked: plan.blocked,
    })
}
