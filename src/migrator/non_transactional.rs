//! A migration that is not transactional: its statements go one by one through a session whose path is set, and surely
//! reset.
//!
//! The tracker remembers which migration is under way and how many of its statements have taken effect, so that a run
//! that was cut off at any moment is gone on with. Only the statement that was under way then is in doubt: it took
//! effect, or not, or it is a `CREATE INDEX CONCURRENTLY` that left an index behind which is not valid.

use std::ops::ControlFlow;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Text};

use super::apply::{Setback, Work, completion, own, setback};
use super::batch::{Batch, Kind, Opening, Target, TrackerRow, statement_timeout, tracker_guard};
use super::explain;
use crate::failure::{Effect, TenantError};
use crate::ledger;
use crate::migration::Migration;
use crate::postgres::{ServerMessage, Session, path};
use crate::sql::quote::{Identifier, Literal};
use crate::sql::statement::Statement;

/// Runs one migration that is not transactional. `last`: no other follows, and the tenant is then active.
pub(super) fn run(
    session: &mut Session,
    work: &Work<'_>,
    opening: &Opening,
    index: usize,
    last: bool,
) -> Result<(), Setback> {
    let result = statements(session, work, opening, index).and_then(|()| close(session, work, index, last));
    if result.is_err() {
        // It has a path and a lock that are not the next user's.
        session.spend();
    }
    result
}

fn statements(session: &mut Session, work: &Work<'_>, opening: &Opening, index: usize) -> Result<(), Setback> {
    let target = work.target;
    let migration = target.migration(index);
    let version = migration.version().as_str();
    let resumed = work.unfinished.filter(|unfinished| unfinished.version == version);
    let done = resumed.map_or(0, |unfinished| unfinished.statements);
    let statements = migration.up().statements();
    own(session, &enter(target, opening, version, done))?;
    for (number, statement) in statements.iter().enumerate().skip(done) {
        if number > done {
            own(
                session,
                &format!(
                    "{} {}",
                    target.tenancy.path(target.schema).set_for_session(),
                    progress(target, version, number)
                ),
            )?;
        }
        if resumed.is_some() && number == done && in_effect(session, target, statement)? {
            continue;
        }
        session.batch_execute(statement.sql()).map_err(|error| match setback(&error) {
            ControlFlow::Break(setback) => setback,
            ControlFlow::Continue(server) => failed(migration, statement, server, number, statements.len()),
        })?;
    }
    Ok(())
}

fn failed(migration: &Migration, statement: &Statement<'_>, server: ServerMessage, done: usize, of: usize) -> Setback {
    let effect = Effect::InEffect { statements: done, of };
    explain::alone(migration, migration.up().text(), statement, server, effect).into()
}

/// Takes the lock for the session, checks all that the guards check, notes what is begun, and sets the path.
fn enter(target: Target<'_>, opening: &Opening, version: &str, done: usize) -> String {
    let path = target.tenancy.path(target.schema);
    let mut batch = Batch::default();
    batch.push("BEGIN ISOLATION LEVEL READ COMMITTED;");
    batch.push(&path.set_for_transaction());
    let mut conditions = vec![target.lock_for_session(), path.guard()];
    if target.kind == Kind::Tenant {
        conditions.push(tracker_guard(target.schema, TrackerRow::Known));
    }
    if let Opening::Continue { applied } | Opening::Public { applied } = opening {
        conditions.push(ledger::guard(target.schema, applied, super::batch::CHANGED));
    }
    batch.guard(&conditions);
    batch.push(&progress(target, version, done));
    let mut batch = batch.commit();
    batch.push(&statement_timeout("SET", target.tenancy));
    batch.push(&path.set_for_session());
    // The guard again, on the path that the statements will have.
    batch.guard(&[path.guard()]);
    batch.sql().to_owned()
}

/// Records the migration, forgets its progress, and gives the session back as it was.
fn close(session: &mut Session, work: &Work<'_>, index: usize, last: bool) -> Result<(), Setback> {
    let target = work.target;
    let mut batch = Batch::default();
    batch.push("BEGIN ISOLATION LEVEL READ COMMITTED;");
    batch.push(&ledger::insert(target.schema, [target.migration(index).version().as_str()]));
    if target.kind == Kind::Tenant {
        batch.push(&format!(
            "UPDATE public.schema_tracker SET unfinished_version = NULL, unfinished_statements = NULL WHERE name = {};",
            Literal(target.schema.as_str())
        ));
    }
    if last && let Some(sql) = completion(work) {
        batch.push(&sql);
    }
    let mut batch = batch.commit();
    batch.push(path::RESET);
    batch.push("RESET statement_timeout;");
    batch.push(&format!("SELECT pg_advisory_unlock({});", target.lock_key()));
    own(session, batch.sql())
}

/// SQL that notes how many statements have taken effect. The public migrations have no row to note it in.
fn progress(target: Target<'_>, version: &str, done: usize) -> String {
    match target.kind {
        Kind::Public => String::new(),
        Kind::Tenant => format!(
            "UPDATE public.schema_tracker SET unfinished_version = {}, unfinished_statements = {done} WHERE name = {};",
            Literal(version),
            Literal(target.schema.as_str())
        ),
    }
}

/// Whether a statement that was under way when an earlier run was cut off has taken effect. Of an index that was built
/// concurrently the catalog tells; what is left of one that is not valid is dropped, to be built again.
fn in_effect(conn: &mut PgConnection, target: Target<'_>, statement: &Statement<'_>) -> Result<bool, Setback> {
    #[derive(QueryableByName)]
    struct Index {
        #[diesel(sql_type = Bool)]
        valid: bool,
    }
    let Some(name) = statement.concurrent_index() else { return Ok(false) };
    let found: Option<Index> = sql_query(
        "SELECT indisvalid AND indisready AS valid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid \
         WHERE relname = $1 AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $2)",
    )
    .bind::<Text, _>(&name)
    .bind::<Text, _>(target.schema.as_str())
    .get_result(conn)
    .optional()
    .map_err(|error| match setback(&error) {
        ControlFlow::Break(setback) => setback,
        ControlFlow::Continue(server) => Setback::Failed(TenantError::Server(server)),
    })?;
    match found {
        None => Ok(false),
        Some(Index { valid: true }) => Ok(true),
        Some(Index { valid: false }) => {
            let index = Identifier::of_object(&name);
            own(conn, &format!("DROP INDEX CONCURRENTLY {}.{index}", Identifier::from(target.schema)))?;
            Ok(false)
        }
    }
}
