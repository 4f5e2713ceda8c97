//! Compares the structures of schemas with the reference before they are adopted.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::operation::AdoptionJob;
use crate::database::Database;
use crate::error::{Error, FailedTenant, TenantError};
use crate::model::SchemaName;
use crate::postgres::CHUNK;
use crate::schema::drift::{Accepted, Difference, compare};
use crate::schema::reference::{Applied, Reference};
use crate::schema::structure;
use crate::tenants::{Tenancy, ledger, tracker};

/// Removes the schemas that differ from the reference at the baseline, or else at the migrations in their ledgers. A schema
/// without either has nothing to compare. Returns the removed ones.
pub(super) fn remove_differing(
    db: &mut Database,
    tenancy: &Tenancy,
    jobs: &mut Vec<AdoptionJob>,
    baseline: Option<&[String]>,
    accepted: &Accepted,
) -> Result<Vec<FailedTenant>, Error> {
    let applied = match baseline {
        Some(baseline) => jobs.iter().map(|job| (job.name.schema().clone(), baseline.to_vec())).collect(),
        None => ledgers(db, jobs)?,
    };
    let wanted: BTreeSet<Applied> = applied.values().cloned().collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let reference = Reference::make(db, tenancy, &wanted)?;
    let tenants: HashSet<String> = tracker::names(db.connection())?.into_iter().collect();
    let version = db.server().version;
    let mut failed = Vec::new();
    for chunk in jobs.chunks(structure::AT_ONCE) {
        let oids: Vec<u32> = chunk.iter().filter_map(|job| Some(job.schema?.0)).collect();
        let structures = structure::read(db.connection(), version, &oids)?;
        for job in chunk {
            let Some(applied) = applied.get(job.name.schema()) else { continue };
            let Some(structure) = job.schema.and_then(|(oid, _)| structures.get(&oid)) else { continue };
            let error = match reference.structure(applied) {
                None => TenantError::UnknownMigrations { versions: unknown(tenancy, applied) },
                Some(expected) => {
                    let counts = |difference: &&Difference| {
                        difference.level.fails_by_default()
                            && !difference.is_of(ledger::TABLE)
                            && !accepted.accepts(job.name.as_str(), &structure.own_name, difference)
                    };
                    let differences = compare(expected, structure, &tenants);
                    let differences: Vec<String> = differences
                        .iter()
                        .filter(counts)
                        .map(|difference| format!("{} {}", difference.code(), difference.name(&structure.own_name)))
                        .collect();
                    if differences.is_empty() {
                        continue;
                    }
                    TenantError::BaselineDiffers { version: applied.last().cloned(), differences }
                }
            };
            failed.push(FailedTenant::new(&job.name, error));
        }
    }
    let names: HashSet<&str> = failed.iter().map(|failed| failed.tenant.as_str()).collect();
    jobs.retain(|job| !names.contains(job.name.as_str()));
    Ok(failed)
}

/// The versions that are not of tenant migrations.
fn unknown(tenancy: &Tenancy, applied: &[String]) -> Vec<String> {
    applied.iter().filter(|version| !tenancy.all_tenant_migrations().is_known(version)).cloned().collect()
}

/// The versions in the ledgers. Schemas without a valid ledger are not in the result.
fn ledgers(db: &mut Database, jobs: &[AdoptionJob]) -> Result<HashMap<SchemaName, Applied>, Error> {
    let schemas: Vec<&SchemaName> = jobs
        .iter()
        .filter(|job| job.schema.is_some_and(|(_, has_ledger)| has_ledger))
        .map(|job| job.name.schema())
        .collect();
    let mut found = HashMap::new();
    for chunk in schemas.chunks(CHUNK) {
        let contents = ledger::read_chunk(db.connection(), chunk).map_err(Error::doing("read the ledgers"))?;
        let versions = chunk
            .iter()
            .zip(contents)
            .filter_map(|(schema, contents)| Some(((*schema).clone(), contents.into_versions()?)));
        found.extend(versions);
    }
    Ok(found)
}
