//! Cancels the statements of a run.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Text;

use crate::record::runs::Run;

/// Cancels the statements in progress. It is repeated until the run has ended, because a message may have more statements.
pub(super) fn cancel(conn: &mut PgConnection, run: Run) -> QueryResult<()> {
    sql_query(
        "SELECT pg_catalog.pg_cancel_backend(pid) FROM pg_catalog.pg_stat_activity \
         WHERE datname = pg_catalog.current_database() AND state = 'active' \
         AND pg_catalog.starts_with(application_name, $1) AND pid <> pg_catalog.pg_backend_pid()",
    )
    .bind::<Text, _>(run.application_prefix())
    .execute(conn)
    .map(|_| ())
}
