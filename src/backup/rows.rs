//! The number of rows of each table, in a snapshot and in an archive.

use std::collections::BTreeMap;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Oid, Text};

use super::archive::{ArchivePart, ArchiveReader};
use crate::error::Error;
use crate::local::LocalError;
use crate::model::SchemaName;
use crate::postgres::contained::{ContainedReader, ReadingRights};
use crate::postgres::{Connector, path};
use crate::sql::quote::{Identifier, Literal};
use crate::tenants::ledger;

/// The number of rows of each table of a schema.
pub(super) type TableCounts = BTreeMap<String, i64>;

/// The tables that one expression counts.
const TABLES_AT_ONCE: usize = 50;

/// The tables without the ledger, and their rows.
pub(super) fn without_ledger(counts: &TableCounts) -> (usize, i64) {
    let tables = counts.iter().filter(|(table, _)| *table != ledger::TABLE);
    tables.fold((0, 0), |(tables, rows), (_, count)| (tables + 1, rows + count))
}

/// Counts the rows in an archive.
pub(super) fn of_archive(mut archive: ArchiveReader) -> Result<TableCounts, LocalError> {
    let mut counts = TableCounts::new();
    while let Some(part) = archive.next()? {
        if let ArchivePart::Rows(table) = part {
            let rows = archive.rows(|_| Ok(()))?;
            *counts.entry(table.table).or_default() += rows;
        }
    }
    Ok(counts)
}

/// Counts the rows of the tables of a schema in a snapshot that another session has exported, in a session of its own. Code of
/// the tables does not run with the rights of the connected role.
///
/// # Errors
/// [`Error::CannotDump`] if a table cannot be read completely, or the server's error.
pub(super) fn of_snapshot(
    connector: &Connector,
    schema: &SchemaName,
    oid: u32,
    snapshot: &str,
) -> Result<TableCounts, Error> {
    let mut conn = connector.connect()?;
    let counted = count(&mut conn, schema, oid, snapshot);
    // The session ends anyway, and the transaction with it.
    let _ = conn.batch_execute("ROLLBACK");
    counted
}

fn count(conn: &mut PgConnection, schema: &SchemaName, oid: u32, snapshot: &str) -> Result<TableCounts, Error> {
    #[derive(QueryableByName)]
    struct OwnerRow {
        #[diesel(sql_type = Text)]
        owner: String,
        #[diesel(sql_type = Bool)]
        is_superuser: bool,
    }
    #[derive(QueryableByName)]
    struct TableRow {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let doing = Error::doing("count the rows of the tenant");
    // With row_security off, a policy that would hide rows is an error.
    conn.batch_execute(&format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT {}; {} SET LOCAL row_security TO off; \
         SET LOCAL statement_timeout TO 0;",
        Literal(snapshot),
        path::CATALOG_FOR_TRANSACTION
    ))
    .map_err(&doing)?;
    let known: OwnerRow = sql_query(
        "SELECT pg_catalog.pg_get_userbyid(n.nspowner)::text AS owner, \
         (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user) AS is_superuser \
         FROM pg_catalog.pg_namespace AS n WHERE n.oid = $1",
    )
    .bind::<Oid, _>(oid)
    .get_result(conn)
    .map_err(&doing)?;
    let tables: Vec<TableRow> = sql_query(
        "SELECT relname::text AS name FROM pg_catalog.pg_class WHERE relnamespace = $1 AND relkind = 'r' ORDER BY 1",
    )
    .bind::<Oid, _>(oid)
    .load(conn)
    .map_err(&doing)?;
    let rights = match known.is_superuser {
        true => ReadingRights::Superuser,
        false => ReadingRights::Role { role: Identifier::of_object(&known.owner), schema },
    };
    let reader = ContainedReader::create(conn, rights).map_err(&doing)?;
    let mut counts = TableCounts::new();
    for chunk in tables.chunks(TABLES_AT_ONCE) {
        let count = |table: &TableRow| {
            format!(
                "(SELECT pg_catalog.count(*) FROM ONLY {}.{})",
                Identifier::from(schema),
                Identifier::of_object(&table.name)
            )
        };
        let each: Vec<String> = chunk.iter().map(count).collect();
        let expression = format!("pg_catalog.concat_ws(',', {})", each.join(", "));
        let counted = reader.evaluate(conn, &expression, None).map_err(&doing)?.map_err(|error| Error::CannotDump {
            name: schema.clone(),
            reason: format!("its rows cannot be counted: {}", crate::postgres::ServerMessage::from(&error).message),
        })?;
        counts.extend(
            chunk.iter().zip(counted.split(',')).map(|(table, rows)| (table.name.clone(), rows.parse().unwrap_or(-1))),
        );
    }
    Ok(counts)
}
