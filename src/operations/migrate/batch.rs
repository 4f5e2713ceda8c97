//! Messages to the server that are one transaction: what runs in a tenant's schema, and how it is guarded.

use std::ops::Range;

use super::target::Target;
use crate::confine::Scrutiny;
use crate::migration::{Mode, Script};
use crate::model::{SchemaName, State};
use crate::postgres::{CHANGED, GuardViolation, path, session};
use crate::record::integrity::{self, LockScope};
use crate::record::runs::Run;
use crate::run::Commit;
use crate::sql::catalog::holds_relations;
use crate::sql::quote::{Identifier, Literal};
use crate::tenants::{Tenant, ledger};

/// What a message expects to find, and how it begins.
#[derive(Debug, Clone)]
pub(crate) enum Opening {
    /// No schema and, as told, no row in the tracker or one without a schema: makes the schema, its ledger and its row.
    Create { row: TrackerRow },
    /// A schema with a ledger that records exactly these versions.
    Continue { applied: Vec<String> },
    /// A schema with nothing in it: makes its ledger.
    Begin,
    /// The schema `public`, with a ledger that records exactly these versions, or with none.
    Public { applied: Vec<String> },
}

impl Opening {
    /// For a tenant that exists, as it was read.
    pub(crate) fn of(tenant: &Tenant) -> Self {
        match tenant.ledger() {
            Some(ledger) => Self::Continue { applied: ledger.applied.clone() },
            None => Self::Begin,
        }
    }

    /// The versions that the ledger records before.
    pub(crate) fn applied(&self) -> &[String] {
        match self {
            Self::Continue { applied } | Self::Public { applied } => applied,
            Self::Create { .. } | Self::Begin => &[],
        }
    }
}

/// Whether the tracker has the tenant already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TrackerRow {
    Missing,
    Known,
}

/// A piece of a script in a message.
#[derive(Debug)]
struct Piece {
    /// The migration's place in the set.
    migration: usize,
    /// Where it is in the message.
    range: Range<usize>,
    /// Where it begins in its script.
    offset: usize,
}

/// A message in the making. It remembers where in it the scripts are, so that an error's position leads to a line.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    sql: String,
    scripts: Vec<Piece>,
    /// The `SET LOCAL` statements of the beginning of the transaction, sent again after a script that is not plain.
    settings: String,
    /// Whether scripts ran that are not [plain](crate::migration::Script), so that cursors may be open.
    ran_code: bool,
}

impl Batch {
    /// The beginning of a transaction for a schema: its limits, and its name in `pg_stat_activity`. The path leads to the
    /// catalog alone.
    pub(crate) fn begin(target: Target<'_>, commit: Commit) -> Self {
        let mut settings = limits("SET LOCAL", target, LockTimeout::OfTheLimits);
        if commit == Commit::Deferred {
            settings.push_str(" SET LOCAL synchronous_commit TO off;");
        }
        settings.push(' ');
        settings.push_str(path::CATALOG_FOR_TRANSACTION);
        let mut batch = Self::default();
        // Under a stricter level the guards would look at the time before the lock was had.
        batch.push("BEGIN ISOLATION LEVEL READ COMMITTED;");
        batch.push(&settings);
        batch.settings = settings;
        batch
    }

    /// A transaction in `target`, from BEGIN to the last guard. `migrations` are those that will be applied in it.
    pub(crate) fn open(
        target: Target<'_>,
        opening: &Opening,
        migrations: &[usize],
        commit: Commit,
        scrutiny: Scrutiny,
    ) -> Self {
        let mut batch = Self::begin(target, commit);
        let recorded = match migrations {
            [] => None,
            migrations => Some(integrity::guard(target.migrations(), migrations, LockScope::Transaction)),
        };
        let path = target.tenancy.path(target.schema);
        let schema = target.schema;
        // While the path leads to the tenant, only `current_schema()` is asked; the other conditions run on `pg_catalog`.
        let on_path = |conditions: Vec<String>| -> Vec<String> {
            [path.guard(), path::CATALOG_IN_BLOCK.to_owned()].into_iter().chain(conditions).collect()
        };
        match opening {
            Opening::Create { row } => {
                let absent = format!(
                    "IF pg_catalog.to_regnamespace({}::text) IS NOT NULL THEN RAISE EXCEPTION '{CHANGED}'; END IF;",
                    Literal(&Identifier::from(schema).to_string())
                );
                let guards = [target.lock_for_transaction(), absent, tracker_guard(schema, *row)];
                batch.guard(&guards.into_iter().chain(recorded).collect::<Vec<_>>());
                batch.push(&format!("CREATE SCHEMA {};", Identifier::from(schema)));
                batch.push(&path.set_for_transaction());
                batch.guard(&on_path(Vec::new()));
                batch.push(&ledger::create(schema));
            }
            Opening::Continue { applied } => {
                batch.push(&path.set_for_transaction());
                let guards = vec![
                    target.lock_for_transaction(),
                    tracker_guard(schema, TrackerRow::Known),
                    ledger::definition_guard(schema),
                    ledger::contents_guard(schema, applied, CHANGED),
                ];
                batch.guard(&on_path(guards.into_iter().chain(recorded).collect()));
            }
            Opening::Begin => {
                batch.push(&path.set_for_transaction());
                let guards =
                    vec![target.lock_for_transaction(), tracker_guard(schema, TrackerRow::Known), empty_guard(schema)];
                batch.guard(&on_path(guards.into_iter().chain(recorded).collect()));
                batch.push(&ledger::create(schema));
                // Whoever owns the schema may have been quicker.
                batch.guard(&[ledger::definition_guard(schema)]);
            }
            Opening::Public { applied } => {
                batch.push(&path.set_for_transaction());
                batch.guard(&on_path(vec![target.lock_for_transaction()]));
                batch.push(&ledger::create(schema));
                batch.guard(&[ledger::contents_guard(schema, applied, CHANGED)]);
            }
        }
        batch.inventory(target, scrutiny);
        batch
    }

    /// Has the tenant's objects remembered, where the transaction is looked at closely before it commits.
    pub(crate) fn inventory(&mut self, target: Target<'_>, scrutiny: Scrutiny) {
        if let Some(sql) = target.confined(scrutiny).and_then(|guard| guard.before()) {
            self.push(&sql);
        }
    }

    /// Adds SQL of tenantry's own.
    pub(crate) fn push(&mut self, sql: &str) {
        self.sql.push_str(sql);
        self.sql.push('\n');
    }

    /// Adds a block that raises an error unless all conditions hold.
    pub(crate) fn guard(&mut self, conditions: &[String]) {
        let body = format!("BEGIN {} END", conditions.join(" "));
        // As a constant and not between dollars: a ledger may record any text, also one that looks like the tag.
        self.push(&format!("DO {};", Literal(&body)));
    }

    /// Adds a migration and its ledger row. The path is set again: the migration before may have changed it from within a
    /// function.
    pub(crate) fn migration(&mut self, target: Target<'_>, index: usize) {
        let migration = target.migrations().at(index);
        self.push(&target.enter());
        self.script(index, migration.up().text());
        self.after_script(target, migration.up());
        self.push(&ledger::insert(target.schema, [migration.version().as_str()]));
    }

    /// Adds the script that reverts a migration, and takes its ledger row away. What the script would do concurrently, and
    /// so in no transaction, is done in this one: the lock timeout keeps it from being in anybody's way.
    pub(crate) fn revert(&mut self, target: Target<'_>, index: usize, down: &Script) {
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

    /// Leads back to the session and the settings of the transaction's beginning, so that what follows does not depend on
    /// what ran before it, which was plain or not. `locks` are given back.
    pub(crate) fn after(&mut self, target: Target<'_>, is_plain: bool, locks: session::Locks) {
        if !is_plain {
            self.push(&session::reset(locks));
        } else if target.is_run_as_owner() {
            self.push("RESET ROLE;");
        }
        self.ran_code |= !is_plain;
        let settings = if is_plain { path::CATALOG_FOR_TRANSACTION.to_owned() } else { self.settings.clone() };
        self.push(&settings);
    }

    fn after_script(&mut self, target: Target<'_>, script: &Script) {
        self.after(target, script.traits().is_plain, session::Locks::All);
    }

    /// A message with what follows a script alone, in a transaction that was begun with the same target.
    pub(crate) fn after_of(target: Target<'_>, script: &Script) -> Self {
        let settings = Self::begin(target, Commit::Durable).settings;
        let mut batch = Self { settings, ..Self::default() };
        batch.after_script(target, script);
        batch
    }

    /// Adds the conditions for the end of the transaction: nothing outside the tenant's schema was changed, and the ledger
    /// records exactly `applied` (sorted), where that is given.
    pub(crate) fn confine(&mut self, target: Target<'_>, scrutiny: Scrutiny, applied: Option<&[String]>) {
        let mut conditions: Vec<String> = Vec::new();
        // What is plain cannot keep a row from the ledger.
        if let Some(applied) = applied.filter(|_| self.ran_code) {
            conditions.push(ledger::contents_guard(target.schema, applied, GuardViolation::LedgerMismatch.message()));
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

    /// Adds the tracker's row of a tenant that was created.
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

    /// Adds a script as it is.
    pub(crate) fn script(&mut self, index: usize, text: &str) {
        self.piece(index, 0, text);
    }

    fn piece(&mut self, migration: usize, offset: usize, text: &str) {
        let start = self.sql.len();
        self.sql.push_str(text);
        self.scripts.push(Piece { migration, range: start..self.sql.len(), offset });
        // The script may end in a comment, and without a semicolon.
        self.sql.push_str("\n;\n");
    }

    /// Ends the transaction; the message is ready.
    pub(crate) fn commit(mut self) -> Self {
        if self.ran_code {
            self.push(session::CLOSE_CURSORS);
        }
        self.push("COMMIT;");
        self
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

/// SQL that puts a tenant into a state.
pub(crate) fn set_state(schema: &SchemaName, state: State) -> String {
    format!(
        "UPDATE public.schema_tracker SET state = {} WHERE name = {};",
        Literal(state.as_str()),
        Literal(schema.as_str())
    )
}

/// How long a lock is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockTimeout {
    /// As long as the limits say.
    OfTheLimits,
    /// For what nobody else waits behind, as `CREATE INDEX CONCURRENTLY`, which waits for older transactions to end: 60
    /// times as long.
    OfTheConcurrent,
}

/// Limits for a schema's work, and its name in `pg_stat_activity`: `SET LOCAL` for the transaction, `SET` for the session.
pub(crate) fn limits(set: &str, target: Target<'_>, lock_timeout: LockTimeout) -> String {
    let limits = target.tenancy.limits();
    let patience = match lock_timeout {
        LockTimeout::OfTheLimits => 1,
        LockTimeout::OfTheConcurrent => 60,
    };
    let longest = i32::MAX as u128;
    let lock_timeout = (limits.lock_timeout.as_millis() * patience).clamp(1, longest);
    let mut sql = format!("{set} lock_timeout TO {lock_timeout};");
    if let Some(timeout) = limits.statement_timeout {
        sql.push_str(&format!(" {set} statement_timeout TO {};", timeout.as_millis()));
    }
    if let Some(run) = target.run {
        sql.push_str(&format!(" {set} application_name TO {};", Literal(&run.application_name(target.schema))));
    }
    if target.run.is_some_and(Run::notices_clients) {
        sql.push_str(&format!(" {set} client_connection_check_interval TO 1000;"));
    }
    sql
}

/// A condition on the tenant's row in the tracker.
pub(crate) fn tracker_guard(schema: &SchemaName, row: TrackerRow) -> String {
    let name = Literal(schema.as_str());
    match row {
        TrackerRow::Missing => format!(
            "IF EXISTS (SELECT FROM public.schema_tracker \
             WHERE pg_catalog.lower(name COLLATE \"C\") = pg_catalog.lower({name}::text COLLATE \"C\")) \
             THEN RAISE EXCEPTION '{CHANGED}'; END IF;"
        ),
        TrackerRow::Known => format!(
            "IF NOT EXISTS (SELECT FROM public.schema_tracker WHERE name = {name} AND state IN ('registered', 'creating', 'active')) \
             THEN RAISE EXCEPTION '{CHANGED}'; END IF;"
        ),
    }
}

/// A condition that no relation is in the schema.
fn empty_guard(schema: &SchemaName) -> String {
    let oid = format!("{}::pg_catalog.regnamespace::pg_catalog.oid", Literal(&Identifier::from(schema).to_string()));
    format!("IF {} THEN RAISE EXCEPTION '{CHANGED}'; END IF;", holds_relations(&oid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_leads_to_its_script() {
        let mut batch = Batch::default();
        batch.push("BEGIN; -- é");
        batch.script(3, "SELECT 1;\nSELECT é");
        batch.script(4, "SELECT 2 -- no end");
        let at = |what: &str| batch.sql().find(what).map(|byte| batch.sql()[..byte].chars().count() + 1).unwrap();
        assert_eq!(batch.locate(1), None);
        assert_eq!(batch.locate(at("SELECT 1")), Some((3, 0)));
        assert_eq!(batch.locate(at("SELECT é")), Some((3, 10)));
        assert_eq!(batch.locate(at("2 -- no end")), Some((4, 7)));
        assert_eq!(batch.locate(0), None);
        assert_eq!(batch.locate(1_000), None);
        assert!(batch.sql().ends_with("-- no end\n;\n"), "a comment does not swallow what follows");
    }
}
