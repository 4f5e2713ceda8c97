//! `migrate-one`

use anyhow::Result;

use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::progress::Progress;
use crate::cli::report;
use crate::error::{FailedTenant, TenantError};
use crate::migration::Version;
use crate::model::TenantName;
use crate::operations::migrate::{self, Plan, Rollout};
use crate::tenants::{Fleet, schema_exists};

use super::migrate_all::{show, what};

/// Bring one tenant up to date
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The tenant
    name: TenantName,

    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// Only the migrations up to this version, itself included
    #[arg(long, value_name = "VERSION")]
    to: Option<Version>,

    /// Hold the structure of the tenant against the reference before it counts as done
    #[arg(long)]
    verify: bool,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let (mut tenancy, mut db) = context.fleet(args.dry_run)?;
    if let Some(to) = &args.to {
        tenancy = tenancy.up_to(to)?;
    }
    let set = tenancy.tenant_migrations();
    let name = &args.name;
    let fleet = Fleet::read_some(db.connection(), set, std::slice::from_ref(name))?;
    let tracked = !fleet.tenants.is_empty();
    let mut plan = Plan::of(fleet, set, |_| true);
    if !tracked {
        let schema_exists = schema_exists(db.connection(), name)?;
        let error = TenantError::NotTracked { schema_exists };
        plan.blocked.push(FailedTenant { tenant: name.to_string(), error });
    }
    context.warn_of_other_owners(plan.migrate.iter().map(|planned| &planned.tenant));
    if args.dry_run {
        return show(context, &plan, &tenancy);
    }
    let mut progress = Progress::new(context.output(), "migrated");
    let rollout = Rollout { verify: args.verify, ..Rollout::default() };
    let report = migrate::migrate(&mut db, &tenancy, plan, &rollout, &context.stop(), &mut progress)?;
    std::mem::drop(progress);
    let again = match tracked {
        true => format!("migrate-one {name}{}", what(args.to.as_ref(), args.verify)),
        false => String::new(),
    };
    report::run(context, &report, "migrated", &again)
}
