//! What a command did on a server.

use std::sync::Arc;

use super::route::ServerTarget;
use super::servers::ServerCommand;
use crate::cli::cause::Cause;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::interrupt;
use crate::cli::output::Gathered;
use crate::cli::report::{self, FailureDocument};
use crate::error::Error;
use crate::postgres;
use crate::servers::FleetServer;

/// What a command did on a server.
pub(super) struct ServerOutcome {
    pub(super) server: FleetServer,
    pub(super) gathered: Arc<Gathered>,
    /// `None` if the server was not reached, or was not started.
    pub(super) exit: Option<Exit>,
    /// Why the server was not reached, or the error that ended the command there.
    pub(super) error: Option<anyhow::Error>,
    /// The error as a document.
    pub(super) document: Option<FailureDocument>,
    /// The tenants on a server that was not reached, as in the directory.
    pub(super) not_reached: Vec<String>,
    /// Whether the selection of tenants selects none on this server.
    selects_none: bool,
}

/// Runs a command on a server, and shows the error that ends it.
pub(super) fn run_on(work: ServerCommand, target: Result<ServerTarget, Error>, context: &Context) -> ServerOutcome {
    let gathered = Arc::new(Gathered::new(work.server.name.clone()));
    let mut outcome = ServerOutcome {
        server: work.server,
        gathered: Arc::clone(&gathered),
        exit: None,
        error: None,
        document: None,
        not_reached: Vec::new(),
        selects_none: false,
    };
    let output = context.output().gathering(Arc::clone(&gathered));
    let target = match target {
        Ok(target) => target,
        Err(error) => {
            output.error(&error);
            if let Some(hint) = error.hint(&|line| context.command(line)) {
                output.hint(hint);
            }
            let error = error.into();
            outcome.document = Some(FailureDocument::new(&error, context));
            outcome.error = Some(error);
            return outcome;
        }
    };
    let context = context.on(target, Some(gathered));
    match work.command.run(&context) {
        Ok(exit) => outcome.exit = Some(exit),
        Err(error) if matches!(Cause::of(&error), Cause::NothingMatches(_)) => {
            outcome.selects_none = true;
            outcome.exit = Some(Exit::Done);
            outcome.document = Some(FailureDocument::new(&error, &context));
            outcome.error = Some(error);
        }
        Err(error) => {
            let exit = report::show_error(&context, &error);
            let is_unreached = match Cause::of(&error).library() {
                Some(Error::Postgres(postgres::Error::Unreachable { .. })) => true,
                Some(Error::Servers(error)) => error.is_unreached(),
                _ => false,
            };
            outcome.exit = (!is_unreached).then_some(exit);
            outcome.document = Some(FailureDocument::new(&error, &context));
            outcome.error = Some(error);
        }
    }
    outcome
}

impl ServerOutcome {
    /// A server on which the command was not started, because it failed on the first one.
    pub(super) fn not_started(server: FleetServer, tenants: Vec<String>) -> Self {
        Self {
            gathered: Arc::new(Gathered::new(server.name.clone())),
            server,
            exit: None,
            error: None,
            document: None,
            not_reached: tenants,
            selects_none: false,
        }
    }

    /// Whether the selection of tenants selects none on this server, which is no failure if it selects some on another.
    pub(super) fn selects_none(&self) -> bool {
        self.selects_none
    }
}

/// The exit status of a command on several servers: that of all of them if it is the same, or else that something failed.
pub(super) fn exit_of(outcomes: &[ServerOutcome]) -> Exit {
    if interrupt::is_requested() {
        return Exit::Interrupted;
    }
    if outcomes.iter().all(ServerOutcome::selects_none) {
        return Exit::Found;
    }
    let reached: Vec<Exit> = outcomes.iter().filter_map(|outcome| outcome.exit).collect();
    match reached.as_slice() {
        [] => Exit::Temporary,
        [first, rest @ ..] if reached.len() == outcomes.len() && rest.iter().all(|exit| exit == first) => *first,
        _ => Exit::Found,
    }
}
