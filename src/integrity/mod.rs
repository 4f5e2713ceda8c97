//! Integrity: a migration stays what it was when it was first applied.
//!
//! `public.schema_migration` keeps each migration as it was then. What is recorded counts as soon as some ledger has the
//! version: until then a migration that failed everywhere may be mended. Each message that applies a migration checks
//! that it is recorded as it is.

mod accept;
mod find;
mod record;

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, Utc};
use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::pg::PgConnection;
use diesel::result::{Error as DieselError, QueryResult};
use diesel::sql_types::Text;

use crate::database::Database;
use crate::error::Error;
use crate::lock_holder::{APPLICATION, LockHolder};
use crate::migration::{Kind, MigrationSet, Version};
use crate::name::TenantName;
use crate::postgres::{Objection, ServerMessage};
use crate::sql::quote::Literal;
use crate::tenancy::Tenancy;

use find::{Findings, find};

pub use accept::{accept, accepted_removed};
pub use find::require_own;
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

/// A migration that is not as it was when it was first applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Of which set it is.
    pub kind: Kind,
    /// Its version.
    pub version: Version,
    /// Its folder, now or then.
    pub folder: String,
    /// What is different.
    pub what: What,
    /// A tenant whose ledger cannot be read, where that alone may have the version.
    pub in_doubt: Option<TenantName>,
}

/// In what a migration is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It has other statements.
    Edited {
        /// When it was recorded.
        recorded_at: DateTime<Utc>,
        /// The lines that differ, as in a unified diff.
        difference: String,
    },
    /// It was applied and is none of the migrations any more.
    Removed {
        /// When it was recorded.
        recorded_at: DateTime<Utc>,
    },
    /// It was not applied anywhere, and comes before one that was.
    OutOfOrder {
        /// The newest that was applied.
        applied: String,
    },
}

/// Migrations that are not as they were; not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes(pub Vec<Change>);

/// All the migrations of a kind, whichever of them are to be applied.
fn set(kind: Kind, tenancy: &Tenancy) -> &MigrationSet {
    match kind {
        Kind::Public => tenancy.public_migrations(),
        Kind::Tenant => tenancy.all_tenant_migrations(),
    }
}

impl What {
    /// As it stands in `public.schema_acceptance`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Edited { .. } => "edited",
            Self::Removed { .. } => "removed",
            Self::OutOfOrder { .. } => "out-of-order",
        }
    }
}

impl Change {
    /// What is different, in a line.
    pub fn summary(&self) -> String {
        let since = |time: &DateTime<Utc>| {
            let time = time.format("%Y-%m-%d %H:%M UTC");
            match self.in_doubt {
                None => format!("applied (recorded on {time})"),
                Some(_) => format!("recorded on {time}"),
            }
        };
        let what = match &self.what {
            What::Edited { recorded_at, .. } => format!("was edited since it was {}", since(recorded_at)),
            What::Removed { recorded_at } => {
                format!("was {}, and is none of the migrations any more", since(recorded_at))
            }
            What::OutOfOrder { applied } => format!("is applied nowhere, and comes before {applied}, which is"),
        };
        let doubt = self.in_doubt.as_ref().map_or_else(String::new, |tenant| {
            format!("; whether it is applied in {tenant} cannot be told, for its ledger cannot be read")
        });
        format!("the {} migration {} {what}{doubt}", self.kind, self.folder)
    }

    /// The command that accepts it, to be completed.
    pub(crate) fn accept(&self) -> String {
        format!("repair --accept {} --reason TEXT", self.version)
    }

    /// What to do about it, but to accept it.
    pub fn hint(&self) -> &'static str {
        match self.what {
            What::Edited { .. } => "put it back as it was applied, and make the change in a migration of its own",
            What::Removed { .. } => "put it back, or use the release that has it",
            What::OutOfOrder { .. } => "give it a version that makes it the last",
        }
    }
}

impl Changes {
    /// What to do about them: about the first of several, and the command that accepts all of them.
    pub(crate) fn hint(&self, command: &dyn Fn(&str) -> String) -> Option<String> {
        let first = self.0.first()?;
        let accepts = if self.0.len() == 1 { "accepts it" } else { "accepts all" };
        Some(format!("{}; or '{}' {accepts}", first.hint(), command(&self.accept())))
    }

    /// The command that accepts all of them, to be completed.
    fn accept(&self) -> String {
        let (tenant, public): (Vec<&Change>, Vec<&Change>) =
            self.0.iter().partition(|change| change.kind == Kind::Tenant);
        let versions =
            |changes: &[&Change]| changes.iter().map(|change| change.version.clone()).collect::<BTreeSet<_>>();
        let mut flags: Vec<String> = versions(&public).iter().map(|version| format!("--accept {version}")).collect();
        let tenant = versions(&tenant);
        match (tenant.first(), tenant.last()) {
            (Some(first), Some(last)) if tenant.len() > 1 => flags.push(format!("--accept {first}..{last}")),
            (Some(version), _) => flags.push(format!("--accept {version}")),
            _ => {}
        }
        format!("repair {} --reason TEXT", flags.join(" "))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())?;
        match &self.what {
            What::Edited { difference, .. } => {
                f.write_str(":")?;
                difference.lines().try_for_each(|line| write!(f, "\n    {line}"))
            }
            What::Removed { .. } | What::OutOfOrder { .. } => Ok(()),
        }
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => one.fmt(f),
            many => {
                write!(f, "{} migrations are not as they were applied:", many.len())?;
                many.iter().try_for_each(|change| write!(f, "\n  {change}"))
            }
        }
    }
}

/// The migrations that are not as they were when they were first applied, and those that come before one that was. Those
/// whose difference was accepted are not among them. Writes nothing.
///
/// # Errors
/// What the server answered.
pub fn changes(db: &mut Database, tenancy: &Tenancy) -> Result<Vec<Change>, Error> {
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

fn changes_of(db: &mut Database, tenancy: &Tenancy, kinds: &[Kind]) -> Result<Vec<Change>, Error> {
    // An older release's public migrations, or a cleanup that was broken off.
    if !db.server().has_recorded_migrations {
        return Ok(Vec::new());
    }
    Ok(find(db, tenancy, kinds)?.into_iter().flat_map(|(_, found)| found.changes).collect())
}

fn refuse(changes: Vec<Change>) -> Result<(), Error> {
    match changes.is_empty() {
        true => Ok(()),
        false => Err(Error::MigrationsChanged(Changes(changes))),
    }
}

/// The key of the advisory lock that sessions which apply migrations hold in shared mode, and a session that changes what
/// is recorded of them holds in exclusive mode.
pub(crate) const LOCK: &str = "pg_catalog.hashtextextended('tenantry: the recorded migrations', 0::bigint)";

/// Makes sure that nobody applies what is about to be recorded otherwise, until the transaction ends.
fn keep_others_out(conn: &mut PgConnection) -> QueryResult<()> {
    let guard = format!(
        "BEGIN IF NOT pg_catalog.pg_try_advisory_xact_lock({LOCK}) THEN RAISE EXCEPTION '{}'; END IF; END",
        Objection::RecordLocked.message()
    );
    conn.batch_execute(&format!("SET LOCAL application_name TO '{APPLICATION}'; DO {}", Literal(&guard)))
}

/// The error of a transaction that [keeps others out](keep_others_out) and was rolled back.
fn changing(conn: &mut PgConnection, doing: &'static str, error: DieselError) -> Error {
    match Objection::in_message(&ServerMessage::from(&error).message) {
        Some(Objection::RecordLocked) => Error::MigrationsInUse(LockHolder::find(conn, LOCK)),
        _ => Error::doing(doing)(error),
    }
}

/// How long what is recorded is kept as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeptFor {
    /// Until the transaction ends.
    Transaction,
    /// Until the session is [reset](crate::postgres::session::reset), or ends.
    Session,
}

/// A condition that raises [`Objection::NotRecorded`] unless the migrations are recorded as they are, and keeps what is
/// recorded of them so.
pub(crate) fn guard(set: &MigrationSet, migrations: &[usize], kept_for: KeptFor) -> String {
    let rows: Vec<String> = migrations
        .iter()
        .map(|index| {
            let migration = set.at(*index);
            format!("({}, {})", Literal(migration.version().as_str()), Literal(migration.up().checksum()))
        })
        .collect();
    let lock = match kept_for {
        KeptFor::Transaction => "pg_try_advisory_xact_lock_shared",
        KeptFor::Session => "pg_try_advisory_lock_shared",
    };
    format!(
        "IF NOT pg_catalog.{lock}({LOCK}) THEN RAISE EXCEPTION '{locked}'; END IF; \
         IF (SELECT pg_catalog.count(*) FROM public.schema_migration \
         WHERE kind = 'tenant' AND (version::pg_catalog.text, checksum) IN ({})) <> {} THEN RAISE EXCEPTION '{}'; END IF;",
        rows.join(", "),
        rows.len(),
        Objection::NotRecorded.message(),
        locked = Objection::RecordLocked.message()
    )
}
