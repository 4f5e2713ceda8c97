//! `migrate-one`

use anyhow::Result;

use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::progress::Progress;
use crate::cli::report;
use crate::cli::settings::{Role, WriteOptions};
use crate::error::FailedTenant;
use crate::model::TenantName;
use crate::operations::migrate::{self, MigratePlan, Rollout};
use crate::tenants::{Fleet, not_tracked};

use super::migrate_all::{show, warn_of_unknown, what};

/// Apply pending migrations to one tenant
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the tenant
    name: TenantName,

    /// Show the pending migrations, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Apply only migrations up to and including this one: a version, or a unique beginning or end of a folder name
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,

    /// Verify the tenant's schema after migrating
    #[arg(long)]
    verify: bool,

    #[command(flatten)]
    role: Role,

    #[command(flatten)]
    options: WriteOptions,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let (mut tenancy, mut db) = context.fleet(&args.options, &args.role, None, args.dry_run)?;
    let to = args.to.as_deref().map(|to| tenancy.version_of(to)).transpose()?;
    if let Some(to) = &to {
        tenancy = tenancy.up_to(to)?;
    }
    let set = tenancy.tenant_migrations();
    let name = &args.name;
    let fleet = Fleet::read_some(db.connection(), set, std::slice::from_ref(name))?;
    let tracked = !fleet.tenants.is_empty();
    let mut plan = MigratePlan::of(fleet, set, |_| true);
    if !tracked {
        plan.blocked.push(FailedTenant { tenant: name.to_string(), error: not_tracked(db.connection(), name)? });
    }
    context.warn_of_other_owners(&tenancy, plan.migrate.iter().map(|planned| &planned.tenant));
    warn_of_unknown(context, &plan);
    if args.dry_run {
        return show(context, &plan, &tenancy);
    }
    let mut progress = Progress::new(context.output(), "migrated");
    let rollout = Rollout { verify: args.verify, ..Rollout::default() };
    let report = migrate::migrate(&mut db, &tenancy, plan, &rollout, &context.stop(), &mut progress)?;
    std::mem::drop(progress);
    let again = if tracked { format!("migrate-one {name}{}", what(to.as_ref(), args.verify)) } else { String::new() };
    report::run(context, &report, "migrated", &again)
}
