//! What a command did on a server.

use std::sync::Arc;

use super::route::ServerTarget;
use super::servers::ServerCommand;
use crate::cli::cause::Cause;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::interrupt;
use crate::cli::output::{Gathered, Unmatched};
use crate::cli::report::{self, FailureDocument};
use crate::cli::selection::NothingMatches;
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
            let is_down =
                matches!(Cause::of(&error).library(), Some(Error::Postgres(postgres::Error::Unreachable { .. })));
            outcome.exit = (!is_down && !is_unreached(&error)).then_some(exit);
            outcome.document = Some(FailureDocument::new(&error, &context));
            outcome.error = Some(error);
        }
    }
    outcome
}

/// Whether a command ended before it did anything on the server.
pub(super) fn is_unreached(error: &anyhow::Error) -> bool {
    matches!(Cause::of(error).library(), Some(Error::Servers(error)) if error.is_unreached())
}

impl ServerOutcome {
    /// A server on which the command was not started, because it failed on the first one.
    pub(super) fn not_started(server: FleetServer) -> Self {
        Self {
            gathered: Arc::new(Gathered::new(server.name.clone())),
            server,
            exit: None,
            error: None,
            document: None,
            not_reached: Vec::new(),
            selects_none: false,
        }
    }
}

/// What the selection of tenants selects on none of the servers. Only known if all were reached.
pub(super) fn nothing_selected(outcomes: &[ServerOutcome]) -> Vec<NothingMatches> {
    if outcomes.iter().any(|outcome| outcome.exit.is_none()) {
        return Vec::new();
    }
    let selections: Vec<Unmatched> = outcomes.iter().filter_map(|outcome| outcome.gathered.unmatched()).collect();
    let tenants = selections.iter().map(|selection| selection.tenants).sum();
    let Some((first, others)) = selections.split_first() else { return Vec::new() };
    let everywhere = first.regexes.iter().filter(|regex| others.iter().all(|other| other.regexes.contains(regex)));
    let unmatched: Vec<NothingMatches> = everywhere.map(|regex| NothingMatches::of_match(regex, tenants)).collect();
    if !unmatched.is_empty() || !outcomes.iter().all(|outcome| outcome.selects_none) {
        return unmatched;
    }
    let causes = outcomes.iter().filter_map(|outcome| outcome.error.as_ref()).map(Cause::of);
    let nothing = causes.filter_map(|cause| match cause {
        Cause::NothingMatches(nothing) => Some(nothing.among(tenants)),
        _ => None,
    });
    nothing.take(1).collect()
}

/// The exit status of a command on several servers: that of all of them if it is the same, or else that something failed.
pub(super) fn exit_of(outcomes: &[ServerOutcome]) -> Exit {
    if interrupt::is_requested() {
        return Exit::Interrupted;
    }
    if !nothing_selected(outcomes).is_empty() {
        return Exit::Found;
    }
    let reached: Vec<Exit> = outcomes.iter().filter_map(|outcome| outcome.exit).collect();
    match reached.as_slice() {
        [] => Exit::Temporary,
        [first, rest @ ..] if reached.len() == outcomes.len() && rest.iter().all(|exit| exit == first) => *first,
        _ => Exit::Found,
    }
}
