//! Conditions on the system catalogs that several queries share.

/// A condition that a schema contains a relation. `schema` is an SQL expression for its OID. The condition uses the index of
/// `pg_depend`, because `pg_class` has no index on the schema. The relation of a composite type depends on the type.
pub(crate) fn holds_relations(schema: &str) -> String {
    format!(
        "EXISTS (SELECT FROM pg_catalog.pg_depend AS d \
         WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass::pg_catalog.oid AND d.refobjid = {schema} \
         AND (d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid OR EXISTS (\
         SELECT FROM pg_catalog.pg_type AS y WHERE y.oid = d.objid AND y.tableoid = d.classid AND y.typrelid <> '0')))"
    )
}
