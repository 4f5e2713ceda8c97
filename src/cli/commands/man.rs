//! `man`

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap_mangen::Man;

use super::completions::full_command;
use crate::cli::context::{Context, Usage};
use crate::cli::exit::Exit;
use crate::cli::output::count;

/// Write the manual pages to a directory
///
/// Writes one page for the program and one for each command, in section 1. The directory is created if necessary.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Directory for the pages
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    fs::create_dir_all(&args.dir)
        .map_err(|error| Usage::new("unwritable-file", format!("cannot create {}: {error}", args.dir.display())))?;
    let mut command = full_command(context.program()).disable_help_subcommand(true);
    command.build();
    // If the program is a subcommand, the pages of the outer program are not ours.
    let words = context.program().split(' ').skip(1);
    let program = words.fold(&command, |outer, word| outer.find_subcommand(word).unwrap_or(outer));
    let pages = write(program, &args.dir)?;
    context.output().status(format_args!("{} written to {}", count(pages, "page"), args.dir.display()));
    Ok(Exit::Done)
}

/// Writes the page of a command and of each of its subcommands. Returns their number.
fn write(command: &clap::Command, dir: &Path) -> Result<usize> {
    let man = Man::new(command.clone());
    let file = dir.join(man.get_filename());
    let mut page = Vec::new();
    man.render(&mut page).context("cannot render a manual page")?;
    fs::write(&file, page).with_context(|| format!("cannot write {}", file.display()))?;
    command.get_subcommands().try_fold(1, |pages, command| Ok(pages + write(command, dir)?))
}
