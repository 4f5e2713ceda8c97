//! Confinement: a migration changes nothing outside its tenant's schema and leaves no state in the session.
//!
//! The text of a migration does not show everything that it does. A name that does not exist in the tenant's schema resolves
//! to the next schema on the path, so that `DROP TABLE settings` drops a shared table. Therefore a [`Guard`] checks the locks
//! and the catalog changes of the transaction before it commits. Settings, roles and temporary tables outlive the
//! migration. Therefore the session is [reset](crate::postgres::session::reset) after each migration.
//!
//! [`Scrutiny`] selects the checks, depending on the scripts.

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

/// The checks of a transaction before it commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scrutiny {
    /// None: the text of the scripts shows that they change nothing outside, or a migration declares such changes.
    None,
    /// Check the modes of its locks. If they do not suffice, raise [`GuardViolation::NeedsThoroughCheck`].
    Quick,
    /// Check its locks, the objects that it dropped, and its catalog changes.
    Thorough,
    /// As `Thorough`, for a transaction that creates the schema: every object in the schema is newer than the schema.
    ThoroughOfNew,
}

impl Scrutiny {
    /// The same for a transaction that creates the schema.
    pub(crate) fn of_new_schema(self) -> Self {
        if self == Self::Thorough { Self::ThoroughOfNew } else { self }
    }
}

/// The shared catalogs of the server, and the catalogs of large objects.
const SHARED: &str = "'{1213,1260,1261,1262,2613,2964,6000,6100,6243}'::oid[]";

/// The confinement of a transaction to one schema.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guard<'a> {
    /// The tenant's schema, the only one that may be changed.
    pub(crate) schema: &'a SchemaName,
    /// Other schemas that a name in the scripts may resolve to.
    pub(crate) neighbours: &'a [SchemaName],
    /// See [`read_horizon`].
    pub(crate) horizon: u32,
    pub(crate) scrutiny: Scrutiny,
}

/// The checks that a transaction with these scripts needs. `neighbours` are the schemas after the tenant's on the path.
pub(crate) fn scrutiny<'a>(scripts: impl IntoIterator<Item = &'a Script>, neighbours: &[SchemaName]) -> Scrutiny {
    let plain = scripts.into_iter().all(|script| script.traits().is_plain);
    match (plain, neighbours.is_empty()) {
        (true, true) => Scrutiny::None,
        (true, false) => Scrutiny::Quick,
        (false, _) => Scrutiny::Thorough,
    }
}

/// Returns a newly assigned OID. Objects that are created later have a greater OID, until the counter of the server wraps
/// around after four billion.
///
/// The large object that takes the OID is rolled back. Must not be called in a transaction.
pub(crate) fn read_horizon(conn: &mut PgConnection) -> QueryResult<u32> {
    conn.batch_execute("BEGIN")?;
    let oid = diesel::select(sql::<Oid>("pg_catalog.lo_create(0::pg_catalog.oid)")).get_result(conn);
    conn.batch_execute("ROLLBACK")?;
    oid
}

impl Guard<'_> {
    /// SQL to run before the migrations, with only `pg_catalog` on the path: it records the objects of the tenant.
    pub(crate) fn before(&self) -> Option<String> {
        (self.scrutiny == Scrutiny::Thorough).then(|| include_str!("inventory.sql").replace("$tenant", &self.tenant()))
    }

    /// PL/pgSQL to run at the end of the transaction. It raises [`GuardViolation::Outside`] with the changed objects outside
    /// the schema. [`Scrutiny::Quick`] requires a `search_path` with the tenant's schema alone, the others one
    /// with `pg_catalog` alone.
    pub(crate) fn conditions(&self) -> Option<String> {
        let (horizon, inventory) = match self.scrutiny {
            Scrutiny::ThoroughOfNew => ("tenant".to_owned(), "more := NULL;"),
            _ => (self.horizon.to_string(), "FETCH FIRST FROM inventory INTO more;"),
        };
        match self.scrutiny {
            Scrutiny::None => None,
            Scrutiny::Quick => Some(
                include_str!("quick.sql")
                    .replace("$shared", SHARED)
                    .replace("$needs_thorough_check", GuardViolation::NeedsThoroughCheck.message()),
            ),
            Scrutiny::Thorough | Scrutiny::ThoroughOfNew => Some(
                include_str!("thorough.sql")
                    .replace("$classes", &classes::list())
                    .replace("$neighbours", &classes::neighbours(self.neighbours))
                    .replace("$shared", SHARED)
                    .replace("$outside", GuardViolation::Outside.message())
                    .replace("$horizon", &horizon)
                    .replace("$inventory", inventory)
                    .replace("$tenant", &self.tenant())
                    .replace("$quoted", &format!("pg_catalog.quote_ident({})", Literal(self.schema.as_str()))),
            ),
        }
    }

    /// An SQL expression for the OID of the schema.
    fn tenant(&self) -> String {
        format!("pg_catalog.to_regnamespace({}::text)::oid", Literal(&Identifier::from(self.schema).to_string()))
    }
}

/// PL/pgSQL that raises [`GuardViolation::Outside`] if the relation exists and is not in the schema. `name` is SQL text as in
/// a statement and is resolved with the current path.
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

/// Turns a violation of confinement into a message for the user; returns other messages unchanged. Rolls back the
/// transaction and starts another one, because dropped objects can be described only after the rollback.
pub(crate) fn describe_violation(conn: &mut PgConnection, server: ServerMessage) -> ServerMessage {
    match GuardViolation::from_message(&server.message) {
        Some(GuardViolation::Outside) => {
            // A lost connection shows in the next statement.
            let _ = conn.batch_execute("ROLLBACK");
            let objects = objects_outside(conn, &server);
            let _ = conn.batch_execute("BEGIN");
            ServerMessage::of_guard(
                format!("objects outside the tenant's schema were changed: {}", objects.join(", ")),
                "change only objects in the tenant's schema, or set changes_outside = \"REASON\" in metadata.toml",
            )
        }
        Some(GuardViolation::LedgerMismatch) => ServerMessage::of_guard(
            "the migration ledger does not contain the row that was inserted",
            "check the tenant's __diesel_schema_migrations for triggers and rules",
        ),
        _ => server,
    }
}

/// The objects in the detail of a [`GuardViolation::Outside`], as PostgreSQL describes them. The transaction must have been
/// rolled back, so that dropped objects can be described.
pub(crate) fn objects_outside(conn: &mut PgConnection, server: &ServerMessage) -> Vec<String> {
    let lines = server.detail.as_deref().unwrap_or_default().lines();
    lines
        .map(|line| {
            let (key, description) = line.split_once(' ').unwrap_or((line, ""));
            match description.trim() {
                "" => describe_object(conn, key).unwrap_or_else(|| format!("a dropped object ({key})")),
                description => description.to_owned(),
            }
        })
        .collect()
}

/// Describes the object with this catalog and OID, as in `1259/16384`.
fn describe_object(conn: &mut PgConnection, key: &str) -> Option<String> {
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
