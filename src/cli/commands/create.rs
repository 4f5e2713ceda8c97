//! `create`

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::rows;
use crate::cli::context::{Context, Usage};
use crate::cli::exit::Exit;
use crate::cli::files::read_names;
use crate::cli::progress::Progress;
use crate::cli::report;
use crate::cli::resume::SHORT;
use crate::cli::settings::{Jobs, Role, WriteOptions};
use crate::model::{NamePolicy, TenantId, TenantName};
use crate::operations::{self, IfExists};
use crate::text::{shell_word, shell_words};

/// Create tenants, each in one transaction
///
/// The transaction creates the schema, the migration ledger and the tracker row, and applies all tenant migrations. If one
/// of them is not transactional, the tenant has the state creating until all are applied. If that is interrupted, create or
/// migrate-all completes the tenant.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names: letters, digits and underscores, not starting with a digit, at most 63 bytes; see --any-name
    #[arg(value_name = "NAME", required_unless_present = "from")]
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

    #[command(flatten)]
    jobs: Jobs,

    #[command(flatten)]
    role: Role,

    #[command(flatten)]
    options: WriteOptions,
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
        return rows::create(context, &mut db, &layout, &names, args.id, if_exists);
    }
    if args.id.is_some() {
        return Err(Usage::new("unexpected-option", "--id applies to tenants that share tables only").into());
    }
    let plan = operations::plan_create(&mut db, &tenancy, &names, if_exists)?;
    let mut progress = Progress::new(context.output(), "created");
    if !args.if_not_exists {
        progress = progress.resumed_by("repeat the command with --if-not-exists to resume");
    }
    let report = operations::create(&mut db, &tenancy, plan, &context.stop(), &mut progress)?;
    std::mem::drop(progress);
    let left = report.to_try_again();
    let any_name = if args.any_name { " --any-name" } else { "" };
    let again = match &args.from {
        _ if left.len() <= SHORT => format!("create {}{any_name}", shell_words(&left)),
        Some(path) if path != Path::new("-") => {
            format!("create --if-not-exists{any_name} --from {}", shell_word(&path.display().to_string()))
        }
        _ => String::new(),
    };
    report::run(context, &report, "created", &again)
}
