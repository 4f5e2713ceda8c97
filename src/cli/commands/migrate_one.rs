//! `migrate-one`

use anyhow::Result;

use crate::cli::context::{Context, Purpose};
use crate::cli::exit::Exit;
use crate::cli::fleet::named_tenants;
use crate::cli::junit::TableOutput;
use crate::cli::progress::Progress;
use crate::cli::report;
use crate::cli::settings::{Role, WriteOptions};
use crate::error::FailedTenant;
use crate::model::TenantName;
use crate::operations::migrate::{self, MigratePlan, Rollout};
use crate::tenants::{Fleet, not_tracked};
use crate::text::shell_word;

use super::migrate_all::{TargetArgs, show, warn_of_unknown};

/// Apply pending migrations to one tenant
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Name of the tenant
    name: TenantName,

    /// Show the pending migrations, and change nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    target: TargetArgs,

    #[command(flatten)]
    role: Role,

    #[command(flatten)]
    options: WriteOptions,
}

named_tenants!(Args, one name);

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let purpose = if args.dry_run { Purpose::Show } else { Purpose::Change };
    let (tenancy, mut db) = context.fleet(&args.options, &args.role, None, purpose)?;
    super::rows::require_schemas(&mut db, "migrate-one")?;
    let target = args.target.of(&tenancy)?;
    let tenancy = target.limit(tenancy)?;
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
        return show(context, &plan, (&tenancy, None), TableOutput::Print);
    }
    let mut progress = Progress::new(context.output(), "migrated");
    let rollout = Rollout { verify: target.verify, ..Rollout::default() };
    let report = migrate::migrate(&mut db, &tenancy, plan, &rollout, &context.stop(), &mut progress)?;
    std::mem::drop(progress);
    let again =
        if tracked { format!("migrate-one {}{}", shell_word(name.as_str()), target.flags()) } else { String::new() };
    report::run(context, &report, "migrated", &again)
}
