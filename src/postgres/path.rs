//! `search_path`: nothing outside this file sets it.
//!
//! PostgreSQL skips a schema on the path that does not exist without a word, so that statements meant for a tenant would
//! land in the next schema on it. Hence the guard, which goes in the same message as the path and ahead of everything
//! else: unless `current_schema()` is the one that is meant, it raises an error and nothing runs.

use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::sql_types::Text;
use diesel::{QueryResult, RunQueryDsl};

use crate::model::SchemaName;
use crate::sql::quote::{Identifier, Literal};

/// A schema, and the schemas of extensions behind it, as a `search_path`.
#[derive(Debug, Clone, Copy)]
pub struct SchemaPath<'a> {
    schema: &'a SchemaName,
    extensions: &'a [SchemaName],
}

/// What a guard says when `current_schema()` is not the one that is meant; see [`SchemaPath::guard`].
pub const WRONG_SCHEMA: &str = "tenantry: current_schema() is not the schema that is meant";

/// Sets a path for the transaction that leads to the catalog alone: what the server deparses then has its schema's name
/// before it, whatever else is there.
pub const CATALOG_FOR_TRANSACTION: &str = "SET LOCAL search_path TO pg_catalog, pg_temp;";

/// The same as a statement of PL/pgSQL, for the conditions behind [`SchemaPath::guard`].
pub(crate) const CATALOG_IN_BLOCK: &str = "PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);";

/// The startup options of every session, which `RESET` leads back to.
///
/// They make the same path the default. With the server's own, `"$user", public`, whoever may create objects in `public`
/// could have them found in place of the catalog's. Names that migrations quote by `format('%I', …)` are quoted alike,
/// whatever the role and the database are configured to.
pub(crate) const SESSION_OPTIONS: &str = "-c search_path=pg_catalog,pg_temp -c quote_all_identifiers=off";

impl<'a> SchemaPath<'a> {
    /// A path that leads to `schema`, and behind it to what extensions keep in theirs.
    pub fn new(schema: &'a SchemaName, extensions: &'a [SchemaName]) -> Self {
        Self { schema, extensions }
    }

    /// The schema that it leads to.
    pub fn schema(&self) -> &'a SchemaName {
        self.schema
    }

    /// The same without the schemas behind it.
    pub(crate) fn alone(&self) -> Self {
        Self { extensions: &[], ..*self }
    }

    /// Sets the path for the transaction; it ends with it, also behind a transaction pooler.
    pub fn set_for_transaction(&self) -> String {
        format!("SET LOCAL search_path TO {};", self.list())
    }

    /// Sets the path for the session, for what cannot run in a transaction. The session must be reset, or
    /// closed.
    pub fn set_for_session(&self) -> String {
        format!("SET search_path TO {};", self.list())
    }

    /// A condition in PL/pgSQL that raises [`WRONG_SCHEMA`] unless the path leads where it is meant to.
    pub fn guard(&self) -> String {
        let schema = Literal(self.schema.as_str());
        format!(
            "IF pg_catalog.current_schema() IS DISTINCT FROM {schema}::name THEN RAISE EXCEPTION '{}'; END IF;",
            // In the format of RAISE a quote is doubled; the message has none, nor a %.
            WRONG_SCHEMA
        )
    }

    /// The path of the moment, for [`restore`](Self::restore).
    pub(crate) fn current(conn: &mut PgConnection) -> QueryResult<String> {
        diesel::select(sql::<Text>("pg_catalog.current_setting('search_path')")).get_result(conn)
    }

    /// Sets a path again that was [`current`](Self::current), for the rest of the transaction.
    pub(crate) fn restore(conn: &mut PgConnection, path: &str) -> QueryResult<()> {
        let set = sql::<Text>("pg_catalog.set_config('search_path', ").bind::<Text, _>(path).sql(", true)");
        diesel::select(set).get_result::<String>(conn).map(|_| ())
    }

    /// Temporary objects of whoever had the session before come last: unnamed, `pg_temp` would come first.
    fn list(&self) -> String {
        let mut list = Identifier::from(self.schema).to_string();
        for extension in self.extensions {
            list.push_str(", ");
            list.push_str(&Identifier::from(extension).to_string());
        }
        list + ", pg_temp"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_the_schema_then_extensions_then_temporary_objects() {
        let schema: SchemaName = "Ac\"me".parse().unwrap();
        let extensions = ["public".parse().unwrap()];
        let path = SchemaPath::new(&schema, &extensions);
        assert_eq!(path.set_for_transaction(), "SET LOCAL search_path TO \"Ac\"\"me\", \"public\", pg_temp;");
        assert!(path.guard().starts_with("IF pg_catalog.current_schema() IS DISTINCT FROM 'Ac\"me'::name THEN"));
    }
}
