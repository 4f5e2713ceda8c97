//! The cost of tenantry relative to the bare SQL, and its memory use.
//!
//! Create, rollout, migrate with nothing pending, list, health check and drop are compared with a floor: the same SQL,
//! one message per tenant, over the same number of raw connections, without guards, locks or reports. Both sides run
//! alternately, with new databases in each round, and the result is the ratio of a pair. A missed goal is reported and
//! is not a failure, because machines are noisy.
//!
//! `cargo bench --bench fleet` measures, `cargo bench --bench fleet -- --help` lists the options. Without Cargo's
//! `--bench`, as in `cargo test --benches`, the program runs one round with five tenants.

#[path = "../../tests/suite/support/address.rs"]
mod address;
mod creation;
mod floor;
mod link;
mod memory;
mod ours;
// Shared with the tests, which use more of it.
#[allow(dead_code)]
#[path = "../../tests/suite/support/proxy/mod.rs"]
mod proxy;
mod report;
mod sets;
mod structure;
mod world;

use anyhow::{Context, Result, bail};
use clap::Parser;

use address::{percent_encoded, socket_of};
use report::{Goal, Report};
use sets::Sets;
use world::World;

/// Measures tenantry against the same SQL over raw connections.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench fleet --")]
pub struct Args {
    /// The number of tenants that are created, migrated and checked; 0 omits this part.
    #[arg(long, default_value_t = 500, value_name = "N")]
    tenants: usize,

    /// The number of concurrent connections on both sides.
    #[arg(long, default_value_t = tenantry::DEFAULT_JOBS, value_name = "J")]
    jobs: usize,

    /// The number of rounds, each in new databases.
    #[arg(long, default_value_t = 3, value_name = "R")]
    rounds: usize,

    /// The number of schemas with only a ledger that are listed; 0 omits this part.
    #[arg(long, default_value_t = 5_000, value_name = "N")]
    light: usize,

    /// The number of such schemas for the measurement of peak memory; 0 omits this part.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    memory: usize,

    /// The number of tenants that are migrated over a link with a round-trip time of 20 ms; 0 omits this part.
    #[arg(long, default_value_t = 400, value_name = "N")]
    link: usize,

    /// The number of tenants with 13 tables each that are compared with the reference; 0 omits this part.
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    structure: usize,

    /// Omits the creation with 300 migrations.
    #[arg(long)]
    omit_creation: bool,

    /// Enables fsync. Both sides then wait for the disk equally often; on a shared disk, the variation of that time
    /// hides the difference between the two sides.
    #[arg(long)]
    fsync: bool,

    /// The folder of the PostgreSQL binaries, if they are not found automatically.
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<std::path::PathBuf>,

    /// Passed by Cargo.
    #[arg(long, hide = true)]
    bench: bool,

    /// A run with five tenants, as a test.
    #[arg(long)]
    test: bool,

    /// The database for the measurement of memory, which this process performs.
    #[arg(long, hide = true, value_name = "URL")]
    memory_of: Option<String>,
}

impl Args {
    /// Reads the command line if Cargo passes `--bench`; otherwise chooses the small run, regardless of the options of
    /// a test runner.
    fn read() -> Self {
        let measure = std::env::args_os().any(|arg| arg == "--bench");
        let args = if measure { Self::parse() } else { Self::parse_from(["fleet", "--test"]) };
        match args.test {
            true => Self {
                tenants: 5,
                jobs: 2,
                rounds: 1,
                light: 5,
                memory: 10,
                structure: 10,
                link: 5,
                fsync: false,
                ..args
            },
            false => args,
        }
    }
}

/// How often an operation that only reads is measured in each round.
const READS: usize = 5;

/// The number of tenants that are created in a turn. Creating takes long, and a stalled disk could dominate a round;
/// the median of several turns is robust.
const SLICE: usize = 250;

/// The number of tenants created beforehand, so that the caches and files of a new database do not count.
const WARM_UP: usize = 20;

fn main() -> Result<()> {
    let args = Args::read();
    if let Some(url) = &args.memory_of {
        return memory::measure_this_process(url);
    }
    if args.jobs == 0 || args.rounds == 0 {
        bail!("--jobs and --rounds are at least 1");
    }
    let sets = Sets::load()?;
    let world = World::start(&args)?;
    let mut report = Report::default();
    if args.tenants > 0 {
        for round in 0..args.rounds {
            eprintln!("round {} of {}", round + 1, args.rounds);
            whole_round(&world, &sets, &args, round, &mut report).context("the round was not completed")?;
        }
    }
    if args.light > 0 {
        eprintln!("{} light schemas", args.light);
        light_round(&world, &sets, &args, &mut report).context("the light schemas were not read")?;
    }
    if !args.omit_creation {
        eprintln!("creation with 300 migrations");
        creation::measure(&world, &args, &mut report).context("creation from a snapshot was not measured")?;
    }
    let mut link = String::new();
    if args.link > 0 {
        eprintln!("{} tenants over a slow link", args.link);
        link = link::measure(&world, &sets, &args, &mut report).context("the slow link was not measured")?;
    }
    println!("{}", world.describe(&args));
    print!("{report}");
    if !link.is_empty() {
        println!("{link}");
    }
    if args.structure > 0 {
        eprintln!("the structure of {} tenants", args.structure);
        print!("{}", structure::measure(&world, &sets.thirteen, &args).context("the structures were not compared")?);
    }
    if args.memory > 0 {
        eprintln!("memory with {} light schemas", args.memory);
        println!("{}", memory::measure(&world, &sets, &args)?);
    }
    Ok(())
}

/// Runs each operation once on both sides; the side that runs first alternates between rounds.
fn whole_round(world: &World, sets: &Sets, args: &Args, round: usize, report: &mut Report) -> Result<()> {
    let all = world::names(args.tenants);
    let (jobs, tenants) = (args.jobs, args.tenants);
    for (operation, set) in [("create", &sets.full), ("create (transactional)", &sets.transactional)] {
        let mine = world.database("ours", set)?;
        let bare = world.database("floor", set)?;
        let (first, names) = all.split_at(WARM_UP.min(tenants / 2));
        ours::create(mine.url(), jobs, set, first)?;
        floor::create(bare.url(), jobs, set.tenant_migrations(), first)?;
        for (turn, slice) in names.chunks(SLICE).enumerate() {
            let timed = world.pair(
                round + turn,
                || ours::create(mine.url(), jobs, set, slice),
                || floor::create(bare.url(), jobs, set.tenant_migrations(), slice),
            )?;
            // The last slice may be short, and then connecting weighs more.
            if slice.len() == SLICE.min(names.len()) {
                report.add(operation, slice.len(), Goal::AtMost(1.15), timed);
            }
        }
        ours::expect_up_to_date(bare.url(), set, tenants).context("the floor of create")?;
        if !std::ptr::eq(set, &sets.full) {
            continue;
        }
        let messages = ours::messages(bare.url(), &sets.next)?;
        let timed = world.pair(
            round,
            || ours::roll_out(mine.url(), jobs, &sets.next, tenants),
            || floor::send(bare.url(), jobs, &messages),
        )?;
        report.add("roll out, floor with the same guards", tenants, Goal::AtMost(1.15), timed);
        ours::expect_up_to_date(bare.url(), &sets.next, tenants).context("the floor of the roll-out")?;
        for (operation, next) in [("roll out a column", &sets.one_more), ("roll out a table", &sets.table)] {
            // This floor has no guards.
            let timed = world.pair(
                round,
                || ours::roll_out(mine.url(), jobs, next, tenants),
                || floor::roll_out(bare.url(), jobs, next.tenant_migrations(), &all),
            )?;
            report.add(operation, tenants, Goal::AtMost(1.15), timed);
            ours::expect_up_to_date(bare.url(), next, tenants).context("the floor of a roll-out")?;
        }
        let next = &sets.table;

        world.settle_statistics(&mine)?;
        reads(world, &mine, next, tenants, report)?;
        for turn in 0..READS {
            let timed = world.pair(turn, || ours::health(mine.url(), next, tenants), || floor::read(mine.url()))?;
            report.add("health check", tenants, Goal::None, timed);
        }
        // In slices; the last one runs in a smaller fleet than the first.
        for (turn, slice) in all.chunks(SLICE).enumerate() {
            let timed = world.pair(
                round + turn,
                || ours::drop(mine.url(), jobs, next, slice),
                || floor::drop(bare.url(), jobs, slice),
            )?;
            if slice.len() == SLICE.min(all.len()) {
                report.add("drop", slice.len(), Goal::None, timed);
            }
        }
    }
    Ok(())
}

/// Reads of many schemas with only a ledger.
fn light_round(world: &World, sets: &Sets, args: &Args, report: &mut Report) -> Result<()> {
    let database = world.light_database(&sets.full, args.light, args.jobs)?;
    world.settle_statistics(&database)?;
    for _ in 0..args.rounds {
        reads(world, &database, &sets.full, args.light, report)?;
    }
    Ok(())
}

/// The operations that read the fleet, on the same database for both sides.
fn reads(
    world: &World,
    database: &world::Scratch<'_>,
    set: &tenantry::Tenancy,
    tenants: usize,
    report: &mut Report,
) -> Result<()> {
    for turn in 0..READS {
        let floor = || floor::read(database.url());
        let timed = world.pair(turn, || ours::migrate_nothing(database.url(), set, tenants), floor)?;
        report.add("migrate, nothing to do", tenants, Goal::AtMost(1.5), timed);
        let timed = world.pair(turn, || ours::list(database.url(), set, tenants), floor)?;
        report.add("list", tenants, Goal::AtMost(1.5), timed);
    }
    Ok(())
}
