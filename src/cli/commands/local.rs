//! `local`

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Subcommand;
use serde::Serialize;

use crate::cli::context::{Context, Usage};
use crate::cli::exit::Exit;
use crate::local::{Binaries, DATABASE, LocalServer, Started, Status, Stopped, default_folder};
use crate::text::shell_word;

/// Run a private PostgreSQL server for development
///
/// Uses the PostgreSQL installation of the machine. The server listens only on a Unix socket in a directory that other users
/// cannot access, and requires no password. It also works if the user is root.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,

    /// Data directory of the server [default: .tenantry/server, or a temporary directory if the server's user cannot access
    /// this one]
    #[arg(long, global = true, env = "TENANTRY_LOCAL_DIR", hide_env_values = true, value_name = "DIR")]
    dir: Option<PathBuf>,

    #[command(flatten)]
    binaries: BinariesArgs,
}

/// The PostgreSQL installation.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct BinariesArgs {
    /// Directory of PostgreSQL's programs [default: searched on PATH and where packages install them]
    #[arg(long, global = true, env = "TENANTRY_PG_BIN", hide_env_values = true, value_name = "DIR")]
    pg_bin: Option<PathBuf>,
}

#[derive(Debug, Clone, Subcommand)]
enum Action {
    /// Start the server, create it if necessary, print its URL
    Start,
    /// Stop the server; its data is kept
    Stop,
    /// Show whether the server runs; exit code 1 if it does not
    Status,
    /// Print the URL of the server, for DATABASE_URL
    Url,
    /// Connect to the server with psql
    Psql {
        /// Arguments of psql
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

impl BinariesArgs {
    /// The directory that was given.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.pg_bin.as_deref()
    }

    pub(crate) fn find(&self) -> Result<Binaries> {
        Ok(Binaries::find(self.pg_bin.as_deref(), std::env::var_os("PATH").as_deref())?)
    }
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let here = std::env::current_dir().context("cannot read the working directory")?;
    // The next command reads the same variable.
    let dir = args.dir.clone().filter(|dir| std::env::var_os("TENANTRY_LOCAL_DIR").as_deref() != Some(dir.as_os_str()));
    let server = LocalServer::at(args.dir.unwrap_or_else(|| default_folder(&here)));
    let output = context.output();
    let program = context.program();
    match args.action {
        Action::Start => {
            let started = server.start(&args.binaries.find()?)?;
            output.status(match started {
                Started::Now => "server started",
                Started::Already => "server is already running",
            });
            url(context, &server)?;
            let dir = dir
                .as_ref()
                .map_or_else(String::new, |dir| format!(" --dir {}", shell_word(&dir.display().to_string())));
            output.next(format_args!("export DATABASE_URL=\"$({program} local url{dir})\""));
        }
        Action::Stop => output.status(match server.stop()? {
            Stopped::Now => "server stopped",
            Stopped::NotRunning => "server is not running",
        }),
        Action::Status => return status(context, &server),
        Action::Url => url(context, &server)?,
        Action::Psql { arguments } => {
            if !matches!(server.status()?, Status::Running(_)) {
                return Err(Usage::with_hint(
                    "server-not-running",
                    "server is not running",
                    format!("run '{program} local start'"),
                )
                .into());
            }
            let mut psql = server.psql_command(&args.binaries.find()?, DATABASE)?;
            // On success psql replaces this process.
            return Err(psql.args(arguments).exec()).context("cannot run psql");
        }
    }
    Ok(Exit::Done)
}

fn url(context: &Context, server: &LocalServer) -> Result<()> {
    let url = server.url(DATABASE);
    if context.output().is_json() { context.output().json(&UrlDocument { url }) } else { context.output().lines([url]) }
}

fn status(context: &Context, server: &LocalServer) -> Result<Exit> {
    let output = context.output();
    let status = server.status()?;
    let folder = server.folder().display().to_string();
    let (state, running) = match &status {
        Status::Absent => ("absent", None),
        Status::Stopped => ("stopped", None),
        Status::Running(running) => ("running", Some(running)),
    };
    if output.is_json() {
        output.json(&StatusDocument {
            state,
            folder,
            pid: running.map(|running| running.pid),
            version: running.map(|running| running.version),
            url: running.map(|_| server.url(DATABASE)),
        })?;
    } else {
        output.lines([match running {
            Some(running) => {
                format!("running: PostgreSQL {}, process {}, in {folder}", running.version, running.pid)
            }
            None if state == "absent" => format!("absent: no server in {folder}"),
            None => format!("stopped: server in {folder}"),
        }])?;
    }
    Ok(if running.is_some() { Exit::Done } else { Exit::Found })
}

#[derive(Serialize)]
struct UrlDocument {
    url: String,
}

#[derive(Serialize)]
struct StatusDocument {
    /// `absent`, `stopped` or `running`.
    state: &'static str,
    folder: String,
    pid: Option<u32>,
    version: Option<u32>,
    url: Option<String>,
}
