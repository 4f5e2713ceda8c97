//! What a transaction in a tenant's schema costs over a bare Diesel transaction: round trips and time.
//!
//! Both run the same query in turns, on a connection of the same pool, directly over the server's socket and through a proxy
//! that counts round trips. `cargo bench --bench tenants` measures; without Cargo's `--bench` it runs a few transactions.

#[path = "../tests/suite/support/address.rs"]
mod address;
// Shared with the tests, which use more of it.
#[allow(dead_code)]
#[path = "../tests/suite/support/proxy/mod.rs"]
mod proxy;

use std::env;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use diesel::sql_query;
use tenantry::local::{Binaries, Ephemeral};
use tenantry::{Connector, MigrationSet, PgPool, Tenancy, TenantName, Tenants, TransactionError};

use address::{percent_encoded, socket_of};
use proxy::Proxy;

/// The number of tenants, which are used in rotation.
const TENANTS: usize = 20;

fn main() -> Result<()> {
    let transactions = if env::args().any(|argument| argument == "--bench") { 5_000 } else { 20 };
    let path = env::var_os("PATH");
    let chosen = env::var_os("TENANTRY_PG_BIN");
    let binaries = Binaries::find(chosen.as_deref().map(Path::new), path.as_deref())?;
    let server = Ephemeral::options().setting("autovacuum", "off").start(&binaries)?;
    let tenants = set_up(&server.url("postgres"), &server.url("postgres"))?;
    let names = (0..TENANTS).map(|number| format!("t{number:02}").parse()).collect::<Result<Vec<TenantName>, _>>()?;
    for name in &names {
        tenants.create(name)?;
    }

    let proxy = Proxy::start(&server);
    let counted = set_up(&proxy.url("postgres"), &server.url("postgres"))?;
    let mut messages = [0; 2];
    // Diesel prepares the statement in the first turn.
    for _ in 0..2 {
        proxy.reset();
        bare(counted.pool(), &names[0])?;
        messages[0] = proxy.messages();
        proxy.reset();
        scoped(&counted, &names[0]).map_err(TransactionError::into_inner)?;
        messages[1] = proxy.messages();
    }

    let mut times = [Vec::new(), Vec::new()];
    for turn in 0..transactions {
        let name = &names[turn % TENANTS];
        times[0].push(timed(|| bare(tenants.pool(), name))?);
        times[1].push(timed(|| scoped(&tenants, name).map_err(TransactionError::into_inner))?);
    }
    let [bare, scoped] = times.map(median);
    println!(
        "PostgreSQL {}, {transactions} transactions of one query each, {TENANTS} tenants; medians",
        binaries.version()
    );
    println!("bare Diesel transaction: {} round trips, {:.0} µs", messages[0], micros(bare));
    println!("Tenants::with:           {} round trips, {:.0} µs", messages[1], micros(scoped));
    println!("difference:              {:.0} µs", micros(scoped) - micros(bare));
    Ok(())
}

/// The tenants of a database whose pool is at `url`.
fn set_up(url: &str, maintenance_url: &str) -> Result<Tenants> {
    let folder = tempfile::tempdir()?;
    let migration = folder.path().join("1_notes");
    std::fs::create_dir(&migration)?;
    std::fs::write(migration.join("up.sql"), "CREATE TABLE notes (id int PRIMARY KEY, body text NOT NULL);")?;
    let tenancy = Tenancy::new(MigrationSet::from_dir(folder.path())?)?;
    let pool = Pool::builder().max_size(1).test_on_check_out(false).build(ConnectionManager::new(url))?;
    let connector = Connector::new(maintenance_url.parse()?, Duration::from_secs(5), |_| None);
    let tenants = Tenants::new(pool, connector, tenancy);
    tenants.migrate()?;
    Ok(tenants)
}

/// The query with the tenant's name in it, in a transaction.
fn bare(pool: &PgPool, name: &TenantName) -> Result<()> {
    let count = pool.get()?.transaction(|conn| sql_query(format!("SELECT FROM {name}.notes")).execute(conn))?;
    ensure!(count == 0, "the table is empty");
    Ok(())
}

/// The query without it, in the tenant's schema.
fn scoped(tenants: &Tenants, name: &TenantName) -> Result<(), TransactionError<anyhow::Error>> {
    let count = tenants.with(name, |conn| Ok(sql_query("SELECT FROM notes").execute(conn)?))?;
    assert_eq!(count, 0, "the table is empty");
    Ok(())
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
