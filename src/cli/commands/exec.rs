//! `exec`

mod program;
mod rows;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;

use self::program::Program;
use self::rows::{FleetRows, JsonRow};
use super::rows as shared;
use crate::cli::confirm::{Answer, ConfirmOption};
use crate::cli::context::{Context, Usage, location};
use crate::cli::exit::Exit;
use crate::cli::files::standard_input;
use crate::cli::fleet::named_tenants;
use crate::cli::output::count;
use crate::cli::progress::Progress;
use crate::cli::report::{self, ErrorDocument, FailedDocument, Summary};
use crate::cli::selection::{Selected, Selection, require_known};
use crate::cli::settings::{Connection, Jobs, LimitOptions, PublicMigrations, SearchPath, number};
use crate::database::Database;
use crate::migration::AdHocScript;
use crate::model::TenantName;
use crate::operations::{self, ExecAccess, ExecOptions, ExecReport};
use crate::postgres::Transactions;
use crate::tenants::{RunAs, tracker};

/// Run SQL or a program in the schemas of tenants
///
/// Runs the statements for each tenant in one transaction, with the tenant's schema on the search path and as the owner of the
/// schema, and prints the rows of the last statement. The transaction is read-only and is rolled back, unless --write is
/// given.
///
/// A program after -- runs for one tenant after the other. DATABASE_URL and the PG* variables connect it in the tenant's schema,
/// as the connected role; its transactions are read-only by default, unless --write is given. TENANTRY_TENANT is the tenant.
#[derive(Debug, Clone, clap::Args)]
#[command(group = clap::ArgGroup::new("sql").required(true))]
pub(crate) struct Args {
    /// Names of tenants
    #[arg(value_name = "NAME", required_unless_present = "all", conflicts_with = "all")]
    names: Vec<TenantName>,

    /// All active tenants
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    selection: Selection,

    /// SQL to run
    #[arg(short, long, value_name = "SQL", group = "sql")]
    command: Option<String>,

    /// File with the SQL to run, or - for standard input
    #[arg(short, long, value_name = "FILE", group = "sql")]
    file: Option<PathBuf>,

    /// Program to run for each tenant, with its arguments
    #[arg(
        last = true,
        value_name = "PROGRAM",
        group = "sql",
        conflicts_with_all = ["csv", "json_lines", "changes_outside", "as_connected_role"]
    )]
    program: Vec<String>,

    /// Commit the transactions; the run of SQL is recorded
    #[arg(long)]
    write: bool,

    /// Allow changes outside the tenant's schema
    #[arg(long, requires = "write")]
    changes_outside: bool,

    /// Run as the connected role instead of the owner of the schema
    ///
    /// Code that a tenant attached to its tables and views runs with the rights of that role.
    #[arg(long)]
    as_connected_role: bool,

    /// Print CSV with a header, and the tenant in the first column
    #[arg(long, conflicts_with = "json_lines")]
    csv: bool,

    /// Print a JSON object for each row, one per line
    #[arg(long)]
    json_lines: bool,

    /// Maximum number of rows per tenant
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = number::<usize>)]
    max_rows: usize,

    #[command(flatten)]
    confirmation: ConfirmOption,

    #[command(flatten)]
    jobs: Jobs,

    #[command(flatten)]
    connection: Connection,

    #[command(flatten)]
    path: SearchPath,

    #[command(flatten)]
    public: PublicMigrations,

    #[command(flatten)]
    limits: LimitOptions,
}

named_tenants!(Args, names);

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let output = context.output();
    if output.is_json() && (args.csv || args.json_lines) {
        return Err(Usage::new("argument-conflict", "--csv and --json-lines do not apply to --format json").into());
    }
    if !args.program.is_empty() {
        return args.run_program(context);
    }
    let script =
        AdHocScript::parse(args.sql()?.as_bytes()).map_err(|error| Usage::new(error.code(), error.to_string()))?;
    let run_as = if args.as_connected_role { RunAs::ConnectedRole } else { RunAs::SchemaOwner };
    let tenancy = context
        .tenancy_of_public(&args.public)?
        .with_extension_schemas(args.path.extension_schemas.clone())
        .with_limits(args.limits.limits())
        .with_run_as(run_as);
    let mut db = context.database_with_jobs(&args.connection, &args.jobs)?;
    shared::require_schemas(&mut db, "exec")?;
    let access = args.access();
    if access == ExecAccess::Read {
        db.require_tracker(&tenancy)?;
    } else {
        db.require_writable(&tenancy)?;
    }
    let selected = args.selection.resolve(context, &mut db, &tenancy)?;
    let tenants = args.tenants(context, &mut db, &selected)?;
    if access != ExecAccess::Read {
        let question = format!("Change {} in database {}? [y/N]", count(tenants.len(), "tenant"), location(&db));
        args.confirmation.ask(&question, Answer::Yes)?;
    }
    let options = ExecOptions { access, max_rows: args.max_rows };
    let mut progress = Progress::new(output, "done");
    let report = operations::exec(&mut db, &tenancy, tenants, &script, options, &context.stop(), &mut progress)?;
    std::mem::drop(progress);
    args.show(context, &script, &report)
}

impl Args {
    /// The number of connections.
    pub(crate) fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    fn access(&self) -> ExecAccess {
        match (self.write, self.changes_outside) {
            (false, _) => ExecAccess::Read,
            (true, false) => ExecAccess::Write,
            (true, true) => ExecAccess::WriteOutside,
        }
    }

    fn run_program(&self, context: &Context) -> Result<Exit> {
        if context.output().is_json() {
            return Err(Usage::new("argument-conflict", "--format json does not apply to a program").into());
        }
        let tenancy = context.tenancy_of_public(&self.public)?;
        let mut db = context.database(&self.connection)?;
        shared::require_schemas(&mut db, "exec")?;
        db.require_tracker(&tenancy)?;
        let selected = self.selection.resolve(context, &mut db, &tenancy)?;
        let tenants = self.tenants(context, &mut db, &selected)?;
        let transactions = if self.write { Transactions::ReadWrite } else { Transactions::ReadOnly };
        if transactions == Transactions::ReadWrite {
            let question = program::question(tenants.len(), &location(&db).to_string());
            self.confirmation.ask(&question, Answer::Yes)?;
        }
        let extension_schemas = &self.path.extension_schemas;
        Program { words: &self.program, transactions, extension_schemas }.run(context, &db, &tenants)
    }

    fn sql(&self) -> Result<String> {
        match (&self.command, &self.file) {
            (Some(sql), _) => Ok(sql.clone()),
            (None, Some(file)) if file == Path::new("-") => {
                Ok(standard_input().context("cannot read standard input")?.to_owned())
            }
            (None, Some(file)) => std::fs::read_to_string(file).map_err(|error| {
                Usage::new("unreadable-file", format!("cannot read {}: {error}", file.display())).into()
            }),
            (None, None) => Ok(String::new()),
        }
    }

    /// The active tenants that are selected, sorted by name.
    fn tenants(&self, context: &Context, db: &mut Database, selected: &Selected) -> Result<Vec<TenantName>> {
        let mut active = tracker::active_names(db.connection())?;
        require_known(context, self.names.iter().map(TenantName::as_str), &active)?;
        active.retain(|name| selected.picks(name.as_str()) && (self.all || self.names.contains(name)));
        Ok(active)
    }

    fn show(&self, context: &Context, script: &AdHocScript, report: &ExecReport) -> Result<Exit> {
        let output = context.output();
        if output.is_json() {
            output.json(&Document::new(report, context)?)?;
        } else if script.returns_rows() {
            let rows = FleetRows::of(&report.done)?;
            if self.csv {
                rows.print_csv(context.output())?;
            } else if self.json_lines {
                rows.print_json_lines(context.output())?;
            } else {
                rows.print_table(output)?;
            }
        }
        for truncated in report.done.iter().filter(|result| result.truncated) {
            output.warning(format_args!(
                "tenant {}: only the first {} are shown; add --max-rows",
                truncated.tenant,
                count(self.max_rows, "row")
            ));
        }
        report::failures(context, &report.failed);
        report::lost(context, report.ended.as_ref());
        let exit = report::exit(report.ended.as_ref(), &report.failed, &report.not_reached);
        Summary::of(report.done.len(), if self.write { "changed" } else { "read" })
            .with_failed(&report.failed)
            .with(report.not_reached.len(), "not reached")
            .of_run(report.run.filter(|_| exit != Exit::Done))
            .print(output, exit);
        Ok(exit)
    }
}

#[derive(Serialize)]
struct Document {
    /// The id of the run; null without --write.
    run: Option<i64>,
    tenants: Vec<ExecResultDocument>,
    failed: Vec<FailedDocument>,
    not_reached: Vec<String>,
    /// Why the run stopped early, or null.
    stop_reason: Option<&'static str>,
    /// The error, if `stop_reason` is `lost`.
    error: Option<ErrorDocument>,
}

#[derive(Serialize)]
struct ExecResultDocument {
    tenant: String,
    rows: Vec<JsonRow>,
    truncated: bool,
}

impl Document {
    fn new(report: &ExecReport, context: &Context) -> Result<Self> {
        let result = |result: &operations::ExecResult| -> Result<ExecResultDocument> {
            Ok(ExecResultDocument {
                tenant: result.tenant.to_string(),
                rows: JsonRow::all_of(result)?,
                truncated: result.truncated,
            })
        };
        Ok(Self {
            run: report.run,
            tenants: report.done.iter().map(result).collect::<Result<_>>()?,
            failed: report.failed.iter().map(|failed| FailedDocument::new(failed, context)).collect(),
            not_reached: report.not_reached.iter().map(ToString::to_string).collect(),
            stop_reason: report.ended.as_ref().map(report::stop_reason),
            error: ErrorDocument::of_run(report.ended.as_ref(), context),
        })
    }
}
