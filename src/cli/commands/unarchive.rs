//! `unarchive`

use anyhow::Result;
use serde::Serialize;

use super::archive::{ArchiveNames, connect, strings, summarize};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::report::FailedDocument;
use crate::cli::settings::WriteOptions;
use crate::model::TenantName;
use crate::operations::{self, ArchiveReport};
use crate::text::shell_words;

/// Put archived tenants back into service
///
/// Restores the privileges on the schema that archive has revoked, and lets the tenant's role log in again. The tenant is no
/// longer purged.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) tenants: ArchiveNames,

    #[command(flatten)]
    options: WriteOptions,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let names = args.tenants.read()?;
    let (mut db, tenancy) = connect(context, &args.options, "unarchive")?;
    let report = operations::unarchive(&mut db, &tenancy, &names, &context.stop())?;
    let output = context.output();
    if output.is_json() {
        output.json(&Document::new(&report, context))?;
    }
    for (tenant, role) in &report.missing_roles {
        output.warning(format_args!(
            "tenant {tenant}: the privileges of role {role} are not restored, because it does not exist"
        ));
    }
    let exit = summarize(context, &report, "unarchived");
    if !report.not_reached.is_empty() {
        let left: Vec<&str> = report.not_reached.iter().map(TenantName::as_str).collect();
        let line = format!("unarchive {}", shell_words(&left));
        output.hint(format_args!("to resume: {}", context.command(&line)));
    }
    Ok(exit)
}

#[derive(Serialize)]
struct Document {
    /// The id of the run, as `runs` shows it; null if there was nothing to do.
    run: Option<i64>,
    unarchived: Vec<String>,
    /// The tenants that were active before.
    unchanged: Vec<String>,
    /// Privileges that were not restored.
    missing_roles: Vec<MissingRoleDocument>,
    failed: Vec<FailedDocument>,
    not_reached: Vec<String>,
}

#[derive(Serialize)]
struct MissingRoleDocument {
    tenant: String,
    role: String,
}

impl Document {
    fn new(report: &ArchiveReport, context: &Context) -> Self {
        let missing = |(tenant, role): &(TenantName, String)| MissingRoleDocument {
            tenant: tenant.to_string(),
            role: role.clone(),
        };
        Self {
            run: report.run,
            unarchived: strings(&report.done),
            unchanged: strings(&report.unchanged),
            missing_roles: report.missing_roles.iter().map(missing).collect(),
            failed: FailedDocument::all(&report.failed, context),
            not_reached: strings(&report.not_reached),
        }
    }
}
