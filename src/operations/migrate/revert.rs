//! Reverts the newest migrations of tenants, in one transaction with their ledger rows for each tenant.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use diesel::pg::PgConnection;

use super::plan::require_known;
use super::rollout::Rollout;
use super::{CreationMethod, MigrationJob, Report, RunJobs, plan, run_jobs};
use crate::database::{Database, Stop};
use crate::error::{Error, FailedTenant, TenantError};
use crate::migration::{Kind, MigrationSet, Version};
use crate::model::{State, TenantName};
use crate::run::{AttemptError, Observer};
use crate::tenants::{Fleet, Schema, Tenancy, Tenant};

/// Which migrations are reverted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Back {
    /// All after this version, which becomes the newest in the ledger.
    To(Version),
    /// This number of the newest migrations.
    Steps(NonZeroUsize),
}

/// The plan for [`revert`]. A dry run shows it.
#[derive(Debug, Default)]
pub struct RevertPlan {
    /// The tenants with migrations to revert.
    pub revert: Vec<Reverting>,
    /// The tenants with nothing to revert. They are not changed.
    pub unchanged: Vec<TenantName>,
    /// The tenants that cannot be reverted, with the reasons.
    pub blocked: Vec<FailedTenant>,
}

/// A tenant with migrations to revert.
#[derive(Debug)]
pub struct Reverting {
    /// The tenant.
    pub tenant: Tenant,
    /// The places in the set of the migrations to revert, newest first; not empty.
    pub migrations: Vec<usize>,
}

impl RevertPlan {
    /// The plan for the tenants of a fleet that `choose` selects.
    ///
    /// # Errors
    /// [`Error::UnknownVersion`], or [`Error::NoDown`] if a migration to revert has no `down.sql`.
    pub fn of(fleet: Fleet, set: &MigrationSet, back: &Back, choose: impl FnMut(&str) -> bool) -> Result<Self, Error> {
        if let Back::To(version) = back
            && set.position(version.as_str()).is_none()
        {
            return Err(Error::unknown_version(version, set));
        }
        let (tenants, blocked) = plan::select(fleet, choose);
        let mut plan = Self { blocked, ..Self::default() };
        for tenant in tenants {
            match to_revert(&tenant, set, back) {
                Ok(migrations) if migrations.is_empty() => plan.unchanged.push(tenant.name),
                Ok(migrations) => plan.revert.push(Reverting { tenant, migrations }),
                Err(error) => plan.blocked.push(FailedTenant::new(&tenant.name, error)),
            }
        }
        for index in plan.revert.iter().flat_map(|reverting| &reverting.migrations) {
            let migration = set.at(*index);
            if migration.down().is_none() {
                return Err(Error::NoDown { kind: Kind::Tenant, folder: migration.folder().to_owned() });
            }
        }
        plan.blocked.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        Ok(plan)
    }
}

impl RevertPlan {
    /// The newest version after the run, if it is the same for all tenants with migrations to revert.
    pub fn common_version(&self) -> Option<&str> {
        let mut versions = self.revert.iter().map(Reverting::version);
        let first = versions.next()?;
        versions.all(|version| version == first).then_some(first)?
    }

    /// Whether another plan reverts the same migrations of the same tenants.
    pub fn is_same(&self, other: &Self) -> bool {
        fn by_name(plan: &RevertPlan) -> BTreeMap<&TenantName, &[usize]> {
            plan.revert.iter().map(|it| (&it.tenant.name, it.migrations.as_slice())).collect()
        }
        by_name(self) == by_name(other)
    }
}

impl Reverting {
    /// The newest version in the ledger after the run.
    fn version(&self) -> Option<&str> {
        let applied = &self.tenant.ledger()?.applied;
        applied.iter().rev().nth(self.migrations.len()).map(String::as_str)
    }
}

/// The places in the set of the migrations to revert, newest first.
fn to_revert(tenant: &Tenant, set: &MigrationSet, back: &Back) -> Result<Vec<usize>, TenantError> {
    if tenant.state == State::Dropping {
        return Err(TenantError::Dropping);
    }
    if tenant.state.is_of_move() {
        return Err(TenantError::Moving);
    }
    if let Some(unfinished) = &tenant.unfinished {
        return Err(TenantError::Unfinished { version: unfinished.version.clone() });
    }
    match &tenant.schema {
        Schema::Missing => Err(TenantError::SchemaMissing { state: Some(tenant.state) }),
        Schema::Unreadable(reason) => Err(TenantError::LedgerUnreadable(reason.clone())),
        Schema::InvalidLedger { reason } => Err(TenantError::InvalidLedger { reason: reason.clone() }),
        Schema::NoLedger { empty: false, .. } => Err(TenantError::LedgerMissing),
        Schema::NoLedger { empty: true, .. } => Ok(Vec::new()),
        Schema::Ledger { ledger, .. } => {
            let newest_first = ledger.applied.iter().rev();
            let versions: Vec<&String> = match back {
                Back::Steps(steps) => newest_first.take(steps.get()).collect(),
                Back::To(version) => newest_first.take_while(|applied| applied.as_str() > version.as_str()).collect(),
            };
            if versions.is_empty() {
                return Ok(Vec::new());
            }
            require_known(ledger, set)?;
            // A version whose removal was accepted is known, and has no down.sql.
            let no_down = |version: &String| TenantError::NoDown { folder: version.clone() };
            versions.into_iter().map(|version| set.position(version).ok_or_else(|| no_down(version))).collect()
        }
    }
}

/// Executes a plan, as [`migrate`](super::migrate) does.
///
/// # Errors
/// If commits cannot be made durable. Failures of single tenants are in the report.
pub fn revert(
    db: &mut Database,
    tenancy: &Tenancy,
    plan: RevertPlan,
    rollout: &Rollout,
    stop: &Stop,
    observer: &mut dyn Observer,
) -> Result<Report, Error> {
    let report = Report { unchanged: plan.unchanged, failed: plan.blocked, ..Report::default() };
    let jobs =
        plan.revert.into_iter().map(|reverting| MigrationJob::revert(reverting.tenant, reverting.migrations)).collect();
    let command = "revert";
    let method = CreationMethod::Replay;
    run_jobs(db, tenancy, RunJobs { command, jobs, method, reread: &plan::reread, rollout, stop, report }, observer)
}

/// Plans again for a tenant that was changed: the migrations among `migrations` that its ledger still has, and none before
/// them. Returns `None` if nothing is left to do.
pub(super) fn reread(
    conn: &mut PgConnection,
    tenancy: &Tenancy,
    name: &TenantName,
    migrations: &[usize],
) -> Result<Option<MigrationJob>, AttemptError> {
    let set = tenancy.tenant_migrations();
    let tenant = plan::read_again(conn, tenancy, name)?;
    if tenant.state == State::Dropping {
        return Err(TenantError::Dropping.into());
    }
    let Some(ledger) = tenant.ledger() else {
        return Err(match tenant.schema {
            Schema::InvalidLedger { reason } => TenantError::InvalidLedger { reason },
            Schema::Unreadable(reason) => TenantError::LedgerUnreadable(reason),
            Schema::Missing => TenantError::SchemaMissing { state: Some(tenant.state) },
            Schema::NoLedger { .. } | Schema::Ledger { .. } => TenantError::LedgerMissing,
        }
        .into());
    };
    let migrations: Vec<usize> = migrations.iter().copied().filter(|index| !ledger.pending.contains(index)).collect();
    if migrations.is_empty() {
        return Ok(None);
    }
    // A migration that was applied since may need those to revert.
    let is_to_revert = |version: &String| migrations.iter().any(|index| set.at(*index).version().as_str() == version);
    if let Some(version) = ledger.applied.last().filter(|newest| !is_to_revert(newest)) {
        return Err(TenantError::NewerMigrationApplied { version: version.clone() }.into());
    }
    Ok(Some(MigrationJob::revert(tenant, migrations)))
}
