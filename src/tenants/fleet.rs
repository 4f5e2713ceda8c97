//! The fleet: every tenant of the tracker with the state of its schema and of its ledger, in a few statements.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Bool, Integer, Nullable, Oid, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use crate::error::Error;
use crate::migration::MigrationSet;
use crate::model::{NameError, SchemaName, State, TenantName, Unfinished};
use crate::postgres::{CHUNK, Condition, ServerMessage};
use crate::sql::catalog::holds_relations;
use crate::tenants::ledger::{self, Ledger, Reading};

/// What the tracker tracks, sorted by name.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    /// The tenants.
    pub tenants: Vec<Tenant>,
    /// Rows of the tracker whose names are no tenant's. Nothing is done with them but to report them.
    pub misnamed: Vec<Misnamed>,
    /// Rows of the tracker with values that this version does not know. They are reported and otherwise left alone.
    pub invalid: Vec<InvalidRow>,
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
    /// Whether the connected role is a superuser and another role owns the schema.
    pub owned_by_other_role: bool,
}

/// A tenant's schema as it was found. Tenants whose ledgers are alike share one [`Ledger`].
#[derive(Debug, Clone)]
pub enum Schema {
    /// There is none.
    Missing,
    /// This role may not use it or not read its ledger, or another session has the ledger locked.
    Unreadable,
    /// Its ledger does not have the definition or the contents of a ledger, and is not used.
    InvalidLedger {
        /// Why not, as in "it is a view".
        why: String,
    },
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

/// A row of the tracker with a value that this version does not know, or with none where one must be.
#[derive(Debug, Clone)]
pub struct InvalidRow {
    /// Its name in the tracker, or the row's id where the name is NULL.
    pub name: String,
    /// Its state in the tracker, whatever that is.
    pub state: Option<String>,
    /// When the tracker first had it.
    pub created_at: Option<DateTime<Utc>>,
    /// What is wrong with it.
    pub why: String,
}

impl Fleet {
    /// Reads the whole tracker, every schema's state and every ledger, and holds the ledgers against `set`: one statement
    /// for the tracker, and one for each 500 ledgers.
    ///
    /// # Errors
    /// What the server answered.
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
        sql::<Bool>("EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = ")
            .bind::<Text, _>(name.as_str())
            .sql(")"),
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
            Schema::Missing | Schema::Unreadable | Schema::InvalidLedger { .. } => None,
        }
    }
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Nullable<SqlUuid>)]
    id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    name: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    state: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    created_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    unfinished_version: Option<String>,
    #[diesel(sql_type = Nullable<Integer>)]
    unfinished_statements: Option<i32>,
    #[diesel(sql_type = Bool)]
    unfinished_in_doubt: bool,
    #[diesel(sql_type = Nullable<Oid>)]
    schema_oid: Option<u32>,
    #[diesel(sql_type = Nullable<Text>)]
    ledger_kind: Option<String>,
    #[diesel(sql_type = Bool)]
    readable: bool,
    #[diesel(sql_type = Bool)]
    empty: bool,
    #[diesel(sql_type = Bool)]
    owned_by_other_role: bool,
}

/// What a row of the tracker stands for.
enum Entry {
    Tenant(Tenant),
    Misnamed(Misnamed),
    Invalid(InvalidRow),
}

fn read(conn: &mut PgConnection, set: &MigrationSet, names: Option<Vec<&str>>) -> Result<Fleet, Error> {
    let mut fleet = Fleet::default();
    let mut with_ledger = Vec::new();
    for row in rows(conn, names.as_deref())? {
        if let Some((tenant, has_ledger)) = fleet.sort(row) {
            if has_ledger {
                with_ledger.push(fleet.tenants.len());
            }
            fleet.tenants.push(tenant);
        }
    }
    let mut shared = Shared { set, ledgers: HashMap::new() };
    let mut gone = HashSet::new();
    for chunk in with_ledger.chunks(CHUNK) {
        gone.extend(read_ledgers(conn, &mut shared, &mut fleet, chunk)?);
    }
    if !gone.is_empty() {
        let mut index = 0..;
        fleet.tenants.retain(|_| index.next().is_some_and(|index| !gone.contains(&index)));
    }
    Ok(fleet)
}

impl Fleet {
    /// Returns the tenant that a row of the tracker stands for, and whether it has a ledger to read; keeps what is wrong
    /// with a row that stands for none.
    fn sort(&mut self, row: Row) -> Option<(Tenant, bool)> {
        let has_ledger = row.has_ledger_to_read();
        match entry(row) {
            Entry::Tenant(tenant) => return Some((tenant, has_ledger)),
            Entry::Misnamed(misnamed) => self.misnamed.push(misnamed),
            Entry::Invalid(invalid) => self.invalid.push(invalid),
        }
        None
    }
}

fn rows(conn: &mut PgConnection, names: Option<&[&str]>) -> Result<Vec<Row>, Error> {
    sql_query(include_str!("fleet.sql").replace("HOLDS_RELATIONS", &holds_relations("n.oid")))
        .bind::<Nullable<Array<Text>>, _>(names)
        .load(conn)
        .map_err(Error::doing("read the tracker"))
}

impl Row {
    /// Whether it has a ledger that is a table, and that this role may read.
    fn has_ledger_to_read(&self) -> bool {
        self.readable && self.ledger_kind.as_deref() == Some("r")
    }
}

fn entry(row: Row) -> Entry {
    let id = row.id.map_or_else(|| "NULL".to_owned(), |id| id.to_string());
    let state = State::of_row(row.state.as_deref());
    let why = match (&row.name, &state) {
        (None, _) => "its name is NULL".to_owned(),
        (_, Err(why)) => why.clone(),
        _ if row.id.is_none() => "its id is NULL".to_owned(),
        _ if row.created_at.is_none() => "its created_at is NULL".to_owned(),
        _ => String::new(),
    };
    let (Some(name), Some(state), Some(id), Some(created_at)) = (row.name.clone(), state.ok(), row.id, row.created_at)
    else {
        let name = row.name.unwrap_or_else(|| format!("(id {id})"));
        return Entry::Invalid(InvalidRow { name, state: row.state, created_at: row.created_at, why });
    };
    let name = match name.parse::<TenantName>() {
        Ok(name) => name,
        Err(why) => return Entry::Misnamed(Misnamed { name, why, state, created_at }),
    };
    let unfinished = row.unfinished_version.zip(row.unfinished_statements).map(|(version, statements)| Unfinished {
        version,
        statements: usize::try_from(statements).unwrap_or(0),
        in_doubt: row.unfinished_in_doubt,
    });
    let schema = match (row.schema_oid, row.ledger_kind.as_deref()) {
        (None, _) => Schema::Missing,
        (Some(_), Some(kind)) if kind != "r" => Schema::InvalidLedger { why: not_a_table(kind).to_owned() },
        (Some(_), _) if !row.readable => Schema::Unreadable,
        // A tenant with a ledger has this until its ledger is read.
        (Some(oid), _) => Schema::NoLedger { oid, empty: row.empty },
    };
    Entry::Tenant(Tenant {
        id,
        name,
        state,
        created_at,
        unfinished,
        schema,
        owned_by_other_role: row.owned_by_other_role,
    })
}

/// What a relation is that has the name of a ledger, by its `relkind`.
fn not_a_table(kind: &str) -> &'static str {
    match kind {
        "v" => "it is a view",
        "m" => "it is a materialized view",
        "f" => "it is a foreign table",
        "p" => "it is a partitioned table",
        _ => "it is not a table",
    }
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

impl Tenant {
    /// Notes what its ledger records, or why that cannot be used.
    fn set_ledger(&mut self, reading: Reading, shared: &mut Shared<'_>) {
        let Some(oid) = self.schema_oid() else { return };
        self.schema = match reading {
            Ok(applied) => Schema::Ledger { oid, ledger: shared.ledger(applied) },
            Err(why) => Schema::InvalidLedger { why },
        };
    }
}

/// Reads a ledger that may be what fails the statement for all.
fn read_alone(conn: &mut PgConnection, shared: &mut Shared<'_>, tenant: &mut Tenant) -> Result<(), Error> {
    match ledger::read_one(conn, tenant.name.schema()) {
        Ok(reading) => tenant.set_ledger(reading, shared),
        Err(error) if ServerMessage::is_connection_lost(&error) => {
            return Err(Error::doing("read the tenants' ledgers")(error));
        }
        Err(_) => tenant.schema = Schema::Unreadable,
    }
    Ok(())
}

/// How often the ledgers of a chunk are tried when tenants come and go meanwhile.
const TRIES: usize = 3;

/// Reads the ledgers of the tenants at `indexes`. One schema dropped since the tracker was read fails the whole
/// statement; then the tenants are looked at again, and those that are gone are returned.
fn read_ledgers(
    conn: &mut PgConnection,
    shared: &mut Shared<'_>,
    fleet: &mut Fleet,
    indexes: &[usize],
) -> Result<Vec<usize>, Error> {
    let mut gone = Vec::new();
    let mut indexes = indexes.to_vec();
    for tries_left in (0..TRIES).rev() {
        let schemas: Vec<&SchemaName> = indexes.iter().map(|index| fleet.tenants[*index].name.schema()).collect();
        match ledger::read_chunk(conn, &schemas) {
            Ok(readings) => {
                for (index, reading) in indexes.iter().zip(readings) {
                    fleet.tenants[*index].set_ledger(reading, shared);
                }
                return Ok(gone);
            }
            Err(error) if ServerMessage::is_connection_lost(&error) => {
                return Err(Error::doing("read the tenants' ledgers")(error));
            }
            Err(error) if tries_left == 0 || Condition::of(&error) == Some(Condition::LockTimeout) => {
                for index in indexes {
                    read_alone(conn, shared, &mut fleet.tenants[index])?;
                }
                return Ok(gone);
            }
            Err(_) => {
                let names: Vec<&str> = schemas.iter().map(|schema| schema.as_str()).collect();
                let mut found: HashMap<String, Row> =
                    rows(conn, Some(&names))?.into_iter().filter_map(|row| Some((row.name.clone()?, row))).collect();
                let mut again = Vec::new();
                for index in indexes {
                    let row = found.remove(fleet.tenants[index].name.as_str());
                    let Some((tenant, has_ledger)) = row.and_then(|row| fleet.sort(row)) else {
                        gone.push(index);
                        continue;
                    };
                    fleet.tenants[index] = tenant;
                    if has_ledger {
                        again.push(index);
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
#[cfg(feature = "cli")]
pub(crate) fn sizes(conn: &mut PgConnection) -> Result<HashMap<u32, i64>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Oid)]
        schema: u32,
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        pages: i64,
    }
    let rows: Vec<Row> = sql_query(
        "SELECT relnamespace AS schema, pg_catalog.sum(relpages)::bigint AS pages FROM pg_catalog.pg_class \
         GROUP BY relnamespace",
    )
    .load(conn)
    .map_err(Error::doing("read how large the tenants are"))?;
    Ok(rows.into_iter().map(|row| (row.schema, row.pages)).collect())
}
