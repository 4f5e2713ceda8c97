//! The stored snapshots: `public.schema_snapshot`.
//!
//! A stored script is executed with the rights of the role that creates a tenant. It is therefore read only if no role but its reader
//! and the owner of the tracker may write to the table, and only if its checksum matches.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Bool, Nullable, Text};

use super::key::{SnapshotKey, digest};
use super::{Choice, Snapshot, SpareKey};
use crate::error::Error;

const ENVIRONMENT: &str = include_str!("environment.sql");

/// The number of snapshots that are kept, for releases of an application that run side by side.
const KEPT: usize = 10;

/// What is stored under a key.
pub(super) struct StoredSnapshot {
    /// The digest of the environment in the database.
    pub(super) environment: String,
    /// Whether only trusted roles may write to the table.
    pub(super) is_trusted: bool,
    /// The result of an earlier [`make`](super::make::make).
    pub(super) choice: Option<Choice>,
}

impl StoredSnapshot {
    /// The key of the spares that were made from it.
    pub(super) fn spare_key(&self, key: &SnapshotKey) -> SpareKey {
        SpareKey { migrations: key.migrations.clone(), environment: self.environment.clone() }
    }
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    digest: String,
    #[diesel(sql_type = Bool)]
    is_trusted: bool,
    #[diesel(sql_type = Nullable<Text>)]
    placeholder: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    script: Option<String>,
    #[diesel(sql_type = Nullable<Bool>)]
    renamable: Option<bool>,
    #[diesel(sql_type = Nullable<Text>)]
    reason: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    checksum: Option<String>,
}

/// A query whether only trusted roles may write to one of Tenantry's tables.
pub(super) fn trusted(table: &str) -> String {
    include_str!("trusted.sql").replace("$table", table)
}

/// Reads what is stored under a key, in one query.
pub(super) fn find(conn: &mut PgConnection, key: &SnapshotKey) -> Result<StoredSnapshot, Error> {
    let row: Row = sql_query(
        include_str!("find.sql")
            .replace("$environment", ENVIRONMENT)
            .replace("$trusted", &trusted("public.schema_snapshot")),
    )
    .bind::<Array<Text>, _>(&key.words)
    .bind::<Text, _>(&key.migrations)
    .get_result(conn)
    .map_err(Error::doing("read public.schema_snapshot"))?;
    let Row { digest: environment, is_trusted, placeholder, script, renamable, reason, checksum } = row;
    let choice = match (placeholder, script, renamable, reason) {
        (Some(placeholder), Some(script), Some(is_renamable), None) => {
            Some(Ok(Snapshot { script, placeholder, is_renamable }))
        }
        (_, _, _, Some(reason)) => Some(Err(reason)),
        _ => None,
    };
    let choice = choice.filter(|choice| checksum.as_deref() == Some(&checksum_of(key, &environment, choice)));
    Ok(StoredSnapshot { environment, is_trusted, choice })
}

/// Stores a snapshot, or that there is none, unless the environment has changed. Deletes the oldest ones.
pub(super) fn save(conn: &mut PgConnection, key: &SnapshotKey, environment: &str, made: &Choice) -> Result<(), Error> {
    let (snapshot, reason) = (made.as_ref().ok(), made.as_ref().err());
    conn.transaction(|conn| {
        sql_query(include_str!("store.sql").replace("$environment", ENVIRONMENT))
            .bind::<Array<Text>, _>(&key.words)
            .bind::<Text, _>(&key.migrations)
            .bind::<Text, _>(environment)
            .bind::<Nullable<Text>, _>(snapshot.map(|snapshot| &snapshot.placeholder))
            .bind::<Nullable<Text>, _>(snapshot.map(|snapshot| &snapshot.script))
            .bind::<Nullable<Bool>, _>(snapshot.map(|snapshot| snapshot.is_renamable))
            .bind::<Nullable<Text>, _>(reason)
            .bind::<Text, _>(checksum_of(key, environment, made))
            .execute(conn)?;
        sql_query(format!(
            "DELETE FROM public.schema_snapshot WHERE id NOT IN \
             (SELECT s.id FROM public.schema_snapshot AS s ORDER BY s.made_at DESC, s.id DESC LIMIT {KEPT})"
        ))
        .execute(conn)
    })
    .map(|_| ())
    .map_err(Error::doing("write public.schema_snapshot"))
}

fn checksum_of(key: &SnapshotKey, environment: &str, choice: &Choice) -> String {
    let content = match choice {
        Ok(Snapshot { script, placeholder, is_renamable }) => {
            ["script", script, placeholder, if *is_renamable { "renamable" } else { "not renamable" }]
        }
        Err(reason) => ["reason", reason, "", ""],
    };
    digest([key.migrations.as_str(), environment].into_iter().chain(content))
}
