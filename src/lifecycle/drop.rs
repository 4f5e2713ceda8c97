//! The end of tenants: a plan that tells what goes, and its execution, schema and tracker row together.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Oid, Text};

use crate::database::Database;
use crate::error::Error;
use crate::failure::{Failed, TenantError};
use crate::migrator::{Batch, CHANGED, Commit, Ended, Objection, Target, statement_timeout};
use crate::name::SchemaName;
use crate::postgres::CHUNK;
use crate::postgres::{ServerMessage, Session};
use crate::sql::quote::{Identifier, Literal};
use crate::tenancy::Tenancy;
use crate::tracker::schema_tracker;
use crate::workers::{self, Attempt, Observer, Stop};

/// What [`drop_tenants`] does. Showing it is a dry run.
#[derive(Debug, Default)]
pub struct DropPlan {
    /// What goes, in the order asked for.
    pub drops: Vec<Dropping>,
    /// What cannot go, and why.
    pub failed: Vec<Failed>,
    /// What is not there, where that is no failure.
    pub missing: Vec<String>,
}

/// A tenant, or an untracked schema, that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropping {
    /// Its name.
    pub name: SchemaName,
    /// Whether the tracker has it.
    pub tracked: bool,
    /// Its schema; none where there is none, and only the tracker's row goes.
    pub schema: Option<Contents>,
}

/// What goes with a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    /// The schema's oid: a schema of the same name made later is another one.
    pub oid: u32,
    /// How many tables, the ledger not counted.
    pub tables: i64,
    /// How many rows they have, by the server's estimate at its last ANALYZE.
    pub estimated_rows: i64,
    /// What they take on disk with their indexes, in bytes.
    pub bytes: i64,
}

/// What [`drop_tenants`] did, each list sorted by name.
#[derive(Debug, Default)]
pub struct DropReport {
    /// What is gone.
    pub dropped: Vec<SchemaName>,
    /// What is still there, and why.
    pub failed: Vec<Failed>,
    /// What was not there.
    pub missing: Vec<String>,
    /// What was not begun, because the run was ended before.
    pub not_reached: Vec<SchemaName>,
    /// Why it was ended.
    pub ended: Option<Ended>,
}

/// What follows when there is nothing of the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfMissing {
    /// It fails.
    Fail,
    /// It is told.
    Accept,
}

/// Looks at what is to go. With `untracked`, schemas that the tracker does not have may go, too.
///
/// # Errors
/// What [`Database::require_writable`] says, and what the server answered. What is wrong with one name is in the plan.
pub fn plan_drop(
    db: &mut Database,
    tenancy: &Tenancy,
    names: &[SchemaName],
    untracked: bool,
    if_missing: IfMissing,
) -> Result<DropPlan, Error> {
    db.require_writable(tenancy)?;
    plan(db, names, untracked, if_missing)
}

/// The plan, whether or not public migrations are pending.
pub(super) fn plan(
    db: &mut Database,
    names: &[SchemaName],
    untracked: bool,
    if_missing: IfMissing,
) -> Result<DropPlan, Error> {
    let mut seen = HashSet::new();
    let names: Vec<&SchemaName> = names.iter().filter(|name| seen.insert(*name)).collect();
    let (tracked, schemas) = look(db.connection(), &names)?;
    let mut plan = DropPlan::default();
    for name in names {
        let is_tracked = tracked.contains(name.as_str());
        let schema = schemas.get(name.as_str());
        let error = match schema {
            _ if is_the_databases_own(name) => Some(TenantError::NotATenant),
            Some(schema) if schema.holds_extensions => Some(TenantError::HoldsExtensions { new: false }),
            Some(_) if !is_tracked && !untracked => Some(TenantError::Untracked),
            None if !is_tracked && if_missing == IfMissing::Accept => {
                plan.missing.push(name.as_str().to_owned());
                continue;
            }
            None if !is_tracked => Some(TenantError::Nothing),
            _ => None,
        };
        match error {
            Some(error) => plan.failed.push(Failed { tenant: name.as_str().to_owned(), error }),
            None => plan.drops.push(Dropping {
                name: name.clone(),
                tracked: is_tracked,
                schema: schema.map(|schema| Contents { oid: schema.oid, tables: 0, estimated_rows: 0, bytes: 0 }),
            }),
        }
    }
    weigh(db.connection(), &mut plan)?;
    Ok(plan)
}

/// Carries out a plan: each schema and its row in one transaction. A schema that is not the one that was looked at is
/// left alone.
///
/// # Errors
/// When the commits could not be made durable. What one tenant meets is in the report.
pub fn drop_tenants(
    db: &mut Database,
    tenancy: &Tenancy,
    plan: DropPlan,
    stop: &Stop,
    observer: &mut dyn Observer,
) -> Result<DropReport, Error> {
    let mut report = DropReport { failed: plan.failed, missing: plan.missing, ..DropReport::default() };
    let commit = if plan.drops.len() == 1 { Commit::Durable } else { Commit::Deferred };
    observer.begin(plan.drops.len());
    let rest = workers::run(
        db,
        plan.drops.into_iter().map(|dropping| (dropping, 0)).collect(),
        stop,
        |session, (dropping, tries)| {
            *tries += 1;
            let began = Instant::now();
            match drop_one(session, tenancy, dropping, commit) {
                Err(TenantError::Busy) if *tries < BUSY_TRIES => Attempt::Later,
                result => Attempt::Done(result.map(|()| began.elapsed())),
            }
        },
        |_| false,
        |(dropping, _), result| match result {
            Ok(took) => {
                observer.done(dropping.name.as_str(), took);
                report.dropped.push(dropping.name);
            }
            Err(error) => {
                observer.failed(dropping.name.as_str(), &error);
                report.failed.push(Failed { tenant: dropping.name.as_str().to_owned(), error });
            }
        },
    )?;
    report.not_reached = rest.not_reached.into_iter().map(|(dropping, _)| dropping.name).collect();
    report.ended = match rest.lost {
        Some(error) => Some(Ended::Lost(error)),
        None if report.not_reached.is_empty() => None,
        None => Some(Ended::Interrupted),
    };
    report.dropped.sort();
    report.failed.sort_by(|a, b| a.tenant.cmp(&b.tenant));
    report.not_reached.sort();
    Ok(report)
}

/// Whether there is a schema of any of the names.
pub(crate) fn any_exists(db: &mut Database, names: &[SchemaName]) -> Result<bool, Error> {
    let rows: Vec<SchemaRow> = find(db.connection(), &names.iter().collect::<Vec<_>>())?;
    Ok(!rows.is_empty())
}

/// With pauses of up to a second, about a minute.
const BUSY_TRIES: u32 = 64;

/// `public`, `information_schema` and PostgreSQL's own are never dropped, whatever the tracker says.
fn is_the_databases_own(name: &SchemaName) -> bool {
    let name = name.as_str().to_ascii_lowercase();
    name == "public" || name == "information_schema" || name.starts_with("pg_")
}

fn drop_one(session: &mut Session, tenancy: &Tenancy, dropping: &Dropping, commit: Commit) -> Result<(), TenantError> {
    let name = &dropping.name;
    let target = Target::tenant(tenancy, name);
    let literal = Literal(name.as_str());
    let has_row = format!("EXISTS (SELECT FROM public.schema_tracker WHERE name = {literal})");
    let not = if dropping.tracked { "NOT " } else { "" };
    let oid = dropping.schema.map_or("NULL".to_owned(), |contents| contents.oid.to_string());
    let mut conditions = vec![
        target.lock_for_transaction(),
        format!("IF {not}{has_row} THEN RAISE EXCEPTION '{CHANGED}'; END IF;"),
        format!(
            "IF (SELECT oid FROM pg_namespace WHERE nspname = {literal}) IS DISTINCT FROM {oid}::oid \
             THEN RAISE EXCEPTION '{CHANGED}'; END IF;"
        ),
    ];
    if dropping.schema.is_some() {
        let dependents = include_str!("dependents.sql").replace("$1", &format!("ARRAY[{oid}]::oid[]"));
        conditions.push(format!("IF EXISTS ({dependents}) THEN RAISE EXCEPTION '{CHANGED}'; END IF;"));
        conditions.push(format!(
            "IF EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extnamespace = {oid}::oid) \
             THEN RAISE EXCEPTION '{CHANGED}'; END IF;"
        ));
    }
    let mut batch = Batch::default();
    batch.push("BEGIN ISOLATION LEVEL READ COMMITTED;");
    if commit == Commit::Deferred {
        batch.push("SET LOCAL synchronous_commit TO off;");
    }
    batch.push(&statement_timeout("SET LOCAL", tenancy));
    batch.guard(&conditions);
    if dropping.schema.is_some() {
        batch.push(&format!("DROP SCHEMA {} CASCADE;", Identifier::from(name)));
    }
    batch.push(&format!("DELETE FROM public.schema_tracker WHERE name = {literal};"));
    session.batch_execute(batch.commit().sql()).map_err(|error| {
        let server = ServerMessage::from(&error);
        if ServerMessage::is_connection_lost(&error) {
            session.spend();
            return TenantError::ConnectionLost(server);
        }
        if session.batch_execute("ROLLBACK").is_err() {
            session.spend();
        }
        match Objection::in_message(&server.message) {
            Some(Objection::Busy) => TenantError::Busy,
            Some(_) => TenantError::ChangedSincePlan,
            None => TenantError::Server(server),
        }
    })
}

#[derive(QueryableByName)]
struct SchemaRow {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Oid)]
    oid: u32,
    #[diesel(sql_type = diesel::sql_types::Bool)]
    holds_extensions: bool,
}

fn look(
    conn: &mut PgConnection,
    names: &[&SchemaName],
) -> Result<(HashSet<String>, HashMap<String, SchemaRow>), Error> {
    let mut tracked = HashSet::new();
    let mut schemas = HashMap::new();
    for chunk in names.chunks(CHUNK) {
        let names: Vec<&str> = chunk.iter().map(|name| name.as_str()).collect();
        let rows: Vec<String> = schema_tracker::table
            .select(schema_tracker::name)
            .filter(schema_tracker::name.eq_any(&names))
            .load(conn)
            .map_err(Error::doing("read the tracker"))?;
        tracked.extend(rows);
        schemas.extend(find(conn, chunk)?.into_iter().map(|row| (row.name.clone(), row)));
    }
    Ok((tracked, schemas))
}

fn find(conn: &mut PgConnection, names: &[&SchemaName]) -> Result<Vec<SchemaRow>, Error> {
    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    sql_query(
        "SELECT nspname::text AS name, oid, \
         EXISTS (SELECT FROM pg_extension WHERE extnamespace = pg_namespace.oid) AS holds_extensions \
         FROM pg_namespace WHERE nspname = ANY($1)",
    )
    .bind::<Array<Text>, _>(names)
    .load(conn)
    .map_err(Error::doing("look for the schemas"))
}

/// Adds to a plan how much goes, and takes out of it what others depend on.
fn weigh(conn: &mut PgConnection, plan: &mut DropPlan) -> Result<(), Error> {
    #[derive(QueryableByName)]
    struct Size {
        #[diesel(sql_type = Oid)]
        oid: u32,
        #[diesel(sql_type = BigInt)]
        tables: i64,
        #[diesel(sql_type = BigInt)]
        estimated_rows: i64,
        #[diesel(sql_type = BigInt)]
        bytes: i64,
    }
    #[derive(QueryableByName)]
    struct Dependent {
        #[diesel(sql_type = Oid)]
        schema_oid: u32,
        #[diesel(sql_type = Text)]
        description: String,
    }
    let oids: Vec<u32> = plan.drops.iter().filter_map(|dropping| dropping.schema.map(|schema| schema.oid)).collect();
    let mut sizes: HashMap<u32, Contents> = HashMap::new();
    let mut dependents: HashMap<u32, Vec<String>> = HashMap::new();
    for chunk in oids.chunks(CHUNK) {
        let rows: Vec<Size> = sql_query(include_str!("sizes.sql"))
            .bind::<Array<Oid>, _>(chunk)
            .load(conn)
            .map_err(Error::doing("measure the schemas"))?;
        sizes.extend(
            rows.into_iter().map(|Size { oid, tables, estimated_rows, bytes }| {
                (oid, Contents { oid, tables, estimated_rows, bytes })
            }),
        );
        let rows: Vec<Dependent> = sql_query(include_str!("dependents.sql"))
            .bind::<Array<Oid>, _>(chunk)
            .load(conn)
            .map_err(Error::doing("look for what depends on the schemas"))?;
        for row in rows {
            dependents.entry(row.schema_oid).or_default().push(row.description);
        }
    }
    for mut dropping in std::mem::take(&mut plan.drops) {
        if let Some(schema) = &mut dropping.schema {
            if let Some(objects) = dependents.remove(&schema.oid) {
                let tenant = dropping.name.as_str().to_owned();
                plan.failed.push(Failed { tenant, error: TenantError::Dependents { objects } });
                continue;
            }
            *schema = sizes.get(&schema.oid).copied().unwrap_or(*schema);
        }
        plan.drops.push(dropping);
    }
    Ok(())
}
