//! The server, the databases on it, and the clock.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use tenantry::local::{Binaries, Ephemeral};
use tenantry::{CHUNK, Tenancy, TenantName};

use crate::report::{Pair, Times};
use crate::{Args, floor, ours};

/// The server of the benchmark.
pub struct World {
    server: Ephemeral,
    version: String,
    /// The PostgreSQL programs.
    programs: PathBuf,
}

/// A database that is dropped with this value.
pub struct Scratch<'a> {
    world: &'a World,
    name: String,
    url: String,
}

impl World {
    /// Starts the server, durable if requested, and without background work that could run in one turn and not in the
    /// other.
    pub fn start(args: &Args) -> Result<Self> {
        let path: Option<OsString> = std::env::var_os("PATH");
        let binaries = Binaries::find(args.bin_dir.as_deref(), path.as_deref())?;
        let durable = if args.fsync { "on" } else { "off" };
        let server = Ephemeral::options()
            .setting("fsync", durable)
            .setting("synchronous_commit", "on")
            .setting("full_page_writes", durable)
            .setting("max_connections", "100")
            .setting("shared_buffers", "256MB")
            .setting("max_wal_size", "8GB")
            .setting("checkpoint_timeout", "1h")
            .setting("autovacuum", "off")
            .start(&binaries)?;
        Ok(Self { server, version: binaries.version().to_owned(), programs: binaries.folder().to_owned() })
    }

    /// The server.
    pub fn server(&self) -> &Ephemeral {
        &self.server
    }

    /// A description of the server and the machine in one line.
    pub fn describe(&self, args: &Args) -> String {
        let processors = std::thread::available_parallelism().map_or(0, |count| count.get());
        let fsync = if args.fsync { "on" } else { "off" };
        format!(
            "PostgreSQL {}, fsync {fsync}, {processors} processors, {} connections, {} rounds; medians",
            self.version, args.jobs, args.rounds
        )
    }

    /// An empty database with the tracker in it.
    pub fn database(&self, name: &str, tenancy: &Tenancy) -> Result<Scratch<'_>> {
        self.admin(&format!("CREATE DATABASE {name}"))?;
        let scratch = Scratch { world: self, name: name.to_owned(), url: self.server.url(name) };
        ours::prepare(scratch.url(), tenancy)?;
        Ok(scratch)
    }

    /// A database with tenants that have a schema and a ledger with all versions, and nothing else.
    pub fn light_database(&self, tenancy: &Tenancy, tenants: usize, jobs: usize) -> Result<Scratch<'_>> {
        let scratch = self.database("light", tenancy)?;
        let names = names(tenants);
        let chunks: Vec<&[TenantName]> = names.chunks(CHUNK / 2).collect();
        floor::run(scratch.url(), jobs, &chunks, |chunk| Ok(vec![floor::light(tenancy.tenant_migrations(), chunk)]))?;
        Ok(scratch)
    }

    /// Updates the statistics of a fleet, as autovacuum does in time.
    pub fn settle_statistics(&self, database: &Scratch<'_>) -> Result<()> {
        let mut conn = PgConnection::establish(database.url())?;
        conn.batch_execute("VACUUM ANALYZE pg_class, pg_namespace, pg_attribute, pg_index, public.schema_tracker")?;
        Ok(())
    }

    /// The same for the whole database, including the catalogs of the fleet.
    pub fn settle_everything(&self, database: &Scratch<'_>) -> Result<()> {
        Ok(PgConnection::establish(database.url())?.batch_execute("VACUUM ANALYZE")?)
    }

    /// A PostgreSQL program.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// The processor time of the server's processes since it started, if the system reports it.
    pub fn server_time(&self) -> Option<Duration> {
        let pid = self.server.pid().ok()??;
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        let running: u64 = children.split_whitespace().filter_map(|child| ticks(child, 2)).sum();
        Some(TICK * u32::try_from(ticks(&pid.to_string(), 4)? + running).ok()?)
    }

    /// Times both sides. In even turns the library comes first.
    pub fn pair(
        &self,
        turn: usize,
        ours: impl FnOnce() -> Result<()>,
        floor: impl FnOnce() -> Result<()>,
    ) -> Result<Pair> {
        let ours = || self.time(ours).context("ours");
        let floor = || self.time(floor).context("the floor");
        Ok(if turn.is_multiple_of(2) {
            let ours = ours()?;
            Pair { ours, floor: floor()? }
        } else {
            let floor = floor()?;
            Pair { ours: ours()?, floor }
        })
    }

    fn time(&self, work: impl FnOnce() -> Result<()>) -> Result<Times> {
        let processor = || Some(self.server_time()? + TICK * u32::try_from(ticks("self", 2)?).ok()?);
        let (before, began) = (processor(), Instant::now());
        work()?;
        let elapsed = began.elapsed();
        let processor = processor().zip(before).map(|(after, before)| after.saturating_sub(before));
        Ok(Times { elapsed, processor })
    }

    fn admin(&self, sql: &str) -> Result<()> {
        PgConnection::establish(&self.server.url("postgres"))?.batch_execute(sql).with_context(|| sql.to_owned())
    }
}

impl Scratch<'_> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its libpq URI.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.world.admin(&format!("DROP DATABASE {} WITH (FORCE)", self.name)) {
            eprintln!("{error:#}");
        }
    }
}

/// The names of the tenants.
pub fn names(tenants: usize) -> Vec<TenantName> {
    (0..tenants).map(|number| format!("tenant_{number:06}").parse().expect("a tenant's name")).collect()
}

/// The unit of processor time in `/proc` on Linux.
const TICK: Duration = Duration::from_millis(10);

/// The processor time of a process, in [`TICK`]s: of its user and system time (`fields` is 2), and also of its finished
/// children (4).
fn ticks(pid: &str, fields: usize) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name, which is in parentheses: the state, 10 numbers, and the ticks.
    let words = stat.rsplit_once(')')?.1.split_whitespace().skip(11).take(fields);
    words.map(|word| word.parse::<u64>().ok()).sum()
}
