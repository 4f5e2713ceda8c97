//! The registry: a row for each tenant, and the rows of the shared tables that belong to it.

mod delete;
mod member;

use std::collections::BTreeMap;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;

use super::catalog::{Catalog, Table};
use super::layout::Layout;
use crate::database::Database;
use crate::error::{Error, RowTenancyError};
use crate::model::{IdType, TenantId};
use crate::postgres::contained::ContainedStatements;
use crate::postgres::path;
use crate::sql::quote::Identifier;
use crate::tenants::Tenancy;

pub use delete::delete;
pub use member::FirstMember;

/// A tenant of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredTenant {
    /// Its id, as the server prints it.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// The number of rows of each tenant in each table, by the tenant's id and the table.
pub type RowCounts = BTreeMap<String, BTreeMap<String, i64>>;

/// How often an id is drawn from the registry's default until it is not reserved.
const MAX_DRAWS: usize = 1_000;

/// The tenants, sorted by name.
///
/// # Errors
/// [`RowTenancyError::NoRegistry`], [`RowTenancyError::Standby`], or the server's error.
pub fn tenants(db: &mut Database, layout: &Layout) -> Result<Vec<RegisteredTenant>, Error> {
    let registry = Registry::read(db, layout)?;
    let sql = format!(
        "SELECT ARRAY[id::text, name::text] FROM {} ORDER BY name::text COLLATE pg_catalog.\"C\"",
        registry.table
    );
    let rows = registry.read_as_owner(db.connection(), "read the registry", &sql)?;
    Ok(rows.into_iter().map(|[id, name]| RegisteredTenant { id, name }).collect())
}

/// Counts the rows of all tenants. Reads all shared tables.
///
/// # Errors
/// As [`tenants`].
pub fn count_rows(db: &mut Database, layout: &Layout) -> Result<RowCounts, Error> {
    let registry = Registry::read(db, layout)?;
    let mut counts = RowCounts::new();
    for table in registry.tables().filter(|table| !table.is_partition) {
        let column = Identifier::from(&layout.column);
        let sql = format!(
            "SELECT ARRAY[{column}::text, count(*)::text] FROM {} GROUP BY {column}",
            registry.qualified(&table.name)
        );
        for [tenant, rows] in registry.read_as_owner(db.connection(), "count the rows of the tenants", &sql)? {
            counts.entry(tenant).or_default().insert(table.name.clone(), rows.parse().unwrap_or_default());
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
    tenancy: &Tenancy,
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
        let drawn = registry.as_owner(db.connection(), tenancy, doing, |conn, statements| {
            conn.batch_execute("SAVEPOINT tenantry_insert")?;
            let drawn: TenantId = registry.insert(conn, statements, name, id)?;
            if layout.reserved.contains(drawn) {
                conn.batch_execute("ROLLBACK TO SAVEPOINT tenantry_insert")?;
                return Ok(None);
            }
            if let Some(member) = member {
                registry.add_member(conn, statements, drawn, member)?;
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
pub fn truncate(db: &mut Database, tenancy: &Tenancy, layout: &Layout) -> Result<(), Error> {
    let registry = Registry::read(db, layout)?;
    let tables: Vec<String> = registry
        .tables()
        .filter(|table| !table.is_partition)
        .map(|table| registry.qualified(&table.name))
        .chain([registry.table.clone()])
        .collect();
    let sql = format!("TRUNCATE {} RESTART IDENTITY", tables.join(", "));
    registry.as_owner(db.connection(), tenancy, "delete the rows of all tenants", |conn, statements| {
        statements.execute(conn, &sql)
    })
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
        if db.server().in_recovery {
            return Err(RowTenancyError::Standby.into());
        }
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

    /// Runs `work` in a transaction. Its statements have the rights of the owner of the shared tables, whose policy shows it
    /// the rows of all tenants, and the search path of migrations, which the triggers of the tables expect.
    fn as_owner<T>(
        &self,
        conn: &mut PgConnection,
        tenancy: &Tenancy,
        doing: &'static str,
        work: impl FnOnce(&mut PgConnection, &ContainedStatements) -> QueryResult<T>,
    ) -> Result<T, Error> {
        let become_owner = self.become_owner();
        conn.transaction(|conn| {
            conn.batch_execute(&become_owner)?;
            let statements = ContainedStatements::create_on_path(conn, tenancy.path(&self.layout.schema))?;
            let result = work(conn, &statements)?;
            statements.drop(conn)?;
            Ok(result)
        })
        .map_err(Error::doing(doing))
    }

    /// Reads rows of a number of texts with the rights of the owner.
    fn read_as_owner<const N: usize>(
        &self,
        conn: &mut PgConnection,
        doing: &'static str,
        query: &str,
    ) -> Result<Vec<[String; N]>, Error> {
        // The function of the transaction is rolled back, also where transactions are read-only by default.
        let begin = format!("BEGIN READ WRITE; {}", self.become_owner());
        let rows = conn.batch_execute(&begin).and_then(|()| {
            let statements = ContainedStatements::create(conn, &self.layout.schema)?;
            conn.batch_execute("SET LOCAL transaction_read_only TO on")?;
            statements.rows(conn, query, &[])
        });
        let ended = conn.batch_execute("ROLLBACK");
        let rows = rows.map_err(Error::doing(doing))?;
        ended.map_err(Error::doing(doing))?;
        Ok(rows.into_iter().filter_map(|row| row.try_into().ok()).collect())
    }

    fn become_owner(&self) -> String {
        format!("{} SET LOCAL ROLE {}", path::CATALOG_FOR_TRANSACTION, Identifier::from(&self.layout.roles.owner))
    }

    fn insert(
        &self,
        conn: &mut PgConnection,
        statements: &ContainedStatements,
        name: &str,
        id: Option<TenantId>,
    ) -> QueryResult<TenantId> {
        let (columns, values) = match id {
            Some(id) => ("id, name", format!("'{id}'::{}, ($1)[1]", self.id.as_sql())),
            None => ("name", "($1)[1]".to_owned()),
        };
        let sql = format!("INSERT INTO {} ({columns}) VALUES ({values}) RETURNING ARRAY[id::text]", self.table);
        let rows = statements.rows(conn, &sql, &[name])?;
        let id = rows.into_iter().flatten().next().ok_or(diesel::result::Error::NotFound)?;
        id.parse().map_err(|error| diesel::result::Error::DeserializationError(Box::new(error)))
    }
}
