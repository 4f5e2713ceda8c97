//! The plan of a run that applies migrations.

use std::sync::Arc;

use diesel::pg::PgConnection;

use super::MigrationJob;
use super::batch::{Batch, Precondition};
use super::target::SchemaTarget;
use super::transaction::Transaction;
use crate::error::{FailedTenant, TenantError};
use crate::migration::{Direction, MigrationSet};
use crate::model::{State, TenantName};
use crate::run::{AttemptError, Commit};
use crate::tenants::{Fleet, Ledger, Schema, Tenancy, Tenant};

/// The plan for [`migrate`](super::migrate). A dry run shows it.
#[derive(Debug, Default)]
pub struct MigratePlan {
    /// The tenants with pending migrations.
    pub migrate: Vec<Planned>,
    /// The tenants that are up to date. They are not changed.
    pub up_to_date: Vec<TenantName>,
    /// The tenants that cannot be migrated, with the reasons.
    pub blocked: Vec<FailedTenant>,
    /// The tenants of `up_to_date` whose state in the tracker is not active yet.
    pub(crate) settle: Vec<TenantName>,
    /// The tenants of `up_to_date` whose ledgers record unknown migrations, for example those of a newer release.
    pub unknown: Vec<TenantName>,
}

/// A tenant with pending migrations.
#[derive(Debug)]
pub struct Planned {
    /// The tenant.
    pub tenant: Tenant,
}

impl Planned {
    /// The places in the set of the pending migrations, in order.
    pub fn pending(&self, set: &MigrationSet) -> Vec<usize> {
        self.tenant.pending(set)
    }

    /// The message that applies the pending migrations, if they share one transaction.
    pub fn message(&self, tenancy: &Tenancy) -> Option<String> {
        let set = tenancy.tenant_migrations();
        let pending = self.pending(set);
        let precondition = Precondition::of(&self.tenant);
        set.is_one_transaction(&pending).then(|| {
            let target = SchemaTarget::tenant(tenancy, self.tenant.name.schema(), None);
            let transaction = Transaction::new(target, &precondition, Direction::Up, &pending);
            let mut batch = Batch::open(target, &transaction, Commit::Deferred, Arc::default());
            for index in &pending {
                batch.migration(target, *index, transaction.columns());
            }
            batch.confine(target, transaction.scrutiny, Some(&transaction.applied(target)));
            batch.commit().sql().to_owned()
        })
    }
}

impl MigratePlan {
    /// The plan for the tenants of a fleet that `choose` selects.
    pub fn of(fleet: Fleet, set: &MigrationSet, choose: impl FnMut(&str) -> bool) -> Self {
        let (tenants, blocked) = select(fleet, choose);
        let mut plan = Self { blocked, ..Self::default() };
        for tenant in tenants {
            match is_behind(&tenant, set) {
                Ok(true) => plan.migrate.push(Planned { tenant }),
                Ok(false) => {
                    if !tenant.state.is_complete() {
                        plan.settle.push(tenant.name.clone());
                    }
                    if tenant.ledger().is_some_and(|ledger| !unknown_versions(ledger, set).is_empty()) {
                        plan.unknown.push(tenant.name.clone());
                    }
                    plan.up_to_date.push(tenant.name);
                }
                Err(error) => plan.blocked.push(FailedTenant::new(&tenant.name, error)),
            }
        }
        plan.blocked.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        plan
    }
}

/// The tenants of a fleet that `choose` selects, and the failures for the selected rows of the tracker that are not valid.
pub(super) fn select(fleet: Fleet, mut choose: impl FnMut(&str) -> bool) -> (Vec<Tenant>, Vec<FailedTenant>) {
    let mut failed = Vec::new();
    for misnamed in fleet.misnamed.into_iter().filter(|misnamed| choose(&misnamed.name)) {
        failed.push(FailedTenant { tenant: misnamed.name, error: TenantError::InvalidName(misnamed.reason) });
    }
    for invalid in fleet.invalid.into_iter().filter(|invalid| choose(&invalid.name)) {
        failed.push(FailedTenant { tenant: invalid.name, error: TenantError::InvalidRow { reason: invalid.reason } });
    }
    let tenants = fleet.tenants.into_iter().filter(|tenant| choose(tenant.name.as_str())).collect();
    (tenants, failed)
}

/// Whether a tenant has pending migrations.
///
/// # Errors
/// Why it cannot be migrated.
fn is_behind(tenant: &Tenant, set: &MigrationSet) -> Result<bool, TenantError> {
    if tenant.state == State::Dropping {
        return Err(TenantError::Dropping);
    }
    match &tenant.schema {
        Schema::Missing if tenant.state.is_of_move() => Err(TenantError::Moving),
        Schema::Missing => Err(TenantError::SchemaMissing { state: Some(tenant.state) }),
        Schema::Unreadable(reason) => Err(TenantError::LedgerUnreadable(reason.clone())),
        Schema::InvalidLedger { reason } => Err(TenantError::InvalidLedger { reason: reason.clone() }),
        Schema::NoLedger { empty: false, .. } => Err(TenantError::LedgerMissing),
        Schema::NoLedger { empty: true, .. } => Ok(!set.is_empty()),
        Schema::Ledger { ledger, .. } if ledger.pending.is_empty() => Ok(false),
        Schema::Ledger { .. } if tenant.state.is_of_move() => Err(TenantError::Moving),
        Schema::Ledger { ledger, .. } => require_known(ledger, set).map(|()| true),
    }
}

/// The versions that a ledger records and that are not [known](MigrationSet::is_known).
fn unknown_versions(ledger: &Ledger, set: &MigrationSet) -> Vec<String> {
    ledger.applied.iter().filter(|version| !set.is_known(version)).cloned().collect()
}

/// Refuses to change a tenant whose ledger records unknown versions: a newer release may have applied them, and what the
/// migrations of this release do after them is not known.
///
/// # Errors
/// [`TenantError::UnknownMigrations`].
pub(super) fn require_known(ledger: &Ledger, set: &MigrationSet) -> Result<(), TenantError> {
    let versions = unknown_versions(ledger, set);
    if versions.is_empty() { Ok(()) } else { Err(TenantError::UnknownMigrations { versions }) }
}

/// Plans again for a tenant that was changed; `None` if nothing is left to do.
pub(crate) fn reread(
    conn: &mut PgConnection,
    tenancy: &Tenancy,
    name: &TenantName,
) -> Result<Option<MigrationJob>, AttemptError> {
    let tenant = read_again(conn, tenancy, name)?;
    let is_behind = is_behind(&tenant, tenancy.tenant_migrations())?;
    Ok(is_behind.then(|| MigrationJob::migrate(tenant)))
}

/// Reads a tenant again.
pub(super) fn read_again(
    conn: &mut PgConnection,
    tenancy: &Tenancy,
    name: &TenantName,
) -> Result<Tenant, AttemptError> {
    let fleet = Fleet::read_some(conn, tenancy.tenant_migrations(), std::slice::from_ref(name))?;
    if let Some(invalid) = fleet.invalid.into_iter().next() {
        return Err(TenantError::InvalidRow { reason: invalid.reason }.into());
    }
    fleet
        .tenants
        .into_iter()
        .next()
        .ok_or_else(|| TenantError::NotTracked { schema_exists: false, similar: None }.into())
}
