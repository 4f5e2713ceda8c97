//! Confinement: a migration changes nothing outside its tenant's schema, and leaves nothing to what runs after it.
//!
//! Two things can go wrong with SQL that is known only when it runs. A name that the tenant lacks resolves to a schema
//! behind the tenant's on the path, so that `DROP TABLE settings` drops somebody else's table; and a setting, a role or a
//! temporary table outlives the migration. Against the first, the transaction looks at its own locks and at what it has
//! written to the catalogs before it commits ([`Guard`]). Against the second, the session is reset after each migration
//! ([`reset`](crate::postgres::session::reset)).
//!
//! How closely the transaction is looked at depends on its scripts ([`Scrutiny`]).

mod classes;

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Oid, Text};

use crate::migration::Script;
use crate::model::SchemaName;
use crate::postgres::{GuardViolation, ServerMessage};
use crate::sql::quote::{Identifier, Literal};

/// How closely a transaction is looked at before it commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scrutiny {
    /// Not at all: the text of the scripts tells that they change nothing outside, or a migration may.
    None,
    /// At the modes of its locks. What cannot be told from them alone raises [`GuardViolation::NeedsThoroughCheck`].
    Quick,
    /// At its locks, at what it dropped, and at what it wrote to the catalogs.
    Thorough,
}

/// The catalogs of objects that all databases of the server share, and of large objects.
const SHARED: &str = "'{1213,1260,1261,1262,2613,2964,6000,6100,6243}'::oid[]";

/// What a transaction is held to, for one schema.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guard<'a> {
    /// The tenant's schema, the only one that may be changed.
    pub(crate) schema: &'a SchemaName,
    /// Schemas that a name of the scripts may lead to.
    pub(crate) neighbours: &'a [SchemaName],
    /// See [`read_horizon`].
    pub(crate) horizon: u32,
    pub(crate) scrutiny: Scrutiny,
}

/// How closely the transaction of some scripts is looked at. `neighbours`: whether schemas follow the tenant's on the path.
pub(crate) fn scrutiny<'a>(scripts: impl IntoIterator<Item = &'a Script>, neighbours: &[SchemaName]) -> Scrutiny {
    let plain = scripts.into_iter().all(|script| script.traits().is_plain);
    match (plain, neighbours.is_empty()) {
        (true, true) => Scrutiny::None,
        (true, false) => Scrutiny::Quick,
        (false, _) => Scrutiny::Thorough,
    }
}

/// An oid that the server handed out just now. What a transaction creates later has a greater one, until the counter of
/// the server wraps around after four billion.
///
/// Leaves nothing: the large object that takes the oid is rolled back. Not in a transaction.
pub(crate) fn read_horizon(conn: &mut PgConnection) -> QueryResult<u32> {
    conn.batch_execute("BEGIN")?;
    let oid = diesel::select(sql::<Oid>("pg_catalog.lo_create(0::pg_catalog.oid)")).get_result(conn);
    conn.batch_execute("ROLLBACK")?;
    oid
}

impl Guard<'_> {
    /// What is sent before the migrations, on a path that leads to the catalog alone: it remembers what the tenant has.
    pub(crate) fn before(&self) -> Option<String> {
        (self.scrutiny == Scrutiny::Thorough).then(|| include_str!("inventory.sql").replace("$tenant", &self.tenant()))
    }

    /// Conditions in PL/pgSQL for the end of the transaction, which raise [`GuardViolation::Outside`] with the objects
    /// outside that were changed. [`Scrutiny::Quick`] needs a `search_path` of the tenant's schema alone,
    /// [`Scrutiny::Thorough`] one of `pg_catalog`.
    pub(crate) fn conditions(&self) -> Option<String> {
        match self.scrutiny {
            Scrutiny::None => None,
            Scrutiny::Quick => Some(
                include_str!("quick.sql")
                    .replace("$shared", SHARED)
                    .replace("$closer", GuardViolation::NeedsThoroughCheck.message()),
            ),
            Scrutiny::Thorough => Some(
                include_str!("thorough.sql")
                    .replace("$classes", &classes::list())
                    .replace("$neighbours", &classes::neighbours(self.neighbours))
                    .replace("$shared", SHARED)
                    .replace("$outside", GuardViolation::Outside.message())
                    .replace("$horizon", &self.horizon.to_string())
                    .replace("$tenant", &self.tenant())
                    .replace("$quoted", &format!("pg_catalog.quote_ident({})", Literal(self.schema.as_str()))),
            ),
        }
    }

    /// An SQL expression for the oid of the schema.
    fn tenant(&self) -> String {
        format!("pg_catalog.to_regnamespace({}::text)::oid", Literal(&Identifier::from(self.schema).to_string()))
    }
}

/// A condition in PL/pgSQL that a relation, if there is one of the name, is in the schema. `name` is as it stands in a
/// statement, and resolved on the path of the moment.
pub(crate) fn is_inside(schema: &SchemaName, name: &str) -> String {
    format!(
        "DECLARE named oid := pg_catalog.to_regclass({name}::text)::oid; BEGIN IF EXISTS (SELECT FROM pg_catalog.pg_class AS c \
         WHERE c.oid = named AND c.relnamespace <> pg_catalog.to_regnamespace({schema}::text)::oid) \
         THEN RAISE EXCEPTION '{outside}' USING DETAIL = (SELECT pg_catalog.concat('1259/', named, ' ', i.type, ' ', \
         i.identity) FROM pg_catalog.pg_identify_object(1259::oid, named, 0) AS i); END IF; END;",
        name = Literal(name),
        schema = Literal(&Identifier::from(schema).to_string()),
        outside = GuardViolation::Outside.message()
    )
}

/// A violation in words for a person; any other message as it is. Rolls the transaction back and begins another one: what
/// it dropped can be described only then.
pub(crate) fn in_words(conn: &mut PgConnection, server: ServerMessage) -> ServerMessage {
    match GuardViolation::from_message(&server.message) {
        Some(GuardViolation::Outside) => {
            // A connection that is gone describes nothing.
            let _ = conn.batch_execute("ROLLBACK");
            let objects = objects_outside(conn, &server);
            let _ = conn.batch_execute("BEGIN");
            ServerMessage {
                message: format!("it changes objects outside the tenant's schema: {}", objects.join(", ")),
                detail: None,
                hint: Some(
                    "name the tenant's own objects, or declare the change with changes_outside = \"REASON\" in metadata.toml"
                        .to_owned(),
                ),
                position: None,
            }
        }
        Some(GuardViolation::LedgerMismatch) => ServerMessage {
            message: "the ledger does not record the migration after its row was inserted".to_owned(),
            detail: None,
            hint: Some("look for triggers and rules on the tenant's __diesel_schema_migrations".to_owned()),
            position: None,
        },
        _ => server,
    }
}

/// The objects that an [`GuardViolation::Outside`] names, as PostgreSQL describes them. Those that the transaction dropped
/// can be described only now that it is rolled back.
pub(crate) fn objects_outside(conn: &mut PgConnection, server: &ServerMessage) -> Vec<String> {
    let lines = server.detail.as_deref().unwrap_or_default().lines();
    lines
        .map(|line| {
            let (key, description) = line.split_once(' ').unwrap_or((line, ""));
            match description.trim() {
                "" => dropped(conn, key).unwrap_or_else(|| format!("an object that it dropped ({key})")),
                description => description.to_owned(),
            }
        })
        .collect()
}

/// Describes an object by its catalog and oid, as in `1259/16384`.
fn dropped(conn: &mut PgConnection, key: &str) -> Option<String> {
    let (class, id) = key.split_once('/')?;
    let (class, id): (u32, u32) = (class.parse().ok()?, id.parse().ok()?);
    let description: Option<String> = diesel::select(
        sql::<Nullable<Text>>("(SELECT i.type || ' ' || i.identity FROM pg_catalog.pg_identify_object(")
            .bind::<Oid, _>(class)
            .sql(", ")
            .bind::<Oid, _>(id)
            .sql(", 0) AS i)"),
    )
    .get_result(conn)
    .ok()?;
    description
}
