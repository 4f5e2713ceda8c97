//! Finds the extension whose object a statement names, if the server reports that the object does not exist.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Bool, Text};

use super::target::SchemaTarget;
use crate::error::MissingExtension;
use crate::migration::Kind;
use crate::postgres::with_lock_timeout;

/// The SQLSTATEs of objects that do not exist: a type, an operator class, a collation or a text search object; a function or
/// an operator; a table.
const STATES: [&str; 3] = ["42704", "42883", "42P01"];

/// Objects that are known to come from an extension, by SQLSTATE: prefixes end with `*`.
const WELL_KNOWN: &[(&str, &str, &[&str])] = &[
    ("42704", "citext", &["citext"]),
    ("42704", "hstore", &["hstore"]),
    ("42704", "ltree", &["ltree", "lquery", "ltxtquery"]),
    ("42704", "cube", &["cube"]),
    ("42704", "isn", &["isbn", "isbn13", "issn", "issn13", "ismn", "ismn13", "ean13", "upc"]),
    ("42704", "intarray", &["gin__int_ops", "gist__int_ops", "gist__intbig_ops", "query_int"]),
    ("42704", "pg_trgm", &["gin_trgm_ops", "gist_trgm_ops"]),
    ("42704", "postgis", &["geometry", "geography", "box2d", "box3d"]),
    ("42704", "vector", &["vector", "halfvec", "sparsevec", "vector_l2_ops", "vector_cosine_ops", "vector_ip_ops"]),
    ("42704", "unaccent", &["unaccent"]),
    ("42883", "uuid-ossp", &["uuid_generate_*"]),
    ("42883", "pgcrypto", &["gen_random_bytes", "gen_salt", "crypt", "digest", "hmac", "pgp_*"]),
    ("42883", "pg_trgm", &["similarity", "word_similarity", "strict_word_similarity", "show_trgm"]),
    ("42883", "unaccent", &["unaccent"]),
    ("42883", "hstore", &["hstore"]),
    ("42883", "fuzzystrmatch", &["levenshtein", "soundex", "metaphone", "dmetaphone", "daitch_mokotoff"]),
    ("42883", "tablefunc", &["crosstab", "connectby", "normal_rand"]),
    ("42883", "earthdistance", &["earth_distance", "ll_to_earth", "earth_box"]),
    ("42883", "dblink", &["dblink", "dblink_*"]),
    ("42883", "postgis", &["st_*"]),
    ("42P01", "pg_stat_statements", &["pg_stat_statements"]),
    ("42P01", "postgis", &["spatial_ref_sys"]),
];

/// An error about an object that does not exist.
pub(super) struct MissingObject<'a> {
    state: &'static str,
    /// The names in both the message and the statement, in the order of the message.
    names: Vec<&'a str>,
}

impl<'a> MissingObject<'a> {
    /// What is missing, if an error of `sql` has the SQLSTATE of an object that does not exist. The message may be in any
    /// language: a name in it is recognized because the statement has it, too.
    pub(super) fn of(sqlstate: &str, message: &'a str, sql: &str) -> Option<Self> {
        let state = STATES.into_iter().find(|state| *state == sqlstate)?;
        let sql = sql.to_lowercase();
        let known: Vec<&str> = words(&sql).chain(operators(&sql)).map(|(_, word)| word).collect();
        // The second part of a qualified name is looked up in the schema that the statement names.
        let is_qualified = |at: usize| message[..at].ends_with(['.']) || message[..at].ends_with(".\"");
        let operators = operators(message).filter(|_| state == "42883");
        let names: Vec<&str> = words(message)
            .chain(operators)
            .filter(|(at, word)| known.contains(word) && !is_qualified(*at))
            .map(|(_, word)| word)
            .collect();
        (!names.is_empty()).then_some(Self { state, names })
    }

    /// What is missing for each SQLSTATE that the error may have.
    pub(super) fn in_any_state(message: &'a str, sql: &str) -> impl Iterator<Item = Self> {
        STATES.into_iter().filter_map(move |state| Self::of(state, message, sql))
    }

    /// The extension that has the object, installed in a schema that is not on the search path or not installed. Runs in a
    /// transaction of its own, which reads only. An error of the server means that nothing is known.
    pub(super) fn extension(&self, conn: &mut PgConnection, target: SchemaTarget<'_>) -> Option<MissingExtension> {
        let installed: Vec<InstalledRow> = with_lock_timeout(conn, |conn| {
            sql_query(include_str!("missing.sql"))
                .bind::<Array<Text>, _>(&self.names)
                .bind::<Text, _>(self.state)
                .load(conn)
        })
        .ok()?;
        let is_on_path = |row: &InstalledRow| {
            let extensions = target.tenancy.extension_schemas();
            row.schema == "pg_catalog"
                || row.schema == target.schema.as_str()
                || extensions.iter().any(|extension| extension.as_str() == row.schema)
        };
        for name in &self.names {
            let rows: Vec<&InstalledRow> = installed.iter().filter(|row| row.name == *name).collect();
            // It exists on the path, and other types than its own were given.
            if rows.iter().any(|row| is_on_path(row)) {
                return None;
            }
            if let Some(row) = rows.first() {
                return Some(MissingExtension::NotOnPath {
                    object: row.name.clone(),
                    extension: row.extension.clone(),
                    schema: row.schema.clone(),
                });
            }
        }
        self.names.iter().find_map(|name| self.available(conn, target, name))
    }

    /// The well-known extension with the object, if it is available on the server and not installed.
    fn available(&self, conn: &mut PgConnection, target: SchemaTarget<'_>, name: &str) -> Option<MissingExtension> {
        let has = |known: &&str| known.strip_suffix('*').map_or(*known == name, |prefix| name.starts_with(prefix));
        let (_, extension, _) =
            WELL_KNOWN.iter().find(|(state, _, names)| *state == self.state && names.iter().any(&has))?;
        let row: AvailableRow = with_lock_timeout(conn, |conn| {
            sql_query(
                "SELECT pg_catalog.current_database()::pg_catalog.text AS database, v.trusted OR NOT v.superuser AS trusted \
                 FROM pg_catalog.pg_available_extensions AS e \
                 JOIN pg_catalog.pg_available_extension_versions AS v ON v.name = e.name AND v.version = e.default_version \
                 WHERE e.name = $1::pg_catalog.name AND e.installed_version IS NULL",
            )
            .bind::<Text, _>(*extension)
            .get_result(conn)
        })
        .ok()?;
        let schema = match (target.kind, target.tenancy.extension_schemas().first()) {
            (_, Some(schema)) => Some(schema.as_str().to_owned()),
            (Kind::Public, None) => Some("public".to_owned()),
            (Kind::Tenant, None) => None,
        };
        let AvailableRow { database, trusted } = row;
        let (object, extension) = (name.to_owned(), (*extension).to_owned());
        Some(MissingExtension::NotInstalled { object, extension, database, trusted, schema })
    }
}

#[derive(QueryableByName)]
struct InstalledRow {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    extension: String,
    #[diesel(sql_type = Text)]
    schema: String,
}

#[derive(QueryableByName)]
struct AvailableRow {
    #[diesel(sql_type = Text)]
    database: String,
    #[diesel(sql_type = Bool)]
    trusted: bool,
}

/// The words of a text and where they begin.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    runs(text, |c| c.is_alphanumeric() || c == '_' || c == '$')
}

/// The runs of operator characters of a text and where they begin.
fn operators(text: &str) -> impl Iterator<Item = (usize, &str)> {
    runs(text, |c| "+-*/<>=~!@#%^&|`?".contains(c))
}

fn runs(text: &str, is_part: impl Fn(char) -> bool) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices(is_part)
        .fold(Vec::<(usize, &str)>::new(), move |mut runs, (at, part)| {
            match runs.last_mut() {
                Some((start, run)) if *start + run.len() == at => *run = &text[*start..at + part.len()],
                _ => runs.push((at, part)),
            }
            runs
        })
        .into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(sqlstate: &str, message: &str, sql: &str) -> Vec<String> {
        let missing = MissingObject::of(sqlstate, message, sql);
        missing.map_or_else(Vec::new, |missing| missing.names.into_iter().map(str::to_owned).collect())
    }

    #[test]
    fn names_are_found_in_messages_of_any_language() {
        let sql = "CREATE TABLE a (b CITEXT DEFAULT 'x')";
        assert_eq!(names("42704", "type \"citext\" does not exist", sql), ["citext"]);
        assert_eq!(names("42704", "Typ »citext« existiert nicht", sql), ["citext"]);
        assert_eq!(names("42704", "type \"ext.citext\" does not exist", sql), [""; 0]);
        assert_eq!(names("42601", "syntax error at or near \"citext\"", sql), [""; 0]);
        assert_eq!(names("42883", "operator does not exist: text % unknown", "SELECT a % 'b'"), ["%"]);
        let similar = "SELECT similarity(a, b)";
        assert_eq!(names("42883", "function similarity(text, text) does not exist", similar), ["similarity"]);
    }
}
