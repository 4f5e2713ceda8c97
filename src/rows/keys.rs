//! The keys in the database that verify signed contexts. Several can be valid at once, so that a key can be replaced while
//! the application runs.

use chrono::{DateTime, Utc};
use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Text, Timestamptz};

use self::table::context_key;
use super::ContextKey;
use super::layout::{Layout, VERIFIER_SCHEMA};
use super::verifier::KEY_TABLE;
use crate::database::Database;
use crate::error::{Error, RowTenancyError};
use crate::sql::quote::Identifier;

mod table {
    diesel::table! {
        tenantry.context_key (id) {
            id -> Text,
            inner_pad -> Binary,
            outer_pad -> Binary,
        }
    }
}

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
    in_transaction(db.connection(), layout, |conn| {
        conn.batch_execute(&format!("LOCK TABLE {VERIFIER_SCHEMA}.{KEY_TABLE} IN SHARE ROW EXCLUSIVE MODE"))?;
        let exists = context_key::table.filter(context_key::id.eq(key.id()));
        if diesel::select(diesel::dsl::exists(exists)).get_result(conn)? {
            return Ok(Installed::Before);
        }
        // The server may log the parameters of a statement, and the text of a copied line that causes an error. It does not
        // log what is copied in binary.
        let row = (
            context_key::id.eq(key.id()),
            context_key::inner_pad.eq(&inner[..]),
            context_key::outer_pad.eq(&outer[..]),
        );
        diesel::copy_from(context_key::table).from_insertable(vec![row]).execute(conn)?;
        Ok(Installed::New)
    })
    .map_err(Error::doing("install the context key"))
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

/// Runs `work` as the role that owns the keys.
fn in_transaction<T>(
    conn: &mut PgConnection,
    layout: &Layout,
    work: impl FnOnce(&mut PgConnection) -> QueryResult<T>,
) -> QueryResult<T> {
    conn.transaction(|conn| {
        conn.batch_execute(&format!("SET LOCAL ROLE {}", Identifier::from(&layout.roles.verifier)))?;
        work(conn)
    })
}
