//! Differences that somebody has accepted, and why.

use diesel::prelude::*;

use super::{Change, What, changing, find, keep_others_out, schema_acceptance as a, schema_migration as m, set};
use crate::database::Database;
use crate::error::Error;
use crate::migration::{Kind, Version};
use crate::tenancy::Tenancy;

/// Accepts that a migration is not as it was when it was first applied. Who does so, and why, is recorded, with what the
/// migration was.
///
/// # Errors
/// [`Error::NothingToAccept`] when the migration is as it was; what [`Database::require_writable`] says; what the server
/// answered; [`Error::MigrationsInUse`].
pub fn accept(db: &mut Database, tenancy: &Tenancy, version: &Version, reason: &str) -> Result<Change, Error> {
    db.require_writable(tenancy)?;
    let change = find(db, tenancy, &[Kind::Tenant, Kind::Public])?
        .into_iter()
        .flat_map(|(_, findings)| findings.changes)
        .find(|change| change.version == *version)
        .ok_or_else(|| Error::NothingToAccept { version: version.clone() })?;
    let actor = db.actor().clone();
    let set = set(change.kind, tenancy);
    let (kind, version) = (change.kind.as_str(), version.as_str());
    db.connection()
        .transaction(|conn| {
            keep_others_out(conn)?;
            let was: Option<(String, String)> =
                m::table.find((kind, version)).select((m::checksum, m::script)).for_update().first(conn).optional()?;
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
            if let (What::Edited { .. }, Some(index)) = (&change.what, set.position(version)) {
                let migration = set.at(index);
                diesel::update(m::table.find((kind, version)))
                    .set((
                        m::folder.eq(migration.folder()),
                        m::checksum.eq(migration.up().checksum()),
                        m::script.eq(migration.up().text()),
                    ))
                    .execute(conn)?;
            }
            Ok(())
        })
        .map_err(changing("record what is accepted in public.schema_acceptance"))?;
    Ok(change)
}
