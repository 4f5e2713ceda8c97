//! `seed`

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use super::rows;
use crate::cli::confirm::{Answer, ConfirmOption};
use crate::cli::context::{Context, Usage, location};
use crate::cli::exit::Exit;
use crate::cli::fleet::named_tenants;
use crate::cli::output::count;
use crate::cli::selection::require_known;
use crate::cli::settings::{Connection, SearchPath, Timeouts};
use crate::database::Database;
use crate::migration::{MigrationSet, SeedError, SeedFile};
use crate::model::TenantName;
use crate::operations::seed::{self, FailedSeed};
use crate::rows::registry::{self, RegisteredTenant};
use crate::rows::{self as shared, Layout};
use crate::tenants::{Tenancy, tracker};

/// Run SQL files with rows for tenants of development
///
/// Runs the files of a directory for each tenant, in the order of their names and each in one transaction: as the owner of the
/// tenant's schema, or, where tenants share tables, as the application in the tenant's context. A file may run several
/// times: write INSERT … ON CONFLICT DO NOTHING.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Names of tenants
    #[arg(value_name = "NAME", required_unless_present = "all", conflicts_with = "all")]
    names: Vec<String>,

    /// All active tenants
    #[arg(long)]
    all: bool,

    /// Directory with the SQL files
    #[arg(long, value_name = "DIR", env = "TENANTRY_SEEDS", hide_env_values = true, default_value = "seeds/tenant")]
    seeds: PathBuf,

    /// Show the tenants and files, and run nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    confirmation: ConfirmOption,

    #[command(flatten)]
    connection: Connection,

    #[command(flatten)]
    path: SearchPath,

    #[command(flatten)]
    timeouts: Timeouts,
}

/// A tenant that gets the seeds.
enum SeededTenant {
    Schema(TenantName),
    Row(RegisteredTenant),
}

impl SeededTenant {
    fn name(&self) -> &str {
        match self {
            Self::Schema(name) => name.as_str(),
            Self::Row(tenant) => &tenant.name,
        }
    }
}

named_tenants!(Args, names);

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let files =
        SeedFile::all_in(&args.seeds).map_err(|error: SeedError| Usage::new(error.code(), error.to_string()))?;
    let tenancy = Tenancy::new(MigrationSet::none())?
        .with_extension_schemas(args.path.extension_schemas.clone())
        .with_limits(args.timeouts.limits());
    let mut db = context.database(&args.connection)?;
    db.require_tracker(&tenancy)?;
    let layout = rows::layout(&mut db)?;
    let tenants = tenants(&args, context, &mut db, layout.as_ref())?;
    let output = context.output();
    let names: Vec<&str> = tenants.iter().map(SeededTenant::name).collect();
    let file_names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    let what = format!("{} for {}", count(files.len(), "file"), count(tenants.len(), "tenant"));
    if args.dry_run {
        if output.is_json() {
            output.json(&SeedPlanDocument { tenants: &names, files: &file_names })?;
        } else {
            let cells = names
                .iter()
                .flat_map(|name| file_names.iter().map(|file| vec![(*name).to_owned(), (*file).to_owned()]));
            output.table(&["tenant", "file"], cells)?;
        }
        output.summary(format!("{what} would run"));
        return Ok(Exit::Done);
    }
    args.confirmation.ask(&format!("Run {what} in database {}? [y/N]", location(&db)), Answer::Yes)?;
    let stop = context.stop();
    let mut document = Document { seeded: Vec::new(), failed: Vec::new(), not_reached: Vec::new() };
    for tenant in &tenants {
        let name = tenant.name();
        if stop.is_requested() {
            document.not_reached.push(name);
            continue;
        }
        let result = match (tenant, &layout) {
            (SeededTenant::Row(tenant), Some(layout)) => shared::seed(&mut db, &tenancy, layout, tenant, &files),
            (SeededTenant::Schema(name), _) => seed::seed(&mut db, &tenancy, name, &files),
            (SeededTenant::Row(_), None) => unreachable!("only shared tables have rows of tenants"),
        };
        match result {
            Ok(()) => document.seeded.push(name),
            Err(failed) => {
                output.error(format_args!("{name}: {}: {}", failed.location, failed.message));
                document.failed.push(FailedSeedDocument::new(name, &failed));
            }
        }
    }
    if output.is_json() {
        output.json(&document)?;
    }
    let mut summary = format!("{} seeded", count(document.seeded.len(), "tenant"));
    for (list, what) in [(document.failed.len(), "failed"), (document.not_reached.len(), "not reached")] {
        if list > 0 {
            summary.push_str(&format!(", {list} {what}"));
        }
    }
    output.summary(summary);
    Ok(match (document.failed.is_empty(), document.not_reached.is_empty()) {
        (_, false) => Exit::Interrupted,
        (false, true) => Exit::Found,
        (true, true) => Exit::Done,
    })
}

fn tenants(args: &Args, context: &Context, db: &mut Database, layout: Option<&Layout>) -> Result<Vec<SeededTenant>> {
    let all: Vec<SeededTenant> = match layout {
        Some(layout) => registry::tenants(db, layout)?.into_iter().map(SeededTenant::Row).collect(),
        None => tracker::active_names(db.connection())?.into_iter().map(SeededTenant::Schema).collect(),
    };
    if args.all {
        return Ok(all);
    }
    let known: Vec<&str> = all.iter().map(SeededTenant::name).collect();
    require_known(context, args.names.iter().map(String::as_str), &known)?;
    Ok(all.into_iter().filter(|tenant| args.names.iter().any(|name| name == tenant.name())).collect())
}

#[derive(Serialize)]
struct SeedPlanDocument<'a> {
    tenants: &'a [&'a str],
    /// The names of the files, in the order in which they run.
    files: &'a [&'a str],
}

#[derive(Serialize)]
struct Document<'a> {
    seeded: Vec<&'a str>,
    failed: Vec<FailedSeedDocument<'a>>,
    /// The tenants that an interrupt left out.
    not_reached: Vec<&'a str>,
}

#[derive(Serialize)]
struct FailedSeedDocument<'a> {
    tenant: &'a str,
    /// The file, and the line if it is known.
    location: String,
    message: String,
}

impl<'a> FailedSeedDocument<'a> {
    fn new(tenant: &'a str, failed: &FailedSeed) -> Self {
        Self { tenant, location: failed.location.clone(), message: failed.message.to_string() }
    }
}
