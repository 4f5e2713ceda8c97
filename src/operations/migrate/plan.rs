//! What a run would do, decided from what was read and before anything is done.

use diesel::pg::PgConnection;

use super::MigrationJob;
use super::apply::{Part, scrutiny};
use super::batch::{Batch, Opening};
use super::target::Target;
use crate::error::{FailedTenant, TenantError};
use crate::migration::{Direction, MigrationSet};
use crate::model::{State, TenantName};
use crate::run::{AttemptError, Commit};
use crate::tenants::{Fleet, Schema, Tenancy, Tenant};

/// What [`migrate`](super::migrate) does. Showing it is a dry run.
#[derive(Debug, Default)]
pub struct Plan {
    /// The tenants that are behind.
    pub migrate: Vec<Planned>,
    /// The tenants that are up to date; they are not touched.
    pub up_to_date: Vec<TenantName>,
    /// The tenants that cannot be migrated as they are.
    pub blocked: Vec<FailedTenant>,
    /// Those of `up_to_date` that the tracker does not call active yet.
    pub(crate) settle: Vec<TenantName>,
}

/// A tenant that is behind.
#[derive(Debug)]
pub struct Planned {
    /// The tenant.
    pub tenant: Tenant,
}

impl Planned {
    /// The places in the set of the migrations that are to run, in order.
    pub fn pending(&self, set: &MigrationSet) -> Vec<usize> {
        self.tenant.pending(set)
    }

    /// The message that brings the tenant up to date: all of it, where all that is pending can be one transaction.
    pub fn message(&self, tenancy: &Tenancy) -> Option<String> {
        let set = tenancy.tenant_migrations();
        let pending = self.pending(set);
        let opening = Opening::of(&self.tenant);
        set.is_one_transaction(&pending).then(|| {
            let target = Target::tenant(tenancy, self.tenant.name.schema(), None);
            let scrutiny = scrutiny(target, Direction::Up, &pending);
            let part = Part { opening: &opening, direction: Direction::Up, migrations: &pending, scrutiny };
            let mut batch = Batch::open(target, &opening, part.recorded(), Commit::Deferred, scrutiny);
            for index in &pending {
                batch.migration(target, *index);
            }
            batch.confine(target, scrutiny, Some(&part.applied(target)));
            batch.commit().sql().to_owned()
        })
    }
}

impl Plan {
    /// The plan for those tenants of a fleet that `choose` picks.
    pub fn of(fleet: Fleet, set: &MigrationSet, choose: impl FnMut(&str) -> bool) -> Self {
        let (tenants, blocked) = select(fleet, choose);
        let mut plan = Self { blocked, ..Self::default() };
        for tenant in tenants {
            match judge(&tenant, set) {
                Verdict::Behind => plan.migrate.push(Planned { tenant }),
                Verdict::Blocked(error) => plan.blocked.push(FailedTenant::new(&tenant.name, error)),
                Verdict::UpToDate => {
                    if tenant.state != State::Active {
                        plan.settle.push(tenant.name.clone());
                    }
                    plan.up_to_date.push(tenant.name);
                }
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
        failed.push(FailedTenant { tenant: misnamed.name, error: TenantError::InvalidName(misnamed.why) });
    }
    for invalid in fleet.invalid.into_iter().filter(|invalid| choose(&invalid.name)) {
        failed.push(FailedTenant { tenant: invalid.name, error: TenantError::InvalidRow { why: invalid.why } });
    }
    let tenants = fleet.tenants.into_iter().filter(|tenant| choose(tenant.name.as_str())).collect();
    (tenants, failed)
}

enum Verdict {
    UpToDate,
    Behind,
    Blocked(TenantError),
}

fn judge(tenant: &Tenant, set: &MigrationSet) -> Verdict {
    if tenant.state == State::Dropping {
        return Verdict::Blocked(TenantError::Dropping);
    }
    match &tenant.schema {
        Schema::Missing => Verdict::Blocked(TenantError::SchemaMissing { state: Some(tenant.state) }),
        Schema::Unreadable => Verdict::Blocked(TenantError::LedgerUnreadable),
        Schema::InvalidLedger { why } => Verdict::Blocked(TenantError::InvalidLedger { why: why.clone() }),
        Schema::NoLedger { empty: false, .. } => Verdict::Blocked(TenantError::LedgerMissing),
        Schema::NoLedger { empty: true, .. } if set.is_empty() => Verdict::UpToDate,
        Schema::NoLedger { empty: true, .. } => Verdict::Behind,
        Schema::Ledger { ledger, .. } if ledger.pending.is_empty() => Verdict::UpToDate,
        Schema::Ledger { .. } => Verdict::Behind,
    }
}

/// Plans again for a tenant that was changed; `None` if nothing is left to do.
pub(crate) fn reread(
    conn: &mut PgConnection,
    tenancy: &Tenancy,
    name: &TenantName,
) -> Result<Option<MigrationJob>, AttemptError> {
    let tenant = read_again(conn, tenancy, name)?;
    match judge(&tenant, tenancy.tenant_migrations()) {
        Verdict::UpToDate => Ok(None),
        Verdict::Blocked(error) => Err(error.into()),
        Verdict::Behind => Ok(Some(MigrationJob::migrate(tenant))),
    }
}

/// Reads a tenant again.
pub(super) fn read_again(
    conn: &mut PgConnection,
    tenancy: &Tenancy,
    name: &TenantName,
) -> Result<Tenant, AttemptError> {
    let fleet = Fleet::read_some(conn, tenancy.tenant_migrations(), std::slice::from_ref(name))?;
    if let Some(invalid) = fleet.invalid.into_iter().next() {
        return Err(TenantError::InvalidRow { why: invalid.why }.into());
    }
    fleet.tenants.into_iter().next().ok_or_else(|| TenantError::NotTracked { schema_exists: false }.into())
}
