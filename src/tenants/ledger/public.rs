//! The public ledger, `public.schema_ledger`, and the rows that it imports from Diesel's ledger in `public`.
//!
//! Earlier releases recorded the public migrations in `public.__diesel_schema_migrations`. That table belongs to
//! diesel_cli: `diesel migration revert` fails on the tracker's versions, which it does not know. `migrate-public` moves
//! the tool's rows to the public ledger, and copies the versions of the project's public migrations that diesel_cli has
//! applied. Until then, every command reads the public ledger as it will be after the move.

use std::collections::BTreeSet;

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Bool, Text};

use super::{LedgerContents, PUBLIC_TABLE, TABLE, read_one};
use crate::error::Error;
use crate::model::SchemaName;
use crate::tenants::Tenancy;

/// The applied public migrations, and the ledgers that record them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PublicLedger {
    /// Whether `public.schema_ledger` exists.
    pub(crate) exists: bool,
    /// The versions that it records, sorted. Before the upgrade, the versions that it will record.
    pub(crate) applied: Vec<String>,
    /// The versions in `applied` that Diesel's ledger also records: diesel_cli applied them.
    pub(crate) shared: BTreeSet<String>,
    /// The rows that the public ledger has not imported yet.
    pub(crate) import: Import,
    diesel_is_plain: bool,
}

/// Rows of Diesel's ledger in `public` that the public ledger imports, sorted by version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Import {
    /// Versions that an earlier release of this tool recorded. They are deleted from Diesel's ledger.
    pub(crate) moved: Vec<String>,
    /// Versions that diesel_cli applied. They stay in Diesel's ledger.
    pub(crate) copied: Vec<String>,
}

impl Import {
    /// Whether there is nothing to import.
    pub(crate) fn is_empty(&self) -> bool {
        self.moved.is_empty() && self.copied.is_empty()
    }

    fn apply(&self, conn: &mut PgConnection) -> QueryResult<()> {
        let all: Vec<&String> = self.moved.iter().chain(&self.copied).collect();
        sql_query(format!(
            "INSERT INTO public.{PUBLIC_TABLE} (version, run_on) \
             SELECT version, run_on FROM public.{TABLE} WHERE version::text = ANY($1)"
        ))
        .bind::<Array<Text>, _>(all)
        .execute(conn)?;
        sql_query(format!("DELETE FROM public.{TABLE} WHERE version::text = ANY($1)"))
            .bind::<Array<Text>, _>(&self.moved)
            .execute(conn)
            .map(|_| ())
    }
}

/// Reads the public ledger. Writes nothing.
///
/// # Errors
/// [`Error::LedgerUnusable`], or the server's error.
pub(crate) fn read(conn: &mut PgConnection, tenancy: &Tenancy) -> Result<PublicLedger, Error> {
    read_with(conn, tenancy, read_own)
}

/// Reads the public ledger in the caller's transaction, which has locked both ledgers and checked their definitions.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_in_transaction(conn: &mut PgConnection, tenancy: &Tenancy) -> Result<PublicLedger, Error> {
    read_with(conn, tenancy, |conn| {
        let rows: Vec<VersionRow> =
            sql_query(format!("SELECT version::text AS version FROM ONLY public.{PUBLIC_TABLE}"))
                .load(conn)
                .map_err(Error::doing("read the public ledger"))?;
        Ok(rows.into_iter().map(|row| row.version).collect())
    })
}

fn read_with(
    conn: &mut PgConnection,
    tenancy: &Tenancy,
    own: impl FnOnce(&mut PgConnection) -> Result<Vec<String>, Error>,
) -> Result<PublicLedger, Error> {
    let tables = Tables::find(conn)?;
    let recorded = if tables.public { own(conn)? } else { Vec::new() };
    let diesel_rows = if tables.diesel { read_diesel_rows(conn, tenancy)? } else { Vec::new() };
    let mut ledger = PublicLedger::new(recorded, diesel_rows, tenancy);
    ledger.exists = tables.public;
    ledger.diesel_is_plain = tables.diesel_is_plain;
    if !ledger.exists {
        ledger.applied.extend(ledger.import.moved.iter().chain(&ledger.import.copied).cloned());
        ledger.applied.sort_unstable();
    }
    Ok(ledger)
}

/// The versions that `public.schema_ledger` records. The table must exist.
///
/// # Errors
/// [`Error::InvalidPublicLedger`], or the server's error.
pub(crate) fn read_own(conn: &mut PgConnection) -> Result<Vec<String>, Error> {
    match read_one(conn, &SchemaName::public()).map_err(Error::doing("read the public ledger"))? {
        LedgerContents::Versions(versions) => Ok(versions),
        LedgerContents::Invalid(reason) => Err(Error::InvalidPublicLedger { reason }),
    }
}

/// The versions that Diesel's ledger in `public` records, sorted; `None` if this role cannot read it.
///
/// # Errors
/// [`Error::LedgerUnusable`], or the server's error.
pub(crate) fn read_diesel(conn: &mut PgConnection) -> Result<Option<Vec<String>>, Error> {
    let tables = Tables::find(conn)?;
    if !tables.diesel || !tables.may_read_diesel {
        return Ok((!tables.diesel).then(Vec::new));
    }
    let rows: Vec<VersionRow> =
        sql_query(format!("SELECT version::text AS version FROM public.{TABLE} ORDER BY version::text COLLATE \"C\""))
            .load(conn)
            .map_err(Error::doing("read public.__diesel_schema_migrations"))?;
    Ok(Some(rows.into_iter().map(|row| row.version).collect()))
}

/// SQL that locks Diesel's ledger in `public` against changes until the end of the transaction. Reads are not blocked.
pub(crate) fn lock_diesel_ledger() -> String {
    format!("LOCK TABLE public.{TABLE} IN SHARE ROW EXCLUSIVE MODE;")
}

impl PublicLedger {
    /// Imports the rows of Diesel's ledger, with the times at which they were recorded. Must be called in the transaction in
    /// which `self` was read, and in which the public ledger exists and both ledgers are locked.
    ///
    /// # Errors
    /// [`Error::LedgerUnusable`], or the server's error.
    pub(crate) fn import_rows(&self, conn: &mut PgConnection) -> Result<(), Error> {
        if !self.import.moved.is_empty() && !self.diesel_is_plain {
            return Err(Error::LedgerUnusable { table: TABLE.to_owned() });
        }
        self.import.apply(conn).map_err(Error::doing("import the rows of public.__diesel_schema_migrations"))
    }

    fn new(recorded: Vec<String>, diesel_rows: Vec<DieselRow>, tenancy: &Tenancy) -> Self {
        let set = tenancy.public_migrations();
        let is_of_tracker = |version: &str| tenancy.tracker_migrations().position(version).is_some();
        let mut ledger = Self::default();
        let recorded: BTreeSet<String> = recorded.into_iter().collect();
        for DieselRow { version, by_tool } in diesel_rows {
            if recorded.contains(&version) {
                if !is_of_tracker(&version) {
                    ledger.shared.insert(version);
                }
            } else if by_tool || is_of_tracker(&version) {
                ledger.import.moved.push(version);
            } else if set.position(&version).is_some() {
                ledger.shared.insert(version.clone());
                ledger.import.copied.push(version);
            }
        }
        ledger.applied = recorded.into_iter().collect();
        ledger
    }
}

#[derive(QueryableByName)]
struct VersionRow {
    #[diesel(sql_type = Text)]
    version: String,
}

/// A row of Diesel's ledger.
#[derive(QueryableByName)]
struct DieselRow {
    #[diesel(sql_type = Text)]
    version: String,
    /// Whether an earlier release of this tool may have applied it: the migration is recorded as public, and was applied no
    /// earlier than the first migration of the tracker.
    #[diesel(sql_type = Bool)]
    by_tool: bool,
}

fn read_diesel_rows(conn: &mut PgConnection, tenancy: &Tenancy) -> Result<Vec<DieselRow>, Error> {
    let doing = Error::doing("read public.__diesel_schema_migrations");
    #[derive(QueryableByName)]
    struct Readable {
        #[diesel(sql_type = Bool)]
        readable: bool,
    }
    let Readable { readable } = sql_query(
        "SELECT coalesce(pg_catalog.has_table_privilege(pg_catalog.to_regclass('public.schema_migration'), 'SELECT'), \
         false) AS readable",
    )
    .get_result(conn)
    .map_err(&doing)?;
    let recorded = if readable {
        "EXISTS (SELECT FROM public.schema_migration AS recorded \
         WHERE recorded.kind = 'public' AND recorded.version::text = applied.version::text)"
    } else {
        "false"
    };
    let trackers: Vec<&str> =
        tenancy.tracker_migrations().iter().map(|migration| migration.version().as_str()).collect();
    sql_query(format!(
        "SELECT applied.version::text AS version, \
         {recorded} AND coalesce(applied.run_on >= tracker.run_on, false) AS by_tool \
         FROM public.{TABLE} AS applied \
         CROSS JOIN (SELECT pg_catalog.min(run_on) AS run_on FROM public.{TABLE} WHERE version::text = ANY($1)) AS tracker \
         ORDER BY applied.version::text COLLATE \"C\""
    ))
    .bind::<Array<Text>, _>(trackers)
    .load(conn)
    .map_err(doing)
}

/// The two tables that may record public migrations.
#[derive(Debug, Default)]
struct Tables {
    public: bool,
    diesel: bool,
    may_read_diesel: bool,
    /// Whether Diesel's ledger has no triggers and rules, so that deleting rows runs no code.
    diesel_is_plain: bool,
}

impl Tables {
    /// Finds the two tables.
    ///
    /// # Errors
    /// [`Error::LedgerUnusable`] if reading or writing a table would run code with the rights of this role: a view, row-level
    /// security, a trigger or a rule. Or the server's error.
    fn find(conn: &mut PgConnection) -> Result<Self, Error> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            name: String,
            #[diesel(sql_type = Bool)]
            readable: bool,
            #[diesel(sql_type = Bool)]
            writable: bool,
            #[diesel(sql_type = Bool)]
            may_read: bool,
        }
        let rows: Vec<Row> = sql_query(
            "SELECT relname::text AS name, \
             relkind IN ('r', 'p') AND NOT relrowsecurity AS readable, \
             NOT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgrelid = ledger.oid AND NOT tgisinternal) \
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_rewrite WHERE ev_class = ledger.oid) AS writable, \
             pg_catalog.has_table_privilege(oid, 'SELECT') AS may_read \
             FROM pg_catalog.pg_class AS ledger WHERE relname = ANY($1) \
             AND relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'public')",
        )
        .bind::<Array<Text>, _>([PUBLIC_TABLE, TABLE].as_slice())
        .load(conn)
        .map_err(Error::doing("look for the public ledger"))?;
        let mut tables = Self::default();
        for Row { name, readable, writable, may_read } in rows {
            if name == PUBLIC_TABLE && readable && writable {
                tables.public = true;
            } else if name == TABLE && readable {
                tables = Self { diesel: true, may_read_diesel: may_read, diesel_is_plain: writable, ..tables };
            } else {
                return Err(Error::LedgerUnusable { table: name });
            }
        }
        Ok(tables)
    }
}
