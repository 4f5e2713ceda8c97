//! The text of a `schema.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::{Column, ForeignKey};

const HEADER: &str = "// @generated automatically by tenantry.\n";

/// The types outside `pg_catalog` that `diesel::sql_types` has.
const PROVIDED: [&str; 1] = ["citext"];

/// The types in `pg_catalog` that `diesel::sql_types` has. Others, such as `tsvector`, need a definition.
const BUILTIN: [&str; 41] = [
    "bit",
    "bool",
    "bpchar",
    "bytea",
    "char",
    "cidr",
    "date",
    "datemultirange",
    "daterange",
    "float4",
    "float8",
    "inet",
    "int2",
    "int4",
    "int4multirange",
    "int4range",
    "int8",
    "int8multirange",
    "int8range",
    "interval",
    "json",
    "jsonb",
    "macaddr",
    "macaddr8",
    "money",
    "numeric",
    "nummultirange",
    "numrange",
    "oid",
    "pg_lsn",
    "record",
    "text",
    "time",
    "timestamp",
    "timestamptz",
    "tsmultirange",
    "tsrange",
    "tstzmultirange",
    "tstzrange",
    "uuid",
    "varchar",
];

/// Words that are no names in Rust. A table or column with such a name gets an underscore.
const RUST_KEYWORDS: [&str; 52] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "Self", "static", "struct", "super", "trait",
    "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// The whole text. Every table has a primary key.
pub(super) fn schema(tables: &BTreeMap<String, Vec<Column>>, keys: &[ForeignKey]) -> String {
    let mut parts = vec![HEADER.to_owned()];
    parts.extend(custom_types(tables.values().flatten()));
    parts.extend(tables.iter().map(|(name, columns)| table(name, columns)));
    let keys: Vec<String> = keys
        .iter()
        .filter(|key| tables.contains_key(&key.child) && tables.contains_key(&key.parent))
        .map(|key| {
            let [child, parent, column] = [&key.child, &key.parent, &key.column_name].map(|name| rust_name(name));
            format!("diesel::joinable!({child} -> {parent} ({column}));\n")
        })
        .collect();
    if !keys.is_empty() {
        parts.push(keys.concat());
    }
    if tables.len() > 1 {
        let names: Vec<String> = tables.keys().map(|name| rust_name(name)).collect();
        let line = format!("diesel::allow_tables_to_appear_in_same_query!({},);\n", names.join(", "));
        // As rustfmt breaks the line.
        parts.push(if line.len() <= 101 {
            line
        } else {
            format!("diesel::allow_tables_to_appear_in_same_query!(\n    {},\n);\n", names.join(",\n    "))
        });
    }
    parts.join("\n")
}

/// The module `sql_types`, with the types that Diesel does not have.
fn custom_types<'a>(columns: impl Iterator<Item = &'a Column>) -> Option<String> {
    let types: BTreeSet<(&str, Option<&str>)> = columns
        .filter(|column| is_custom(column))
        .map(|column| (column.type_name.as_str(), column.type_schema.as_deref()))
        .collect();
    let definitions: Vec<String> = types
        .into_iter()
        .map(|(name, schema)| {
            let postgres_type = match schema {
                Some(schema) => format!("name = {name:?}, schema = {schema:?}"),
                // Each tenant has the type with another oid: the server infers which one.
                None => "oid = 0, array_oid = 0".to_owned(),
            };
            format!(
                "    #[derive(diesel::query_builder::QueryId, diesel::sql_types::SqlType)]\n    \
                 #[diesel(postgres_type({postgres_type}))]\n    pub struct {};\n",
                type_name(name)
            )
        })
        .collect();
    (!definitions.is_empty()).then(|| format!("pub mod sql_types {{\n{}}}\n", definitions.join("\n")))
}

fn table(name: &str, columns: &[Column]) -> String {
    let mut text = "diesel::table! {\n".to_owned();
    let custom: BTreeSet<String> =
        columns.iter().filter(|column| is_custom(column)).map(|column| type_name(&column.type_name)).collect();
    if !custom.is_empty() {
        text += "    use diesel::sql_types::*;\n";
        for name in custom {
            let _ = writeln!(text, "    use super::sql_types::{name};");
        }
        text.push('\n');
    }
    let rust = rust_name(name);
    if rust != name {
        let _ = writeln!(text, "    #[sql_name = {name:?}]");
    }
    let mut key: Vec<&Column> = columns.iter().filter(|column| column.key_position.is_some()).collect();
    key.sort_by_key(|column| column.key_position);
    let key: Vec<String> = key.into_iter().map(|column| rust_name(&column.column_name)).collect();
    let _ = writeln!(text, "    {rust} ({}) {{", key.join(", "));
    for column in columns {
        let rust = rust_name(&column.column_name);
        if rust != column.column_name {
            let _ = writeln!(text, "        #[sql_name = {:?}]", column.column_name);
        }
        if let Some(length) = column.max_length {
            let _ = writeln!(text, "        #[max_length = {length}]");
        }
        let _ = writeln!(text, "        {rust} -> {},", sql_type(column));
    }
    text + "    }\n}\n"
}

/// The type of a column, such as `Nullable<Array<Nullable<Text>>>`.
fn sql_type(column: &Column) -> String {
    let mut name = type_name(&column.type_name);
    if column.is_array {
        // PostgreSQL has no arrays whose elements cannot be NULL.
        name = format!("Array<Nullable<{name}>>");
    }
    if column.is_nullable { format!("Nullable<{name}>") } else { name }
}

fn is_custom(column: &Column) -> bool {
    let provided: &[&str] = if column.is_builtin { &BUILTIN } else { &PROVIDED };
    !provided.contains(&column.type_name.as_str())
}

/// `order_state` as `OrderState`.
fn type_name(name: &str) -> String {
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words
        .map(|word| {
            let mut letters = word.chars();
            letters.next().map(|first| first.to_uppercase().collect::<String>() + letters.as_str()).unwrap_or_default()
        })
        .collect()
}

/// A name as an identifier of Rust.
fn rust_name(name: &str) -> String {
    let mut rust: String = name.chars().map(|c| if c.is_alphanumeric() || c == '_' { c } else { '_' }).collect();
    if rust.starts_with(|c: char| c.is_ascii_digit()) {
        rust.insert(0, '_');
    }
    if RUST_KEYWORDS.contains(&rust.as_str()) {
        rust.push('_');
    }
    rust
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_rust_identifiers() {
        assert_eq!(rust_name("orders"), "orders");
        assert_eq!(rust_name("type"), "type_");
        assert_eq!(rust_name("two words"), "two_words");
        assert_eq!(rust_name("2nd"), "_2nd");
        assert_eq!(type_name("order_state"), "OrderState");
        assert_eq!(type_name("timestamptz"), "Timestamptz");
        assert_eq!(type_name("pg_lsn"), "PgLsn");
    }
}
