//! Verifies tenants after their commits: their ledgers, and their structures if the rollout asks for it.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{MigrationJob, Rollout};
use crate::database::Database;
use crate::error::{Error, TenantError};
use crate::model::{SchemaName, TenantName};
use crate::postgres::CHUNK;
use crate::run::{RunContext, Verified};
use crate::schema::drift::{self, Accepted, Stamps};
use crate::schema::reference::Reference;
use crate::tenants::{Fleet, Tenancy, ledger};

/// Reads tenants back after their commits. A server that crashed may have lost a commit that was not durable, and a standby
/// that took over may never have received it.
///
/// The row that the run wrote in the transaction of the migrations shows that it was committed. Where there is none, the
/// ledger shows it: the run may not be recorded.
pub(super) fn verify(
    context: &RunContext<'_>,
    db: &mut Database,
    done: &[&MigrationJob],
    check: Option<&ReferenceCheck<'_>>,
) -> Result<Verified, Error> {
    let set = context.tenancy.tenant_migrations();
    let names: Vec<&str> = done.iter().map(|job| job.name().as_str()).collect();
    let recorded = context.run.done_among(db.connection(), &names)?;
    let unrecorded = |job: &&&MigrationJob| !recorded.contains(job.name().as_str());
    let to_read: Vec<TenantName> =
        done.iter().filter(|job| check.is_some() || unrecorded(job)).map(|job| job.name().clone()).collect();
    let mut failed: HashMap<SchemaName, TenantError> = HashMap::new();
    let mut ledgers: HashMap<TenantName, Vec<String>> = HashMap::new();
    for chunk in to_read.chunks(CHUNK) {
        if check.is_none()
            && let Some(read) = read_ledgers(db, chunk)
        {
            ledgers.extend(read);
            continue;
        }
        let fleet = Fleet::read_some(db.connection(), set, chunk)?;
        if let Some(check) = check {
            let drifted = check.failures(db, &fleet)?;
            failed.extend(drifted.into_iter().map(|(name, error)| (name.schema().clone(), error)));
        }
        ledgers.extend(fleet.tenants.into_iter().filter_map(|tenant| {
            let applied = tenant.ledger()?.applied.clone();
            Some((tenant.name, applied))
        }));
    }
    let is_reached = |job: &MigrationJob| ledgers.get(job.name()).is_some_and(|applied| job.is_reached(applied, set));
    let mut lost = HashSet::new();
    for job in done {
        let name = job.name();
        if unrecorded(&job) && !is_reached(job) {
            lost.insert(name.schema().clone());
        } else if check.is_some() && !ledgers.contains_key(name) {
            let error = TenantError::NotCompared { reason: "its ledger cannot be read".to_owned() };
            failed.insert(name.schema().clone(), error);
        }
    }
    Ok(Verified { lost, failed })
}

/// The versions in the ledgers that can be read; `None` if the statement fails, as it does if a schema was dropped.
fn read_ledgers(db: &mut Database, names: &[TenantName]) -> Option<Vec<(TenantName, Vec<String>)>> {
    let schemas: Vec<&SchemaName> = names.iter().map(TenantName::schema).collect();
    let ledgers = ledger::read_chunk(db.connection(), &schemas).ok()?;
    Some(
        names.iter().cloned().zip(ledgers).filter_map(|(name, ledger)| Some((name, ledger.into_versions()?))).collect(),
    )
}

/// Compares tenants with the reference.
pub(super) struct ReferenceCheck<'a> {
    tenancy: &'a Tenancy,
    reference: Reference,
    /// The tenants of the run.
    names: HashSet<String>,
    accepted: &'a Accepted,
}

impl<'a> ReferenceCheck<'a> {
    /// Makes the reference for the versions that the jobs lead to and that unchanged tenants have. Returns `None` if the
    /// rollout compares no tenants.
    pub(super) fn prepare(
        db: &mut Database,
        tenancy: &'a Tenancy,
        rollout: &'a Rollout,
        jobs: &[MigrationJob],
        unchanged: &[TenantName],
        to_compare: &Fleet,
    ) -> Result<Option<Self>, Error> {
        if !rollout.needs_reference() {
            return Ok(None);
        }
        let goals = jobs.iter().map(|job| job.goal(tenancy.tenant_migrations()));
        let reached = to_compare.tenants.iter().filter_map(|tenant| Some(tenant.ledger()?.effective.clone()));
        let wanted: BTreeSet<Vec<String>> = goals.chain(reached).collect();
        let reference = Reference::make(db, tenancy, &wanted)?;
        let names = jobs.iter().map(MigrationJob::name).chain(unchanged).map(|name| name.as_str().to_owned()).collect();
        Ok(Some(Self { tenancy, reference, names, accepted: &rollout.accepted }))
    }

    /// The tenants that differ from the reference or cannot be compared with it.
    pub(super) fn failures(&self, db: &mut Database, fleet: &Fleet) -> Result<Vec<(TenantName, TenantError)>, Error> {
        let tenants: Vec<_> = fleet.tenants.iter().collect();
        let found = drift::check(db, self.tenancy, &tenants, &self.reference, &self.names, Stamps::Ignore)?;
        let mut failures = Vec::new();
        for group in found.groups {
            for member in group.members {
                let own_name = &member.own_name;
                let differences: Vec<String> = group
                    .differences
                    .iter()
                    .filter(|difference| difference.level.fails_by_default())
                    .filter(|difference| !self.accepted.accepts(member.name.as_str(), own_name, difference))
                    .map(|difference| format!("{} {}", difference.code(), difference.name(own_name)))
                    .collect();
                if !differences.is_empty() {
                    failures.push((member.name, TenantError::Drifted { differences }));
                }
            }
        }
        for unchecked in found.unchecked {
            let error = |name| (name, TenantError::NotCompared { reason: unchecked.reason.clone() });
            failures.extend(unchecked.tenants.into_iter().map(error));
        }
        Ok(failures)
    }
}
