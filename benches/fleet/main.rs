//! What tenantry costs over the bare work, and how much memory it takes.
//!
//! Create, roll-out, migrate with nothing to do, list, health check and drop are timed against a floor: the same SQL, one
//! message per tenant, over as many raw connections, without guards, locks or reports. Both run in turns, with fresh
//! databases in each round, and the result is the ratio of a pair. A missed goal is reported and is no failure, because
//! machines are noisy.
//!
//! `cargo bench --bench fleet` measures, `cargo bench --bench fleet -- --help` tells the options. Anything that runs the
//! program without Cargo's `--bench`, such as `cargo test --benches`, gets a round with five tenants.

#[path = "../../tests/suite/support/address.rs"]
mod address;
mod floor;
mod link;
mod memory;
mod ours;
// The tests' own; they use more of it.
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
    /// How many tenants are created, migrated and checked; 0 leaves this part out.
    #[arg(long, default_value_t = 500, value_name = "N")]
    tenants: usize,

    /// How many connections work at once, on both sides.
    #[arg(long, default_value_t = tenantry::DEFAULT_JOBS, value_name = "J")]
    jobs: usize,

    /// How many rounds are run, each in fresh databases.
    #[arg(long, default_value_t = 3, value_name = "R")]
    rounds: usize,

    /// How many schemas with nothing but a ledger are listed; 0 leaves this part out.
    #[arg(long, default_value_t = 5_000, value_name = "N")]
    light: usize,

    /// How many such schemas the peak of memory is measured with; 0 leaves this part out.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    memory: usize,

    /// How many tenants are migrated over a link that takes 20 ms for a round trip; 0 leaves this part out.
    #[arg(long, default_value_t = 400, value_name = "N")]
    link: usize,

    /// How many tenants with 13 tables each are held against the reference; 0 leaves this part out.
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    structure: usize,

    /// Let the server wait for its disk. Both sides wait as often; on a disk that is shared, how long is a matter of luck
    /// that hides what the two sides differ in.
    #[arg(long)]
    fsync: bool,

    /// The folder of the PostgreSQL binaries, where they are not found by themselves.
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<std::path::PathBuf>,

    /// What Cargo passes.
    #[arg(long, hide = true)]
    bench: bool,

    /// A run with five tenants, to see that it works.
    #[arg(long)]
    test: bool,

    /// The database to measure memory with: this is the process that is measured.
    #[arg(long, hide = true, value_name = "URL")]
    memory_of: Option<String>,
}

impl Args {
    /// From the command line, where Cargo passes `--bench`; otherwise the small run, whatever else a test runner passes.
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

/// How often in a round what only reads is timed: it is quick.
const READS: usize = 5;

/// How many tenants are created in a turn. Creating takes long, and a disk or a neighbour that stalls meanwhile would
/// decide over a round; of several turns the median is hardly moved.
const SLICE: usize = 250;

/// How many are created before, for what a new database has to read and extend at first.
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

/// Everything once, ours and the floor in turns, who comes first changing from round to round.
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
            let timed = world::pair(
                round + turn,
                || ours::create(mine.url(), jobs, set, slice),
                || floor::create(bare.url(), jobs, set.tenant_migrations(), slice),
            )?;
            // The last one may be short, and the smaller the work, the more connecting counts.
            if slice.len() == SLICE.min(names.len()) {
                report.add(operation, slice.len(), Goal::AtMost(1.15), timed);
            }
        }
        ours::expect_up_to_date(bare.url(), set, tenants).context("the floor of create")?;
        if !std::ptr::eq(set, &sets.full) {
            continue;
        }
        let messages = ours::messages(bare.url(), &sets.next)?;
        let timed = world::pair(
            round,
            || ours::roll_out(mine.url(), jobs, &sets.next, tenants),
            || floor::send(bare.url(), jobs, &messages),
        )?;
        report.add("roll out one migration", tenants, Goal::AtMost(1.15), timed);
        ours::expect_up_to_date(bare.url(), &sets.next, tenants).context("the floor of the roll-out")?;
        let next = &sets.one_more;
        let timed = world::pair(
            round,
            || ours::roll_out(mine.url(), jobs, next, tenants),
            || floor::roll_out(bare.url(), jobs, next.tenant_migrations(), &all),
        )?;
        report.add("roll out, floor without guards", tenants, Goal::None, timed);
        ours::expect_up_to_date(bare.url(), next, tenants).context("the floor of the second roll-out")?;

        world.settle_statistics(&mine)?;
        reads(&mine, next, tenants, report)?;
        for turn in 0..READS {
            let timed = world::pair(turn, || ours::health(mine.url(), next, tenants), || floor::read(mine.url()))?;
            report.add("health check", tenants, Goal::None, timed);
        }
        // In slices, the last of which is in a smaller fleet than the first.
        for (turn, slice) in all.chunks(SLICE).enumerate() {
            let timed = world::pair(
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

/// Reads of many schemas with nothing but a ledger.
fn light_round(world: &World, sets: &Sets, args: &Args, report: &mut Report) -> Result<()> {
    let database = world.light_database(&sets.full, args.light, args.jobs)?;
    world.settle_statistics(&database)?;
    for _ in 0..args.rounds {
        reads(&database, &sets.full, args.light, report)?;
    }
    Ok(())
}

/// What reads the fleet, from the same database on both sides.
fn reads(database: &world::Scratch<'_>, set: &tenantry::Tenancy, tenants: usize, report: &mut Report) -> Result<()> {
    for turn in 0..READS {
        let floor = || floor::read(database.url());
        let timed = world::pair(turn, || ours::migrate_nothing(database.url(), set, tenants), floor)?;
        report.add("migrate, nothing to do", tenants, Goal::AtMost(1.5), timed);
        let timed = world::pair(turn, || ours::list(database.url(), set, tenants), floor)?;
        report.add("list", tenants, Goal::AtMost(1.5), timed);
    }
    Ok(())
}
