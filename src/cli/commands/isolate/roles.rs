//! `isolate` where tenants have schemas of their own: a role for each tenant.

use anyhow::Result;
use serde::Serialize;

use super::Args;
use crate::cli::confirm::Answer;
use crate::cli::context::{Context, Usage, location};
use crate::cli::exit::Exit;
use crate::cli::output::count;
use crate::cli::report::{self, Changed, ErrorDocument, FailedDocument, stop_reason};
use crate::database::Database;
use crate::model::TenantName;
use crate::operations::{self, PasswordChoice, RoleRemovalPlan, RolesPlan, RolesReport};
use crate::roles::RolePlan;
use crate::tenants::{Tenancy, tracker};
use crate::text;

pub(super) fn run(args: &Args, mut db: Database, context: &Context) -> Result<Exit> {
    if args.assign.is_some() {
        return Err(Usage::new("unexpected-option", "--assign applies to tenants that share tables only").into());
    }
    if args.names.is_empty() && !args.all {
        return Err(
            Usage::with_hint("missing-argument", "no tenant specified", "isolate NAME, or isolate --all").into()
        );
    }
    let tenancy = context.tenancy_if_chosen(&args.migrations)?.with_limits(args.timeouts.limits());
    let names = if args.all {
        db.require_tracker(&tenancy)?;
        let selected = args.matching.resolve(context, &mut db, &tenancy)?;
        let mut names = tracker::active_names(db.connection())?;
        names.retain(|name| selected.picks(name.as_str()));
        names
    } else {
        args.names.clone()
    };
    if args.undo {
        return undo(args, &mut db, &tenancy, &names, context);
    }
    let choice = args.roles.passwords()?;
    let options = args.roles.options(names.len())?;
    let plan = operations::plan_roles(&mut db, &tenancy, &names, &options)?;
    let output = context.output();
    if args.dry_run {
        if output.is_json() {
            output.json(&RolesPlanDocument::new(&plan, context))?;
        } else {
            output.script(script(&plan))?;
        }
        report::failures(context, &plan.failed);
        output.summary(format_args!("{} to execute; nothing was changed", count(plan.statements(), "statement")));
        return Ok(if plan.failed.is_empty() { Exit::Done } else { Exit::Found });
    }
    if !plan.is_empty() || !matches!(choice, PasswordChoice::ForNewRoles) {
        let roles = count(plan.roles.len(), "role");
        let question = format!("Create or change {roles} of tenants in database {}? [y/N]", location(&db));
        args.confirmation.ask(&question, Answer::Yes)?;
    }
    let report = operations::give_roles(&mut db, &tenancy, plan, &choice, &context.stop())?;
    if output.is_json() {
        output.json(&RolesReportDocument::new(&report, context))?;
    } else {
        show_passwords(context, &report)?;
    }
    Ok(summarize(context, &report, "isolated"))
}

fn undo(args: &Args, db: &mut Database, tenancy: &Tenancy, names: &[TenantName], context: &Context) -> Result<Exit> {
    let mut plan = operations::plan_role_removal(db, tenancy, names)?;
    if args.all {
        // Tenants without a role are as they should be.
        plan.failed.retain(|failed| failed.error.code() != "no-role");
    }
    let output = context.output();
    if args.dry_run {
        if output.is_json() {
            output.json(&RoleRemovalDocument::new(&plan, context))?;
        } else {
            output.script(removal_script(&plan))?;
        }
        report::failures(context, &plan.failed);
        output.summary(format_args!("{} would be dropped; nothing was changed", count(plan.roles.len(), "role")));
        return Ok(if plan.failed.is_empty() { Exit::Done } else { Exit::Found });
    }
    if !plan.roles.is_empty() {
        let roles = count(plan.roles.len(), "role");
        let question = format!("Drop {roles} of tenants in database {}? Schemas are kept. [y/N]", location(db));
        args.confirmation.ask(&question, Answer::Yes)?;
    }
    let report = operations::take_roles(db, tenancy, plan, &context.stop())?;
    if output.is_json() {
        output.json(&RolesReportDocument::new(&report, context))?;
    }
    Ok(summarize(context, &report, "without a role"))
}

/// Prints the generated passwords, which are not stored.
pub(in crate::cli::commands) fn show_passwords(context: &Context, report: &RolesReport) -> Result<()> {
    let rows: Vec<Vec<String>> = report
        .done
        .iter()
        .filter_map(|(tenant, role, password)| {
            Some(vec![tenant.to_string(), role.clone(), password.as_ref()?.reveal().to_owned()])
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    context.output().table(&["tenant", "role", "password"], rows)?;
    context.output().status("the passwords are not stored: keep them now, or generate others with --new-password");
    Ok(())
}

/// Prints failures and a summary. Returns the exit status.
pub(in crate::cli::commands) fn summarize(context: &Context, report: &RolesReport, verb: &str) -> Exit {
    let changed = Changed {
        done: report.done.len(),
        unchanged: report.unchanged.len(),
        failed: &report.failed,
        not_reached: &report.not_reached,
        ended: report.ended.as_ref(),
        run: report.run,
    };
    changed.summarize(context, verb)
}

/// The plan as a script for psql, without passwords.
fn script(plan: &RolesPlan) -> Vec<String> {
    let mut lines = Vec::new();
    if !plan.group_statements.is_empty() {
        lines.push("-- the group of the roles".to_owned());
        lines.extend(plan.group_statements.iter().map(|sql| format!("{sql};")));
    }
    for RolePlan { tenant, role, is_new, changes, .. } in &plan.roles {
        if changes.is_empty() {
            continue;
        }
        let password = if *is_new { ", without its password" } else { "" };
        let title = format!("tenant {tenant}: role {role}{password}");
        lines.push(format!("-- {}", text::one_line(&title)));
        lines.push("BEGIN;".to_owned());
        lines.extend(changes.iter().map(|change| format!("{};", change.sql)));
        lines.push("COMMIT;".to_owned());
    }
    lines
}

fn removal_script(plan: &RoleRemovalPlan) -> Vec<String> {
    plan.statements().flatten().map(|sql| format!("{sql};")).collect()
}

#[derive(Serialize)]
struct RolesPlanDocument {
    group: String,
    /// The statements that create the group.
    group_statements: Vec<String>,
    roles: Vec<RolePlanDocument>,
    failed: Vec<FailedDocument>,
}

#[derive(Serialize)]
struct RolePlanDocument {
    tenant: String,
    role: String,
    /// Whether the role does not exist yet.
    new: bool,
    /// Without the password.
    statements: Vec<String>,
}

impl RolesPlanDocument {
    fn new(plan: &RolesPlan, context: &Context) -> Self {
        let role = |role: &RolePlan| RolePlanDocument {
            tenant: role.tenant.to_string(),
            role: role.role.clone(),
            new: role.is_new,
            statements: role.changes.iter().map(|change| change.sql.clone()).collect(),
        };
        Self {
            group: plan.group.clone(),
            group_statements: plan.group_statements.clone(),
            roles: plan.roles.iter().map(role).collect(),
            failed: FailedDocument::all(&plan.failed, context),
        }
    }
}

#[derive(Serialize)]
struct RoleRemovalDocument {
    drop_roles: Vec<RoleDocument>,
    failed: Vec<FailedDocument>,
}

impl RoleRemovalDocument {
    fn new(plan: &RoleRemovalPlan, context: &Context) -> Self {
        let role = |(tenant, role): &(TenantName, String)| RoleDocument {
            tenant: tenant.to_string(),
            role: role.clone(),
            password: None,
        };
        Self { drop_roles: plan.roles.iter().map(role).collect(), failed: FailedDocument::all(&plan.failed, context) }
    }
}

#[derive(Serialize)]
pub(in crate::cli::commands) struct RolesReportDocument {
    /// The id of the run, as `runs` shows it; null if there was nothing to do.
    run: Option<i64>,
    roles: Vec<RoleDocument>,
    unchanged: Vec<String>,
    failed: Vec<FailedDocument>,
    not_reached: Vec<String>,
    stop_reason: Option<&'static str>,
    /// The error, if `stop_reason` is `lost`.
    error: Option<ErrorDocument>,
}

#[derive(Serialize)]
struct RoleDocument {
    tenant: String,
    role: String,
    /// The generated password; null if none was generated.
    password: Option<String>,
}

impl RolesReportDocument {
    pub(in crate::cli::commands) fn new(report: &RolesReport, context: &Context) -> Self {
        let names = |names: &[TenantName]| names.iter().map(TenantName::to_string).collect();
        let roles = report.done.iter().map(|(tenant, role, password)| RoleDocument {
            tenant: tenant.to_string(),
            role: role.clone(),
            password: password.as_ref().map(|password| password.reveal().to_owned()),
        });
        Self {
            run: report.run,
            roles: roles.collect(),
            unchanged: names(&report.unchanged),
            failed: FailedDocument::all(&report.failed, context),
            not_reached: names(&report.not_reached),
            stop_reason: report.ended.as_ref().map(stop_reason),
            error: ErrorDocument::of_run(report.ended.as_ref(), context),
        }
    }
}
