//! A command on several servers: which ones, and what it did on each.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use uuid::Uuid;

use super::directory::{copy_to_others, reconcile, to_registry};
use super::merge;
use super::outcome::{self, ServerOutcome, exit_of, nothing_selected, run_on};
use super::record::FleetRun;
use super::route::{FoundServers, ServerTarget};
use super::scope::Scope;
use super::work::chosen;
use crate::cli::commands::Command;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{count, thousands};
use crate::error::Error;
use crate::operations::migrate::SharedFailures;
use crate::servers::FleetServer;
use crate::servers::placements::{self, Placement};

/// The number of servers that a command works on at the same time.
const AT_ONCE: usize = 32;

/// A command of a fleet on several servers.
pub(super) struct FleetCommand<'a> {
    pub(super) command: Command,
    pub(super) found: FoundServers,
    pub(super) context: &'a Context,
    /// The servers that --server and --region choose.
    pub(super) chosen: Vec<FleetServer>,
    /// The placements of all tenants, for a command that compares them with the servers.
    placed: Arc<[Placement]>,
    /// The names that were reserved on each server.
    pub(super) claimed: BTreeMap<Uuid, Vec<String>>,
    /// The servers that could not be reached.
    lost: Vec<Uuid>,
    /// The tenants that failed on all servers.
    failures: SharedFailures,
}

/// A server with the command to run on it.
pub(super) struct ServerCommand {
    pub(super) server: FleetServer,
    pub(super) command: Command,
}

impl<'a> FleetCommand<'a> {
    pub(super) fn new(command: Command, mut found: FoundServers, context: &'a Context) -> Result<Self> {
        to_registry(&mut found, &command, context)?;
        let chosen = chosen(&found)?;
        let placed = match command {
            Command::HealthCheck(_) => placements::all(found.db.connection(), None)?,
            _ => Vec::new(),
        };
        Ok(Self {
            command,
            found,
            context,
            chosen,
            placed: placed.into(),
            claimed: BTreeMap::new(),
            lost: Vec::new(),
            failures: SharedFailures::default(),
        })
    }

    pub(super) fn run(mut self) -> Result<Exit> {
        if let Some(tenants) = self.command.tenants() {
            tenants.read_files()?;
        }
        let names = self.command.tenants().map(|tenants| tenants.names()).unwrap_or_default();
        let everywhere = self.chosen.clone();
        let work = match self.command.scope() {
            Scope::Placing if !names.is_empty() => self.placing(&names)?,
            Scope::Tenants if !names.is_empty() => self.of_tenants(&names)?,
            Scope::Chosen => self.one(None)?,
            Scope::Registry => self.one(self.found.directory.registry_server().cloned())?,
            Scope::Here | Scope::Placing | Scope::Tenants | Scope::Fleet => self.split(everywhere, None)?,
        };
        let changes = self.command.changes_tenants();
        let only: Vec<&str> = names.iter().map(String::as_str).collect();
        let servers: Vec<FleetServer> = work.iter().map(|work| work.server.clone()).collect();
        let result = match <[ServerCommand; 1]>::try_from(work) {
            // Its output needs no server.
            Ok([one]) => self.run_alone(one),
            Err(work) => self.run_on_each(work),
        };
        if changes {
            // Also after a failure: some tenants may have been changed.
            let only = if self.names_all_changes() { Some(only.as_slice()) } else { None };
            self.update_directory(&servers, only);
        }
        result
    }

    /// Whether the command changes no tenant that it does not name.
    fn names_all_changes(&self) -> bool {
        matches!(
            self.command,
            Command::Create(_) | Command::Adopt(_) | Command::Restore(_) | Command::Untrack(_) | Command::Drop(_)
        )
    }

    fn target(&self, server: &FleetServer, share: Option<usize>) -> Result<ServerTarget, Error> {
        let connector = if server.id == self.found.directory.identity {
            self.found.db.connector().clone()
        } else {
            self.context.connector_of(server, &self.found.connection)?
        };
        Ok(ServerTarget {
            server: server.clone(),
            registry: self.found.directory.registry,
            connector,
            jobs: share,
            placed: Arc::clone(&self.placed),
            failures: self.failures.clone(),
        })
    }

    /// Runs the command on one server. Its output is that of a single server.
    fn run_alone(&mut self, work: ServerCommand) -> Result<Exit> {
        let target = self.target(&work.server, None)?;
        self.context.output().detail(format_args!("server: {}", work.server.name));
        let result = work.command.run(&self.context.on(target, None));
        if result.as_ref().is_err_and(outcome::is_unreached) {
            self.give_up(&work.server);
        }
        result
    }

    /// Gives up the names that were reserved on a server that could not be reached: nothing was done there.
    fn give_up(&mut self, server: &FleetServer) {
        self.lost.push(server.id);
        let Some(names) = self.claimed.remove(&server.id).filter(|names| !names.is_empty()) else { return };
        if let Err(error) = placements::release(self.found.db.connection(), server.id, &names) {
            self.context.output().warning(format_args!(
                "{} remains reserved on {}: {error}",
                names.join(", "),
                server.name
            ));
        }
    }

    fn run_on_each(&mut self, work: Vec<ServerCommand>) -> Result<Exit> {
        let recorded = match self.command.recorded_as() {
            Some(command) if self.found.directory.is_registry() => {
                Some(FleetRun::begin(self.found.db.connection(), command)?)
            }
            _ => None,
        };
        let share = self.command.total_jobs().map(|total| (total / work.len().clamp(1, AT_ONCE)).max(1));
        let mut outcomes = Vec::new();
        let mut work = work;
        let named: BTreeMap<Uuid, Vec<String>> = work
            .iter_mut()
            .filter_map(|work| Some((work.server.id, work.command.tenants()?.names())))
            .filter(|(_, names)| !names.is_empty())
            .collect();
        let mut work = work.into_iter();
        let mut stopped = false;
        if self.command.is_registry_first()
            && let Some(first) = work.next()
        {
            let first = self.outcome(first, share);
            stopped = first.exit != Some(Exit::Done);
            outcomes.push(first);
        }
        let rest: Vec<ServerCommand> = work.collect();
        if stopped {
            outcomes.extend(rest.into_iter().map(|work| ServerOutcome::not_started(work.server)));
        } else {
            for group in chunked(rest, AT_ONCE) {
                outcomes.extend(self.at_once(group, share));
            }
        }
        for outcome in outcomes.iter_mut().filter(|outcome| outcome.exit.is_none()) {
            if outcome.error.as_ref().is_some_and(outcome::is_unreached) {
                self.give_up(&outcome.server);
            }
            outcome.not_reached = match named.get(&outcome.server.id) {
                Some(names) => names.clone(),
                None => self.tenants_of(&outcome.server),
            };
        }
        let exit = exit_of(&outcomes);
        if let Some(run) = recorded {
            for outcome in &outcomes {
                run.server(self.found.db.connection(), outcome)?;
            }
            run.end(self.found.db.connection(), exit)?;
        }
        for nothing in nothing_selected(&outcomes) {
            self.context.output().error(&nothing);
            self.context.output().hint(nothing.hint(self.context));
        }
        merge::print(self.context, &outcomes)?;
        self.summarize(&outcomes);
        Ok(exit)
    }

    fn tenants_of(&mut self, server: &FleetServer) -> Vec<String> {
        let placed = placements::all(self.found.db.connection(), Some(server.id)).unwrap_or_default();
        placed.into_iter().map(|placement| placement.tenant).collect()
    }

    fn at_once(&self, group: Vec<ServerCommand>, share: Option<usize>) -> Vec<ServerOutcome> {
        // What the threads use of `self`; the connection to the registry is not shared.
        let targets: Vec<(ServerCommand, Result<ServerTarget, Error>)> = group
            .into_iter()
            .map(|work| {
                let target = self.target(&work.server, share);
                (work, target)
            })
            .collect();
        let context = self.context;
        std::thread::scope(|scope| {
            let running: Vec<_> =
                targets.into_iter().map(|(work, target)| scope.spawn(move || run_on(work, target, context))).collect();
            running.into_iter().filter_map(|thread| thread.join().ok()).collect()
        })
    }

    fn outcome(&self, work: ServerCommand, share: Option<usize>) -> ServerOutcome {
        let target = self.target(&work.server, share);
        run_on(work, target, self.context)
    }

    /// Brings the directory up to date with these servers, and copies it to all. A failure is repaired by the next command.
    fn update_directory(&mut self, servers: &[FleetServer], only: Option<&[&str]>) {
        for server in servers.iter().filter(|server| !self.lost.contains(&server.id)) {
            if let Err(error) = reconcile(&mut self.found, server, only, self.context) {
                self.context
                    .output()
                    .warning(format_args!("the directory has an earlier state of {}: {error}", server.name));
            }
        }
        let (found, lost) = (&mut self.found, &self.lost);
        if let Err(error) = copy_to_others(self.context, &found.connection, &mut found.db, lost) {
            self.context.output().warning(format_args!("the directory was not copied: {error:#}"));
        }
    }

    fn summarize(&self, outcomes: &[ServerOutcome]) {
        let output = self.context.output();
        let unfinished = outcomes.iter().filter(|outcome| outcome.exit.is_none());
        let (lost, waiting): (Vec<_>, Vec<_>) = unfinished.partition(|outcome| outcome.error.is_some());
        if lost.is_empty() && waiting.is_empty() {
            output.status(count(outcomes.len(), "server"));
            return;
        }
        let named = |outcomes: &[&ServerOutcome], what: &str| {
            let names: Vec<&str> = outcomes.iter().map(|outcome| outcome.server.name.as_str()).collect();
            (!names.is_empty()).then(|| format!(", {} {what} ({})", thousands(names.len()), names.join(", ")))
        };
        let tenants: usize = outcomes.iter().map(|outcome| outcome.not_reached.len()).sum();
        output.summary(format_args!(
            "{}{}{}: {} not reached",
            count(outcomes.len(), "server"),
            named(&lost, "not reached").unwrap_or_default(),
            named(&waiting, "not started").unwrap_or_default(),
            count(tenants, "tenant")
        ));
        output.next(match waiting.as_slice() {
            [] => "run the command again when they can be reached",
            _ => "run the command again when the first server is done",
        });
    }
}

fn chunked<T>(items: Vec<T>, size: usize) -> Vec<Vec<T>> {
    let mut chunks = Vec::new();
    let mut items = items.into_iter().peekable();
    while items.peek().is_some() {
        chunks.push(items.by_ref().take(size).collect());
    }
    chunks
}
