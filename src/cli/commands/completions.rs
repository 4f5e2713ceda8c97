//! `completions`

use anyhow::Result;
use clap_complete::Shell;

use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::to_stdout;
use crate::cli::parse;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Shell to complete commands in
    shell: Shell,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    // The name of a program can be two words: then the second is a subcommand of the first.
    let mut words = context.program().rsplit(' ');
    let inner = words.next().unwrap_or_default();
    let innermost = parse::command(context.program()).name(inner);
    let mut command = words.fold(innermost, |inner, outer| clap::Command::new(outer).subcommand(inner));
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    to_stdout(|out| out.write_all(&script))?;
    Ok(Exit::Done)
}
