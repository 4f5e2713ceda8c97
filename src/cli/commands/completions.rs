//! `completions`

use anyhow::Result;
use clap_complete::Shell;

use crate::cli::complete;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::to_stdout;
use crate::cli::parse;

/// Print a completion script for a shell
///
/// The script asks the program for candidates: commands, options, and the names of tenants, runs, versions and codes, which
/// are read from the database and the migrations.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Shell to complete commands in
    shell: Shell,
}

/// The command of a program. If its name is two words, the second is a subcommand of the first.
pub(super) fn full_command(program: &'static str) -> clap::Command {
    let mut words = program.rsplit(' ');
    let inner = words.next().unwrap_or_default();
    let innermost = parse::command(program).name(inner);
    words.fold(innermost, |inner, outer| clap::Command::new(outer).subcommand(inner))
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let script = if context.program().contains(' ') {
        // The program that has the commands as subcommands is not asked for candidates.
        let mut command = full_command(context.program());
        let name = command.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(args.shell, &mut command, name, &mut script);
        script
    } else {
        complete::registration(context.program(), &args.shell.to_string())?
    };
    to_stdout(|out| out.write_all(&script))?;
    Ok(Exit::Done)
}
