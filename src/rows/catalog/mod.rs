//! What the catalogs say about the shared tables, as far as isolation depends on it.

mod environment;

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Bool, Nullable, Text};

use super::layout::Layout;
use crate::error::Error;
use crate::model::IdType;

pub(crate) use environment::Environment;

/// The shared tables and what belongs to them, sorted by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalog {
    pub(crate) tables: Vec<Table>,
    pub(crate) keys: Vec<UniqueKey>,
    pub(crate) foreign_keys: Vec<SharedForeignKey>,
    pub(crate) policies: Vec<Policy>,
    pub(crate) grants: Vec<SharedGrants>,
    /// The type of the registry's column `id`, by its name in `pg_type`; `None` if there is no such table or column.
    pub(crate) registry_id: Option<String>,
}

/// A table.
#[derive(Debug, Clone, QueryableByName)]
pub(crate) struct Table {
    #[diesel(sql_type = Text)]
    pub(crate) name: String,
    #[diesel(sql_type = Bool)]
    pub(crate) is_partitioned: bool,
    #[diesel(sql_type = Bool)]
    pub(crate) is_partition: bool,
    #[diesel(sql_type = Text)]
    pub(crate) owner: String,
    #[diesel(sql_type = Bool)]
    pub(crate) enables_row_security: bool,
    #[diesel(sql_type = Bool)]
    pub(crate) forces_row_security: bool,
    /// Whether it occupies disk space. An empty one may, too.
    #[diesel(sql_type = Bool)]
    pub(crate) has_pages: bool,
    /// Whether its comment begins with `tenantry: exempt`: all tenants share its rows.
    #[diesel(sql_type = Bool)]
    pub(crate) is_exempt: bool,
    #[diesel(sql_type = Bool)]
    pub(crate) has_column: bool,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) column_type: Option<String>,
    #[diesel(sql_type = Bool)]
    pub(crate) is_not_null: bool,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) column_default: Option<String>,
}

/// A unique index or an exclusion constraint.
#[derive(Debug, Clone, QueryableByName)]
pub(crate) struct UniqueKey {
    #[diesel(sql_type = Text)]
    pub(crate) table_name: String,
    #[diesel(sql_type = Text)]
    pub(crate) name: String,
    /// `p`, `u` or `x`; `None` for an index without a constraint.
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) constraint_type: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) constraint_definition: Option<String>,
    /// The clause of its definition that makes it deferrable, with a space before it; else empty.
    #[diesel(sql_type = Text)]
    pub(crate) deferral: String,
    #[diesel(sql_type = Bool)]
    pub(crate) is_replica_identity: bool,
    #[diesel(sql_type = Bool)]
    pub(crate) is_valid: bool,
    #[diesel(sql_type = Text)]
    pub(crate) index_definition: String,
    #[diesel(sql_type = Text)]
    pub(crate) access_method: String,
    /// The definition from the first item on, without the bracket that opens the list.
    #[diesel(sql_type = Text)]
    pub(crate) index_items: String,
    /// The columns in order; an empty text for an expression.
    #[diesel(sql_type = Array<Text>)]
    pub(crate) columns: Vec<String>,
}

/// A foreign key.
#[derive(Debug, Clone, QueryableByName)]
pub(crate) struct SharedForeignKey {
    #[diesel(sql_type = Text)]
    pub(crate) table_name: String,
    #[diesel(sql_type = Text)]
    pub(crate) name: String,
    #[diesel(sql_type = Text)]
    pub(crate) definition: String,
    #[diesel(sql_type = Text)]
    pub(crate) referenced_schema: String,
    #[diesel(sql_type = Text)]
    pub(crate) referenced_table: String,
    #[diesel(sql_type = Array<Text>)]
    pub(crate) columns: Vec<String>,
    #[diesel(sql_type = Array<Text>)]
    pub(crate) referenced_columns: Vec<String>,
    /// Whether the columns besides the tenant's accept NULL.
    #[diesel(sql_type = Bool)]
    pub(crate) is_nullable: bool,
    /// As in `pg_constraint`: `a`, `r`, `c`, `n` or `d`.
    #[diesel(sql_type = Text)]
    pub(crate) on_update: String,
    #[diesel(sql_type = Text)]
    pub(crate) on_delete: String,
    /// The columns of `ON DELETE SET NULL (…)`; empty for all.
    #[diesel(sql_type = Array<Text>)]
    pub(crate) set_on_delete: Vec<String>,
    #[diesel(sql_type = Bool)]
    pub(crate) matches_fully: bool,
    /// The clause of its definition that makes it deferrable, with a space before it; else empty.
    #[diesel(sql_type = Text)]
    pub(crate) deferral: String,
    #[diesel(sql_type = Bool)]
    pub(crate) is_valid: bool,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub(crate) struct Policy {
    #[diesel(sql_type = Text)]
    pub(crate) table_name: String,
    /// The table with its schema, in quotes where necessary.
    #[diesel(sql_type = Text)]
    pub(crate) printed_table: String,
    #[diesel(sql_type = Text)]
    pub(crate) name: String,
    #[diesel(sql_type = Bool)]
    pub(crate) is_permissive: bool,
    /// As in `pg_policy`: `*` for all commands.
    #[diesel(sql_type = Text)]
    pub(crate) command: String,
    #[diesel(sql_type = Array<Text>)]
    pub(crate) roles: Vec<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) using_expression: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) check_expression: Option<String>,
}

/// The privileges on a table or a sequence.
#[derive(Debug, Clone, QueryableByName)]
pub(crate) struct SharedGrants {
    #[diesel(sql_type = Text)]
    pub(crate) name: String,
    #[diesel(sql_type = Bool)]
    pub(crate) is_sequence: bool,
    /// The privileges of the application's role.
    #[diesel(sql_type = Array<Text>)]
    pub(crate) of_application: Vec<String>,
    /// Whether PUBLIC has any privilege.
    #[diesel(sql_type = Bool)]
    pub(crate) has_public: bool,
    /// The table whose column uses the sequence.
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) owner_table: Option<String>,
}

impl Catalog {
    /// Reads the catalogs. The search path must have only `pg_catalog`, so that deparsed names are qualified.
    pub(crate) fn read(conn: &mut PgConnection, layout: &Layout) -> Result<Self, Error> {
        let (schema, column) = (layout.schema.as_str(), layout.column.as_str());
        let doing = || Error::doing("read the shared tables");
        let tables: Vec<Table> = sql_query(include_str!("tables.sql"))
            .bind::<Text, _>(schema)
            .bind::<Text, _>(column)
            .load(conn)
            .map_err(doing())?;
        let keys = sql_query(include_str!("keys.sql")).bind::<Text, _>(schema).load(conn).map_err(doing())?;
        let foreign_keys = sql_query(include_str!("foreign_keys.sql"))
            .bind::<Text, _>(schema)
            .bind::<Text, _>(column)
            .load(conn)
            .map_err(doing())?;
        let policies = sql_query(include_str!("policies.sql")).bind::<Text, _>(schema).load(conn).map_err(doing())?;
        let grants = sql_query(include_str!("grants.sql"))
            .bind::<Text, _>(schema)
            .bind::<Text, _>(layout.roles.app.as_str())
            .load(conn)
            .map_err(doing())?;
        let registry_id = registry_id(conn, layout).map_err(doing())?;
        Ok(Self { tables, keys, foreign_keys, policies, grants, registry_id })
    }

    /// The type of the registry's ids; `None` if there is no registry or its type is not supported.
    pub(crate) fn id_type(&self) -> Option<IdType> {
        self.registry_id.as_deref().and_then(IdType::of_type)
    }
}

fn registry_id(conn: &mut PgConnection, layout: &Layout) -> QueryResult<Option<String>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let row: Option<Row> = sql_query(
        "SELECT t.typname::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'id' AND NOT a.attisdropped \
         JOIN pg_type t ON t.oid = a.atttypid \
         WHERE n.nspname = $1::text AND c.relname = $2::text AND c.relkind IN ('r', 'p')",
    )
    .bind::<Text, _>(layout.schema.as_str())
    .bind::<Text, _>(layout.registry.as_str())
    .get_result(conn)
    .optional()?;
    Ok(row.map(|row| row.name))
}
