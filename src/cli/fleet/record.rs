//! The record of a command on several servers, on the registry.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Integer, Nullable, Text};

use super::outcome::ServerOutcome;
use crate::cli::exit::Exit;
use crate::error::Error;

/// A recorded command.
#[derive(Debug, Clone, Copy)]
pub(super) struct FleetRun(i64);

impl FleetRun {
    /// Records that a command has started.
    pub(super) fn begin(conn: &mut PgConnection, command: &str) -> Result<Self, Error> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = BigInt)]
            id: i64,
        }
        let row: Row = sql_query("INSERT INTO public.schema_fleet_run (command) VALUES ($1) RETURNING id")
            .bind::<Text, _>(command)
            .get_result(conn)
            .map_err(Error::doing("record the run"))?;
        Ok(Self(row.id))
    }

    /// Records what the command did on a server.
    pub(super) fn server(self, conn: &mut PgConnection, outcome: &ServerOutcome) -> Result<(), Error> {
        let error = outcome.error.as_ref().map(|error| format!("{error:#}"));
        sql_query(
            "INSERT INTO public.schema_fleet_run_server (fleet_run, server, run, exit_code, not_reached, error) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind::<BigInt, _>(self.0)
        .bind::<Text, _>(outcome.server.name.as_str())
        .bind::<Nullable<BigInt>, _>(outcome.gathered.run())
        .bind::<Nullable<Integer>, _>(outcome.exit.map(|exit| i32::from(exit.code())))
        .bind::<BigInt, _>(i64::try_from(outcome.not_reached.len()).unwrap_or(i64::MAX))
        .bind::<Nullable<Text>, _>(error)
        .execute(conn)
        .map_err(Error::doing("record the run"))?;
        Ok(())
    }

    /// Records that the command has ended.
    pub(super) fn end(self, conn: &mut PgConnection, exit: Exit) -> Result<(), Error> {
        sql_query("UPDATE public.schema_fleet_run SET finished_at = pg_catalog.now(), exit_code = $2 WHERE id = $1")
            .bind::<BigInt, _>(self.0)
            .bind::<Integer, _>(i32::from(exit.code()))
            .execute(conn)
            .map_err(Error::doing("record the run"))?;
        Ok(())
    }
}
