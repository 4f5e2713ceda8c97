//! Loads what an archive contains with the rights of a role, which code in it cannot extend.
//!
//! `COPY … FROM STDIN` cannot run in a function, and evaluates `CHECK` constraints, generated columns and domains as the connected
//! role. So the rows are copied to a temporary table that has none of them, and inserted from there as the role.

use std::cell::RefCell;
use std::io;

use diesel::connection::SimpleConnection;
use diesel::copy_from;
use diesel::pg::{CopyTarget, PgConnection};
use diesel::prelude::*;
use diesel::query_builder::AstPass;
use diesel::result::Error as DieselError;
use diesel::sql_query;
use diesel::sql_types::{Nullable, Text};

use super::archive::ArchiveReader;
use crate::local::LocalError;
use crate::model::SchemaName;
use crate::postgres::contained::ContainedStatements;
use crate::postgres::path;
use crate::sql::archive::CopiedTable;
use crate::sql::quote::{Identifier, Literal};

/// A schema that is being restored.
pub(super) struct LoadedSchema<'a> {
    pub(super) schema: &'a SchemaName,
    pub(super) owner: &'a str,
}

/// Why rows were not loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadFailure {
    #[error(transparent)]
    Server(#[from] DieselError),
    #[error(transparent)]
    Archive(#[from] LocalError),
    /// As a clause.
    #[error("{0}")]
    Refused(String),
}

/// The failure of a `COPY`.
#[derive(Debug, thiserror::Error)]
enum CopyFailure {
    #[error(transparent)]
    Server(#[from] DieselError),
    #[error("the archive cannot be read")]
    Archive,
}

diesel::table! {
    /// The temporary table, whatever its columns are.
    pg_temp.tenantry_restore (c1) {
        c1 -> Text,
    }
}

/// The temporary table as the target of a `COPY`, with all its columns.
struct TemporaryTable;

impl CopyTarget for TemporaryTable {
    type Table = tenantry_restore::table;
    type SqlType = Text;

    fn walk_target(mut pass: AstPass<'_, '_, diesel::pg::Pg>) -> QueryResult<()> {
        pass.push_sql("pg_temp.tenantry_restore");
        Ok(())
    }
}

impl LoadedSchema<'_> {
    /// Executes statements of the archive.
    pub(super) fn execute(&self, conn: &mut PgConnection, statements: &str) -> QueryResult<()> {
        self.contained(conn, |conn, contained| contained.execute(conn, statements))
    }

    /// Loads the rows of a table. Returns their number, which is that of the rows in the archive.
    pub(super) fn rows(
        &self,
        conn: &mut PgConnection,
        rows: &CopiedTable,
        archive: &mut ArchiveReader,
    ) -> Result<i64, LoadFailure> {
        if rows.schema != self.schema.as_str() {
            return Err(LoadFailure::Refused(format!("the archive has rows of another schema, {}", rows.schema)));
        }
        let columns = self.columns(conn, rows)?;
        let table = format!("{}.{}", Identifier::from(self.schema), Identifier::of_object(&rows.table));
        let definition: Vec<String> =
            columns.iter().enumerate().map(|(at, column)| format!("c{at} {}", column.copied_as())).collect();
        conn.batch_execute(&format!(
            "CREATE TEMPORARY TABLE tenantry_restore ({}); GRANT SELECT ON pg_temp.tenantry_restore TO {};",
            definition.join(", "),
            Identifier::of_object(self.owner)
        ))?;
        let expected = copy(conn, archive)?;
        let names: Vec<String> = columns.iter().map(|column| Identifier::of_object(&column.name).to_string()).collect();
        let names = if names.is_empty() { String::new() } else { format!("({})", names.join(", ")) };
        let values: Vec<String> = columns.iter().enumerate().map(|(at, column)| column.converted(at)).collect();
        self.execute(
            conn,
            &format!(
                "INSERT INTO {table} {names} OVERRIDING SYSTEM VALUE SELECT {} FROM pg_temp.tenantry_restore",
                values.join(", ")
            ),
        )?;
        conn.batch_execute("DROP TABLE pg_temp.tenantry_restore")?;
        let counted = self.contained(conn, |conn, contained| {
            contained.rows(conn, &format!("SELECT ARRAY[pg_catalog.count(*)::text] FROM ONLY {table}"), &[])
        })?;
        let counted = counted.concat().concat();
        if counted == expected.to_string() {
            return Ok(expected);
        }
        Err(LoadFailure::Refused(format!("table {} has {counted} of {expected} rows", rows.table)))
    }

    /// The columns in the order of the archive.
    fn columns(&self, conn: &mut PgConnection, rows: &CopiedTable) -> Result<Vec<LoadedColumn>, LoadFailure> {
        let mut found: Vec<LoadedColumn> = sql_query(
            "SELECT a.attname::text AS name, pg_catalog.format_type(a.atttypid, a.atttypmod) AS full_type, \
             CASE WHEN tn.nspname = 'pg_catalog' THEN pg_catalog.format_type(a.atttypid, a.atttypmod) END AS plain_type \
             FROM pg_catalog.pg_class AS c \
             JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
             JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
             JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid \
             JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.typnamespace \
             WHERE n.nspname = $1 AND c.relname = $2",
        )
        .bind::<Text, _>(self.schema.as_str())
        .bind::<Text, _>(&rows.table)
        .load(conn)?;
        let mut take = |name: &String| {
            let place = found.iter().position(|column| column.name == *name)?;
            Some(found.swap_remove(place))
        };
        let columns: Option<Vec<LoadedColumn>> = rows.columns.iter().map(&mut take).collect();
        columns.ok_or_else(|| LoadFailure::Refused(format!("a column of table {} is missing", rows.table)))
    }

    /// Does something with a new function of the owner. Code that has run before cannot have changed the function.
    fn contained<T>(
        &self,
        conn: &mut PgConnection,
        work: impl FnOnce(&mut PgConnection, &ContainedStatements) -> QueryResult<T>,
    ) -> QueryResult<T> {
        conn.batch_execute(&format!("SET LOCAL ROLE {}", Identifier::of_object(self.owner)))?;
        let contained = ContainedStatements::create(conn, self.schema)?;
        conn.batch_execute("RESET ROLE")?;
        let result = work(conn, &contained)?;
        // The code may have set the path.
        conn.batch_execute(path::CATALOG_FOR_TRANSACTION)?;
        contained.drop(conn)?;
        Ok(result)
    }
}

/// Copies rows to the temporary table. Returns their number.
fn copy(conn: &mut PgConnection, archive: &mut ArchiveReader) -> Result<i64, LoadFailure> {
    let archive = RefCell::new(archive);
    let read: RefCell<Option<Result<i64, LocalError>>> = RefCell::new(None);
    // An error of the server is in the sink, too, and must not be reported as one of the file.
    let sent: RefCell<Option<io::Error>> = RefCell::new(None);
    let copied = copy_from(tenantry_restore::table)
        .from_raw_data(TemporaryTable, |sink| -> Result<(), CopyFailure> {
            let rows = archive.borrow_mut().rows(|row| {
                if sent.borrow().is_none()
                    && let Err(error) = sink.write_all(row)
                {
                    sent.replace(Some(error));
                }
                Ok(())
            });
            let is_complete = rows.is_ok() && sent.borrow().is_none();
            read.replace(Some(rows));
            if is_complete { Ok(()) } else { Err(CopyFailure::Archive) }
        })
        .execute(conn);
    match (read.into_inner(), copied) {
        (Some(Err(error)), _) => Err(error.into()),
        (_, Err(CopyFailure::Server(error))) => Err(error.into()),
        (Some(Ok(rows)), Ok(_)) => Ok(rows),
        (_, _) => Err(LoadFailure::Refused("its rows could not be sent to the server".to_owned())),
    }
}

/// A column whose values are loaded.
#[derive(QueryableByName)]
struct LoadedColumn {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    full_type: String,
    /// Its type if that is one of PostgreSQL's own, which runs no code of the tenant.
    #[diesel(sql_type = Nullable<Text>)]
    plain_type: Option<String>,
}

impl LoadedColumn {
    fn copied_as(&self) -> &str {
        self.plain_type.as_deref().unwrap_or("pg_catalog.text")
    }

    /// The value of the column at this place of the temporary table.
    fn converted(&self, at: usize) -> String {
        match &self.plain_type {
            Some(_) => format!("c{at}"),
            None => format!("c{at}::{}", self.full_type),
        }
    }
}

/// SQL for a transaction that executes the statements of an archive.
pub(super) fn settings() -> String {
    format!(
        "SET LOCAL check_function_bodies TO off; SET LOCAL row_security TO off; SET LOCAL xmloption TO {}; \
         SET LOCAL standard_conforming_strings TO on; SET LOCAL idle_in_transaction_session_timeout TO 0;",
        Literal("content")
    )
}
