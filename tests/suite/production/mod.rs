//! Runs over fleets in use, with the failures of production: locks of other sessions, lost servers, killed processes.
//! Real processes run against real servers, and no tenant or row may be lost.

mod interrupts;
mod kills;
mod links;
mod locks;
mod outages;
mod races;
mod rollout;
mod sessions;
mod shortages;
mod standby;
mod vanished;

use std::collections::BTreeSet;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use serde_json::Value;

use crate::support::migrations::Dir;
use crate::support::{Database, Output, set_up, small_fleet};

/// Tenants whose migration waits at a gate that the returned session holds.
fn gated(tenants: usize) -> (Database, PgConnection, Dir) {
    gated_in(set_up(), tenants)
}

/// The same in a database that has a tracker.
fn gated_in(db: Database, tenants: usize) -> (Database, PgConnection, Dir) {
    small_fleet(&db, tenants, &["1"]);
    db.execute("CREATE TABLE public.gate (i int)");
    let mut holder = db.connect();
    holder.batch_execute("BEGIN; LOCK TABLE public.gate").unwrap();
    let up = "CREATE TABLE b (i int);\nLOCK TABLE public.gate IN ROW SHARE MODE;\nCREATE TABLE c (i int);";
    let down = "DROP TABLE b; LOCK TABLE public.gate IN ROW SHARE MODE; DROP TABLE c;";
    (db, holder, Dir::new().add("1_a", "SELECT 1").add("2_b", up).down(down))
}

/// The tenant names `t00000` and so on.
fn names(many: usize) -> Vec<String> {
    (0..many).map(|n| format!("t{n:05}")).collect()
}

/// The tenants in a list of a command's JSON.
fn listed(output: &Output, list: &str) -> BTreeSet<String> {
    let json = output.json();
    let name = |entry: &Value| entry.as_str().or(entry["tenant"].as_str()).unwrap().to_owned();
    json[list].as_array().unwrap_or_else(|| panic!("no list {list}: {json}")).iter().map(name).collect()
}

/// The tenants that `--verbose` has reported as done.
fn reported(stderr: &str, verb: &str) -> BTreeSet<String> {
    let name = |line: &str| line.strip_prefix(verb)?.trim_start().split_once(" in ").map(|(name, _)| name.to_owned());
    stderr.lines().filter_map(name).collect()
}

/// The tenants whose ledgers record a version.
fn at(db: &Database, version: &str) -> BTreeSet<String> {
    let ledger =
        |name: &String| format!("SELECT '{name}' FROM {name}.__diesel_schema_migrations WHERE version = '{version}'");
    let schemas = db.strings(
        "SELECT nspname FROM pg_namespace WHERE to_regclass(quote_ident(nspname) || '.__diesel_schema_migrations') \
         IS NOT NULL AND nspname <> 'public'",
    );
    match schemas.is_empty() {
        true => BTreeSet::new(),
        false => {
            let ledgers: Vec<String> = schemas.iter().map(ledger).collect();
            db.strings(&ledgers.join(" UNION ALL ")).into_iter().collect()
        }
    }
}

/// The tenants that have a table.
fn having(db: &Database, table: &str) -> BTreeSet<String> {
    let sql = format!("SELECT relnamespace::regnamespace FROM pg_class WHERE relname = '{table}' AND relkind = 'r'");
    db.strings(&sql).into_iter().collect()
}

/// A seed that is random unless `TENANTRY_SEED` is set; it is shown when a test fails.
fn seed() -> u64 {
    let seed =
        std::env::var("TENANTRY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    eprintln!("TENANTRY_SEED={seed}");
    seed
}
