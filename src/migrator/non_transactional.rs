//! A migration that is not transactional: its statements go one by one, each for itself.
//!
//! The tracker remembers which migration is under way and how many of its statements have taken effect, so that a run
//! that was cut off at any moment is gone on with. A statement that a transaction takes goes in one with its note in the
//! tracker. Only one that no transaction takes can be in doubt, when the connection is lost before it is answered: then the
//! catalog tells of an index that was built or dropped concurrently whether it was, and what else there is (`VACUUM`,
//! `REINDEX`, `DO`, `CALL`) is run again.

use std::ops::ControlFlow;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Text};

use super::apply::{Setback, Work, becomes_active, own, record, setback};
use super::batch::{Batch, Commit, LockTimeout, Opening, RESET_LIMITS, Target, TrackerRow, limits, tracker_guard};
use super::explain;
use crate::failure::{Effect, TenantError};
use crate::integrity::{self, KeptFor};
use crate::ledger;
use crate::migration::{Kind, Migration};
use crate::postgres::{CHANGED, Objection, ServerMessage, Session, path};
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
    let migration = work.target.migration(index);
    let statements = migration.up().statements();
    let under_way = UnderWay { target: work.target, index, migration, statements: &statements, commit: work.commit };
    let result = under_way.all(session, work, opening).and_then(|()| under_way.close(session, work, last));
    let leaves_settings = statements.iter().any(Statement::sets_for_session) || migration.up().traits().may_leave_state;
    if result.is_err() || leaves_settings {
        // It has a path, a lock or settings that are not the next user's.
        session.spend();
    }
    result
}

struct UnderWay<'a> {
    target: Target<'a>,
    /// The migration's place in the set.
    index: usize,
    migration: &'a Migration,
    statements: &'a [Statement<'a>],
    commit: Commit,
}

/// How long the path is to last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PathOf {
    Transaction,
    Session,
}

/// What the first message of a migration expects: the opening, and how many statements have taken effect.
type Entry<'a> = (&'a Opening, usize);

/// Whether a statement that was not answered may have taken effect.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doubt {
    None,
    InDoubt,
}

impl UnderWay<'_> {
    fn all(&self, session: &mut Session, work: &Work<'_>, opening: &Opening) -> Result<(), Setback> {
        let version = self.migration.version().as_str();
        let resumed = work.unfinished.filter(|unfinished| unfinished.version == version);
        let done = resumed.map_or(0, |unfinished| unfinished.statements);
        if done > self.statements.len() {
            return Err(self.edited(done));
        }
        // Before what an earlier try left is looked at, the lock is taken. Else it goes with the first statement.
        let mut entry = Some((opening, done));
        if resumed.is_some() || self.target.kind == Kind::Public || done == self.statements.len() {
            own(session, self.begin(entry.take()).commit().sql()).map_err(|setback| match setback {
                Setback::Edited => self.edited(done),
                other => other,
            })?;
        }
        for (number, statement) in self.statements.iter().enumerate().skip(done) {
            // What an earlier try left: of one that was in doubt, and of one that failed.
            let again = resumed.filter(|_| number == done);
            if goes_in_a_transaction(statement) {
                self.in_a_transaction(session, entry.take(), number, statement)?;
            } else if !self.is_done_already(session, statement, again.map(|unfinished| unfinished.in_doubt))? {
                self.alone(session, entry.take(), number, statement)?;
                // Of the last one the ledger row tells.
                if number + 1 < self.statements.len() {
                    own(session, &self.progress(number + 1, Doubt::None))?;
                }
            }
        }
        Ok(())
    }

    /// The statement and its note in the tracker, in one transaction.
    fn in_a_transaction(
        &self,
        session: &mut Session,
        entry: Option<Entry<'_>>,
        number: usize,
        statement: &Statement<'_>,
    ) -> Result<(), Setback> {
        let mut batch = self.begin(entry);
        batch.script(number, statement.sql());
        batch.push(&self.progress(number + 1, Doubt::None));
        let batch = batch.commit();
        session.batch_execute(batch.sql()).map_err(|error| match setback(&error) {
            ControlFlow::Break(setback) => setback,
            ControlFlow::Continue(mut server) => {
                let byte = server.position.and_then(|position| batch.locate(position)).map_or(0, |(_, byte)| byte);
                server.position = Some(statement.sql()[..byte].chars().count() + 1);
                self.failed(number, statement, server)
            }
        })
    }

    /// A statement that no transaction takes, behind a message that notes it and sets the path for the session.
    fn alone(
        &self,
        session: &mut Session,
        entry: Option<Entry<'_>>,
        number: usize,
        statement: &Statement<'_>,
    ) -> Result<(), Setback> {
        // Set in the transaction whose guard looks at it, the path stays when that commits.
        let mut batch = self.begin_on(PathOf::Session, entry);
        batch.push(&self.progress(number, Doubt::InDoubt));
        batch.push(&limits("SET", self.target, LockTimeout::OfTheConcurrent));
        if self.commit == Commit::Deferred {
            batch.push("SET synchronous_commit TO off;");
        }
        let batch = batch.commit();
        own(session, batch.sql())?;
        session.batch_execute(statement.sql()).map_err(|error| match setback(&error) {
            ControlFlow::Break(setback) => setback,
            ControlFlow::Continue(server) => {
                // It was answered: it failed. Where that cannot be noted it stays in doubt.
                let _ = session.batch_execute(&self.progress(number, Doubt::None));
                self.failed(number, statement, server)
            }
        })
    }

    /// BEGIN, the path, and the guard that it leads to the schema. On entry also the lock for the session, and all that the
    /// guards check: that the ledger is as it was read, and the statements that have taken effect are the migration's.
    fn begin(&self, entry: Option<Entry<'_>>) -> Batch {
        self.begin_on(PathOf::Transaction, entry)
    }

    fn begin_on(&self, path_of: PathOf, entry: Option<Entry<'_>>) -> Batch {
        let path = self.target.tenancy.path(self.target.schema);
        let mut batch = Batch::begin(self.target, self.commit);
        batch.push(&match path_of {
            PathOf::Transaction => path.set_for_transaction(),
            PathOf::Session => path.set_for_session(),
        });
        let mut conditions = vec![path.guard()];
        if self.target.kind == Kind::Tenant {
            conditions.push(tracker_guard(self.target.schema, TrackerRow::Known));
        }
        let Some((opening, done)) = entry else {
            batch.guard(&conditions);
            return batch;
        };
        if self.target.kind == Kind::Public {
            batch.push(&ledger::create(self.target.schema));
        }
        conditions.insert(0, self.target.lock_for_session());
        if self.target.kind == Kind::Tenant {
            conditions.insert(1, integrity::guard(self.target.migrations(), &[self.index], KeptFor::Session));
        }
        if let Opening::Continue { applied } | Opening::Public { applied } = opening {
            conditions.push(ledger::guard(self.target.schema, applied, CHANGED));
        }
        if done > 0 {
            conditions.push(format!(
                "IF (SELECT unfinished_digest FROM public.schema_tracker WHERE name = {}) IS DISTINCT FROM {} \
                 THEN RAISE EXCEPTION '{}'; END IF;",
                Literal(self.target.schema.as_str()),
                self.digest(done),
                Objection::Edited.message()
            ));
        }
        batch.guard(&conditions);
        batch
    }

    /// Records the migration, forgets its progress, and gives the session back as it was.
    fn close(&self, session: &mut Session, work: &Work<'_>, last: bool) -> Result<(), Setback> {
        let mut batch = self.begin(None);
        batch.push(&ledger::insert(self.target.schema, [self.migration.version().as_str()]));
        if self.target.kind == Kind::Tenant {
            let state = match last && becomes_active(work) {
                true => ", state = 'active'",
                false => "",
            };
            batch.push(&format!(
                "UPDATE public.schema_tracker SET unfinished_version = NULL, unfinished_statements = NULL, \
                 unfinished_digest = NULL, unfinished_in_doubt = NULL{state} WHERE name = {};",
                Literal(self.target.schema.as_str())
            ));
        }
        if last {
            batch.push(&record(work));
        }
        let mut batch = batch.commit();
        batch.push(path::RESET);
        batch.push(RESET_LIMITS);
        batch.push("RESET synchronous_commit;");
        batch.push(&format!("SELECT pg_catalog.pg_advisory_unlock({});", self.target.lock_key()));
        if self.target.kind == Kind::Tenant {
            batch.push(&integrity::let_go());
        }
        own(session, batch.sql())
    }

    /// SQL that notes how many statements have taken effect. The public migrations have no row to note it in, and one
    /// statement each.
    fn progress(&self, done: usize, doubt: Doubt) -> String {
        match self.target.kind {
            Kind::Public => String::new(),
            Kind::Tenant => format!(
                "UPDATE public.schema_tracker SET unfinished_version = {}, unfinished_statements = {done}, \
                 unfinished_digest = {}, unfinished_in_doubt = {} WHERE name = {};",
                Literal(self.migration.version().as_str()),
                self.digest(done),
                doubt == Doubt::InDoubt,
                Literal(self.target.schema.as_str())
            ),
        }
    }

    /// An SQL expression for the digest of the first statements.
    fn digest(&self, statements: usize) -> String {
        let text: String =
            self.statements[..statements].iter().map(|statement| format!("{};", statement.sql())).collect();
        format!("pg_catalog.md5({}::text)", Literal(&text))
    }

    /// Whether an index is there, or gone, as the statement would have it, though an earlier run did not hear of it. What
    /// a failed build left, an index that is not valid, is dropped, to be built again. `in_doubt`: of an earlier try.
    fn is_done_already(
        &self,
        session: &mut Session,
        statement: &Statement<'_>,
        in_doubt: Option<bool>,
    ) -> Result<bool, Setback> {
        // Without a tracker row there is no telling an earlier try from none: what is not valid is of no use to anybody.
        let in_doubt = match (in_doubt, self.target.kind) {
            (Some(in_doubt), _) => in_doubt,
            (None, Kind::Public) => false,
            (None, Kind::Tenant) => return Ok(false),
        };
        if let Some(name) = statement.dropped_index() {
            return Ok(in_doubt && self.find_index(session, &name)?.is_none());
        }
        let Some(name) = statement.concurrent_index() else { return Ok(false) };
        match self.find_index(session, &name)? {
            Some(Index { valid: true }) => Ok(in_doubt),
            Some(Index { valid: false }) => {
                let index = Identifier::of_object(&name);
                own(session, &limits("SET", self.target, LockTimeout::OfTheConcurrent))?;
                own(session, &format!("DROP INDEX CONCURRENTLY {}.{index}", Identifier::from(self.target.schema)))?;
                Ok(false)
            }
            None => Ok(false),
        }
    }

    fn find_index(&self, conn: &mut PgConnection, name: &str) -> Result<Option<Index>, Setback> {
        sql_query(
            "SELECT indisvalid AND indisready AS valid FROM pg_catalog.pg_index \
             JOIN pg_catalog.pg_class ON pg_class.oid = indexrelid \
             WHERE relname = $1 AND relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $2)",
        )
        .bind::<Text, _>(name)
        .bind::<Text, _>(self.target.schema.as_str())
        .get_result(conn)
        .optional()
        .map_err(|error| match setback(&error) {
            ControlFlow::Break(setback) => setback,
            ControlFlow::Continue(server) => Setback::Failed(TenantError::Server(server)),
        })
    }

    fn failed(&self, number: usize, statement: &Statement<'_>, server: ServerMessage) -> Setback {
        let effect = Effect::InEffect { statements: number, of: self.statements.len() };
        explain::alone(self.migration, self.migration.up().text(), statement, server, effect).into()
    }

    fn edited(&self, statements: usize) -> Setback {
        let folder = self.migration.folder().to_owned();
        Setback::Failed(TenantError::EditedMigration { folder, statements })
    }
}

#[derive(QueryableByName)]
struct Index {
    #[diesel(sql_type = Bool)]
    valid: bool,
}

/// `DO` and `CALL` go alone, for they may end transactions.
fn goes_in_a_transaction(statement: &Statement<'_>) -> bool {
    statement.refused_in_transaction().is_none() && !statement.runs_code()
}
