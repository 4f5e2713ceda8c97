//! The public ledger, `public.schema_ledger`, and the rows that it takes over from Diesel's ledger of `public`.
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

use super::{PUBLIC_TABLE, TABLE, read_one};
use crate::error::Error;
use crate::model::SchemaName;
use crate::tenants::Tenancy;

/// The public migrations that are recorded as applied, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PublicLedger {
    /// Whether `public.schema_ledger` exists.
    pub(crate) exists: bool,
    /// The versions that it records, sorted; before the upgrade, those that it will record.
    pub(crate) applied: Vec<String>,
    /// Those of `applied` that Diesel's ledger records too: diesel_cli applied them.
    pub(crate) shared: BTreeSet<String>,
    /// The rows that the public ledger is yet to take over.
    pub(crate) import: Import,
    diesel_is_plain: bool,
}

/// Rows of Diesel's ledger of `public` that the public ledger takes over. Sorted by version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Import {
    /// Recorded by an earlier release of this tool. Diesel's ledger loses them.
    pub(crate) moved: Vec<String>,
    /// Public migrations that diesel_cli applied. Diesel's ledger keeps them.
    pub(crate) copied: Vec<String>,
}

impl Import {
    /// Whether there is nothing to take over.
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

/// The same in a transaction of the caller's that has locked both ledgers, and has found that they run no code.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_in_transaction(conn: &mut PgConnection, tenancy: &Tenancy) -> Result<PublicLedger, Error> {
    read_with(conn, tenancy, |conn| {
        let rows: Vec<Version> = sql_query(format!("SELECT version::text AS version FROM ONLY public.{PUBLIC_TABLE}"))
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
    let recorded = match tables.public {
        true => own(conn)?,
        false => Vec::new(),
    };
    let diesels = if tables.diesel { read_diesels(conn, tenancy)? } else { Vec::new() };
    let ledger = PublicLedger::new(tables.public, recorded, diesels, tenancy);
    Ok(PublicLedger { diesel_is_plain: tables.diesel_is_plain, ..ledger })
}

/// The versions that `public.schema_ledger` records, which exists.
///
/// # Errors
/// [`Error::InvalidPublicLedger`], or the server's error.
pub(crate) fn read_own(conn: &mut PgConnection) -> Result<Vec<String>, Error> {
    read_one(conn, &SchemaName::public())
        .map_err(Error::doing("read the public ledger"))?
        .map_err(|why| Error::InvalidPublicLedger { why })
}

/// The versions that Diesel's ledger of `public` records, sorted; none if this role may not read it.
///
/// # Errors
/// [`Error::LedgerUnusable`], or the server's error.
pub(crate) fn read_diesel(conn: &mut PgConnection) -> Result<Option<Vec<String>>, Error> {
    let tables = Tables::find(conn)?;
    if !tables.diesel || !tables.may_read_diesel {
        return Ok((!tables.diesel).then(Vec::new));
    }
    let rows: Vec<Version> =
        sql_query(format!("SELECT version::text AS version FROM public.{TABLE} ORDER BY version::text COLLATE \"C\""))
            .load(conn)
            .map_err(Error::doing("read public.__diesel_schema_migrations"))?;
    Ok(Some(rows.into_iter().map(|row| row.version).collect()))
}

/// SQL that keeps others from changing Diesel's ledger until the transaction ends; readers do not wait.
pub(crate) fn lock_diesels() -> String {
    format!("LOCK TABLE public.{TABLE} IN SHARE ROW EXCLUSIVE MODE;")
}

impl PublicLedger {
    /// Takes the rows over, with the times at which they were recorded. The caller has a transaction in which this was
    /// read, the public ledger exists and nobody else writes to either ledger.
    ///
    /// # Errors
    /// [`Error::LedgerUnusable`], or the server's error.
    pub(crate) fn take_over(&self, conn: &mut PgConnection) -> Result<(), Error> {
        if !self.import.moved.is_empty() && !self.diesel_is_plain {
            return Err(Error::LedgerUnusable { table: TABLE.to_owned() });
        }
        self.import.apply(conn).map_err(Error::doing("take over the rows of public.__diesel_schema_migrations"))
    }

    fn new(exists: bool, recorded: Vec<String>, diesels: Vec<DieselRow>, tenancy: &Tenancy) -> Self {
        let set = tenancy.public_migrations();
        let is_trackers = |version: &str| tenancy.tracker_migrations().position(version).is_some();
        let mut ledger = Self { exists, ..Self::default() };
        let known: BTreeSet<String> = recorded.into_iter().collect();
        for DieselRow { version, by_tool } in diesels {
            let is_new = !known.contains(&version);
            if is_trackers(&version) || (by_tool && is_new) {
                if is_new {
                    ledger.import.moved.push(version);
                }
                continue;
            }
            if !is_new {
                ledger.shared.insert(version);
            } else if set.position(&version).is_some() {
                ledger.shared.insert(version.clone());
                ledger.import.copied.push(version);
            }
        }
        ledger.applied = known.into_iter().collect();
        if !exists {
            ledger.applied.extend(ledger.import.moved.iter().chain(&ledger.import.copied).cloned());
            ledger.applied.sort_unstable();
        }
        ledger
    }
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = Text)]
    version: String,
}

/// A row of Diesel's ledger.
#[derive(QueryableByName)]
struct DieselRow {
    #[diesel(sql_type = Text)]
    version: String,
    /// Whether an earlier release recorded the migration as public, and may have applied it itself: it was applied no
    /// earlier than the tracker's first migration.
    #[diesel(sql_type = Bool)]
    by_tool: bool,
}

fn read_diesels(conn: &mut PgConnection, tenancy: &Tenancy) -> Result<Vec<DieselRow>, Error> {
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
    let recorded = match readable {
        true => {
            "EXISTS (SELECT FROM public.schema_migration AS recorded \
             WHERE recorded.kind = 'public' AND recorded.version::text = applied.version::text)"
        }
        false => "false",
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

/// Which of the two tables exist.
#[derive(Debug, Default)]
struct Tables {
    public: bool,
    diesel: bool,
    may_read_diesel: bool,
    /// Whether rows can be deleted from Diesel's ledger without running code of others.
    diesel_is_plain: bool,
}

impl Tables {
    /// Refuses what would run code of others with the rights of whoever runs the tool: views and row-level security when
    /// read, triggers and rules when written to.
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
            match name == PUBLIC_TABLE {
                true if readable && writable => tables.public = true,
                false if readable => {
                    tables = Self { diesel: true, may_read_diesel: may_read, diesel_is_plain: writable, ..tables };
                }
                _ => return Err(Error::LedgerUnusable { table: name }),
            }
        }
        Ok(tables)
    }
}
