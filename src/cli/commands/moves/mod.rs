//! `move`

mod change;
mod finish;
mod start;
mod status;

use anyhow::Result;
use clap::Subcommand;

use super::server;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::fleet;
use crate::cli::report::{ErrorDocument, show_error};
use crate::cli::settings::{Connection, WriteOptions};
use crate::database::Database;
use crate::error::Error;
use crate::model::TenantName;
use crate::moves::Mover;
use crate::postgres::Connector;
use crate::servers::{Directory, FleetServer};
use crate::tenants::Tenancy;

/// Move tenants to another server of the fleet
///
/// Makes the schema there, brings the rows, blocks writes for a moment, and switches. The old schema is kept until 'move
/// finish' drops it. A tenant whose name is that of a subcommand comes after --to.
#[derive(Debug, Clone, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<MoveAction>,

    #[command(flatten)]
    start: start::StartArgs,
}

#[derive(Debug, Clone, Subcommand)]
enum MoveAction {
    Status(status::StatusArgs),
    Resume(change::ResumeArgs),
    Abort(change::AbortArgs),
    Back(change::ReturnArgs),
    Finish(finish::FinishArgs),
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    match args.action {
        None => start::run(&args.start, context),
        Some(MoveAction::Status(args)) => status::run(&args, context),
        Some(MoveAction::Resume(args)) => change::resume(&args, context),
        Some(MoveAction::Abort(args)) => change::abort(&args, context),
        Some(MoveAction::Back(args)) => change::back(&args, context),
        Some(MoveAction::Finish(args)) => finish::run(&args, context),
    }
}

/// What the subcommands that change something have.
struct MoveSetting<'a> {
    context: &'a Context,
    connection: &'a Connection,
    tenancy: Tenancy,
    registry: Database,
    directory: Directory,
    /// Of the registry.
    connector: Connector,
}

impl<'a> MoveSetting<'a> {
    fn new(context: &'a Context, options: &'a WriteOptions) -> Result<Self> {
        let tenancy = context.tenancy_if_chosen(&options.migrations)?.with_limits(options.limits.limits());
        let (mut registry, directory) = server::registry(context, &options.connection)?;
        registry.require_writable(&tenancy)?;
        let connector = registry.connector().clone();
        Ok(Self { context, connection: &options.connection, tenancy, registry, directory, connector })
    }

    /// Calls `work` with what moves need.
    fn with_mover<T>(
        &mut self,
        max_pause: Option<std::time::Duration>,
        work: impl FnOnce(&mut Mover<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let Self { context, connection, tenancy, registry, directory, connector } = self;
        let connect = |server: &FleetServer| {
            let connector =
                if server.is_registry { connector.clone() } else { context.connector_of(server, connection)? };
            fleet::connect(connector, server, directory)
        };
        let output = context.output().clone();
        let stop = context.stop();
        let mut mover = Mover {
            tenancy,
            registry,
            directory,
            connect: &connect,
            stop: &stop,
            report: &mut |line: &str| output.status(line),
            max_pause,
        };
        work(&mut mover)
    }

    /// Works on tenants one after the other. A failure of the only tenant ends the command; others are reported at the end.
    fn each<T>(
        &mut self,
        names: &[TenantName],
        max_pause: Option<std::time::Duration>,
        mut work: impl FnMut(&mut Mover<'_>, &TenantName) -> Result<T, Error>,
        mut show: impl FnMut(&Context, &TenantName, T),
    ) -> Result<MovesOutcome> {
        let stop = self.context.stop();
        let mut outcome = MovesOutcome::default();
        for name in names {
            if stop.is_requested() {
                outcome.not_reached.push(name.to_string());
                continue;
            }
            match self.with_mover(max_pause, |mover| work(mover, name)) {
                Ok(done) => show(self.context, name, done),
                Err(error) => {
                    let document = ErrorDocument::of_library(&error, self.context);
                    outcome.failed.push(FailedMove { tenant: name.to_string(), error: document });
                    outcome.errors.push(error);
                }
            }
        }
        // So that the other servers know where the tenants are.
        fleet::copy_to_all(self.context, self.connection, &mut self.registry)?;
        if let ([_], Some(_)) = (names, outcome.errors.first()) {
            return Err(outcome.errors.remove(0).into());
        }
        for error in outcome.errors.drain(..) {
            show_error(self.context, &error.into());
        }
        Ok(outcome)
    }
}

/// What happened besides what was done.
#[derive(Default)]
struct MovesOutcome {
    failed: Vec<FailedMove>,
    not_reached: Vec<String>,
    errors: Vec<Error>,
}

impl MovesOutcome {
    fn exit(&self) -> Exit {
        if !self.not_reached.is_empty() {
            Exit::Interrupted
        } else if self.failed.is_empty() {
            Exit::Done
        } else {
            Exit::Found
        }
    }
}

/// The JSON of a tenant whose move failed.
#[derive(serde::Serialize)]
struct FailedMove {
    tenant: String,
    #[serde(flatten)]
    error: ErrorDocument,
}
