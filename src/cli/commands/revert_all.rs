//! `revert-all`

use std::num::NonZeroUsize;

use anyhow::Result;
use serde::Serialize;

use super::rows;
use crate::cli::confirm::{Answer, ConfirmOption, Unconfirmed};
use crate::cli::context::{Context, Purpose, location};
use crate::cli::exit::Exit;
use crate::cli::fleet_options::FleetOptions;
use crate::cli::junit::TableOutput;
use crate::cli::output::{count, thousands};
use crate::cli::progress::Progress;
use crate::cli::report::{self, FailedDocument, failures};
use crate::cli::request::{Request, RevertAllRequest};
use crate::cli::resume::only;
use crate::cli::settings::Jobs;
use crate::cli::settings::positive;
use crate::database::Database;
use crate::migration::MigrationSet;
use crate::model::TenantName;
use crate::operations::migrate::{Back, RevertPlan, Reverting};
use crate::record::runs::RetryCommand;
use crate::tenants::{Fleet, Tenancy};

/// Revert the newest migrations of all tenants
///
/// Runs down.sql of each migration, in one transaction for each tenant. Tables that the migrations created are dropped with
/// their rows. If a migration has no down.sql, nothing is reverted.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    back: BackArgs,

    #[command(flatten)]
    confirmation: ConfirmOption,

    /// Show what would be reverted for each tenant, and change nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    fleet: FleetOptions,
}

/// How far to revert.
#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct BackArgs {
    /// Revert the migrations newer than this one: a version, or a unique beginning or end of a folder name
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,

    /// Revert this many migrations
    #[arg(long, value_name = "N", value_parser = positive::<NonZeroUsize>)]
    steps: Option<NonZeroUsize>,
}

impl BackArgs {
    /// How far to revert, with the version that the name of a migration stands for.
    ///
    /// # Errors
    /// Those of [`Tenancy::version_of`].
    pub(super) fn back(&self, tenancy: &Tenancy) -> Result<Back> {
        Ok(match (&self.to, self.steps) {
            (Some(to), _) => Back::To(tenancy.version_of(to)?),
            // One of the two is required.
            (None, steps) => Back::Steps(steps.unwrap_or(NonZeroUsize::MIN)),
        })
    }
}

/// The options that resume a plan. --steps counts from a tenant's current version and would revert finished tenants
/// further, so it becomes --to if the plan brings all tenants to one version.
pub(super) fn resumed(back: &Back, plan: &RevertPlan) -> Option<String> {
    target(back, plan).map(|version| format!(" --to {version}"))
}

/// The version that all tenants of a plan are reverted to; `None` if they are reverted to different versions.
fn target<'a>(back: &'a Back, plan: &'a RevertPlan) -> Option<&'a str> {
    match back {
        Back::To(version) => Some(version.as_str()),
        Back::Steps(_) => plan.common_version(),
    }
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let purpose = if args.dry_run { Purpose::Show } else { Purpose::Change };
    let (tenancy, mut db) = args.fleet.connect(context, purpose)?;
    let layout = rows::layout(&mut db)?;
    let tenancy = rows::revert_as(tenancy, layout.as_ref());
    let back = args.back.back(&tenancy)?;
    if args.dry_run {
        let plan = args.plan(context, &mut db, &tenancy, &back)?;
        context.warn_of_other_owners(&tenancy, plan.revert.iter().map(|reverting| &reverting.tenant));
        let junit = &args.fleet.junit;
        junit.write(context.output(), || report::suite_of_revert_plan(&plan, context))?;
        return show(context, &plan, &tenancy, junit.table());
    }
    // The lock is not held during the confirmation.
    let shown = if args.confirmation.is_asked() {
        let plan = args.plan(context, &mut db, &tenancy, &back)?;
        ask(context, &location(&db), &plan, &tenancy, args.confirmation)?;
        Some(plan)
    } else {
        None
    };
    let stop = context.stop();
    args.fleet.rollout.lock_fleet(context, &mut db)?;
    let plan = args.plan(context, &mut db, &tenancy, &back)?;
    if shown.is_some_and(|shown| !shown.is_same(&plan)) {
        return Err(Unconfirmed::Changed.into());
    }
    context.warn_of_other_owners(&tenancy, plan.revert.iter().map(|reverting| &reverting.tenant));
    let rollout = args.fleet.rollout.rollout(context)?;
    let resumed = resumed(&back, &plan);
    db.set_request(args.request(context, target(&back, &plan)).to_json()?);
    let mut progress = Progress::new(context.output(), "reverted").resumed_by(match &resumed {
        Some(to) => format!("repeat the command with{to} to resume"),
        None => "do not repeat the command with the same --steps: it would revert finished tenants further".to_owned(),
    });
    let report = rows::revert(&mut db, (&tenancy, layout.as_ref()), plan, &rollout, &stop, &mut progress)?;
    std::mem::drop(progress);
    let again = match (resumed, args.back.steps) {
        (Some(what), _) => args.fleet.resume("revert-all", &what, &report),
        // The remaining tenants are unchanged, unless the outcome of one is unknown.
        (None, Some(steps)) => match only(&report.to_try_again()) {
            Some(regex) if !report.leaves_doubt() => {
                format!("revert-all --match {regex} --steps {steps}{}", args.fleet.rollout.flags(&report))
            }
            _ => String::new(),
        },
        (None, None) => String::new(),
    };
    let exit = report::run(context, &report, "reverted", &again)?;
    args.fleet.junit.write(context.output(), || report::suite_of_run("revert-all", &report, context))?;
    Ok(exit)
}

impl Args {
    /// The number of connections.
    pub(crate) fn jobs(&self) -> &Jobs {
        self.fleet.jobs()
    }

    /// Whether some tenants come before the others.
    pub(crate) fn has_canary(&self) -> bool {
        self.fleet.rollout.has_canary()
    }

    /// Whether nothing is changed.
    pub(crate) fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// The request, for the record of the run.
    fn request(&self, context: &Context, to: Option<&str>) -> Request {
        Request::RevertAll(RevertAllRequest {
            to: to.map(str::to_owned),
            selection: self.fleet.selection.request(),
            rollout: self.fleet.rollout.request(),
            settings: context.settings_request(),
        })
    }

    fn plan(&self, context: &Context, db: &mut Database, tenancy: &Tenancy, back: &Back) -> Result<RevertPlan> {
        let set = tenancy.tenant_migrations();
        let picks = self.fleet.picks(context, db, tenancy, RetryCommand::RevertAll)?;
        let rollout = &self.fleet.rollout;
        let mut plan = RevertPlan::of(Fleet::read(db.connection(), set)?, set, back, picks)?;
        rollout.sort(db, &mut plan.revert, |reverting| &reverting.tenant)?;
        rollout.require_canary(plan.revert.iter().map(|reverting| &reverting.tenant.name).chain(&plan.unchanged))?;
        Ok(plan)
    }
}

/// Asks for confirmation. `location` is the name of the database and the address of its server.
pub(super) fn ask(
    context: &Context,
    location: &str,
    plan: &RevertPlan,
    tenancy: &Tenancy,
    confirmation: ConfirmOption,
) -> Result<()> {
    if plan.revert.is_empty() {
        return Ok(());
    }
    if confirmation.is_asked() {
        context.show_migrations_before_prompt(tenancy);
        for reverted in Reverted::of(plan, tenancy.tenant_migrations()) {
            context.output().summary(format_args!("{}: {}", reverted.folder, count(reverted.tenants, "tenant")));
        }
    }
    let what = match plan.revert.as_slice() {
        [one] => format!("these migrations of tenant {}", one.tenant.name),
        many => format!("these migrations of {}", count(many.len(), "tenant")),
    };
    let question =
        format!("Revert {what} in database {location}? Data in the tables and columns they created is lost. [y/N]");
    confirmation.ask(&question, Answer::Yes)
}

/// Shows a plan.
pub(super) fn show(context: &Context, plan: &RevertPlan, tenancy: &Tenancy, table: TableOutput) -> Result<Exit> {
    let output = context.output();
    let set = tenancy.tenant_migrations();
    context.show_migrations(tenancy);
    if output.is_json() {
        output.json(&Document::new(plan, set, context))?;
    } else if !plan.revert.is_empty() && table == TableOutput::Print {
        let rows = plan.revert.iter().map(|reverting| {
            let folders: Vec<&str> = reverting.migrations.iter().map(|index| set.at(*index).folder()).collect();
            vec![reverting.tenant.name.to_string(), from(reverting).unwrap_or("-").to_owned(), folders.join(", ")]
        });
        output.table(&["tenant", "version", "reverted"], rows)?;
    }
    failures(context, &plan.blocked);
    for reverted in Reverted::of(plan, set) {
        output.status(format_args!("{}: {}", reverted.folder, count(reverted.tenants, "tenant")));
    }
    let mut summary =
        format!("{} would be reverted, {} unchanged", thousands(plan.revert.len()), thousands(plan.unchanged.len()));
    if !plan.blocked.is_empty() {
        summary.push_str(&format!(", {} blocked", thousands(plan.blocked.len())));
    }
    output.status(summary);
    Ok(if plan.blocked.is_empty() { Exit::Done } else { Exit::Found })
}

fn from(reverting: &Reverting) -> Option<&str> {
    reverting.tenant.ledger().and_then(|ledger| ledger.version())
}

/// A migration that is reverted, and for how many tenants.
#[derive(Serialize)]
struct Reverted {
    version: String,
    folder: String,
    tenants: usize,
}

impl Reverted {
    /// The migrations that are reverted, newest first.
    fn of(plan: &RevertPlan, set: &MigrationSet) -> Vec<Self> {
        let mut tenants = vec![0; set.len()];
        plan.revert.iter().flat_map(|reverting| &reverting.migrations).for_each(|index| tenants[*index] += 1);
        let reverted = |(index, tenants)| {
            let migration = set.at(index);
            Self { version: migration.version().to_string(), folder: migration.folder().to_owned(), tenants }
        };
        tenants.into_iter().enumerate().rev().filter(|(_, tenants)| *tenants > 0).map(reverted).collect()
    }
}

/// The JSON of a plan.
#[derive(Serialize)]
struct Document {
    /// The versions that are reverted, newest first.
    versions: Vec<Reverted>,
    revert: Vec<RevertingDocument>,
    unchanged: Vec<String>,
    blocked: Vec<FailedDocument>,
}

#[derive(Serialize)]
struct RevertingDocument {
    tenant: String,
    version: Option<String>,
    /// The versions that are reverted, newest first.
    reverted: Vec<String>,
}

impl Document {
    fn new(plan: &RevertPlan, set: &MigrationSet, context: &Context) -> Self {
        let reverting = |reverting: &Reverting| RevertingDocument {
            tenant: reverting.tenant.name.to_string(),
            version: from(reverting).map(str::to_owned),
            reverted: reverting.migrations.iter().map(|index| set.at(*index).version().to_string()).collect(),
        };
        Self {
            versions: Reverted::of(plan, set),
            revert: plan.revert.iter().map(reverting).collect(),
            unchanged: plan.unchanged.iter().map(TenantName::to_string).collect(),
            blocked: FailedDocument::all(&plan.blocked, context),
        }
    }
}
