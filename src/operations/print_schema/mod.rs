//! Diesel's `table!` definitions of a tenant's tables, as `diesel print-schema` prints them.

mod render;

use std::collections::BTreeMap;

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Integer, Nullable, Text};

use super::{NameStatus, look_up};
use crate::database::Database;
use crate::error::{Error, TenantError};
use crate::model::TenantName;
use crate::tenants::{ledger, similar_name};

/// Diesel's definitions of a tenant's tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DieselSchema {
    /// The text of a `schema.rs`.
    pub text: String,
    /// Tables without a primary key, which Diesel does not support. They are not in the text.
    pub without_key: Vec<String>,
}

/// Prints the definitions of a tenant's tables. Its types are those of `diesel print-schema`.
///
/// # Errors
/// [`Error::Tenant`] if the tenant or its schema does not exist; [`Error::TrackerMissing`]; or the server's error.
pub fn print_schema(db: &mut Database, tenant: &TenantName) -> Result<DieselSchema, Error> {
    if !db.server().has_tracker {
        return Err(Error::TrackerMissing { database: db.server().database.clone() });
    }
    let conn = db.connection();
    let NameStatus { tracked, schema } =
        look_up(conn, &[tenant])?.remove(tenant.as_str()).unwrap_or(NameStatus::UNUSED);
    let error = match (tracked, schema) {
        (Some((name, _)), Some(_)) if name == tenant.as_str() => return read(conn, tenant),
        (Some((name, state)), None) if name == tenant.as_str() => TenantError::SchemaMissing { state: Some(state) },
        (_, schema) => {
            TenantError::NotTracked { schema_exists: schema.is_some(), similar: similar_name(conn, tenant.as_str())? }
        }
    };
    Err(Error::Tenant { name: tenant.clone(), error: Box::new(error) })
}

/// A column of a table.
#[derive(Debug, Clone, QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    column_name: String,
    /// The name of its type, or of the elements of an array.
    #[diesel(sql_type = Text)]
    type_name: String,
    /// The schema of the type, unless it is the tenant's.
    #[diesel(sql_type = Nullable<Text>)]
    type_schema: Option<String>,
    /// Whether the type is in `pg_catalog`.
    #[diesel(sql_type = Bool)]
    is_builtin: bool,
    #[diesel(sql_type = Bool)]
    is_array: bool,
    #[diesel(sql_type = Bool)]
    is_nullable: bool,
    /// The length of a `varchar` or `char`.
    #[diesel(sql_type = Nullable<Integer>)]
    max_length: Option<i32>,
    /// The position in the primary key, counted from 1.
    #[diesel(sql_type = Nullable<Integer>)]
    key_position: Option<i32>,
}

/// A foreign key that Diesel can join over.
#[derive(Debug, Clone, QueryableByName)]
struct ForeignKey {
    #[diesel(sql_type = Text)]
    child: String,
    #[diesel(sql_type = Text)]
    parent: String,
    #[diesel(sql_type = Text)]
    column_name: String,
}

fn read(conn: &mut PgConnection, tenant: &TenantName) -> Result<DieselSchema, Error> {
    let columns: Vec<Column> = sql_query(include_str!("columns.sql"))
        .bind::<Text, _>(tenant.as_str())
        .bind::<Text, _>(ledger::TABLE)
        .load(conn)
        .map_err(Error::doing("read the tenant's tables"))?;
    let keys: Vec<ForeignKey> = sql_query(include_str!("foreign_keys.sql"))
        .bind::<Text, _>(tenant.as_str())
        .load(conn)
        .map_err(Error::doing("read the tenant's foreign keys"))?;
    let mut tables: BTreeMap<String, Vec<Column>> = BTreeMap::new();
    for column in columns {
        tables.entry(column.table_name.clone()).or_default().push(column);
    }
    let has_key = |columns: &Vec<Column>| columns.iter().any(|column| column.key_position.is_some());
    let without_key = tables.iter().filter(|(_, columns)| !has_key(columns)).map(|(name, _)| name.clone()).collect();
    tables.retain(|_, columns| has_key(columns));
    Ok(DieselSchema { text: render::schema(&tables, &keys), without_key })
}
