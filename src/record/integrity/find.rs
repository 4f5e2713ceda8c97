//! Compares the migrations with those that the database has recorded.

use std::collections::BTreeMap;

use super::applied::{AppliedVersions, VersionStatus};
use super::origin::require_common_version;
use super::recorded::{self, Record, Recorded};
use super::set;
use crate::database::Database;
use crate::error::{ChangeKind, Error, MigrationChange};
use crate::migration::{Kind, MigrationSet};
use crate::model::TenantName;
use crate::tenants::Tenancy;

/// The differences between a set of migrations and its record.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// The migrations that were changed after they were applied and whose change was not accepted.
    pub(super) changes: Vec<MigrationChange>,
    /// The recorded versions that were edited or deleted and that no ledger records. Their record is obsolete.
    pub(super) obsolete: Vec<String>,
    /// The indexes in the set of the migrations to be recorded, sorted.
    pub(super) unrecorded: Vec<usize>,
}

/// Compares the sets of these kinds with their records. The ledgers are read only if there is a difference.
pub(super) fn find(db: &mut Database, tenancy: &Tenancy, kinds: &[Kind]) -> Result<Vec<(Kind, Findings)>, Error> {
    let mut records: BTreeMap<String, Record> = recorded::read(db.connection())?;
    if kinds.contains(&Kind::Tenant) {
        db.use_migrations(tenancy.all_tenant_migrations());
        require_common_version(db, tenancy, records.get(Kind::Tenant.as_str()))?;
    }
    kinds
        .iter()
        .map(|kind| {
            let record = records.remove(kind.as_str()).unwrap_or_default();
            Ok((*kind, compare(db, tenancy, *kind, &record)?))
        })
        .collect()
}

fn compare(db: &mut Database, tenancy: &Tenancy, kind: Kind, record: &Record) -> Result<Findings, Error> {
    let set = set(kind, tenancy);
    let differences = Differences::of(kind, set, record);
    if differences.is_empty() {
        return Ok(Findings { unrecorded: differences.unrecorded, ..Findings::default() });
    }
    let applied = AppliedVersions::read(db, tenancy, kind)?;
    let mut findings = Findings::default();
    for (was, index) in differences.edited {
        match applied.status(&was.version) {
            VersionStatus::NotApplied => {
                findings.obsolete.push(was.version.clone());
                findings.unrecorded.push(index);
            }
            VersionStatus::Applied(doubt) => {
                let difference = recorded::difference(db.connection(), kind, set.at(index))?;
                let what = ChangeKind::Edited { recorded_at: was.recorded_at, difference };
                findings.changes.extend(change(kind, &was.version, &was.folder, what, doubt));
            }
        }
    }
    for was in differences.removed {
        match applied.status(&was.version) {
            VersionStatus::NotApplied => findings.obsolete.push(was.version.clone()),
            VersionStatus::Applied(doubt) => {
                let what = ChangeKind::Removed { recorded_at: was.recorded_at };
                findings.changes.extend(change(kind, &was.version, &was.folder, what, doubt));
            }
        }
    }
    for index in differences.out_of_order {
        let migration = set.at(index);
        let version = migration.version().as_str();
        if let Some((newest, doubt)) = applied.newer_than(version, set, record.newest()) {
            let what = ChangeKind::OutOfOrder { applied: newest };
            findings.changes.extend(change(kind, version, migration.folder(), what, doubt));
        }
    }
    findings.unrecorded.extend(differences.unrecorded);
    findings.unrecorded.sort_unstable();
    Ok(findings)
}

/// The differences between a set and its record, whether or not any ledger records the versions.
struct Differences<'a> {
    /// Migrations without a record.
    unrecorded: Vec<usize>,
    /// Migrations with other statements than recorded.
    edited: Vec<(&'a Recorded, usize)>,
    /// Recorded migrations that are not in the set and whose removal was not accepted.
    removed: Vec<&'a Recorded>,
    /// Migrations without a record that are older than the newest recorded one and were not accepted as out of order.
    out_of_order: Vec<usize>,
}

impl<'a> Differences<'a> {
    fn of(kind: Kind, set: &MigrationSet, record: &'a Record) -> Self {
        let version = |index: usize| set.at(index).version().as_str();
        let unrecorded: Vec<usize> =
            (0..set.versioned_len()).filter(|index| !record.migrations.contains_key(version(*index))).collect();
        let mut edited = Vec::new();
        let mut removed = Vec::new();
        // Recorded versions newer than the whole set are those of a newer release.
        let newest_of_set = set.versioned().next_back().map(|last| last.version().as_str());
        for was in record.migrations.values() {
            match set.position(&was.version) {
                Some(index) if set.at(index).up().checksum() != was.checksum => edited.push((was, index)),
                Some(_) => {}
                None => {
                    let is_newer = newest_of_set.is_none_or(|newest| was.version.as_str() >= newest);
                    if !is_newer && !record.is_accepted(&was.version, "removed") {
                        removed.push(was);
                    }
                }
            }
        }
        let out_of_order = match kind {
            // They come from the tracker and from the project, which are ordered independently.
            Kind::Public => Vec::new(),
            Kind::Tenant => unrecorded
                .iter()
                .copied()
                .filter(|index| record.newest().is_none_or(|newest| version(*index) < newest))
                .filter(|index| !record.is_accepted(version(*index), "out-of-order"))
                .collect(),
        };
        Self { unrecorded, edited, removed, out_of_order }
    }

    /// Whether there is none that needs the ledgers.
    fn is_empty(&self) -> bool {
        self.edited.is_empty() && self.removed.is_empty() && self.out_of_order.is_empty()
    }
}

fn change(
    kind: Kind,
    version: &str,
    folder: &str,
    what: ChangeKind,
    in_doubt: Option<TenantName>,
) -> Option<MigrationChange> {
    Some(MigrationChange { kind, version: version.parse().ok()?, folder: folder.to_owned(), what, in_doubt })
}
