//! `restore`

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use super::archive::connect;
use super::local::BinariesArgs;
use crate::backup::{self, RestoredTenant};
use crate::cli::context::{Context, Usage};
use crate::cli::exit::Exit;
use crate::cli::files::require_readable;
use crate::cli::fleet::named_tenants;
use crate::cli::output::count;
use crate::cli::settings::WriteOptions;
use crate::database::Database;
use crate::model::{NamePolicy, ObjectName, TenantName};
use crate::record::integrity;
use crate::tenants::{Fleet, Tenancy};
use crate::text::shell_word;

/// Create a tenant from an archive of dump
///
/// Restores the structure, the rows, the privileges and the migration ledger in one transaction, under the name of the archive or a
/// new one. Code in the archive runs with the rights of the owner of the schema. Each table must have as many rows as in the archive.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Archive of a tenant, made with dump or with pg_dump --format=custom --schema=NAME
    file: PathBuf,

    /// Name of the tenant: letters, digits and underscores, not starting with a digit, at most 63 bytes; see --any-name
    #[arg(value_name = "NAME")]
    tenant: TenantName,

    /// Accept every name that PostgreSQL allows for a schema, such as acme-corp; SQL must quote it
    #[arg(long)]
    any_name: bool,

    /// Role that owns the schema and all objects in it [default: the owners in the archive]
    #[arg(long, value_name = "ROLE")]
    owner: Option<ObjectName>,

    #[command(flatten)]
    binaries: BinariesArgs,

    #[command(flatten)]
    options: WriteOptions,
}

named_tenants!(Args, one tenant);

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let policy = if args.any_name { NamePolicy::Any } else { NamePolicy::Strict };
    policy.check(&args.tenant)?;
    require_readable(&args.file)
        .map_err(|error| Usage::new("unreadable-file", format!("cannot read {}: {error}", args.file.display())))?;
    let (mut db, tenancy) = connect(context, &args.options, "restore")?;
    let tenancy = tenancy.with_name_policy(policy);
    let programs = args.binaries.archive_programs(&db)?;
    let owner = args.owner.as_ref().map(ObjectName::as_str);
    let restored = backup::restore(&mut db, &tenancy, &programs, &args.file, (&args.tenant, owner))?;
    let retired = integrity::accepted_removals(&mut db)?;
    let tenancy = tenancy.with_retired(retired);
    let ledger = LedgerStatus::of(&mut db, &tenancy, &args.tenant)?;
    let output = context.output();
    if output.is_json() {
        output.json(&Document::new(&args.tenant, &restored, &ledger))?;
    }
    if !restored.omitted_roles.is_empty() {
        output.warning(format_args!(
            "privileges of other roles were not restored: {}",
            restored.omitted_roles.join(", ")
        ));
    }
    if !restored.former_owners.is_empty() {
        let (owner, others) = (&restored.owner, restored.former_owners.join(", "));
        output.warning(format_args!("objects of other roles belong to {owner} now: {others}"));
    }
    let from =
        if restored.source == args.tenant.as_str() { String::new() } else { format!(" from {}", restored.source) };
    output.status(format_args!(
        "{} restored{from}: {} with {}",
        args.tenant,
        count(restored.tables, "table"),
        count(usize::try_from(restored.rows).unwrap_or_default(), "row")
    ));
    ledger.report(context, &tenancy, &args.tenant);
    Ok(Exit::Done)
}

/// The ledger of the restored tenant, compared with the migrations.
struct LedgerStatus {
    version: Option<String>,
    pending: usize,
    unknown: Vec<String>,
}

impl LedgerStatus {
    fn of(db: &mut Database, tenancy: &Tenancy, name: &TenantName) -> Result<Self> {
        let fleet = Fleet::read_some(db.connection(), tenancy.tenant_migrations(), std::slice::from_ref(name))?;
        let ledger = fleet.tenants.first().and_then(|tenant| tenant.ledger());
        Ok(Self {
            version: ledger.and_then(|ledger| ledger.version().map(str::to_owned)),
            pending: ledger.map_or(0, |ledger| ledger.pending.len()),
            unknown: ledger.map_or_else(Vec::new, |ledger| ledger.unknown.clone()),
        })
    }

    /// Reports pending and unknown migrations, if migrations are chosen.
    fn report(&self, context: &Context, tenancy: &Tenancy, name: &TenantName) {
        let output = context.output();
        if tenancy.tenant_migrations().is_empty() {
            return;
        }
        if !self.unknown.is_empty() {
            let versions = self.unknown.join(", ");
            output.warning(format_args!("the archive has applied migrations that are unknown here: {versions}"));
            output.hint("use the release that has them, or accept them with 'repair --accept VERSION --reason TEXT'");
        }
        if self.pending > 0 {
            let command = context.command(&format!("migrate-one {}", shell_word(name.as_str())));
            output.warning(format_args!("{} pending", count(self.pending, "migration")));
            output.hint(format_args!("run '{command}'"));
        }
    }
}

#[derive(Serialize)]
struct Document {
    /// The id of the run, as `runs` shows it.
    run: i64,
    tenant: String,
    /// The name of the tenant in the archive.
    source: String,
    /// The owner of the schema.
    owner: String,
    tables: usize,
    rows: i64,
    /// The newest applied migration; null if there is none.
    version: Option<String>,
    /// The number of migrations that are not applied.
    pending: usize,
    /// Applied versions that are not in the migrations.
    unknown: Vec<String>,
    /// Roles of the archive whose privileges were not restored.
    omitted_roles: Vec<String>,
    /// Roles whose objects belong to the owner of the schema now.
    former_owners: Vec<String>,
}

impl Document {
    fn new(tenant: &TenantName, restored: &RestoredTenant, ledger: &LedgerStatus) -> Self {
        Self {
            run: restored.run,
            tenant: tenant.to_string(),
            source: restored.source.clone(),
            owner: restored.owner.clone(),
            tables: restored.tables,
            rows: restored.rows,
            version: ledger.version.clone(),
            pending: ledger.pending,
            unknown: ledger.unknown.clone(),
            omitted_roles: restored.omitted_roles.clone(),
            former_owners: restored.former_owners.clone(),
        }
    }
}
