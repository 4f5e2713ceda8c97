//! The replay that commits, for migrations that no single transaction accepts.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;

use super::confined::{Check, Confined};
use super::replay::{FailedReplay, Messages, Replay, Replayed, TIMEOUTS, guard, run_migration, schema_oid};
use super::scratch::{self, Scratch};
use crate::database::Database;
use crate::error::{Error, ReferenceError};
use crate::migration::{Migration, Mode};
use crate::postgres::{Condition, ServerMessage, session};
use crate::schema::structure::Structure;
use crate::tenants::ledger;

impl Replay<'_> {
    /// Replays the migrations in a schema of their own and commits each. The schema is dropped afterwards.
    ///
    /// # Errors
    /// [`Error::NoReference`], or the server's error for one of tenantry's own statements.
    pub(super) fn run_with_commits(&self, db: &mut Database) -> Result<Replayed, Error> {
        if let Some(migration) = self.declared() {
            let folder = migration.folder().to_owned();
            return Err(Error::from(ReferenceError::CommitsOutside { folder }));
        }
        if !db.connector().has_dedicated_session()? {
            return Err(Error::from(ReferenceError::Pooler));
        }
        db.require_free_connection()?;
        let conn = db.connector().connect()?;
        let mut scratch = Scratch::create(conn, scratch::name(), self.set_role("SET"))
            .map_err(Error::doing("create the schema of the reference"))?;
        let replayed = self.run_in_scratch(&mut scratch);
        let dropped = scratch.drop().map_err(Error::doing("drop the schema of the reference"));
        let replayed = replayed?;
        dropped?;
        Ok(replayed)
    }

    fn run_in_scratch(&self, scratch: &mut Scratch) -> Result<Replayed, Error> {
        let doing = Error::doing("make the reference");
        let path = self.tenancy.path(&scratch.name);
        let conn = &mut scratch.conn;
        let confined =
            Confined { schema: &scratch.name, neighbours: self.tenancy.extension_schemas(), horizon: self.horizon };
        let settings =
            format!("{TIMEOUTS} {} {} {}", self.set_role("SET LOCAL"), path.set_for_transaction(), guard(path));
        conn.batch_execute(&ledger::create(&scratch.name)).map_err(&doing)?;
        let schema = schema_oid(conn, &scratch.name).map_err(&doing)?;
        let mut replayed = Replayed::default();
        for index in 0..=self.migrations.len() {
            conn.batch_execute("BEGIN").map_err(&doing)?;
            self.read(conn, schema, index, &mut replayed).map_err(&doing)?;
            conn.batch_execute("ROLLBACK").map_err(&doing)?;
            let Some(migration) = self.migration(index) else { break };
            let Err(error) = commit(conn, &settings, confined, migration) else { continue };
            return Err(match Condition::of(&error) {
                Some(Condition::ConnectionLost) => doing(error),
                Some(Condition::LockTimeout | Condition::Deadlock | Condition::Canceled) => {
                    Error::from(ReferenceError::Locked)
                }
                _ => {
                    conn.batch_execute("ROLLBACK").map_err(&doing)?;
                    self.explain(conn, FailedReplay { index, server: ServerMessage::from(&error) })
                }
            });
        }
        // tenantry's own comment, which no tenant has.
        for facts in replayed.structures.values_mut().filter_map(Structure::schema_facts) {
            facts.remove("comment");
        }
        Ok(replayed)
    }
}

/// Runs a migration and commits it, if it changed nothing outside the schema. A non-transactional migration is committed
/// statement by statement.
fn commit(conn: &mut PgConnection, settings: &str, confined: Confined<'_>, migration: &Migration) -> QueryResult<()> {
    let begin = format!("BEGIN; {}", confined.before());
    let run_deferred_triggers = format!("{settings} {}", session::RUN_DEFERRED_TRIGGERS);
    let end = |conn: &mut PgConnection| {
        if !migration.up().traits().is_plain {
            conn.batch_execute(&run_deferred_triggers)?;
        }
        confined.end(conn, migration, Check::Outside)?;
        conn.batch_execute("COMMIT")
    };
    match migration.mode() {
        Mode::Transactional => {
            conn.batch_execute(&begin)?;
            run_migration(conn, settings, migration, Messages::Server)?;
            end(conn)
        }
        Mode::NonTransactional => {
            migration.up().statements().iter().filter_map(|statement| statement.transactional_form()).try_for_each(
                |sql| {
                    conn.batch_execute(&format!("{begin} {settings}\n{sql}"))?;
                    end(conn)
                },
            )
        }
    }
}
