//! `exec … -- PROGRAM`: a program for each tenant.

use std::process::Command;

use anyhow::Result;

use crate::cli::context::{Context, Usage};
use crate::cli::exit::Exit;
use crate::cli::output::count;
use crate::cli::report::Summary;
use crate::database::Database;
use crate::error::Error;
use crate::model::{SchemaName, TenantName};
use crate::postgres::{SchemaPath, Transactions};

/// A program and how its sessions work.
pub(super) struct Program<'a> {
    /// The program and its arguments.
    pub(super) words: &'a [String],
    pub(super) transactions: Transactions,
    pub(super) extension_schemas: &'a [SchemaName],
}

impl Program<'_> {
    /// Runs the program for one tenant after the other. A failure does not stop the others, an interrupt does.
    pub(super) fn run(&self, context: &Context, db: &Database, tenants: &[TenantName]) -> Result<Exit> {
        let (output, stop) = (context.output(), context.stop());
        let (mut done, mut failed) = (0, 0);
        let mut lost = None;
        for tenant in tenants {
            if stop.is_requested() {
                break;
            }
            match self.run_for(db, tenant)? {
                Ok(()) => done += 1,
                Err(ProgramFailure::Exited(problem)) => {
                    output.error(format_args!("tenant {tenant}: {problem}"));
                    failed += 1;
                }
                // Without the server, no other tenant can be reached either.
                Err(ProgramFailure::Session(error)) if error.is_retryable() => {
                    lost = Some(error);
                    break;
                }
                Err(ProgramFailure::Session(error)) => {
                    output.error(format_args!("tenant {tenant}: {error}"));
                    if let Some(hint) = error.hint(&|line| context.command(line)) {
                        output.hint(hint);
                    }
                    failed += 1;
                }
            }
        }
        let not_reached = tenants.len() - done - failed;
        let exit = match (failed, not_reached) {
            _ if lost.is_some() => Exit::Temporary,
            (_, 1..) => Exit::Interrupted,
            (1.., 0) => Exit::Found,
            (0, 0) => Exit::Done,
        };
        if let Some(error) = lost {
            output.error(&error);
            if let Some(hint) = error.hint(&|line| context.command(line)) {
                output.hint(hint);
            }
        }
        Summary::of(done, "done").with(failed, "failed").with(not_reached, "not reached").print(output, exit);
        Ok(exit)
    }

    /// Runs the program for a tenant.
    fn run_for(&self, db: &Database, tenant: &TenantName) -> Result<Result<(), ProgramFailure>> {
        let path = SchemaPath::new(tenant.schema(), self.extension_schemas);
        let session = match db.connector().session_in(path, self.transactions) {
            Ok(session) => session,
            Err(error) => return Ok(Err(ProgramFailure::Session(error.into()))),
        };
        let [program, arguments @ ..] = self.words else { return Ok(Ok(())) };
        let mut command = Command::new(program);
        command.args(arguments).envs(session.environment()).env("TENANTRY_TENANT", tenant.as_str());
        let status = command.status().map_err(|error| {
            let message = format!("cannot run {program}: {error}");
            Usage::with_hint("program-not-started", message, "give its path, or add its directory to PATH")
        })?;
        let exited = ProgramFailure::Exited(format!("{program}: {status}"));
        Ok(if status.success() { Ok(()) } else { Err(exited) })
    }
}

/// Why a program failed for a tenant.
enum ProgramFailure {
    /// It has no session in the schema of the tenant, and did not run.
    Session(Error),
    /// Its exit status, with its name.
    Exited(String),
}

/// The question before a program that may write.
pub(super) fn question(tenants: usize, location: &str) -> String {
    format!("Run the program for {} in database {location}? [y/N]", count(tenants, "tenant"))
}
