//! A run: its start, and the names of its sessions.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Oid, Text};

use super::schema_run;
use crate::database::{Database, FleetLock};
use crate::error::Error;
use crate::model::SchemaName;

/// A run in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(super) id: i64,
    /// Whether the server supports `client_connection_check_interval`.
    pub(super) detects_lost_clients: bool,
    /// An oid that the server assigned when the run began.
    pub(super) horizon: u32,
}

#[derive(QueryableByName)]
struct BegunRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Bool)]
    detects_lost_clients: bool,
    #[diesel(sql_type = Oid)]
    horizon: u32,
}

impl Run {
    /// Records the start of a run. `command` is its name if the actor has none.
    ///
    /// # Errors
    /// The server's error.
    pub(crate) fn begin(db: &mut Database, command: &str) -> Result<Self, Error> {
        let actor = db.actor().clone();
        let backend = db.fleet_lock.as_ref().map(FleetLock::backend);
        let migrations = db.migrations().map(str::to_owned);
        let row: BegunRow = sql_query(include_str!("begin.sql"))
            .bind::<Text, _>(actor.command.as_deref().unwrap_or(command))
            .bind::<Array<Text>, _>(&actor.arguments)
            .bind::<Text, _>(env!("CARGO_PKG_VERSION"))
            .bind::<Nullable<Text>, _>(actor.os_user.as_deref())
            .bind::<Nullable<Text>, _>(actor.host.as_deref())
            .bind::<Nullable<Integer>, _>(actor.pid.and_then(|pid| i32::try_from(pid).ok()))
            .bind::<Nullable<Integer>, _>(backend)
            .bind::<Nullable<Text>, _>(migrations)
            .bind::<Nullable<Text>, _>(actor.request.as_deref())
            .get_result(db.connection())
            .map_err(Error::doing("record the run in public.schema_run"))?;
        let run = Self { id: row.id, detects_lost_clients: row.detects_lost_clients, horizon: row.horizon };
        if let Some(lock) = &mut db.fleet_lock {
            lock.rename(run.session_name("fleet"));
        }
        Ok(run)
    }

    /// The `application_name` of a session that works on a schema: `tenantry/12 acme`, as the server shows it: truncated,
    /// and with `?` for every byte that is no printable ASCII character, which servers escape in different ways.
    pub(crate) fn application_name(self, schema: &SchemaName) -> String {
        const MAX_BYTES: usize = 63;
        let ascii = |byte: u8| if (b' '..=b'~').contains(&byte) { char::from(byte) } else { '?' };
        self.application_prefix().bytes().chain(schema.as_str().bytes()).map(ascii).take(MAX_BYTES).collect()
    }

    /// The prefix of [`application_name`](Self::application_name) for all schemas.
    pub(crate) fn application_prefix(self) -> String {
        format!("tenantry/{} ", self.id)
    }

    /// The `application_name` of a session with another purpose: `tenantry/12: fleet`.
    pub(crate) fn session_name(self, purpose: &str) -> String {
        format!("tenantry/{}: {purpose}", self.id)
    }

    /// Records the process ID of the server process that holds the lock of the fleet for the run.
    pub(crate) fn set_backend(self, conn: &mut PgConnection, backend: i32) -> QueryResult<()> {
        diesel::update(schema_run::table.find(self.id)).set(schema_run::backend.eq(backend)).execute(conn).map(|_| ())
    }

    /// The id of the run.
    pub(crate) fn id(self) -> i64 {
        self.id
    }

    /// Whether the server supports `client_connection_check_interval`.
    pub(crate) fn detects_lost_clients(self) -> bool {
        self.detects_lost_clients
    }

    /// An oid that the server assigned when the run began. Objects that the run creates have later oids. 0 means unknown.
    pub(crate) fn horizon(self) -> u32 {
        self.horizon
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_application_name_has_the_run_and_the_tenant() {
        let run = Run { id: 12, detects_lost_clients: true, horizon: 0 };
        assert_eq!(run.application_name(&"acme".parse().unwrap()), "tenantry/12 acme");
        assert_eq!(run.application_name(&"Ünï".parse().unwrap()), "tenantry/12 ??n??");
        let long = "x".repeat(63);
        let name = run.application_name(&long.parse().unwrap());
        assert_eq!((name.len(), name.starts_with("tenantry/12 xxx")), (63, true));
    }
}
