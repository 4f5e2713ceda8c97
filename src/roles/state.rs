//! Reads the roles of tenants from the catalogs.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text};

use crate::error::Error;
use crate::model::SchemaName;
use crate::postgres::path;

/// A role, as it is in the server.
#[derive(Debug, QueryableByName)]
pub(super) struct RoleState {
    #[diesel(sql_type = Text)]
    pub(super) tenant: String,
    #[diesel(sql_type = Text)]
    pub(super) role: String,
    #[diesel(sql_type = Bool)]
    pub(super) exists: bool,
    /// The comment on the role.
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) mark: Option<String>,
    /// The attributes that it should not have.
    #[diesel(sql_type = Array<Text>)]
    pub(super) attributes: Vec<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(super) connections: Option<i64>,
    /// The roles that it is a member of.
    #[diesel(sql_type = Array<Text>)]
    pub(super) groups: Vec<String>,
    /// The role that made it a member, quoted, after `ADMIN ` if the membership has the admin option.
    #[diesel(sql_type = Array<Text>)]
    pub(super) grantors: Vec<String>,
    /// Its settings in this database.
    #[diesel(sql_type = Array<Text>)]
    pub(super) settings: Vec<String>,
    /// Its settings in all databases.
    #[diesel(sql_type = Array<Text>)]
    pub(super) settings_everywhere: Vec<String>,
    /// The search path that it should have.
    #[diesel(sql_type = Text)]
    pub(super) search_path: String,
}

impl RoleState {
    /// Reads the roles of at most [`CHUNK`](crate::postgres::CHUNK) tenants.
    pub(super) fn read(
        conn: &mut PgConnection,
        tenants: &[&str],
        roles: &[&str],
        extensions: &[SchemaName],
    ) -> Result<Vec<Self>, Error> {
        let extensions: Vec<&str> = extensions.iter().map(SchemaName::as_str).collect();
        sql_query(include_str!("state.sql"))
            .bind::<Array<Text>, _>(tenants)
            .bind::<Array<Text>, _>(roles)
            .bind::<Array<Text>, _>(extensions)
            .load(conn)
            .map_err(Error::doing("read the roles of the tenants"))
    }
}

/// Runs queries with only the catalog on the path, in a transaction that changes nothing.
pub(super) fn reading<T>(
    conn: &mut PgConnection,
    read: impl FnOnce(&mut PgConnection) -> Result<T, Error>,
) -> Result<T, Error> {
    let doing = || Error::doing("read the roles of the tenants");
    conn.batch_execute(&format!("BEGIN READ ONLY; {}", path::CATALOG_FOR_TRANSACTION)).map_err(doing())?;
    let found = read(conn);
    let ended = conn.batch_execute("ROLLBACK").map_err(doing());
    let found = found?;
    ended.map(|()| found)
}

/// Whether a role with this name exists.
pub(crate) fn exists(conn: &mut PgConnection, role: &str) -> Result<bool, Error> {
    let exists = diesel::dsl::sql::<Bool>("EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = ")
        .bind::<Text, _>(role)
        .sql("::name)");
    diesel::select(exists).get_result(conn).map_err(Error::doing("look for a role"))
}
