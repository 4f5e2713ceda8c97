//! `revert-one`

use anyhow::Result;

use super::revert_all::{BackArgs, ask, resumed, show};
use super::rows;
use crate::cli::confirm::ConfirmOption;
use crate::cli::context::{Context, Purpose, location};
use crate::cli::exit::Exit;
use crate::cli::fleet::named_tenants;
use crate::cli::junit::TableOutput;
use crate::cli::progress::Progress;
use crate::cli::report;
use crate::cli::settings::{Role, WriteOptions};
use crate::error::FailedTenant;
use crate::model::TenantName;
use crate::operations::migrate::{RevertPlan, Rollout};
use crate::tenants::{Fleet, not_tracked};
use crate::text::shell_word;

/// Revert the newest migrations of one tenant
///
/// Runs down.sql of each migration, in one transaction. Tables that the migrations created are dropped with their rows. If
/// a migration has no down.sql, nothing is reverted.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Name of the tenant
    name: TenantName,

    #[command(flatten)]
    back: BackArgs,

    #[command(flatten)]
    confirmation: ConfirmOption,

    /// Show what would be reverted, and change nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    role: Role,

    #[command(flatten)]
    options: WriteOptions,
}

named_tenants!(Args, one name);

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let purpose = if args.dry_run { Purpose::Show } else { Purpose::Change };
    let (tenancy, mut db) = context.fleet(&args.options, &args.role, None, purpose)?;
    let layout = rows::layout(&mut db)?;
    let tenancy = rows::revert_as(tenancy, layout.as_ref());
    let set = tenancy.tenant_migrations();
    let name = &args.name;
    let fleet = Fleet::read_some(db.connection(), set, std::slice::from_ref(name))?;
    let tracked = !fleet.tenants.is_empty();
    let back = args.back.back(&tenancy)?;
    let mut plan = RevertPlan::of(fleet, set, &back, |_| true)?;
    if !tracked {
        plan.blocked.push(FailedTenant { tenant: name.to_string(), error: not_tracked(db.connection(), name)? });
    }
    context.warn_of_other_owners(&tenancy, plan.revert.iter().map(|reverting| &reverting.tenant));
    if args.dry_run {
        return show(context, &plan, &tenancy, TableOutput::Print);
    }
    ask(context, &location(&db), &plan, &tenancy, args.confirmation)?;
    let resumed = resumed(&back, &plan);
    let mut progress = Progress::new(context.output(), "reverted");
    let tenancy = (&tenancy, layout.as_ref());
    let report = rows::revert(&mut db, tenancy, plan, &Rollout::default(), &context.stop(), &mut progress)?;
    std::mem::drop(progress);
    let again = match resumed {
        Some(to) if tracked => format!("revert-one {}{to}", shell_word(name.as_str())),
        _ => String::new(),
    };
    report::run(context, &report, "reverted", &again)
}
