//! The floor: the minimum of SQL that reaches the same result, over the same number of raw connections.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Result, anyhow, ensure};
use diesel::connection::{CacheSize, SimpleConnection};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Integer, Text};
use tenantry::migration::{Migration, Mode};
use tenantry::tenants::ledger::TABLE;
use tenantry::{MigrationSet, TenantName};

/// The number of ledgers that one statement reads, the same as the library's.
const LEDGERS: usize = tenantry::CHUNK;

/// Creates the tenants with one message each. If the set ends with a non-transactional migration, each of its
/// statements and its ledger row is another message.
pub fn create(url: &str, jobs: usize, set: &MigrationSet, names: &[TenantName]) -> Result<()> {
    run(url, jobs, names, |name| {
        let at_once = |migration: &&Migration| migration.mode() == Mode::Transactional;
        let all: Vec<&Migration> = set.iter().map(|migration| &**migration).collect();
        let (first, rest) = all.split_at(all.iter().take_while(|migration| at_once(migration)).count());
        ensure!(!rest.iter().any(at_once), "a transactional migration after another");

        let mut message = format!("BEGIN; {}", schema(name));
        message.push_str(&format!("SET LOCAL search_path TO {name};\n"));
        for migration in first {
            message.push_str(migration.up().text());
            message.push_str("\n;\n");
        }
        message.push_str(&rows(name, first));
        message
            .push_str(&format!("INSERT INTO public.schema_tracker (name, state) VALUES ('{name}', 'active'); COMMIT;"));
        if !rest.is_empty() {
            message.push_str(&format!("SET search_path TO {name};"));
        }
        let mut messages = vec![message];
        for migration in rest {
            messages.extend(migration.up().statements().iter().map(|statement| statement.sql().to_owned()));
            messages.push(rows(name, &[migration]));
        }
        Ok(messages)
    })
}

/// Reads which tenants have pending migrations, and sends the library's own messages, one per tenant. The remaining
/// difference is the library's work on the client.
pub fn send(url: &str, jobs: usize, messages: &[String]) -> Result<()> {
    read(url)?;
    run(url, jobs, messages, |message| Ok(vec![message.clone()]))
}

/// Reads which tenants have pending migrations, and applies the newest migration with one message per tenant, without
/// guards.
pub fn roll_out(url: &str, jobs: usize, set: &MigrationSet, names: &[TenantName]) -> Result<()> {
    let newest = set.iter().next_back().ok_or_else(|| anyhow!("there is no migration"))?;
    read(url)?;
    run(url, jobs, names, |name| {
        let (up, row) = (newest.up().text(), rows(name, &[&**newest]));
        Ok(vec![format!("BEGIN; SET LOCAL search_path TO {name};\n{up}\n;\n{row} COMMIT;")])
    })
}

/// Drops the tenants with one message each.
pub fn drop(url: &str, jobs: usize, names: &[TenantName]) -> Result<()> {
    run(url, jobs, names, |name| {
        let row = format!("DELETE FROM public.schema_tracker WHERE name = '{name}'");
        Ok(vec![format!("BEGIN; DROP SCHEMA {name} CASCADE; {row}; COMMIT;")])
    })
}

/// Reads the tracker, and the ledgers in chunks.
pub fn read(url: &str) -> Result<()> {
    #[derive(QueryableByName)]
    struct Tenant {
        #[diesel(sql_type = Text)]
        name: String,
        #[diesel(sql_type = Text)]
        state: String,
    }
    #[derive(QueryableByName)]
    struct Applied {
        #[diesel(sql_type = Integer)]
        tenant: i32,
        #[diesel(sql_type = Text)]
        version: String,
    }
    let mut conn = connect(url)?;
    let tenants: Vec<Tenant> =
        sql_query("SELECT name, state FROM public.schema_tracker ORDER BY name COLLATE \"C\"").load(&mut conn)?;
    let mut ledgers: Vec<Vec<String>> = Vec::new();
    for chunk in tenants.chunks(LEDGERS) {
        let begin = ledgers.len();
        ledgers.resize(begin + chunk.len(), Vec::new());
        let selects: Vec<String> = chunk
            .iter()
            .enumerate()
            .map(|(index, tenant)| format!("SELECT {index} AS tenant, version::text FROM {}.{TABLE}", tenant.name))
            .collect();
        let rows: Vec<Applied> = sql_query(selects.join(" UNION ALL ")).load(&mut conn)?;
        for row in rows {
            ledgers[begin + row.tenant as usize].push(row.version);
        }
    }
    ensure!(tenants.iter().all(|tenant| tenant.state == "active"), "not all are active");
    ensure!(ledgers.iter().all(|ledger| !ledger.is_empty()), "not all have a ledger");
    Ok(())
}

/// A message that creates tenants with a schema and a full ledger.
pub fn light(set: &MigrationSet, names: &[TenantName]) -> String {
    let all: Vec<&Migration> = set.iter().map(|migration| &**migration).collect();
    let tenants: String = names.iter().map(|name| schema(name) + &rows(name, &all)).collect();
    let tracked: Vec<String> = names.iter().map(|name| format!("('{name}', 'active')")).collect();
    format!("BEGIN; {tenants} INSERT INTO public.schema_tracker (name, state) VALUES {}; COMMIT;", tracked.join(", "))
}

/// A message that creates a tenant with a schema, everything that a script creates, and a full ledger.
pub fn with_ledger(name: &TenantName, set: &MigrationSet, script: &str) -> String {
    let all: Vec<&Migration> = set.iter().map(|migration| &**migration).collect();
    format!(
        "BEGIN; {}{script}{} INSERT INTO public.schema_tracker (name, state) VALUES ('{name}', 'active'); COMMIT;",
        schema(name),
        rows(name, &all)
    )
}

/// Sends the messages of each item through the given number of connections, and makes all of it durable at the end.
pub fn run<T: Sync>(
    url: &str,
    jobs: usize,
    items: &[T],
    messages: impl Fn(&T) -> Result<Vec<String>> + Sync,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let worker = || -> Result<()> {
        let mut conn = connect(url)?;
        conn.batch_execute("SET synchronous_commit TO off")?;
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            for message in messages(item)? {
                conn.batch_execute(&message)?;
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.min(items.len())).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow!("a worker panicked"))?)
    })?;
    connect(url)?.batch_execute("BEGIN; SELECT pg_logical_emit_message(true, 'bench', ''); COMMIT")?;
    Ok(())
}

fn connect(url: &str) -> Result<PgConnection> {
    let mut conn = PgConnection::establish(url)?;
    conn.set_prepared_statement_cache_size(CacheSize::Disabled);
    Ok(conn)
}

/// SQL that creates a schema and its ledger. The names of the bench need no quotes.
fn schema(name: &TenantName) -> String {
    format!(
        "CREATE SCHEMA {name}; CREATE TABLE {name}.{TABLE} (version VARCHAR(50) PRIMARY KEY NOT NULL, \
         run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP);\n"
    )
}

/// SQL that records migrations in a ledger.
fn rows(name: &TenantName, migrations: &[&Migration]) -> String {
    let versions: Vec<String> = migrations.iter().map(|one| format!("('{}')", one.version())).collect();
    format!("INSERT INTO {name}.{TABLE} (version) VALUES {};\n", versions.join(", "))
}
