//! Messages to the server that are one transaction: what runs in a tenant's schema, and how it is guarded.

use std::ops::Range;

use crate::ledger;
use crate::migration::{Migration, MigrationSet};
use crate::name::SchemaName;
use crate::postgres::path;
use crate::sql::quote::{Identifier, Literal};
use crate::tenancy::Tenancy;
use crate::tracker::State;

/// A schema that migrations are to be run in.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) tenancy: &'a Tenancy,
    pub(crate) schema: &'a SchemaName,
    pub(crate) kind: Kind,
}

/// Whose schema it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `public`, which no row of the tracker stands for.
    Public,
    /// A tenant's.
    Tenant,
}

/// What a message expects to find, and how it begins.
#[derive(Debug, Clone)]
pub(crate) enum Opening {
    /// No schema and, as told, no row in the tracker or one without a schema: makes the schema, its ledger and its row.
    Create { row: TrackerRow, state: State },
    /// A schema with a ledger that records exactly these versions.
    Continue { applied: Vec<String> },
    /// A schema with nothing in it: makes its ledger.
    Begin,
    /// The schema `public`, with a ledger that records exactly these versions, or with none.
    Public { applied: Vec<String> },
}

/// Whether the tracker has the tenant already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TrackerRow {
    Missing,
    Known,
}

/// When a commit is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commit {
    /// When it returns.
    Durable,
    /// With the next durable commit of any session, which must be waited for before anything is reported.
    Deferred,
}

/// A guard's objection. Each is the text of an error that tenantry itself raises in the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Objection {
    /// Another session holds the lock of the schema.
    Busy,
    /// What was read before is no longer so.
    Changed,
    /// The path does not lead to the schema.
    WrongSchema,
    /// A migration that is under way is not the one that was begun.
    Edited,
}

/// The text of [`Objection::Changed`].
pub(crate) const CHANGED: &str = Objection::Changed.message();

impl Objection {
    const ALL: [Self; 4] = [Self::Busy, Self::Changed, Self::WrongSchema, Self::Edited];

    pub(crate) const fn message(self) -> &'static str {
        match self {
            Self::Busy => "tenantry: another session is working on the schema",
            Self::Changed => "tenantry: the schema or the tracker is not as it was read",
            Self::WrongSchema => path::WRONG_SCHEMA,
            Self::Edited => "tenantry: the statements that have taken effect are not those of the migration",
        }
    }

    /// The objection that a server's message is.
    pub(crate) fn in_message(message: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|objection| objection.message() == message)
    }
}

/// A message in the making. It remembers where in it the scripts are, so that an error's position leads to a line.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    sql: String,
    scripts: Vec<(usize, Range<usize>)>,
    /// Whether the session is to be put right behind the transaction, for the next tenant.
    may_leave_state: bool,
}

impl Batch {
    /// A transaction in `target`, from BEGIN to the last guard.
    pub(crate) fn open(target: Target<'_>, opening: &Opening, commit: Commit) -> Self {
        let mut batch = Self::default();
        // Under a stricter level the guards would look at the time before the lock was had.
        batch.push("BEGIN ISOLATION LEVEL READ COMMITTED;");
        if commit == Commit::Deferred {
            batch.push("SET LOCAL synchronous_commit TO off;");
        }
        batch.push(&statement_timeout("SET LOCAL", target.tenancy));
        let path = target.tenancy.path(target.schema);
        let schema = target.schema;
        match opening {
            Opening::Create { row, state } => {
                let absent = format!(
                    "IF pg_catalog.to_regnamespace({}::text) IS NOT NULL THEN RAISE EXCEPTION '{CHANGED}'; END IF;",
                    Literal(&Identifier::from(schema).to_string())
                );
                batch.guard(&[target.lock_for_transaction(), absent, tracker_guard(schema, *row)]);
                batch.push(&format!("CREATE SCHEMA {};", Identifier::from(schema)));
                batch.push(&match row {
                    TrackerRow::Missing => format!(
                        "INSERT INTO public.schema_tracker (name, state) VALUES ({}, {});",
                        Literal(schema.as_str()),
                        Literal(state.as_str())
                    ),
                    TrackerRow::Known => set_state(schema, *state),
                });
                batch.push(&path.set_for_transaction());
                batch.guard(&[path.guard()]);
                batch.push(&ledger::create(schema));
            }
            Opening::Continue { applied } => {
                batch.push(&path.set_for_transaction());
                batch.guard(&[
                    target.lock_for_transaction(),
                    path.guard(),
                    tracker_guard(schema, TrackerRow::Known),
                    ledger::guard(schema, applied, CHANGED),
                ]);
            }
            Opening::Begin => {
                batch.push(&path.set_for_transaction());
                batch.guard(&[
                    target.lock_for_transaction(),
                    path.guard(),
                    tracker_guard(schema, TrackerRow::Known),
                    format!(
                        "IF EXISTS (SELECT FROM pg_catalog.pg_class WHERE relnamespace = {}::regnamespace) \
                         THEN RAISE EXCEPTION '{CHANGED}'; END IF;",
                        Literal(&Identifier::from(schema).to_string())
                    ),
                ]);
                batch.push(&ledger::create(schema));
            }
            Opening::Public { applied } => {
                batch.push(&path.set_for_transaction());
                batch.guard(&[target.lock_for_transaction(), path.guard()]);
                batch.push(&ledger::create(schema));
                batch.guard(&[ledger::guard(schema, applied, CHANGED)]);
            }
        }
        batch
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

    /// Adds a migration and its ledger row. The path is set anew: the migration before may have changed it from within a
    /// function.
    pub(crate) fn migration(&mut self, target: Target<'_>, index: usize) {
        let migration = target.migrations().at(index);
        self.push(&target.tenancy.path(target.schema).set_for_transaction());
        self.may_leave_state |= migration.up().traits().may_leave_state;
        self.script(index, migration.up().text());
        self.push(&ledger::insert(target.schema, [migration.version().as_str()]));
    }

    /// Adds a script as it is.
    pub(crate) fn script(&mut self, index: usize, text: &str) {
        let start = self.sql.len();
        self.sql.push_str(text);
        self.scripts.push((index, start..self.sql.len()));
        // The script may end in a comment, and without a semicolon.
        self.sql.push_str("\n;\n");
    }

    /// Ends the transaction; the message is ready.
    pub(crate) fn commit(mut self) -> Self {
        self.push("COMMIT;");
        if self.may_leave_state {
            self.push("RESET SESSION AUTHORIZATION; RESET ROLE; DISCARD TEMP;");
        }
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
        self.scripts.iter().find(|(_, range)| range.contains(&byte)).map(|(index, range)| (*index, byte - range.start))
    }
}

impl<'a> Target<'a> {
    /// A tenant's schema.
    pub(crate) fn tenant(tenancy: &'a Tenancy, schema: &'a SchemaName) -> Self {
        Self { tenancy, schema, kind: Kind::Tenant }
    }

    /// The migrations that are run in it.
    pub(crate) fn migrations(&self) -> &'a MigrationSet {
        match self.kind {
            Kind::Public => self.tenancy.public_migrations(),
            Kind::Tenant => self.tenancy.tenant_migrations(),
        }
    }

    /// One of its migrations.
    pub(crate) fn migration(&self, index: usize) -> &'a Migration {
        self.migrations().at(index)
    }

    /// The key of the advisory lock that whoever changes the schema holds. The server makes it, so that all sessions have
    /// the same; names that differ only by case share it.
    pub(crate) fn lock_key(&self) -> String {
        lock_key(&Literal(self.schema.as_str()).to_string())
    }

    /// A condition that takes the lock until the end of the transaction. It is tried, not waited for: who waits holds a
    /// snapshot, and `CREATE INDEX CONCURRENTLY` of the session that has the lock waits for old snapshots to go.
    pub(crate) fn lock_for_transaction(&self) -> String {
        self.lock("pg_try_advisory_xact_lock")
    }

    /// The same until the session gives it back.
    pub(crate) fn lock_for_session(&self) -> String {
        self.lock("pg_try_advisory_lock")
    }

    fn lock(&self, function: &str) -> String {
        let busy = Objection::Busy.message();
        format!("IF NOT pg_catalog.{function}({}) THEN RAISE EXCEPTION '{busy}'; END IF;", self.lock_key())
    }
}

/// An SQL expression for the key of a schema's advisory lock, given one for the schema's name.
pub(crate) fn lock_key(name: &str) -> String {
    format!("pg_catalog.hashtextextended('tenantry:' || pg_catalog.lower({name}::text COLLATE \"C\"), 0::bigint)")
}

/// SQL that puts a tenant into a state.
pub(crate) fn set_state(schema: &SchemaName, state: State) -> String {
    format!(
        "UPDATE public.schema_tracker SET state = {} WHERE name = {};",
        Literal(state.as_str()),
        Literal(schema.as_str())
    )
}

/// The statement timeout, where there is one: `SET LOCAL` for the transaction, `SET` for the session.
pub(crate) fn statement_timeout(set: &str, tenancy: &Tenancy) -> String {
    tenancy
        .statement_timeout()
        .map(|timeout| format!("{set} statement_timeout TO {};", timeout.as_millis()))
        .unwrap_or_default()
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
            "IF NOT EXISTS (SELECT FROM public.schema_tracker WHERE name = {name} AND state <> 'dropping') \
             THEN RAISE EXCEPTION '{CHANGED}'; END IF;"
        ),
    }
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

    #[test]
    fn an_objection_is_known_by_its_text_alone() {
        for objection in Objection::ALL {
            assert_eq!(Objection::in_message(objection.message()), Some(objection));
            assert!(!objection.message().contains(['%', '\'', '"']), "it stands in a format of RAISE");
        }
        assert_eq!(Objection::in_message("relation \"x\" does not exist"), None);
    }
}
