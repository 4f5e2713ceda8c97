//! The properties that differences can have, which are the second part of their codes.

/// The properties of objects that are compared, by their names in codes. Not every kind of object has every property.
pub const PROPERTIES: &[&str] = &[
    "access-method",
    "aggregate",
    "arguments",
    "base",
    "body",
    "cache",
    "check",
    "clustered",
    "collation",
    "collations",
    "column-order",
    "columns",
    "command",
    "comment",
    "compression",
    "cost",
    "cycle",
    "default",
    "definition",
    "depends-on-extensions",
    "dictionaries",
    "enabled",
    "expression",
    "expressions",
    "extensions",
    "force-row-security",
    "foreign-options",
    "function",
    "generated",
    "grants",
    "identity",
    "increment",
    "inherited",
    "inherits",
    "label",
    "labels",
    "language",
    "leakproof",
    "library",
    "live",
    "local",
    "mappings",
    "maximum",
    "members",
    "method",
    "minimum",
    "not-null",
    "not-null-is",
    "of-type",
    "options",
    "ordering",
    "owned-by",
    "owner",
    "parallel",
    "partition-bound",
    "partition-key",
    "partition-of",
    "permissive",
    "predicate",
    "range",
    "ready",
    "replica-identity",
    "result",
    "roles",
    "row-security",
    "rows",
    "security-definer",
    "security-options",
    "server",
    "settings",
    "sql-body",
    "start",
    "statistics",
    "storage",
    "strict",
    "support",
    "switched-off",
    "tablespace",
    "target",
    "toast-options",
    "transforms",
    "type",
    "unlogged",
    "using",
    "valid",
    "validated",
    "version",
    "volatility",
    "window",
];

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use regex::Regex;

    use super::*;

    /// Names in the queries of the catalog that are no properties of an object.
    const OTHERS: &[&str] = &[
        "class",
        "classes",
        "constraint",
        "ddl",
        "function_schema",
        "has_expression",
        "has_expressions",
        "has_predicate",
        "key_columns",
        "kind",
        "name",
        "on",
        "own",
        "parents",
        "position",
        "schema",
        "switched",
        "target_schema",
        "tenant_role",
        "text",
        "token",
    ];

    #[test]
    fn every_property_in_the_queries_is_listed() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/schema/structure/catalog");
        let name = Regex::new(r#"(?m)\bAS\s+"?([a-z_]+)"?\s*(?:,|/\*|\*/|\)|$)|^\s+\w+\.(grants|label|definition),?$"#)
            .unwrap();
        let mut files = 0;
        for entry in fs::read_dir(directory).unwrap() {
            let file = entry.unwrap().path();
            files += 1;
            for found in name.captures_iter(&fs::read_to_string(&file).unwrap()) {
                let name = found.get(1).or(found.get(2)).unwrap().as_str();
                let slug = name.replace('_', "-");
                let known = PROPERTIES.contains(&slug.as_str()) || OTHERS.contains(&name);
                assert!(known, "{name} of {} is not in PROPERTIES", file.display());
            }
        }
        assert!(files > 20, "{files}");
        assert!(PROPERTIES.is_sorted());
    }
}
