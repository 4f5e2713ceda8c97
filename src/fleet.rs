//! The fleet: every tenant of the tracker with the state of its schema and of its ledger, in a few statements.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Oid, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use crate::error::Error;
use crate::ledger::{self, Ledger};
use crate::migration::MigrationSet;
use crate::name::{NameError, SchemaName, TenantName};
use crate::postgres::{CHUNK, Condition, ServerMessage, impatient};
use crate::tracker::{State, Unfinished};

/// What the tracker tracks, sorted by name.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    /// The tenants.
    pub tenants: Vec<Tenant>,
    /// Rows of the tracker whose names are no tenant's. Nothing is done with them but to report them.
    pub misnamed: Vec<Misnamed>,
}

/// A tenant as it was found.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Its id in the tracker.
    pub id: Uuid,
    /// Its name, and its schema's.
    pub name: TenantName,
    /// Its state in the tracker.
    pub state: State,
    /// When the tracker first had it.
    pub created_at: DateTime<Utc>,
    /// A non-transactional migration under way.
    pub unfinished: Option<Unfinished>,
    /// Its schema.
    pub schema: Schema,
}

/// A tenant's schema as it was found. Tenants whose ledgers are alike share one [`Ledger`].
#[derive(Debug, Clone)]
pub enum Schema {
    /// There is none.
    Missing,
    /// This role may not use it or not read its ledger, or the ledger is none of Diesel's.
    Unreadable,
    /// It has no ledger.
    NoLedger {
        /// Its oid.
        oid: u32,
        /// Whether it has nothing else either.
        empty: bool,
    },
    /// It has a ledger.
    Ledger {
        /// Its oid.
        oid: u32,
        /// What the ledger records.
        ledger: Arc<Ledger>,
    },
}

/// A row of the tracker whose name is no tenant's.
#[derive(Debug, Clone)]
pub struct Misnamed {
    /// What stands in the tracker.
    pub name: String,
    /// Why it is no name.
    pub why: NameError,
    /// Its state in the tracker.
    pub state: State,
    /// When the tracker first had it.
    pub created_at: DateTime<Utc>,
}

impl Fleet {
    /// Reads the whole tracker, every schema's state and every ledger, and holds the ledgers against `set`: one statement
    /// for the tracker, and one for each 500 ledgers.
    ///
    /// # Errors
    /// What the server answered, or [`Error::UnknownState`].
    pub fn read(conn: &mut PgConnection, set: &MigrationSet) -> Result<Self, Error> {
        read(conn, set, None)
    }

    /// Reads the tenants of `names`; what the tracker does not have is not in the result.
    ///
    /// # Errors
    /// As [`Fleet::read`].
    pub fn read_some(conn: &mut PgConnection, set: &MigrationSet, names: &[TenantName]) -> Result<Self, Error> {
        read(conn, set, Some(names.iter().map(|name| name.as_str()).collect()))
    }

    /// The tenant of a name.
    pub fn get(&self, name: &TenantName) -> Option<&Tenant> {
        let index = self.tenants.binary_search_by(|tenant| tenant.name.cmp(name)).ok()?;
        Some(&self.tenants[index])
    }
}

/// Whether there is a schema of the name, tracked or not.
pub(crate) fn schema_exists(conn: &mut PgConnection, name: &TenantName) -> Result<bool, Error> {
    diesel::select(
        sql::<Bool>("EXISTS (SELECT FROM pg_namespace WHERE nspname = ").bind::<Text, _>(name.as_str()).sql(")"),
    )
    .get_result(conn)
    .map_err(Error::doing("look for the schema"))
}

impl Tenant {
    /// Its ledger, where it has one that can be read.
    pub fn ledger(&self) -> Option<&Ledger> {
        match &self.schema {
            Schema::Ledger { ledger, .. } => Some(ledger),
            _ => None,
        }
    }

    /// The places in the set of the migrations that it is behind by, in order: all, where it has no ledger.
    pub fn pending(&self, set: &MigrationSet) -> Vec<usize> {
        match self.ledger() {
            Some(ledger) => ledger.pending.clone(),
            None => (0..set.len()).collect(),
        }
    }

    /// The oid of its schema, where it can be read.
    pub fn schema_oid(&self) -> Option<u32> {
        match self.schema {
            Schema::Ledger { oid, .. } | Schema::NoLedger { oid, .. } => Some(oid),
            Schema::Missing | Schema::Unreadable => None,
        }
    }
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = Timestamptz)]
    created_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Text>)]
    unfinished_version: Option<String>,
    #[diesel(sql_type = Nullable<Integer>)]
    unfinished_statements: Option<i32>,
    #[diesel(sql_type = Bool)]
    unfinished_in_doubt: bool,
    #[diesel(sql_type = Nullable<Oid>)]
    schema_oid: Option<u32>,
    #[diesel(sql_type = Bool)]
    has_ledger: bool,
    #[diesel(sql_type = Bool)]
    readable: bool,
    #[diesel(sql_type = Bool)]
    empty: bool,
}

fn read(conn: &mut PgConnection, set: &MigrationSet, names: Option<Vec<&str>>) -> Result<Fleet, Error> {
    let mut fleet = Fleet::default();
    let mut with_ledger = Vec::new();
    for row in rows(conn, names.as_deref())? {
        match row.name.parse::<TenantName>() {
            Ok(name) => {
                if row.has_ledger && row.readable {
                    with_ledger.push(fleet.tenants.len());
                }
                fleet.tenants.push(tenant(row, name)?);
            }
            Err(why) => {
                let state = state(&row)?;
                fleet.misnamed.push(Misnamed { name: row.name, why, state, created_at: row.created_at });
            }
        }
    }
    let mut shared = Shared { set, ledgers: HashMap::new() };
    let mut gone = HashSet::new();
    for chunk in with_ledger.chunks(CHUNK) {
        gone.extend(read_ledgers(conn, &mut shared, &mut fleet.tenants, chunk)?);
    }
    if !gone.is_empty() {
        let mut index = 0..;
        fleet.tenants.retain(|_| index.next().is_some_and(|index| !gone.contains(&index)));
    }
    Ok(fleet)
}

fn rows(conn: &mut PgConnection, names: Option<&[&str]>) -> Result<Vec<Row>, Error> {
    sql_query(include_str!("fleet.sql"))
        .bind::<Nullable<Array<Text>>, _>(names)
        .load(conn)
        .map_err(Error::doing("read the tracker"))
}

fn tenant(row: Row, name: TenantName) -> Result<Tenant, Error> {
    let state = state(&row)?;
    let unfinished = row.unfinished_version.zip(row.unfinished_statements).map(|(version, statements)| Unfinished {
        version,
        statements: usize::try_from(statements).unwrap_or(0),
        in_doubt: row.unfinished_in_doubt,
    });
    let schema = match row.schema_oid {
        None => Schema::Missing,
        Some(_) if !row.readable => Schema::Unreadable,
        // A tenant with a ledger has this until its ledger is read.
        Some(oid) => Schema::NoLedger { oid, empty: row.empty },
    };
    Ok(Tenant { id: row.id, name, state, created_at: row.created_at, unfinished, schema })
}

fn state(row: &Row) -> Result<State, Error> {
    row.state.parse().map_err(|_| Error::UnknownState { tenant: row.name.clone(), state: row.state.clone() })
}

struct Shared<'a> {
    set: &'a MigrationSet,
    ledgers: HashMap<Vec<String>, Arc<Ledger>>,
}

impl Shared<'_> {
    fn ledger(&mut self, applied: Vec<String>) -> Arc<Ledger> {
        match self.ledgers.get(&applied) {
            Some(ledger) => Arc::clone(ledger),
            None => {
                let ledger = Arc::new(Ledger::new(applied.clone(), self.set));
                self.ledgers.insert(applied, Arc::clone(&ledger));
                ledger
            }
        }
    }
}

/// Reads a ledger that may be what fails the statement for all.
fn read_alone(conn: &mut PgConnection, shared: &mut Shared<'_>, tenant: &mut Tenant) -> Result<(), Error> {
    let Some(oid) = tenant.schema_oid() else { return Ok(()) };
    tenant.schema = match impatient(conn, |conn| ledger::read_one(conn, tenant.name.schema())) {
        Ok(applied) => Schema::Ledger { oid, ledger: shared.ledger(applied) },
        Err(error) if ServerMessage::is_connection_lost(&error) => {
            return Err(Error::doing("read the tenants' ledgers")(error));
        }
        Err(_) => Schema::Unreadable,
    };
    Ok(())
}

/// How often the ledgers of a chunk are tried when tenants come and go meanwhile.
const TRIES: usize = 3;

/// Reads the ledgers of the tenants at `indexes`. One schema dropped since the tracker was read fails the whole
/// statement; then the tenants are looked at again, and those that are gone are returned.
fn read_ledgers(
    conn: &mut PgConnection,
    shared: &mut Shared<'_>,
    tenants: &mut [Tenant],
    indexes: &[usize],
) -> Result<Vec<usize>, Error> {
    let mut gone = Vec::new();
    let mut indexes = indexes.to_vec();
    for tries_left in (0..TRIES).rev() {
        let schemas: Vec<&SchemaName> = indexes.iter().map(|index| tenants[*index].name.schema()).collect();
        match impatient(conn, |conn| ledger::read_chunk(conn, &schemas)) {
            Ok(ledgers) => {
                for (index, applied) in indexes.iter().zip(ledgers) {
                    if let Some(oid) = tenants[*index].schema_oid() {
                        tenants[*index].schema = Schema::Ledger { oid, ledger: shared.ledger(applied) };
                    }
                }
                return Ok(gone);
            }
            Err(error) if tries_left == 0 || Condition::of(&error) == Some(Condition::LockTimeout) => {
                for index in indexes {
                    read_alone(conn, shared, &mut tenants[index])?;
                }
                return Ok(gone);
            }
            Err(error) if ServerMessage::is_connection_lost(&error) => {
                return Err(Error::doing("read the tenants' ledgers")(error));
            }
            Err(_) => {
                let names: Vec<&str> = schemas.iter().map(|schema| schema.as_str()).collect();
                let mut found: HashMap<String, Row> =
                    rows(conn, Some(&names))?.into_iter().map(|row| (row.name.clone(), row)).collect();
                let mut again = Vec::new();
                for index in indexes {
                    let name = tenants[index].name.clone();
                    match found.remove(name.as_str()) {
                        None => gone.push(index),
                        Some(row) => {
                            if row.has_ledger && row.readable {
                                again.push(index);
                            }
                            tenants[index] = tenant(row, name)?;
                        }
                    }
                }
                indexes = again;
            }
        }
    }
    Ok(gone)
}

/// What each schema takes on disk without what is too large for its rows, by its oid: in pages, by the server's estimate.
///
/// # Errors
/// What the server answered.
pub(crate) fn sizes(conn: &mut PgConnection) -> Result<HashMap<u32, i64>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Oid)]
        schema: u32,
        #[diesel(sql_type = BigInt)]
        pages: i64,
    }
    let rows: Vec<Row> = sql_query(
        "SELECT relnamespace AS schema, sum(relpages)::bigint AS pages FROM pg_catalog.pg_class GROUP BY relnamespace",
    )
    .load(conn)
    .map_err(Error::doing("read how large the tenants are"))?;
    Ok(rows.into_iter().map(|row| (row.schema, row.pages)).collect())
}
