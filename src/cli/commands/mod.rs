//! The commands. Each file has the arguments of a command and its `run`, which calls the library and prints the result.

mod adopt;
mod archive;
mod benchmark;
mod browse;
mod cleanup;
mod clone;
mod completions;
mod create;
mod demo;
mod diff;
mod drop;
mod dump;
mod exec;
mod grants;
mod health_check;
mod isolate;
mod key;
mod label;
mod lint;
mod list;
mod local;
mod locate;
mod man;
mod metrics;
mod migrate_all;
mod migrate_one;
mod migrate_public;
mod moves;
mod new_migration;
mod place;
mod print_schema;
mod probe;
mod psql;
mod purge;
mod redo;
mod reference;
mod rename;
mod repair;
mod repair_plan;
mod restore;
mod revert_all;
mod revert_one;
mod rows;
mod runs;
mod seed;
mod server;
mod shared;
mod stats;
mod unarchive;
mod untrack;

use anyhow::Result;
use clap::Subcommand;

use super::context::Context;
use super::exit::Exit;

/// The commands.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    MigratePublic(migrate_public::Args),
    Create(create::Args),
    Adopt(adopt::Args),
    Untrack(untrack::Args),
    Label(label::Args),
    Archive(archive::Args),
    Unarchive(unarchive::Args),
    Rename(rename::Args),
    Clone(clone::Args),
    Dump(dump::Args),
    Restore(restore::Args),
    List(list::Args),
    Stats(stats::Args),
    Browse(browse::Args),
    Exec(exec::Args),
    Psql(psql::Args),
    MigrateOne(migrate_one::Args),
    MigrateAll(migrate_all::Args),
    RevertOne(revert_one::Args),
    RevertAll(revert_all::Args),
    Redo(redo::Args),
    Runs(runs::Args),
    Isolate(isolate::Args),
    Key(key::Args),
    Benchmark(benchmark::Args),
    Repair(repair::Args),
    HealthCheck(health_check::Args),
    Probe(probe::Args),
    Diff(diff::Args),
    RepairPlan(repair_plan::Args),
    Reference(reference::Args),
    Metrics(metrics::Args),
    PrintSchema(print_schema::Args),
    Lint(lint::Args),
    Drop(drop::Args),
    Purge(purge::Args),
    Cleanup(cleanup::Args),
    Grants(grants::Args),
    NewMigration(new_migration::Args),
    Seed(seed::Args),
    Server(server::Args),
    Where(locate::Args),
    Shared(shared::Args),
    Move(moves::Args),
    Place(place::Args),
    Local(local::Args),
    Demo(demo::Args),
    Completions(completions::Args),
    Man(man::Args),
}

pub(super) use metrics::write as write_metrics;

impl Command {
    /// Its name on the command line.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Cleanup(_) => "cleanup",
            Self::Benchmark(_) => "benchmark",
            Self::Grants(_) => "grants",
            Self::Key(_) => "key",
            Self::NewMigration(_) => "new-migration",
            Self::Reference(_) => "reference",
            Self::Runs(_) => "runs",
            _ => "the command",
        }
    }

    /// The number of connections to all servers together.
    pub(crate) fn total_jobs(&self) -> Option<usize> {
        self.jobs()?.total_jobs.map(usize::from)
    }

    fn jobs(&self) -> Option<&super::settings::Jobs> {
        match self {
            Self::Create(args) => Some(args.jobs()),
            Self::Drop(args) => Some(args.jobs()),
            Self::Exec(args) => Some(args.jobs()),
            Self::HealthCheck(args) => Some(args.jobs()),
            Self::Metrics(args) => Some(args.jobs()),
            Self::MigrateAll(args) => Some(args.jobs()),
            Self::RevertAll(args) => Some(args.jobs()),
            Self::Purge(args) => Some(args.jobs()),
            _ => None,
        }
    }

    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        match self {
            Self::MigratePublic(args) => migrate_public::run(args, context),
            Self::Create(args) => create::run(args, context),
            Self::Adopt(args) => adopt::run(args, context),
            Self::Untrack(args) => untrack::run(args, context),
            Self::Label(args) => label::run(args, context),
            Self::Archive(args) => archive::run(args, context),
            Self::Unarchive(args) => unarchive::run(args, context),
            Self::Rename(args) => rename::run(args, context),
            Self::Clone(args) => clone::run(args, context),
            Self::Dump(args) => dump::run(args, context),
            Self::Restore(args) => restore::run(args, context),
            Self::List(args) => list::run(args, context),
            Self::Stats(args) => stats::run(args, context),
            Self::Browse(args) => browse::run(args, context),
            Self::Exec(args) => exec::run(args, context),
            Self::Psql(args) => psql::run(args, context),
            Self::MigrateOne(args) => migrate_one::run(args, context),
            Self::MigrateAll(args) => migrate_all::run(args, context),
            Self::RevertOne(args) => revert_one::run(args, context),
            Self::RevertAll(args) => revert_all::run(args, context),
            Self::Redo(args) => redo::run(args, context),
            Self::Runs(args) => runs::run(args, context),
            Self::Isolate(args) => isolate::run(args, context),
            Self::Key(args) => key::run(args, context),
            Self::Benchmark(args) => benchmark::run(args, context),
            Self::Repair(args) => repair::run(args, context),
            Self::HealthCheck(args) => health_check::run(args, context),
            Self::Probe(args) => probe::run(args, context),
            Self::Diff(args) => diff::run(args, context),
            Self::RepairPlan(args) => repair_plan::run(args, context),
            Self::Reference(args) => reference::run(args, context),
            Self::Metrics(args) => metrics::run(args, context),
            Self::PrintSchema(args) => print_schema::run(args, context),
            Self::Lint(args) => lint::run(args, context),
            Self::Drop(args) => drop::run(args, context),
            Self::Purge(args) => purge::run(args, context),
            Self::Cleanup(args) => cleanup::run(args, context),
            Self::Grants(args) => grants::run(args, context),
            Self::NewMigration(args) => new_migration::run(args, context),
            Self::Seed(args) => seed::run(args, context),
            Self::Server(args) => server::run(args, context),
            Self::Where(args) => locate::run(&args, context),
            Self::Shared(args) => shared::run(&args, context),
            Self::Move(args) => moves::run(args, context),
            Self::Place(args) => place::run(&args, context),
            Self::Local(args) => local::run(args, context),
            Self::Demo(args) => demo::run(args, context),
            Self::Completions(args) => completions::run(args, context),
            Self::Man(args) => man::run(args, context),
        }
    }
}
