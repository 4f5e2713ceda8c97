//! Messages to the server, each with one transaction in a tenant's schema and the guards of that transaction.

use std::ops::Range;
use std::sync::Arc;

use diesel::pg::PgConnection;

use super::target::SchemaTarget;
use super::transaction::Transaction;
use super::{guards, limits};
use crate::confine::Scrutiny;
use crate::migration::{Mode, Script};
use crate::model::{SchemaName, State};
use crate::postgres::prepared::{Call, PreparedStatements, Template};
use crate::postgres::{CHANGED, Dispatch, DispatchError, GuardViolation, path, refuse, session};
use crate::record::integrity::{self, LockScope};
use crate::run::Commit;
use crate::sql::catalog::holds_relations;
use crate::sql::quote::{Identifier, Literal};
use crate::tenants::{Tenant, ledger};

/// The state in which a message expects the schema.
#[derive(Debug, Clone)]
pub(crate) enum Precondition {
    /// No schema. The message creates it, its ledger, and its row in the tracker unless that exists.
    NoSchema { row: TrackerRow },
    /// A schema with a ledger that records exactly these versions.
    Ledger { applied: Vec<String> },
    /// A schema without objects. The message creates its ledger.
    EmptySchema,
    /// The schema `public`, with a ledger that records exactly these versions, or without a ledger.
    Public { applied: Vec<String> },
}

impl Precondition {
    /// The state of a tenant that exists, as it was read.
    pub(crate) fn of(tenant: &Tenant) -> Self {
        match tenant.ledger() {
            Some(ledger) => Self::Ledger { applied: ledger.applied.clone() },
            None => Self::EmptySchema,
        }
    }

    /// The versions in the ledger.
    pub(crate) fn applied(&self) -> &[String] {
        match self {
            Self::Ledger { applied } | Self::Public { applied } => applied,
            Self::NoSchema { .. } | Self::EmptySchema => &[],
        }
    }
}

/// Whether the tracker has a row for the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TrackerRow {
    Missing,
    Known,
}

/// With a stricter level, the guards would read a snapshot from before the lock was acquired.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED;";

/// A script, or a part of one, in a message.
#[derive(Debug)]
struct Piece {
    /// The migration's place in the set.
    migration: usize,
    /// Its bytes in the message.
    range: Range<usize>,
    /// The byte of its script that it begins with.
    offset: usize,
}

/// A message that is being written. It records the places of the scripts, so that the position of an error leads to a line.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    sql: String,
    scripts: Vec<Piece>,
    /// The `SET LOCAL` statements of the beginning of the transaction, sent again after a script that is not plain.
    settings: String,
    /// The locks that are released after each script that is not [plain](crate::migration::Script); `None` before the first
    /// one. Such a script may leave open cursors and pending triggers.
    ran_code: Option<session::Locks>,
    /// The statements that can be executed by name.
    prepared: Arc<PreparedStatements>,
    executes_prepared: bool,
    unprepared: Vec<Template>,
}

impl Batch {
    /// Begins a transaction for a schema, with its limits and its name in `pg_stat_activity`. The search path has only the
    /// catalog.
    pub(crate) fn begin(target: SchemaTarget<'_>, commit: Commit) -> Self {
        let settings = format!("{} {}", limits::of_transaction(target, commit), path::CATALOG_FOR_TRANSACTION);
        let mut batch = Self { settings: settings.clone(), ..Self::default() };
        batch.push(BEGIN);
        batch.push(&settings);
        batch
    }

    /// Begins a transaction in a tenant's schema that exists, up to the last guard. Statements that are in `prepared` are
    /// executed by name.
    fn open_existing(
        target: SchemaTarget<'_>,
        transaction: &Transaction<'_>,
        applied: &[String],
        commit: Commit,
        prepared: Arc<PreparedStatements>,
    ) -> Self {
        let (schema, definition) = (target.schema, transaction.definition);
        let settings = format!("{} {}", limits::of_transaction(target, commit), path::CATALOG_FOR_TRANSACTION);
        let mut batch = Self { settings, prepared, ..Self::default() };
        batch.push(BEGIN);
        batch.push(path::CATALOG_FOR_TRANSACTION);
        batch.call(&guards::enter(target, transaction, commit));
        batch.push(&ledger::lock_statement(schema, definition));
        batch.call(&guards::check(target, transaction));
        // Separate, because the server reads the definition of the ledger when it plans the statement.
        batch.push(&refuse(&[ledger::unlike(schema, applied, GuardViolation::Changed)]));
        batch
    }

    /// Begins a transaction in `target`, up to the last guard. Statements that are in `prepared` are executed by name.
    pub(super) fn open(
        target: SchemaTarget<'_>,
        transaction: &Transaction<'_>,
        commit: Commit,
        prepared: Arc<PreparedStatements>,
    ) -> Self {
        if let Precondition::Ledger { applied } = transaction.precondition {
            let mut batch = Self::open_existing(target, transaction, applied, commit, prepared);
            batch.inventory(target, transaction.scrutiny);
            return batch;
        }
        let mut batch = Self { prepared, ..Self::begin(target, commit) };
        let migrations = transaction.recorded(target);
        let recorded_guard = || {
            (!migrations.is_empty()).then(|| integrity::guard(target.migrations(), migrations, LockScope::Transaction))
        };
        let path = target.tenancy.path(target.schema);
        let schema = target.schema;
        // On the tenant's path only `current_schema()` is read. The other conditions run on `pg_catalog`.
        let on_path = |conditions: Vec<String>| -> Vec<String> {
            [path.guard(), path::CATALOG_IN_BLOCK.to_owned()].into_iter().chain(conditions).collect()
        };
        match transaction.precondition {
            Precondition::NoSchema { row } => {
                let (locks, checks) = guards::of_new_schema(target, transaction, *row);
                batch.push(&refuse(&locks));
                batch.push(&refuse(&checks));
                batch.push(&format!("CREATE SCHEMA {};", Identifier::from(schema)));
                batch.push(&target.check_path());
                batch.push(&ledger::create(schema));
            }
            Precondition::EmptySchema => {
                batch.push(&path.set_for_transaction());
                let guards =
                    vec![target.lock_for_transaction(), tracker_guard(schema, TrackerRow::Known), empty_guard(schema)];
                batch.guard(&on_path(guards.into_iter().chain(recorded_guard()).collect()));
                batch.push(&ledger::create(schema));
                // The owner of the schema may have created it first.
                batch.guard(&[ledger::definition_guard(schema)]);
            }
            // `open_existing` begins these.
            Precondition::Ledger { .. } => {}
            Precondition::Public { applied } => {
                batch.push(&path.set_for_transaction());
                batch.guard(&on_path(vec![target.lock_for_transaction()]));
                batch.push(&ledger::create(schema));
                batch.guard(&[ledger::contents_guard(schema, applied, GuardViolation::Changed)]);
            }
        }
        batch.inventory(target, transaction.scrutiny);
        batch
    }

    /// Adds a list of the tenant's objects, if the transaction is checked thoroughly before it commits.
    pub(crate) fn inventory(&mut self, target: SchemaTarget<'_>, scrutiny: Scrutiny) {
        if let Some(sql) = target.confined(scrutiny).and_then(|guard| guard.before()) {
            self.push(&sql);
        }
    }

    /// Adds SQL.
    pub(crate) fn push(&mut self, sql: &str) {
        self.sql.push_str(sql);
        self.sql.push('\n');
    }

    /// Adds a statement: by its name if it is prepared, or else as text.
    pub(super) fn call(&mut self, call: &Call) {
        match call.execute(&self.prepared) {
            Some(execute) => {
                self.push(&execute);
                self.executes_prepared = true;
            }
            None => {
                self.push(call.text());
                self.unprepared.push(call.template().clone());
            }
        }
    }

    /// Whether the message executes statements by name.
    pub(super) fn executes_prepared(&self) -> bool {
        self.executes_prepared
    }

    /// The statements that were added as text and could be prepared.
    pub(super) fn unprepared(&self) -> &[Template] {
        &self.unprepared
    }

    /// Adds a block in PL/pgSQL that raises an error unless all conditions hold.
    pub(crate) fn guard(&mut self, conditions: &[String]) {
        let body = format!("BEGIN {} END", conditions.join(" "));
        // A string constant, because a ledger may record any text, even one with a dollar-quote tag.
        self.push(&format!("DO {};", Literal(&body)));
    }

    /// Adds a migration and its ledger row. The path is set again, because the previous migration may have changed it in a
    /// function.
    pub(super) fn migration(&mut self, target: SchemaTarget<'_>, index: usize, columns: ledger::Columns) {
        let migration = target.migrations().at(index);
        self.push(&target.enter());
        self.script(index, migration.up().text());
        self.after_script(target, migration.up());
        self.ledger_row(target, index, columns);
    }

    /// Adds the script that reverts a migration, and deletes its ledger row. Statements that would run concurrently, outside a
    /// transaction, run in this one. The lock timeout limits how long they block others.
    pub(crate) fn revert(&mut self, target: SchemaTarget<'_>, index: usize, down: &Script) {
        let migration = target.migration(index);
        self.push(&target.enter());
        match migration.mode() {
            Mode::Transactional => self.script(index, down.text()),
            Mode::NonTransactional => {
                for statement in down.statements() {
                    self.piece(index, statement.offset(), &statement.transactional_form().unwrap_or_default());
                }
            }
        }
        self.after_script(target, down);
        self.push(&ledger::delete(target.schema, migration.version().as_str()));
    }

    /// Resets what plain statements leave in the session: the search path and the role.
    pub(crate) fn after_plain(&mut self, target: SchemaTarget<'_>) {
        if target.is_run_as_owner() {
            self.push("RESET ROLE;");
        }
        self.push(path::CATALOG_FOR_TRANSACTION);
    }

    /// Resets the session to the beginning of the transaction after statements that may run code. `locks` are released.
    pub(crate) fn after_code(&mut self, locks: session::Locks) {
        self.ran_code = Some(locks);
        self.push(&session::reset(locks));
        self.push(&self.settings.clone());
    }

    fn after_script(&mut self, target: SchemaTarget<'_>, script: &Script) {
        if script.traits().is_plain {
            self.after_plain(target);
        } else {
            self.after_code(session::Locks::All);
        }
    }

    /// The reset that follows a script, without the script.
    pub(crate) fn after_of(target: SchemaTarget<'_>, script: &Script) -> Self {
        let settings = Self::begin(target, Commit::Durable).settings;
        let mut batch = Self { settings, ..Self::default() };
        batch.after_script(target, script);
        batch
    }

    /// Runs the deferred triggers, as the commit would, but with the role and the path of the migrations, and before the
    /// checks. At the commit they would run as the connected role, which may have more privileges than the owner of the
    /// triggers.
    fn run_deferred_triggers(&mut self, target: SchemaTarget<'_>) {
        if let Some(locks) = self.ran_code {
            self.push(&target.enter());
            self.push(session::RUN_DEFERRED_TRIGGERS);
            self.after_code(locks);
        }
    }

    /// Adds the end of the transaction: the deferred triggers, and the checks that nothing outside the tenant's schema was
    /// changed and that the ledger records exactly `applied` (sorted), if given.
    pub(crate) fn confine(&mut self, target: SchemaTarget<'_>, scrutiny: Scrutiny, applied: Option<&[String]>) {
        self.run_deferred_triggers(target);
        let mut conditions: Vec<String> = Vec::new();
        // Plain statements cannot change the rows that the ledger gets.
        if self.ran_code.is_some()
            && let Some(applied) = applied
        {
            conditions.push(ledger::contents_guard(target.schema, applied, GuardViolation::LedgerMismatch));
        }
        if let Some(guard) = target.confined(scrutiny).and_then(|guard| guard.conditions()) {
            if scrutiny == Scrutiny::Quick {
                self.push(&target.tenancy.path(target.schema).alone().set_for_transaction());
            }
            conditions.push(guard);
        }
        if !conditions.is_empty() {
            self.guard(&conditions);
            self.push(path::CATALOG_FOR_TRANSACTION);
        }
    }

    /// Adds or updates the row of a tenant in the tracker.
    pub(crate) fn track(&mut self, schema: &SchemaName, row: TrackerRow, state: State) {
        self.push(&match row {
            TrackerRow::Missing => format!(
                "INSERT INTO public.schema_tracker (name, state) VALUES ({}, {});",
                Literal(schema.as_str()),
                Literal(state.as_str())
            ),
            TrackerRow::Known => set_state(schema, state),
        });
    }

    /// Adds a script unchanged.
    pub(crate) fn script(&mut self, index: usize, text: &str) {
        self.piece(index, 0, text);
    }

    fn piece(&mut self, migration: usize, offset: usize, text: &str) {
        let start = self.sql.len();
        self.sql.push_str(text);
        self.scripts.push(Piece { migration, range: start..self.sql.len(), offset });
        // The script may end with a comment, or without a semicolon.
        self.sql.push_str("\n;\n");
    }

    /// Ends the transaction.
    pub(crate) fn commit(mut self) -> Self {
        if self.ran_code.is_some() {
            self.push(session::CLOSE_CURSORS);
        }
        self.push("COMMIT;");
        self
    }

    /// Sends the transaction.
    pub(crate) fn send(&self, conn: &mut PgConnection, dispatch: Dispatch) -> Result<(), DispatchError> {
        dispatch.send(conn, &self.sql, &self.settings)
    }

    /// The message.
    pub(crate) fn sql(&self) -> &str {
        &self.sql
    }

    /// The migration that holds a position of the message (in characters, counted from 1, as the server gives it), and
    /// the byte in its script.
    pub(crate) fn locate(&self, position: usize) -> Option<(usize, usize)> {
        let (byte, _) = self.sql.char_indices().nth(position.checked_sub(1)?)?;
        let piece = self.scripts.iter().find(|piece| piece.range.contains(&byte))?;
        Some((piece.migration, piece.offset + byte - piece.range.start))
    }
}

/// SQL that sets the state of a tenant.
pub(crate) fn set_state(schema: &SchemaName, state: State) -> String {
    format!(
        "UPDATE public.schema_tracker SET state = {} WHERE name = {};",
        Literal(state.as_str()),
        Literal(schema.as_str())
    )
}

/// A condition that the tracker has a row for the tenant that can be migrated, or has none.
pub(crate) fn tracker_guard(schema: &SchemaName, row: TrackerRow) -> String {
    guards::tracker_differs(schema, row).in_block()
}

/// A condition that the schema contains no relation.
fn empty_guard(schema: &SchemaName) -> String {
    let oid = format!("{}::pg_catalog.regnamespace::pg_catalog.oid", Literal(&Identifier::from(schema).to_string()));
    format!("IF {} THEN RAISE EXCEPTION '{CHANGED}'; END IF;", holds_relations(&oid))
}

#[cfg(test)]
mod tests;
