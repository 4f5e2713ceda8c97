//! The structures of a fleet, compared with the reference: 13 tables, 27 indexes and some 200 other objects a tenant.

use std::fmt;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tenantry::health::{self, CheckOptions};
use tenantry::schema::drift::{self, Stamps};
use tenantry::schema::reference::{Reference, Source};
use tenantry::{Tenancy, TenantName};

use crate::ours::{self, all_healthy};
use crate::world::{self, Scratch, World};
use crate::{Args, floor};

/// The number of tenants that are compared one by one.
const SAMPLE: usize = 50;

/// The measurements.
#[derive(Debug)]
pub struct Structure {
    tenants: usize,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    what: &'static str,
    wall: Duration,
    /// The processor time of the server's processes, if the system reports it.
    server: Option<Duration>,
    goal: Option<Duration>,
}

/// Creates the fleet and measures.
pub fn measure(world: &World, tenancy: &Tenancy, args: &Args) -> Result<Structure> {
    let database = world.database("structure", tenancy)?;
    let names = world::names(args.structure);
    floor::create(database.url(), args.jobs, tenancy.tenant_migrations(), &names)?;
    world.settle_everything(&database)?;
    let mut measured = Structure { tenants: args.structure, rows: Vec::new() };
    let seconds = Duration::from_secs;
    for _ in 0..args.rounds {
        let check = |stamps| check(&database, tenancy, args.structure, stamps);
        measured.time(world, "full check", Some(seconds(10)), || check(Stamps::Ignore))?;
        check(Stamps::Renew)?;
        measured.time(world, "check of what is unchanged", None, || check(Stamps::Trust))?;
        let one = names.get(args.structure / 2).context("there is a tenant")?;
        measured.time(world, "diff of one", None, || diff(&database, tenancy, one, &Source::Migrations))?;
        let file = saved(&database, tenancy)?;
        let source = Source::File(file.path().to_owned());
        measured.time(world, "diff of one, reference saved", Some(Duration::from_millis(50)), || {
            diff(&database, tenancy, one, &source)
        })?;
        measured.time(world, "pg_dump --schema-only of one", None, || dump(world, &database, one))?;
        let sample = &names[..SAMPLE.min(names.len())];
        let begun = Instant::now();
        for name in sample {
            diff(&database, tenancy, name, &source)?;
        }
        let all = begun.elapsed().mul_f64(args.structure as f64 / sample.len() as f64);
        measured.add("diff of each, one by one (from a sample)", all, None, None);
    }
    Ok(measured)
}

fn check(database: &Scratch<'_>, tenancy: &Tenancy, tenants: usize, stamps: Stamps) -> Result<()> {
    let mut db = ours::connect(database.url(), 8)?;
    let health = health::check(&mut db, tenancy, &CheckOptions { reference: Source::Migrations, stamps }, |_| true)?;
    ensure!(health.checked() == tenants && all_healthy(&health), "the fleet is not healthy: {health:?}");
    Ok(())
}

/// As a command does it, including the connection.
fn diff(database: &Scratch<'_>, tenancy: &Tenancy, name: &TenantName, source: &Source) -> Result<()> {
    let mut db = ours::connect(database.url(), 1)?;
    db.require_tracker(tenancy)?;
    let differences = drift::against_reference(&mut db, tenancy, name, source)?.diff().differences;
    ensure!(differences.is_empty(), "{name} differs: {differences:?}");
    Ok(())
}

fn saved(database: &Scratch<'_>, tenancy: &Tenancy) -> Result<tempfile::NamedTempFile> {
    let mut db = ours::connect(database.url(), 1)?;
    let all: Vec<String> =
        tenancy.tenant_migrations().iter().map(|migration| migration.version().as_str().to_owned()).collect();
    let reference = Reference::make(&mut db, tenancy, &[all.clone()].into())?;
    let text = reference.to_text(&all, db.server().version).context("there is a structure")?;
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), text)?;
    Ok(file)
}

fn dump(world: &World, database: &Scratch<'_>, name: &TenantName) -> Result<()> {
    let program = world.program("pg_dump");
    let status = Command::new(&program)
        .args(["--schema-only", "--schema", name.as_str(), "--dbname", database.url()])
        .stdout(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {}", program.display()))?;
    ensure!(status.success(), "pg_dump failed");
    Ok(())
}

impl Structure {
    fn time(
        &mut self,
        world: &World,
        what: &'static str,
        goal: Option<Duration>,
        work: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let before = world.server_time();
        let begun = Instant::now();
        work().context(what)?;
        let wall = begun.elapsed();
        let server = world.server_time().zip(before).map(|(after, before)| after.saturating_sub(before));
        self.add(what, wall, server, goal);
        Ok(())
    }

    fn add(&mut self, what: &'static str, wall: Duration, server: Option<Duration>, goal: Option<Duration>) {
        self.rows.push(Row { what, wall, server, goal });
    }
}

impl fmt::Display for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "structure of {} tenants, the least of the rounds", self.tenants)?;
        let mut printed: Vec<&str> = Vec::new();
        for row in &self.rows {
            if printed.contains(&row.what) {
                continue;
            }
            printed.push(row.what);
            // Other load on the machine only adds to a time.
            let same = || self.rows.iter().filter(|other| other.what == row.what);
            let wall = same().map(|row| row.wall).min().unwrap_or_default();
            write!(f, "  {:<42}  {:>8.3} s", row.what, wall.as_secs_f64())?;
            if let Some(server) = same().filter_map(|row| row.server).min() {
                write!(f, "  {:>6.2} CPU s of the server", server.as_secs_f64())?;
            }
            if let Some(goal) = row.goal {
                let verdict = if wall <= goal { "met" } else { "missed" };
                write!(f, "  goal {:.2} s: {verdict}", goal.as_secs_f64())?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
