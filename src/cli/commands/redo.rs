//! `redo`

use std::num::NonZeroUsize;

use anyhow::Result;
use serde::Serialize;

use super::revert_all::{ask, show};
use super::rows;
use crate::cli::confirm::ConfirmOption;
use crate::cli::context::{Context, Purpose, location};
use crate::cli::exit::Exit;
use crate::cli::fleet::named_tenants;
use crate::cli::junit::TableOutput;
use crate::cli::progress::Progress;
use crate::cli::report::{self, RunDocument};
use crate::cli::settings::{Role, WriteOptions};
use crate::error::FailedTenant;
use crate::model::TenantName;
use crate::operations::migrate::{self, Back, MigratePlan, RevertPlan, Rollout};
use crate::tenants::{Fleet, not_tracked};
use crate::text::shell_word;

/// Revert and apply the newest migration of one tenant
///
/// For the development of a migration: runs its down.sql and then its up.sql, in two transactions. Rows of tables and columns
/// that the migration creates are lost. If up.sql fails, the tenant remains without the migration.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Name of the tenant
    name: TenantName,

    #[command(flatten)]
    confirmation: ConfirmOption,

    /// Show which migration would be reverted and applied, and change nothing
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
    rows::require_schemas(&mut db, "redo")?;
    let (name, set) = (&args.name, tenancy.tenant_migrations());
    let fleet = Fleet::read_some(db.connection(), set, std::slice::from_ref(name))?;
    let tracked = !fleet.tenants.is_empty();
    let mut plan = RevertPlan::of(fleet, set, &Back::Steps(NonZeroUsize::MIN), |_| true)?;
    if !tracked {
        plan.blocked.push(FailedTenant { tenant: name.to_string(), error: not_tracked(db.connection(), name)? });
    }
    context.warn_of_other_owners(&tenancy, plan.revert.iter().map(|reverting| &reverting.tenant));
    if args.dry_run {
        return show(context, &plan, &tenancy, TableOutput::Print);
    }
    ask(context, &location(&db), &plan, &tenancy, args.confirmation)?;
    let newest = plan.revert.first().and_then(|reverting| reverting.migrations.first());
    let newest = newest.map(|index| set.at(*index).version().clone());
    let (output, stop) = (context.output(), context.stop());
    let mut progress = Progress::new(output, "reverted");
    let reverted = migrate::revert(&mut db, &tenancy, plan, &Rollout::default(), &stop, &mut progress)?;
    std::mem::drop(progress);
    let word = shell_word(name.as_str());
    let again = if tracked { format!("redo {word}") } else { String::new() };
    let exit = report::summarize_run(context, &reverted, "reverted", &again);
    let Some(version) = newest.filter(|_| exit == Exit::Done) else {
        if output.is_json() {
            output.json(&Document { reverted: RunDocument::new(&reverted, context), applied: None })?;
        }
        return Ok(exit);
    };
    let tenancy = tenancy.up_to(&version)?;
    let set = tenancy.tenant_migrations();
    let plan = MigratePlan::of(Fleet::read_some(db.connection(), set, std::slice::from_ref(name))?, set, |_| true);
    let mut progress = Progress::new(output, "migrated");
    let applied = migrate::migrate(&mut db, &tenancy, plan, &Rollout::default(), &stop, &mut progress)?;
    std::mem::drop(progress);
    if output.is_json() {
        let reverted = RunDocument::new(&reverted, context);
        output.json(&Document { reverted, applied: Some(RunDocument::new(&applied, context)) })?;
    }
    Ok(report::summarize_run(context, &applied, "migrated", &format!("migrate-one {word} --to {version}")))
}

/// The JSON of both runs.
#[derive(Serialize)]
struct Document {
    reverted: RunDocument,
    /// Null if the revert failed, or there was nothing to revert.
    applied: Option<RunDocument>,
}
