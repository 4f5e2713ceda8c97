//! Integrity: a migration stays what it was when it was first applied.
//!
//! `public.schema_migration` keeps each migration as it was then. What is recorded counts as soon as some ledger has the
//! version: until then a migration that failed everywhere may be mended. Each message that applies a migration checks
//! that it is recorded as it is.

mod accept;
mod find;
mod record;

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::pg::PgConnection;
use diesel::result::{Error as DieselError, QueryResult};
use diesel::sql_types::Text;

use crate::database::Database;
use crate::error::{Error, MigrationChange, MigrationChanges};
use crate::migration::{Kind, MigrationSet};
use crate::postgres::lock_holder::APPLICATION;
use crate::postgres::{GuardViolation, LockHolder, ServerMessage};
use crate::sql::quote::Literal;
use crate::tenants::Tenancy;

use find::{Findings, find};

pub use accept::{accept, accepted_removals};
pub use find::require_matching_migrations;
pub use record::record;
pub(crate) use record::record_public;
pub use schema::{schema_acceptance, schema_migration};

/// The tables as Diesel sees them.
#[allow(missing_docs)]
mod schema {
    diesel::table! {
        /// Each migration as it was when it was first applied.
        public.schema_migration (kind, version) {
            kind -> Text,
            version -> Text,
            folder -> Text,
            checksum -> Text,
            script -> Text,
            recorded_at -> Timestamptz,
        }
    }
    diesel::table! {
        /// What was accepted.
        public.schema_acceptance (id) {
            id -> BigInt,
            kind -> Text,
            version -> Text,
            change -> Text,
            old_checksum -> Nullable<Text>,
            old_script -> Nullable<Text>,
            reason -> Text,
            role -> Text,
            os_user -> Nullable<Text>,
            host -> Nullable<Text>,
            accepted_at -> Timestamptz,
        }
    }
}

/// `schema_migration.version` as `text`. The column is `varchar`, which has no operators of its own in `pg_catalog`, so that one
/// on the search path would be used instead.
pub(crate) fn recorded_version() -> SqlLiteral<Text> {
    sql("schema_migration.version::pg_catalog.text")
}

/// All the migrations of a kind, whichever of them are to be applied.
fn set(kind: Kind, tenancy: &Tenancy) -> &MigrationSet {
    match kind {
        Kind::Public => tenancy.public_migrations(),
        Kind::Tenant => tenancy.all_tenant_migrations(),
    }
}

/// The migrations that are not as they were when they were first applied, and those that come before one that was. Those
/// whose difference was accepted are not among them. Writes nothing.
///
/// # Errors
/// What the server answered.
pub fn changes(db: &mut Database, tenancy: &Tenancy) -> Result<Vec<MigrationChange>, Error> {
    changes_of(db, tenancy, &[Kind::Public, Kind::Tenant])
}

/// Makes sure that there are none: what each command does before it changes a tenant. Writes nothing.
///
/// # Errors
/// [`Error::MigrationsChanged`], or what the server answered.
pub fn check(db: &mut Database, tenancy: &Tenancy) -> Result<(), Error> {
    refuse(changes(db, tenancy)?)
}

/// The same for the public migrations alone.
///
/// # Errors
/// As [`check`].
pub(crate) fn check_public(db: &mut Database, tenancy: &Tenancy) -> Result<(), Error> {
    refuse(changes_of(db, tenancy, &[Kind::Public])?)
}

fn changes_of(db: &mut Database, tenancy: &Tenancy, kinds: &[Kind]) -> Result<Vec<MigrationChange>, Error> {
    // An older release's public migrations, or a cleanup that was broken off.
    if !db.server().has_recorded_migrations {
        return Ok(Vec::new());
    }
    Ok(find(db, tenancy, kinds)?.into_iter().flat_map(|(_, found)| found.changes).collect())
}

fn refuse(changes: Vec<MigrationChange>) -> Result<(), Error> {
    match changes.is_empty() {
        true => Ok(()),
        false => Err(Error::MigrationsChanged(MigrationChanges(changes))),
    }
}

/// The key of the advisory lock that sessions which apply migrations hold in shared mode, and a session that changes what
/// is recorded of them holds in exclusive mode.
pub(crate) const LOCK: &str = "pg_catalog.hashtextextended('tenantry: the recorded migrations', 0::bigint)";

/// Makes sure that nobody applies what is about to be recorded otherwise, until the transaction ends.
fn keep_others_out(conn: &mut PgConnection) -> QueryResult<()> {
    let guard = format!(
        "BEGIN IF NOT pg_catalog.pg_try_advisory_xact_lock({LOCK}) THEN RAISE EXCEPTION '{}'; END IF; END",
        GuardViolation::RecordLocked.message()
    );
    conn.batch_execute(&format!("SET LOCAL application_name TO '{APPLICATION}'; DO {}", Literal(&guard)))
}

/// The error of a transaction that [keeps others out](keep_others_out) and was rolled back.
fn changing(conn: &mut PgConnection, doing: &'static str, error: DieselError) -> Error {
    match GuardViolation::from_message(&ServerMessage::from(&error).message) {
        Some(GuardViolation::RecordLocked) => Error::MigrationsInUse(LockHolder::find(conn, LOCK)),
        _ => Error::doing(doing)(error),
    }
}

/// How long what is recorded is kept as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockScope {
    /// Until the transaction ends.
    Transaction,
    /// Until the session is [reset](crate::postgres::session::reset), or ends.
    Session,
}

/// A condition that raises [`GuardViolation::NotRecorded`] unless the migrations are recorded as they are, and keeps what is
/// recorded of them so.
pub(crate) fn guard(set: &MigrationSet, migrations: &[usize], kept_for: LockScope) -> String {
    let rows: Vec<String> = migrations
        .iter()
        .map(|index| {
            let migration = set.at(*index);
            format!("({}, {})", Literal(migration.version().as_str()), Literal(migration.up().checksum()))
        })
        .collect();
    let lock = match kept_for {
        LockScope::Transaction => "pg_try_advisory_xact_lock_shared",
        LockScope::Session => "pg_try_advisory_lock_shared",
    };
    format!(
        "IF NOT pg_catalog.{lock}({LOCK}) THEN RAISE EXCEPTION '{locked}'; END IF; \
         IF (SELECT pg_catalog.count(*) FROM public.schema_migration \
         WHERE kind = 'tenant' AND (version::pg_catalog.text, checksum) IN ({})) <> {} THEN RAISE EXCEPTION '{}'; END IF;",
        rows.join(", "),
        rows.len(),
        GuardViolation::NotRecorded.message(),
        locked = GuardViolation::RecordLocked.message()
    )
}
