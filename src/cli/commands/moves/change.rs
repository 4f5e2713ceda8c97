//! `move resume`, `move abort`, `move back`

use anyhow::Result;
use serde::Serialize;

use super::start::{KeepOption, MovedDocument, PauseOption, show};
use super::{FailedMove, MoveSetting};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::settings::WriteOptions;
use crate::model::TenantName;
use crate::moves::{TenantMove, unended};

/// Continue moves that were interrupted or failed
///
/// What is done next follows from what is on the two servers.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ResumeArgs {
    /// Names of the tenants [default: all whose moves are open]
    #[arg(value_name = "NAME")]
    names: Vec<TenantName>,

    #[command(flatten)]
    pause: PauseOption,

    #[command(flatten)]
    options: WriteOptions,
}

/// Undo moves that have not switched yet
///
/// The tenant is in use where it was. Nothing of the move is left on either server. A move that has switched is completed
/// instead; 'move back' reverses it.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct AbortArgs {
    /// Names of the tenants
    #[arg(value_name = "NAME", required = true)]
    names: Vec<TenantName>,

    #[command(flatten)]
    options: WriteOptions,
}

/// Return tenants to the server that they were on before
///
/// Puts the old schema into use again, if its rows are those of the tenant now: refused if something was written since the
/// move.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ReturnArgs {
    /// Names of the tenants
    #[arg(value_name = "NAME", required = true)]
    names: Vec<TenantName>,

    #[command(flatten)]
    keep: KeepOption,

    #[command(flatten)]
    options: WriteOptions,
}

pub(super) fn resume(args: &ResumeArgs, context: &Context) -> Result<Exit> {
    let mut setting = MoveSetting::new(context, &args.options)?;
    let mut names = args.names.clone();
    if names.is_empty() {
        let open = unended(setting.registry.connection(), &[])?;
        names.extend(open.into_iter().filter(|one| one.state.is_open()).map(|one| one.tenant));
    }
    let mut resumed = Vec::new();
    let outcome = setting.each(
        &names,
        args.pause.duration(),
        |mover, name| {
            let servers = servers_of(mover, name, |one| one.state.is_open())?;
            Ok((servers, mover.resume(name)?))
        },
        |context, _, ((from, to), done)| {
            show(context, &done, &to);
            resumed.push(MovedDocument::new(&done, &from, &to));
        },
    )?;
    let output = context.output();
    if output.is_json() {
        output.json(&Document { moved: resumed, failed: &outcome.failed, not_reached: &outcome.not_reached })?;
    } else if names.is_empty() {
        output.status("no move is open");
    }
    Ok(outcome.exit())
}

/// The names of the servers of a tenant's move.
fn servers_of(
    mover: &mut crate::moves::Mover<'_>,
    name: &TenantName,
    is_meant: impl Fn(&TenantMove) -> bool,
) -> Result<(String, String), crate::Error> {
    let moves = unended(mover.registry.connection(), std::slice::from_ref(name))?;
    let directory = mover.directory;
    let named = |id| directory.by_id(id).map_or_else(|| "-".to_owned(), |server| server.name.to_string());
    Ok(match moves.into_iter().rev().find(is_meant) {
        Some(one) => (named(one.source), named(one.target)),
        None => ("-".to_owned(), "-".to_owned()),
    })
}

pub(super) fn abort(args: &AbortArgs, context: &Context) -> Result<Exit> {
    let mut setting = MoveSetting::new(context, &args.options)?;
    let mut aborted = Vec::new();
    let outcome = setting.each(
        &args.names,
        None,
        |mover, name| {
            let (from, _) = servers_of(mover, name, |one| one.state.is_open())?;
            mover.abort(name)?;
            Ok(from)
        },
        |context, name, from| {
            context.output().status(format_args!("move of {name} aborted; it is in use on server {from}"));
            aborted.push(name.to_string());
        },
    )?;
    if context.output().is_json() {
        context.output().json(&AbortDocument {
            aborted,
            failed: &outcome.failed,
            not_reached: &outcome.not_reached,
        })?;
    }
    Ok(outcome.exit())
}

pub(super) fn back(args: &ReturnArgs, context: &Context) -> Result<Exit> {
    let mut setting = MoveSetting::new(context, &args.options)?;
    let keep = args.keep.seconds();
    let mut moved = Vec::new();
    let outcome = setting.each(
        &args.names,
        None,
        |mover, name| {
            let (to, from) = servers_of(mover, name, |one| !one.state.is_open())?;
            Ok((from, to, mover.back(name, keep)?))
        },
        |context, _, (from, to, done)| {
            show(context, &done, &to);
            moved.push(MovedDocument::new(&done, &from, &to));
        },
    )?;
    if context.output().is_json() {
        context.output().json(&Document { moved, failed: &outcome.failed, not_reached: &outcome.not_reached })?;
    }
    Ok(outcome.exit())
}

#[derive(Serialize)]
struct Document<'a> {
    moved: Vec<MovedDocument>,
    failed: &'a [FailedMove],
    /// The tenants that an interrupted command did not reach.
    not_reached: &'a [String],
}

#[derive(Serialize)]
struct AbortDocument<'a> {
    aborted: Vec<String>,
    failed: &'a [FailedMove],
    /// The tenants that an interrupted command did not reach.
    not_reached: &'a [String],
}
