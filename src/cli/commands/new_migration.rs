//! `new-migration`

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use chrono::Utc;
use clap::ValueEnum;
use serde::Serialize;

use crate::cli::context::{Context, Usage};
use crate::cli::exit::Exit;

/// Make the folder of a new migration, with up.sql and down.sql to be filled in
///
/// It goes to --tenant-migrations or --public-migrations where given, or else to migrations/tenant or migrations/public
/// here.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Whose migration it is
    set: Set,

    /// What it does: lower-case letters, digits and underscores, such as add_invoices
    name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Set {
    /// Of every tenant.
    Tenant,
    /// Of the schema public.
    Public,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let name = &args.name;
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
        return Err(Usage::with_hint(
            format!("{name:?} is no name of a migration"),
            "use lower-case letters, digits and underscores",
        )
        .into());
    }
    let settings = context.settings();
    let (given, default) = match args.set {
        Set::Tenant => (&settings.tenant_migrations, "migrations/tenant"),
        Set::Public => (&settings.public_migrations, "migrations/public"),
    };
    let root = given.clone().unwrap_or_else(|| PathBuf::from(default));
    if !root.is_dir() {
        return Err(Usage::with_hint(
            format!("{} is no directory", root.display()),
            format!(
                "make it, or name another with --{}-migrations",
                if args.set == Set::Tenant { "tenant" } else { "public" }
            ),
        )
        .into());
    }
    let folder = root.join(format!("{}_{name}", next_version(&root)?));
    let write = |file: &str, text: &str| {
        fs::write(folder.join(file), text).with_context(|| format!("cannot write {}", folder.join(file).display()))
    };
    fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    write("up.sql", "-- What this migration changes. It runs in one transaction, in each schema that it is for.\n")?;
    write("down.sql", "-- What takes it back.\n")?;
    let output = context.output();
    match output.is_json() {
        true => output.json(&Document { folder: folder.display().to_string() })?,
        false => output.lines([folder.display()])?,
    }
    Ok(Exit::Done)
}

/// The time now in UTC, or the number after the newest migration where that is later.
fn next_version(root: &std::path::Path) -> Result<String> {
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
                return Err(Usage::new(format!("no version of {} digits comes after {newest}", now.len())).into());
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
