//! What is recorded of the migrations, held against what they are.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Nullable, Text, Timestamptz};
use similar::TextDiff;

use super::{recorded_version, schema_migration, set};
use crate::database::Database;
use crate::error::{ChangeKind, Error, MigrationChange};
use crate::migration::{Kind, Migration};
use crate::model::TenantName;
use crate::tenants::{Fleet, Schema, Tenancy, Tenant, ledger};

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
pub(super) struct Findings {
    pub(super) changes: Vec<MigrationChange>,
    /// The versions that are recorded as they are no longer, or are gone, and that no ledger has: what was recorded is of no
    /// use to anybody.
    pub(super) moot: Vec<String>,
    /// The places in the set of the migrations that are not recorded.
    pub(super) unrecorded: Vec<usize>,
}

/// Holds sets of migrations against what is recorded. The ledgers are read only where something is amiss.
pub(super) fn find(db: &mut Database, tenancy: &Tenancy, kinds: &[Kind]) -> Result<Vec<(Kind, Findings)>, Error> {
    let mut records = read(db.connection())?;
    if kinds.contains(&Kind::Tenant) {
        db.use_migrations(tenancy.all_tenant_migrations());
        require_common(db, tenancy, records.get(Kind::Tenant.as_str()))?;
    }
    kinds
        .iter()
        .map(|kind| {
            let record = records.remove(kind.as_str()).unwrap_or_default();
            Ok((*kind, judge(db, tenancy, *kind, &record)?))
        })
        .collect()
}

/// Makes sure that the tenant migrations are those of the database: that they have a version in common with those that it
/// has recorded, or that no tenant has any. Writes nothing. Without tenant migrations there is nothing to compare.
///
/// # Errors
/// [`Error::ForeignMigrations`], or what the server answered.
pub fn require_matching_migrations(db: &mut Database, tenancy: &Tenancy) -> Result<(), Error> {
    let records = match db.server().has_recorded_migrations && db.server().may_read_recorded_migrations {
        true => read(db.connection())?,
        false => BTreeMap::new(),
    };
    require_common(db, tenancy, records.get(Kind::Tenant.as_str()))
}

fn require_common(db: &mut Database, tenancy: &Tenancy, record: Option<&Record>) -> Result<(), Error> {
    let set = tenancy.all_tenant_migrations();
    let is_in_set = |version: &String| set.position(version).is_some();
    let recorded: BTreeSet<String> = record.into_iter().flat_map(|record| record.migrations.keys().cloned()).collect();
    if set.is_empty() || recorded.iter().any(is_in_set) {
        return Ok(());
    }
    // What is recorded counts once a tenant has it: a first run with other migrations may have failed everywhere.
    let Applied { versions: applied, unread } = Applied::anywhere(db, tenancy, Kind::Tenant)?;
    let may_be_applied = !applied.is_empty() || (unread.is_some() && !recorded.is_empty());
    if applied.iter().any(is_in_set) || !may_be_applied {
        return Ok(());
    }
    let (place, versions) = match recorded.is_empty() {
        true => ("the tenants' ledgers", applied),
        false => ("public.schema_migration", recorded),
    };
    let newest = versions.last().map_or_else(String::new, |newest| format!(", newest {newest}"));
    Err(Error::ForeignMigrations {
        database: db.server().database.clone(),
        given: set.summary(),
        recorded: format!("{place} ({} in all{newest})", versions.len()),
    })
}

fn judge(db: &mut Database, tenancy: &Tenancy, kind: Kind, record: &Record) -> Result<Findings, Error> {
    let set = set(kind, tenancy);
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

    let Applied { versions: applied, unread } = Applied::anywhere(db, tenancy, kind)?;
    // None: it is applied nowhere. Else whether only a ledger that cannot be read may have it.
    let in_doubt = |version: &str| match applied.contains(version) {
        true => Some(None),
        false => unread.clone().map(Some),
    };
    for was in edited {
        let Some(index) = set.position(&was.version) else { continue };
        match in_doubt(&was.version) {
            None => {
                findings.moot.push(was.version.clone());
                findings.unrecorded.push(index);
            }
            Some(in_doubt) => {
                let difference = difference(db.connection(), kind, set.at(index))?;
                let what = ChangeKind::Edited { recorded_at: was.recorded_at, difference };
                findings.changes.extend(change(kind, &was.version, &was.folder, what, in_doubt));
            }
        }
    }
    for was in removed {
        match in_doubt(&was.version) {
            None => findings.moot.push(was.version.clone()),
            Some(in_doubt) => {
                let what = ChangeKind::Removed { recorded_at: was.recorded_at };
                findings.changes.extend(change(kind, &was.version, &was.folder, what, in_doubt));
            }
        }
    }
    // Only what the set has: a ledger may record what others have applied.
    let newest_applied = applied.iter().rev().find(|version| set.position(version).is_some());
    for index in late {
        let migration = set.at(index);
        let version = migration.version().as_str();
        let is_before = |newest: &&String| version < newest.as_str() && !applied.contains(version);
        let (newest, in_doubt) = match newest_applied.filter(is_before) {
            Some(newest) => (Some(newest), None),
            None => (newest.filter(is_before).filter(|_| unread.is_some()), unread.clone()),
        };
        if let Some(newest) = newest {
            let what = ChangeKind::OutOfOrder { applied: newest.clone() };
            findings.changes.extend(change(kind, version, migration.folder(), what, in_doubt));
        }
    }
    findings.unrecorded.sort_unstable();
    Ok(findings)
}

fn change(
    kind: Kind,
    version: &str,
    folder: &str,
    what: ChangeKind,
    in_doubt: Option<TenantName>,
) -> Option<MigrationChange> {
    Some(MigrationChange { kind, version: version.parse().ok()?, folder: folder.to_owned(), what, in_doubt })
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
        "SELECT kind, version::pg_catalog.text, folder, checksum, recorded_at AS at, NULL AS change FROM public.schema_migration \
         UNION ALL SELECT kind, version::pg_catalog.text, '', '', accepted_at, change FROM public.schema_acceptance",
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

/// What the ledgers tell.
struct Applied {
    /// The versions that some ledger has.
    versions: BTreeSet<String>,
    /// A tenant whose ledger cannot be read.
    unread: Option<TenantName>,
}

impl Applied {
    fn anywhere(db: &mut Database, tenancy: &Tenancy, kind: Kind) -> Result<Self, Error> {
        if kind == Kind::Public {
            let ledger = ledger::public::read(db.connection(), tenancy)?;
            return Ok(Self { versions: ledger.applied.into_iter().collect(), unread: None });
        }
        let fleet = Fleet::read(db.connection(), tenancy.tenant_migrations())?;
        let unread = fleet
            .tenants
            .iter()
            .find(|tenant| matches!(tenant.schema, Schema::Unreadable | Schema::InvalidLedger { .. }));
        let versions = fleet.tenants.iter().filter_map(Tenant::ledger).flat_map(|ledger| &ledger.applied);
        let unread = unread.map(|tenant| tenant.name.clone());
        let unread = unread.or_else(|| fleet.invalid.iter().find_map(|row| row.name.parse().ok()));
        Ok(Self { versions: versions.cloned().collect(), unread })
    }
}

/// The lines that differ between what was recorded and what is.
fn difference(conn: &mut PgConnection, kind: Kind, migration: &Migration) -> Result<String, Error> {
    /// More lines than this tell no more.
    const LINES: usize = 20;
    use schema_migration as m;
    let was: String = m::table
        .filter(m::kind.eq(kind.as_str()))
        .filter(recorded_version().eq(migration.version().as_str()))
        .select(m::script)
        .first(conn)
        .map_err(Error::doing("read public.schema_migration"))?;
    if with_lf(&was) == with_lf(migration.up().text()) {
        return Ok("differs only in line endings (CRLF or CR instead of LF)".to_owned());
    }
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

/// The text with all line endings as LF.
fn with_lf(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}
