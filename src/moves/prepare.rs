//! The schema on the target: the structure of the source, made as a clone is, and its ledger.
//!
//! It is made from the structure that the source has, not from the migrations, so that a tenant keeps what differs from them. It
//! runs as the owner of the source, because default expressions, constraints and indexes run code of the tenant.

use std::collections::HashSet;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Text, Uuid as SqlUuid};

use super::closed;
use super::record::TenantMove;
use super::site::{Site, try_lock};
use crate::database::Stop;
use crate::error::{Error, MoveError};
use crate::model::{NamePolicy, SchemaName, TenantName};
use crate::operations::SchemaCopyFailure;
use crate::operations::migrate::{Batch, SchemaTarget, transaction_settings};
use crate::postgres::session;
use crate::schema::drift::{Aspect, Difference, compare};
use crate::schema::snapshot::Snapshot;
use crate::schema::snapshot::render::{NewSchema, Rendered, StatementOrder, render};
use crate::schema::structure::{ObjectKind, Structure, unquoted};
use crate::sql::quote::{Identifier, Literal};
use crate::tenants::{Tenancy, ledger};

/// What the target is made from.
pub(super) struct Blueprint {
    /// The structure of the source, with its name marked.
    pub(super) marked: Structure,
    pub(super) owner: String,
    /// The rows of the ledger: the versions and when they were applied.
    ledger: Vec<(String, String)>,
    /// The tracker row, as JSON.
    pub(super) tracked: String,
}

/// A schema that was made on the target.
pub(super) struct Built {
    rendered: Rendered,
    oid: u32,
}

/// The error of a schema that cannot be made on the target.
fn failed_copy(failure: SchemaCopyFailure, target: &Site, tenant: &TenantName, doing: &'static str) -> Error {
    match failure {
        SchemaCopyFailure::Server(error) => target.failed(tenant, doing)(error),
        SchemaCopyFailure::Error(error) => error,
        SchemaCopyFailure::Refused(reason) => MoveError::Impossible {
            tenant: tenant.to_string(),
            server: target.name().to_owned(),
            reasons: vec![reason],
        }
        .into(),
    }
}

#[derive(QueryableByName)]
struct LedgerVersion {
    #[diesel(sql_type = Text)]
    version: String,
    #[diesel(sql_type = Text)]
    run_on: String,
}

#[derive(QueryableByName)]
struct TrackedRow {
    #[diesel(sql_type = Text)]
    tracked: String,
}

/// The tracker row of a tenant, as JSON.
pub(super) fn tracked_row(conn: &mut PgConnection, tenant: &TenantName) -> QueryResult<String> {
    let row: TrackedRow =
        sql_query("SELECT pg_catalog.to_jsonb(t)::text AS tracked FROM public.schema_tracker AS t WHERE t.name = $1")
            .bind::<Text, _>(tenant.as_str())
            .get_result(conn)?;
    Ok(row.tracked)
}

impl Blueprint {
    /// Reads the structure, the ledger and the tracker row of the source.
    pub(super) fn read(source: &mut Site, tenant: &TenantName, schema: u32, stop: &Stop) -> Result<Self, Error> {
        let mut marked = source.structure(tenant, schema)?.with_name_marked();
        // A publication belongs to its database, and does not move.
        marked.objects.retain(|identity, _| identity.kind != ObjectKind::Publication);
        let owner = marked.owner().ok_or_else(|| MoveError::Inconsistent {
            tenant: tenant.to_string(),
            reason: "its schema has no owner".to_owned(),
        })?;
        let (ledger, tracked) = source.locked(tenant, "read the migration ledger", stop, |conn| {
            let mut guards = Batch::default();
            guards.guard(&[ledger::definition_guard(tenant.schema())]);
            conn.batch_execute(guards.sql())?;
            let rows: Vec<LedgerVersion> = sql_query(format!(
                "SELECT version::pg_catalog.text AS version, run_on::pg_catalog.text AS run_on FROM ONLY {}",
                ledger::qualified(tenant.schema())
            ))
            .load(conn)?;
            Ok((rows, tracked_row(conn, tenant)?))
        })?;
        let ledger = ledger.into_iter().map(|row| (row.version, row.run_on)).collect();
        Ok(Self { marked, owner, ledger, tracked })
    }
}

/// Which objects a schema gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// What has to exist before the rows.
    BeforeRows,
    /// All.
    Complete,
}

/// Makes the schema and the row of the tracker, with the state `arriving`, in one transaction.
pub(super) fn build(
    target: &mut Site,
    tenancy: &Tenancy,
    moved: &TenantMove,
    blueprint: &Blueprint,
    extent: Extent,
) -> Result<Built, Error> {
    let version = target.db.server().version;
    let tenant = &moved.tenant;
    let built = build_in_transaction(target.conn(), tenancy, moved, blueprint, extent, version);
    match built {
        Ok(built) => Ok(built),
        Err(failure) => {
            // A lost connection has rolled back by itself.
            let _ = target.conn().batch_execute("ROLLBACK");
            Err(failed_copy(failure, target, tenant, "make the schema"))
        }
    }
}

fn build_in_transaction(
    conn: &mut PgConnection,
    tenancy: &Tenancy,
    moved: &TenantMove,
    blueprint: &Blueprint,
    extent: Extent,
    version: i32,
) -> Result<Built, SchemaCopyFailure> {
    let tenant = &moved.tenant;
    let schema = tenant.schema();
    let target = SchemaTarget::tenant(tenancy, schema, None);
    conn.batch_execute(&format!("BEGIN ISOLATION LEVEL READ COMMITTED; {}", transaction_settings(target)))?;
    require_free(conn, tenant)?;
    conn.batch_execute("SAVEPOINT tenantry_move")?;
    let rendered = render(conn, tenancy, version, &blueprint.marked, Some(&blueprint.owner))?;
    conn.batch_execute("ROLLBACK TO SAVEPOINT tenantry_move")?;
    let rendered = rendered.map_err(SchemaCopyFailure::Refused)?;
    let place = place(tenant, &rendered);
    let new = NewSchema::create(conn, Some(place.clone()), Some(&blueprint.owner))?;
    enter(conn, tenancy, &place)?;
    run(conn, &rendered, &place, StatementOrder::BeforeRows)?;
    if extent == Extent::Complete {
        run(conn, &rendered, &place, StatementOrder::AfterRows)?;
        conn.batch_execute(session::RUN_DEFERRED_TRIGGERS)?;
    }
    conn.batch_execute(&format!("{} {}", session::reset(session::Locks::None), transaction_settings(target)))?;
    if let Some(rows) = ledger_rows(&place, &blueprint.ledger) {
        conn.batch_execute(&rows)?;
    }
    let built = Built { rendered, oid: new.oid };
    if extent == Extent::Complete {
        complete(conn, &built, &place, &new, &blueprint.marked, version, tenant)?;
    }
    if place != *schema {
        conn.batch_execute(&rename(&place, schema))?;
    }
    closed::close(conn, moved, schema)?;
    track(conn, moved, &blueprint.tracked)?;
    conn.batch_execute("SET LOCAL synchronous_commit TO on; COMMIT")?;
    Ok(built)
}

/// Makes what [`Extent::BeforeRows`] left out, and checks that the structure is that of the source.
pub(super) fn complete_build(
    target: &mut Site,
    tenancy: &Tenancy,
    tenant: &TenantName,
    built: &Built,
    blueprint: &Blueprint,
) -> Result<(), Error> {
    let version = target.db.server().version;
    let schema = tenant.schema();
    let work = |conn: &mut PgConnection| -> Result<(), SchemaCopyFailure> {
        let settings = transaction_settings(SchemaTarget::tenant(tenancy, schema, None));
        conn.batch_execute(&format!("BEGIN ISOLATION LEVEL READ COMMITTED; {settings}"))?;
        let place = place(tenant, &built.rendered);
        if place != *schema {
            conn.batch_execute(&rename(schema, &place))?;
        }
        conn.batch_execute(&format!("SET LOCAL ROLE {}", Identifier::of_object(&blueprint.owner)))?;
        enter(conn, tenancy, &place)?;
        run(conn, &built.rendered, &place, StatementOrder::AfterRows)?;
        conn.batch_execute(session::RUN_DEFERRED_TRIGGERS)?;
        conn.batch_execute(&format!("{} {settings}", session::reset(session::Locks::None)))?;
        let new = NewSchema { name: place.clone(), oid: built.oid };
        complete(conn, built, &place, &new, &blueprint.marked, version, tenant)?;
        if place != *schema {
            conn.batch_execute(&rename(&place, schema))?;
        }
        Ok(conn.batch_execute("SET LOCAL synchronous_commit TO on; COMMIT")?)
    };
    work(target.conn()).map_err(|failure| {
        let _ = target.conn().batch_execute("ROLLBACK");
        failed_copy(failure, target, tenant, "make the indexes and constraints")
    })
}

/// Gives objects to their owners, corrects privileges, and compares the structure with that of the source.
fn complete(
    conn: &mut PgConnection,
    built: &Built,
    place: &SchemaName,
    new: &NewSchema,
    marked: &Structure,
    version: i32,
    tenant: &TenantName,
) -> Result<(), SchemaCopyFailure> {
    let owners = built.rendered.owners.replace(built.rendered.placeholder.as_str(), place.as_str());
    if !owners.is_empty() {
        conn.batch_execute(&owners)?;
    }
    let actual = new.correct_grants(conn, version, marked)?;
    match compare(marked, &actual, &HashSet::new()).iter().find(|difference| !closed::is_own(difference)) {
        Some(difference) => Err(SchemaCopyFailure::Refused(format!(
            "the schema that was made there differs: {}",
            difference.summary(tenant.as_str())
        ))),
        None => Ok(()),
    }
}

/// A name that needs quotes cannot take the place of the placeholder in every text.
fn place(tenant: &TenantName, rendered: &Rendered) -> SchemaName {
    let is_plain = NamePolicy::Strict.parse(tenant.as_str()).is_ok() && tenant.as_str() == tenant.folded();
    if is_plain { tenant.schema().clone() } else { rendered.placeholder.clone() }
}

/// Sets the path and the settings that the statements need.
fn enter(conn: &mut PgConnection, tenancy: &Tenancy, place: &SchemaName) -> QueryResult<()> {
    let path = tenancy.path(place);
    conn.batch_execute(&format!(
        "{} SET LOCAL row_security TO off; {} DO {};",
        Snapshot::settings(),
        path.set_for_transaction(),
        Literal(&format!("BEGIN {} END", path.guard()))
    ))
}

fn run(conn: &mut PgConnection, rendered: &Rendered, place: &SchemaName, order: StatementOrder) -> QueryResult<()> {
    let sql: String = rendered
        .statements
        .iter()
        .filter(|(of_statement, _)| *of_statement == order)
        .map(|(_, sql)| sql.replace(rendered.placeholder.as_str(), place.as_str()))
        .collect();
    if sql.is_empty() { Ok(()) } else { conn.batch_execute(&sql) }
}

fn ledger_rows(schema: &SchemaName, rows: &[(String, String)]) -> Option<String> {
    let values: Vec<String> =
        rows.iter().map(|(version, run_on)| format!("({}, {})", Literal(version), Literal(run_on))).collect();
    (!values.is_empty())
        .then(|| format!("INSERT INTO {} (version, run_on) VALUES {}", ledger::qualified(schema), values.join(", ")))
}

/// SQL that renames a schema.
pub(super) fn rename(from: &SchemaName, to: &SchemaName) -> String {
    format!("ALTER SCHEMA {} RENAME TO {}", Identifier::from(from), Identifier::from(to))
}

/// Checks, with the lock of the tenant, that the name is free.
fn require_free(conn: &mut PgConnection, tenant: &TenantName) -> Result<(), SchemaCopyFailure> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        is_taken: bool,
    }
    if !try_lock(conn, tenant)? {
        return Err(SchemaCopyFailure::Refused("another session works on a tenant with this name there".to_owned()));
    }
    let row: Row = sql_query(
        "SELECT EXISTS (SELECT FROM public.schema_tracker AS t WHERE lower(t.name COLLATE \"C\") = lower($1 COLLATE \"C\")) \
         OR EXISTS (SELECT FROM pg_catalog.pg_namespace AS n WHERE n.nspname = $1) AS is_taken",
    )
    .bind::<Text, _>(tenant.as_str())
    .get_result(conn)?;
    if row.is_taken {
        return Err(SchemaCopyFailure::Refused("a tenant or a schema with this name exists there".to_owned()));
    }
    Ok(())
}

/// Inserts the tracker row of the source, with the state `arriving`.
pub(super) fn track(conn: &mut PgConnection, moved: &TenantMove, tracked: &str) -> QueryResult<()> {
    insert_row(conn, moved, tracked, "arriving")
}

/// Inserts the tracker row that a server had, with a state of the move. The role is recorded when the tenant gets it.
pub(super) fn insert_row(conn: &mut PgConnection, moved: &TenantMove, tracked: &str, state: &str) -> QueryResult<()> {
    let role = if state == "moving" {
        "r.role_name, r.role_group, r.role_statement_timeout, r.role_connection_limit, r.role_temp_file_limit"
    } else {
        "NULL, NULL, NULL, NULL, NULL"
    };
    sql_query(format!(
        "INSERT INTO public.schema_tracker (id, name, state, created_at, labels, archived_at, archived_rights, purge_after, \
         repeatables, move, role_name, role_group, role_statement_timeout, role_connection_limit, role_temp_file_limit) \
         SELECT r.id, r.name, $3, r.created_at, r.labels, r.archived_at, r.archived_rights, r.purge_after, r.repeatables, $2, {role} \
         FROM pg_catalog.jsonb_populate_record(NULL::public.schema_tracker, $1::jsonb) AS r"
    ))
    .bind::<Text, _>(tracked)
    .bind::<SqlUuid, _>(moved.id)
    .bind::<Text, _>(state)
    .execute(conn)
    .map(|_| ())
}

/// How the structure of the source, as it is now, differs from what the target was made from, without what the move itself
/// has changed.
pub(super) fn changed_since(moved: &TenantMove, expected: &Structure, actual: &Structure) -> Vec<String> {
    let is_own = |difference: &Difference| {
        let of_identity = difference.aspect == Aspect::Fact("replica_identity".to_owned())
            && moved.identities.contains_key(&unquoted(&difference.identity.name));
        of_identity || difference.identity.kind == ObjectKind::Publication || closed::is_own(difference)
    };
    let differences = compare(expected, actual, &HashSet::new());
    differences.iter().filter(|it| !is_own(it)).map(|it| it.summary(moved.tenant.as_str())).collect()
}
