//! The queries that read the catalogs: a template file for each kind of object, and three readings of each.
//!
//! A file is a template. The reading *in full* is for a few schemas: names in clear, deparsed definitions, found through
//! the dependencies' index. The reading *by hash* is for the whole fleet: cheap columns where they say the same, scans
//! instead of a look-up for each tenant, and the schema's own name removed everywhere, so that equal tenants have equal
//! rows. Two schemas with equal hashes have equal structures. Schemas with different hashes may have equal structures,
//! too, and are read in full.
//!
//! In a template
//! - `/*few … */` is for the full reading and `/*hash … */` for the hash readings; `/*fleet … */` is for hashing the fleet,
//!   and `/*part … */` for hashing the objects of the fleet in `$1`,
//! - `/*>=15 … */`, `/*<18 … */` and `/*15-16 … */` are for these major versions of the server,
//! - `sorted(array)` sorts an array,
//! - `grants(acl, type, owner, tenant_role)` is an access control list as text, and NULL for the default; `type` is as for
//!   `acldefault`. Privileges of `tenant_role`, the role of the tenant that has the schema, are not part of it: `health-check`
//!   compares them.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// A kind of reading; see the [module](self).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Reads a few schemas in full.
    Full,
    /// Hashes the fleet.
    HashFleet,
    /// Hashes some objects of the fleet: `$1` contains their oids instead of those of the schemas.
    HashPart,
}

/// A template with its properties.
pub(super) struct Section {
    /// The file's name.
    pub(super) name: &'static str,
    template: &'static str,
    /// The section is read only if one of these catalogs has an entry that depends on the schema; always if empty.
    pub(super) classes: &'static [&'static str],
    /// How the fleet is read in parts; `None` if it is read at once.
    pub(super) parts: Option<Parts>,
}

/// Reads a section in parts, because the server keeps memory or locks for each object that it deparses.
pub(super) struct Parts {
    /// The query for the objects' oids.
    pub(super) oids: &'static str,
    /// The number of objects per statement.
    pub(super) at_once: usize,
}

/// For views: deparsing locks each relation of the query until the transaction ends.
const LOCKING: usize = 200;

/// For expressions: deparsing loads the relation, which stays in memory until the session ends.
const LOADING: usize = 2_000;

macro_rules! section {
    ($name:literal, $classes:expr) => {
        Section {
            name: $name,
            template: include_str!(concat!("catalog/", $name, ".sql")),
            classes: $classes,
            parts: None,
        }
    };
    ($name:literal, $classes:expr, $at_once:expr, $oids:literal) => {
        Section {
            name: $name,
            template: include_str!(concat!("catalog/", $name, ".sql")),
            classes: $classes,
            parts: Some(Parts { oids: $oids, at_once: $at_once }),
        }
    };
}

const RELATIONS: &[&str] = &["pg_class"];
const TYPES: &[&str] = &["pg_type"];
const FUNCTIONS: &[&str] = &["pg_proc"];

/// The sections of a full reading, which are also hashed. The slowest come first, so that the readers finish at the same
/// time.
pub(super) static SECTIONS: [Section; 25] = [
    section!("column", &["pg_class", "pg_type"]),
    section!("sequence", RELATIONS),
    section!("constraint", RELATIONS),
    section!("index", RELATIONS),
    section!("table", RELATIONS),
    section!("type", TYPES),
    section!("trigger", RELATIONS),
    section!("function", FUNCTIONS),
    section!("domain_constraint", TYPES),
    section!(
        "view",
        RELATIONS,
        LOCKING,
        "SELECT c.oid FROM pg_class c WHERE c.relkind IN ('v', 'm') AND c.relnamespace = ANY ($1)"
    ),
    section!(
        "rule",
        RELATIONS,
        LOCKING,
        "SELECT r.oid FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class \
         WHERE c.relnamespace = ANY ($1) AND NOT (r.rulename = '_RETURN' AND r.ev_type = '1')"
    ),
    section!(
        "policy",
        RELATIONS,
        LOADING,
        "SELECT p.oid FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid WHERE c.relnamespace = ANY ($1)"
    ),
    section!("schema", &[]),
    section!("default_privileges", &["pg_default_acl"]),
    section!("operator", &["pg_operator"]),
    section!("operator_class", &["pg_opclass"]),
    section!("operator_family", &["pg_opfamily"]),
    section!("collation", &["pg_collation"]),
    section!("conversion", &["pg_conversion"]),
    section!("text_search", &["pg_ts_config", "pg_ts_dict", "pg_ts_parser", "pg_ts_template"]),
    section!("statistics", &["pg_statistic_ext"]),
    section!("publication", &["pg_class", "pg_publication_namespace"]),
    section!("extension", &["pg_extension"]),
    section!("cast", TYPES),
    section!("security_label", &["pg_seclabel"]),
];

/// The additional sections of a hash reading. In a full reading, other sections contain them.
pub(super) static EXPRESSIONS: [Section; 3] = [
    section!(
        "constraint_expression",
        RELATIONS,
        LOADING,
        "SELECT k.oid FROM pg_constraint k \
         WHERE k.conbin IS NOT NULL AND k.conrelid <> 0 AND k.connamespace = ANY ($1)"
    ),
    section!(
        "index_expression",
        RELATIONS,
        LOADING,
        "SELECT i.indexrelid AS oid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
         WHERE (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL) AND c.relnamespace = ANY ($1)"
    ),
    section!(
        "function_body",
        FUNCTIONS,
        LOCKING,
        "SELECT p.oid FROM pg_proc p WHERE p.prosqlbody IS NOT NULL AND p.pronamespace = ANY ($1)"
    ),
];

/// The beginning of every statement: the schemas in `$1`, and their relations.
pub(super) fn prelude(reading: Reading, major: i32) -> String {
    expand(include_str!("catalog/prelude.sql"), reading, major)
}

impl Section {
    /// The section as a subquery, for a statement that begins with the [`prelude`].
    pub(super) fn sql(&self, reading: Reading, major: i32) -> String {
        expand(self.template, reading, major)
    }
}

fn expand(template: &str, reading: Reading, major: i32) -> String {
    static VERSIONS: LazyLock<Regex> = LazyLock::new(|| regex(r"(?s)/\*(>=|<|(\d+)-)(\d+)\s(.*?)\*/"));
    static READINGS: LazyLock<Regex> = LazyLock::new(|| regex(r"(?s)/\*(few|hash|fleet|part)\s(.*?)\*/"));
    static SORTED: LazyLock<Regex> = LazyLock::new(|| regex(r"sorted\(([^()]+)\)"));
    static GRANTS: LazyLock<Regex> = LazyLock::new(|| regex(r"grants\(([^,()]+), ([^,()]+), ([^,()]+), ([^,()]+)\)"));

    // Versions first, because they may be nested in readings.
    let sql = VERSIONS.replace_all(template, |found: &Captures<'_>| {
        let number: i32 = found[3].parse().expect("digits");
        let applies = match &found[1] {
            ">=" => major >= number,
            "<" => major < number,
            _ => (found[2].parse().expect("digits")..=number).contains(&major),
        };
        if applies { found[4].to_owned() } else { String::new() }
    });
    let sql = READINGS.replace_all(&sql, |found: &Captures<'_>| {
        let applies = match &found[1] {
            "few" => reading == Reading::Full,
            "fleet" => reading == Reading::HashFleet,
            "part" => reading == Reading::HashPart,
            _ => reading != Reading::Full,
        };
        if applies { found[2].to_owned() } else { String::new() }
    });
    let sql = SORTED.replace_all(&sql, |found: &Captures<'_>| match reading {
        Reading::Full => sorted(&found[1]),
        Reading::HashFleet | Reading::HashPart => found[1].to_owned(),
    });
    GRANTS.replace_all(&sql, |found: &Captures<'_>| grants(&found[1], &found[2], &found[3], &found[4])).into_owned()
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a valid pattern")
}

fn sorted(array: &str) -> String {
    format!(
        "CASE WHEN {array} IS NOT NULL THEN (SELECT array_agg(v ORDER BY v COLLATE \"C\") FROM unnest({array}) v) END"
    )
}

/// The owner is not named: it is compared separately.
fn grants(acl: &str, object_type: &str, owner: &str, tenant_role: &str) -> String {
    let as_text = |acl: &str| {
        format!(
            "(SELECT coalesce(array_agg(x.granted ORDER BY x.granted COLLATE \"C\"), '{{}}') FROM (\
             SELECT CASE e.grantee WHEN 0 THEN 'PUBLIC' WHEN {owner} THEN '(owner)' \
             ELSE quote_ident(pg_get_userbyid(e.grantee)) END || ': ' \
             || string_agg(e.privilege_type || CASE WHEN e.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END, ', ' \
             ORDER BY e.privilege_type COLLATE \"C\", e.is_grantable) \
             || CASE WHEN e.grantor <> {owner} THEN ' by ' || quote_ident(pg_get_userbyid(e.grantor)) ELSE '' END AS granted \
             FROM aclexplode({acl}) e WHERE e.grantee IS DISTINCT FROM {tenant_role} OR e.grantee = {owner} \
             GROUP BY e.grantee, e.grantor) x)"
        )
    };
    let default = as_text(&format!("acldefault({object_type}, {owner})"));
    format!("CASE WHEN {acl} IS NOT NULL THEN nullif({}, {default}) END", as_text(acl))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn template_renders_for_each_server_version() {
        let template = "a /*few b /*>=15 c */ */ /*fleet d */ /*hash g */ /*<15 e */ /*15-16 f */";
        let words = |reading, major| -> Vec<String> {
            expand(template, reading, major).split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(words(Reading::Full, 14), ["a", "b", "e"]);
        assert_eq!(words(Reading::Full, 16), ["a", "b", "c", "f"]);
        assert_eq!(words(Reading::HashFleet, 18), ["a", "d", "g"]);
        assert_eq!(words(Reading::HashPart, 18), ["a", "g"]);
    }

    #[test]
    fn rendered_queries_contain_no_placeholders() {
        for reading in [Reading::Full, Reading::HashFleet, Reading::HashPart] {
            for major in 14..=18 {
                for section in SECTIONS.iter().chain(&EXPRESSIONS) {
                    let sql = section.sql(reading, major);
                    assert!(!sql.contains("/*") && !sql.contains("*/"), "{}: {sql}", section.name);
                    assert!(!sql.contains("grants(") && !sql.contains("sorted("), "{}: {sql}", section.name);
                }
            }
        }
    }
}
