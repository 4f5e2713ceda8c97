//! Integrity: a migration stays what it was when it was first applied.
//!
//! `public.schema_migration` keeps each migration as it was then. What is recorded counts as soon as some ledger has the
//! version: until then a migration that failed everywhere may be mended. Each message that applies a migration checks
//! that it is recorded as it is.

mod accept;
mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Nullable, Text, Timestamptz};
use similar::TextDiff;

use crate::database::Database;
use crate::error::Error;
use crate::fleet::Fleet;
use crate::migration::{Migration, MigrationSet, Version};
use crate::migrator::{Objection, public_applied};
use crate::sql::quote::Literal;
use crate::tenancy::Tenancy;

pub use accept::accept;
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

/// Which set of migrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Those of the schema `public`.
    Public,
    /// Those of the tenants.
    Tenant,
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

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Tenant => "tenant",
        }
    }

    fn set(self, tenancy: &Tenancy) -> &MigrationSet {
        match self {
            Self::Public => tenancy.public_migrations(),
            Self::Tenant => tenancy.all_tenant_migrations(),
        }
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
    /// What to do about it, but to accept it.
    pub fn hint(&self) -> &'static str {
        match self.what {
            What::Edited { .. } => "put it back as it was applied, and make the change in a migration of its own",
            What::Removed { .. } => "put it back, or use the release that has it",
            What::OutOfOrder { .. } => "give it a version that makes it the last",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, folder, what, .. } = self;
        write!(f, "the {} migration {folder} ", kind.as_str())?;
        let on = |time: &DateTime<Utc>| time.format("%Y-%m-%d %H:%M UTC");
        match what {
            What::Edited { recorded_at, difference } => {
                write!(f, "was edited since it was first applied, on {}:", on(recorded_at))?;
                difference.lines().try_for_each(|line| write!(f, "\n    {line}"))
            }
            What::Removed { recorded_at } => {
                write!(f, "was applied, first on {}, and is none of the migrations any more", on(recorded_at))
            }
            What::OutOfOrder { applied } => {
                write!(f, "is applied nowhere, and comes before {applied}, which is")
            }
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

/// What is recorded of a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Recorded {
    version: String,
    folder: String,
    checksum: String,
    recorded_at: DateTime<Utc>,
}

/// What is recorded of a set, and what was accepted.
#[derive(Debug, Default)]
struct Record {
    migrations: BTreeMap<String, Recorded>,
    /// Versions, and how they differ.
    accepted: BTreeSet<(String, String)>,
}

/// What is to be done about what is recorded before migrations are applied.
#[derive(Debug, Default)]
struct Findings {
    changes: Vec<Change>,
    /// The versions that are recorded as they are no longer, or are gone, and that no ledger has: what was recorded is of no
    /// use to anybody.
    moot: Vec<String>,
    /// The places in the set of the migrations that are not recorded.
    unrecorded: Vec<usize>,
}

/// Makes sure that every migration that was applied is as it was then, and that none comes before one that was. Those whose
/// difference was accepted are. Writes nothing.
///
/// # Errors
/// [`Error::MigrationsChanged`], or what the server answered.
pub fn check(db: &mut Database, tenancy: &Tenancy) -> Result<(), Error> {
    refuse(find(db, tenancy, &[Kind::Public, Kind::Tenant])?.into_iter().flat_map(|(_, found)| found.changes).collect())
}

/// The same for the public migrations alone.
///
/// # Errors
/// As [`check`].
pub(crate) fn check_public(db: &mut Database, tenancy: &Tenancy) -> Result<(), Error> {
    refuse(find(db, tenancy, &[Kind::Public])?.into_iter().flat_map(|(_, found)| found.changes).collect())
}

fn refuse(changes: Vec<Change>) -> Result<(), Error> {
    match changes.is_empty() {
        true => Ok(()),
        false => Err(Error::MigrationsChanged(Changes(changes))),
    }
}

/// Holds sets of migrations against what is recorded. The ledgers are read only where something is amiss.
fn find(db: &mut Database, tenancy: &Tenancy, kinds: &[Kind]) -> Result<Vec<(Kind, Findings)>, Error> {
    let mut records = read(db.connection())?;
    kinds
        .iter()
        .map(|kind| {
            let record = records.remove(kind.as_str()).unwrap_or_default();
            Ok((*kind, judge(db, tenancy, *kind, &record)?))
        })
        .collect()
}

fn judge(db: &mut Database, tenancy: &Tenancy, kind: Kind, record: &Record) -> Result<Findings, Error> {
    let set = kind.set(tenancy);
    let recorded = &record.migrations;
    let is_accepted = |version: &str, change: &str| record.accepted.contains(&(version.to_owned(), change.to_owned()));

    let unrecorded: Vec<usize> =
        (0..set.len()).filter(|index| !recorded.contains_key(set.at(*index).version().as_str())).collect();
    let edited: Vec<&Recorded> = recorded
        .values()
        .filter(|was| set.position(&was.version).is_some_and(|index| set.at(index).up().checksum() != was.checksum))
        .collect();
    // What is newer than all of the set is of a newer release, and is none of this one's business.
    let newest_of_set = set.iter().next_back().map(|last| last.version().as_str());
    let removed: Vec<&Recorded> = recorded
        .values()
        .filter(|was| set.position(&was.version).is_none() && !is_accepted(&was.version, "removed"))
        .filter(|was| newest_of_set.is_some_and(|newest| was.version.as_str() < newest))
        .collect();
    let newest = recorded.keys().next_back();
    // The public migrations come from two sides, the tracker's own and the project's, each with an order of its own.
    let late: Vec<usize> = unrecorded
        .iter()
        .copied()
        .filter(|_| kind == Kind::Tenant)
        .filter(|index| newest.is_none_or(|newest| set.at(*index).version().as_str() < newest.as_str()))
        .filter(|index| !is_accepted(set.at(*index).version().as_str(), "out-of-order"))
        .collect();
    let mut findings = Findings { unrecorded, ..Findings::default() };
    if edited.is_empty() && removed.is_empty() && late.is_empty() {
        return Ok(findings);
    }

    let applied = applied_anywhere(db, tenancy, kind)?;
    for was in edited {
        if !applied.contains(&was.version) {
            findings.moot.push(was.version.clone());
            findings.unrecorded.extend(set.position(&was.version));
        } else if let Some(index) = set.position(&was.version) {
            let difference = difference(db.connection(), kind, set.at(index))?;
            let what = What::Edited { recorded_at: was.recorded_at, difference };
            findings.changes.extend(change(kind, &was.version, &was.folder, what));
        }
    }
    for was in removed {
        match applied.contains(&was.version) {
            true => {
                let what = What::Removed { recorded_at: was.recorded_at };
                findings.changes.extend(change(kind, &was.version, &was.folder, what));
            }
            false => findings.moot.push(was.version.clone()),
        }
    }
    // Only what the set has: a ledger may record what others have applied.
    let newest = applied.iter().rev().find(|version| set.position(version).is_some());
    for index in late {
        let migration = set.at(index);
        let version = migration.version().as_str();
        if let Some(newest) = newest.filter(|newest| version < newest.as_str() && !applied.contains(version)) {
            let what = What::OutOfOrder { applied: newest.clone() };
            findings.changes.extend(change(kind, version, migration.folder(), what));
        }
    }
    findings.unrecorded.sort_unstable();
    Ok(findings)
}

fn change(kind: Kind, version: &str, folder: &str, what: What) -> Option<Change> {
    Some(Change { kind, version: version.parse().ok()?, folder: folder.to_owned(), what })
}

/// All that is recorded, by the kind of the set, in one statement.
fn read(conn: &mut PgConnection) -> Result<BTreeMap<String, Record>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        kind: String,
        #[diesel(sql_type = Text)]
        version: String,
        #[diesel(sql_type = Text)]
        folder: String,
        #[diesel(sql_type = Text)]
        checksum: String,
        #[diesel(sql_type = Timestamptz)]
        at: DateTime<Utc>,
        /// Of what was accepted.
        #[diesel(sql_type = Nullable<Text>)]
        change: Option<String>,
    }
    let rows: Vec<Row> = sql_query(
        "SELECT kind, version::text, folder, checksum, recorded_at AS at, NULL AS change FROM public.schema_migration \
         UNION ALL SELECT kind, version::text, '', '', accepted_at, change FROM public.schema_acceptance",
    )
    .load(conn)
    .map_err(Error::doing("read public.schema_migration"))?;
    let mut records: BTreeMap<String, Record> = BTreeMap::new();
    for Row { kind, version, folder, checksum, at, change } in rows {
        let record = records.entry(kind).or_default();
        match change {
            Some(change) => {
                record.accepted.insert((version, change));
            }
            None => {
                let recorded = Recorded { version: version.clone(), folder, checksum, recorded_at: at };
                record.migrations.insert(version, recorded);
            }
        }
    }
    Ok(records)
}

/// The versions that some ledger has.
fn applied_anywhere(db: &mut Database, tenancy: &Tenancy, kind: Kind) -> Result<BTreeSet<String>, Error> {
    match kind {
        Kind::Public => Ok(public_applied(db.connection())?.into_iter().collect()),
        Kind::Tenant => {
            let fleet = Fleet::read(db.connection(), tenancy.tenant_migrations())?;
            let ledgers = fleet.tenants.iter().filter_map(|tenant| tenant.ledger());
            Ok(ledgers.flat_map(|ledger| ledger.applied.iter().cloned()).collect())
        }
    }
}

/// The lines that differ between what was recorded and what is.
fn difference(conn: &mut PgConnection, kind: Kind, migration: &Migration) -> Result<String, Error> {
    /// More lines than this tell no more.
    const LINES: usize = 20;
    use schema_migration as m;
    let was: String = m::table
        .filter(m::kind.eq(kind.as_str()))
        .filter(m::version.eq(migration.version().as_str()))
        .select(m::script)
        .first(conn)
        .map_err(Error::doing("read public.schema_migration"))?;
    let diff = TextDiff::from_lines(was.as_str(), migration.up().text());
    let text = diff.unified_diff().context_radius(1).to_string();
    let mut lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('\\')).collect();
    let more = lines.len().saturating_sub(LINES);
    lines.truncate(LINES);
    let rest = format!("… and {more} lines more");
    if more > 0 {
        lines.push(&rest);
    }
    Ok(lines.join("\n"))
}

/// The key of the lock that is shared by who applies migrations, and had alone by who changes what is recorded.
const LOCK: &str = "pg_catalog.hashtextextended('tenantry: the recorded migrations', 0::bigint)";

/// A condition that raises [`Objection::NotRecorded`] unless the migrations are recorded as they are, and keeps what is
/// recorded of them so until the transaction ends.
pub(crate) fn guard(set: &MigrationSet, migrations: &[usize]) -> String {
    let rows: Vec<String> = migrations
        .iter()
        .map(|index| {
            let migration = set.at(*index);
            format!("({}, {})", Literal(migration.version().as_str()), Literal(migration.up().checksum()))
        })
        .collect();
    format!(
        "IF NOT pg_catalog.pg_try_advisory_xact_lock_shared({LOCK}) OR (SELECT count(*) FROM public.schema_migration \
         WHERE kind = 'tenant' AND (version, checksum) IN ({})) <> {} THEN RAISE EXCEPTION '{}'; END IF;",
        rows.join(", "),
        rows.len(),
        Objection::NotRecorded.message()
    )
}
