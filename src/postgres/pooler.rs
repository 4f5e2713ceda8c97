//! Which kind of pooler is between the client and the server.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Integer};

use super::Error;

/// How many connections are opened at most to find out.
const MOST: usize = 32;

/// How many new sessions show that the idle one is kept.
const ENOUGH: usize = 2;

/// Whether a pooler gives each connection a session of the server for as long as the connection lives.
///
/// Nothing is set in any session, since it may be another client's next. Instead, one connection runs a query and stays idle.
/// Then others each begin a transaction, and keep it open, until one of two things happens:
///
/// - One of them has the session that ran the query. The pooler shares sessions.
/// - Two of them have sessions that the server started for them, while the session that ran the query is still idle and that
///   query is its last. The pooler had an idle session and did not use it: it is kept for the first connection. (One alone may
///   be a session that the pooler opened in advance, as PgBouncer does with `min_pool_size`.)
///
/// Neither happens if the pooler has many idle sessions, or may open no more. Then the answer is no.
pub(super) fn keeps_sessions_apart(connect: impl Fn() -> Result<PgConnection, Error>) -> Result<bool, Error> {
    const DOING: &str = "find out which kind of pooler is before the server";
    let mark = uuid::Uuid::new_v4().simple().to_string();
    let mut first = connect()?;
    #[derive(QueryableByName)]
    struct First {
        #[diesel(sql_type = Integer)]
        pid: i32,
    }
    let First { pid } = sql_query(format!("SELECT pg_catalog.pg_backend_pid() AS pid /* {mark} */"))
        .get_result(&mut first)
        .map_err(Error::doing(DOING))?;

    #[derive(QueryableByName)]
    struct Other {
        #[diesel(sql_type = Bool)]
        is_first: bool,
        #[diesel(sql_type = Bool)]
        is_new: bool,
        #[diesel(sql_type = Bool)]
        first_is_idle: bool,
    }
    let mut others = Vec::new();
    let mut new = 0;
    while others.len() < MOST {
        let Ok(mut other) = connect() else { return Ok(false) };
        if other.batch_execute("BEGIN").is_err() {
            return Ok(false);
        }
        let query = format!(
            "SELECT own.pid = {pid} AS is_first, own.backend_start > first.query_start AS is_new, \
             first.state = 'idle' AND pg_catalog.strpos(first.query, '{mark}') > 0 AS first_is_idle \
             FROM pg_catalog.pg_stat_activity AS own, pg_catalog.pg_stat_activity AS first \
             WHERE own.pid = pg_catalog.pg_backend_pid() AND first.pid = {pid}"
        );
        let found: Option<Other> = sql_query(query).get_result(&mut other).optional().map_err(Error::doing(DOING))?;
        match found {
            Some(Other { is_first: false, is_new, first_is_idle: true }) => new += usize::from(is_new),
            // It is shared, or another client has used it meanwhile, or it is gone.
            _ => return Ok(false),
        }
        if new == ENOUGH {
            return Ok(true);
        }
        others.push(other);
    }
    Ok(false)
}
