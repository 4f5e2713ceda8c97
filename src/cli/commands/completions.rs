//! `completions`

use std::io;

use anyhow::Result;
use clap_complete::Shell;

use crate::cli::App;
use crate::cli::context::Context;
use crate::cli::exit::Exit;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    shell: Shell,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let program = context.program();
    clap_complete::generate(args.shell, &mut App::command(program), program, &mut io::stdout());
    Ok(Exit::Done)
}
