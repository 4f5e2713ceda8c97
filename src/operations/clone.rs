//! Clones a tenant: a new schema with the structure of the source, its rows as one snapshot shows them, and its ledger.
//!
//! All of it is one transaction, which takes no lock on the source but `ACCESS SHARE`, and at the end one on its ledger that other
//! sessions do not notice unless they change its structure. It commits only if the structure and the
//! number of rows of each table are those of the source. It runs as the owner of the source, because default expressions,
//! constraints and indexes run code of the source. Constraints, indexes and triggers are created after the rows, so that no
//! trigger fires and no order of tables is needed.

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Nullable, Oid, Text};

use super::rename::judge;
use super::serial::transaction_error;
use crate::database::Database;
use crate::error::{Error, FailedTenant};
use crate::model::{NamePolicy, SchemaName, State, TenantName};
use crate::operations::migrate::{
    Batch, SchemaTarget, TrackerRow, begin_repeatable_read, tracker_guard, transaction_settings,
};
use crate::postgres::{path, session};
use crate::record::runs::{Counts, DoneRow, FailedRow, Run};
use crate::schema::drift::compare;
use crate::schema::snapshot::Snapshot;
use crate::schema::snapshot::render::{NewSchema, Rendered, StatementOrder, render};
use crate::schema::structure::{self, Structure};
use crate::sql::quote::{Identifier, Literal};
use crate::tenants::{Tenancy, ledger};

/// What is copied besides the structure and the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClonedRows {
    /// All rows, and the values of sequences.
    All,
    /// Nothing.
    None,
}

/// A cloned tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClonedTenant {
    /// The id of the run in `public.schema_run`.
    pub run: i64,
    /// The number of tables, without the ledger.
    pub tables: usize,
    /// The number of rows that were copied, without those of the ledger.
    pub rows: i64,
}

/// The clone of a tenant.
struct Cloning<'a> {
    tenancy: &'a Tenancy,
    source: &'a TenantName,
    new: &'a TenantName,
    oid: u32,
    rows: ClonedRows,
    version: i32,
    run: Run,
}

/// Why a copy of a schema failed in its transaction.
pub(crate) enum SchemaCopyFailure {
    Server(DieselError),
    Error(Error),
    /// As a clause.
    Refused(String),
}

impl From<DieselError> for SchemaCopyFailure {
    fn from(error: DieselError) -> Self {
        Self::Server(error)
    }
}

impl From<Error> for SchemaCopyFailure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

const DOING: &str = "clone the tenant";

/// Clones a tenant. If the connection is lost at the commit, the new tenant exists completely or not at all.
///
/// # Errors
/// The errors of [`Database::require_writable`], [`Error::Tenant`] or [`Error::CannotClone`] if the tenant cannot be cloned, or
/// the server's error.
pub fn clone(
    db: &mut Database,
    tenancy: &Tenancy,
    source: &TenantName,
    new: &TenantName,
    rows: ClonedRows,
) -> Result<ClonedTenant, Error> {
    db.require_writable(tenancy)?;
    let of_tenant = |error| Error::Tenant { name: source.clone(), error: Box::new(error) };
    let oid = judge(db, tenancy, source, new)?;
    let run = Run::begin(db, "clone")?;
    let cloning = Cloning { tenancy, source, new, oid, rows, version: db.server().version, run };
    let error = match cloning.execute(db.connection()) {
        Ok(cloned) => {
            run.end(db, None, Counts::of(1, 0, &[], 0));
            return Ok(cloned);
        }
        Err(SchemaCopyFailure::Server(error)) => of_tenant(transaction_error(db, error, source, DOING)?),
        Err(SchemaCopyFailure::Error(error)) => {
            db.connection().batch_execute("ROLLBACK").map_err(Error::doing(DOING))?;
            error
        }
        Err(SchemaCopyFailure::Refused(reason)) => {
            db.connection().batch_execute("ROLLBACK").map_err(Error::doing(DOING))?;
            Error::CannotClone { name: source.clone(), reason }
        }
    };
    let failed = match error {
        Error::Tenant { error, .. } => FailedTenant::new(source, *error),
        other => {
            run.end(db, None, Counts::of(0, 0, &[], 0));
            return Err(other);
        }
    };
    run.record_failures(db.connection(), &[FailedRow::of_blocked(&failed)])?;
    let failed = [failed];
    run.end(db, None, Counts::of(0, 0, &failed, 0));
    let [FailedTenant { error, .. }] = failed;
    Err(of_tenant(error))
}

/// A table of the source.
struct SourceTable {
    name: String,
    /// The columns that are not generated, with their types if these are in the source's schema.
    columns: Vec<(String, Option<String>)>,
}

impl Cloning<'_> {
    fn execute(&self, conn: &mut PgConnection) -> Result<ClonedTenant, SchemaCopyFailure> {
        let began = Instant::now();
        let (source, new) = (self.source.schema(), self.new.schema());
        let target = SchemaTarget::tenant(self.tenancy, new, Some(self.run));
        let from = SchemaTarget::tenant(self.tenancy, source, Some(self.run));
        conn.batch_execute(&begin_repeatable_read(target))?;
        let mut guards = Batch::default();
        guards.guard(&[path::CATALOG_IN_BLOCK.to_owned(), from.lock_for_transaction(), target.lock_for_transaction()]);
        guards.guard(&[tracker_guard(new, TrackerRow::Missing)]);
        conn.batch_execute(guards.sql())?;
        let structure = self.read_source(conn)?;
        let owner =
            structure.owner().ok_or_else(|| SchemaCopyFailure::Refused("its schema has no owner".to_owned()))?;
        let marked = structure.with_name_marked();
        conn.batch_execute("SAVEPOINT tenantry_clone")?;
        let rendered = render(conn, self.tenancy, self.version, &marked, Some(&owner))?;
        conn.batch_execute("ROLLBACK TO SAVEPOINT tenantry_clone")?;
        let rendered = rendered.map_err(SchemaCopyFailure::Refused)?;
        let tables = self.read_tables(conn)?;

        // A name that needs quotes cannot take the place of the placeholder in every text.
        let is_plain = NamePolicy::Strict.parse(new.as_str()).is_ok() && new.as_str() == self.new.folded();
        let place = if is_plain { new.clone() } else { rendered.placeholder.clone() };
        let clone = NewSchema::create(conn, Some(place.clone()), Some(&owner))?;
        let path = self.tenancy.path(&place);
        conn.batch_execute(&format!(
            "{} SET LOCAL row_security TO off; {} DO {};",
            Snapshot::settings(),
            path.set_for_transaction(),
            Literal(&format!("BEGIN {} END", path.guard()))
        ))?;
        self.run_statements(conn, &rendered, &place, StatementOrder::BeforeRows)?;
        for table in &tables {
            if self.rows == ClonedRows::All && table.name != ledger::TABLE && !table.columns.is_empty() {
                conn.batch_execute(&table.copy(source, &place))?;
            }
        }
        self.run_statements(conn, &rendered, &place, StatementOrder::AfterRows)?;
        let mut rows = 0;
        if self.rows == ClonedRows::All {
            self.copy_sequences(conn, &place)?;
        }
        conn.batch_execute(session::RUN_DEFERRED_TRIGGERS)?;
        for table in tables.iter().filter(|table| table.name != ledger::TABLE) {
            rows += self.count(conn, table, &place)?;
        }
        let mut end = Batch::default();
        end.push(&session::reset(session::Locks::None));
        end.push(&transaction_settings(target));
        end.guard(&[ledger::definition_guard(source)]);
        end.push(&format!(
            "INSERT INTO {} (version, run_on) SELECT version, run_on FROM ONLY {};",
            ledger::qualified(&place),
            ledger::qualified(source)
        ));
        end.push(&rendered.owners.replace(rendered.placeholder.as_str(), place.as_str()));
        if place != *new {
            end.push(&format!("ALTER SCHEMA {} RENAME TO {};", Identifier::from(&place), Identifier::from(new)));
        }
        conn.batch_execute(end.sql())?;
        let actual = clone.correct_grants(conn, self.version, &marked)?;
        if let Some(difference) = compare(&marked, &actual, &HashSet::new()).first() {
            return Err(SchemaCopyFailure::Refused(format!("the copy differs: {}", difference.summary(new.as_str()))));
        }
        let mut end = Batch::default();
        end.track(new, TrackerRow::Missing, State::Active);
        end.push(&format!(
            "UPDATE public.schema_tracker AS t SET repeatables = s.repeatables FROM public.schema_tracker AS s \
             WHERE t.name = {} AND s.name = {};",
            Literal(new.as_str()),
            Literal(source.as_str())
        ));
        let to = self.newest(conn, new)?;
        let row = DoneRow { from: None, to: to.as_deref(), before: began.elapsed(), attempts: 1 };
        if let Some(row) = self.run.record(new, &row) {
            end.push(row.text());
        }
        conn.batch_execute(end.commit().sql())?;
        Ok(ClonedTenant { run: self.run.id(), tables: tables.len().saturating_sub(1), rows })
    }

    fn read_source(&self, conn: &mut PgConnection) -> Result<Structure, SchemaCopyFailure> {
        let mut structures = structure::read_in_transaction(conn, self.version, &[self.oid])?;
        structures.remove(&self.oid).ok_or_else(|| SchemaCopyFailure::Refused("it was dropped".to_owned()))
    }

    /// The tables with rows of their own, in the order of their names, which no foreign key restricts yet.
    fn read_tables(&self, conn: &mut PgConnection) -> QueryResult<Vec<SourceTable>> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            name: String,
            #[diesel(sql_type = Nullable<Text>)]
            column: Option<String>,
            #[diesel(sql_type = Nullable<Text>)]
            own_type: Option<String>,
        }
        let rows: Vec<Row> = sql_query(
            "SELECT c.relname::text AS name, a.attname::text AS column, \
                 CASE WHEN t.typnamespace = c.relnamespace THEN t.typname::text END AS own_type \
             FROM pg_catalog.pg_class AS c \
             LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
                 AND a.attgenerated = '' \
             LEFT JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid \
             WHERE c.relnamespace = $1 AND c.relkind = 'r' ORDER BY c.relname, a.attnum",
        )
        .bind::<Oid, _>(self.oid)
        .load(conn)?;
        let mut tables: BTreeMap<String, Vec<(String, Option<String>)>> = BTreeMap::new();
        for Row { name, column, own_type } in rows {
            tables.entry(name).or_default().extend(column.map(|column| (column, own_type)));
        }
        Ok(tables.into_iter().map(|(name, columns)| SourceTable { name, columns }).collect())
    }

    fn run_statements(
        &self,
        conn: &mut PgConnection,
        rendered: &Rendered,
        place: &SchemaName,
        order: StatementOrder,
    ) -> QueryResult<()> {
        let sql: String = rendered
            .statements
            .iter()
            .filter(|(of_statement, _)| *of_statement == order)
            .map(|(_, sql)| sql.replace(rendered.placeholder.as_str(), place.as_str()))
            .collect();
        execute(conn, &sql)
    }

    fn copy_sequences(&self, conn: &mut PgConnection, place: &SchemaName) -> QueryResult<()> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            name: String,
        }
        let rows: Vec<Row> = sql_query(
            "SELECT relname::text AS name FROM pg_catalog.pg_class WHERE relnamespace = $1 AND relkind = 'S'",
        )
        .bind::<Oid, _>(self.oid)
        .load(conn)?;
        let set = rows.iter().map(|row| {
            let name = Identifier::of_object(&row.name);
            let copy = format!("{}.{name}", Identifier::from(place));
            format!(
                "SELECT pg_catalog.setval({}::pg_catalog.regclass, s.last_value, s.is_called) FROM {}.{name} AS s;",
                Literal(&copy),
                Identifier::from(self.source.schema())
            )
        });
        execute(conn, &set.collect::<String>())
    }

    /// Compares the numbers of rows. Returns the number that was copied.
    fn count(
        &self,
        conn: &mut PgConnection,
        table: &SourceTable,
        place: &SchemaName,
    ) -> Result<i64, SchemaCopyFailure> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = BigInt)]
            copied: i64,
            #[diesel(sql_type = Bool)]
            is_complete: bool,
        }
        let name = Identifier::of_object(&table.name);
        let count =
            |schema: &SchemaName| format!("(SELECT pg_catalog.count(*) FROM ONLY {}.{name})", Identifier::from(schema));
        let expected = match self.rows {
            ClonedRows::None => "0".to_owned(),
            ClonedRows::All => count(self.source.schema()),
        };
        let row: Row = sql_query(format!(
            "SELECT c.copied, c.copied = c.expected AS is_complete FROM (SELECT {} AS copied, {expected} AS expected) AS c",
            count(place)
        ))
        .get_result(conn)?;
        if row.is_complete {
            return Ok(row.copied);
        }
        Err(SchemaCopyFailure::Refused(format!(
            "the copy of table {} has {} rows, and the table has others",
            table.name, row.copied
        )))
    }

    /// The newest version in the ledger of the new tenant.
    fn newest(&self, conn: &mut PgConnection, new: &SchemaName) -> QueryResult<Option<String>> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Nullable<Text>)]
            version: Option<String>,
        }
        let row: Row = sql_query(format!(
            "SELECT pg_catalog.max(version::pg_catalog.text COLLATE pg_catalog.\"C\") AS version FROM ONLY {}",
            ledger::qualified(new)
        ))
        .get_result(conn)?;
        Ok(row.version)
    }
}

/// Executes statements, if there are any.
fn execute(conn: &mut PgConnection, sql: &str) -> QueryResult<()> {
    if sql.is_empty() { Ok(()) } else { conn.batch_execute(sql) }
}

impl SourceTable {
    /// SQL that copies the rows. A value whose type is in the source's schema is converted through its text.
    fn copy(&self, source: &SchemaName, place: &SchemaName) -> String {
        let name = Identifier::of_object(&self.name);
        let columns: Vec<String> =
            self.columns.iter().map(|(column, _)| Identifier::of_object(column).to_string()).collect();
        let values = self.columns.iter().zip(&columns).map(|((_, own_type), column)| match own_type {
            Some(own) => {
                format!("{column}::pg_catalog.text::{}.{}", Identifier::from(place), Identifier::of_object(own))
            }
            None => column.clone(),
        });
        let values: Vec<String> = values.collect();
        format!(
            "INSERT INTO {}.{name} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM ONLY {}.{name};",
            Identifier::from(place),
            columns.join(", "),
            values.join(", "),
            Identifier::from(source)
        )
    }
}
