//! Replays the tenant migrations in an empty schema to learn the structure that they produce.
//!
//! The replay runs [in a transaction](super::transaction) that is rolled back. If a migration fails because it needs a
//! commit before it, the migrations run again in a schema of their own and are [committed](super::committed).

use std::collections::{BTreeMap, BTreeSet};

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Oid, Text};

use super::leftovers;
use super::owner::Owner;
use crate::confine;
use crate::database::Database;
use crate::error::{Error, ReferenceError};
use crate::migration::{Boundaries, Migration, Mode};
use crate::model::SchemaName;
use crate::postgres::message::{LOCKED, NEEDS_COMMIT, NEEDS_COMMIT_CONDITION, with_error_messages};
use crate::postgres::{GuardViolation, SchemaPath, Server, ServerMessage};
use crate::schema::structure::{self, Structure};
use crate::sql::quote::{Identifier, Literal};
use crate::tenants::{Tenancy, ledger};

/// Limits for each migration. A check must not wait long for a lock on what migrations refer to outside the schema,
/// because other sessions would queue up behind it.
pub(super) const TIMEOUTS: &str = "SET LOCAL lock_timeout TO '2s'; SET LOCAL statement_timeout TO 0; \
     SELECT pg_catalog.set_config('citus.enable_schema_based_sharding', 'off', true) \
     WHERE pg_catalog.current_setting('citus.enable_schema_based_sharding', true) <> '';";

/// The message of a migration that fails because of a missing privilege.
const PERMISSION_DENIED: &str = "tenantry: permission denied";

/// The conditions that [`Messages::Recognized`] recognizes.
const CONDITIONS: [(&str, &str); 3] = [
    ("lock_not_available OR query_canceled OR deadlock_detected", LOCKED),
    ("insufficient_privilege", PERMISSION_DENIED),
    NEEDS_COMMIT_CONDITION,
];

/// A replay of migrations.
pub(super) struct Replay<'a> {
    pub(super) tenancy: &'a Tenancy,
    pub(super) server: &'a Server,
    pub(super) owner: Option<&'a Owner>,
    /// See [`confine::read_horizon`].
    pub(super) horizon: u32,
    /// The migrations, by their positions in the set.
    pub(super) migrations: Vec<usize>,
    /// The numbers of migrations after which the structure is read.
    pub(super) read_after: BTreeSet<usize>,
    /// Whether what the migrations leave besides the structure is read, too.
    pub(super) reads_leftovers: bool,
}

/// The result of a replay.
#[derive(Default)]
pub(super) struct Replayed {
    /// The tables after the first n migrations.
    pub(super) tables: Vec<BTreeSet<String>>,
    /// The structures after the first n migrations, for each requested n.
    pub(super) structures: BTreeMap<usize, Structure>,
    /// See [`leftovers::read`].
    pub(super) leftovers: Option<String>,
}

/// Why a replay that is rolled back failed.
pub(super) enum UncommittedFailure {
    /// A statement of tenantry's own failed.
    Error(Error),
    /// A migration failed.
    Migration(FailedReplay),
    /// A deferred trigger failed, which may not fail at a commit.
    NeedsCommits,
}

/// A migration that failed.
pub(super) struct FailedReplay {
    /// Its index in [`Replay::migrations`].
    pub(super) index: usize,
    pub(super) server: ServerMessage,
}

/// The error messages of a migration.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Messages {
    /// The server's, which may be translated.
    Server,
    /// Those of [`CONDITIONS`] where one applies.
    Recognized,
}

impl From<Error> for UncommittedFailure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Replay<'_> {
    /// Replays the migrations.
    ///
    /// # Errors
    /// [`Error::NoReference`], or the server's error for one of tenantry's own statements.
    pub(super) fn run(&self, db: &mut Database) -> Result<Replayed, Error> {
        let failure = match self.roll_back_after(db.connection(), None) {
            Ok(replayed) => return Ok(replayed),
            Err(UncommittedFailure::Error(error)) => return Err(error),
            Err(UncommittedFailure::NeedsCommits) => return self.run_with_commits(db),
            Err(UncommittedFailure::Migration(failure)) => failure,
        };
        // A tenant commits before this migration, so only a replay with commits is conclusive.
        if failure.index >= self.first_transaction() && self.declared().is_none() {
            return self.run_with_commits(db);
        }
        // The server's message may be translated, so the replay is repeated with recognized messages.
        let reason = match self.roll_back_after(db.connection(), Some(failure.index)) {
            // The lock of another session is free by now.
            Ok(replayed) => return Ok(replayed),
            Err(UncommittedFailure::Error(error)) => return Err(error),
            Err(UncommittedFailure::NeedsCommits) => return self.run_with_commits(db),
            Err(UncommittedFailure::Migration(FailedReplay { server, .. })) => server.message,
        };
        match reason.as_str() {
            LOCKED => Err(Error::from(ReferenceError::Locked)),
            NEEDS_COMMIT => self.run_with_commits(db),
            PERMISSION_DENIED => Err(self.permission_denied(failure)),
            _ => Err(self.explain(db.connection(), failure)),
        }
    }

    /// The number of migrations, from the first on, in the first transaction of a tenant that gets all of them.
    fn first_transaction(&self) -> usize {
        self.tenancy.tenant_migrations().first_transaction(&self.migrations, &Boundaries::default()).len()
    }

    /// The first migration that declares that it changes objects outside the tenant's schema.
    pub(super) fn declared(&self) -> Option<&Migration> {
        (0..self.migrations.len()).filter_map(|index| self.migration(index)).find(|it| it.outside_reason().is_some())
    }

    pub(super) fn migration(&self, index: usize) -> Option<&Migration> {
        self.migrations.get(index).map(|position| &**self.tenancy.tenant_migrations().at(*position))
    }

    /// SQL that becomes the role that owns the tenants, if this session can; `set` is `SET` or `SET LOCAL`.
    pub(super) fn set_role(&self, set: &str) -> String {
        match self.owner {
            Some(owner) if owner.can_be => format!("{set} ROLE {};", Identifier::of_object(&owner.name)),
            _ => String::new(),
        }
    }

    /// The error for a migration whose transaction is rolled back.
    pub(super) fn explain(&self, conn: &mut PgConnection, failure: FailedReplay) -> Error {
        let message = &failure.server.message;
        if message.starts_with("permission denied for ") || message.starts_with("must be owner of ") {
            return self.permission_denied(failure);
        }
        let folder = self.folder(&failure);
        Error::from(match GuardViolation::from_message(message) {
            Some(GuardViolation::Outside) => {
                ReferenceError::ChangesOutside { folder, objects: confine::objects_outside(conn, &failure.server) }
            }
            _ => ReferenceError::Failed { folder, server: failure.server },
        })
    }

    fn permission_denied(&self, failure: FailedReplay) -> Error {
        let role = self.owner.filter(|owner| owner.can_be).map_or(&self.server.role, |owner| &owner.name);
        Error::from(ReferenceError::PermissionDenied {
            folder: self.folder(&failure),
            role: role.clone(),
            server: failure.server,
        })
    }

    fn folder(&self, failure: &FailedReplay) -> String {
        self.migration(failure.index).map(|migration| migration.folder().to_owned()).unwrap_or_default()
    }

    /// Reads the tables after the first `count` migrations, and the structure if it is requested.
    pub(super) fn read(
        &self,
        conn: &mut PgConnection,
        schema: u32,
        count: usize,
        replayed: &mut Replayed,
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
        replayed.tables.push(rows.into_iter().map(|row| row.name).collect());
        if self.read_after.contains(&count) {
            let mut structures = structure::read_in_transaction(conn, self.server.version, &[schema])?;
            if let Some(structure) = structures.remove(&schema) {
                replayed.structures.insert(count, structure.with_name_replaced());
            }
        }
        if self.reads_leftovers && count == self.migrations.len() {
            replayed.leftovers = leftovers::read(conn, schema)?;
        }
        Ok(())
    }
}

/// The oid of a schema.
pub(super) fn schema_oid(conn: &mut PgConnection, name: &SchemaName) -> QueryResult<u32> {
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

/// Runs a migration in the transaction, with `settings` before each message. A statement without a transactional form
/// does not affect the structure.
pub(super) fn run_migration(
    conn: &mut PgConnection,
    settings: &str,
    migration: &Migration,
    messages: Messages,
) -> QueryResult<()> {
    let send = |conn: &mut PgConnection, sql: &str| match messages {
        Messages::Server => conn.batch_execute(&format!("{settings}\n{sql}")),
        Messages::Recognized => conn.batch_execute(&format!("{settings}\n{}", with_error_messages(sql, &CONDITIONS))),
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
