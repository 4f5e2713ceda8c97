//! Orphans: schemas that look like a tenant's and that the tracker does not have.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Bool, Integer, Oid, Text};

use crate::error::Error;
use crate::ledger;
use crate::migration::MigrationSet;
use crate::name::SchemaName;
use crate::postgres::{CHUNK, impatient};

/// An untracked schema that looks like a tenant's: its ledger records a tenant migration, or it has all tables of the
/// reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// Its name, which need not be one that a tenant may have.
    pub name: SchemaName,
    /// Its oid.
    pub oid: u32,
    /// How many tenant migrations its ledger records; none where it has no ledger that can be read.
    pub applied: Option<usize>,
}

/// Looks for orphans. `tables` are those of the reference; with none, only ledgers are looked at.
///
/// # Errors
/// What the server answered.
pub fn orphans(conn: &mut PgConnection, set: &MigrationSet, tables: &[String]) -> Result<Vec<Orphan>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
        #[diesel(sql_type = Oid)]
        oid: u32,
        #[diesel(sql_type = Bool)]
        readable_ledger: bool,
        #[diesel(sql_type = Integer)]
        tables: i32,
    }
    let rows: Vec<Row> = sql_query(include_str!("orphans.sql"))
        .bind::<Array<Text>, _>(tables)
        .load(conn)
        .map_err(Error::doing("look for orphaned schemas"))?;
    let mut orphans = Vec::new();
    for chunk in rows.chunks(CHUNK) {
        // Whatever the server calls a schema is a schema's name.
        let names: Vec<SchemaName> = chunk.iter().filter_map(|row| row.name.parse().ok()).collect();
        let with_ledger: Vec<&SchemaName> =
            names.iter().zip(chunk).filter(|(_, row)| row.readable_ledger).map(|(name, _)| name).collect();
        let mut ledgers = impatient(conn, |conn| ledger::read_chunk(conn, &with_ledger))
            .map_err(Error::doing("read the ledgers of untracked schemas"))?
            .into_iter();
        for (name, row) in names.iter().zip(chunk) {
            let applied = row.readable_ledger.then(|| {
                let versions = ledgers.next().unwrap_or_default();
                versions.iter().filter(|version| set.position(version).is_some()).count()
            });
            let has_all_tables = row.tables > 0 && row.tables as usize == tables.len();
            if applied.is_some_and(|applied| applied > 0) || has_all_tables {
                orphans.push(Orphan { name: name.clone(), oid: row.oid, applied });
            }
        }
    }
    Ok(orphans)
}
