//! Replays the tenant migrations in an empty schema to learn the structure that they produce.
//!
//! The replay runs in a transaction that is rolled back. It obeys the rule by which tenants are migrated
//! ([`MigrationSet::first_transaction`]): where that rule commits, the replay runs the deferred triggers, as a commit does.
//! If a migration fails because it needs a real commit before it, the migrations run again in a schema of their own
//! and are [committed](super::committed).

use std::collections::{BTreeMap, BTreeSet};

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Oid, Text};

use super::confined::Confined;
use super::owner::{self, Owner};
use super::scratch;
use super::{Applied, Reference};
use crate::confine;
use crate::database::Database;
use crate::error::{Error, ReferenceError};
use crate::migration::{Boundaries, Migration, MigrationSet, Mode};
use crate::model::SchemaName;
use crate::postgres::message::{LOCKED, NEEDS_COMMIT, NEEDS_COMMIT_CONDITION, with_error_messages};
use crate::postgres::{GuardViolation, SchemaPath, ServerMessage};
use crate::schema::structure::{self, Structure};
use crate::sql::quote::{Identifier, Literal};
use crate::tenants::{Tenancy, ledger};

/// Limits for each migration. A check must not wait long for a lock on what migrations refer to outside the schema,
/// because other sessions would queue up behind it.
pub(super) const TIMEOUTS: &str = "SET LOCAL lock_timeout TO '2s'; SET LOCAL statement_timeout TO 0;";

/// Ends a replay that is rolled back and removes what outlasts a rollback: advisory locks and prepared statements. Those of
/// the protocol are not from a migration; behind a pooler they may be another client's.
const ROLL_BACK: &str = "ROLLBACK; SELECT pg_catalog.pg_advisory_unlock_all(); \
                         DO 'DECLARE prepared text; BEGIN \
                             FOR prepared IN SELECT name FROM pg_catalog.pg_prepared_statements WHERE from_sql LOOP \
                                 EXECUTE pg_catalog.format(''DEALLOCATE %I'', prepared); \
                             END LOOP; \
                         END';";

/// The most sets of migrations with gaps that are replayed, each from the beginning.
const MOST_WITH_GAPS: usize = 20;

/// What [`with_error_messages`] recognizes in a migration that fails.
const RECOGNIZED: [(&str, &str); 2] =
    [("lock_not_available OR query_canceled OR deadlock_detected", LOCKED), NEEDS_COMMIT_CONDITION];

/// Which migrations are replayed, by their places in the set, and after how many of them the structure is read.
pub(super) struct Run<'a> {
    pub(super) tenancy: &'a Tenancy,
    server_version: i32,
    owner: Option<&'a Owner>,
    /// See [`confine::read_horizon`].
    pub(super) horizon: u32,
    pub(super) migrations: Vec<usize>,
    read_after: BTreeSet<usize>,
}

/// The result of a replay.
#[derive(Default)]
pub(super) struct Played {
    /// The tables after the first n migrations.
    tables: Vec<BTreeSet<String>>,
    /// The structures after the first n migrations, for each requested n.
    pub(super) structures: BTreeMap<usize, Structure>,
}

/// Why a replay has no result.
pub(super) enum Stop {
    /// A statement of tenantry's own failed.
    Error(Error),
    /// There is no reference.
    Unavailable(ReferenceError),
}

/// Why a replay that is rolled back has no result.
enum Setback {
    /// A statement of tenantry's own failed.
    Error(Error),
    /// A migration failed.
    Failed(Failure),
    /// The deferred triggers did not run as they would at a commit.
    NeedsCommits,
}

/// A migration that failed.
pub(super) struct Failure {
    /// Its place in the run.
    pub(super) place: usize,
    pub(super) server: ServerMessage,
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

impl From<Error> for Setback {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Makes the reference; see [`Reference::make`].
pub(super) fn make(
    db: &mut Database,
    tenancy: &Tenancy,
    wanted: &BTreeSet<Applied>,
) -> Result<Result<Reference, ReferenceError>, Error> {
    if let Some(why) = not_allowed(db)? {
        return Ok(Err(ReferenceError::NotAllowed(why)));
    }
    scratch::sweep(db.connection())?;
    let owner = match db.server().has_tracker && !db.server().tracker_is_hidden {
        true => owner::of_fleet(db.connection())?,
        false => None,
    };
    let horizon = confine::read_horizon(db.connection()).map_err(Error::doing("make the reference"))?;
    let set = tenancy.tenant_migrations();
    let (prefixes, with_gaps): (Vec<&Applied>, Vec<&Applied>) =
        wanted.iter().partition(|applied| is_prefix(applied, set));
    let run = |migrations: Vec<usize>, read_after: BTreeSet<usize>| Run {
        tenancy,
        server_version: db.server().version,
        owner: owner.as_ref(),
        horizon,
        migrations,
        read_after,
    };
    let all = run((0..set.len()).collect(), prefixes.iter().map(|applied| applied.len()).collect());
    let others: Vec<(&Applied, Run<'_>)> = with_gaps
        .into_iter()
        .take(MOST_WITH_GAPS)
        .map(|applied| {
            let migrations: Vec<usize> = applied.iter().filter_map(|version| set.position(version)).collect();
            let read_after = BTreeSet::from([migrations.len()]);
            (applied, run(migrations, read_after))
        })
        .collect();

    let mut played = match all.play(db) {
        Ok(played) => played,
        Err(Stop::Unavailable(why)) => return Ok(Err(why)),
        Err(Stop::Error(error)) => return Err(error),
    };
    let mut structures = BTreeMap::new();
    for applied in prefixes {
        if let Some(structure) = played.structures.remove(&applied.len()) {
            structures.insert(applied.clone(), structure);
        }
    }
    for (applied, run) in others {
        match run.play(db) {
            Ok(mut played) => {
                structures.extend(played.structures.pop_first().map(|(_, structure)| (applied.clone(), structure)));
            }
            // A migration needs one that these tenants do not have, so there is no reference for them.
            Err(Stop::Unavailable(_)) => {}
            Err(Stop::Error(error)) => return Err(error),
        }
    }
    // The session's role owns what it creates, though tenants may belong to another. Other owners are relative to this.
    if let Some(owner) = owner {
        for facts in structures.values_mut().filter_map(Structure::schema_facts) {
            facts.insert("owner".to_owned(), owner.name.clone().into());
        }
    }
    Ok(Ok(Reference { tables: played.tables, structures, set: set.clone() }))
}

/// Why this session cannot make a schema.
fn not_allowed(db: &mut Database) -> Result<Option<&'static str>, Error> {
    if db.server().in_recovery {
        return Ok(Some("no schema can be created on a standby server"));
    }
    let (may_create, read_only): (bool, bool) = diesel::select((
        sql::<Bool>("pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')"),
        sql::<Bool>("pg_catalog.current_setting('default_transaction_read_only')::pg_catalog.bool"),
    ))
    .get_result(db.connection())
    .map_err(Error::doing("ask for this role's rights"))?;
    Ok(match (may_create, read_only) {
        (false, _) => Some("this role may not create a schema in the database"),
        (_, true) => Some("default_transaction_read_only is on"),
        (true, false) => None,
    })
}

fn is_prefix(applied: &Applied, set: &MigrationSet) -> bool {
    applied.iter().enumerate().all(|(index, version)| set.position(version) == Some(index))
}

impl Run<'_> {
    /// Replays the migrations.
    fn play(&self, db: &mut Database) -> Result<Played, Stop> {
        let failed = match self.rolled_back(db.connection(), None) {
            Ok(played) => return Ok(played),
            Err(Setback::Error(error)) => return Err(Stop::Error(error)),
            Err(Setback::NeedsCommits) => return self.in_schema_of_its_own(db),
            Err(Setback::Failed(failed)) => failed,
        };
        // The rule commits before this migration, or it is not transactional: only a replay that commits is conclusive.
        if failed.place >= self.first_transaction() && self.declared().is_none() {
            return self.in_schema_of_its_own(db);
        }
        // The server's message may be translated: the same again, and this time the reason is recognized by its name.
        let reason = match self.rolled_back(db.connection(), Some(failed.place)) {
            // Another session has released its lock.
            Ok(played) => return Ok(played),
            Err(Setback::Error(error)) => return Err(Stop::Error(error)),
            Err(Setback::NeedsCommits) => return self.in_schema_of_its_own(db),
            Err(Setback::Failed(Failure { server, .. })) => server.message,
        };
        match reason.as_str() {
            LOCKED => Err(locked()),
            NEEDS_COMMIT => self.in_schema_of_its_own(db),
            // As the migration itself fails, and not within the block that recognizes the reason.
            _ => Err(self.failed(db.connection(), failed)),
        }
    }

    /// How many migrations, from the first on, share the first transaction of a tenant that gets all of them.
    fn first_transaction(&self) -> usize {
        self.tenancy.tenant_migrations().first_transaction(&self.migrations, &Boundaries::default()).len()
    }

    /// The first migration that declares that it changes objects outside the tenant's schema.
    pub(super) fn declared(&self) -> Option<&Migration> {
        (0..self.migrations.len()).filter_map(|place| self.migration(place)).find(|it| it.outside_reason().is_some())
    }

    /// The places behind which a tenant that gets these migrations commits.
    fn commits(&self) -> BTreeSet<usize> {
        let mut commits = BTreeSet::new();
        let mut at = 0;
        while at < self.migrations.len() {
            let rest = &self.migrations[at..];
            let together = self.tenancy.tenant_migrations().first_transaction(rest, &Boundaries::default());
            // A migration that is not transactional stands alone.
            at += together.len().max(1);
            commits.insert(at - 1);
        }
        commits
    }

    /// Replays the migrations in a transaction that is rolled back. The failure of the migration at the place `explain` has
    /// a message of [`RECOGNIZED`] where one applies.
    fn rolled_back(&self, conn: &mut PgConnection, explain: Option<usize>) -> Result<Played, Setback> {
        let played = self.in_transaction(conn, explain);
        let rolled_back = conn.batch_execute(ROLL_BACK).map_err(Error::doing("roll the reference back"));
        let played = played?;
        rolled_back?;
        Ok(played)
    }

    fn in_transaction(&self, conn: &mut PgConnection, explain: Option<usize>) -> Result<Played, Setback> {
        let own = Error::doing("make the reference");
        let name = scratch::name();
        let path = self.tenancy.path(&name);
        let confined = Confined { schema: &name, neighbours: self.tenancy.extension_schemas(), horizon: self.horizon };
        let set = format!("{TIMEOUTS} {} {}", self.role("SET LOCAL"), path.set_for_transaction());
        conn.batch_execute(&format!(
            "BEGIN; {TIMEOUTS} {} CREATE SCHEMA {}; {} {set} {} {}",
            self.role("SET LOCAL"),
            Identifier::from(&name),
            ledger::create(&name),
            guard(path),
            confined.before(),
        ))
        .map_err(&own)?;
        let schema = oid(conn, &name).map_err(&own)?;
        let run_deferred = format!("{set} {}", run_deferred_triggers(schema));
        let commits = self.commits();
        let mut check = true;
        let mut played = Played::default();
        for place in 0..=self.migrations.len() {
            self.read(conn, schema, place, &mut played).map_err(&own)?;
            let Some(migration) = self.migration(place) else { break };
            // What a migration may change outside is rolled back. It cannot be distinguished from what a later one changes.
            check &= migration.outside_reason().is_none();
            let ran = run(conn, &set, migration, explain == Some(place))
                .and_then(|()| confined.end(conn, migration, check))
                .map_err(|error| (Setback::Failed(Failure { place, server: ServerMessage::from(&error) }), error));
            let ran = match ran {
                Ok(()) if commits.contains(&place) => {
                    conn.batch_execute(&run_deferred).map_err(|error| (Setback::NeedsCommits, error))
                }
                ran => ran,
            };
            if let Err((setback, error)) = ran {
                return Err(match ServerMessage::is_connection_lost(&error) {
                    true => Setback::Error(own(error)),
                    false => setback,
                });
            }
        }
        Ok(played)
    }

    /// Explains the failure of a migration whose transaction is rolled back.
    pub(super) fn failed(&self, conn: &mut PgConnection, failure: Failure) -> Stop {
        let folder = self.migration(failure.place).map(|migration| migration.folder().to_owned()).unwrap_or_default();
        Stop::Unavailable(match GuardViolation::from_message(&failure.server.message) {
            Some(GuardViolation::Outside) => {
                ReferenceError::ChangesOutside { folder, objects: confine::objects_outside(conn, &failure.server) }
            }
            _ => ReferenceError::Failed { folder, server: failure.server },
        })
    }

    pub(super) fn migration(&self, place: usize) -> Option<&Migration> {
        self.migrations.get(place).map(|index| &**self.tenancy.tenant_migrations().at(*index))
    }

    /// SQL that becomes the role that tenants belong to, if this session can; `set` is `SET` or `SET LOCAL`.
    pub(super) fn role(&self, set: &str) -> String {
        match self.owner {
            Some(owner) if owner.can_be => format!("{set} ROLE {};", Identifier::of_object(&owner.name)),
            _ => String::new(),
        }
    }

    /// Reads what exists before the migration at this place.
    pub(super) fn read(
        &self,
        conn: &mut PgConnection,
        schema: u32,
        place: usize,
        played: &mut Played,
    ) -> QueryResult<()> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            name: String,
        }
        let rows: Vec<Row> = sql_query(
            "SELECT relname::pg_catalog.text AS name FROM pg_catalog.pg_class \
             WHERE relnamespace = $1 AND relkind IN ('r', 'p') AND relname <> $2",
        )
        .bind::<Oid, _>(schema)
        .bind::<Text, _>(ledger::TABLE)
        .load(conn)?;
        played.tables.push(rows.into_iter().map(|row| row.name).collect());
        if self.read_after.contains(&place) {
            let mut read = structure::read_in_transaction(conn, self.server_version, &[schema])?;
            if let Some(structure) = read.remove(&schema) {
                played.structures.insert(place, structure.without_its_name());
            }
        }
        Ok(())
    }
}

/// The oid of a schema.
pub(super) fn oid(conn: &mut PgConnection, name: &SchemaName) -> QueryResult<u32> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Oid)]
        oid: u32,
    }
    let row: Row = sql_query("SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1")
        .bind::<Text, _>(name.as_str())
        .get_result(conn)?;
    Ok(row.oid)
}

/// A statement that fails unless the path leads to the schema.
pub(super) fn guard(path: SchemaPath<'_>) -> String {
    format!("DO {};", Literal(&format!("BEGIN {} END", path.guard())))
}

/// A statement that runs the pending triggers of the initially deferred constraints of a schema, as a commit does, and
/// defers them again.
fn run_deferred_triggers(schema: u32) -> String {
    format!(
        "DO {};",
        Literal(&format!(
            "DECLARE deferred text; \
             BEGIN \
                 SELECT pg_catalog.string_agg(DISTINCT pg_catalog.format('%I.%I', n.nspname, k.conname), ', ') INTO deferred \
                 FROM pg_catalog.pg_depend d \
                 JOIN pg_catalog.pg_constraint k ON k.conrelid = d.objid AND k.condeferred \
                 JOIN pg_catalog.pg_namespace n ON n.oid = k.connamespace \
                 WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = {schema} \
                   AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass; \
                 IF deferred IS NOT NULL THEN \
                     EXECUTE 'SET CONSTRAINTS ' || deferred || ' IMMEDIATE'; \
                     EXECUTE 'SET CONSTRAINTS ' || deferred || ' DEFERRED'; \
                 END IF; \
             END"
        ))
    )
}

/// Runs a migration in the transaction, each of its messages behind `set`. What has no form for a transaction changes no
/// structure. `explain` makes a failure have a message of [`RECOGNIZED`] where one applies.
pub(super) fn run(conn: &mut PgConnection, set: &str, migration: &Migration, explain: bool) -> QueryResult<()> {
    let send = |conn: &mut PgConnection, sql: &str| match explain {
        false => conn.batch_execute(&format!("{set}\n{sql}")),
        true => conn.batch_execute(&format!("{set}\n{}", with_error_messages(sql, &RECOGNIZED))),
    };
    match migration.mode() {
        Mode::Transactional => send(conn, migration.up().text()),
        Mode::NonTransactional => migration
            .up()
            .statements()
            .iter()
            .filter_map(|statement| statement.transactional_form())
            .try_for_each(|statement| send(conn, &statement)),
    }
}

pub(super) fn locked() -> Stop {
    Stop::Unavailable(ReferenceError::NotAllowed("a table outside the tenant that a migration refers to is locked"))
}
