//! `new-migration`

mod dump;

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use chrono::Utc;
use clap::ValueEnum;
use serde::Serialize;

use crate::cli::context::{Context, Usage};
use crate::cli::exit::Exit;
use crate::cli::project;
use crate::cli::settings::{PublicMigrations, TenantMigrations};
use crate::text::shell_word;
use dump::DumpArgs;

/// Create a migration directory with up.sql and down.sql
///
/// With --from-schema, up.sql creates the objects of an existing schema of the database in the schema of a tenant, as pg_dump
/// prints them, without owners and privileges, and with names that are not qualified with the schema. With --from-dump, it
/// does the same with the output of pg_dump. What cannot be rewritten with certainty is refused.
///
/// A tenant migration is created in --tenant-migrations, else in dir of [migrations_directory] in diesel.toml, else in
/// migrations/tenant. A public migration is created in --public-migrations, else in migrations/public.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// What the migration applies to
    set: Set,

    /// Name of the migration: lower-case letters, digits and underscores, for example add_invoices
    name: String,

    /// Write the statements of this template
    #[arg(long, value_enum, value_name = "TEMPLATE", conflicts_with_all = ["from_dump", "from_schema"])]
    template: Option<MigrationTemplate>,

    #[command(flatten)]
    dump: DumpArgs,

    #[command(flatten)]
    tenant: TenantMigrations,

    #[command(flatten)]
    public: PublicMigrations,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Set {
    /// All tenants.
    Tenant,
    /// The schema public.
    Public,
}

/// A migration that is often needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MigrationTemplate {
    /// The registry of tenants that share tables, with users, memberships and rights
    Registry,
}

impl MigrationTemplate {
    /// The statements that apply and revert it.
    fn statements(self) -> (&'static str, &'static str) {
        match self {
            Self::Registry => (include_str!("templates/registry_up.sql"), include_str!("templates/registry_down.sql")),
        }
    }
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let name = &args.name;
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
        return Err(Usage::with_hint(
            "invalid-migration-name",
            format!("invalid migration name: {name:?}"),
            "use lower-case letters, digits and underscores",
        )
        .into());
    }
    let (given, flag) = match args.set {
        Set::Tenant => (&args.tenant.dir, "--tenant-migrations"),
        Set::Public => (&args.public.dir, "--public-migrations"),
    };
    let root = match (given, args.set) {
        (Some(dir), _) => dir.clone(),
        (None, Set::Tenant) => {
            project::tenant_migrations()?.unwrap_or_else(|| PathBuf::from(project::TENANT_MIGRATIONS))
        }
        (None, Set::Public) => PathBuf::from("migrations/public"),
    };
    if given.is_none() && !root.exists() {
        fs::create_dir_all(&root).with_context(|| format!("cannot create {}", root.display()))?;
    }
    if !root.is_dir() {
        return Err(Usage::with_hint(
            "not-a-directory",
            format!("{} is not a directory", root.display()),
            format!("create it, or specify another with {flag}"),
        )
        .into());
    }
    let empty = (
        "-- Statements that apply this migration. They run in one transaction in each schema.\n",
        "-- Statements that revert this migration.\n",
    );
    let (up, down) = args.template.map_or(empty, MigrationTemplate::statements);
    if args.dump.is_of_database() && args.set == Set::Public {
        return Err(Usage::new("unexpected-option", "--from-schema makes tenant migrations only").into());
    }
    let up = args.dump.script(context)?.map_or(Cow::Borrowed(up), Cow::Owned);
    let folder = root.join(format!("{}_{name}", next_version(&root)?));
    let write = |file: &str, text: &str| {
        fs::write(folder.join(file), text).with_context(|| format!("cannot write {}", folder.join(file).display()))
    };
    fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    write("up.sql", up.as_ref())?;
    write("down.sql", down)?;
    let output = context.output();
    if output.is_json() {
        output.json(&Document { folder: folder.display().to_string() })?
    } else {
        output.lines([folder.display()])?
    }
    // Built-in migrations and public migrations are not read from the directories of the project.
    if given.is_none() {
        match args.set {
            Set::Tenant if context.has_migrations_of_its_own() => {
                output.next(format_args!("rebuild {} to include the migration", context.program()));
            }
            Set::Tenant => {}
            Set::Public => {
                let command = format!("migrate-public {flag} {}", shell_word(&root.display().to_string()));
                output.next(format_args!("to apply it: {}", context.command(&command)));
            }
        }
    }
    Ok(Exit::Done)
}

/// The current time in UTC, or the number after the newest migration if that is later.
fn next_version(root: &Path) -> Result<String> {
    let now = Utc::now().format("%Y%m%d%H%M%S").to_string();
    let newest = fs::read_dir(root)
        .with_context(|| format!("cannot read {}", root.display()))?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.split('_').next()?.parse::<crate::Version>().ok())
        .filter(|version| version.as_str().len() == now.len())
        .max();
    Ok(match newest.and_then(|newest| newest.as_str().parse::<u64>().ok()) {
        Some(newest) if newest.to_string() >= now => {
            let next = (newest + 1).to_string();
            if next.len() > now.len() {
                return Err(Usage::new(
                    "no-free-version",
                    format!("no version with {} digits is greater than {newest}", now.len()),
                )
                .into());
            }
            next
        }
        _ => now,
    })
}

#[derive(Serialize)]
struct Document {
    folder: String,
}
