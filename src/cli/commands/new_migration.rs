//! `new-migration`

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context as _, Result};
use chrono::Utc;
use clap::ValueEnum;
use serde::Serialize;

use crate::cli::context::{Context, Usage};
use crate::cli::exit::Exit;
use crate::cli::project;
use crate::cli::settings::{PublicMigrations, TenantMigrations};
use crate::sql::dump::{self, DumpOptions, DumpProblem, DumpRefused, Privileges};
use crate::text::shell_word;

/// Create a migration directory with up.sql and down.sql
///
/// With --from-dump, up.sql creates the objects of a dumped schema in the schema of a tenant: without the settings, owners and
/// privileges of the dump, and with names that are not qualified with the dumped schema. A dump that cannot be rewritten with
/// certainty is refused.
///
/// A tenant migration is created in --tenant-migrations, else in dir of [migrations_directory] in diesel.toml, else in
/// migrations/tenant. A public migration is created in --public-migrations, else in migrations/public.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What the migration applies to
    set: Set,

    /// Name of the migration: lower-case letters, digits and underscores, for example add_invoices
    name: String,

    /// Write the statements of this template
    #[arg(long, value_enum, value_name = "TEMPLATE", conflicts_with = "from_dump")]
    template: Option<MigrationTemplate>,

    /// Fill up.sql with the schema in this output of pg_dump --schema-only, or - for standard input
    #[arg(long, value_name = "FILE")]
    from_dump: Option<PathBuf>,

    /// Schema in the dump [default: the only one that it creates, or public]
    #[arg(long, value_name = "SCHEMA", requires = "from_dump")]
    schema: Option<String>,

    /// Keep the GRANT and REVOKE statements of the dump
    #[arg(long, requires = "from_dump")]
    keep_grants: bool,

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
    let up = match &args.from_dump {
        Some(file) => Cow::Owned(from_dump(file, &args, context)?),
        None => Cow::Borrowed(up),
    };
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

/// The script made of a dump. Prints what is to be checked.
fn from_dump(file: &Path, args: &Args, context: &Context) -> Result<String> {
    let shown = if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
    let dump = if file == Path::new("-") { io::read_to_string(io::stdin()) } else { fs::read_to_string(file) };
    let dump = dump.with_context(|| format!("cannot read {shown}"))?;
    if dump.starts_with("PGDMP") {
        return Err(Usage::with_hint(
            "unreadable-file",
            format!("{shown} is a dump in the custom format"),
            "dump with --format=plain, or convert it with pg_restore --schema-only --file=FILE",
        )
        .into());
    }
    let privileges = if args.keep_grants { Privileges::Keep } else { Privileges::Remove };
    let clean = dump::clean(&dump, &DumpOptions { schema: args.schema.clone(), privileges }).map_err(|refused| {
        let problems = match refused {
            DumpRefused::Unterminated(unterminated) => vec![format!("{shown}: {unterminated}")],
            DumpRefused::Problems(problems) => {
                problems.iter().map(|DumpProblem { line, message }| format!("{shown}:{line}: {message}")).collect()
            }
        };
        Usage::new("invalid-dump", format!("cannot make a migration of the dump:\n{}", problems.join("\n")))
    })?;
    let output = context.output();
    for DumpProblem { line, message } in &clean.warnings {
        output.warning(format_args!("{shown}:{line}: {message}"));
    }
    if !clean.extensions.is_empty() {
        output.status(format_args!(
            "the dump needs the extensions {}; install them in a schema that --extension-schema names",
            clean.extensions.join(", ")
        ));
    }
    if clean.script.is_empty() {
        return Err(Usage::with_hint(
            "invalid-dump",
            format!("{shown} has no objects of the schema {}", clean.schema),
            "name the dumped schema with --schema",
        )
        .into());
    }
    Ok(clean.script)
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
