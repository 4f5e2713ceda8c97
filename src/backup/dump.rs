//! Writes archives of tenants.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Oid, Text};

use super::archive::ArchiveReader;
use super::file::{NewArchive, Overwrite};
use super::rows::{self, TableCounts};
use super::{ArchivePrograms, BackupError};
use crate::database::Database;
use crate::error::Error;
use crate::model::{SchemaName, TenantName};
use crate::operations::migrate::{Batch, SchemaTarget, TrackerRow, tracker_guard};
use crate::operations::{DropBackup, dumpable_schema, transaction_error};
use crate::postgres::{Connector, path};
use crate::run::Commit;
use crate::tenants::Tenancy;

/// A tenant that was dumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DumpedTenant {
    /// The number of tables, without the ledger.
    pub(crate) tables: usize,
    /// The number of rows in the archive, without those of the ledger.
    pub(crate) rows: i64,
    /// The size of the archive in bytes.
    pub(crate) bytes: u64,
}

const DOING: &str = "dump the tenant";

/// Dumps a tenant that is active or archived to a file. Its migration waits meanwhile; sessions can read and write it.
///
/// # Errors
/// [`Error::Tenant`] if the tenant cannot be dumped, [`Error::CannotDump`] if the archive does not have all rows, or those of the
/// server and of the programs.
pub(crate) fn dump(
    db: &mut Database,
    tenancy: &Tenancy,
    programs: &ArchivePrograms,
    name: &TenantName,
    (file, overwrite): (&Path, Overwrite),
) -> Result<DumpedTenant, BackupError> {
    db.require_primary(tenancy)?;
    db.require_tracker(tenancy)?;
    let oid = dumpable_schema(db, name)?;
    let target = SchemaTarget::tenant(tenancy, name.schema(), None);
    let mut batch = Batch::begin(target, Commit::Durable);
    batch.guard(&[
        path::CATALOG_IN_BLOCK.to_owned(),
        target.lock_for_transaction(),
        tracker_guard(name.schema(), TrackerRow::Known),
    ]);
    // The session waits for pg_dump.
    batch.push("SET LOCAL idle_in_transaction_session_timeout TO 0;");
    // The snapshot is that of the next statement, so that no migration is in progress in it.
    if let Err(error) = db.connection().batch_execute(batch.sql()) {
        let error = Box::new(transaction_error(db, error, name, DOING)?);
        return Err(Error::Tenant { name: name.clone(), error }.into());
    }
    let dumped = export_snapshot(db.connection(), name.schema(), oid).map(|snapshot| {
        let archive = SchemaArchive { connector: db.connector(), programs, schema: name.schema(), oid };
        archive.write(&snapshot, file, overwrite)
    });
    // Nothing was changed. If the connection is lost, so is the transaction.
    let _ = db.connection().batch_execute("ROLLBACK");
    dumped?
}

/// Exports the snapshot of the open transaction, in which the schema still has this oid.
fn export_snapshot(conn: &mut PgConnection, schema: &SchemaName, oid: u32) -> Result<String, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        snapshot: String,
    }
    let found: Option<Row> = sql_query(
        "SELECT pg_catalog.pg_export_snapshot() AS snapshot FROM pg_catalog.pg_namespace WHERE oid = $1 AND nspname = $2",
    )
    .bind::<Oid, _>(oid)
    .bind::<Text, _>(schema.as_str())
    .get_result(conn)
    .optional()
    .map_err(Error::doing("export a snapshot"))?;
    let changed = || Error::CannotDump { name: schema.clone(), reason: "it was dropped or renamed".to_owned() };
    found.map(|row| row.snapshot).ok_or_else(changed)
}

/// A schema whose archive is written.
struct SchemaArchive<'a> {
    connector: &'a Connector,
    programs: &'a ArchivePrograms,
    schema: &'a SchemaName,
    oid: u32,
}

impl SchemaArchive<'_> {
    /// Writes the archive of a snapshot, and reads it back before the file gets its name.
    fn write(&self, snapshot: &str, file: &Path, overwrite: Overwrite) -> Result<DumpedTenant, BackupError> {
        let expected = rows::of_snapshot(self.connector, self.schema, self.oid, snapshot)?;
        let new = NewArchive::create(file)?;
        self.programs.dump.archive(self.connector.url(), self.schema, snapshot, new.handle()?)?;
        let archived = rows::of_archive(ArchiveReader::open(&self.programs.restore, new.path())?)?;
        if let Some(reason) = difference(&expected, &archived) {
            return Err(Error::CannotDump { name: self.schema.clone(), reason }.into());
        }
        let bytes = std::fs::metadata(new.path()).map_or(0, |file| file.len());
        new.keep(overwrite)?;
        let (tables, rows) = rows::without_ledger(&archived);
        Ok(DumpedTenant { tables, rows, bytes })
    }
}

/// How an archive differs from the tables, as a clause.
fn difference(expected: &TableCounts, archived: &TableCounts) -> Option<String> {
    let missing = expected.iter().find(|(table, _)| !archived.contains_key(*table));
    if let Some((table, _)) = missing {
        return Some(format!("table {table} is missing in the archive"));
    }
    archived.iter().find_map(|(table, rows)| match expected.get(table) {
        Some(expected) if expected == rows => None,
        Some(expected) => Some(format!("the archive has {rows} rows of table {table}, which has {expected}")),
        None => Some(format!("the archive has table {table}, which does not exist")),
    })
}

/// Dumps tenants to a directory before they are dropped.
pub(crate) struct Backups<'a> {
    /// Connections of their own, because the dropping session waits meanwhile.
    pub(crate) connector: Connector,
    pub(crate) programs: &'a ArchivePrograms,
    pub(crate) directory: &'a Path,
    /// The time in the names of the files.
    pub(crate) at: DateTime<Utc>,
}

impl DropBackup for Backups<'_> {
    fn write(&mut self, schema: &SchemaName, oid: u32, snapshot: &str) -> Result<PathBuf, String> {
        let file = self.directory.join(file_name(schema, self.at));
        let archive = SchemaArchive { connector: &self.connector, programs: self.programs, schema, oid };
        match archive.write(snapshot, &file, Overwrite::Refuse) {
            Ok(_) => Ok(file),
            Err(error) => Err(described(&error)),
        }
    }
}

/// An error with its sources.
fn described(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", described(source)),
        None => error.to_string(),
    }
}

/// The name of the file for a tenant: characters that a file system may not have are encoded as in a URL.
fn file_name(schema: &SchemaName, at: DateTime<Utc>) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    let encode = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    let name: String = schema.as_str().bytes().map(encode).collect();
    format!("{name}-{}.dump", at.format("%Y%m%dT%H%M%SZ"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_have_no_special_characters() {
        let at = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let name = |schema: &str| file_name(&schema.parse().unwrap(), at);
        assert_eq!(name("acme_1"), "acme_1-20260921T141320Z.dump");
        assert_eq!(name("../a é"), "%2E%2E%2Fa%20%C3%A9-20260921T141320Z.dump");
    }

    #[test]
    fn each_difference_is_described() {
        let counts = |rows: &[(&str, i64)]| rows.iter().map(|(table, rows)| ((*table).to_owned(), *rows)).collect();
        let expected: TableCounts = counts(&[("a", 1), ("b", 2)]);
        assert_eq!(difference(&expected, &expected), None);
        for other in [counts(&[("a", 1)]), counts(&[("a", 1), ("b", 1)]), counts(&[("a", 1), ("b", 2), ("c", 0)])] {
            assert!(difference(&expected, &other).is_some());
        }
    }
}
