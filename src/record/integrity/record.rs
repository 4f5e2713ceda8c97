//! Records migrations before they are first applied.

use diesel::pg::PgConnection;
use diesel::prelude::*;

use super::{Findings, find, lock_error, lock_exclusively, recorded_version, refuse, schema_migration as m, set};
use crate::database::Database;
use crate::error::Error;
use crate::migration::{Kind, MigrationSet};
use crate::tenants::Tenancy;

/// Does the same check as [`check`](super::check), and records all tenant migrations that have no record, because a run may
/// apply any of them.
///
/// # Errors
/// [`Error::MigrationsChanged`], [`Error::MigrationsInUse`], or the server's error.
pub fn record(db: &mut Database, tenancy: &Tenancy) -> Result<(), Error> {
    let found = find(db, tenancy, &[Kind::Public, Kind::Tenant])?;
    refuse(found.iter().flat_map(|(_, findings)| findings.changes.iter().cloned()).collect())?;
    let tenants = found.into_iter().filter(|(kind, _)| *kind == Kind::Tenant);
    tenants.into_iter().try_for_each(|(kind, findings)| write(db.connection(), kind, set(kind, tenancy), findings))
}

/// Records the public migrations after they were applied.
///
/// # Errors
/// [`Error::MigrationsChanged`], [`Error::MigrationsInUse`], or the server's error.
pub(crate) fn record_public(db: &mut Database, tenancy: &Tenancy) -> Result<(), Error> {
    find(db, tenancy, &[Kind::Public])?.into_iter().try_for_each(|(kind, findings)| {
        refuse(findings.changes.clone())?;
        write(db.connection(), kind, set(kind, tenancy), findings)
    })
}

fn write(conn: &mut PgConnection, kind: Kind, set: &MigrationSet, findings: Findings) -> Result<(), Error> {
    if findings.unrecorded.is_empty() && findings.obsolete.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = findings
        .unrecorded
        .iter()
        .map(|index| {
            let migration = set.at(*index);
            (
                m::kind.eq(kind.as_str()),
                m::version.eq(migration.version().as_str()),
                m::folder.eq(migration.folder()),
                m::checksum.eq(migration.up().checksum()),
                m::script.eq(migration.up().text()),
            )
        })
        .collect();
    conn.transaction(|conn| {
        if !findings.obsolete.is_empty() {
            lock_exclusively(conn)?;
            diesel::delete(
                m::table.filter(m::kind.eq(kind.as_str())).filter(recorded_version().eq_any(&findings.obsolete)),
            )
            .execute(conn)?;
        }
        // Two runs may record the same migrations. If their scripts differ, the guard of each message finds it.
        diesel::insert_into(m::table).values(&rows).on_conflict((m::kind, m::version)).do_nothing().execute(conn)
    })
    .map(|_| ())
    .map_err(|error| lock_error(conn, "record the migrations in public.schema_migration", error))
}
