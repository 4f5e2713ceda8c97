//! `migrate-all`

use anyhow::Result;
use serde::Serialize;

use super::lint::LintFindingDocument;
use super::rows;
use crate::cli::context::{Context, Purpose};
use crate::cli::exit::Exit;
use crate::cli::fleet_options::FleetOptions;
use crate::cli::junit::TableOutput;
use crate::cli::output::{Verbosity, count, thousands};
use crate::cli::progress::Progress;
use crate::cli::report::{self, FailedDocument, failures};
use crate::cli::request::{MigrateAllRequest, Request};
use crate::cli::settings::Jobs;
use crate::lint::{File, LintFinding, SharedTables, lint, lint_shared};
use crate::migration::{MigrationSet, Version};
use crate::model::TenantName;
use crate::operations;
use crate::operations::migrate::{self, MigratePlan, Rollout};
use crate::record::runs::RetryCommand;
use crate::tenants::{Fleet, Tenancy};

/// Apply pending migrations to all tenants
///
/// Continues after a failure, and reports at the end what failed and how to retry. Stops if the first tenants all fail with
/// the same error. Only one such run at a time can change the tenants of a database, or one for each shard.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Show the pending migrations of each tenant, and change nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    target: TargetArgs,

    #[command(flatten)]
    fleet: FleetOptions,
}

/// What is done to each tenant.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct TargetArgs {
    /// Apply only migrations up to and including this one: a version, or a unique beginning or end of a folder name
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,

    /// Verify the schema of each tenant after migrating
    #[arg(long)]
    verify: bool,
}

impl TargetArgs {
    /// Finds the migration of `--to`.
    pub(super) fn of(&self, tenancy: &Tenancy) -> Result<MigrateTarget> {
        let to = self.to.as_deref().map(|to| tenancy.version_of(to)).transpose()?;
        Ok(MigrateTarget { to, verify: self.verify })
    }
}

/// What is done to each tenant.
pub(super) struct MigrateTarget {
    to: Option<Version>,
    pub(super) verify: bool,
}

impl MigrateTarget {
    /// Limits the migrations.
    pub(super) fn limit(&self, tenancy: Tenancy) -> Result<Tenancy> {
        match &self.to {
            Some(to) => Ok(tenancy.up_to(to)?),
            None => Ok(tenancy),
        }
    }

    /// The options for a suggested command.
    pub(super) fn flags(&self) -> String {
        let to = self.to.as_ref().map_or_else(String::new, |to| format!(" --to {to}"));
        to + if self.verify { " --verify" } else { "" }
    }
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let purpose = if args.dry_run { Purpose::Show } else { Purpose::Change };
    let (tenancy, mut db) = args.fleet.connect(context, purpose)?;
    let target = args.target.of(&tenancy)?;
    let (tenancy, unlimited) = (target.limit(tenancy.clone())?, tenancy);
    let layout = rows::layout(&mut db)?;
    if let (Some(layout), false) = (&layout, args.dry_run) {
        return rows::migrate(context, &mut db, &tenancy, layout, &target, &args.fleet.junit);
    }
    let set = tenancy.tenant_migrations();
    let stop = context.stop();
    let rollout = &args.fleet.rollout;
    if !args.dry_run {
        rollout.lock_fleet(context, &mut db)?;
    }
    let picks = args.fleet.picks(context, &mut db, &tenancy, RetryCommand::MigrateAll)?;
    let mut plan = MigratePlan::of(Fleet::read(db.connection(), set)?, set, picks);
    rollout.sort(&mut db, &mut plan.migrate, |planned| &planned.tenant)?;
    rollout.require_canary(plan.migrate.iter().map(|planned| &planned.tenant.name).chain(&plan.up_to_date))?;
    context.warn_of_other_owners(&tenancy, plan.migrate.iter().map(|planned| &planned.tenant));
    warn_of_unknown(context, &plan);
    if args.dry_run {
        let junit = &args.fleet.junit;
        junit.write(context.output(), || report::suite_of_migrate_plan(&plan, context))?;
        let shared = layout.map(|layout| SharedTables { registry: layout.registry, column: layout.column });
        return show(context, &plan, (&tenancy, shared.as_ref()), junit.table());
    }
    db.set_request(args.request(context, &target).to_json()?);
    let rollout = Rollout { verify: target.verify, ..rollout.rollout(context)? };
    let mut progress = Progress::new(context.output(), "migrated");
    let report = migrate::migrate(&mut db, &tenancy, plan, &rollout, &stop, &mut progress)?;
    std::mem::drop(progress);
    let again = args.fleet.resume("migrate-all", &target.flags(), &report);
    let exit = report::run(context, &report, "migrated", &again)?;
    args.fleet.junit.write(context.output(), || report::suite_of_run("migrate-all", &report, context))?;
    // They were made for fewer migrations, and making others takes no longer than migrating them.
    let spares = operations::drop_stale_spares(&mut db, &unlimited)?;
    if spares > 0 {
        context.output().status(format_args!("{} dropped, made for other migrations", count(spares, "spare schema")));
        context.output().next(format_args!("'{}' makes others", context.command("create --prewarm N")));
    }
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
    fn request(&self, context: &Context, target: &MigrateTarget) -> Request {
        Request::MigrateAll(MigrateAllRequest {
            to: target.to.as_ref().map(Version::to_string),
            verify: target.verify,
            selection: self.fleet.selection.request(),
            rollout: self.fleet.rollout.request(),
            settings: context.settings_request(),
        })
    }
}

/// Warns of tenants without pending migrations whose ledgers record unknown versions: a newer release may have applied them.
pub(super) fn warn_of_unknown(context: &Context, plan: &MigratePlan) {
    if !plan.unknown.is_empty() {
        let tenants = count(plan.unknown.len(), "tenant");
        context.output().warning(format_args!("the ledgers of {tenants} record unknown migrations"));
        context.output().hint(format_args!("'{}' lists them", context.command("health-check")));
    }
}

/// Shows a plan.
pub(super) fn show(
    context: &Context,
    plan: &MigratePlan,
    (tenancy, shared): (&Tenancy, Option<&SharedTables>),
    table: TableOutput,
) -> Result<Exit> {
    let output = context.output();
    let set = tenancy.tenant_migrations();
    context.show_migrations(tenancy);
    let findings = shared.map_or_else(|| lint(tenancy), |shared| lint_shared(tenancy, shared));
    let findings: Vec<LintFinding> =
        findings.into_iter().filter(|finding| finding.file == File::Up && finding.accepted.is_none()).collect();
    if output.is_json() {
        output.json(&Document::new(plan, set, &findings, context))?;
    } else if !plan.migrate.is_empty() && table == TableOutput::Print {
        let rows = plan.migrate.iter().map(|planned| {
            let pending = planned.pending(set);
            let folders: Vec<&str> = pending.iter().map(|index| set.at(*index).folder()).collect();
            vec![planned.tenant.name.to_string(), from(planned).unwrap_or("-").to_owned(), folders.join(", ")]
        });
        output.table(&["tenant", "version", "pending"], rows)?;
    }
    failures(context, &plan.blocked);
    for version in Behind::of(plan, set, &findings) {
        output.status(format_args!("{}: {} behind", version.folder, count(version.tenants, "tenant")));
        if output.verbosity() >= Verbosity::Normal {
            for finding in &version.findings {
                output
                    .warning(format_args!("{}:{}: {}: {}", finding.file, finding.line, finding.rule, finding.message));
            }
        }
    }
    let mut summary =
        format!("{} would be migrated, {} up to date", thousands(plan.migrate.len()), thousands(plan.up_to_date.len()));
    if !plan.blocked.is_empty() {
        summary.push_str(&format!(", {} blocked", thousands(plan.blocked.len())));
    }
    output.status(summary);
    Ok(if plan.blocked.is_empty() { Exit::Done } else { Exit::Found })
}

fn from(planned: &migrate::Planned) -> Option<&str> {
    planned.tenant.ledger().and_then(|ledger| ledger.version())
}

/// A pending version, and for how many tenants it is pending.
#[derive(Serialize)]
struct Behind<'a> {
    version: String,
    folder: String,
    tenants: usize,
    /// Its lint findings.
    findings: Vec<LintFindingDocument<'a>>,
}

impl<'a> Behind<'a> {
    /// The pending versions, oldest first.
    fn of(plan: &MigratePlan, set: &MigrationSet, findings: &'a [LintFinding]) -> Vec<Self> {
        let mut tenants = vec![0; set.len()];
        plan.migrate.iter().flat_map(|planned| planned.pending(set)).for_each(|index| tenants[index] += 1);
        let behind = |(index, tenants)| {
            let migration = set.at(index);
            let findings = findings.iter().filter(|finding| finding.migration == index);
            Self {
                version: migration.version().to_string(),
                folder: migration.folder().to_owned(),
                tenants,
                findings: findings.map(LintFindingDocument::new).collect(),
            }
        };
        tenants.into_iter().enumerate().filter(|(_, tenants)| *tenants > 0).map(behind).collect()
    }
}

#[derive(Serialize)]
struct Document<'a> {
    /// The pending versions, oldest first.
    versions: Vec<Behind<'a>>,
    migrate: Vec<PlannedDocument>,
    up_to_date: Vec<String>,
    blocked: Vec<FailedDocument>,
}

#[derive(Serialize)]
struct PlannedDocument {
    tenant: String,
    version: Option<String>,
    pending: Vec<String>,
}

impl<'a> Document<'a> {
    fn new(plan: &MigratePlan, set: &MigrationSet, findings: &'a [LintFinding], context: &Context) -> Self {
        let planned = |planned: &migrate::Planned| PlannedDocument {
            tenant: planned.tenant.name.to_string(),
            version: from(planned).map(str::to_owned),
            pending: planned.pending(set).iter().map(|index| set.at(*index).version().to_string()).collect(),
        };
        Self {
            versions: Behind::of(plan, set, findings),
            migrate: plan.migrate.iter().map(planned).collect(),
            up_to_date: plan.up_to_date.iter().map(TenantName::to_string).collect(),
            blocked: FailedDocument::all(&plan.blocked, context),
        }
    }
}
