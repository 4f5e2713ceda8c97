//! The checks, each over the whole fleet in as few statements as its size allows.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Oid, Text};

use super::finding::{Finding, Kind};
use crate::error::Error;
use crate::fleet::{Fleet, Schema, Tenant};
use crate::ledger::Ledger;
use crate::migration::MigrationSet;
use crate::migrator;
use crate::name::TenantName;
use crate::postgres::CHUNK;
use crate::reference::Reference;
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

/// Tables of the reference that tenants do not have. Tenants with the same ledger are asked about together: first how
/// many of the tables each has, then, of those that lack some, which.
pub(super) fn missing_tables(
    conn: &mut PgConnection,
    fleet: &Fleet,
    reference: &Reference,
    set: &MigrationSet,
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    // Tenants whose ledgers are alike share one: its place in memory tells the groups apart.
    let mut groups: HashMap<*const Ledger, Group<'_>> = HashMap::new();
    for tenant in &fleet.tenants {
        if let Schema::Ledger { oid, ledger } = &tenant.schema {
            let group = groups.entry(Arc::as_ptr(ledger)).or_insert_with(|| Group { ledger, tenants: Vec::new() });
            group.tenants.push((*oid, &tenant.name));
        }
    }
    for Group { ledger, tenants } in groups.into_values() {
        let expected: Vec<String> = reference.tables_for(ledger, set).into_iter().collect();
        if expected.is_empty() {
            continue;
        }
        for chunk in tenants.chunks(CHUNK) {
            let oids: Vec<u32> = chunk.iter().map(|(oid, _)| *oid).collect();
            let counts = count_tables(conn, &oids, &expected)?;
            let lacking: BTreeMap<u32, &TenantName> = chunk
                .iter()
                .filter(|(oid, _)| counts.get(oid).copied().unwrap_or(0) < expected.len() as i64)
                .copied()
                .collect();
            if lacking.is_empty() {
                continue;
            }
            let oids: Vec<u32> = lacking.keys().copied().collect();
            let there = list_tables(conn, &oids, &expected)?;
            let schemas = still_there(conn, &oids)?;
            for (oid, name) in lacking.into_iter().filter(|(oid, _)| schemas.contains(oid)) {
                let missing: Vec<String> =
                    expected.iter().filter(|table| !there.contains(&(oid, (*table).clone()))).cloned().collect();
                // It was dropped as a whole meanwhile, or made whole.
                if missing.is_empty() {
                    continue;
                }
                let origins: BTreeSet<String> = missing
                    .iter()
                    .filter_map(|table| reference.origin(table, set))
                    .map(|migration| migration.folder().to_owned())
                    .collect();
                findings.push(Finding::missing_tables(name, missing, &origins.into_iter().collect::<Vec<_>>()));
            }
        }
    }
    Ok(())
}

/// Tenants with the same ledger, each with its schema's oid.
struct Group<'a> {
    ledger: &'a Ledger,
    tenants: Vec<(u32, &'a TenantName)>,
}

fn count_tables(conn: &mut PgConnection, schemas: &[u32], tables: &[String]) -> Result<HashMap<u32, i64>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Oid)]
        schema_oid: u32,
        #[diesel(sql_type = BigInt)]
        tables: i64,
    }
    let rows: Vec<Row> = sql_query(
        "SELECT relnamespace AS schema_oid, count(*) AS tables FROM pg_class \
         WHERE relnamespace = ANY($1) AND relname = ANY($2) AND relkind IN ('r', 'p') GROUP BY relnamespace",
    )
    .bind::<Array<Oid>, _>(schemas)
    .bind::<Array<Text>, _>(tables)
    .load(conn)
    .map_err(Error::doing("count the tenants' tables"))?;
    Ok(rows.into_iter().map(|row| (row.schema_oid, row.tables)).collect())
}

/// Those schemas that were not dropped meanwhile.
fn still_there(conn: &mut PgConnection, schemas: &[u32]) -> Result<HashSet<u32>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Oid)]
        oid: u32,
    }
    let rows: Vec<Row> = sql_query("SELECT oid FROM pg_namespace WHERE oid = ANY($1)")
        .bind::<Array<Oid>, _>(schemas)
        .load(conn)
        .map_err(Error::doing("look for the tenants' schemas"))?;
    Ok(rows.into_iter().map(|row| row.oid).collect())
}

fn list_tables(conn: &mut PgConnection, schemas: &[u32], tables: &[String]) -> Result<HashSet<(u32, String)>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Oid)]
        schema_oid: u32,
        #[diesel(sql_type = Text)]
        name: String,
    }
    let rows: Vec<Row> = sql_query(
        "SELECT relnamespace AS schema_oid, relname::text AS name FROM pg_class \
         WHERE relnamespace = ANY($1) AND relname = ANY($2) AND relkind IN ('r', 'p')",
    )
    .bind::<Array<Oid>, _>(schemas)
    .bind::<Array<Text>, _>(tables)
    .load(conn)
    .map_err(Error::doing("list the tenants' tables"))?;
    Ok(rows.into_iter().map(|row| (row.schema_oid, row.name)).collect())
}
