//! Conditions on the catalogs that several statements share.

/// A condition that a schema, given by an SQL expression for its oid, holds a relation. The index of `pg_depend` leads to
/// them, as `pg_class` has none on the schema alone; the relation of a composite type depends on the type.
pub(crate) fn holds_relations(schema: &str) -> String {
    format!(
        "EXISTS (SELECT FROM pg_catalog.pg_depend AS d \
         WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass::pg_catalog.oid AND d.refobjid = {schema} \
         AND (d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid OR EXISTS (\
         SELECT FROM pg_catalog.pg_type AS y WHERE y.oid = d.objid AND y.tableoid = d.classid AND y.typrelid <> '0')))"
    )
}
