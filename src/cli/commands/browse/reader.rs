//! Reads pages from the database, in transactions that are read-only or rolled back.

use std::collections::HashMap;

use anyhow::{Result, anyhow};
use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Double, Oid, Text};

use super::listing::{Listing, Page};
use crate::cli::output::{count, size, thousands};
use crate::database::Database;
use crate::error::{Error, TenantError};
use crate::health::{self, CheckOptions};
use crate::model::TenantName;
use crate::operations;
use crate::postgres::contained::{ContainedReader, ReadingRights};
use crate::postgres::{READ_LIMITS, ServerMessage, path};
use crate::record::runs;
use crate::schema::drift::Stamps;
use crate::schema::reference::Source;
use crate::sql::quote::Identifier;
use crate::tenants::{Fleet, Schema, Tenancy, Tenant};

/// The rows of a table that are read.
const ROWS: usize = 100;

/// The characters of a value that are read.
const CHARACTERS: usize = 200;

/// The runs of a tenant that are read.
const RUNS: i64 = 200;

/// The milliseconds that reading the rows of a table may take.
const TIMEOUT: u32 = 10_000;

/// What a tenant's drift is before it is checked.
const UNCHECKED: &str = "-";

/// The database that is browsed.
pub(super) struct PageReader {
    db: Database,
    tenancy: Tenancy,
    reference: Source,
    /// What checks have found, by tenant.
    checked: HashMap<String, String>,
}

impl PageReader {
    pub(super) fn new(db: Database, tenancy: Tenancy, reference: Source) -> Self {
        Self { db, tenancy, reference, checked: HashMap::new() }
    }

    /// Reads a page.
    ///
    /// # Errors
    /// The server's error. Another page can be read afterwards.
    pub(super) fn read(&mut self, page: &Page) -> Result<Listing> {
        let read = match page {
            Page::Fleet => self.fleet(),
            Page::Tables(tenant) => self.tables(tenant),
            Page::Runs(tenant) => self.runs(tenant),
            Page::Findings(tenant) => self.findings(tenant),
            Page::Rows(tenant, table) => self.rows(tenant, table),
            Page::Help => Err(anyhow!("nothing to read")),
        };
        if read.is_err() && self.db.connection().batch_execute("ROLLBACK").is_err() {
            // The next page is read over a new connection.
            let _ = self.db.reconnect();
        }
        read
    }

    fn fleet(&mut self) -> Result<Listing> {
        let set = self.tenancy.tenant_migrations();
        let fleet = Fleet::read(self.db.connection(), set)?;
        let stats = operations::stats(&mut self.db, |_| true)?;
        let sizes: HashMap<&str, i64> =
            stats.tenants.iter().filter_map(|it| Some((it.name.as_str(), it.size?.bytes))).collect();
        let dash = || "-".to_owned();
        let row = |tenant: &Tenant| {
            let name = tenant.name.as_str();
            let (version, pending) = match &tenant.schema {
                Schema::Ledger { ledger, .. } => {
                    (ledger.version().map_or_else(dash, str::to_owned), ledger.pending.len().to_string())
                }
                Schema::NoLedger { empty: true, .. } => (dash(), set.len().to_string()),
                Schema::NoLedger { .. } => ("ledger-missing".to_owned(), dash()),
                Schema::Missing => ("schema-missing".to_owned(), dash()),
                Schema::Unreadable(_) => ("unreadable".to_owned(), dash()),
                Schema::InvalidLedger { .. } => ("invalid-ledger".to_owned(), dash()),
            };
            let size = sizes.get(name).map_or_else(dash, |bytes| size(*bytes));
            let drift = self.checked.get(name).map_or(UNCHECKED, String::as_str).to_owned();
            vec![name.to_owned(), tenant.state.to_string(), version, pending, size, drift]
        };
        let mut rows: Vec<Vec<String>> = fleet.tenants.iter().map(row).collect();
        let invalid = fleet.misnamed.iter().map(|it| (&it.name, TenantError::InvalidName(it.reason.clone()).code()));
        for (name, problem) in invalid.chain(fleet.invalid.iter().map(|it| (&it.name, "invalid-row"))) {
            rows.push(vec![name.clone(), dash(), problem.to_owned(), dash(), dash(), dash()]);
        }
        let size = if stats.sizes_estimated { "size (estimated)" } else { "size" };
        let listing = Listing::new(Page::Fleet, ["tenant", "state", "version", "pending", size, "drift"], rows);
        Ok(listing.with_note(format!("in {}", self.db.server().database)))
    }

    fn tables(&mut self, tenant: &TenantName) -> Result<Listing> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            name: String,
            #[diesel(sql_type = Text)]
            kind: String,
            #[diesel(sql_type = Double)]
            rows: f64,
            #[diesel(sql_type = BigInt)]
            bytes: i64,
        }
        let conn = self.db.connection();
        begin(conn, "READ ONLY")?;
        let rows: Vec<Row> = sql_query(
            "SELECT c.relname::text AS name, CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' \
             WHEN 'f' THEN 'foreign table' WHEN 'p' THEN 'partitioned table' ELSE 'table' END AS kind, \
             c.reltuples::float8 AS rows, \
             c.relpages::bigint * pg_catalog.current_setting('block_size')::bigint AS bytes \
             FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
             WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY c.relname",
        )
        .bind::<Text, _>(tenant.as_str())
        .load(conn)
        .map_err(Error::doing("read the tables of the tenant"))?;
        end(conn)?;
        let dash = || "-".to_owned();
        let row = |row: Row| {
            let is_stored = ["table", "materialized view"].contains(&row.kind.as_str());
            // -1 before the first ANALYZE.
            let rows = if is_stored && row.rows >= 0.0 { thousands(row.rows as i64) } else { dash() };
            let bytes = if is_stored { size(row.bytes) } else { dash() };
            vec![row.name, row.kind, rows, bytes]
        };
        let head = ["table", "kind", "rows (estimated)", "size (estimated)"];
        Ok(Listing::new(Page::Tables(tenant.clone()), head, rows.into_iter().map(row).collect()))
    }

    fn runs(&mut self, tenant: &TenantName) -> Result<Listing> {
        let records = match self.db.server().has_runs {
            true => runs::of_tenant(self.db.connection(), tenant.as_str(), RUNS)?,
            false => Vec::new(),
        };
        let dash = || "-".to_owned();
        let row = |(run, command, record): (i64, String, runs::TenantRecord)| {
            vec![
                run.to_string(),
                record.started_at.format("%Y-%m-%d %H:%M:%S").to_string(),
                command,
                record.outcome,
                record.from_version.unwrap_or_else(dash),
                record.to_version.unwrap_or_else(dash),
                format!("{} ms", thousands(record.milliseconds)),
                record.error.unwrap_or_default(),
            ]
        };
        let head = ["run", "started", "command", "outcome", "from", "to", "duration", "error"];
        Ok(Listing::new(Page::Runs(tenant.clone()), head, records.into_iter().map(row).collect()))
    }

    /// Checks a tenant as `health-check` does, and stores nothing.
    ///
    /// # Errors
    /// Those of the check.
    pub(super) fn findings(&mut self, tenant: &TenantName) -> Result<Listing> {
        let options = CheckOptions { reference: self.reference.clone(), stamps: Stamps::Ignore };
        let health = health::check(&mut self.db, &self.tenancy, &options, |name| name == tenant.as_str())?;
        let of_tenant = health.findings.iter().filter(|finding| finding.tenant.as_deref() == Some(tenant.as_str()));
        let mut rows: Vec<Vec<String>> = of_tenant
            .map(|finding| vec![finding.kind.to_string(), finding.kind.level().to_string(), finding.message.clone()])
            .collect();
        let findings = rows.len();
        let own = |group: &&crate::schema::drift::Group| group.members.iter().any(|it| it.name == *tenant);
        for group in health.drift.groups.iter().filter(own) {
            for difference in group.differences.iter() {
                let own_name = group.members.iter().find(|it| it.name == *tenant).map_or("", |it| it.own_name.as_str());
                let summary = difference.summary(own_name);
                rows.push(vec![difference.code(), difference.level.as_str().to_owned(), summary]);
            }
        }
        let differences = rows.len() - findings;
        let unchecked = health.unchecked.iter().filter(|it| it.tenants.iter().any(|name| name == tenant.as_str()));
        let mut parts: Vec<String> = unchecked.map(|unchecked| format!("not checked: {}", unchecked.reason)).collect();
        parts.extend((findings > 0).then(|| count(findings, "finding")));
        parts.extend((differences > 0).then(|| count(differences, "difference")));
        let summary = if parts.is_empty() { "none".to_owned() } else { parts.join(", ") };
        self.checked.insert(tenant.to_string(), summary.clone());
        Ok(Listing::new(Page::Findings(tenant.clone()), ["code", "level", "finding"], rows).with_note(summary))
    }

    /// Reads the first rows of a table, in a transaction that is rolled back. Code of the table does not run with the rights of the
    /// connected role.
    fn rows(&mut self, tenant: &TenantName, table: &str) -> Result<Listing> {
        let conn = self.db.connection();
        begin(conn, "READ WRITE")?;
        let read = first_rows(conn, tenant, table);
        end(conn)?;
        let (head, rows) = read?;
        let listing = Listing::new(Page::Rows(tenant.clone(), table.to_owned()), head, rows);
        Ok(if listing.len() == ROWS { listing.with_note(format!("the first {ROWS} rows")) } else { listing })
    }
}

fn begin(conn: &mut PgConnection, access: &str) -> Result<(), Error> {
    let begin =
        format!("BEGIN ISOLATION LEVEL READ COMMITTED {access}; {} {READ_LIMITS}", path::CATALOG_FOR_TRANSACTION);
    conn.batch_execute(&begin).map_err(Error::doing("begin to read"))
}

fn end(conn: &mut PgConnection) -> Result<(), Error> {
    conn.batch_execute("ROLLBACK").map_err(Error::doing("end a transaction"))
}

/// The columns of a table and its first rows.
fn first_rows(conn: &mut PgConnection, tenant: &TenantName, table: &str) -> Result<(Vec<String>, Vec<Vec<String>>)> {
    #[derive(QueryableByName)]
    struct TableOwner {
        #[diesel(sql_type = Oid)]
        oid: u32,
        #[diesel(sql_type = Text)]
        owner: String,
        #[diesel(sql_type = Bool)]
        is_superuser: bool,
    }
    #[derive(QueryableByName)]
    struct ColumnRow {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let doing = Error::doing("read the rows of the table");
    let known: Option<TableOwner> = sql_query(
        "SELECT c.oid, pg_catalog.pg_get_userbyid(n.nspowner)::text AS owner, \
         (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user) AS is_superuser \
         FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relname = $2",
    )
    .bind::<Text, _>(tenant.as_str())
    .bind::<Text, _>(table)
    .get_result(conn)
    .optional()
    .map_err(&doing)?;
    let known = known.ok_or_else(|| anyhow!("table {table} does not exist"))?;
    let columns: Vec<ColumnRow> = sql_query(
        "SELECT attname::text AS name FROM pg_catalog.pg_attribute \
         WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
    )
    .bind::<Oid, _>(known.oid)
    .load(conn)
    .map_err(&doing)?;
    let names: Vec<String> = columns.into_iter().map(|column| column.name).collect();
    let value =
        |name: &String| format!("pg_catalog.left(t.{}::pg_catalog.text, {CHARACTERS})", Identifier::of_object(name));
    let values: Vec<String> = names.iter().map(value).collect();
    let expression = format!(
        "COALESCE((SELECT pg_catalog.json_agg(r.v) FROM (SELECT ARRAY[{}]::pg_catalog.text[] AS v FROM {}.{} AS t LIMIT {ROWS}) AS r)::pg_catalog.text, '[]')",
        values.join(", "),
        Identifier::from(tenant.schema()),
        Identifier::of_object(table)
    );
    let rights = match known.is_superuser {
        true => ReadingRights::Superuser,
        false => ReadingRights::Role { role: Identifier::of_object(&known.owner), schema: tenant.schema() },
    };
    let reader = ContainedReader::create(conn, rights).map_err(&doing)?;
    let read = reader.evaluate(conn, &expression, Some(TIMEOUT)).map_err(&doing)?;
    let text = read.map_err(|error| anyhow!("cannot read {table}: {}", ServerMessage::from(&error).message))?;
    let rows: Vec<Vec<Option<String>>> = serde_json::from_str(&text)?;
    let shown = |value: Option<String>| value.unwrap_or_else(|| "NULL".to_owned());
    Ok((names, rows.into_iter().map(|row| row.into_iter().map(shown).collect()).collect()))
}
