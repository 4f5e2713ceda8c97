//! `create`

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use super::isolate::roles::{self, RolesReportDocument};
use super::rows;
use crate::cli::context::{Context, Usage};
use crate::cli::exit::Exit;
use crate::cli::files::read_names;
use crate::cli::fleet::{PlacementRule, named_tenants};
use crate::cli::output::count;
use crate::cli::progress::Progress;
use crate::cli::report::{self, RunDocument};
use crate::cli::resume::SHORT;
use crate::cli::settings::{Jobs, Role, RoleChoices, WriteOptions, spares};
use crate::database::Database;
use crate::model::{NamePolicy, TenantId, TenantName};
use crate::operations::migrate::{CreatedFrom, CreationMethod, Report};
use crate::operations::{self, IfExists, PasswordChoice, PrewarmReport, RolesReport};
use crate::roles::RoleOptions;
use crate::rows::registry::FirstMember;
use crate::tenants::Tenancy;
use crate::text::{shell_word, shell_words};

/// Create tenants, each in one transaction
///
/// The transaction creates the schema, the migration ledger and the tracker row, and applies all tenant migrations. From 20
/// migrations on, a proven snapshot of what they produce takes their place; --verbose shows which was used, and why. If a
/// migration is applied that is not transactional, the tenant has the state creating until all are applied. If that is
/// interrupted, create or migrate-all completes the tenant.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Names: letters, digits and underscores, not starting with a digit, at most 63 bytes; see --any-name
    #[arg(value_name = "NAME", required_unless_present_any = ["from", "prewarm"])]
    names: Vec<TenantName>,

    /// Read names from this file, one per line; - reads standard input
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,

    /// Accept every name that PostgreSQL allows for a schema, such as acme-corp; SQL must quote it
    #[arg(long)]
    any_name: bool,

    /// Report existing tenants as unchanged instead of failing
    #[arg(long)]
    if_not_exists: bool,

    /// Id of the tenant in the registry, where tenants share tables [default: the registry's default]
    #[arg(long, value_name = "ID")]
    id: Option<TenantId>,

    /// Address of the user who becomes the tenant's first member, where tenants share tables
    #[arg(long, value_name = "EMAIL")]
    member: Option<String>,

    /// Right of the first member; may be repeated
    #[arg(long = "right", value_name = "NAME", requires = "member")]
    rights: Vec<String>,

    /// Also give each tenant a login role, as isolate does
    #[arg(long = "role")]
    with_role: bool,

    #[command(flatten)]
    roles: RoleChoices,

    /// Apply each migration, even if there is a snapshot of what the migrations produce
    #[arg(long)]
    replay: bool,

    /// Then make schemas in advance until N are ready; a later create renames one, in milliseconds
    #[arg(long, value_name = "N", value_parser = spares)]
    prewarm: Option<u16>,

    /// By what the server of each tenant is chosen, if the fleet is on several servers [default: least-tenants]
    #[arg(long, value_enum, value_name = "RULE", hide_possible_values = false)]
    place: Option<PlacementRule>,

    #[command(flatten)]
    jobs: Jobs,

    #[command(flatten)]
    role: Role,

    #[command(flatten)]
    options: WriteOptions,
}

named_tenants!(Args, names, from from);

impl Args {
    /// By what the server of each tenant is chosen.
    pub(crate) fn placement(&self) -> PlacementRule {
        self.place.unwrap_or(PlacementRule::LeastTenants)
    }

    /// The number of connections.
    pub(crate) fn jobs(&self) -> &Jobs {
        &self.jobs
    }
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let policy = if args.any_name { NamePolicy::Any } else { NamePolicy::Strict };
    let mut names = args.names;
    names.iter().try_for_each(|name| policy.check(name))?;
    if let Some(path) = &args.from {
        names.extend(read_names(path, |name| policy.parse(name))?);
    }
    let if_exists = if args.if_not_exists { IfExists::Leave } else { IfExists::Fail };
    let tenancy = context.tenancy(&args.options.migrations)?;
    let tenancy =
        tenancy.with_limits(args.options.limits.limits()).with_run_as(args.role.run_as()).with_name_policy(policy);
    let mut db = context.database_for_run(&args.options, Some(&args.jobs))?;
    if let Some(layout) = rows::layout(&mut db)? {
        let names: Vec<String> = names.iter().map(TenantName::to_string).collect();
        let options = [(args.with_role, "--role"), (args.replay, "--replay"), (args.prewarm.is_some(), "--prewarm")];
        if let Some((_, option)) = options.into_iter().find(|(is_given, _)| *is_given) {
            let message = format!("{option} applies to tenants with schemas of their own only");
            return Err(Usage::new("unexpected-option", message).into());
        }
        let member = args.member.map(|email| FirstMember { email, rights: args.rights });
        return rows::create(
            context,
            &mut db,
            (&tenancy, &layout),
            &names,
            rows::NewTenant { id: args.id, member, if_exists },
        );
    }
    if let Some(option) = args.id.map(|_| "--id").or(args.member.as_ref().map(|_| "--member")) {
        let message = format!("{option} applies to tenants that share tables only");
        return Err(Usage::new("unexpected-option", message).into());
    }
    if args.roles.is_any_given() && !args.with_role {
        return Err(Usage::new("unexpected-option", "options of roles need --role").into());
    }
    let role_options = args.roles.options(names.len())?;
    let choice = args.roles.passwords()?;
    let method = if args.replay { CreationMethod::Replay } else { CreationMethod::Snapshot };
    if names.is_empty() && args.from.is_none() {
        return prewarm_only(&mut db, &tenancy, args.prewarm.unwrap_or_default(), context);
    }
    let plan = operations::plan_create(&mut db, &tenancy, &names, if_exists)?.with_method(method);
    let mut progress = Progress::new(context.output(), "created");
    if !args.if_not_exists {
        progress = progress.resumed_by("repeat the command with --if-not-exists to resume");
    }
    let report = operations::create(&mut db, &tenancy, plan, &context.stop(), &mut progress)?;
    std::mem::drop(progress);
    show_source(&report, context);
    // If it fails, the tenants are reported first.
    let prewarmed =
        args.prewarm.map(|count| operations::prewarm(&mut db, &tenancy, count.into(), &context.stop())).transpose();
    let spares = prewarmed.as_ref().ok().copied().flatten();
    let left = report.to_try_again();
    let any_name = if args.any_name { " --any-name" } else { "" };
    let again = match &args.from {
        _ if left.len() <= SHORT => format!("create {}{any_name}", shell_words(&left)),
        Some(path) if path != Path::new("-") => {
            format!("create --if-not-exists{any_name} --from {}", shell_word(&path.display().to_string()))
        }
        _ => String::new(),
    };
    if !args.with_role && context.output().is_json() {
        context.output().json(&CreateDocument::new(&report, spares, context))?;
    }
    let exit = report::summarize_run(context, &report, "created", &again);
    show_spares(spares, context);
    if !args.with_role {
        prewarmed?;
        return Ok(exit);
    }
    let given = give_roles(&mut db, &tenancy, &report, &role_options, &choice, context)?;
    let output = context.output();
    if output.is_json() {
        let roles = RolesReportDocument::new(&given, context);
        output.json(&Document { created: CreateDocument::new(&report, spares, context), roles })?;
    } else {
        roles::show_passwords(context, &given)?;
    }
    let with_roles = roles::summarize(context, &given, "isolated");
    prewarmed?;
    Ok(if exit == Exit::Done { with_roles } else { exit })
}

/// Makes spare schemas, and no tenant.
fn prewarm_only(db: &mut Database, tenancy: &Tenancy, count: u16, context: &Context) -> Result<Exit> {
    let spares = operations::prewarm(db, tenancy, count.into(), &context.stop())?;
    if context.output().is_json() {
        context.output().json(&CreateDocument::new(&Report::default(), Some(spares), context))?;
    }
    show_spares(Some(spares), context);
    Ok(if spares.ready < count.into() { Exit::Interrupted } else { Exit::Done })
}

/// Shows the spare schemas that were made.
fn show_spares(spares: Option<PrewarmReport>, context: &Context) {
    let Some(PrewarmReport { made, dropped, ready }) = spares else { return };
    let dropped = if dropped > 0 { format!(", {dropped} dropped") } else { String::new() };
    context.output().status(format_args!("{} made{dropped}, {ready} ready", count(made, "spare schema")));
}

/// Shows how the tenants were created, with `--verbose`.
fn show_source(report: &Report, context: &Context) {
    let output = context.output();
    let by_migrations = |reason: &str| output.detail(format_args!("created by applying each migration: {reason}"));
    if report.prewarmed > 0 {
        output.detail(format_args!("{} took a spare schema", count(report.prewarmed, "tenant")));
    }
    match &report.created_from {
        Some(CreatedFrom::Snapshot { except }) => {
            output.detail(format_args!("created from the snapshot of the migrations"));
            except.as_deref().iter().for_each(|except| by_migrations(except));
        }
        Some(CreatedFrom::Migrations { reason }) => by_migrations(reason),
        None => {}
    }
}

/// Gives roles to the tenants that exist now.
fn give_roles(
    db: &mut Database,
    tenancy: &Tenancy,
    report: &Report,
    options: &RoleOptions,
    choice: &PasswordChoice,
    context: &Context,
) -> Result<RolesReport> {
    let created = report.done.iter().map(|done| done.tenant.clone());
    let names: Vec<TenantName> = created.chain(report.unchanged.iter().cloned()).collect();
    let plan = operations::plan_roles(db, tenancy, &names, options)?;
    Ok(operations::give_roles(db, tenancy, plan, choice, &context.stop())?)
}

/// The JSON of `create`.
#[derive(Serialize)]
struct CreateDocument {
    #[serde(flatten)]
    run: RunDocument,
    /// `snapshot` or `migrations`; null if no tenant had to be created.
    created_from: Option<&'static str>,
    /// Why the migrations were applied, or to which tenants besides.
    reason: Option<String>,
    /// The number of tenants that took a spare schema.
    prewarmed: usize,
    /// The number of spare schemas that are ready, with `--prewarm`.
    ready: Option<usize>,
}

impl CreateDocument {
    fn new(report: &Report, spares: Option<PrewarmReport>, context: &Context) -> Self {
        let (created_from, reason) = match report.created_from.clone() {
            Some(CreatedFrom::Snapshot { except }) => (Some("snapshot"), except),
            Some(CreatedFrom::Migrations { reason }) => (Some("migrations"), Some(reason)),
            None => (None, None),
        };
        Self {
            run: RunDocument::new(report, context),
            created_from,
            reason,
            prewarmed: report.prewarmed,
            ready: spares.map(|spares| spares.ready),
        }
    }
}

/// The JSON of `create --role`.
#[derive(Serialize)]
struct Document {
    created: CreateDocument,
    roles: RolesReportDocument,
}
