//! Statements on tables in which a tenant may have planted code, with rights that the code cannot extend.
//!
//! A statement runs code of the tables that it uses: triggers, policies, and the functions in expressions of indexes and
//! constraints, which the server evaluates as soon as it plans a query. `SET ROLE` does not contain such code, because it can
//! `RESET ROLE`. In a `SECURITY DEFINER` function the server refuses to change the role. So the statements are executed by
//! such a function, which exists only in their transaction.

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{Array, Text};

use super::session::RUN_DEFERRED_TRIGGERS;
use super::{SchemaPath, path};
use crate::model::SchemaName;
use crate::sql::quote::Identifier;

/// A function that executes statements with the rights of its owner.
pub(crate) struct ContainedStatements {
    /// Its qualified name.
    function: String,
}

impl ContainedStatements {
    /// Creates the function in a schema, with only the catalog on its search path. The current role owns it.
    pub(crate) fn create(conn: &mut PgConnection, schema: &SchemaName) -> QueryResult<Self> {
        Self::create_in(conn, &Identifier::from(schema).to_string(), path::CATALOG_OF_FUNCTION, "")
    }

    /// Creates the function in the first schema of a search path, which it has, too. The current role owns it.
    pub(crate) fn create_on_path(conn: &mut PgConnection, path: SchemaPath<'_>) -> QueryResult<Self> {
        let schema = Identifier::from(path.schema()).to_string();
        Self::create_in(conn, &schema, &path.set_for_function(), &path.guard())
    }

    /// `guard` is PL/pgSQL that runs before each statement.
    fn create_in(conn: &mut PgConnection, schema: &str, set_path: &str, guard: &str) -> QueryResult<Self> {
        let function = format!("{schema}.tenantry_{:016x}", fastrand::u64(..));
        // Deferred triggers would run at the commit, with the rights of the connected role.
        conn.batch_execute(&format!(
            "CREATE FUNCTION {function}(statement text, arguments text[]) RETURNS SETOF text[] LANGUAGE plpgsql \
             SECURITY DEFINER {set_path} AS $tenantry$ BEGIN {guard} \
             IF arguments IS NULL THEN EXECUTE statement; ELSE RETURN QUERY EXECUTE statement USING arguments; END IF; \
             {RUN_DEFERRED_TRIGGERS} END $tenantry$"
        ))?;
        Ok(Self { function })
    }

    /// Gives the function to another role, with whose rights its statements run. Requires a superuser.
    pub(crate) fn give_to(&self, conn: &mut PgConnection, role: Identifier<'_>) -> QueryResult<()> {
        conn.batch_execute(&format!("ALTER FUNCTION {}(text, text[]) OWNER TO {role}", self.function))
    }

    /// Executes a statement that returns arrays of texts. It refers to the arguments as `($1)[1]` and so on.
    pub(crate) fn rows(
        &self,
        conn: &mut PgConnection,
        statement: &str,
        arguments: &[&str],
    ) -> QueryResult<Vec<Vec<String>>> {
        let call = sql::<Array<Text>>(&format!("SELECT * FROM {}(", self.function))
            .bind::<Text, _>(statement)
            .sql(", ")
            .bind::<Array<Text>, _>(arguments)
            .sql(")");
        call.load(conn)
    }

    /// Executes a statement that returns nothing.
    pub(crate) fn execute(&self, conn: &mut PgConnection, statement: &str) -> QueryResult<()> {
        let call =
            sql::<Array<Text>>(&format!("SELECT * FROM {}(", self.function)).bind::<Text, _>(statement).sql(", NULL)");
        call.load::<Vec<String>>(conn).map(|_| ())
    }

    /// Drops the function, so that it does not outlive the transaction.
    pub(crate) fn drop(self, conn: &mut PgConnection) -> QueryResult<()> {
        conn.batch_execute(&format!("DROP FUNCTION {}(text, text[])", self.function))
    }
}

/// With which rights a [`ContainedReader`] reads tables.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ReadingRights<'a> {
    /// The tables are read by the connected role, a superuser, who sees all rows. Code of the tables runs as a new role that
    /// has no privileges.
    Superuser,
    /// The tables are read and their code runs with the rights of a role, which may create a function in the schema.
    Role { role: Identifier<'a>, schema: &'a SchemaName },
}

/// Evaluates an SQL expression that reads tables, in the transaction that is open, and undoes all of it. Returns its value as
/// text, or the server's error, after which the transaction is usable.
///
/// # Errors
/// The connection was lost.
pub(crate) fn evaluate(
    conn: &mut PgConnection,
    rights: ReadingRights<'_>,
    expression: &str,
) -> QueryResult<QueryResult<String>> {
    conn.batch_execute("SAVEPOINT tenantry_reader")?;
    let value = match ContainedReader::create(conn, rights) {
        Ok(reader) => reader.evaluate(conn, expression, None)?,
        Err(error) => Err(error),
    };
    conn.batch_execute("ROLLBACK TO SAVEPOINT tenantry_reader; RELEASE SAVEPOINT tenantry_reader")?;
    Ok(value)
}

/// Evaluates SQL expressions that read tables.
pub(crate) struct ContainedReader {
    statements: ContainedStatements,
    /// The schema and the role without privileges, of the same name.
    powerless: Option<String>,
}

impl ContainedReader {
    /// Creates what it needs in the open transaction, which must be rolled back. The role of [`ReadingRights::Role`] remains
    /// set until then. An error aborts the transaction.
    pub(crate) fn create(conn: &mut PgConnection, rights: ReadingRights<'_>) -> QueryResult<Self> {
        match rights {
            ReadingRights::Superuser => {
                let name = format!("tenantry_reader_{:016x}", fastrand::u64(..));
                conn.batch_execute(&format!(
                    "CREATE ROLE {name}; CREATE SCHEMA {name}; GRANT USAGE ON SCHEMA {name} TO {name}"
                ))?;
                let statements = ContainedStatements::create_in(conn, &name, path::CATALOG_OF_FUNCTION, "")?;
                statements.give_to(conn, Identifier::of_object(&name))?;
                Ok(Self { statements, powerless: Some(name) })
            }
            ReadingRights::Role { role, schema } => {
                conn.batch_execute(&format!("SET LOCAL ROLE {role}"))?;
                Ok(Self { statements: ContainedStatements::create(conn, schema)?, powerless: None })
            }
        }
    }

    /// Evaluates an expression. Returns its value as text, or the server's error, after which the transaction is usable.
    /// The timeout is in milliseconds.
    ///
    /// # Errors
    /// The connection was lost.
    pub(crate) fn evaluate(
        &self,
        conn: &mut PgConnection,
        expression: &str,
        statement_timeout: Option<u32>,
    ) -> QueryResult<QueryResult<String>> {
        conn.batch_execute("SAVEPOINT tenantry_expression")?;
        let value = self.evaluate_once(conn, expression, statement_timeout);
        // The settings are those of before, too.
        conn.batch_execute("ROLLBACK TO SAVEPOINT tenantry_expression; RELEASE SAVEPOINT tenantry_expression")?;
        Ok(value)
    }

    fn evaluate_once(
        &self,
        conn: &mut PgConnection,
        expression: &str,
        statement_timeout: Option<u32>,
    ) -> QueryResult<String> {
        let mut begin = String::new();
        if let Some(timeout) = statement_timeout {
            begin.push_str(&format!("SET LOCAL statement_timeout TO {timeout};"));
        }
        let statement = match &self.powerless {
            // A view reads its tables with the rights of its owner, and nothing else. To create it plans nothing.
            Some(name) => {
                begin.push_str(&format!(
                    "CREATE VIEW {name}.answer AS SELECT ({expression})::pg_catalog.text AS value; \
                     GRANT SELECT ON {name}.answer TO {name};"
                ));
                format!("SELECT ARRAY[value] FROM {name}.answer")
            }
            None => format!("SELECT ARRAY[({expression})::pg_catalog.text]"),
        };
        begin.push_str("SET LOCAL transaction_read_only TO on");
        conn.batch_execute(&begin)?;
        let rows = self.statements.rows(conn, &statement, &[])?;
        rows.into_iter().flatten().next().ok_or(diesel::result::Error::NotFound)
    }
}
