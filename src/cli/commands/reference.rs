//! `reference`

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::files::require_writable;
use crate::cli::output::count;
use crate::cli::settings::ReadOptions;
use crate::model::TenantName;
use crate::schema::reference::{Applied, Reference, Source};

/// Print or save the reference schema
///
/// The reference schema is the structure that the tenant migrations produce. The output is a header line and one line of
/// JSON for each object. health-check and diff read the file with --reference, also on a standby or as a read-only role.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Use the structure of this tenant
    #[arg(long, value_name = "TENANT")]
    of: Option<TenantName>,

    /// Write the reference to this file
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    options: ReadOptions,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    if let Some(path) = &args.output {
        require_writable(path)?;
    }
    let tenancy = context.tenancy(&args.options.migrations)?;
    let mut db = context.database(&args.options.connection)?;
    let all: Applied =
        tenancy.tenant_migrations().iter().map(|migration| migration.version().as_str().to_owned()).collect();
    let source = args.of.map_or(Source::Migrations, Source::Tenant);
    let reference = Reference::from_source(&mut db, &tenancy, &source, &BTreeSet::from([all]))?;
    let (text, objects) = reference
        .structures()
        .next()
        .and_then(|(applied, structure)| Some((reference.to_text(applied, db.server().version)?, structure.len())))
        .context("the reference was created, but has no structure")?;
    let output = context.output();
    match args.output {
        None => output.json_text(&text)?,
        Some(path) => {
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            output.status(format_args!("saved {} to {}", count(objects, "object"), path.display()));
        }
    }
    Ok(Exit::Done)
}
