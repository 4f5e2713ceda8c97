//! Rows that an attempt inserts. All columns have values, so that no default advances a sequence.

use crate::model::TenantId;
use crate::probe::targets::{ProbedRelation, RowValues};
use crate::sql::quote::Identifier;

/// A row to insert: the statement up to `VALUES (…)`, and its parameters.
pub(super) struct NewRow {
    pub(super) insert: String,
    pub(super) parameters: RowValues,
}

/// Why no row is written.
pub(super) const LASTING: &str = "a trigger of the table may do what a rollback does not undo";

/// Why rows cannot be inserted into a table without a lasting effect.
pub(super) fn obstacle(relation: &ProbedRelation) -> Option<String> {
    if relation.has_lasting_effects {
        return Some(LASTING.to_owned());
    }
    let (may, may_not): (Vec<_>, Vec<_>) = relation.columns.iter().partition(|column| column.is_insertable);
    match may_not.first() {
        // Without any privilege, the server refuses the statement.
        Some(column) if !may.is_empty() => {
            Some(format!("the role may not write column {}, whose default may advance a sequence", column.name))
        }
        _ => None,
    }
}

/// The statement that inserts a row.
pub(super) fn insert(relation: &ProbedRelation, parameters: RowValues) -> NewRow {
    let columns: Vec<String> =
        relation.columns.iter().map(|column| Identifier::of_object(&column.name).to_string()).collect();
    let values: Vec<String> = (1..=parameters.len()).map(|number| format!("${number}")).collect();
    let insert = format!(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({})",
        relation.qualified(),
        columns.join(", "),
        values.join(", ")
    );
    NewRow { insert, parameters }
}

/// The values of a row with another tenant.
pub(super) fn of_tenant(relation: &ProbedRelation, values: &RowValues, column: &str, tenant: TenantId) -> RowValues {
    let value = |(found, value): (&crate::probe::targets::ProbedColumn, &Option<String>)| {
        if found.name == column { Some(tenant.to_string()) } else { value.clone() }
    };
    relation.columns.iter().zip(values).map(value).collect()
}

/// The values of a row with invented ones in some columns.
pub(super) fn with_invented(relation: &ProbedRelation, values: &RowValues, columns: &[String]) -> RowValues {
    let value = |(found, value): (&crate::probe::targets::ProbedColumn, &Option<String>)| {
        let invented = if columns.contains(&found.name) { invent(&found.base_type) } else { None };
        invented.or_else(|| value.clone())
    };
    relation.columns.iter().zip(values).map(value).collect()
}

/// Invented values for the columns that need one, and `given` ones. Columns that refer to other tables take the value of `own`,
/// a row of the same tenant, if they need one.
///
/// # Errors
/// The column that has no value.
pub(super) fn invented(
    relation: &ProbedRelation,
    given: &[(&str, String)],
    own: Option<&RowValues>,
) -> Result<RowValues, String> {
    let value = |(at, column): (usize, &crate::probe::targets::ProbedColumn)| {
        if let Some((_, value)) = given.iter().find(|(name, _)| *name == column.name) {
            return Ok(Some(value.clone()));
        }
        if !column.is_not_null {
            return Ok(None);
        }
        let of_own = || own.and_then(|row| row.get(at).cloned().flatten());
        let value = if column.refers { of_own() } else { invent(&column.base_type).or_else(of_own) };
        value.map(Some).ok_or_else(|| format!("no value of column {} of {} is known", column.name, relation.name))
    };
    relation.columns.iter().enumerate().map(value).collect()
}

/// A value that is unlikely to exist.
fn invent(base_type: &str) -> Option<String> {
    let random = uuid::Uuid::new_v4();
    let number = random.as_u128();
    Some(match base_type {
        "smallint" => (number % 30_000 + 1).to_string(),
        "integer" => (number % 2_000_000_000 + 1).to_string(),
        "bigint" => (number % 4_000_000_000_000_000_000 + 4_000_000_000_000_000_000).to_string(),
        "numeric" | "real" | "double precision" | "money" => "1".to_owned(),
        "text" | "character varying" | "character" | "name" | "citext" => random.simple().to_string()[..12].to_owned(),
        "uuid" => random.to_string(),
        "boolean" => "false".to_owned(),
        "date" | "timestamp without time zone" | "timestamp with time zone" => "2026-01-15".to_owned(),
        "time without time zone" | "time with time zone" => "12:00".to_owned(),
        "interval" => "1 day".to_owned(),
        "json" | "jsonb" => "{}".to_owned(),
        "bytea" => String::new(),
        "inet" | "cidr" => "192.0.2.1".to_owned(),
        other if other.ends_with("[]") => "{}".to_owned(),
        _ => return None,
    })
}
