//! The checks, each over the whole fleet in as few statements as its size allows.

use std::collections::{BTreeSet, HashSet};

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Text};

use super::finding::{Finding, FindingKind};
use crate::error::Error;
use crate::migration::{self, MigrationSet};
use crate::model::{State, TenantName};
use crate::postgres::CHUNK;
use crate::record::integrity::{recorded_version, schema_migration as recorded};
use crate::sql::statement::identifiers;
use crate::tenants::ledger::Ledger;
use crate::tenants::{Fleet, Schema, Tenancy, Tenant, lock_key_of};

/// The findings of the tracker and the ledger about one tenant that no session is working on.
pub(super) fn tenant(tenant: &Tenant, set: &MigrationSet, findings: &mut Vec<Finding>) {
    let name = &tenant.name;
    match (tenant.state, &tenant.schema) {
        (State::Moving | State::Arriving, _) => return findings.push(Finding::stuck(name, FindingKind::StuckMoving)),
        (State::Dropping, _) => return findings.push(Finding::stuck(name, FindingKind::StuckDropping)),
        (State::Creating, Schema::Ledger { .. } | Schema::NoLedger { .. }) => {
            findings.push(Finding::stuck(name, FindingKind::StuckCreating));
        }
        _ => {}
    }
    match &tenant.schema {
        Schema::Missing => findings.push(Finding::schema_missing(name, tenant.state)),
        Schema::Unreadable(reason) => findings.push(Finding::unreadable(name, reason)),
        Schema::InvalidLedger { reason } => findings.push(Finding::invalid_ledger(name, reason)),
        Schema::NoLedger { empty: true, .. } => findings.push(Finding::schema_empty(name)),
        Schema::NoLedger { empty: false, .. } => findings.push(Finding::ledger_missing(name)),
        Schema::Ledger { ledger, .. } => of_ledger(name, ledger, set, findings),
    }
    // One of the set is pending by the ledger, which is a finding already.
    if let Some(unfinished) = tenant.unfinished.as_ref().filter(|it| set.position(&it.version).is_none()) {
        findings.push(Finding::unfinished(name, unfinished));
    }
}

fn of_ledger(name: &TenantName, ledger: &Ledger, set: &MigrationSet, findings: &mut Vec<Finding>) {
    let version = |index: &usize| {
        let migration = set.at(*index);
        if migration.is_repeatable() { migration.folder() } else { migration.version().as_str() }.to_owned()
    };
    let (late, missing): (Vec<usize>, Vec<usize>) =
        ledger.pending.iter().partition(|index| ledger.out_of_order.contains(index));
    if !missing.is_empty() {
        findings.push(Finding::pending(name, FindingKind::MissingMigrations, missing.iter().map(version).collect()));
    }
    if !late.is_empty() {
        findings.push(Finding::pending(name, FindingKind::OutOfOrder, late.iter().map(version).collect()));
    }
    if !ledger.unknown.is_empty() {
        findings.push(Finding::unknown(name, ledger.unknown.clone()));
    }
}

/// The tenant migrations that tenantry itself has applied to `public`: one of the ledgers of `public` has the version,
/// `public.schema_migration` records it as a public migration, and it is not one of the public migrations now.
///
/// Diesel's ledger alone proves nothing: Diesel's own command line records an application's migrations there.
pub(super) fn tenant_migrations_in_public(
    conn: &mut PgConnection,
    applied: &BTreeSet<String>,
    tenancy: &Tenancy,
) -> Result<Vec<String>, Error> {
    let stray: Vec<&String> = applied
        .iter()
        .filter(|version| {
            tenancy.tenant_migrations().position(version).is_some()
                && tenancy.public_migrations().position(version).is_none()
        })
        .collect();
    if stray.is_empty() {
        return Ok(Vec::new());
    }
    recorded::table
        .filter(recorded::kind.eq(migration::Kind::Public.as_str()))
        .filter(recorded_version().eq_any(stray))
        .select(recorded_version())
        .order(recorded_version())
        .load(conn)
        .map_err(Error::doing("read public.schema_migration"))
}

/// The tables in `public` that tenant migrations have created there: for each of `versions`, all of its tables or none.
/// `tables` are the tables that any tenant migration creates. A name that a public migration uses belongs to that one.
pub(super) fn tables_in_public(
    conn: &mut PgConnection,
    versions: &[String],
    tables: &BTreeSet<String>,
    tenancy: &Tenancy,
) -> Result<Vec<Finding>, Error> {
    let of_public: HashSet<String> =
        tenancy.public_migrations().iter().flat_map(|migration| identifiers(migration.up().text())).collect();
    let set = tenancy.tenant_migrations();
    let created: Vec<BTreeSet<String>> = versions
        .iter()
        .filter_map(|version| set.position(version))
        .map(|index| identifiers(set.at(index).up().text()).filter(|word| tables.contains(word)).collect())
        .collect();
    if created.iter().all(BTreeSet::is_empty) {
        return Ok(Vec::new());
    }
    let names: Vec<&String> = created.iter().flatten().collect();
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let rows: Vec<Row> = sql_query(
        "SELECT relname::text AS name FROM pg_catalog.pg_class \
         WHERE relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'public') \
         AND relkind IN ('r', 'p') AND relname::text = ANY($1)",
    )
    .bind::<Array<Text>, _>(names)
    .load(conn)
    .map_err(Error::doing("look for tenants' tables in public"))?;
    let existing: HashSet<String> = rows.into_iter().map(|row| row.name).collect();
    let found: BTreeSet<String> =
        created.into_iter().filter(|tables| tables.iter().all(|table| existing.contains(table))).flatten().collect();
    Ok(found.iter().filter(|table| !of_public.contains(*table)).map(|table| Finding::table_in_public(table)).collect())
}

/// The finding for tenant migrations that were applied to `public`.
pub(super) fn ledger_in_public(stray: Vec<String>) -> Option<Finding> {
    (!stray.is_empty()).then(|| Finding::ledger_in_public(stray))
}

/// Whether a tenant is in a state that only a running command leaves it in.
pub(super) fn is_transitional(tenant: &Tenant) -> bool {
    matches!(tenant.state, State::Creating | State::Dropping | State::Moving | State::Arriving)
        || tenant.unfinished.is_some()
}

/// The tenants in a transitional state that a session is working on, because it holds their lock.
pub(super) fn in_progress(conn: &mut PgConnection, fleet: &Fleet) -> Result<HashSet<String>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let transitional: Vec<&str> =
        fleet.tenants.iter().filter(|tenant| is_transitional(tenant)).map(|tenant| tenant.name.as_str()).collect();
    let mut found = HashSet::new();
    for chunk in transitional.chunks(CHUNK) {
        // A lock on one bigint has its high half in classid, its low half in objid, and objsubid 1.
        let rows: Vec<Row> = sql_query(format!(
            "SELECT wanted.name FROM pg_catalog.unnest($1) AS wanted (name) \
             JOIN pg_catalog.pg_locks AS l ON l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted \
             AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
             AND (l.classid::bigint << 32) | l.objid::bigint = {}",
            lock_key_of("wanted.name")
        ))
        .bind::<Array<Text>, _>(chunk)
        .load(conn)
        .map_err(Error::doing("look for runs in progress"))?;
        found.extend(rows.into_iter().map(|row| row.name));
    }
    Ok(found)
}
