//! `migrate-all`

use std::time::Duration;

use anyhow::Result;

use crate::cli::commands::migrate_all::MigrateTarget;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::junit::JunitOption;
use crate::cli::output::count;
use crate::cli::progress::Progress;
use crate::cli::report;
use crate::database::Database;
use crate::error::{Error, RowTenancyError};
use crate::lint::{File, LintFinding, SharedTables, lint_shared};
use crate::rows::findings::{self, Severity};
use crate::rows::{self, Layout, Obstacle, UnassignedRows};
use crate::tenants::Tenancy;

/// Migrates the shared tables, and isolates what the migrations add. With `--verify`, fails if anything could give a tenant
/// access to rows of another afterwards.
pub(crate) fn migrate(
    context: &Context,
    db: &mut Database,
    tenancy: &Tenancy,
    layout: &Layout,
    target: &MigrateTarget,
    junit: &JunitOption,
) -> Result<Exit> {
    let stop = context.stop();
    let output = context.output();
    if db.fleet_lock.is_none() {
        db.lock_fleet(None, Duration::ZERO, &stop, &mut |_| ())?;
    }
    if target.verify {
        let holes = holes(db, tenancy, layout)?;
        if !holes.is_empty() {
            for finding in &holes {
                output.error(format_args!("{}: {}: {}", finding.place(), finding.rule, finding.message));
            }
            output.summary(format!("nothing was migrated: {} in pending migrations", count(holes.len(), "finding")));
            output.hint("to accept one, add a comment before the statement: -- tenantry: accept RULE: reason");
            return Ok(Exit::Found);
        }
    }
    let mut progress = Progress::new(output, "migrated");
    let migrated = rows::migrate(db, tenancy, layout, &stop, &mut progress);
    std::mem::drop(progress);
    let report = match migrated {
        Err(error @ Error::RowTenancy(RowTenancyError::Obstacles { .. })) => {
            // What the error counts.
            for Obstacle { table, message, hint } in rows::plan_isolation(db, layout, UnassignedRows::Refuse)?.obstacles
            {
                output.error(format_args!("{}.{table}: {message}", layout.schema));
                output.hint(hint);
            }
            return Err(error.into());
        }
        report => report?,
    };
    let exit = report::run(context, &report, "migrated", &format!("migrate-all{}", target.flags()))?;
    junit.write(context.output(), || report::suite_of_run("migrate-all", &report, context))?;
    if !target.verify || exit != Exit::Done {
        return Ok(exit);
    }
    let found = findings::find(db, layout)?.findings;
    let errors: Vec<_> = found.iter().filter(|finding| finding.kind.severity() == Severity::Error).collect();
    for finding in &errors {
        output.error(format_args!("{}: {}", finding.kind, finding.message));
    }
    if errors.is_empty() {
        return Ok(exit);
    }
    output.summary(format!("the shared tables are not isolated: {}", count(errors.len(), "finding")));
    output.hint(format_args!(
        "'{}' isolates tables, and '{}' shows what else fixes them",
        context.command("isolate"),
        context.command("repair-plan")
    ));
    Ok(Exit::Found)
}

/// The statements of pending migrations that open isolated tables in a way that isolation does not close again.
fn holes(db: &mut Database, tenancy: &Tenancy, layout: &Layout) -> Result<Vec<LintFinding>, Error> {
    if !rows::is_isolated(db, layout)? {
        return Ok(Vec::new());
    }
    let pending = rows::pending(db, tenancy, layout)?;
    let tables = SharedTables { registry: layout.registry.clone(), column: layout.column.clone() };
    let is_hole = |finding: &LintFinding| {
        finding.rule.leaves_hole()
            && finding.accepted.is_none()
            && finding.file == File::Up
            && pending.contains(&finding.migration)
    };
    Ok(lint_shared(tenancy, &tables).into_iter().filter(is_hole).collect())
}
