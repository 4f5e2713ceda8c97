//! `create`

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::cli::context::{Context, Usage, shell_word};
use crate::cli::exit::Exit;
use crate::cli::progress::Progress;
use crate::cli::report;
use crate::cli::resume::SHORT;
use crate::model::TenantName;
use crate::operations::{self, IfExists};

/// Create tenants: schema, ledger, all migrations and tracker row, whole or not at all
///
/// Where a migration is not transactional, a tenant that was begun has the state `creating` until all have run; a second
/// create of its name, or migrate-all, completes it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The names: letters, digits and underscores, not starting with a digit, 63 bytes at most
    #[arg(value_name = "NAME", required_unless_present = "from")]
    names: Vec<TenantName>,

    /// Read names from a file, one a line; - is standard input
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,

    /// Leave tenants alone that are there already
    #[arg(long)]
    if_not_exists: bool,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let mut names = args.names;
    if let Some(path) = &args.from {
        names.extend(read(path)?);
    }
    let if_exists = if args.if_not_exists { IfExists::Leave } else { IfExists::Fail };
    let tenancy = context.tenancy()?;
    let mut db = context.database()?;
    let plan = operations::plan_create(&mut db, &tenancy, &names, if_exists)?;
    let mut progress = Progress::new(context.output(), "created");
    if !args.if_not_exists {
        progress = progress.resumed_by("repeat the command with --if-not-exists to resume");
    }
    let report = operations::create(&mut db, &tenancy, plan, &context.stop(), &mut progress)?;
    std::mem::drop(progress);
    let left = report.to_try_again();
    let again = match &args.from {
        _ if left.len() <= SHORT => format!("create {}", left.join(" ")),
        Some(path) if path != Path::new("-") => {
            format!("create --if-not-exists --from {}", shell_word(&path.display().to_string()))
        }
        _ => String::new(),
    };
    report::run(context, &report, "created", &again)
}

/// The names of a file. Blank lines and those that begin with # are passed over; anything else is a name, or refused.
fn read(path: &Path) -> Result<Vec<TenantName>> {
    let shown = || if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    let reader: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let file = File::open(path).map_err(|error| Usage::new(format!("cannot read {}: {error}", shown())))?;
        Box::new(BufReader::new(file))
    };
    let mut names = Vec::new();
    for (number, line) in reader.lines().enumerate() {
        let line = line.map_err(|error| Usage::new(format!("cannot read {}: {error}", shown())))?;
        let name = line.trim();
        if !name.is_empty() && !name.starts_with('#') {
            let name: TenantName = name.parse().with_context(|| format!("line {} of {}", number + 1, shown()))?;
            names.push(name);
        }
    }
    Ok(names)
}
