//! Changes of migrations that an operator has accepted, with the reason.

use std::collections::BTreeSet;

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::QueryResult;

use super::applied::AppliedVersions;
use super::recorded;
use super::{find, lock_error, lock_exclusively, recorded_version, schema_acceptance as a, schema_migration as m, set};
use crate::database::{Actor, Database};
use crate::error::{ChangeKind, Error, MigrationChange};
use crate::migration::{Kind, VersionRange};
use crate::tenants::Tenancy;

/// Accepts the [`changes`](super::changes) of migrations, and versions that only the ledgers of tenants record, in one
/// transaction. A single version selects the tenant migration and the public migration with that version; a range selects
/// tenant migrations only. Records the earlier scripts, the reason, and the operator.
///
/// # Errors
/// [`Error::NothingToAccept`] if one of the ranges contains no change; then nothing is accepted. The errors of
/// [`Database::require_writable`], [`Error::ForeignMigrations`], [`Error::MigrationsInUse`], or the server's error.
pub fn accept(
    db: &mut Database,
    tenancy: &Tenancy,
    ranges: &[VersionRange],
    reason: &str,
) -> Result<Vec<MigrationChange>, Error> {
    db.require_writable(tenancy)?;
    let mut changes: Vec<MigrationChange> =
        find(db, tenancy, &[Kind::Tenant, Kind::Public])?.into_iter().flat_map(|(_, found)| found.changes).collect();
    for unknown in unknown_versions(db, tenancy)? {
        if !changes.iter().any(|change| change.kind == unknown.kind && change.version == unknown.version) {
            changes.push(unknown);
        }
    }
    let is_in = |range: &VersionRange, change: &MigrationChange| {
        (range.is_single() || change.kind == Kind::Tenant) && range.contains(&change.version)
    };
    if let Some(range) = ranges.iter().find(|range| !changes.iter().any(|change| is_in(range, change))) {
        return Err(Error::NothingToAccept { versions: range.clone() });
    }
    changes.retain(|change| ranges.iter().any(|range| is_in(range, change)));
    changes.sort_by(|a, b| (a.kind.as_str(), &a.version).cmp(&(b.kind.as_str(), &b.version)));
    let actor = db.actor().clone();
    let conn = db.connection();
    conn.transaction(|conn| {
        lock_exclusively(conn)?;
        changes.iter().try_for_each(|change| record(conn, tenancy, change, reason, &actor))
    })
    .map_err(|error| lock_error(conn, "record the accepted changes in public.schema_acceptance", error))?;
    Ok(changes)
}

/// The versions that ledgers of tenants record, and that are neither migrations nor accepted.
fn unknown_versions(db: &mut Database, tenancy: &Tenancy) -> Result<Vec<MigrationChange>, Error> {
    let set = tenancy.all_tenant_migrations();
    let record = recorded::read(db.connection())?.remove(Kind::Tenant.as_str()).unwrap_or_default();
    let applied = AppliedVersions::read(db, tenancy, Kind::Tenant)?;
    let unknown = applied
        .versions
        .into_iter()
        .filter(|version| set.position(version).is_none() && !record.is_accepted(version, "removed"));
    Ok(unknown
        .filter_map(|version| {
            let folder = record.migrations.get(&version).map_or(&version, |was| &was.folder).clone();
            let (kind, what) = (Kind::Tenant, ChangeKind::Unknown);
            Some(MigrationChange { kind, version: version.parse().ok()?, folder, what, in_doubt: None })
        })
        .collect())
}

fn record(
    conn: &mut PgConnection,
    tenancy: &Tenancy,
    change: &MigrationChange,
    reason: &str,
    actor: &Actor,
) -> QueryResult<()> {
    let (kind, version) = (change.kind.as_str(), change.version.as_str());
    let was: Option<(String, String)> = m::table
        .filter(m::kind.eq(kind))
        .filter(recorded_version().eq(version))
        .select((m::checksum, m::script))
        .for_update()
        .first(conn)
        .optional()?;
    let (old_checksum, old_script) = was.unzip();
    diesel::insert_into(a::table)
        .values((
            a::kind.eq(kind),
            a::version.eq(version),
            a::change.eq(change.what.as_str()),
            a::old_checksum.eq(old_checksum),
            a::old_script.eq(old_script),
            a::reason.eq(reason),
            a::os_user.eq(actor.os_user.as_deref()),
            a::host.eq(actor.host.as_deref()),
        ))
        .execute(conn)?;
    let set = set(change.kind, tenancy);
    if let (ChangeKind::Edited { .. }, Some(index)) = (&change.what, set.position(version)) {
        let migration = set.at(index);
        diesel::update(m::table.filter(m::kind.eq(kind)).filter(recorded_version().eq(version)))
            .set((
                m::folder.eq(migration.folder()),
                m::checksum.eq(migration.up().checksum()),
                m::script.eq(migration.up().text()),
            ))
            .execute(conn)?;
    }
    Ok(())
}

/// The versions of tenant migrations whose removal was accepted. Ledgers may record them; see [`Tenancy::with_retired`]. Empty
/// if this role cannot read `public.schema_acceptance`.
///
/// # Errors
/// The server's error.
pub fn accepted_removals(db: &mut Database) -> Result<BTreeSet<String>, Error> {
    if !db.server().has_recorded_migrations || !db.server().may_read_recorded_migrations {
        return Ok(BTreeSet::new());
    }
    let versions: Vec<String> = a::table
        .filter(a::kind.eq(Kind::Tenant.as_str()))
        .filter(a::change.eq("removed"))
        .select(a::version)
        .load(db.connection())
        .map_err(Error::doing("read public.schema_acceptance"))?;
    Ok(versions.into_iter().collect())
}
