//! What the attempts aim at, read with the operator's connection. Nothing is written, and no function, view or policy of a
//! tenant is evaluated.

mod cross;
pub(super) mod rows;
pub(super) mod schemas;

use std::collections::BTreeSet;

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Bool, Nullable, Text};

use crate::error::Error;
use crate::model::{ObjectName, TenantId};
use crate::postgres::path;
use crate::sql::quote::Identifier;
pub(super) use cross::CrossReference;
pub(super) use rows::{Aim, RowValues};

/// The statements that begin the transaction in which targets are read. Policies of others are not evaluated: a table whose
/// rows they would hide is an error.
pub(super) fn begin() -> String {
    begin_with("BEGIN READ ONLY")
}

/// The same for a transaction that creates what reads tables in it, and is rolled back.
fn begin_reading_tables() -> String {
    begin_with("BEGIN")
}

fn begin_with(begin: &str) -> String {
    format!(
        "{begin}; SET LOCAL lock_timeout TO '200ms'; SET LOCAL statement_timeout TO '5s'; \
         SET LOCAL timezone TO 'UTC'; SET LOCAL datestyle TO 'ISO, YMD'; {}",
        path::CATALOG_FOR_TRANSACTION
    )
}

/// Everything that attempts aim at.
pub(super) struct Targets {
    pub(super) version: i32,
    pub(super) database: String,
    /// The probed role.
    pub(super) role: String,
    pub(super) relations: Vec<ProbedRelation>,
    pub(super) functions: Vec<ProbedFunction>,
    pub(super) others: OtherTargets,
    pub(super) tenancy: ProbedTenancy,
    /// Values that only rows of one tenant contain.
    pub(super) markers: Vec<Marker>,
}

/// What depends on how tenants are separated.
pub(super) enum ProbedTenancy {
    Rows {
        layout: Box<crate::rows::Layout>,
        /// Foreign keys between tables of tenants.
        references: Vec<CrossReference>,
        /// A tenant that attempts work for, if there is one.
        own: Option<TenantId>,
    },
    Schemas {
        /// The schema of the tenant whose role is probed.
        own: String,
        /// The schemas of the other tenants.
        others: BTreeSet<String>,
    },
}

/// What isolation lets the role do with a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Protection {
    /// Rows of its own tenant, which this column names.
    OwnRows { column: String, changes: OwnChanges, aim: Box<Aim> },
    /// Read all rows.
    ReadOnly,
    /// Nothing.
    Private,
    /// Read what the rows below it show.
    View,
    /// What all tenants may have, for example sequences of their own tables: `USAGE`.
    Usable,
    /// Everything: it belongs to the tenant of the role.
    Own,
}

/// Whether a role may change rows of its own tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnChanges {
    Allowed,
    Refused,
}

/// A table, view or sequence.
#[derive(Debug, Clone)]
pub(super) struct ProbedRelation {
    pub(super) schema: String,
    pub(super) name: String,
    /// As in `pg_class`.
    pub(super) kind: String,
    pub(super) is_partition: bool,
    pub(super) is_exempt: bool,
    pub(super) has_rules: bool,
    pub(super) has_triggers: bool,
    /// Whether inserting a row may do what a rollback does not undo.
    pub(super) has_lasting_effects: bool,
    /// The unique keys and exclusion constraints with the tenant column.
    pub(super) keys_with_tenant: Vec<String>,
    /// The columns of each of them, but the tenant's.
    pub(super) key_columns: Vec<Vec<String>>,
    pub(super) has_unique_keys: bool,
    /// The columns that are not generated.
    pub(super) columns: Vec<ProbedColumn>,
    pub(super) protection: Protection,
}

/// A column.
#[derive(Debug, Clone)]
pub(super) struct ProbedColumn {
    pub(super) name: String,
    pub(super) data_type: String,
    /// The type, or that of a domain.
    pub(super) base_type: String,
    pub(super) is_not_null: bool,
    pub(super) is_insertable: bool,
    pub(super) is_updatable: bool,
    /// Whether it belongs to a foreign key.
    pub(super) refers: bool,
}

/// A value that only rows of one tenant contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marker {
    /// The tenant, if tenants share tables.
    pub(super) tenant: Option<TenantId>,
    pub(super) text: String,
    /// The query by which the role finds out whether its own tenant has the value, too.
    pub(super) own_rows: Option<String>,
}

/// A function.
#[derive(Debug, Clone, QueryableByName)]
pub(super) struct ProbedFunction {
    #[diesel(sql_type = Text)]
    pub(super) schema: String,
    #[diesel(sql_type = Text)]
    pub(super) signature: String,
    /// Qualified and quoted.
    #[diesel(sql_type = Text)]
    pub(super) name: String,
    #[diesel(sql_type = Array<Text>)]
    pub(super) parameters: Vec<String>,
    /// As in `pg_proc`.
    #[diesel(sql_type = Text)]
    pub(super) kind: String,
    #[diesel(sql_type = Bool)]
    pub(super) is_trigger: bool,
    /// Whether it runs as a role whose rights the probed role does not have.
    #[diesel(sql_type = Bool)]
    pub(super) runs_as_other: bool,
    /// Whether it runs as its owner and finds objects by the caller's search path, or temporary ones first.
    #[diesel(sql_type = Bool)]
    pub(super) has_open_path: bool,
    #[diesel(sql_type = Bool)]
    pub(super) is_leakproof: bool,
    #[diesel(sql_type = Bool)]
    pub(super) is_dblink: bool,
}

/// Roles, schemas, large objects and foreign servers.
#[derive(Debug, Clone, Default)]
pub(super) struct OtherTargets {
    /// Roles with more rights.
    pub(super) roles: Vec<String>,
    pub(super) superusers: Vec<String>,
    /// Owners of tables.
    pub(super) owners: Vec<String>,
    pub(super) schemas: Vec<String>,
    pub(super) large_objects: Vec<String>,
    pub(super) own_large_objects: Vec<String>,
    pub(super) wrappers: Vec<String>,
    pub(super) servers: Vec<String>,
}

impl ProbedRelation {
    /// Qualified and quoted.
    pub(super) fn qualified(&self) -> String {
        format!("{}.{}", Identifier::of_object(&self.schema), Identifier::of_object(&self.name))
    }

    pub(super) fn is_table(&self) -> bool {
        ["r", "p"].contains(&self.kind.as_str())
    }

    pub(super) fn has_column(&self, name: &str) -> bool {
        self.columns.iter().any(|column| column.name == name)
    }
}

/// Reads relations, with the protection [`Protection::Private`]. `schemas` is `None` for all.
pub(super) fn relations(
    conn: &mut PgConnection,
    role: &str,
    column: Option<&ObjectName>,
    schemas: Option<&[&str]>,
) -> Result<Vec<ProbedRelation>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        schema: String,
        #[diesel(sql_type = Text)]
        name: String,
        #[diesel(sql_type = Text)]
        kind: String,
        #[diesel(sql_type = Bool)]
        is_partition: bool,
        #[diesel(sql_type = Bool)]
        is_exempt: bool,
        #[diesel(sql_type = Bool)]
        has_rules: bool,
        #[diesel(sql_type = Bool)]
        has_triggers: bool,
        #[diesel(sql_type = Bool)]
        has_lasting_effects: bool,
        #[diesel(sql_type = Array<Text>)]
        keys_with_tenant: Vec<String>,
        #[diesel(sql_type = Array<Text>)]
        key_columns: Vec<String>,
        #[diesel(sql_type = Bool)]
        has_unique_keys: bool,
        #[diesel(sql_type = Array<Text>)]
        columns: Vec<String>,
        #[diesel(sql_type = Array<Text>)]
        types: Vec<String>,
        #[diesel(sql_type = Array<Text>)]
        base_types: Vec<String>,
        #[diesel(sql_type = Array<Bool>)]
        not_nulls: Vec<bool>,
        #[diesel(sql_type = Array<Bool>)]
        insertable: Vec<bool>,
        #[diesel(sql_type = Array<Bool>)]
        updatable: Vec<bool>,
        #[diesel(sql_type = Array<Bool>)]
        refers: Vec<bool>,
    }
    let rows: Vec<Row> = sql_query(include_str!("relations.sql"))
        .bind::<Text, _>(role)
        .bind::<Text, _>(column.map_or("", ObjectName::as_str))
        .bind::<Nullable<Array<Text>>, _>(schemas)
        .load(conn)
        .map_err(Error::doing("read the tables to aim at"))?;
    let column = |row: &Row, at: usize| {
        Some(ProbedColumn {
            name: row.columns.get(at)?.clone(),
            data_type: row.types.get(at)?.clone(),
            base_type: row.base_types.get(at)?.clone(),
            is_not_null: *row.not_nulls.get(at)?,
            is_insertable: *row.insertable.get(at)?,
            is_updatable: *row.updatable.get(at)?,
            refers: *row.refers.get(at)?,
        })
    };
    let relation = |row: Row| ProbedRelation {
        columns: (0..row.columns.len()).filter_map(|at| column(&row, at)).collect(),
        schema: row.schema,
        name: row.name,
        kind: row.kind,
        is_partition: row.is_partition,
        is_exempt: row.is_exempt,
        has_rules: row.has_rules,
        has_triggers: row.has_triggers,
        has_lasting_effects: row.has_lasting_effects,
        keys_with_tenant: row.keys_with_tenant,
        key_columns: row.key_columns.iter().filter_map(|key| serde_json::from_str(key).ok()).collect(),
        has_unique_keys: row.has_unique_keys,
        protection: Protection::Private,
    };
    Ok(rows.into_iter().map(relation).collect())
}

/// Reads functions. `schemas` is `None` for all.
pub(super) fn functions(
    conn: &mut PgConnection,
    role: &str,
    schemas: Option<&[&str]>,
) -> Result<Vec<ProbedFunction>, Error> {
    sql_query(include_str!("functions.sql"))
        .bind::<Text, _>(role)
        .bind::<Nullable<Array<Text>>, _>(schemas)
        .load(conn)
        .map_err(Error::doing("read the functions to aim at"))
}

/// Reads roles, schemas, large objects and foreign servers.
pub(super) fn others(conn: &mut PgConnection, role: &str, of_layout: &[&str]) -> Result<OtherTargets, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        kind: String,
        #[diesel(sql_type = Text)]
        name: String,
    }
    let rows: Vec<Row> = sql_query(include_str!("others.sql"))
        .bind::<Text, _>(role)
        .bind::<Array<Text>, _>(of_layout)
        .load(conn)
        .map_err(Error::doing("read the roles and schemas to aim at"))?;
    let of = |kind: &str| rows.iter().filter(|row| row.kind == kind).map(|row| row.name.clone()).collect();
    Ok(OtherTargets {
        roles: of("role"),
        superusers: of("superuser"),
        owners: of("owner"),
        schemas: of("schema"),
        large_objects: of("large object"),
        own_large_objects: of("own large object"),
        wrappers: of("wrapper"),
        servers: of("server"),
    })
}
