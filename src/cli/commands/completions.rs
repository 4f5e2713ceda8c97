//! `completions`

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Arguments;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::to_stdout;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    shell: Shell,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    // A program of two words is the first, with the other as its command.
    let mut words = context.program().rsplit(' ');
    let inner = words.next().unwrap_or_default();
    let innermost = Arguments::command().name(inner);
    let mut command = words.fold(innermost, |inner, outer| clap::Command::new(outer).subcommand(inner));
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    to_stdout(|out| out.write_all(&script))?;
    Ok(Exit::Done)
}
