//! Detection of the pooling mode of a connection pooler.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Integer};

use super::Error;

/// The maximum number of connections that the detection opens.
const MAX_CONNECTIONS: usize = 32;

/// The number of new server sessions that prove that the idle session is dedicated to its client.
const NEW_SESSIONS: usize = 2;

/// Whether a pooler assigns a server session to each client connection until it closes (session mode).
///
/// The detection changes no setting, because another client may use the same session next. The first connection runs a
/// query and stays idle. Other connections then start a transaction each and keep it open, until one of these happens:
///
/// - A connection gets the session that ran the query. The pooler shares sessions.
/// - Two connections get sessions that the server started after the query, and the first session is still idle with that
///   query as its last one. The pooler did not reuse the idle session, so it is dedicated to the first connection. (One new
///   session is no proof: PgBouncer opens sessions in advance if `min_pool_size` is set.)
///
/// If neither happens, because the pooler has many idle sessions or has reached its limit, the result is `false`.
pub(super) fn has_dedicated_sessions(connect: impl Fn() -> Result<PgConnection, Error>) -> Result<bool, Error> {
    const DOING: &str = "detect the pooling mode";
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
    while others.len() < MAX_CONNECTIONS {
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
            // The session is shared, or another client has used it, or it has ended.
            _ => return Ok(false),
        }
        if new == NEW_SESSIONS {
            return Ok(true);
        }
        others.push(other);
    }
    Ok(false)
}
