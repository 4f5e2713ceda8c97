//! The schema in which a replay commits. It has a random name and a comment with its purpose, an advisory lock shows that
//! it is in use, and it is dropped afterwards.

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Nullable, Text};

use crate::error::Error;
use crate::model::SchemaName;
use crate::sql::quote::{Identifier, Literal};

/// The prefix of such names, followed by 32 hexadecimal digits.
const PREFIX: &str = "tenantry_reference_";

/// The comment of such a schema. It never changes, so that a later release still finds the schema.
const COMMENT: &str = "tenantry: a reference that is being made; it is dropped again";

/// A unique name.
pub(crate) fn name() -> SchemaName {
    let name = format!("{PREFIX}{}", uuid::Uuid::new_v4().simple());
    name.parse().expect("letters, digits and underscores, fewer than 63")
}

/// A committed schema, whose lock its session holds.
pub(super) struct Scratch {
    pub(super) conn: PgConnection,
    pub(super) name: SchemaName,
    /// SQL that becomes the schema's owner.
    role: String,
}

impl Scratch {
    /// Creates the schema on its own session. `role` is SQL that becomes the schema's owner.
    pub(super) fn create(mut conn: PgConnection, name: SchemaName, role: String) -> QueryResult<Self> {
        let schema = Identifier::from(&name);
        // The lock comes first, so that other sessions never see the schema without it.
        conn.batch_execute(&format!(
            "SELECT pg_catalog.pg_advisory_lock({key}); SET client_min_messages TO warning; {role} \
             SELECT pg_catalog.set_config('citus.enable_schema_based_sharding', 'off', false) \
             WHERE pg_catalog.current_setting('citus.enable_schema_based_sharding', true) <> ''; \
             BEGIN; CREATE SCHEMA {schema}; COMMENT ON SCHEMA {schema} IS {comment}; COMMIT;",
            key = key(&Literal(name.as_str()).to_string()),
            comment = Literal(COMMENT),
        ))?;
        Ok(Self { conn, name, role })
    }

    /// Drops the schema, whatever the state in which the migrations left the session.
    pub(super) fn drop(mut self) -> QueryResult<()> {
        let schema = Identifier::from(&self.name);
        self.conn.batch_execute(&format!("ROLLBACK; SET ROLE NONE; {} DROP SCHEMA {schema} CASCADE;", self.role))
    }
}

/// The key of the advisory lock of such a schema. It differs from the keys of tenants.
fn key(name: &str) -> String {
    format!("pg_catalog.hashtextextended('tenantry reference:' || {name}::text, 0::bigint)")
}

/// Drops the schemas of earlier replays that were killed: those with such a name and comment that no session has locked.
pub(super) fn sweep(conn: &mut PgConnection) -> Result<(), Error> {
    let doing = Error::doing("drop the schema of an earlier reference");
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
        /// The owner, if this role must become it to drop the schema.
        #[diesel(sql_type = Nullable<Text>)]
        owner: Option<String>,
    }
    let left: Vec<Row> = sql_query(
        "SELECT n.nspname::text AS name, \
             CASE WHEN NOT pg_catalog.pg_has_role(current_user, n.nspowner, 'USAGE') \
             THEN pg_catalog.pg_get_userbyid(n.nspowner)::text END AS owner \
         FROM pg_catalog.pg_namespace n \
         JOIN pg_catalog.pg_description d ON d.classoid = 2615 AND d.objoid = n.oid AND d.description = $1 \
         WHERE n.nspname ~ ('^'::text || $2 || '[0-9a-f]{32}$') AND pg_catalog.pg_has_role(current_user, n.nspowner, 'MEMBER')",
    )
    .bind::<Text, _>(COMMENT)
    .bind::<Text, _>(PREFIX)
    .load(conn)
    .map_err(&doing)?;
    for row in left {
        let Ok(name) = row.name.parse::<SchemaName>() else { continue };
        conn.batch_execute("BEGIN").map_err(&doing)?;
        let free: bool = diesel::select(sql::<Bool>(&format!(
            "pg_catalog.pg_try_advisory_xact_lock({})",
            key(&Literal(name.as_str()).to_string())
        )))
        .get_result(conn)
        .map_err(&doing)?;
        let role = row.owner.map(|owner| format!("SET LOCAL ROLE {};", Identifier::of_object(&owner)));
        let sql = if free {
            format!("{} DROP SCHEMA IF EXISTS {} CASCADE; COMMIT", role.unwrap_or_default(), Identifier::from(&name))
        } else {
            "ROLLBACK".to_owned()
        };
        conn.batch_execute(&sql).map_err(&doing)?;
    }
    Ok(())
}
