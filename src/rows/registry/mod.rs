//! The registry: a row for each tenant, and the rows of the shared tables that belong to it.

mod delete;
mod member;

use std::collections::BTreeMap;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};

use super::catalog::{Catalog, Table};
use super::layout::Layout;
use crate::database::Database;
use crate::error::{Error, RowTenancyError};
use crate::model::{IdType, TenantId};
use crate::postgres::path;
use crate::sql::quote::Identifier;

pub use delete::delete;
pub use member::FirstMember;

/// A tenant of the registry.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct RegisteredTenant {
    /// Its id, as the server prints it.
    #[diesel(sql_type = Text)]
    pub id: String,
    /// Its name.
    #[diesel(sql_type = Text)]
    pub name: String,
}

/// The number of rows of each tenant in each table, by the tenant's id and the table.
pub type RowCounts = BTreeMap<String, BTreeMap<String, i64>>;

/// How often an id is drawn from the registry's default until it is not reserved.
const MAX_DRAWS: usize = 1_000;

/// The tenants, sorted by name.
///
/// # Errors
/// [`RowTenancyError::NoRegistry`], or the server's error.
pub fn tenants(db: &mut Database, layout: &Layout) -> Result<Vec<RegisteredTenant>, Error> {
    let registry = Registry::read(db, layout)?;
    registry.as_owner(db.connection(), "read the registry", |conn| {
        sql_query(format!(
            "SELECT id::text AS id, name::text AS name FROM {} ORDER BY name::text COLLATE \"C\"",
            registry.table
        ))
        .load(conn)
    })
}

/// Counts the rows of all tenants. Reads all shared tables.
///
/// # Errors
/// As [`tenants`].
pub fn count_rows(db: &mut Database, layout: &Layout) -> Result<RowCounts, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        tenant: String,
        #[diesel(sql_type = BigInt)]
        rows: i64,
    }
    let registry = Registry::read(db, layout)?;
    let mut counts = RowCounts::new();
    for table in registry.tables().filter(|table| !table.is_partition) {
        let column = Identifier::from(&layout.column);
        let sql = format!(
            "SELECT {column}::text AS tenant, count(*) AS rows FROM {} GROUP BY {column}",
            registry.qualified(&table.name)
        );
        let rows: Vec<Row> =
            registry.as_owner(db.connection(), "count the rows of the tenants", |conn| sql_query(sql).load(conn))?;
        for row in rows {
            counts.entry(row.tenant).or_default().insert(table.name.clone(), row.rows);
        }
    }
    Ok(counts)
}

/// Adds a tenant to the registry, with the id that is given or that the registry's default chooses, and its first member.
/// Both are added in one transaction. Returns the tenant's id.
///
/// # Errors
/// [`RowTenancyError::NoMembers`], [`RowTenancyError::ReservedId`], [`RowTenancyError::TenantExists`], [`RowTenancyError::WrongIdType`], or the server's
/// error.
pub fn create(
    db: &mut Database,
    layout: &Layout,
    name: &str,
    id: Option<TenantId>,
    member: Option<&FirstMember>,
) -> Result<TenantId, Error> {
    let registry = Registry::read(db, layout)?;
    if member.is_some() {
        registry.require_members()?;
    }
    if tenants(db, layout)?.iter().any(|tenant| tenant.name == name) {
        return Err(RowTenancyError::TenantExists { name: name.to_owned() }.into());
    }
    if let Some(id) = id {
        if layout.reserved.contains(id) {
            return Err(RowTenancyError::ReservedId { id }.into());
        }
        if !registry.id.accepts(id) {
            return Err(RowTenancyError::WrongIdType { id, expected: registry.id.as_sql() }.into());
        }
    }
    let doing = "add a tenant to the registry";
    for _ in 0..MAX_DRAWS {
        // The sequence of the default advances also if the transaction is rolled back.
        let drawn = registry.as_owner(db.connection(), doing, |conn| {
            let drawn: TenantId = registry.insert(conn, name, id)?;
            if layout.reserved.contains(drawn) {
                conn.batch_execute("ROLLBACK TO SAVEPOINT tenantry_insert")?;
                return Ok(None);
            }
            if let Some(member) = member {
                registry.add_member(conn, drawn, member)?;
            }
            Ok(Some(drawn))
        })?;
        if let Some(id) = drawn {
            return Ok(id);
        }
    }
    Err(RowTenancyError::NoFreeId.into())
}

/// Deletes the rows of all tenants and the registry's, and restarts the sequences of the tables.
///
/// # Errors
/// The server's error; nothing was deleted.
pub fn truncate(db: &mut Database, layout: &Layout) -> Result<(), Error> {
    let registry = Registry::read(db, layout)?;
    let tables: Vec<String> = registry
        .tables()
        .filter(|table| !table.is_partition)
        .map(|table| registry.qualified(&table.name))
        .chain([registry.table.clone()])
        .collect();
    let sql = format!("TRUNCATE {} RESTART IDENTITY", tables.join(", "));
    registry.as_owner(db.connection(), "delete the rows of all tenants", |conn| conn.batch_execute(&sql))
}

/// The registry and the shared tables of a database.
struct Registry<'a> {
    layout: &'a Layout,
    catalog: Catalog,
    id: IdType,
    /// The registry's table, qualified.
    table: String,
}

impl<'a> Registry<'a> {
    fn read(db: &mut Database, layout: &'a Layout) -> Result<Self, Error> {
        let doing = || Error::doing("read the shared tables");
        let conn = db.connection();
        conn.batch_execute(&format!("BEGIN READ ONLY; {}", path::CATALOG_FOR_TRANSACTION)).map_err(doing())?;
        let catalog = Catalog::read(conn, layout);
        conn.batch_execute("ROLLBACK").map_err(doing())?;
        let catalog = catalog?;
        let Some(id) = catalog.id_type() else {
            let (schema, registry) = (layout.schema.as_str(), layout.registry.as_str());
            return Err(RowTenancyError::no_registry(schema, registry, catalog.registry_id.as_deref()).into());
        };
        let table = format!("{}.{}", Identifier::from(&layout.schema), Identifier::from(&layout.registry));
        Ok(Self { layout, catalog, id, table })
    }

    fn qualified(&self, table: &str) -> String {
        format!("{}.{}", Identifier::from(&self.layout.schema), Identifier::of_object(table))
    }

    /// The tables whose rows belong to tenants.
    fn tables(&self) -> impl Iterator<Item = &Table> {
        let registry = self.layout.registry.as_str();
        self.catalog.tables.iter().filter(move |table| table.has_column && !table.is_exempt && table.name != registry)
    }

    /// Runs `work` in a transaction as the owner of the shared tables, whose policy shows it the rows of all tenants.
    fn as_owner<T>(
        &self,
        conn: &mut PgConnection,
        doing: &'static str,
        work: impl FnOnce(&mut PgConnection) -> QueryResult<T>,
    ) -> Result<T, Error> {
        let begin =
            format!("{} SET LOCAL ROLE {}", path::CATALOG_FOR_TRANSACTION, Identifier::from(&self.layout.roles.owner));
        conn.transaction(|conn| {
            conn.batch_execute(&begin)?;
            work(conn)
        })
        .map_err(Error::doing(doing))
    }

    fn insert(&self, conn: &mut PgConnection, name: &str, id: Option<TenantId>) -> QueryResult<TenantId> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            id: String,
        }
        let (columns, values) = match id {
            Some(id) => ("id, name", format!("'{id}'::{}, $1", self.id.as_sql())),
            None => ("name", "$1".to_owned()),
        };
        conn.batch_execute("SAVEPOINT tenantry_insert")?;
        let row: Row =
            sql_query(format!("INSERT INTO {} ({columns}) VALUES ({values}) RETURNING id::text AS id", self.table))
                .bind::<Text, _>(name)
                .get_result(conn)?;
        row.id.parse().map_err(|error| diesel::result::Error::DeserializationError(Box::new(error)))
    }
}
