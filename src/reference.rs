//! The reference: the structure that the tenant migrations produce.
//!
//! It is made by the migrations themselves, in a schema of a random name, in a transaction that is rolled back. What is
//! read from it today is its tables, after each migration; the rest of the structure is there to be read.

use std::collections::BTreeSet;

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};

use crate::database::Database;
use crate::error::Error;
use crate::ledger::{Ledger, TABLE};
use crate::migration::{Migration, MigrationSet, Mode};
use crate::name::SchemaName;
use crate::postgres::ServerMessage;
use crate::sql::quote::{Identifier, Literal};
use crate::tenancy::Tenancy;

/// The structure that the tenant migrations produce.
#[derive(Debug, Clone)]
pub struct Reference {
    /// The tables after the first n migrations, for each n from 0.
    tables: Vec<BTreeSet<String>>,
}

/// Why there is no reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unavailable {
    /// This role may not create a schema, or the server is a standby: nothing is wrong with the migrations.
    NotAllowed(&'static str),
    /// A migration failed in an empty schema.
    Failed {
        /// Its folder.
        folder: String,
        /// What the server said.
        server: ServerMessage,
    },
}

/// How long the migrations may wait for a lock on what they refer to outside the schema: a check must not queue up behind
/// a long transaction, for others would queue up behind it.
const TIMEOUTS: &str = "SET LOCAL lock_timeout TO '2s'; SET LOCAL statement_timeout TO 0;";

impl Reference {
    /// Makes the reference and reads it. Nothing is left in the database.
    ///
    /// # Errors
    /// What the server answered to tenantry's own statements. That the reference is unavailable is no error.
    pub fn make(db: &mut Database, tenancy: &Tenancy) -> Result<Result<Self, Unavailable>, Error> {
        if db.server().in_recovery {
            return Ok(Err(Unavailable::NotAllowed("the server is a standby")));
        }
        let conn = db.connection();
        let (may_create, read_only): (bool, bool) = diesel::select((
            sql::<Bool>("has_database_privilege(current_database(), 'CREATE')"),
            sql::<Bool>("current_setting('default_transaction_read_only')::bool"),
        ))
        .get_result(conn)
        .map_err(Error::doing("ask for this role's rights"))?;
        if !may_create {
            return Ok(Err(Unavailable::NotAllowed("this role may not create a schema in the database")));
        }
        if read_only {
            return Ok(Err(Unavailable::NotAllowed("default_transaction_read_only is on")));
        }
        let made = make_and_roll_back(conn, tenancy, Careful::No)?;
        match made {
            // Was it the migration, or somebody's lock?
            Err(Unavailable::Failed { .. }) => match make_and_roll_back(conn, tenancy, Careful::Yes)? {
                Err(Unavailable::NotAllowed(why)) => Ok(Err(Unavailable::NotAllowed(why))),
                _ => Ok(made),
            },
            made => Ok(made),
        }
    }

    /// The reference, or none where it is unavailable.
    ///
    /// # Errors
    /// As [`Reference::make`].
    pub fn build(db: &mut Database, tenancy: &Tenancy) -> Result<Option<Self>, Error> {
        Ok(Self::make(db, tenancy)?.ok())
    }

    /// The tables that all migrations together produce.
    pub fn tables_now(&self) -> Vec<String> {
        self.tables.last().into_iter().flatten().cloned().collect()
    }

    /// Every table that some migration produces, also those that a later one drops.
    pub fn tables_ever(&self) -> BTreeSet<String> {
        self.tables.iter().flatten().cloned().collect()
    }

    /// The tables that a tenant with this ledger has: those that are there after the migrations without a gap, and after
    /// every later one up to its newest. Where there is a gap, what comes and goes meanwhile is not expected.
    pub fn tables_for(&self, ledger: &Ledger, set: &MigrationSet) -> BTreeSet<String> {
        let newest =
            ledger.applied.iter().filter_map(|version| set.position(version)).max().map_or(0, |index| index + 1);
        let without_gap = ledger.pending.first().copied().unwrap_or(set.len()).min(newest);
        let mut tables = self.tables[without_gap].clone();
        for later in &self.tables[without_gap..=newest] {
            tables.retain(|table| later.contains(table));
        }
        tables
    }

    /// The migration that first produces a table.
    pub fn origin<'a>(&self, table: &str, set: &'a MigrationSet) -> Option<&'a Migration> {
        let after = self.tables.iter().position(|tables| tables.contains(table))?;
        Some(set.at(after.checked_sub(1)?))
    }
}

/// Whether to find out why a migration fails.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Careful {
    /// Each migration is sent as it is.
    No,
    /// Each goes through a block that tells a lock that was not had from other failures; the server's messages, which may
    /// be translated, do not.
    Yes,
}

/// What such a block says.
const LOCKED: &str = "tenantry: a lock was not had in time";

fn make_and_roll_back(
    conn: &mut PgConnection,
    tenancy: &Tenancy,
    careful: Careful,
) -> Result<Result<Reference, Unavailable>, Error> {
    let made = make(conn, tenancy, careful);
    let rolled_back = conn.batch_execute("ROLLBACK").map_err(Error::doing("roll the reference back"));
    let made = made?;
    rolled_back?;
    Ok(made)
}

fn make(conn: &mut PgConnection, tenancy: &Tenancy, careful: Careful) -> Result<Result<Reference, Unavailable>, Error> {
    let own = Error::doing("make the reference");
    let name = format!("tenantry_reference_{}", uuid::Uuid::new_v4().simple());
    let schema: SchemaName = name.parse().expect("letters, digits and underscores, fewer than 63");
    let path = tenancy.path(&schema);
    conn.batch_execute(&format!(
        "BEGIN; {TIMEOUTS} CREATE SCHEMA {}; {} DO {};",
        Identifier::from(&schema),
        path.set_for_transaction(),
        Literal(&format!("BEGIN {} END", path.guard())),
    ))
    .map_err(&own)?;
    let mut tables = vec![BTreeSet::new()];
    for migration in tenancy.tenant_migrations().iter() {
        if let Err(error) = run(conn, &path.set_for_transaction(), migration, careful) {
            if ServerMessage::is_connection_lost(&error) {
                return Err(own(error));
            }
            let server = ServerMessage::from(&error);
            if server.message == LOCKED {
                return Ok(Err(Unavailable::NotAllowed("a table outside that a migration refers to is locked")));
            }
            let uses_new_value = tenancy
                .tenant_migrations()
                .iter()
                .take(tables.len() - 1)
                .any(|earlier| earlier.up().traits().adds_enum_value);
            if uses_new_value {
                return Ok(Err(Unavailable::NotAllowed(
                    "a migration may use a value that an earlier one adds to an enum",
                )));
            }
            return Ok(Err(Unavailable::Failed { folder: migration.folder().to_owned(), server }));
        }
        tables.push(read_tables(conn, &schema).map_err(&own)?);
    }
    Ok(Ok(Reference { tables }))
}

fn run(conn: &mut PgConnection, path: &str, migration: &Migration, careful: Careful) -> QueryResult<()> {
    let send = |conn: &mut PgConnection, sql: &str| match careful {
        Careful::No => conn.batch_execute(&format!("{path}\n{sql}")),
        Careful::Yes => {
            let block = format!(
                "BEGIN EXECUTE {}; EXCEPTION WHEN lock_not_available OR query_canceled OR deadlock_detected \
                 THEN RAISE EXCEPTION '{LOCKED}'; END",
                Literal(sql)
            );
            conn.batch_execute(&format!("{path}\nDO {};", Literal(&block)))
        }
    };
    match migration.mode() {
        Mode::Transactional => send(conn, migration.up().text()),
        Mode::NonTransactional => {
            let statements = migration.up().statements();
            // What has no form for a transaction has no structure to show either.
            statements
                .iter()
                .filter_map(|statement| statement.transactional_form())
                .try_for_each(|statement| send(conn, &statement))
        }
    }
}

fn read_tables(conn: &mut PgConnection, schema: &SchemaName) -> QueryResult<BTreeSet<String>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT relname::text AS name FROM pg_class \
         WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND relkind IN ('r', 'p') \
         AND relname <> $2",
    )
    .bind::<Text, _>(schema.as_str())
    .bind::<Text, _>(TABLE)
    .load(conn)?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}
