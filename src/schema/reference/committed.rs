//! The replay that commits, for migrations that no single transaction takes.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;

use super::confined::Confined;
use super::replay::{Failure, Played, Run, Stop, TIMEOUTS, guard, locked, oid, run};
use super::scratch::{self, Scratch};
use crate::database::Database;
use crate::error::{Error, ReferenceError};
use crate::migration::{Migration, Mode};
use crate::postgres::{Condition, ServerMessage};
use crate::schema::structure::Structure;
use crate::tenants::ledger;

impl Run<'_> {
    /// Replays the migrations in a schema that is dropped afterwards, and commits each.
    pub(super) fn in_schema_of_its_own(&self, db: &mut Database) -> Result<Played, Stop> {
        if let Some(migration) = self.declared() {
            let folder = migration.folder().to_owned();
            return Err(Stop::Unavailable(ReferenceError::CommitsOutside { folder }));
        }
        if !db.connector().has_dedicated_session()? {
            return Err(Stop::Unavailable(ReferenceError::NotAllowed(
                "the migrations must be committed one by one, which needs a direct connection and not a pooler's",
            )));
        }
        db.require_free_connection()?;
        let conn = db.connector().connect()?;
        let mut scratch = Scratch::create(conn, scratch::name(), self.role("SET"))
            .map_err(Error::doing("create the schema of the reference"))?;
        let played = self.committed(&mut scratch);
        let dropped = scratch.drop().map_err(Error::doing("drop the schema of the reference"));
        let played = played?;
        dropped?;
        Ok(played)
    }

    fn committed(&self, scratch: &mut Scratch) -> Result<Played, Stop> {
        let own = Error::doing("make the reference");
        let path = self.tenancy.path(&scratch.name);
        let conn = &mut scratch.conn;
        let confined =
            Confined { schema: &scratch.name, neighbours: self.tenancy.extension_schemas(), horizon: self.horizon };
        let set = format!("{TIMEOUTS} {} {} {}", self.role("SET LOCAL"), path.set_for_transaction(), guard(path));
        conn.batch_execute(&ledger::create(&scratch.name)).map_err(&own)?;
        let schema = oid(conn, &scratch.name).map_err(&own)?;
        let mut played = Played::default();
        for place in 0..=self.migrations.len() {
            conn.batch_execute("BEGIN").map_err(&own)?;
            self.read(conn, schema, place, &mut played).map_err(&own)?;
            conn.batch_execute("ROLLBACK").map_err(&own)?;
            let Some(migration) = self.migration(place) else { break };
            let Err(error) = commit(conn, &set, confined, migration) else { continue };
            return Err(match Condition::of(&error) {
                Some(Condition::ConnectionLost) => Stop::Error(own(error)),
                Some(Condition::LockTimeout | Condition::Deadlock | Condition::Canceled) => locked(),
                _ => {
                    conn.batch_execute("ROLLBACK").map_err(&own)?;
                    self.failed(conn, Failure { place, server: ServerMessage::from(&error) })
                }
            });
        }
        // The comment is Tenantry's own: it names the purpose of the schema.
        for facts in played.structures.values_mut().filter_map(Structure::schema_facts) {
            facts.remove("comment");
        }
        Ok(played)
    }
}

/// Runs a migration and commits it, if it changed nothing outside the schema. One that is not transactional is committed
/// statement by statement.
fn commit(conn: &mut PgConnection, set: &str, confined: Confined<'_>, migration: &Migration) -> QueryResult<()> {
    let begin = format!("BEGIN; {}", confined.before());
    let end = |conn: &mut PgConnection| {
        confined.end(conn, migration, true)?;
        conn.batch_execute("COMMIT")
    };
    match migration.mode() {
        Mode::Transactional => {
            conn.batch_execute(&begin)?;
            run(conn, set, migration, false)?;
            end(conn)
        }
        Mode::NonTransactional => {
            migration.up().statements().iter().filter_map(|statement| statement.transactional_form()).try_for_each(
                |sql| {
                    conn.batch_execute(&format!("{begin} {set}\n{sql}"))?;
                    end(conn)
                },
            )
        }
    }
}
