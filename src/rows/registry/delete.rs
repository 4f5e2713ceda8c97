//! Deletes a tenant that shares tables.

use std::collections::{BTreeMap, BTreeSet};

use super::{RegisteredTenant, Registry};
use crate::database::{Database, Stop};
use crate::error::{Error, RowTenancyError};
use crate::rows::catalog::{SharedForeignKey, Table};
use crate::rows::layout::Layout;
use crate::sql::quote::{Identifier, Literal};
use crate::tenants::Tenancy;

/// How many rows one statement deletes at most.
const BATCH: usize = 5_000;

/// The purpose of the statements, for errors.
const DOING: &str = "delete the rows of a tenant";

/// Deletes a tenant: its rows in batches, those that refer to others first, and then its row of the registry. If it is
/// interrupted, another call continues. Returns the number of deleted rows of each table.
///
/// # Errors
/// [`RowTenancyError::Interrupted`], or the server's error. What was deleted before remains deleted.
pub fn delete(
    db: &mut Database,
    tenancy: &Tenancy,
    layout: &Layout,
    tenant: &RegisteredTenant,
    stop: &Stop,
) -> Result<BTreeMap<String, i64>, Error> {
    let registry = Registry::read(db, layout)?;
    let id = format!("{}::{}", Literal(&tenant.id), registry.id.as_sql());
    let column = Identifier::from(&layout.column);
    let order = DeletionOrder::new(&registry.catalog.tables, &registry.catalog.foreign_keys, layout);
    let mut deleted = BTreeMap::new();
    // Returns the number of rows that a statement changes.
    let mut execute = |sql: &str| {
        registry.as_owner(db.connection(), tenancy, DOING, |conn, statements| {
            let rows = statements.rows(conn, sql, &[])?;
            Ok(rows.into_iter().flatten().filter_map(|number| number.parse::<i64>().ok()).sum::<i64>())
        })
    };
    let is_of_tenant = |column: &dyn std::fmt::Display| format!("{column} OPERATOR(pg_catalog.=) {id}");
    for key in &order.cut {
        let columns: Vec<String> = key
            .columns
            .iter()
            .filter(|column| column.as_str() != "id")
            .map(|column| format!("{} = NULL", Identifier::of_object(column)))
            .collect();
        let cut = format!("UPDATE {} SET {} WHERE {}", registry.table, columns.join(", "), is_of_tenant(&"id"));
        execute(&counting(&[cut]))?;
    }
    for group in &order.groups {
        let from =
            |table: &Table| format!("DELETE FROM {} WHERE {}", registry.qualified(&table.name), is_of_tenant(&column));
        let (sql, name) = match group {
            DeletionGroup::Batches(table) => {
                let qualified = registry.qualified(&table.name);
                let batch = format!("SELECT ctid FROM {qualified} WHERE {} LIMIT {BATCH}", is_of_tenant(&column));
                let delete = format!("DELETE FROM {qualified} WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY({batch}))");
                (counting(&[delete]), table.name.clone())
            }
            DeletionGroup::Whole(table) => (counting(&[from(table)]), table.name.clone()),
            DeletionGroup::Circle(tables) => {
                let deletes: Vec<String> = tables.iter().map(|table| from(table)).collect();
                let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
                (counting(&deletes), names.join(", "))
            }
        };
        let mut rows = 0;
        loop {
            let now = execute(&sql)?;
            rows += now;
            if now == 0 {
                break;
            }
            if stop.is_requested() {
                return Err(RowTenancyError::Interrupted { tenant: tenant.name.clone() }.into());
            }
        }
        if rows > 0 {
            deleted.insert(name, rows);
        }
    }
    execute(&counting(&[format!("DELETE FROM {} WHERE {}", registry.table, is_of_tenant(&"id"))]))?;
    Ok(deleted)
}

/// A statement that executes changes of rows at once, and returns their numbers.
fn counting(changes: &[String]) -> String {
    let parts: Vec<String> =
        changes.iter().enumerate().map(|(i, change)| format!("part{i} AS ({change} RETURNING 1)")).collect();
    let counts: Vec<String> =
        (0..parts.len()).map(|i| format!("SELECT ARRAY[pg_catalog.count(*)::pg_catalog.text] FROM part{i}")).collect();
    format!("WITH {} {}", parts.join(", "), counts.join(" UNION ALL "))
}

/// In which order the rows of a tenant are deleted.
#[derive(Debug)]
struct DeletionOrder<'a> {
    /// Foreign keys of the registry, whose columns are set to NULL first.
    cut: Vec<&'a SharedForeignKey>,
    /// The tables, each before those that it refers to.
    groups: Vec<DeletionGroup<'a>>,
}

/// Tables whose rows are deleted by one statement.
#[derive(Debug)]
enum DeletionGroup<'a> {
    /// By a statement for each batch of rows.
    Batches(&'a Table),
    /// By one statement: its rows may refer to each other, or it is partitioned.
    Whole(&'a Table),
    /// Tables that refer to each other in a circle, and those that these refer to. Foreign keys are checked at the end of
    /// the statement that deletes the rows of all of them.
    Circle(Vec<&'a Table>),
}

impl<'a> DeletionOrder<'a> {
    fn new(tables: &'a [Table], keys: &'a [SharedForeignKey], layout: &Layout) -> Self {
        let registry = layout.registry.as_str();
        let is_own =
            |table: &&Table| table.has_column && !table.is_exempt && !table.is_partition && table.name != registry;
        let mut left: Vec<&Table> = tables.iter().filter(is_own).collect();
        let keys: Vec<&SharedForeignKey> =
            keys.iter().filter(|key| key.referenced_schema == layout.schema.as_str()).collect();
        let to_itself = keys.iter().filter(|key| key.table_name == key.referenced_table);
        let refer_to_themselves: BTreeSet<&str> = to_itself.map(|key| key.table_name.as_str()).collect();
        let cut = keys.iter().copied().filter(|key| key.table_name == registry && key.is_nullable).collect();
        let mut groups = Vec::new();
        while !left.is_empty() {
            let is_referred_to = |table: &Table| {
                keys.iter().any(|key| {
                    key.referenced_table == table.name
                        && key.table_name != table.name
                        && left.iter().any(|other| other.name == key.table_name)
                })
            };
            match left.iter().position(|table| !is_referred_to(table)) {
                Some(next) => {
                    let table = left.remove(next);
                    let is_whole = table.is_partitioned || refer_to_themselves.contains(table.name.as_str());
                    groups.push(if is_whole { DeletionGroup::Whole(table) } else { DeletionGroup::Batches(table) });
                }
                None => groups.push(DeletionGroup::Circle(std::mem::take(&mut left))),
            }
        }
        Self { cut, groups }
    }
}
