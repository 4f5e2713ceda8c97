//! `key`

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use chrono::SecondsFormat;
use clap::Subcommand;
use serde::Serialize;

use crate::cli::context::{Context, Usage};
use crate::cli::exit::Exit;
use crate::cli::files::standard_input;
use crate::cli::settings::Connection;
use crate::rows::keys::{self, Installed, InstalledKey};
use crate::rows::{ContextKey, ContextKeyError};

/// Manage the keys that sign tenant contexts
///
/// The application signs the context of each transaction with a key. The database has what verifies the signatures, for one
/// or several keys, so that a key can be replaced while the application runs: rotate installs a new key; restart the
/// application with it, and retire the old one. Dumps of the database do not contain keys.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: KeyAction,
}

#[derive(Debug, Clone, Subcommand)]
enum KeyAction {
    /// Print a new random key
    Generate,
    /// Install the application's key in the database
    Install(InstallArgs),
    /// Install a new random key and print it
    ///
    /// The keys before it remain valid. Restart the application with the new key, and retire the old ones afterwards.
    Rotate(RotateArgs),
    /// List the keys in the database
    List(ListArgs),
    /// Refuse contexts that are signed with a key
    Retire(RetireArgs),
}

#[derive(Debug, Clone, clap::Args)]
struct InstallArgs {
    /// File with the key; '-' is standard input [default: the variable TENANTRY_CONTEXT_KEY]
    #[arg(long, value_name = "FILE", env = "TENANTRY_CONTEXT_KEY_FILE", hide_env_values = true)]
    key_file: Option<PathBuf>,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Clone, clap::Args)]
struct RotateArgs {
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Clone, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Clone, clap::Args)]
struct RetireArgs {
    /// Id of the key
    id: String,

    #[command(flatten)]
    connection: Connection,
}

/// The variable with the application's key.
const VARIABLE: &str = "TENANTRY_CONTEXT_KEY";

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    match args.action {
        KeyAction::Generate => generate(context),
        KeyAction::Install(args) => install(&args, context),
        KeyAction::Rotate(args) => rotate(&args, context),
        KeyAction::List(args) => list(&args, context),
        KeyAction::Retire(args) => retire(&args, context),
    }
}

fn generate(context: &Context) -> Result<Exit> {
    let key = ContextKey::generate();
    let output = context.output();
    if output.is_json() {
        output.json(&GenerateDocument { id: key.id(), key: key.reveal() })?;
    } else {
        output.lines([key.reveal()])?;
    }
    output.status(format_args!("key {}: keep it secret; the application reads it from {VARIABLE}", key.id()));
    Ok(Exit::Done)
}

fn install(args: &InstallArgs, context: &Context) -> Result<Exit> {
    let key = read_key(args)?;
    let (mut db, layout) = context.shared_tables(&args.connection)?;
    let installed = keys::install(&mut db, &layout, &key)?;
    let output = context.output();
    if output.is_json() {
        output.json(&InstallDocument { id: key.id(), installed: installed == Installed::New })?;
    }
    output.status(match installed {
        Installed::New => format!("key {} installed", key.id()),
        Installed::Before => format!("key {} is installed already", key.id()),
    });
    Ok(Exit::Done)
}

fn rotate(args: &RotateArgs, context: &Context) -> Result<Exit> {
    let (mut db, layout) = context.shared_tables(&args.connection)?;
    let before: Vec<String> = keys::list(&mut db, &layout)?.into_iter().map(|key| key.id).collect();
    let key = ContextKey::generate();
    keys::install(&mut db, &layout, &key)?;
    // Only what is installed is printed. A key whose output is lost is retired like an old one.
    let output = context.output();
    if output.is_json() {
        output.json(&RotateDocument { id: key.id(), key: key.reveal(), before: &before })?;
    } else {
        output.lines([key.reveal()])?;
    }
    output.status(format_args!("key {} installed: keep it secret; the application reads it from {VARIABLE}", key.id()));
    for id in &before {
        let retire = context.command(&format!("key retire {id}"));
        output.next(format_args!("when the application has the new key, '{retire}' refuses the old one"));
    }
    Ok(Exit::Done)
}

fn read_key(args: &InstallArgs) -> Result<ContextKey> {
    read_key_if_given(args.key_file.as_deref())?.ok_or_else(|| {
        Usage::with_hint(
            "missing-key",
            "no context key specified",
            format!("set {VARIABLE} or --key-file; 'key generate' prints a new key"),
        )
        .into()
    })
}

/// The key in a file, or else in the variable; `None` if there is neither.
pub(super) fn read_key_if_given(file: Option<&Path>) -> Result<Option<ContextKey>> {
    let (text, source) = match file {
        Some(path) if path.as_os_str() == "-" => {
            (standard_input().context("cannot read standard input")?.to_owned(), "standard input".to_owned())
        }
        Some(path) => {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            (text, path.display().to_string())
        }
        None => match std::env::var(VARIABLE) {
            Ok(text) if !text.is_empty() => (text, VARIABLE.to_owned()),
            _ => return Ok(None),
        },
    };
    let key = text.parse().map_err(|error: ContextKeyError| Usage::new("invalid-key", format!("{source}: {error}")));
    Ok(Some(key?))
}

fn list(args: &ListArgs, context: &Context) -> Result<Exit> {
    let (mut db, layout) = context.shared_tables(&args.connection)?;
    let keys = keys::list(&mut db, &layout)?;
    let output = context.output();
    if output.is_json() {
        output.json(&KeyListDocument { keys: keys.iter().map(KeyDocument::new).collect() })?;
    } else {
        let rows = keys.iter().map(|key| vec![key.id.clone(), installed_at(key)]);
        output.table(&["ID", "INSTALLED"], rows)?;
    }
    Ok(Exit::Done)
}

fn retire(args: &RetireArgs, context: &Context) -> Result<Exit> {
    let (mut db, layout) = context.shared_tables(&args.connection)?;
    keys::retire(&mut db, &layout, &args.id)?;
    let output = context.output();
    if output.is_json() {
        output.json(&RetireDocument { retired: &args.id })?;
    }
    output.status(format_args!("key {} retired: contexts that are signed with it are refused", args.id));
    Ok(Exit::Done)
}

fn installed_at(key: &InstalledKey) -> String {
    key.installed_at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[derive(Serialize)]
struct GenerateDocument {
    id: String,
    /// The key, which is secret.
    key: String,
}

#[derive(Serialize)]
struct InstallDocument {
    id: String,
    /// Whether the database did not have it.
    installed: bool,
}

#[derive(Serialize)]
struct RotateDocument<'a> {
    id: String,
    /// The key, which is secret.
    key: String,
    /// The ids of the keys that were valid before and still are.
    before: &'a [String],
}

#[derive(Serialize)]
struct KeyListDocument {
    keys: Vec<KeyDocument>,
}

#[derive(Serialize)]
struct KeyDocument {
    id: String,
    installed_at: String,
}

#[derive(Serialize)]
struct RetireDocument<'a> {
    /// The id of the key.
    retired: &'a str,
}

impl KeyDocument {
    fn new(key: &InstalledKey) -> Self {
        Self { id: key.id.clone(), installed_at: installed_at(key) }
    }
}
