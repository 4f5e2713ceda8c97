//! The fleet: all tenants of the tracker, with the state of each schema and its migration ledger.

mod read;
mod row;
#[cfg(feature = "cli")]
mod sizes;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use uuid::Uuid;

use crate::error::{Error, TenantError, UnreadableLedger};
use crate::migration::MigrationSet;
use crate::model::{NameError, State, TenantName, Unfinished};
use crate::tenants::ledger::Ledger;
use crate::tenants::tracker::similar_name;

#[cfg(feature = "cli")]
pub(crate) use sizes::sizes;

/// The tenants of the tracker, sorted by name.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    /// The tenants.
    pub tenants: Vec<Tenant>,
    /// Tracker rows whose names are not valid tenant names. They are only reported.
    pub misnamed: Vec<Misnamed>,
    /// Tracker rows that this version cannot interpret. They are only reported.
    pub invalid: Vec<InvalidRow>,
}

/// A tenant as it was read.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// The id in the tracker.
    pub id: Uuid,
    /// The name of the tenant and of its schema.
    pub name: TenantName,
    /// The state in the tracker.
    pub state: State,
    /// When the tracker row was created.
    pub created_at: DateTime<Utc>,
    /// A non-transactional migration that was started and has not finished.
    pub unfinished: Option<Unfinished>,
    /// The schema.
    pub schema: Schema,
    /// Whether the connected role is a superuser and another role owns the schema.
    pub owned_by_other_role: bool,
}

/// The state of a tenant's schema. Tenants with equal ledgers share one [`Ledger`].
#[derive(Debug, Clone)]
pub enum Schema {
    /// The schema does not exist.
    Missing,
    /// The ledger cannot be read.
    Unreadable(UnreadableLedger),
    /// The ledger has an unexpected definition or contents, and is not used.
    InvalidLedger {
        /// The reason, such as "it is a view".
        reason: String,
    },
    /// The schema has no ledger.
    NoLedger {
        /// The oid of the schema.
        oid: u32,
        /// Whether the schema has no relations at all.
        empty: bool,
    },
    /// The schema has a ledger.
    Ledger {
        /// The oid of the schema.
        oid: u32,
        /// The contents of the ledger.
        ledger: Arc<Ledger>,
    },
}

/// A tracker row whose name is not a valid tenant name.
#[derive(Debug, Clone)]
pub struct Misnamed {
    /// The name in the tracker.
    pub name: String,
    /// The rule that the name breaks.
    pub reason: NameError,
    /// The state in the tracker.
    pub state: State,
    /// When the row was created.
    pub created_at: DateTime<Utc>,
}

/// A tracker row with a value that this version does not know, or with NULL in a required column.
#[derive(Debug, Clone)]
pub struct InvalidRow {
    /// The name in the tracker, or the row's id if the name is NULL.
    pub name: String,
    /// The text of the state.
    pub state: Option<String>,
    /// When the row was created.
    pub created_at: Option<DateTime<Utc>>,
    /// The problem, such as "its id is NULL".
    pub reason: String,
}

impl Fleet {
    /// Reads the tracker and all ledgers, and compares the ledgers with `set`. One statement reads the tracker, and one
    /// statement reads each 500 ledgers.
    ///
    /// # Errors
    /// The server's error.
    pub fn read(conn: &mut PgConnection, set: &MigrationSet) -> Result<Self, Error> {
        read::read(conn, set, None)
    }

    /// Reads the tenants with these names. Names that the tracker does not have are not in the result.
    ///
    /// # Errors
    /// The server's error.
    pub fn read_some(conn: &mut PgConnection, set: &MigrationSet, names: &[TenantName]) -> Result<Self, Error> {
        let names: Vec<&str> = names.iter().map(TenantName::as_str).collect();
        read::read(conn, set, Some(&names))
    }

    /// The tenant with this name.
    pub fn get(&self, name: &TenantName) -> Option<&Tenant> {
        let index = self.tenants.binary_search_by(|tenant| tenant.name.cmp(name)).ok()?;
        Some(&self.tenants[index])
    }
}

impl Tenant {
    /// The contents of the ledger, if the tenant has one that can be read.
    pub fn ledger(&self) -> Option<&Ledger> {
        match &self.schema {
            Schema::Ledger { ledger, .. } => Some(ledger),
            _ => None,
        }
    }

    /// The indexes in `set` of the pending migrations, in order. Without a ledger, all migrations are pending.
    pub fn pending(&self, set: &MigrationSet) -> Vec<usize> {
        match self.ledger() {
            Some(ledger) => ledger.pending.clone(),
            None => (0..set.len()).collect(),
        }
    }

    /// The oid of the schema, if its ledger can be read or does not exist.
    pub fn schema_oid(&self) -> Option<u32> {
        match self.schema {
            Schema::Ledger { oid, .. } | Schema::NoLedger { oid, .. } => Some(oid),
            Schema::Missing | Schema::Unreadable(_) | Schema::InvalidLedger { .. } => None,
        }
    }
}

/// The error for a name that the tracker does not have.
pub(crate) fn not_tracked(conn: &mut PgConnection, name: &TenantName) -> Result<TenantError, Error> {
    let exists = sql::<Bool>("EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = ")
        .bind::<Text, _>(name.as_str())
        .sql(")");
    let schema_exists = diesel::select(exists).get_result(conn).map_err(Error::doing("look for the schema"))?;
    Ok(TenantError::NotTracked { schema_exists, similar: similar_name(conn, name.as_str())? })
}
