//! `rename`

use anyhow::Result;
use serde::Serialize;

use super::archive::connect;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::fleet::named_tenants;
use crate::cli::settings::WriteOptions;
use crate::model::{NamePolicy, TenantName};
use crate::operations::{self, InUse, RenameOptions};

/// Rename a tenant and its schema
///
/// Renames the schema, the tracker row and the records of runs in one transaction, with the tenant's role if its name ends with
/// the tenant's. Refused while sessions hold locks in the schema or are sessions of the role, and if a text such as the source of
/// a function names the schema.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Name of the tenant
    #[arg(value_name = "NAME")]
    old: TenantName,

    /// New name: letters, digits and underscores, not starting with a digit, at most 63 bytes; see --any-name
    #[arg(value_name = "NEW")]
    new: TenantName,

    /// Accept every name that PostgreSQL allows for a schema, such as acme-corp; SQL must quote it
    #[arg(long)]
    any_name: bool,

    /// Rename the tenant even if sessions use its schema
    #[arg(long)]
    force: bool,

    /// Check whether the tenant can be renamed, and change nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    options: WriteOptions,
}

named_tenants!(Args, one old);

impl Args {
    /// The new name, if the tenant is to be renamed.
    pub(crate) fn new_name(&self) -> Option<String> {
        (!self.dry_run).then(|| self.new.to_string())
    }
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let policy = if args.any_name { NamePolicy::Any } else { NamePolicy::Strict };
    policy.check(&args.new)?;
    let (mut db, tenancy) = connect(context, &args.options, "rename")?;
    let tenancy = tenancy.with_name_policy(policy);
    let in_use = if args.force { InUse::Accept } else { InUse::Refuse };
    let options = RenameOptions { in_use, dry_run: args.dry_run };
    let renamed = operations::rename(&mut db, &tenancy, &args.old, &args.new, options)?;
    let output = context.output();
    if output.is_json() {
        output.json(&Document {
            run: renamed.run,
            tenant: args.old.to_string(),
            name: args.new.to_string(),
            role: renamed.role.as_ref().map(|(_, role)| role.clone()),
        })?;
    }
    let would = if args.dry_run { "would be " } else { "" };
    output.status(format_args!("{} {would}renamed to {}", args.old, args.new));
    if let Some((old, new)) = renamed.role.filter(|(old, new)| old != new) {
        output.status(format_args!("role {old} {would}renamed to {new}"));
    }
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Document {
    /// The id of the run, as `runs` shows it; null for a dry run.
    run: Option<i64>,
    tenant: String,
    /// The new name.
    name: String,
    /// The tenant's role with its new name; null if it has none.
    role: Option<String>,
}
