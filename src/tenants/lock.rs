//! The advisory lock of a tenant.

use crate::model::SchemaName;
use crate::sql::quote::Literal;

/// An SQL expression for the key of the advisory lock that a session holds while it changes a schema. The server computes
/// the key, so that all sessions use the same one. Names that differ only in case share a key.
pub(crate) fn lock_key(schema: &SchemaName) -> String {
    lock_key_of(&Literal(schema.as_str()).to_string())
}

/// The same expression for a schema whose name is given as an SQL expression.
pub(crate) fn lock_key_of(name: &str) -> String {
    format!("pg_catalog.hashtextextended('tenantry:' || pg_catalog.lower({name}::text COLLATE \"C\"), 0::bigint)")
}
