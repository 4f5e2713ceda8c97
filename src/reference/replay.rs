//! The tenant migrations run in an empty schema, for what they produce.

use std::collections::{BTreeMap, BTreeSet};

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Oid, Text};

use super::owner::{self, Owner};
use super::scratch::{self, Scratch};
use super::{Applied, Reference, Unavailable};
use crate::database::Database;
use crate::error::Error;
use crate::ledger;
use crate::migration::{Migration, MigrationSet, Mode};
use crate::name::SchemaName;
use crate::postgres::ServerMessage;
use crate::postgres::message::{LOCKED, telling};
use crate::sql::quote::{Identifier, Literal};
use crate::structure::{self, Structure};
use crate::tenancy::Tenancy;

/// How long the migrations may wait for a lock on what they refer to outside the schema: a check must not queue up behind
/// a long transaction, for others would queue up behind it.
const TIMEOUTS: &str = "SET LOCAL lock_timeout TO '2s'; SET LOCAL statement_timeout TO 0;";

/// How many sets of migrations that leave some out are run, each from the beginning.
const MOST_WITH_GAPS: usize = 20;

/// Which migrations are run, by their places in the set, and after how many of them the structure is read.
struct Run<'a> {
    tenancy: &'a Tenancy,
    server_version: i32,
    owner: Option<&'a Owner>,
    migrations: Vec<usize>,
    read_after: BTreeSet<usize>,
}

/// What a run came to.
#[derive(Default)]
struct Played {
    /// The tables after the first n migrations.
    tables: Vec<BTreeSet<String>>,
    /// The structures after the first n migrations, for those n that were asked for.
    structures: BTreeMap<usize, Structure>,
}

/// Whether to find out why a migration fails.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Careful {
    /// Each migration is sent as it is.
    No,
    /// Each goes through a block that tells a lock that was not had from other failures.
    Yes,
}

/// How a failure for somebody's lock is told from others.
const FOR_A_LOCK: [(&str, &str); 1] = [("lock_not_available OR query_canceled OR deadlock_detected", LOCKED)];

/// Makes the reference; see [`Reference::make`].
pub(super) fn make(
    db: &mut Database,
    tenancy: &Tenancy,
    wanted: &BTreeSet<Applied>,
) -> Result<Result<Reference, Unavailable>, Error> {
    if let Some(why) = not_allowed(db)? {
        return Ok(Err(Unavailable::NotAllowed(why)));
    }
    scratch::sweep(db.connection())?;
    let owner = match db.server().has_tracker && !db.server().tracker_is_hidden {
        true => owner::of_fleet(db.connection())?,
        false => None,
    };
    let set = tenancy.tenant_migrations();
    let (prefixes, with_gaps): (Vec<&Applied>, Vec<&Applied>) =
        wanted.iter().partition(|applied| is_prefix(applied, set));
    let run = |migrations: Vec<usize>, read_after: BTreeSet<usize>| Run {
        tenancy,
        server_version: db.server().version,
        owner: owner.as_ref(),
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

    let mut played = match all.play(db)? {
        Ok(played) => played,
        Err(unavailable) => return Ok(Err(unavailable)),
    };
    let mut structures = BTreeMap::new();
    for applied in prefixes {
        if let Some(structure) = played.structures.remove(&applied.len()) {
            structures.insert(applied.clone(), structure);
        }
    }
    for (applied, run) in others {
        // A migration that needs one that the tenant lacks fails here: then there is nothing to hold the tenant against.
        if let Ok(mut played) = run.play(db)?
            && let Some((_, structure)) = played.structures.pop_first()
        {
            structures.insert(applied.clone(), structure);
        }
    }
    // What this role made is its own, though tenants may be another's. All other owners are told relative to the schema's.
    if let Some(owner) = owner {
        for facts in structures.values_mut().filter_map(Structure::schema_facts) {
            facts.insert("owner".to_owned(), owner.name.clone().into());
        }
    }
    Ok(Ok(Reference { tables: played.tables, structures }))
}

/// Why this session cannot make a schema.
fn not_allowed(db: &mut Database) -> Result<Option<&'static str>, Error> {
    if db.server().in_recovery {
        return Ok(Some("the server is a standby"));
    }
    let (may_create, read_only): (bool, bool) = diesel::select((
        sql::<Bool>("has_database_privilege(current_database(), 'CREATE')"),
        sql::<Bool>("current_setting('default_transaction_read_only')::bool"),
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
    fn play(&self, db: &mut Database) -> Result<Result<Played, Unavailable>, Error> {
        let played = self.in_transaction(db.connection(), Careful::No)?;
        let Err((failed, Unavailable::Failed { .. })) = &played else {
            return Ok(played.map_err(|(_, unavailable)| unavailable));
        };
        let failed = *failed;
        // Was it the migration, or somebody's lock?
        match self.in_transaction(db.connection(), Careful::Yes)? {
            Err((_, Unavailable::NotAllowed(why))) => Ok(Err(Unavailable::NotAllowed(why))),
            // It was a lock, and it is gone.
            Ok(played) => Ok(Ok(played)),
            Err(_) if self.may_need_commits(failed) => self.in_schema_of_its_own(db),
            // In the words of the migration, and not in those of the block around it.
            Err(_) => Ok(played.map_err(|(_, unavailable)| unavailable)),
        }
    }

    /// Whether a migration may have failed because those before it were not committed: it uses a value that one of them
    /// adds to an enum; or because it commits by itself.
    fn may_need_commits(&self, failed: usize) -> bool {
        let set = self.tenancy.tenant_migrations();
        let of_run = |place: usize| set.at(self.migrations[place]);
        of_run(failed).mode() == Mode::NonTransactional
            || (0..failed).any(|place| of_run(place).up().traits().adds_enum_value)
    }

    /// Runs the migrations in a transaction, and rolls it back. A failure comes with its place in the run.
    fn in_transaction(
        &self,
        conn: &mut PgConnection,
        careful: Careful,
    ) -> Result<Result<Played, (usize, Unavailable)>, Error> {
        let played = self.in_open_transaction(conn, careful);
        let rolled_back = conn.batch_execute("ROLLBACK").map_err(Error::doing("roll the reference back"));
        let played = played?;
        rolled_back?;
        Ok(played)
    }

    fn in_open_transaction(
        &self,
        conn: &mut PgConnection,
        careful: Careful,
    ) -> Result<Result<Played, (usize, Unavailable)>, Error> {
        let own = Error::doing("make the reference");
        let name = scratch::name();
        let path = self.tenancy.path(&name);
        conn.batch_execute(&format!(
            "BEGIN; {TIMEOUTS} {} CREATE SCHEMA {}; {} {} DO {};",
            self.role(),
            Identifier::from(&name),
            ledger::create(&name),
            path.set_for_transaction(),
            Literal(&format!("BEGIN {} END", path.guard())),
        ))
        .map_err(&own)?;
        let schema = oid(conn, &name).map_err(&own)?;
        let mut played = Played::default();
        for place in 0..=self.migrations.len() {
            self.read(conn, schema, place, &mut played).map_err(&own)?;
            let Some(migration) = self.migration(place) else { break };
            if let Err(error) = run(conn, &path.set_for_transaction(), migration, careful) {
                if ServerMessage::is_connection_lost(&error) {
                    return Err(own(error));
                }
                let server = ServerMessage::from(&error);
                let why = match server.message == LOCKED {
                    true => Unavailable::NotAllowed("a table outside that a migration refers to is locked"),
                    false => Unavailable::Failed { folder: migration.folder().to_owned(), server },
                };
                return Ok(Err((place, why)));
            }
        }
        Ok(Ok(played))
    }

    /// Runs the migrations as tenants get them, each committed, in a schema that is dropped afterwards.
    fn in_schema_of_its_own(&self, db: &mut Database) -> Result<Result<Played, Unavailable>, Error> {
        let own = Error::doing("make the reference");
        if !db.connector().reaches_a_session_of_its_own()? {
            return Ok(Err(Unavailable::NotAllowed(
                "a migration commits, which needs a session of its own, not a pooler's",
            )));
        }
        db.require_free_connection()?;
        let scratch = Scratch::create(db.connector().connect()?, scratch::name()).map_err(&own)?;
        self.in_scratch(scratch, &own)
    }

    fn in_scratch(
        &self,
        mut scratch: Scratch,
        own: &impl Fn(diesel::result::Error) -> Error,
    ) -> Result<Result<Played, Unavailable>, Error> {
        let played = self.committed(&mut scratch, own);
        let dropped = scratch.drop().map_err(Error::doing("drop the schema of the reference"));
        let played = played?;
        dropped?;
        Ok(played)
    }

    fn committed(
        &self,
        scratch: &mut Scratch,
        own: &impl Fn(diesel::result::Error) -> Error,
    ) -> Result<Result<Played, Unavailable>, Error> {
        let path = self.tenancy.path(&scratch.name);
        let conn = &mut scratch.conn;
        let guarded = format!("{} DO {};", path.set_for_session(), Literal(&format!("BEGIN {} END", path.guard())));
        conn.batch_execute(&format!("SET lock_timeout TO '2s'; {guarded} {}", ledger::create(&scratch.name)))
            .map_err(own)?;
        let schema = oid(conn, &scratch.name).map_err(own)?;
        let mut played = Played::default();
        for place in 0..=self.migrations.len() {
            conn.batch_execute("BEGIN").map_err(own)?;
            self.read(conn, schema, place, &mut played).map_err(own)?;
            conn.batch_execute("ROLLBACK").map_err(own)?;
            let Some(migration) = self.migration(place) else { break };
            let ran = match migration.mode() {
                Mode::Transactional => conn
                    .batch_execute(&format!("BEGIN; {guarded} {}", migration.up().text()))
                    .and_then(|()| conn.batch_execute("COMMIT")),
                Mode::NonTransactional => conn.batch_execute(&guarded).and_then(|()| {
                    let statements = migration.up().statements();
                    statements
                        .iter()
                        .filter_map(|statement| statement.transactional_form())
                        .try_for_each(|statement| conn.batch_execute(&statement))
                }),
            };
            if let Err(error) = ran {
                if ServerMessage::is_connection_lost(&error) {
                    return Err(own(error));
                }
                let server = ServerMessage::from(&error);
                return Ok(Err(Unavailable::Failed { folder: migration.folder().to_owned(), server }));
            }
        }
        // It says what the schema is for.
        for facts in played.structures.values_mut().filter_map(Structure::schema_facts) {
            facts.remove("comment");
        }
        Ok(Ok(played))
    }

    fn migration(&self, place: usize) -> Option<&Migration> {
        self.migrations.get(place).map(|index| &**self.tenancy.tenant_migrations().at(*index))
    }

    fn role(&self) -> String {
        match self.owner {
            Some(owner) if owner.can_be => format!("SET LOCAL ROLE {};", Identifier::of_object(&owner.name)),
            _ => String::new(),
        }
    }

    /// Reads what is there before the migration of this place, which is after as many. The path is as the one before has
    /// left it.
    fn read(&self, conn: &mut PgConnection, schema: u32, place: usize, played: &mut Played) -> QueryResult<()> {
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
fn oid(conn: &mut PgConnection, name: &SchemaName) -> QueryResult<u32> {
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

fn run(conn: &mut PgConnection, path: &str, migration: &Migration, careful: Careful) -> QueryResult<()> {
    let send = |conn: &mut PgConnection, sql: &str| match careful {
        Careful::No => conn.batch_execute(&format!("{path}\n{sql}")),
        Careful::Yes => conn.batch_execute(&format!("{path}\n{}", telling(sql, &FOR_A_LOCK))),
    };
    match migration.mode() {
        Mode::Transactional => send(conn, migration.up().text()),
        Mode::NonTransactional => {
            let statements = migration.up().statements();
            // What has no form for a transaction has no structure to show either.
            statements
                .iter()
                .filter_map(|statement| statement.transactional_form())
                .try_for_each(|statement| send(conn, &statement))
        }
    }
}
