//! The checks, each over the whole fleet in as few statements as its size allows.

use std::collections::{BTreeSet, HashSet};

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Text};

use super::finding::{Finding, Kind};
use crate::error::Error;
use crate::fleet::{Fleet, Schema, Tenant};
use crate::ledger::Ledger;
use crate::migration::MigrationSet;
use crate::migrator;
use crate::name::TenantName;
use crate::postgres::CHUNK;
use crate::sql::statement::identifiers;
use crate::tenancy::Tenancy;
use crate::tracker::State;

/// What the tracker and the ledger tell of one tenant. `under_way`: a session is working on it.
pub(super) fn tenant(tenant: &Tenant, set: &MigrationSet, under_way: bool, findings: &mut Vec<Finding>) {
    let name = &tenant.name;
    if under_way {
        return;
    }
    match (tenant.state, &tenant.schema) {
        (State::Dropping, _) => return findings.push(Finding::stuck(name, Kind::StuckDropping)),
        (State::Creating, Schema::Ledger { .. } | Schema::NoLedger { .. }) => {
            findings.push(Finding::stuck(name, Kind::StuckCreating));
        }
        _ => {}
    }
    match &tenant.schema {
        Schema::Missing => findings.push(Finding::schema_missing(name, tenant.state)),
        Schema::Unreadable => findings.push(Finding::unreadable(name)),
        Schema::NoLedger { empty, .. } => findings.push(Finding::ledger_missing(name, *empty)),
        Schema::Ledger { ledger, .. } => of_ledger(name, ledger, set, findings),
    }
    // Of one that is among them the ledger tells that it is pending.
    if let Some(unfinished) = tenant.unfinished.as_ref().filter(|it| set.position(&it.version).is_none()) {
        findings.push(Finding::unfinished(name, unfinished));
    }
}

fn of_ledger(name: &TenantName, ledger: &Ledger, set: &MigrationSet, findings: &mut Vec<Finding>) {
    let version = |index: &usize| set.at(*index).version().as_str().to_owned();
    let (late, missing): (Vec<usize>, Vec<usize>) =
        ledger.pending.iter().partition(|index| ledger.out_of_order.contains(index));
    if !missing.is_empty() {
        findings.push(Finding::pending(name, Kind::MissingMigrations, missing.iter().map(version).collect()));
    }
    if !late.is_empty() {
        findings.push(Finding::pending(name, Kind::OutOfOrder, late.iter().map(version).collect()));
    }
    if !ledger.unknown.is_empty() {
        findings.push(Finding::unknown(name, ledger.unknown.clone()));
    }
}

/// Tables of the tenants that are in `public`: where migrations land that run without their schema. A name that the
/// public migrations use is theirs.
pub(super) fn tables_in_public(
    conn: &mut PgConnection,
    tables: &BTreeSet<String>,
    public: &MigrationSet,
) -> Result<Vec<Finding>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let theirs: HashSet<String> = public.iter().flat_map(|migration| identifiers(migration.up().text())).collect();
    let tables: Vec<&str> = tables.iter().map(String::as_str).filter(|table| !theirs.contains(*table)).collect();
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<Row> = sql_query(
        "SELECT relname::text AS name FROM pg_class \
         WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'public') \
         AND relkind IN ('r', 'p') AND relname = ANY($1) ORDER BY relname",
    )
    .bind::<Array<Text>, _>(tables)
    .load(conn)
    .map_err(Error::doing("look for tenants' tables in public"))?;
    Ok(rows.iter().map(|row| Finding::table_in_public(&row.name)).collect())
}

/// Tenant migrations that the public ledger records, and that are no public migrations.
pub(super) fn ledger_in_public(applied: &[String], tenancy: &Tenancy) -> Option<Finding> {
    let stray: Vec<String> = applied
        .iter()
        .filter(|version| {
            tenancy.tenant_migrations().position(version).is_some()
                && tenancy.public_migrations().position(version).is_none()
        })
        .cloned()
        .collect();
    (!stray.is_empty()).then(|| Finding::ledger_in_public(stray))
}

/// Whether the tracker has a tenant in a state that passes.
pub(super) fn is_passing(tenant: &Tenant) -> bool {
    matches!(tenant.state, State::Creating | State::Dropping) || tenant.unfinished.is_some()
}

/// Those tenants that the tracker has in a passing state, and that a session is working on: it holds their lock.
pub(super) fn under_way(conn: &mut PgConnection, fleet: &Fleet) -> Result<HashSet<String>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let passing: Vec<&str> =
        fleet.tenants.iter().filter(|tenant| is_passing(tenant)).map(|tenant| tenant.name.as_str()).collect();
    let mut found = HashSet::new();
    for chunk in passing.chunks(CHUNK) {
        // A lock on one bigint has its high half in classid, its low half in objid, and objsubid 1.
        let rows: Vec<Row> = sql_query(format!(
            "SELECT wanted.name FROM unnest($1) AS wanted (name) \
             JOIN pg_locks AS l ON l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted \
             AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
             AND (l.classid::bigint << 32) | l.objid::bigint = {}",
            migrator::lock_key("wanted.name")
        ))
        .bind::<Array<Text>, _>(chunk)
        .load(conn)
        .map_err(Error::doing("look for runs that are under way"))?;
        found.extend(rows.into_iter().map(|row| row.name));
    }
    Ok(found)
}
