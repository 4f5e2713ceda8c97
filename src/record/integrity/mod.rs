//! Integrity: a migration does not change after it was first applied.
//!
//! `public.schema_migration` records each migration before it is first applied. A record is binding once a ledger has the
//! version: until then, a migration that failed for all tenants may be corrected. Each message that applies a migration checks
//! that it matches its record.

mod accept;
mod applied;
mod find;
mod origin;
mod record;
mod recorded;

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
use crate::postgres::{GuardViolation, LockHolder, Refusal, ServerMessage};
use crate::sql::quote::Literal;
use crate::tenants::Tenancy;

use find::{Findings, find};

pub use accept::{accept, accepted_removals};
pub use origin::require_matching_migrations;
pub use record::record;
pub(crate) use record::record_public;
pub use schema::{schema_acceptance, schema_migration};

/// The tables as Diesel sees them.
#[allow(missing_docs)]
mod schema {
    diesel::table! {
        /// The migrations as they were when they were first applied.
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
        /// The accepted changes.
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

/// `schema_migration.version` as `text`. The column is `varchar`, which has no operators in `pg_catalog`; an operator in another
/// schema on the search path would be used.
pub(crate) fn recorded_version() -> SqlLiteral<Text> {
    sql("schema_migration.version::pg_catalog.text")
}

/// All migrations of a kind, including those that are not to be applied.
fn set(kind: Kind, tenancy: &Tenancy) -> &MigrationSet {
    match kind {
        Kind::Public => tenancy.public_migrations(),
        Kind::Tenant => tenancy.all_tenant_migrations(),
    }
}

/// The migrations that were edited or deleted after they were applied, and those that are out of order. Accepted changes are
/// left out. Writes nothing.
///
/// # Errors
/// The server's error.
pub fn changes(db: &mut Database, tenancy: &Tenancy) -> Result<Vec<MigrationChange>, Error> {
    changes_of(db, tenancy, &[Kind::Public, Kind::Tenant])
}

/// Checks that there are no [`changes`]. Every command does this before it changes a tenant. Writes nothing.
///
/// # Errors
/// [`Error::MigrationsChanged`], or the server's error.
pub fn check(db: &mut Database, tenancy: &Tenancy) -> Result<(), Error> {
    refuse(changes(db, tenancy)?)
}

/// As [`check`], for the public migrations only.
///
/// # Errors
/// As [`check`].
pub(crate) fn check_public(db: &mut Database, tenancy: &Tenancy) -> Result<(), Error> {
    refuse(changes_of(db, tenancy, &[Kind::Public])?)
}

fn changes_of(db: &mut Database, tenancy: &Tenancy, kinds: &[Kind]) -> Result<Vec<MigrationChange>, Error> {
    // An earlier release set up the database, or a cleanup was interrupted.
    if !db.server().has_recorded_migrations {
        return Ok(Vec::new());
    }
    Ok(find(db, tenancy, kinds)?.into_iter().flat_map(|(_, found)| found.changes).collect())
}

fn refuse(changes: Vec<MigrationChange>) -> Result<(), Error> {
    if changes.is_empty() { Ok(()) } else { Err(Error::MigrationsChanged(MigrationChanges(changes))) }
}

/// The key of the advisory lock on the recorded migrations. Sessions that apply migrations hold it in shared mode; a session
/// that changes the record of an applied migration holds it in exclusive mode.
pub(crate) const LOCK: &str = "pg_catalog.hashtextextended('tenantry: the recorded migrations', 0::bigint)";

/// Acquires [`LOCK`] in exclusive mode until the end of the transaction, so that no session applies a migration whose record
/// is about to change.
fn lock_exclusively(conn: &mut PgConnection) -> QueryResult<()> {
    let guard = format!(
        "BEGIN IF NOT pg_catalog.pg_try_advisory_xact_lock({LOCK}) THEN RAISE EXCEPTION '{}'; END IF; END",
        GuardViolation::RecordLocked.message()
    );
    conn.batch_execute(&format!("SET LOCAL application_name TO '{APPLICATION}'; DO {}", Literal(&guard)))
}

/// The error of a transaction that [locks the record](lock_exclusively) and was rolled back.
fn lock_error(conn: &mut PgConnection, doing: &'static str, error: DieselError) -> Error {
    match GuardViolation::from_message(&ServerMessage::from(&error).message) {
        Some(GuardViolation::RecordLocked) => Error::MigrationsInUse(LockHolder::find(conn, LOCK)),
        _ => Error::doing(doing)(error),
    }
}

/// How long a session holds [`LOCK`] in shared mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockScope {
    /// Until the end of the transaction.
    Transaction,
    /// Until the session is [reset](crate::postgres::session::reset) or ends.
    Session,
}

/// PL/pgSQL statements that acquire [`LOCK`] in shared mode, and raise [`GuardViolation::NotRecorded`] unless each migration
/// matches its record.
pub(crate) fn guard(set: &MigrationSet, migrations: &[usize], kept_for: LockScope) -> String {
    refusals(set, migrations, kept_for).map(|refusal| refusal.in_block()).join(" ")
}

/// The same as two conditions: that the recorded migrations are locked, and, to be asked in a later statement, that they
/// are others.
pub(crate) fn refusals(set: &MigrationSet, migrations: &[usize], kept_for: LockScope) -> [Refusal; 2] {
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
    let locked = format!("NOT pg_catalog.{lock}({LOCK})");
    let others = format!(
        "(SELECT pg_catalog.count(*) FROM public.schema_migration \
         WHERE kind = 'tenant' AND (version::pg_catalog.text, checksum) IN ({})) <> {}",
        rows.join(", "),
        rows.len(),
    );
    [Refusal::new(GuardViolation::RecordLocked, locked), Refusal::new(GuardViolation::NotRecorded, others)]
}
