//! Orphans: untracked schemas that look like a tenant's.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Bool, Integer, Oid, Text};

use crate::error::Error;
use crate::migration::MigrationSet;
use crate::model::SchemaName;
use crate::postgres::CHUNK;
use crate::tenants::ledger::{self, LedgerContents};

/// An untracked schema that looks like a tenant's: its ledger records a tenant migration, or it has all tables of the
/// reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// The schema's name. It may be invalid as a tenant's name.
    pub name: SchemaName,
    /// The schema's oid.
    pub oid: u32,
    /// The number of tenant migrations in its ledger; `None` without a readable ledger.
    pub applied: Option<usize>,
}

/// Finds orphans. `tables` are the tables of the reference; if it is empty, only ledgers count. `spares` are the
/// [spare schemas](super::spare_schemas), which are no orphans.
///
/// # Errors
/// Errors of the server.
pub fn orphans(
    conn: &mut PgConnection,
    set: &MigrationSet,
    tables: &[String],
    spares: &[SchemaName],
) -> Result<Vec<Orphan>, Error> {
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
        .bind::<Array<Text>, _>(spares.iter().map(SchemaName::as_str).collect::<Vec<_>>())
        .load(conn)
        .map_err(Error::doing("look for orphaned schemas"))?;
    let mut orphans = Vec::new();
    for chunk in rows.chunks(CHUNK) {
        // Every name in pg_namespace is a valid schema name.
        let names: Vec<SchemaName> = chunk.iter().filter_map(|row| row.name.parse().ok()).collect();
        let with_ledger: Vec<&SchemaName> =
            names.iter().zip(chunk).filter(|(_, row)| row.readable_ledger).map(|(name, _)| name).collect();
        let mut ledgers = ledger::read_chunk(conn, &with_ledger)
            .map_err(Error::doing("read the ledgers of untracked schemas"))?
            .into_iter();
        for (name, row) in names.iter().zip(chunk) {
            // An invalid ledger says nothing about the schema.
            let applied = row
                .readable_ledger
                .then(|| ledgers.next())
                .flatten()
                .and_then(LedgerContents::into_versions)
                .map(|versions| versions.iter().filter(|version| set.position(version).is_some()).count());
            let has_all_tables = row.tables > 0 && row.tables as usize == tables.len();
            if applied.is_some_and(|applied| applied > 0) || has_all_tables {
                orphans.push(Orphan { name: name.clone(), oid: row.oid, applied });
            }
        }
    }
    Ok(orphans)
}
