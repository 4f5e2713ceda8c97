//! What crosses from one tenant to another: values that only rows of one tenant contain, and keys of rows to refer to.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Text};

use super::rows::TableReader;
use super::{Marker, OwnChanges, ProbedColumn, ProbedRelation, Protection};
use crate::error::Error;
use crate::model::TenantId;
use crate::rows::Layout;
use crate::sql::quote::{Identifier, Literal};

/// The lengths of values that can be recognized.
const MARKER: std::ops::RangeInclusive<usize> = 8..=200;

/// A foreign key, and a row of another tenant that a row could refer to.
#[derive(Debug, Clone)]
pub(in crate::probe) struct CrossReference {
    pub(in crate::probe) table: String,
    pub(in crate::probe) name: String,
    /// The tenant that attempts work for.
    pub(in crate::probe) own: Option<TenantId>,
    /// The columns besides the tenant's, with the values of the other tenant's row; `None` without such a row.
    pub(in crate::probe) values: Option<Vec<(String, String)>>,
}

/// Whether values of a column can be recognized in another text. Those that refer to other tables are in these, too.
pub(super) fn is_text(column: &ProbedColumn) -> bool {
    ["text", "character varying", "character", "uuid"].contains(&column.base_type.as_str()) && !column.refers
}

/// Whether a value is unlikely to be a word that others use, too, and is printed unchanged as part of a row.
pub(super) fn is_recognizable(value: &str) -> bool {
    let is_word = !value.contains(|c: char| c.is_ascii_digit() || c == '@');
    MARKER.contains(&value.len()) && !is_word && !value.contains(['"', '\\'])
}

/// The number of rows with a value, at most 2; `None` if it is not known.
fn occurrences(
    conn: &mut PgConnection,
    tables: &TableReader,
    table: &ProbedRelation,
    column: &ProbedColumn,
    value: &str,
) -> Result<Option<i64>, Error> {
    let query = format!(
        "SELECT ARRAY[count(*)::text] AS cells FROM (SELECT FROM {} WHERE {} = {}::{} LIMIT 2) AS found",
        table.qualified(),
        Identifier::of_object(&column.name),
        Literal(value),
        column.base_type
    );
    let rows = tables.rows(conn, &query)?.unwrap_or_default();
    Ok(rows.into_iter().flatten().flatten().next().and_then(|number| number.parse().ok()))
}

/// The values that only rows of one tenant contain: the id of the tenant, and texts of its first row.
pub(super) fn markers(
    conn: &mut PgConnection,
    tables: &TableReader,
    relations: &[ProbedRelation],
) -> Result<Vec<Marker>, Error> {
    let mut markers: Vec<Marker> = Vec::new();
    for relation in relations {
        let Protection::OwnRows { column, aim, .. } = &relation.protection else { continue };
        let (Some(other), Some(row)) = (aim.other, aim.rows.first()) else { continue };
        if let TenantId::Uuid(id) = other {
            markers.push(Marker { tenant: Some(other), text: id.to_string(), own_rows: None });
        }
        for (value, found) in row.iter().zip(&relation.columns) {
            let Some(value) = value else { continue };
            if !is_text(found) || !is_recognizable(value) || found.name == *column {
                continue;
            }
            if occurrences(conn, tables, relation, found, value)? == Some(1) {
                markers.push(Marker { tenant: Some(other), text: value.clone(), own_rows: None });
            }
        }
    }
    markers.dedup();
    Ok(markers)
}

/// The foreign keys between tables with rows of tenants, each with a row of another tenant to refer to.
pub(super) fn references(
    conn: &mut PgConnection,
    tables: &TableReader,
    layout: &Layout,
    relations: &[ProbedRelation],
) -> Result<Vec<CrossReference>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        table_name: String,
        #[diesel(sql_type = Text)]
        name: String,
        #[diesel(sql_type = Text)]
        referenced: String,
        #[diesel(sql_type = Array<Text>)]
        columns: Vec<String>,
        #[diesel(sql_type = Array<Text>)]
        referenced_columns: Vec<String>,
    }
    let keys: Vec<Row> = sql_query(
        "SELECT c.relname::text AS table_name, k.conname::text AS name, r.relname::text AS referenced, \
         ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS item (number, place) \
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = item.number ORDER BY item.place) AS columns, \
         ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS item (number, place) \
             JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = item.number ORDER BY item.place) \
             AS referenced_columns \
         FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class r ON r.oid = k.confrelid \
         JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE k.contype = 'f' AND k.conparentid = 0 AND n.nspname = $1 AND r.relnamespace = n.oid \
         ORDER BY c.relname::text COLLATE \"C\", k.conname::text COLLATE \"C\"",
    )
    .bind::<Text, _>(layout.schema.as_str())
    .load(conn)
    .map_err(Error::doing("read the foreign keys of the shared tables"))?;
    let mut found = Vec::new();
    for key in keys {
        let table = |name: &str| {
            relations.iter().find(|it| it.schema == layout.schema.as_str() && it.name == name && it.is_table())
        };
        let (Some(child), Some(parent)) = (table(&key.table_name), table(&key.referenced)) else { continue };
        let (
            Protection::OwnRows { column, aim, changes: OwnChanges::Allowed },
            Protection::OwnRows { aim: parent_aim, changes: OwnChanges::Allowed, .. },
        ) = (&child.protection, &parent.protection)
        else {
            continue;
        };
        // The tenant's own column is not chosen by the row.
        let pairs: Vec<(&String, &String)> =
            key.columns.iter().zip(&key.referenced_columns).filter(|(own, _)| *own != column).collect();
        let other = [parent_aim.other, parent_aim.own].into_iter().flatten().find(|id| Some(*id) != aim.own);
        let values = match (aim.own, other) {
            (Some(own), Some(other)) if !pairs.is_empty() => {
                let referenced: Vec<&str> = pairs.iter().map(|(_, referenced)| referenced.as_str()).collect();
                key_of(conn, tables, parent, (column, &referenced), (own, other))?
            }
            _ => None,
        };
        let values = values.map(|values| pairs.iter().map(|(own, _)| (*own).clone()).zip(values).collect());
        found.push(CrossReference { table: key.table_name.clone(), name: key.name.clone(), own: aim.own, values });
    }
    Ok(found)
}

/// A key of a row of another tenant that the tenant itself does not have.
fn key_of(
    conn: &mut PgConnection,
    tables: &TableReader,
    table: &ProbedRelation,
    (column, key): (&str, &[&str]),
    (own, other): (TenantId, TenantId),
) -> Result<Option<Vec<String>>, Error> {
    let tenant_type = table.columns.iter().find(|it| it.name == column).map_or("text", |it| it.data_type.as_str());
    let tenant = Identifier::of_object(column);
    let names: Vec<String> = key.iter().map(|name| Identifier::of_object(name).to_string()).collect();
    let of_other: Vec<String> = names.iter().map(|name| format!("pg_catalog.concat(p.{name})")).collect();
    let matches: Vec<String> = names.iter().map(|name| format!("a.{name} = p.{name}")).collect();
    let exists: Vec<String> = names.iter().map(|name| format!("p.{name} IS NOT NULL")).collect();
    let query = format!(
        "SELECT ARRAY[{}] AS cells FROM {table} AS p WHERE p.{tenant} = {}::{tenant_type} AND {} \
         AND NOT EXISTS (SELECT FROM {table} AS a WHERE a.{tenant} = {}::{tenant_type} AND {}) LIMIT 1",
        of_other.join(", "),
        Literal(&other.to_string()),
        exists.join(" AND "),
        Literal(&own.to_string()),
        matches.join(" AND "),
        table = table.qualified(),
    );
    let rows = tables.rows(conn, &query)?.unwrap_or_default();
    Ok(rows.into_iter().next().map(|cells| cells.into_iter().flatten().collect()))
}
