//! The record of commands on several servers, on the registry.

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz};
use serde::Serialize;

use crate::error::Error;

/// A command on several servers.
#[derive(Debug, Clone, Serialize)]
pub struct JointRun {
    /// Its id.
    pub id: i64,
    /// The command, such as `migrate-all`.
    pub command: String,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it ended; `None` if it did not, or was killed.
    pub finished_at: Option<DateTime<Utc>>,
    /// Its exit status.
    pub exit_code: Option<i32>,
    /// What it did on each server, by name.
    pub servers: Vec<ServerRun>,
}

/// What a command on several servers did on one of them.
#[derive(Debug, Clone, Serialize, QueryableByName)]
pub struct ServerRun {
    #[diesel(sql_type = BigInt)]
    #[serde(skip)]
    fleet_run: i64,
    /// The server.
    #[diesel(sql_type = Text)]
    pub server: String,
    /// The run in the server's own record, if it has one.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub run: Option<i64>,
    /// The exit status; `None` if the server was not reached, or the command was not started there.
    #[diesel(sql_type = Nullable<Integer>)]
    pub exit_code: Option<i32>,
    /// The number of tenants of a server that was not reached.
    #[diesel(sql_type = BigInt)]
    pub not_reached: i64,
    /// The error that ended it.
    #[diesel(sql_type = Nullable<Text>)]
    pub error: Option<String>,
}

/// The newest commands on several servers, at most `last`, newest first.
///
/// # Errors
/// The server's error.
pub fn runs(conn: &mut PgConnection, last: usize) -> Result<Vec<JointRun>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        id: i64,
        #[diesel(sql_type = Text)]
        command: String,
        #[diesel(sql_type = Timestamptz)]
        started_at: DateTime<Utc>,
        #[diesel(sql_type = Nullable<Timestamptz>)]
        finished_at: Option<DateTime<Utc>>,
        #[diesel(sql_type = Nullable<Integer>)]
        exit_code: Option<i32>,
    }
    let doing = Error::doing("read the record of runs");
    let rows: Vec<Row> = sql_query(
        "SELECT id, command, started_at, finished_at, exit_code FROM public.schema_fleet_run ORDER BY id DESC LIMIT $1",
    )
    .bind::<BigInt, _>(i64::try_from(last).unwrap_or(i64::MAX))
    .load(conn)
    .map_err(&doing)?;
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let servers: Vec<ServerRun> = sql_query(
        "SELECT fleet_run, server, run, exit_code, not_reached, error FROM public.schema_fleet_run_server \
         WHERE fleet_run = ANY ($1) ORDER BY server COLLATE \"C\"",
    )
    .bind::<Array<BigInt>, _>(&ids)
    .load(conn)
    .map_err(&doing)?;
    let of = |row: Row| JointRun {
        servers: servers.iter().filter(|server| server.fleet_run == row.id).cloned().collect(),
        id: row.id,
        command: row.command,
        started_at: row.started_at,
        finished_at: row.finished_at,
        exit_code: row.exit_code,
    };
    Ok(rows.into_iter().map(of).collect())
}
