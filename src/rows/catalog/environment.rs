//! The roles, schemas and privileges around the shared tables.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Text};

use crate::error::Error;
use crate::model::IdType;
use crate::rows::layout::{Layout, VERIFIER_SCHEMA};
use crate::rows::verifier;

/// What exists of the surroundings of the shared tables.
#[derive(Debug, Clone, QueryableByName)]
pub(crate) struct Environment {
    #[diesel(sql_type = Bool)]
    pub(crate) has_owner: bool,
    #[diesel(sql_type = Bool)]
    pub(crate) has_verifier: bool,
    #[diesel(sql_type = Bool)]
    pub(crate) has_admin: bool,
    #[diesel(sql_type = Bool)]
    pub(crate) has_app: bool,
    /// Whether the administrator is a member of the owner.
    #[diesel(sql_type = Bool)]
    pub(crate) admin_is_member: bool,
    #[diesel(sql_type = Bool)]
    pub(crate) has_schema: bool,
    #[diesel(sql_type = Bool)]
    pub(crate) owns_schema: bool,
    #[diesel(sql_type = Bool)]
    pub(crate) app_uses_schema: bool,
    #[diesel(sql_type = Bool)]
    pub(crate) public_uses_schema: bool,
    #[diesel(sql_type = Bool)]
    pub(crate) has_verifier_schema: bool,
    /// Whether the application and the owner may use the schema with the function that verifies contexts.
    #[diesel(sql_type = Bool)]
    pub(crate) roles_use_verifier: bool,
    #[diesel(sql_type = Bool)]
    pub(crate) has_key_table: bool,
    /// Whether dumps of the database omit the keys.
    #[diesel(sql_type = Bool)]
    pub(crate) keys_are_undumped: bool,
    /// Whether the functions that the policies call are those that this version creates, with their privileges.
    #[diesel(sql_type = Bool)]
    pub(crate) has_context_functions: bool,
    /// Whether every role may create schemas or temporary tables in the database.
    #[diesel(sql_type = Bool)]
    pub(crate) public_creates_in_database: bool,
    /// Whether every role may create objects in the schema `public`, as before PostgreSQL 15.
    #[diesel(sql_type = Bool)]
    pub(crate) public_creates_in_public: bool,
    /// Whether every role may execute functions that the owner creates in the future.
    #[diesel(sql_type = Bool)]
    pub(crate) public_executes_new_functions: bool,
    #[diesel(sql_type = Bool)]
    pub(crate) is_superuser: bool,
    /// The current role.
    #[diesel(sql_type = Text)]
    pub(crate) role: String,
    #[diesel(sql_type = Text)]
    pub(crate) database: String,
}

impl Environment {
    /// Reads the catalogs. The search path must have only `pg_catalog`.
    pub(crate) fn read(conn: &mut PgConnection, layout: &Layout, id: Option<IdType>) -> Result<Self, Error> {
        sql_query(include_str!("environment.sql"))
            .bind::<Text, _>(layout.schema.as_str())
            .bind::<Text, _>(layout.roles.owner.as_str())
            .bind::<Text, _>(layout.roles.verifier.as_str())
            .bind::<Text, _>(layout.roles.admin.as_str())
            .bind::<Text, _>(layout.roles.app.as_str())
            .bind::<Text, _>(id.map(|id| verifier::context_body(VERIFIER_SCHEMA, id)).unwrap_or_default())
            .bind::<Text, _>(verifier::administrator_body(layout))
            .bind::<Text, _>(verifier::restriction_body(VERIFIER_SCHEMA, layout))
            .get_result(conn)
            .map_err(Error::doing("read the roles and schemas of row-level tenancy"))
    }
}
