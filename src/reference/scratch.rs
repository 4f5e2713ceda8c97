//! A schema for the reference where it cannot be made in a transaction: its name is random, a comment says what it is, a
//! lock tells that somebody is using it, and it is surely dropped again.

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Text};

use crate::error::Error;
use crate::name::SchemaName;
use crate::sql::quote::{Identifier, Literal};

/// How the names of such schemas begin; behind it are 32 hexadecimal digits.
const PREFIX: &str = "tenantry_reference_";

/// What the comment on such a schema says.
const COMMENT: &str = "tenantry: a reference that is being made; it is dropped again";

/// A name that no other schema has.
pub(super) fn name() -> SchemaName {
    let name = format!("{PREFIX}{}", uuid::Uuid::new_v4().simple());
    name.parse().expect("letters, digits and underscores, fewer than 63")
}

/// A schema that was committed; its session holds its lock.
pub(super) struct Scratch {
    pub(super) conn: PgConnection,
    pub(super) name: SchemaName,
}

impl Scratch {
    /// Makes the schema, on a session of its own.
    pub(super) fn create(mut conn: PgConnection, name: SchemaName) -> QueryResult<Self> {
        let schema = Identifier::from(&name);
        // The lock comes first: from the moment others can see the schema, they see that it is in use.
        conn.batch_execute(&format!(
            "SELECT pg_catalog.pg_advisory_lock({key}); SET client_min_messages TO warning; \
             BEGIN; CREATE SCHEMA {schema}; COMMENT ON SCHEMA {schema} IS {comment}; COMMIT;",
            key = key(&Literal(name.as_str()).to_string()),
            comment = Literal(COMMENT),
        ))?;
        Ok(Self { conn, name })
    }

    /// Drops the schema.
    pub(super) fn drop(mut self) -> QueryResult<()> {
        self.conn.batch_execute(&drop(&self.name))
    }
}

/// Whatever the session was about to do is over, and what a migration left set in it does not matter.
fn drop(name: &SchemaName) -> String {
    format!("ROLLBACK; SET ROLE NONE; DROP SCHEMA {} CASCADE;", Identifier::from(name))
}

/// The key of the advisory lock of such a schema; it is none of the keys of tenants.
fn key(name: &str) -> String {
    format!("pg_catalog.hashtextextended('tenantry reference:' || {name}::text, 0::bigint)")
}

/// Drops what an earlier run left behind, that was killed: schemas with the name and the comment of such a one, which no
/// session has locked.
pub(super) fn sweep(conn: &mut PgConnection) -> Result<(), Error> {
    let doing = Error::doing("drop the schema of an earlier reference");
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let left: Vec<Row> = sql_query(
        "SELECT n.nspname::text AS name FROM pg_namespace n \
         JOIN pg_description d ON d.classoid = 'pg_namespace'::regclass AND d.objoid = n.oid AND d.description = $1 \
         WHERE n.nspname ~ ('^' || $2 || '[0-9a-f]{32}$') AND pg_has_role(current_user, n.nspowner, 'MEMBER')",
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
        let sql = match free {
            true => format!("DROP SCHEMA IF EXISTS {} CASCADE; COMMIT", Identifier::from(&name)),
            false => "ROLLBACK".to_owned(),
        };
        conn.batch_execute(&sql).map_err(&doing)?;
    }
    Ok(())
}
