//! The versions that the ledgers record.

use std::collections::BTreeSet;

use crate::database::Database;
use crate::error::Error;
use crate::migration::{Kind, MigrationSet};
use crate::model::TenantName;
use crate::tenants::{Fleet, Schema, Tenancy, Tenant, ledger};

/// The versions that the ledgers of all tenants, or the public ledger, record.
pub(super) struct AppliedVersions {
    /// The versions that at least one ledger records.
    pub(super) versions: BTreeSet<String>,
    /// A tenant whose ledger cannot be read. It may record any version.
    pub(super) unreadable: Option<TenantName>,
}

/// Whether a version is applied.
pub(super) enum VersionStatus {
    /// No ledger records it.
    NotApplied,
    /// A ledger records it. With a tenant: its ledger cannot be read, and no other ledger records the version.
    Applied(Option<TenantName>),
}

impl AppliedVersions {
    /// Reads the ledgers for the migrations of this kind.
    pub(super) fn read(db: &mut Database, tenancy: &Tenancy, kind: Kind) -> Result<Self, Error> {
        if kind == Kind::Public {
            let ledger = ledger::public::read(db.connection(), tenancy)?;
            return Ok(Self { versions: ledger.applied.into_iter().collect(), unreadable: None });
        }
        let fleet = Fleet::read(db.connection(), tenancy.tenant_migrations())?;
        let is_unreadable =
            |tenant: &&Tenant| matches!(tenant.schema, Schema::Unreadable(_) | Schema::InvalidLedger { .. });
        let unreadable = fleet.tenants.iter().find(is_unreadable).map(|tenant| tenant.name.clone());
        let unreadable = unreadable.or_else(|| fleet.invalid.iter().find_map(|row| row.name.parse().ok()));
        let versions = fleet.tenants.iter().filter_map(Tenant::ledger).flat_map(|ledger| &ledger.applied);
        Ok(Self { versions: versions.cloned().collect(), unreadable })
    }

    /// Whether a version is applied.
    pub(super) fn status(&self, version: &str) -> VersionStatus {
        if self.versions.contains(version) {
            return VersionStatus::Applied(None);
        }
        match &self.unreadable {
            Some(tenant) => VersionStatus::Applied(Some(tenant.clone())),
            None => VersionStatus::NotApplied,
        }
    }

    /// An applied version of `set` that is newer than `version`, if `version` is not applied. With a tenant: its ledger cannot
    /// be read, and no other ledger records a newer version; then the version is `newest_recorded`.
    pub(super) fn newer_than(
        &self,
        version: &str,
        set: &MigrationSet,
        newest_recorded: Option<&str>,
    ) -> Option<(String, Option<TenantName>)> {
        if self.versions.contains(version) {
            return None;
        }
        // Ledgers may also record versions that other tools have applied.
        let newest = self.versions.iter().rev().find(|version| set.position(version).is_some());
        if let Some(newest) = newest.filter(|newest| version < newest.as_str()) {
            return Some((newest.clone(), None));
        }
        let tenant = self.unreadable.clone()?;
        let newest = newest_recorded.filter(|newest| version < *newest)?;
        Some((newest.to_owned(), Some(tenant)))
    }
}
