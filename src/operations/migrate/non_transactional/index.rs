//! The effect of `CREATE INDEX CONCURRENTLY` and `DROP INDEX CONCURRENTLY`, as the catalog shows it.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Text};

use super::Remains;
use crate::operations::migrate::apply::execute;
use crate::operations::migrate::limits::{LockTimeout, limits};
use crate::operations::migrate::target::SchemaTarget;
use crate::postgres::Session;
use crate::run::AttemptError;
use crate::sql::quote::Identifier;
use crate::sql::statement::Statement;

/// Whether a statement of an earlier attempt has taken effect: its index exists and is valid, or was dropped. Drops an index
/// that is not valid, which a failed build left, so that it is built again.
pub(super) fn has_taken_effect(
    target: SchemaTarget<'_>,
    session: &mut Session,
    statement: &Statement<'_>,
    remains: Remains,
) -> Result<bool, AttemptError> {
    if remains == Remains::None {
        return Ok(false);
    }
    let in_doubt = remains == Remains::InDoubt;
    if let Some(name) = statement.dropped_index() {
        return Ok(in_doubt && find(target, session, &name)?.is_none());
    }
    let Some(name) = statement.concurrent_index() else { return Ok(false) };
    match find(target, session, &name)? {
        None => Ok(false),
        Some(Index { valid: true }) => Ok(in_doubt),
        Some(Index { valid: false }) => {
            let (schema, index) = (Identifier::from(target.schema), Identifier::of_object(&name));
            execute(session, &limits("SET", target, LockTimeout::Concurrent))?;
            execute(session, &format!("DROP INDEX CONCURRENTLY {schema}.{index}"))?;
            Ok(false)
        }
    }
}

#[derive(QueryableByName)]
struct Index {
    #[diesel(sql_type = Bool)]
    valid: bool,
}

fn find(target: SchemaTarget<'_>, conn: &mut PgConnection, name: &str) -> Result<Option<Index>, AttemptError> {
    sql_query(
        "SELECT indisvalid AND indisready AS valid FROM pg_catalog.pg_index \
         JOIN pg_catalog.pg_class ON pg_class.oid = indexrelid \
         WHERE relname = $1 AND relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $2)",
    )
    .bind::<Text, _>(name)
    .bind::<Text, _>(target.schema.as_str())
    .get_result(conn)
    .optional()
    .map_err(|error| AttemptError::from(&error))
}
