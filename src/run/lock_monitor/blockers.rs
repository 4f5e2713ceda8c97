//! Reads which sessions block the sessions of a run.

use std::collections::HashMap;

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Text;

use crate::error::BlockingSession;
use crate::record::runs::Run;

/// The blocking sessions by the `application_name` of the session that waits.
pub(super) fn read(conn: &mut PgConnection, run: Run) -> QueryResult<HashMap<String, Vec<BlockingSession>>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        waiting: String,
        #[diesel(embed)]
        blocking: BlockingSession,
    }
    let rows: Vec<Row> =
        sql_query(include_str!("blockers.sql")).bind::<Text, _>(run.application_prefix()).load(conn)?;
    let mut found: HashMap<String, Vec<BlockingSession>> = HashMap::new();
    for row in rows {
        found.entry(row.waiting).or_default().push(row.blocking);
    }
    Ok(found)
}
