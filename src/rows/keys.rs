//! The keys in the database that verify signed contexts. Several can be valid at once, so that a key can be replaced while
//! the application runs.

use chrono::{DateTime, Utc};
use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bytea, Text, Timestamptz};

use super::ContextKey;
use super::layout::{Layout, VERIFIER_SCHEMA};
use super::verifier::KEY_TABLE;
use crate::database::Database;
use crate::error::{Error, RowTenancyError};
use crate::sql::quote::Identifier;

/// A key in the database. Its secret is not read.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct InstalledKey {
    /// Its id.
    #[diesel(sql_type = Text)]
    pub id: String,
    /// When it was installed.
    #[diesel(sql_type = Timestamptz)]
    pub installed_at: DateTime<Utc>,
}

/// Whether a key was installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installed {
    /// It was installed.
    New,
    /// The database had it.
    Before,
}

/// The keys, the newest first.
///
/// # Errors
/// The server's error.
pub fn list(db: &mut Database, layout: &Layout) -> Result<Vec<InstalledKey>, Error> {
    in_transaction(db.connection(), layout, |conn| {
        sql_query(format!("SELECT id, installed_at FROM {VERIFIER_SCHEMA}.{KEY_TABLE} ORDER BY installed_at DESC, id"))
            .load(conn)
    })
    .map_err(Error::doing("read the context keys"))
}

/// Installs a key. The other keys remain valid.
///
/// # Errors
/// The server's error.
pub fn install(db: &mut Database, layout: &Layout, key: &ContextKey) -> Result<Installed, Error> {
    let (inner, outer) = key.pads();
    let inserted = in_transaction(db.connection(), layout, |conn| {
        sql_query(format!(
            "INSERT INTO {VERIFIER_SCHEMA}.{KEY_TABLE} (id, inner_pad, outer_pad) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
        ))
        .bind::<Text, _>(key.id())
        .bind::<Bytea, _>(&inner[..])
        .bind::<Bytea, _>(&outer[..])
        .execute(conn)
    })
    .map_err(Error::doing("install the context key"))?;
    Ok(if inserted == 0 { Installed::Before } else { Installed::New })
}

/// Retires a key: contexts that are signed with it are refused from now on.
///
/// # Errors
/// [`RowTenancyError::UnknownKey`], [`RowTenancyError::LastKey`], or the server's error.
pub fn retire(db: &mut Database, layout: &Layout, id: &str) -> Result<(), Error> {
    let keys = list(db, layout)?;
    let database = db.server().database.clone();
    if !keys.iter().any(|key| key.id == id) {
        return Err(RowTenancyError::UnknownKey { database, id: id.to_owned() }.into());
    }
    if keys.len() == 1 {
        return Err(RowTenancyError::LastKey { database, id: id.to_owned() }.into());
    }
    in_transaction(db.connection(), layout, |conn| {
        sql_query(format!("DELETE FROM {VERIFIER_SCHEMA}.{KEY_TABLE} WHERE id = $1")).bind::<Text, _>(id).execute(conn)
    })
    .map_err(Error::doing("retire the context key"))
    .map(|_| ())
}

/// Runs `work` as the role that owns the keys. Where this role may, the server's log gets no parameters.
fn in_transaction<T>(
    conn: &mut PgConnection,
    layout: &Layout,
    work: impl FnOnce(&mut PgConnection) -> QueryResult<T>,
) -> QueryResult<T> {
    const QUIET: &str = "DO $$ BEGIN \
        PERFORM pg_catalog.set_config('log_parameter_max_length', '0', true), \
                pg_catalog.set_config('log_parameter_max_length_on_error', '0', true); \
        EXCEPTION WHEN insufficient_privilege THEN NULL; END $$";
    conn.transaction(|conn| {
        conn.batch_execute(QUIET)?;
        conn.batch_execute(&format!("SET LOCAL ROLE {}", Identifier::from(&layout.roles.verifier)))?;
        work(conn)
    })
}
