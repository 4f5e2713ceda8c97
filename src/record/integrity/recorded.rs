//! Reads the recorded migrations and the accepted changes.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Nullable, Text, Timestamptz};
use similar::TextDiff;

use super::{recorded_version, schema_migration as m};
use crate::error::Error;
use crate::migration::{Kind, Migration};

/// A recorded migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recorded {
    pub(super) version: String,
    pub(super) folder: String,
    pub(super) checksum: String,
    pub(super) recorded_at: DateTime<Utc>,
}

/// The record of a set of migrations.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// The recorded migrations, by version.
    pub(super) migrations: BTreeMap<String, Recorded>,
    /// The accepted changes: version and [kind of change](crate::error::ChangeKind::as_str).
    accepted: BTreeSet<(String, String)>,
}

impl Record {
    /// The newest recorded version.
    pub(super) fn newest(&self) -> Option<&str> {
        self.migrations.keys().next_back().map(String::as_str)
    }

    /// Whether a change of this kind was accepted for a version.
    pub(super) fn is_accepted(&self, version: &str, change: &str) -> bool {
        self.accepted.contains(&(version.to_owned(), change.to_owned()))
    }
}

/// Reads the records of all sets in one statement, by the [kind](Kind::as_str) of the set.
pub(super) fn read(conn: &mut PgConnection) -> Result<BTreeMap<String, Record>, Error> {
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
        /// The kind of an accepted change; NULL for a recorded migration.
        #[diesel(sql_type = Nullable<Text>)]
        change: Option<String>,
    }
    let rows: Vec<Row> = sql_query(
        "SELECT kind, version::pg_catalog.text, folder, checksum, recorded_at AS at, NULL AS change \
         FROM public.schema_migration \
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

/// The largest number of lines in a difference.
const MAX_LINES: usize = 20;

/// A unified diff from the recorded script of a migration to its current script.
pub(super) fn difference(conn: &mut PgConnection, kind: Kind, migration: &Migration) -> Result<String, Error> {
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
    let more = lines.len().saturating_sub(MAX_LINES);
    lines.truncate(MAX_LINES);
    let rest = format!("… and {more} more lines");
    if more > 0 {
        lines.push(&rest);
    }
    Ok(lines.join("\n"))
}

/// The text with LF as the only line ending.
fn with_lf(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}
