//! Reads which sessions block the sessions of a run.

use std::time::Duration;

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Double, Nullable, Text};

use crate::error::BlockingSession;
use crate::record::runs::Run;

/// A session of the run that waits for a lock.
pub(super) struct Waiting {
    /// Its `application_name`.
    pub(super) session: String,
    /// How long it has waited for this lock.
    pub(super) waited: Duration,
    /// The phase of the concurrent build that it runs, as in `pg_stat_progress_create_index`.
    pub(super) phase: Option<String>,
    pub(super) blocked_by: Vec<BlockingSession>,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    waiting: String,
    #[diesel(sql_type = Double)]
    waited: f64,
    #[diesel(sql_type = Nullable<Text>)]
    phase: Option<String>,
    #[diesel(embed)]
    blocking: BlockingSession,
}

/// The sessions that wait, sorted by their `application_name`.
pub(super) fn read(conn: &mut PgConnection, run: Run) -> QueryResult<Vec<Waiting>> {
    let rows: Vec<Row> =
        sql_query(include_str!("blockers.sql")).bind::<Text, _>(run.application_prefix()).load(conn)?;
    let mut found: Vec<Waiting> = Vec::new();
    for Row { waiting, waited, phase, blocking } in rows {
        match found.last_mut().filter(|last| last.session == waiting) {
            Some(last) => last.blocked_by.push(blocking),
            None => {
                let waited = Duration::try_from_secs_f64(waited).unwrap_or_default();
                found.push(Waiting { session: waiting, waited, phase, blocked_by: vec![blocking] });
            }
        }
    }
    Ok(found)
}
