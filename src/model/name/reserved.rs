//! The reserved words of PostgreSQL.

/// Whether `word`, in lower case, is reserved.
pub(super) fn is_reserved(word: &str) -> bool {
    WORDS.binary_search(&word).is_ok()
}

/// The result of `SELECT word FROM pg_get_keywords() WHERE catcode IN ('R', 'T') ORDER BY word COLLATE "C"` in PostgreSQL 14
/// and 15 (reserved words, and those reserved except as function or type names), and `system_user`, which version 16 added.
/// Versions 17 and 18 add none.
#[rustfmt::skip]
const WORDS: [&str; 101] = [
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "authorization", "binary", "both",
    "case", "cast", "check", "collate", "collation", "column", "concurrently", "constraint", "create", "cross",
    "current_catalog", "current_date", "current_role", "current_schema", "current_time", "current_timestamp",
    "current_user", "default", "deferrable", "desc", "distinct", "do", "else", "end", "except", "false", "fetch", "for",
    "foreign", "freeze", "from", "full", "grant", "group", "having", "ilike", "in", "initially", "inner", "intersect",
    "into", "is", "isnull", "join", "lateral", "leading", "left", "like", "limit", "localtime", "localtimestamp",
    "natural", "not", "notnull", "null", "offset", "on", "only", "or", "order", "outer", "overlaps", "placing",
    "primary", "references", "returning", "right", "select", "session_user", "similar", "some", "symmetric",
    "system_user", "table", "tablesample", "then", "to", "trailing", "true", "union", "unique", "user", "using",
    "variadic", "verbose", "when", "where", "window", "with",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_sorted_for_binary_search() {
        assert!(WORDS.is_sorted());
        assert!(WORDS.iter().all(|word| is_reserved(word)));
        assert!(!is_reserved("acme"));
    }
}
