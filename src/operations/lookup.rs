//! What the tracker and the catalogs know about a name.

use std::collections::{HashMap, HashSet};

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Bool, Nullable, Oid, Text};

#[cfg(feature = "cli")]
use crate::database::Database;
#[cfg(feature = "cli")]
use crate::error::TenantError;
use crate::error::{Error, UnreadableLedger};
#[cfg(feature = "cli")]
use crate::model::SchemaName;
use crate::model::{State, TenantName};
use crate::postgres::CHUNK;
use crate::sql::catalog::holds_relations;
use crate::tenants::Tenancy;
use crate::tenants::ledger::access::{self, LedgerAccess};

/// The tenant and the schema of a name.
pub(super) struct NameStatus {
    /// The tracked tenant with this name, or with a name that differs only by case.
    pub(super) tracked: Option<(String, State)>,
    /// The schema with exactly this name.
    pub(super) schema: Option<SchemaStatus>,
}

impl NameStatus {
    pub(super) const UNUSED: Self = Self { tracked: None, schema: None };
}

/// A schema that exists.
#[derive(Clone)]
pub(super) struct SchemaStatus {
    pub(super) oid: u32,
    pub(super) has_ledger: bool,
    /// Why its ledger cannot be read.
    pub(super) unreadable: Option<UnreadableLedger>,
    pub(super) empty: bool,
    pub(super) holds_extensions: bool,
}

/// Looks up names in the tracker and the catalogs.
pub(super) fn look_up(conn: &mut PgConnection, names: &[&TenantName]) -> Result<HashMap<String, NameStatus>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
        #[diesel(sql_type = Nullable<Text>)]
        tracked_name: Option<String>,
        #[diesel(sql_type = Nullable<Text>)]
        tracked_state: Option<String>,
        #[diesel(sql_type = Nullable<Oid>)]
        schema_oid: Option<u32>,
        #[diesel(sql_type = Bool)]
        has_ledger: bool,
        #[diesel(embed)]
        access: LedgerAccess,
        #[diesel(sql_type = Bool)]
        empty: bool,
        #[diesel(sql_type = Bool)]
        holds_extensions: bool,
    }
    let sql = include_str!("names.sql")
        .replace("HOLDS_RELATIONS", &holds_relations("n.oid"))
        .replace("LEDGER_ACCESS", access::COLUMNS);
    let mut found = HashMap::new();
    for chunk in names.chunks(CHUNK) {
        let names: Vec<&str> = chunk.iter().map(|name| name.as_str()).collect();
        let rows: Vec<Row> =
            sql_query(&sql).bind::<Array<Text>, _>(names).load(conn).map_err(Error::doing("look up the names"))?;
        for row in rows {
            let state = row.tracked_state.unwrap_or_else(|| "NULL".to_owned());
            let tracked = match row.tracked_name.map(|tenant| (tenant, state)) {
                None => None,
                Some((tenant, state)) => match state.parse() {
                    Ok(state) => Some((tenant, state)),
                    Err(_) => return Err(Error::UnknownState { tenant, state }),
                },
            };
            let unreadable = row.access.into_problem();
            let schema = row.schema_oid.map(|oid| SchemaStatus {
                oid,
                has_ledger: row.has_ledger,
                unreadable,
                empty: row.empty,
                holds_extensions: row.holds_extensions,
            });
            found.insert(row.name, NameStatus { tracked, schema });
        }
    }
    Ok(found)
}

/// The oid of the schema of a tenant that is active or archived, and that holds no extensions.
///
/// # Errors
/// [`Error::Tenant`] if there is no such tenant.
#[cfg(feature = "cli")]
pub(crate) fn dumpable_schema(db: &mut Database, name: &TenantName) -> Result<u32, Error> {
    let schema = super::rename::existing(db, name)?;
    if schema.holds_extensions {
        let error = Box::new(TenantError::ContainsExtensions { new: false });
        return Err(Error::Tenant { name: name.clone(), error });
    }
    Ok(schema.oid)
}

/// The oid of a schema that exists.
#[cfg(feature = "cli")]
pub(crate) fn schema_oid(conn: &mut PgConnection, name: &SchemaName) -> QueryResult<u32> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Oid)]
        oid: u32,
    }
    let found = sql_query("SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1");
    found.bind::<Text, _>(name.as_str()).get_result::<Row>(conn).map(|row| row.oid)
}

/// Whether the schema holds extensions, according to the settings or to the catalog.
pub(super) fn holds_extensions(tenancy: &Tenancy, name: &TenantName, schema: Option<&SchemaStatus>) -> bool {
    schema.is_some_and(|schema| schema.holds_extensions)
        || tenancy.extension_schemas().iter().any(|schema| schema.as_str().eq_ignore_ascii_case(name.as_str()))
}

/// The names in their order, without duplicates.
pub(super) fn distinct(names: &[TenantName]) -> Vec<&TenantName> {
    let mut seen = HashSet::new();
    names.iter().filter(|name| seen.insert(*name)).collect()
}
