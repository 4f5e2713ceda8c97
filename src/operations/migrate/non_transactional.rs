//! A migration that is not transactional: its statements go one by one, each for itself.
//!
//! The tracker remembers which migration is under way and how many of its statements have taken effect, so that a run
//! that was cut off at any moment is gone on with. A statement that a transaction takes goes in one with its note in the
//! tracker. Only one that no transaction takes can be in doubt, when the connection is lost before it is answered: then the
//! catalog tells of an index that was built or dropped concurrently whether it was, and what else there is (`VACUUM`,
//! `REINDEX`, `DO`, `CALL`) is run again.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Text};

use super::apply::{Work, becomes_active, own, record};
use super::batch::{Batch, LockTimeout, Opening, TrackerRow, limits, tracker_guard};
use super::explain;
use super::target::{Lasting, Target};
use crate::confine::{self, Scrutiny};
use crate::error::{Effect, TenantError};
use crate::migration::{Kind, Migration};
use crate::postgres::{CHANGED, GuardViolation, ServerMessage, Session, path, session};
use crate::record::integrity::{self, LockScope};
use crate::run::{AttemptError, Commit};
use crate::sql::quote::{Identifier, Literal};
use crate::sql::statement::Statement;
use crate::tenants::ledger;

/// Runs one migration that is not transactional. `last`: no other follows, and the tenant is then active.
pub(super) fn run(
    session: &mut Session,
    work: &Work<'_>,
    opening: &Opening,
    index: usize,
    last: bool,
) -> Result<(), AttemptError> {
    let migration = work.target.migration(index);
    let statements = migration.up().statements();
    let under_way = UnderWay { target: work.target, index, migration, statements: &statements, commit: work.commit };
    let result = under_way.all(session, work, opening).and_then(|()| under_way.close(session, work, last));
    // An index that is built leaves nothing; of whatever else the session is not sure to be as it was.
    let leaves_settings = !statements.iter().all(|statement| statement.is_plain() || statement.is_concurrent());
    if result.is_err() || leaves_settings {
        // It has a path, a lock or settings that are not the next user's.
        session.discard();
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

/// What the first message of a migration expects: the opening, and how many statements have taken effect.
type Entry<'a> = (&'a Opening, usize);

/// Whether a statement that was not answered may have taken effect.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doubt {
    None,
    InDoubt,
}

impl UnderWay<'_> {
    fn all(&self, session: &mut Session, work: &Work<'_>, opening: &Opening) -> Result<(), AttemptError> {
        let version = self.migration.version().as_str();
        let resumed = work.unfinished.filter(|unfinished| unfinished.version == version);
        let done = resumed.map_or(0, |unfinished| unfinished.statements);
        if done > self.statements.len() {
            return Err(self.edited(done));
        }
        // Before what an earlier try left is looked at, the lock is taken. Else it goes with the first statement.
        let mut entry = Some((opening, done));
        if resumed.is_some() || self.target.kind == Kind::Public || done == self.statements.len() {
            let batch = self.begin(entry.take()).commit();
            session.batch_execute(batch.sql()).map_err(|error| match AttemptError::classify(&error) {
                Ok(error) => error,
                Err(server) if GuardViolation::from_message(&server.message) == Some(GuardViolation::Edited) => {
                    self.edited(done)
                }
                Err(server) => AttemptError::Failed(TenantError::Server(server)),
            })?;
        }
        for (number, statement) in self.statements.iter().enumerate().skip(done) {
            // What an earlier try left: of one that was in doubt, and of one that failed.
            let again = resumed.filter(|_| number == done);
            if self.goes_in_a_transaction(statement) {
                self.in_a_transaction(session, entry.take(), number, statement)?;
            } else if !self.is_done_already(session, statement, again.map(|unfinished| unfinished.in_doubt))? {
                self.alone(session, entry.take(), number, statement)?;
                // Of the last one the ledger row tells.
                if number + 1 < self.statements.len() {
                    own(session, &self.note(number + 1))?;
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
    ) -> Result<(), AttemptError> {
        let scrutiny = self.scrutiny(statement);
        let mut batch = self.begin(entry);
        batch.inventory(self.target, scrutiny);
        batch.push(&self.target.enter());
        batch.script(number, statement.sql());
        // The locks of its session stay.
        batch.after(self.target, statement.is_plain(), session::Locks::None);
        batch.confine(self.target, scrutiny, None);
        batch.push(&self.progress(number + 1, Doubt::None));
        let batch = batch.commit();
        session.batch_execute(batch.sql()).map_err(|error| match AttemptError::classify(&error) {
            Ok(error) => error,
            Err(server) if GuardViolation::from_message(&server.message) == Some(GuardViolation::Outside) => {
                let server = confine::in_words(session, server);
                self.failed(number, statement, server)
            }
            Err(mut server) => {
                let byte = server.position.and_then(|position| batch.locate(position)).map_or(0, |(_, byte)| byte);
                server.position = Some(statement.sql()[..byte].chars().count() + 1);
                if statement.runs_code() && server.hint.is_none() {
                    server.hint = Some(
                        "code that commits must be declared with changes_outside = \"REASON\" in metadata.toml"
                            .to_owned(),
                    );
                }
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
    ) -> Result<(), AttemptError> {
        let mut batch = self.begin(entry);
        if let Some(condition) = self.is_inside(number, statement)? {
            batch.push(&self.target.tenancy.path(self.target.schema).set_for_transaction());
            batch.guard(&[condition]);
            batch.push(path::CATALOG_FOR_TRANSACTION);
        }
        batch.push(&self.progress(number, Doubt::InDoubt));
        batch.push(&limits("SET", self.target, LockTimeout::OfTheConcurrent));
        batch.push(&self.target.as_owner(Lasting::Session).unwrap_or_default());
        // Set in the transaction whose guard looks at it, the path stays when that commits.
        batch.push(&self.target.tenancy.path(self.target.schema).set_for_session());
        batch.guard(&[self.target.tenancy.path(self.target.schema).guard()]);
        if self.commit == Commit::Deferred {
            batch.push("SET synchronous_commit TO off;");
        }
        let batch = batch.commit();
        session.batch_execute(batch.sql()).map_err(|error| match AttemptError::classify(&error) {
            Ok(error) => error,
            Err(server) => {
                let server = confine::in_words(session, server);
                self.failed(number, statement, server)
            }
        })?;
        session.batch_execute(statement.sql()).map_err(|error| match AttemptError::classify(&error) {
            Ok(error) => error,
            Err(server) => {
                // It was answered: it failed. Where that cannot be noted it stays in doubt.
                let _ = session.batch_execute(&self.note(number));
                self.failed(number, statement, server)
            }
        })
    }

    /// BEGIN, and the guard that the path leads to the schema; afterwards it leads to the catalog. On entry also the lock for
    /// the session, and all that the guards check: that the ledger is as it was read, and the statements that have taken
    /// effect are the migration's.
    fn begin(&self, entry: Option<Entry<'_>>) -> Batch {
        let path = self.target.tenancy.path(self.target.schema);
        let mut batch = Batch::begin(self.target, self.commit);
        batch.push(&path.set_for_transaction());
        let mut conditions = vec![path.guard(), path::CATALOG_IN_BLOCK.to_owned()];
        let Some((opening, done)) = entry else {
            conditions.extend(self.tracked());
            batch.guard(&conditions);
            return batch;
        };
        if self.target.kind == Kind::Public {
            batch.push(&ledger::create(self.target.schema));
        }
        conditions.push(self.target.lock_for_session());
        if self.target.kind == Kind::Tenant {
            conditions.push(integrity::guard(self.target.migrations(), &[self.index], LockScope::Session));
        }
        conditions.extend(self.tracked());
        if self.target.kind == Kind::Tenant {
            conditions.push(ledger::definition_guard(self.target.schema));
        }
        if let Opening::Continue { applied } | Opening::Public { applied } = opening {
            conditions.push(ledger::contents_guard(self.target.schema, applied, CHANGED));
        }
        if done > 0 {
            conditions.push(format!(
                "IF (SELECT unfinished_digest FROM public.schema_tracker WHERE name = {}) IS DISTINCT FROM {} \
                 THEN RAISE EXCEPTION '{}'; END IF;",
                Literal(self.target.schema.as_str()),
                self.digest(done),
                GuardViolation::Edited.message()
            ));
        }
        batch.guard(&conditions);
        batch
    }

    /// The condition that the tracker has the tenant.
    fn tracked(&self) -> Option<String> {
        (self.target.kind == Kind::Tenant).then(|| tracker_guard(self.target.schema, TrackerRow::Known))
    }

    /// Whether the migration may change objects outside the schema.
    fn may_change_others(&self) -> bool {
        self.target.kind == Kind::Public || self.migration.outside().is_some()
    }

    /// How closely the transaction of one statement is looked at.
    fn scrutiny(&self, statement: &Statement<'_>) -> Scrutiny {
        match statement.is_plain() && self.target.tenancy.extension_schemas().is_empty() {
            _ if self.may_change_others() => Scrutiny::None,
            true => Scrutiny::None,
            false => Scrutiny::Thorough,
        }
    }

    /// A condition that what a statement names is in the tenant's schema, for one that no transaction takes: it is
    /// committed before anybody can look at what it did. Wants the tenant's path.
    fn is_inside(&self, number: usize, statement: &Statement<'_>) -> Result<Option<String>, AttemptError> {
        if self.may_change_others() {
            return Ok(None);
        }
        let Some(names) = statement.names_outside_transaction() else {
            let server = ServerMessage {
                message:
                    "whether it changes objects outside the tenant's schema cannot be found out before it takes effect"
                        .to_owned(),
                detail: None,
                hint: Some("declare it with changes_outside = \"REASON\" in metadata.toml".to_owned()),
                position: None,
            };
            return Err(self.failed(number, statement, server));
        };
        Ok(Some(names.iter().map(|name| confine::is_inside(self.target.schema, name)).collect()))
    }

    /// Whether a statement goes in a transaction. Code may end transactions, and then goes alone, where the migration may
    /// change what it likes.
    fn goes_in_a_transaction(&self, statement: &Statement<'_>) -> bool {
        statement.refused_in_transaction().is_none() && !(statement.runs_code() && self.may_change_others())
    }

    /// Records the migration, forgets its progress, and gives the session back as it was.
    fn close(&self, session: &mut Session, work: &Work<'_>, last: bool) -> Result<(), AttemptError> {
        let mut batch = self.begin(None);
        if self.target.kind == Kind::Tenant {
            batch.guard(&[ledger::definition_guard(self.target.schema)]);
        }
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
        batch.push(&session::reset(session::Locks::All));
        own(session, batch.sql())
    }

    /// SQL that notes how many statements have taken effect, behind one that no transaction takes: it may have run as another
    /// role.
    fn note(&self, done: usize) -> String {
        format!("RESET ROLE; {}", self.progress(done, Doubt::None))
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
    ) -> Result<bool, AttemptError> {
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

    fn find_index(&self, conn: &mut PgConnection, name: &str) -> Result<Option<Index>, AttemptError> {
        sql_query(
            "SELECT indisvalid AND indisready AS valid FROM pg_catalog.pg_index \
             JOIN pg_catalog.pg_class ON pg_class.oid = indexrelid \
             WHERE relname = $1 AND relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $2)",
        )
        .bind::<Text, _>(name)
        .bind::<Text, _>(self.target.schema.as_str())
        .get_result(conn)
        .optional()
        .map_err(|error| AttemptError::from(&error))
    }

    fn failed(&self, number: usize, statement: &Statement<'_>, server: ServerMessage) -> AttemptError {
        let effect = Effect::InEffect { statements: number, of: self.statements.len() };
        explain::alone(self.migration, self.migration.up().text(), statement, server, effect).into()
    }

    fn edited(&self, statements: usize) -> AttemptError {
        let folder = self.migration.folder().to_owned();
        AttemptError::Failed(TenantError::EditedMigration { folder, statements })
    }
}

#[derive(QueryableByName)]
struct Index {
    #[diesel(sql_type = Bool)]
    valid: bool,
}
