//! The catalogs of changes that leave no lock in `pg_locks`: `CREATE`, `CREATE OR REPLACE` and `GRANT`. Changes outside the
//! tenant are found by the catalog rows that the transaction wrote.

use crate::model::SchemaName;
use crate::sql::quote::Literal;

/// A condition that finds objects outside the tenant in a catalog.
struct Class {
    /// The OID of the catalog in an object's address (`classid`).
    class: u32,
    /// The OID of the catalog whose rows are written.
    catalog: u32,
    /// The SQL after `FROM pg_catalog.`: `$1` is the tenant's schema, `$2` the horizon, an OID older than the transaction.
    rows: &'static str,
}

/// New objects. Objects of a table are not listed: the lock of the table shows them.
const CREATED: [Class; 27] = [
    class(1255, "pg_proc AS o WHERE o.oid > $2 AND o.pronamespace <> $1"),
    class(1247, "pg_type AS o WHERE o.oid > $2 AND o.typnamespace NOT IN ($1, pg_catalog.pg_my_temp_schema())"),
    class(2617, "pg_operator AS o WHERE o.oid > $2 AND o.oprnamespace <> $1"),
    class(2616, "pg_opclass AS o WHERE o.oid > $2 AND o.opcnamespace <> $1"),
    class(2753, "pg_opfamily AS o WHERE o.oid > $2 AND o.opfnamespace <> $1"),
    class(3456, "pg_collation AS o WHERE o.oid > $2 AND o.collnamespace <> $1"),
    class(2607, "pg_conversion AS o WHERE o.oid > $2 AND o.connamespace <> $1"),
    class(3602, "pg_ts_config AS o WHERE o.oid > $2 AND o.cfgnamespace <> $1"),
    class(3600, "pg_ts_dict AS o WHERE o.oid > $2 AND o.dictnamespace <> $1"),
    class(3601, "pg_ts_parser AS o WHERE o.oid > $2 AND o.prsnamespace <> $1"),
    class(3764, "pg_ts_template AS o WHERE o.oid > $2 AND o.tmplnamespace <> $1"),
    class(3381, "pg_statistic_ext AS o WHERE o.oid > $2 AND o.stxnamespace <> $1"),
    // Constraints of domains. The lock of the table shows its constraints.
    class(2606, "pg_constraint AS o WHERE o.oid > $2 AND o.conrelid = 0 AND o.connamespace <> $1"),
    class(826, "pg_default_acl AS o WHERE (o.oid > $2 OR o.defaclnamespace = 0) AND o.defaclnamespace <> $1"),
    class(
        2615,
        "pg_namespace AS o WHERE o.oid > $2 AND o.oid <> $1 AND NOT pg_catalog.starts_with(o.nspname::text, 'pg_')",
    ),
    // A cast belongs to the tenant if one of its types does.
    class(
        2605,
        "pg_cast AS o WHERE o.oid > $2 AND NOT EXISTS (SELECT FROM pg_catalog.pg_type AS t \
         WHERE t.oid IN (o.castsource, o.casttarget) AND t.typnamespace = $1)",
    ),
    class(1417, "pg_foreign_server AS o WHERE o.oid > $2"),
    class(1418, "pg_user_mapping AS o WHERE o.oid > $2"),
    class(2328, "pg_foreign_data_wrapper AS o WHERE o.oid > $2"),
    class(2601, "pg_am AS o WHERE o.oid > $2"),
    class(2612, "pg_language AS o WHERE o.oid > $2"),
    Class { class: 2613, catalog: 2995, rows: "pg_largeobject_metadata AS o WHERE o.oid > $2" },
    class(3079, "pg_extension AS o WHERE o.oid > $2"),
    class(3466, "pg_event_trigger AS o WHERE o.oid > $2"),
    class(3576, "pg_transform AS o WHERE o.oid > $2"),
    class(6104, "pg_publication AS o WHERE o.oid > $2"),
    class(6106, "pg_publication_rel AS o WHERE o.oid > $2"),
];

/// Objects that are changed without a lock (`CREATE OR REPLACE`, `GRANT`), in the schemas `$4` that a name may resolve to.
const REPLACED: [Class; 4] = [
    class(
        1259,
        "pg_namespace AS n JOIN pg_catalog.pg_depend AS d ON d.refclassid = 2615 AND d.refobjid = n.oid AND d.classid = 1259 \
         JOIN pg_catalog.pg_class AS o ON o.oid = d.objid WHERE n.nspname = ANY ($4) AND n.oid <> $1",
    ),
    class(
        1255,
        "pg_namespace AS n JOIN pg_catalog.pg_depend AS d ON d.refclassid = 2615 AND d.refobjid = n.oid AND d.classid = 1255 \
         JOIN pg_catalog.pg_proc AS o ON o.oid = d.objid WHERE n.nspname = ANY ($4) AND n.oid <> $1",
    ),
    class(
        1247,
        "pg_namespace AS n JOIN pg_catalog.pg_depend AS d ON d.refclassid = 2615 AND d.refobjid = n.oid AND d.classid = 1247 \
         JOIN pg_catalog.pg_type AS o ON o.oid = d.objid WHERE n.nspname = ANY ($4) AND n.oid <> $1",
    ),
    class(2615, "pg_namespace AS o WHERE o.nspname = ANY ($4) AND o.oid <> $1"),
];

const fn class(class: u32, rows: &'static str) -> Class {
    Class { class, catalog: class, rows }
}

/// An SQL list of `(class, catalog, rows)` for all classes.
pub(super) fn list() -> String {
    let row = |class: &Class| format!("({}::oid, {}::oid, {})", class.class, class.catalog, Literal(class.rows));
    CREATED.iter().chain(&REPLACED).map(row).collect::<Vec<_>>().join(", ")
}

/// An SQL array of the schemas other than the tenant's that a name in a migration may resolve to.
pub(super) fn neighbours(schemas: &[SchemaName]) -> String {
    let mut names: Vec<String> = schemas.iter().map(|name| Literal(name.as_str()).to_string()).collect();
    names.push("'public'".to_owned());
    format!("ARRAY[{}]::name[]", names.join(", "))
}
