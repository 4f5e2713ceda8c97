//! `search_path`. Only this file sets it.
//!
//! PostgreSQL silently skips a schema on the path that does not exist, and statements for a tenant would run in the next
//! schema. Therefore each message that sets the path continues with a guard, which raises an error unless `current_schema()`
//! is the expected schema.

use super::{GuardViolation, Refusal};
use crate::model::SchemaName;
use crate::sql::quote::{Identifier, Literal, identifier_of};

/// A `search_path` of a schema and the extension schemas after it.
#[derive(Debug, Clone, Copy)]
pub struct SchemaPath<'a> {
    schema: &'a SchemaName,
    extensions: &'a [SchemaName],
}

/// The message of the error that [`SchemaPath::guard`] raises.
pub const WRONG_SCHEMA: &str = GuardViolation::WrongSchema.message();

/// Sets the path for the transaction to `pg_catalog` alone, so that names in deparsed expressions are qualified with their
/// schema.
pub const CATALOG_FOR_TRANSACTION: &str = "SET LOCAL search_path TO pg_catalog, pg_temp;";

/// The same as a PL/pgSQL statement, for the conditions after [`SchemaPath::guard`].
pub(crate) const CATALOG_IN_BLOCK: &str = "PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);";

/// The same as a clause of a function.
pub(crate) const CATALOG_OF_FUNCTION: &str = "SET search_path TO pg_catalog, pg_temp";

/// The startup options of every session; `RESET` restores their values.
///
/// With the server's default path, `"$user", public`, objects in `public` could be found instead of those in `pg_catalog`.
/// `quote_all_identifiers` makes `format('%I', …)` in migrations independent of the configuration of the role and the
/// database.
pub(crate) const SESSION_OPTIONS: &str = "-c search_path=pg_catalog,pg_temp -c quote_all_identifiers=off";

impl<'a> SchemaPath<'a> {
    /// The current path, as an SQL expression of the type `text`.
    pub(crate) const CURRENT: &'static str = "pg_catalog.current_setting('search_path')";

    /// A path of `schema` and the extension schemas.
    pub fn new(schema: &'a SchemaName, extensions: &'a [SchemaName]) -> Self {
        Self { schema, extensions }
    }

    /// The first schema on the path.
    pub fn schema(&self) -> &'a SchemaName {
        self.schema
    }

    /// The path without the extension schemas.
    pub(crate) fn alone(&self) -> Self {
        Self { extensions: &[], ..*self }
    }

    /// SQL that sets the path until the end of the transaction. Safe with a transaction pooler.
    pub fn set_for_transaction(&self) -> String {
        format!("SET LOCAL search_path TO {};", self.list())
    }

    /// SQL that sets the path for the session, for statements that cannot run in a transaction. The session must be reset or
    /// closed afterwards.
    pub fn set_for_session(&self) -> String {
        format!("SET search_path TO {};", self.list())
    }

    /// The startup option that sets the path for a session. The session must check it, because a pooler may ignore it.
    #[cfg(feature = "cli")]
    pub(crate) fn startup_option(&self) -> String {
        // White space separates options, and a backslash quotes it.
        let escaped = self.list().replace('\\', r"\\").replace(' ', r"\ ");
        format!("-c search_path={escaped}")
    }

    /// The clause of a function that sets the path while it runs.
    pub(crate) fn set_for_function(&self) -> String {
        format!("SET search_path TO {}", self.list())
    }

    /// SQL that sets the path for sessions of a role in a database.
    pub(crate) fn set_for_role(&self, role: &str, database: &str) -> String {
        let (role, database) = (Identifier::of_object(role), Identifier::of_object(database));
        format!("ALTER ROLE {role} IN DATABASE {database} SET search_path TO {}", self.list())
    }

    /// PL/pgSQL that raises [`WRONG_SCHEMA`] unless `current_schema()` is the schema of the path.
    pub fn guard(&self) -> String {
        self.refusal().in_block()
    }

    fn refusal(&self) -> Refusal {
        wrong_schema(&Literal(self.schema.as_str()).to_string())
    }

    /// Conditions that set the path, check it as [`guard`](Self::guard) does, and set it to `pg_catalog` again. `schema` is an
    /// SQL expression for the name of the schema.
    pub(crate) fn refusals(&self, schema: &str) -> [Refusal; 3] {
        let list = format!("{} || {}", identifier_of(schema), Literal(&self.rest()));
        [
            Refusal::setting("search_path", &list),
            wrong_schema(schema),
            Refusal::setting("search_path", "'pg_catalog, pg_temp'"),
        ]
    }

    /// SQL that restores a path read with [`CURRENT`](Self::CURRENT), until the end of the transaction.
    pub(crate) fn restore(path: &str) -> String {
        format!("SELECT pg_catalog.set_config('search_path', {}, true)", Literal(path))
    }

    fn list(&self) -> String {
        Identifier::from(self.schema).to_string() + &self.rest()
    }

    /// What follows the schema. `pg_temp` is last: if it is not listed, temporary objects are found first.
    fn rest(&self) -> String {
        let extensions: String =
            self.extensions.iter().map(|schema| format!(", {}", Identifier::from(schema))).collect();
        extensions + ", pg_temp"
    }
}

/// That `current_schema()` is another schema than the one with the name that an SQL expression gives.
fn wrong_schema(name: &str) -> Refusal {
    let condition = format!("pg_catalog.current_schema() IS DISTINCT FROM {name}::name");
    Refusal::new(GuardViolation::WrongSchema, condition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "cli")]
    fn a_path_is_the_schema_the_extensions_and_temporary_objects() {
        let schema: SchemaName = "Ac\"me".parse().unwrap();
        let extensions = ["public".parse().unwrap()];
        let path = SchemaPath::new(&schema, &extensions);
        assert_eq!(path.set_for_transaction(), "SET LOCAL search_path TO \"Ac\"\"me\", \"public\", pg_temp;");
        let option = path.startup_option();
        assert_eq!(option, r#"-c search_path="Ac""me",\ "public",\ pg_temp"#);
        assert!(path.guard().starts_with("IF pg_catalog.current_schema() IS DISTINCT FROM 'Ac\"me'::name THEN"));
    }
}
