//! Checks that the tenant migrations are those of the database.

use std::collections::BTreeSet;

use super::applied::AppliedVersions;
use super::recorded::{self, Record};
use crate::database::Database;
use crate::error::Error;
use crate::migration::Kind;
use crate::tenants::Tenancy;

/// Checks that the tenant migrations are those of the database: they have a version in common with the recorded migrations
/// or with the ledgers, or no tenant has any migration. An empty set passes. Writes nothing.
///
/// # Errors
/// [`Error::ForeignMigrations`], or the server's error.
pub fn require_matching_migrations(db: &mut Database, tenancy: &Tenancy) -> Result<(), Error> {
    let can_read = db.server().has_recorded_migrations && db.server().may_read_recorded_migrations;
    let record = if can_read { recorded::read(db.connection())?.remove(Kind::Tenant.as_str()) } else { None };
    require_common_version(db, tenancy, record.as_ref())
}

/// As [`require_matching_migrations`], with the record of the tenant migrations.
pub(super) fn require_common_version(
    db: &mut Database,
    tenancy: &Tenancy,
    record: Option<&Record>,
) -> Result<(), Error> {
    let set = tenancy.all_tenant_migrations();
    let is_in_set = |version: &String| set.position(version).is_some();
    let recorded: BTreeSet<String> = record.into_iter().flat_map(|record| record.migrations.keys().cloned()).collect();
    if set.is_empty() || recorded.iter().any(is_in_set) {
        return Ok(());
    }
    // A record counts only if a ledger has one of its versions: a first run may have failed for all tenants.
    let applied = AppliedVersions::read(db, tenancy, Kind::Tenant)?;
    let may_be_applied = !applied.versions.is_empty() || (applied.unreadable.is_some() && !recorded.is_empty());
    if applied.versions.iter().any(is_in_set) || !may_be_applied {
        return Ok(());
    }
    let (place, versions) = if recorded.is_empty() {
        ("the tenants' ledgers", applied.versions)
    } else {
        ("public.schema_migration", recorded)
    };
    let newest = versions.last().map_or_else(String::new, |newest| format!(", newest {newest}"));
    Err(Error::ForeignMigrations {
        database: db.server().database.clone(),
        given: set.summary(),
        recorded: format!("{place} ({} in all{newest})", versions.len()),
    })
}
