//! `revert-all`

use std::num::NonZeroUsize;

use anyhow::Result;
use serde::Serialize;

use crate::cli::arguments::Selection;
use crate::cli::confirm::{Answer, Unconfirmed, confirm};
use crate::cli::context::{Context, exit_of};
use crate::cli::exit::Exit;
use crate::cli::output::{count, thousands};
use crate::cli::progress::Progress;
use crate::cli::report::{self, FailedDocument, failures};
use crate::cli::resume::{Resume, only};
use crate::cli::steps::Steps;
use crate::database::Database;
use crate::migration::{MigrationSet, Version};
use crate::model::TenantName;
use crate::operations::migrate::{self, Back, RevertPlan, Reverting};
use crate::record::runs::RetryCommand;
use crate::tenants::{Fleet, Tenancy};

/// Revert the newest migrations of all tenants with their down.sql, each tenant's in one transaction
///
/// What the migrations made is lost, with the rows in it. A migration without down.sql is refused before anything runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    selection: Selection,

    #[command(flatten)]
    back: BackArgs,

    /// Revert without asking
    #[arg(long)]
    yes: bool,

    /// Show what would be reverted, tenant by tenant, and do nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    steps: Steps,
}

/// How far back.
#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct BackArgs {
    /// Back to this version, which stays
    #[arg(long, value_name = "VERSION")]
    to: Option<Version>,

    /// Back by this many migrations
    #[arg(long, value_name = "N")]
    steps: Option<NonZeroUsize>,
}

impl BackArgs {
    pub(super) fn back(&self) -> Back {
        match (&self.to, self.steps) {
            (Some(version), _) => Back::To(version.clone()),
            // One of the two is required.
            (None, steps) => Back::Steps(steps.unwrap_or(NonZeroUsize::MIN)),
        }
    }

    /// The flags that go on with what a plan leaves. Steps are counted from where a tenant is, so that those that are done
    /// would go back further: where all come to one version, that is given instead.
    pub(super) fn resumed(&self, plan: &RevertPlan) -> Option<String> {
        let to = match &self.to {
            Some(version) => Some(version.as_str()),
            None => plan.common_version(),
        };
        to.map(|version| format!(" --to {version}"))
    }
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let (tenancy, mut db) = context.fleet(args.dry_run)?;
    let set = tenancy.tenant_migrations();
    if args.dry_run {
        let plan = args.plan(context, &mut db, set)?;
        context.warn_of_other_owners(plan.revert.iter().map(|reverting| &reverting.tenant));
        return show(context, &plan, &tenancy);
    }
    // The lock is not held while somebody thinks.
    let shown = match args.yes {
        true => None,
        false => {
            let plan = args.plan(context, &mut db, set)?;
            ask(context, &db.server().database, &plan, &tenancy, args.yes)?;
            Some(plan)
        }
    };
    let stop = context.stop();
    args.steps.lock_fleet(context, &mut db)?;
    let plan = args.plan(context, &mut db, set)?;
    if shown.is_some_and(|shown| !shown.is_same(&plan)) {
        return Err(Unconfirmed::Changed.into());
    }
    context.warn_of_other_owners(plan.revert.iter().map(|reverting| &reverting.tenant));
    let rollout = args.steps.rollout()?;
    let resumed = args.back.resumed(&plan);
    let mut progress = Progress::new(context.output(), "reverted").resumed_by(match &resumed {
        Some(to) => format!("repeat the command with{to} to resume"),
        None => "do not repeat it with the same --steps: it would revert finished tenants further".to_owned(),
    });
    let report = migrate::revert(&mut db, &tenancy, plan, &rollout, &stop, &mut progress)?;
    std::mem::drop(progress);
    let again = match (resumed, args.back.steps) {
        (Some(what), _) => {
            Resume { command: "revert-all", selection: &args.selection, steps: &args.steps, what }.after(&report)
        }
        // Those that are left are as they were, while none of them is in doubt.
        (None, Some(steps)) => match only(&report.to_try_again()).filter(|_| !report.leaves_doubt()) {
            Some(regex) => format!("revert-all --match {regex} --steps {steps}{}", args.steps.flags(&report)),
            None => String::new(),
        },
        (None, None) => String::new(),
    };
    report::run(context, &report, "reverted", &again)
}

impl Args {
    fn plan(&self, context: &Context, db: &mut Database, set: &MigrationSet) -> Result<RevertPlan> {
        let steps = self.steps.picks(context, db, RetryCommand::RevertAll)?;
        let picks = |name: &str| steps(name) && self.selection.picks(name);
        let mut plan = RevertPlan::of(Fleet::read(db.connection(), set)?, set, &self.back.back(), picks)?;
        self.steps.sort(db, &mut plan.revert, |reverting| &reverting.tenant)?;
        self.steps.require_canary(plan.revert.iter().map(|reverting| &reverting.tenant.name).chain(&plan.unchanged))?;
        Ok(plan)
    }
}

/// Asks whether it is meant, and says what is lost.
pub(super) fn ask(context: &Context, database: &str, plan: &RevertPlan, tenancy: &Tenancy, yes: bool) -> Result<()> {
    if plan.revert.is_empty() {
        return Ok(());
    }
    if !yes {
        context.show_migrations(tenancy);
        for reverted in Reverted::of(plan, tenancy.tenant_migrations()) {
            context.output().status(format_args!("{}: {}", reverted.folder, count(reverted.tenants, "tenant")));
        }
    }
    let what = match plan.revert.as_slice() {
        [one] => format!("tenant {}", one.tenant.name),
        many => count(many.len(), "tenant"),
    };
    let question = format!("Revert {what} of the database {database}? What these migrations made is lost. [y/N]");
    confirm(yes, &question, Answer::Yes)
}

/// Shows a plan.
pub(super) fn show(context: &Context, plan: &RevertPlan, tenancy: &Tenancy) -> Result<Exit> {
    let output = context.output();
    let set = tenancy.tenant_migrations();
    context.show_migrations(tenancy);
    if output.is_json() {
        output.json(&Document::new(plan, set, context))?;
    } else if !plan.revert.is_empty() {
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
    let mut summary = format!(
        "{} would be reverted, {} unchanged",
        count(plan.revert.len(), "tenant"),
        thousands(plan.unchanged.len())
    );
    if !plan.blocked.is_empty() {
        summary.push_str(&format!(", {} cannot be", thousands(plan.blocked.len())));
    }
    output.status(summary);
    Ok(exit_of(plan.blocked.is_empty(), false))
}

fn from(reverting: &Reverting) -> Option<&str> {
    reverting.tenant.ledger().and_then(|ledger| ledger.version())
}

/// How many tenants a migration is reverted for.
#[derive(Serialize)]
struct Reverted {
    version: String,
    folder: String,
    tenants: usize,
}

impl Reverted {
    /// Of each migration that is, newest first.
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
    /// What is reverted, newest first.
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
