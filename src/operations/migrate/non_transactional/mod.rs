//! Applies a migration that is not transactional, statement by statement.
//!
//! The tracker records which migration is in progress and how many of its statements have taken effect, so that an
//! interrupted migration is resumed. A statement that can run in a transaction runs in one with that record. The effect of
//! another statement is unknown if the connection is lost before its answer. For an index that is built or dropped
//! concurrently, the catalog then shows the effect (`index.rs`). Every other such statement (`VACUUM`, `REINDEX`, `DO`,
//! `CALL`) is run again.

mod index;
mod progress;

use diesel::connection::SimpleConnection;
use diesel::result::Error as DieselError;

use super::apply::{MigrationRequest, Then, becomes_active, execute, run_row};
use super::batch::{Batch, Precondition, TrackerRow, set_state, tracker_guard};
use super::explain;
use super::limits::{LockTimeout, limits};
use super::target::{Lasting, SchemaTarget};
use crate::confine::{self, Scrutiny};
use crate::error::{Effect, TenantError};
use crate::migration::{Kind, Migration};
use crate::model::{State, Unfinished};
use crate::postgres::{GuardViolation, ServerMessage, Session, path, session};
use crate::record::integrity::{self, LockScope};
use crate::run::{AttemptError, Commit};
use crate::sql::statement::Statement;
use crate::tenants::ledger::{self, Columns};

use progress::StatementProgress;

/// Applies one migration that is not transactional.
pub(super) fn run(
    session: &mut Session,
    request: &MigrationRequest<'_>,
    precondition: &Precondition,
    index: usize,
    then: Then,
) -> Result<(), AttemptError> {
    session.forgo_prepared();
    let migration = request.target.migration(index);
    let statements = migration.up().statements();
    let stepwise =
        Stepwise { target: request.target, index, migration, statements: &statements, commit: request.commit };
    let result =
        stepwise.statements(session, request, precondition).and_then(|()| stepwise.finish(session, request, then));
    // Building an index leaves nothing in the session. Other statements may leave settings that are not reset.
    let leaves_settings = !statements.iter().all(|statement| statement.is_plain() || statement.is_concurrent());
    if result.is_err() || leaves_settings {
        // The session may have a path, a lock or settings that the next user must not get.
        session.discard();
    }
    result
}

/// A migration that is applied statement by statement.
struct Stepwise<'a> {
    target: SchemaTarget<'a>,
    /// The migration's place in the set.
    index: usize,
    migration: &'a Migration,
    statements: &'a [Statement<'a>],
    commit: Commit,
}

/// What the first message of the migration checks.
#[derive(Clone, Copy)]
struct EntryChecks<'a> {
    precondition: &'a Precondition,
    /// The number of statements that have taken effect.
    done: usize,
}

/// What an earlier attempt may have left of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remains {
    /// Nothing.
    None,
    /// The statement failed. It may have left an index that is not valid.
    Failed,
    /// The answer of the server was lost. The statement may have taken effect.
    InDoubt,
}

impl Stepwise<'_> {
    /// Runs the statements that have not taken effect.
    fn statements(
        &self,
        session: &mut Session,
        request: &MigrationRequest<'_>,
        precondition: &Precondition,
    ) -> Result<(), AttemptError> {
        let version = self.migration.version().as_str();
        let resumed = request.unfinished.filter(|unfinished| unfinished.version == version);
        let done = resumed.map_or(0, |unfinished| unfinished.statements);
        if done > self.statements.len() {
            return Err(self.edited(done));
        }
        let mut entry = Some(EntryChecks { precondition, done });
        // What an earlier attempt left is examined under the lock. Otherwise the first statement's message acquires it.
        if resumed.is_some() || self.target.kind == Kind::Public || done == self.statements.len() {
            self.enter(session, entry.take())?;
        }
        for (number, statement) in self.statements.iter().enumerate().skip(done) {
            if self.runs_in_transaction(statement) {
                self.run_in_transaction(session, entry.take(), number, statement)?;
            } else if !index::has_taken_effect(self.target, session, statement, self.remains(number, resumed))? {
                self.run_alone(session, entry.take(), number, statement)?;
                // For the last one, the ledger row records it.
                if number + 1 < self.statements.len() {
                    execute(session, &self.progress(number + 1).note())?;
                }
            }
        }
        Ok(())
    }

    /// Acquires the tenant's lock and checks the tenant in a transaction of its own.
    fn enter(&self, session: &mut Session, entry: Option<EntryChecks<'_>>) -> Result<(), AttemptError> {
        let done = entry.map_or(0, |entry| entry.done);
        let batch = self.begin(entry).commit();
        session.batch_execute(batch.sql()).map_err(|error| match AttemptError::classify(&error) {
            Ok(error) => error,
            Err(server) if is_edited(&server) => self.edited(done),
            Err(server) => TenantError::Server(server).into(),
        })
    }

    /// What an earlier attempt may have left of a statement.
    fn remains(&self, number: usize, resumed: Option<&Unfinished>) -> Remains {
        match resumed.filter(|unfinished| unfinished.statements == number) {
            Some(unfinished) if unfinished.in_doubt => Remains::InDoubt,
            Some(_) => Remains::Failed,
            // No row records the progress of public migrations. An invalid index is of no use to anybody.
            None if self.target.kind == Kind::Public => Remains::Failed,
            None => Remains::None,
        }
    }

    /// Runs a statement and records the progress in one transaction.
    fn run_in_transaction(
        &self,
        session: &mut Session,
        entry: Option<EntryChecks<'_>>,
        number: usize,
        statement: &Statement<'_>,
    ) -> Result<(), AttemptError> {
        let scrutiny = self.scrutiny(statement);
        let mut batch = self.begin(entry);
        batch.inventory(self.target, scrutiny);
        batch.push(&self.target.enter());
        batch.script(number, statement.sql());
        // The locks of the session remain.
        if statement.is_plain() {
            batch.after_plain(self.target);
        } else {
            batch.after_code(session::Locks::None);
        }
        batch.confine(self.target, scrutiny, None);
        batch.push(&self.progress(number + 1).update());
        let batch = batch.commit();
        session.batch_execute(batch.sql()).map_err(|error| {
            self.error(session, number, statement, &error, |mut server| {
                let byte = server.character().and_then(|position| batch.locate(position)).map_or(0, |(_, byte)| byte);
                server.position = u32::try_from(statement.sql()[..byte].chars().count() + 1).ok();
                if statement.runs_code() && server.hint.is_none() {
                    let hint = "code that commits must be declared with changes_outside = \"REASON\" in metadata.toml";
                    server.hint = Some(hint.to_owned());
                }
                server
            })
        })
    }

    /// Runs a statement outside a transaction, after a message that records it and sets the path of the session.
    fn run_alone(
        &self,
        session: &mut Session,
        entry: Option<EntryChecks<'_>>,
        number: usize,
        statement: &Statement<'_>,
    ) -> Result<(), AttemptError> {
        let path = self.target.tenancy.path(self.target.schema);
        let mut batch = self.begin(entry);
        if let Some(condition) = self.is_inside(number, statement)? {
            batch.push(&path.set_for_transaction());
            batch.guard(&[condition]);
            batch.push(path::CATALOG_FOR_TRANSACTION);
        }
        batch.push(&self.progress(number).in_doubt().update());
        batch.push(&limits("SET", self.target, LockTimeout::Concurrent));
        batch.push(&self.target.as_owner(Lasting::Session).unwrap_or_default());
        // The path is set in the transaction whose guard checks it, and remains after the commit.
        batch.push(&path.set_for_session());
        batch.guard(&[path.guard()]);
        if self.commit == Commit::Deferred {
            batch.push("SET synchronous_commit TO off;");
        }
        let batch = batch.commit();
        session
            .batch_execute(batch.sql())
            .map_err(|error| self.error(session, number, statement, &error, |server| server))?;
        session.batch_execute(statement.sql()).map_err(|error| match AttemptError::classify(&error) {
            Ok(error) => error,
            Err(server) => {
                // The server answered: the statement failed. If that cannot be recorded, its effect stays in doubt.
                let _ = session.batch_execute(&self.progress(number).note());
                self.failed(number, statement, server)
            }
        })
    }

    /// The error of a message with a statement. `relate` relates the server's message to the statement, unless the statement
    /// changed objects outside the schema.
    fn error(
        &self,
        session: &mut Session,
        number: usize,
        statement: &Statement<'_>,
        error: &DieselError,
        relate: impl FnOnce(ServerMessage) -> ServerMessage,
    ) -> AttemptError {
        match AttemptError::classify(error) {
            Ok(error) => error,
            Err(server) => {
                let is_outside = GuardViolation::from_message(&server.message) == Some(GuardViolation::Outside);
                let server = if is_outside { server } else { relate(server) };
                self.failed(number, statement, confine::describe_violation(session, server))
            }
        }
    }

    /// Begins a transaction whose guard checks that the path leads to the schema; afterwards the path leads to the catalog.
    /// With an entry, it also acquires the lock for the session and checks the ledger, and that the statements that have taken
    /// effect are those of the migration.
    fn begin(&self, entry: Option<EntryChecks<'_>>) -> Batch {
        let schema = self.target.schema;
        let path = self.target.tenancy.path(schema);
        let mut batch = Batch::begin(self.target, self.commit);
        batch.push(&path.set_for_transaction());
        let mut conditions = vec![path.guard(), path::CATALOG_IN_BLOCK.to_owned()];
        let is_tenant = self.target.kind == Kind::Tenant;
        let is_tracked = is_tenant.then(|| tracker_guard(schema, TrackerRow::Known));
        let Some(EntryChecks { precondition, done }) = entry else {
            conditions.extend(is_tracked);
            batch.guard(&conditions);
            return batch;
        };
        if !is_tenant {
            batch.push(&ledger::create(schema));
        }
        conditions.push(self.target.lock_for_session());
        if is_tenant {
            conditions.push(integrity::guard(self.target.migrations(), &[self.index], LockScope::Session));
        }
        conditions.extend(is_tracked);
        if is_tenant {
            conditions.push(ledger::definition_guard(schema));
        }
        if let Precondition::Ledger { applied } | Precondition::Public { applied } = precondition {
            conditions.push(ledger::contents_guard(schema, applied, GuardViolation::Changed));
        }
        if done > 0 {
            conditions.push(self.progress(done).guard());
        }
        batch.guard(&conditions);
        batch
    }

    /// Records the migration in the ledger, clears its progress, and resets the session.
    fn finish(&self, session: &mut Session, request: &MigrationRequest<'_>, then: Then) -> Result<(), AttemptError> {
        let schema = self.target.schema;
        let mut batch = self.begin(None);
        if self.target.kind == Kind::Tenant {
            batch.guard(&[ledger::definition_guard(schema)]);
        }
        batch.push(&ledger::insert(schema, [self.migration.version().as_str()], Columns::Version));
        if self.target.kind == Kind::Tenant {
            batch.push(&progress::clear(schema));
            if then == Then::Complete && becomes_active(request) {
                batch.push(&set_state(schema, State::Active));
            }
        }
        if then == Then::Complete
            && let Some(row) = run_row(request)
        {
            batch.push(row.text());
        }
        let mut batch = batch.commit();
        batch.push(&session::reset(session::Locks::All));
        execute(session, batch.sql())
    }

    /// The progress of the migration after a number of statements.
    fn progress(&self, done: usize) -> StatementProgress<'_> {
        StatementProgress::new(self.target, self.migration, &self.statements[..done])
    }

    /// Whether the migration may change objects outside the schema.
    fn may_change_others(&self) -> bool {
        self.target.kind == Kind::Public || self.migration.outside_reason().is_some()
    }

    /// How closely the transaction of a statement is checked.
    fn scrutiny(&self, statement: &Statement<'_>) -> Scrutiny {
        let has_known_effects = statement.is_plain() && self.target.tenancy.extension_schemas().is_empty();
        if self.may_change_others() || has_known_effects { Scrutiny::None } else { Scrutiny::Thorough }
    }

    /// A condition, on the tenant's path, that the objects named in a statement are in the tenant's schema. The effect of a
    /// statement that runs in no transaction is committed before it can be checked.
    fn is_inside(&self, number: usize, statement: &Statement<'_>) -> Result<Option<String>, AttemptError> {
        if self.may_change_others() {
            return Ok(None);
        }
        let Some(names) = statement.target_relations() else {
            let message =
                "whether it changes objects outside the tenant's schema cannot be found out before it takes effect";
            let advice = "declare it with changes_outside = \"REASON\" in metadata.toml";
            let server = ServerMessage::of_guard(message, advice);
            return Err(self.failed(number, statement, server));
        };
        Ok(Some(names.iter().map(|name| confine::is_inside(self.target.schema, name)).collect()))
    }

    /// Whether a statement runs in a transaction. Code may end transactions. It runs alone if the migration may change objects
    /// outside.
    fn runs_in_transaction(&self, statement: &Statement<'_>) -> bool {
        statement.refused_in_transaction().is_none() && !(statement.runs_code() && self.may_change_others())
    }

    fn failed(&self, number: usize, statement: &Statement<'_>, server: ServerMessage) -> AttemptError {
        let effect = Effect::InEffect { statements: number, of: self.statements.len() };
        explain::statement_failure(self.migration, self.migration.up().text(), statement, server, effect).into()
    }

    /// The error of a migration whose first statements have taken effect and were edited since.
    fn edited(&self, statements: usize) -> AttemptError {
        TenantError::EditedMigration { folder: self.migration.folder().to_owned(), statements }.into()
    }
}

fn is_edited(server: &ServerMessage) -> bool {
    GuardViolation::from_message(&server.message) == Some(GuardViolation::Edited)
}
