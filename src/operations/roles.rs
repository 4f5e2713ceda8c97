//! Gives roles to tenants, corrects them, and takes them away.

use std::collections::HashMap;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Bool;

use super::serial::{ChangesReport, SerialRun, TenantChange};
use super::{NameStatus, distinct, look_up};
use crate::database::{Database, Stop};
use crate::error::{Error, FailedTenant, RoleError, TenantError};
use crate::model::{State, TenantName};
use crate::operations::migrate::StopReason;
use crate::roles::{
    self, Removal, RoleChange, RoleLimit, RoleLimits, RoleOptions, RolePassword, RolePlan, RoleRemoval,
};
use crate::sql::quote::{Identifier, Literal};
use crate::tenants::{Tenancy, not_tracked};

/// The plan for [`give_roles`].
#[derive(Debug, Default)]
pub struct RolesPlan {
    /// The name of the group.
    pub group: String,
    /// The statements that create the group.
    pub group_statements: Vec<String>,
    /// What is to be changed, tenant by tenant. A tenant whose role is as it should be has no statements.
    pub roles: Vec<RolePlan>,
    /// The tenants whose roles cannot be changed, and why.
    pub failed: Vec<FailedTenant>,
}

/// Which passwords [`give_roles`] sets.
#[derive(Debug, Clone)]
pub enum PasswordChoice {
    /// Generated ones, for new roles only.
    ForNewRoles,
    /// Generated ones, for all of them.
    ForAllRoles,
    /// This one, for all of them.
    Given(RolePassword),
}

/// The plan for [`take_roles`].
#[derive(Debug, Default)]
pub struct RoleRemovalPlan {
    /// The tenants whose roles are dropped.
    pub roles: Vec<(TenantName, String)>,
    /// The tenants whose roles cannot be dropped, and why.
    pub failed: Vec<FailedTenant>,
    removals: Vec<RoleRemoval>,
}

/// The report of [`give_roles`] and [`take_roles`].
#[derive(Debug, Default)]
pub struct RolesReport {
    /// The id of the run in `public.schema_run`; `None` if there was nothing to do.
    pub run: Option<i64>,
    /// The tenants whose roles were changed, with the names of the roles and the generated passwords.
    pub done: Vec<(TenantName, String, Option<RolePassword>)>,
    /// The tenants whose roles are as they should be.
    pub unchanged: Vec<TenantName>,
    /// The tenants that failed, and why. Their roles are unchanged.
    pub failed: Vec<FailedTenant>,
    /// The tenants that an interrupted run did not reach.
    pub not_reached: Vec<TenantName>,
    /// Why the run stopped early.
    pub ended: Option<StopReason>,
}

impl RolesPlan {
    /// Whether nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        self.group_statements.is_empty() && self.roles.iter().all(|role| role.changes.is_empty())
    }

    /// The number of statements.
    pub fn statements(&self) -> usize {
        self.group_statements.len() + self.roles.iter().map(|role| role.changes.len()).sum::<usize>()
    }
}

impl RoleRemovalPlan {
    /// The statements for each tenant, for a person.
    pub fn statements(&self) -> impl Iterator<Item = [String; 2]> {
        self.removals.iter().map(RoleRemoval::statements)
    }
}

/// Plans roles for tenants that are active and have a migration ledger. Changes nothing.
///
/// # Errors
/// The errors of [`Database::require_tracker`], [`RoleError::GroupExists`], [`RoleError::TempFileLimit`], or the server's.
/// Problems of one tenant are in the plan.
pub fn plan_roles(
    db: &mut Database,
    tenancy: &Tenancy,
    names: &[TenantName],
    options: &RoleOptions,
) -> Result<RolesPlan, Error> {
    db.require_tracker(tenancy)?;
    let (tenants, failed) = active(db, names)?;
    if tenants.is_empty() {
        return Ok(RolesPlan { failed, ..RolesPlan::default() });
    }
    let (group, plans) = roles::plan_roles(db, tenancy, &tenants, options)?;
    let mut plan = RolesPlan { group: group.group, group_statements: group.statements, roles: Vec::new(), failed };
    for role in plans {
        match role {
            Ok(role) => plan.roles.push(role),
            Err((tenant, error)) => plan.failed.push(FailedTenant::new(&tenant, error.into())),
        }
    }
    require_temp_file_limit(db, &plan, options)?;
    Ok(plan)
}

/// The tenants of the names that are active, and the failures of the others.
fn active(db: &mut Database, names: &[TenantName]) -> Result<(Vec<TenantName>, Vec<FailedTenant>), Error> {
    let names = distinct(names);
    let mut found = look_up(db.connection(), &names)?;
    let (mut tenants, mut failed) = (Vec::new(), Vec::new());
    for name in names {
        let NameStatus { tracked, schema } = found.remove(name.as_str()).unwrap_or(NameStatus::UNUSED);
        let error = match (tracked, schema) {
            (Some((other, _)), _) if other != name.as_str() => not_tracked(db.connection(), name)?,
            (Some((_, State::Active)), Some(schema)) if schema.has_ledger => {
                tenants.push(name.clone());
                continue;
            }
            (Some((_, State::Dropping)), _) => TenantError::Dropping,
            (Some((_, State::Moving | State::Arriving)), _) => TenantError::Moving,
            (Some((_, state)), None) => TenantError::SchemaMissing { state: Some(state) },
            (Some(_), Some(_)) => RoleError::NotActive.into(),
            (None, _) => not_tracked(db.connection(), name)?,
        };
        failed.push(FailedTenant::new(name, error));
    }
    Ok((tenants, failed))
}

/// Checks that this role may set `temp_file_limit`, if the plan does.
fn require_temp_file_limit(db: &mut Database, plan: &RolesPlan, options: &RoleOptions) -> Result<(), Error> {
    let default = RoleLimits::default().temp_files;
    let is_set = |change: &RoleChange| change.sql.contains(" SET temp_file_limit TO ");
    if options.temp_files.unwrap_or(default) == RoleLimit::Unlimited
        || !plan.roles.iter().any(|role| role.changes.iter().any(is_set))
    {
        return Ok(());
    }
    #[derive(QueryableByName)]
    struct MayRow {
        #[diesel(sql_type = Bool)]
        may: bool,
    }
    let parameter = if db.server().version >= 150_000 {
        "OR pg_catalog.has_parameter_privilege('temp_file_limit', 'SET')"
    } else {
        ""
    };
    let row: MayRow = sql_query(format!(
        "SELECT (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = CURRENT_USER) {parameter} AS may"
    ))
    .get_result(db.connection())
    .map_err(Error::doing("read the privileges of this role"))?;
    if row.may { Ok(()) } else { Err(RoleError::TempFileLimit { role: db.server().role.clone() }.into()) }
}

/// Executes a plan: the group first, then each tenant in one transaction. A tenant that another session works on, or whose
/// role has been created or dropped since it was planned, fails. If it is interrupted, plan and run it again.
///
/// # Errors
/// The errors of [`Database::require_writable`], or the server's error if the group cannot be created or the connection is
/// lost.
pub fn give_roles(
    db: &mut Database,
    tenancy: &Tenancy,
    plan: RolesPlan,
    passwords: &PasswordChoice,
    stop: &Stop,
) -> Result<RolesReport, Error> {
    db.require_writable(tenancy)?;
    let mut work = Vec::new();
    let mut unchanged = Vec::new();
    for role in plan.roles {
        let password = match passwords {
            PasswordChoice::ForNewRoles if !role.is_new => None,
            PasswordChoice::ForNewRoles | PasswordChoice::ForAllRoles => Some(RolePassword::generate()),
            PasswordChoice::Given(password) => Some(password.clone()),
        };
        if role.changes.is_empty() && password.is_none() {
            unchanged.push(role.tenant);
            continue;
        }
        let mut statements: Vec<String> = role.changes.iter().map(|change| change.sql.clone()).collect();
        if let Some(password) = &password {
            // After the role was created, which is the first statement.
            let at = usize::from(role.is_new);
            let (name, verifier) = (Identifier::of_object(&role.role), password.verifier());
            statements.insert(at, format!("ALTER ROLE {name} PASSWORD {}", Literal(&verifier)));
        }
        let password = password.filter(|_| !matches!(passwords, PasswordChoice::Given(_)));
        let guard = role.guard();
        work.push(RoleWork { tenant: role.tenant, role: role.role, statements, guard, password });
    }
    if !work.is_empty() && !plan.group_statements.is_empty() {
        let sql = format!("BEGIN; {}; COMMIT", plan.group_statements.join("; "));
        if let Err(error) = db.connection().batch_execute(&sql) {
            // A lost connection has rolled back by itself.
            let _ = db.connection().batch_execute("ROLLBACK");
            return Err(Error::doing("create the group of the roles of tenants")(error));
        }
    }
    let report = RolesReport { failed: plan.failed, unchanged, ..RolesReport::default() };
    execute(db, tenancy, work, report, stop)
}

/// Plans to drop the roles of tenants, which are kept. Changes nothing.
///
/// # Errors
/// The errors of [`Database::require_tracker`]. Problems of one tenant are in the plan.
pub fn plan_role_removal(db: &mut Database, tenancy: &Tenancy, names: &[TenantName]) -> Result<RoleRemovalPlan, Error> {
    db.require_tracker(tenancy)?;
    let names = distinct(names);
    let texts: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    let mut found: HashMap<String, Removal> = roles::removals(db, &texts)?;
    let mut plan = RoleRemovalPlan::default();
    for name in names {
        let error = match found.remove(name.as_str()) {
            Some(Removal::Drop(removal)) => {
                plan.roles.push((name.clone(), removal.role.clone()));
                plan.removals.push(removal);
                continue;
            }
            Some(Removal::Keep(role)) => RoleError::Exists { role },
            Some(Removal::Refuse(error)) => error,
            None => RoleError::NoRole,
        };
        plan.failed.push(FailedTenant::new(name, error.into()));
    }
    Ok(plan)
}

/// Drops the roles of tenants with their privileges, each in one transaction.
///
/// # Errors
/// The errors of [`Database::require_writable`], or the server's error if the connection is lost.
pub fn take_roles(
    db: &mut Database,
    tenancy: &Tenancy,
    plan: RoleRemovalPlan,
    stop: &Stop,
) -> Result<RolesReport, Error> {
    db.require_writable(tenancy)?;
    let work = plan.roles.into_iter().zip(plan.removals).map(|((tenant, role), removal)| {
        let forget = format!(
            "UPDATE public.schema_tracker SET role_name = NULL, role_group = NULL, role_statement_timeout = NULL, \
             role_connection_limit = NULL, role_temp_file_limit = NULL WHERE name = {}",
            Literal(tenant.as_str())
        );
        RoleWork { tenant, role, statements: vec![removal.sql(), forget], guard: String::new(), password: None }
    });
    let work = work.collect();
    execute(db, tenancy, work, RolesReport { failed: plan.failed, ..RolesReport::default() }, stop)
}

/// The transaction of a tenant.
struct RoleWork {
    tenant: TenantName,
    role: String,
    statements: Vec<String>,
    guard: String,
    password: Option<RolePassword>,
}

fn execute(
    db: &mut Database,
    tenancy: &Tenancy,
    work: Vec<RoleWork>,
    report: RolesReport,
    stop: &Stop,
) -> Result<RolesReport, Error> {
    if work.is_empty() {
        return Ok(report);
    }
    let mut roles = HashMap::new();
    let mut changes = Vec::new();
    for RoleWork { tenant, role, statements, guard, password } in work {
        roles.insert(tenant.clone(), (role, password));
        changes.push(TenantChange { tenant, guard, statements });
    }
    let run = SerialRun {
        tenancy,
        command: "isolate",
        doing: "change the role of the tenant",
        failed: report.failed,
        unchanged: report.unchanged.len(),
    };
    let ChangesReport { run, done, failed, not_reached, ended } = run.execute(db, changes, stop)?;
    let with_role = |tenant: TenantName| {
        let (role, password) = roles.remove(&tenant)?;
        Some((tenant, role, password))
    };
    let done = done.into_iter().filter_map(with_role).collect();
    Ok(RolesReport { run: Some(run), done, unchanged: report.unchanged, failed, not_reached, ended })
}
