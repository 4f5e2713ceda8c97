//! Creates tenants: schema, ledger, migrations and tracker row in one transaction. With many migrations, a snapshot of what they
//! produce takes their place. If a migration is not transactional and there is no snapshot, the tenant has the state
//! `creating` until all migrations have run.

use std::collections::HashMap;

use diesel::pg::PgConnection;

use super::{NameStatus, distinct, holds_extensions, look_up};
use crate::database::{Database, Stop};
use crate::error::{Error, FailedTenant, TenantError};
use crate::model::{State, TenantName};
use crate::operations::migrate::{
    self, CreationMethod, Done, MigratePlan, MigrationJob, Report, Rollout, RunJobs, StopReason, TrackerRow, run_jobs,
    settle,
};
use crate::run::{AttemptError, Observer};
use crate::tenants::{Fleet, Tenancy};

/// How [`plan_create`] treats a tenant that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfExists {
    /// Report it as failed.
    Fail,
    /// Leave it unchanged, if its schema exists.
    Leave,
}

/// The plan for [`create`].
pub struct CreatePlan {
    jobs: Vec<MigrationJob>,
    report: Report,
    if_exists: IfExists,
    method: CreationMethod,
}

/// Why a tenant was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Nothing was attempted.
    #[error(transparent)]
    Database(#[from] Error),
    /// The tenant could not be created.
    #[error("tenant {tenant} was not created: {error}")]
    Tenant {
        /// The tenant's name.
        tenant: TenantName,
        /// The reason.
        error: Box<TenantError>,
    },
}

impl CreatePlan {
    /// The names of the tenants to create or to complete.
    pub fn names(&self) -> impl Iterator<Item = &TenantName> {
        self.jobs.iter().map(MigrationJob::name)
    }

    /// Sets how the tenants are created.
    #[must_use]
    pub fn with_method(self, method: CreationMethod) -> Self {
        Self { method, ..self }
    }
}

/// Plans what to do for each name. [`Tenancy::with_name_policy`] decides which names new tenants may have.
///
/// # Errors
/// [`Error::TrackerMissing`], [`Error::TrackerBehind`], [`Error::Standby`], or errors of the server. Problems of single
/// names are in the plan.
pub fn plan_create(
    db: &mut Database,
    tenancy: &Tenancy,
    names: &[TenantName],
    if_exists: IfExists,
) -> Result<CreatePlan, Error> {
    db.require_writable(tenancy)?;
    let names = distinct(names);
    let found = look_up(db.connection(), &names)?;

    let mut plan =
        CreatePlan { jobs: Vec::new(), report: Report::default(), if_exists, method: CreationMethod::default() };
    let mut to_complete = Vec::new();
    let mut earlier: HashMap<String, &TenantName> = HashMap::new();
    for name in names {
        let NameStatus { tracked, schema } = &found[name.as_str()];
        let schema = schema.as_ref();
        // Of names that differ only by case, the first one counts.
        let before = match earlier.get(&name.folded()) {
            Some(first) => Some((first.as_str().to_owned(), State::Creating)),
            None => tracked.clone(),
        };
        earlier.entry(name.folded()).or_insert(name);
        let error = match before {
            Some((other, _)) if other != name.as_str() => TenantError::CaseClash { tracked: other },
            Some((_, State::Dropping)) => TenantError::Dropping,
            Some((_, State::Moving | State::Arriving)) => TenantError::Moving,
            Some((_, state @ State::Archived)) => TenantError::AlreadyTracked { state },
            Some((_, state @ State::Active)) if schema.is_none() => TenantError::SchemaMissing { state: Some(state) },
            Some((_, State::Active)) if if_exists == IfExists::Leave => {
                plan.report.unchanged.push(name.clone());
                continue;
            }
            Some((_, state @ State::Active)) => TenantError::AlreadyTracked { state },
            Some(_) if schema.is_none() && db.server().is_own_role(name.as_str()) => TenantError::NameOfOwnRole,
            Some(_) if schema.is_none() => {
                plan.jobs.push(MigrationJob::create(name.clone(), TrackerRow::Known));
                continue;
            }
            Some(_) => {
                to_complete.push(name.clone());
                continue;
            }
            None if holds_extensions(tenancy, name, schema) => TenantError::ContainsExtensions { new: true },
            None if schema.is_some() => TenantError::SchemaExists,
            None if db.server().is_own_role(name.as_str()) => TenantError::NameOfOwnRole,
            None => match tenancy.name_policy().check(name) {
                Err(error) => TenantError::NameRefused(error),
                Ok(()) => {
                    plan.jobs.push(MigrationJob::create(name.clone(), TrackerRow::Missing));
                    continue;
                }
            },
        };
        plan.report.failed.push(FailedTenant::new(name, error));
    }
    complete(db, tenancy, &to_complete, &mut plan)?;
    Ok(plan)
}

/// Executes a plan.
///
/// # Errors
/// If commits cannot be made durable. Failures of single tenants are in the report.
pub fn create(
    db: &mut Database,
    tenancy: &Tenancy,
    plan: CreatePlan,
    stop: &Stop,
    observer: &mut dyn Observer,
) -> Result<Report, Error> {
    let CreatePlan { jobs, report, if_exists, method } = plan;
    let reread =
        move |conn: &mut PgConnection, tenancy: &Tenancy, name: &TenantName| reread(conn, tenancy, name, if_exists);
    let rollout = &Rollout::default();
    run_jobs(db, tenancy, RunJobs { command: "create", jobs, method, reread: &reread, rollout, stop, report }, observer)
}

impl CreateError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Database(error) => error.code(),
            Self::Tenant { error, .. } => error.code(),
        }
    }
}

/// Creates one tenant, for example at sign-up.
///
/// # Errors
/// The errors of [`plan_create`] and [`create`], and the tenant's failure.
pub fn create_tenant(db: &mut Database, tenancy: &Tenancy, name: &TenantName) -> Result<Done, CreateError> {
    let changed = || CreateError::Tenant { tenant: name.clone(), error: Box::new(TenantError::ConcurrentlyChanged) };
    create_one(db, tenancy, name, IfExists::Fail)?.ok_or_else(changed)
}

/// Creates one tenant. Returns `None` if it exists and is left unchanged.
pub(crate) fn create_one(
    db: &mut Database,
    tenancy: &Tenancy,
    name: &TenantName,
    if_exists: IfExists,
) -> Result<Option<Done>, CreateError> {
    let plan = plan_create(db, tenancy, std::slice::from_ref(name), if_exists)?;
    let report = create(db, tenancy, plan, &Stop::default(), &mut ())?;
    if let Some(done) = report.done.into_iter().next() {
        return Ok(Some(done));
    }
    let error = match (report.failed.into_iter().next(), report.ended) {
        (Some(failed), _) => failed.error,
        (None, Some(StopReason::Lost(error))) => return Err(error.into()),
        (None, _) if report.unchanged.contains(name) => return Ok(None),
        (None, _) => TenantError::ConcurrentlyChanged,
    };
    Err(CreateError::Tenant { tenant: name.clone(), error: Box::new(error) })
}

/// Adds tenants to the plan whose creation is incomplete, or which were registered by hand and have a schema.
fn complete(db: &mut Database, tenancy: &Tenancy, names: &[TenantName], plan: &mut CreatePlan) -> Result<(), Error> {
    if names.is_empty() {
        return Ok(());
    }
    let set = tenancy.tenant_migrations();
    let part = MigratePlan::of(Fleet::read_some(db.connection(), set, names)?, set, |_| true);
    let settled = settle(db.connection(), &part.settle)?;
    for name in part.up_to_date {
        // Another run has completed the tenant since the tracker was read, unless this run has settled it.
        match plan.if_exists {
            IfExists::Fail if !settled.iter().any(|settled| settled == name.as_str()) => {
                plan.report.failed.push(FailedTenant::new(&name, TenantError::AlreadyTracked { state: State::Active }));
            }
            IfExists::Fail | IfExists::Leave => plan.report.unchanged.push(name),
        }
    }
    plan.report.failed.extend(part.blocked);
    plan.jobs.extend(part.migrate.into_iter().map(|planned| MigrationJob::migrate(planned.tenant)));
    Ok(())
}

/// Plans again for a tenant that another run is creating or has changed; `None` if nothing is left to do.
fn reread(
    conn: &mut PgConnection,
    tenancy: &Tenancy,
    name: &TenantName,
    if_exists: IfExists,
) -> Result<Option<MigrationJob>, AttemptError> {
    let NameStatus { tracked, schema } = look_up(conn, &[name])?.remove(name.as_str()).unwrap_or(NameStatus::UNUSED);
    let exists = || match if_exists {
        IfExists::Leave => Ok(None),
        IfExists::Fail => Err(TenantError::AlreadyTracked { state: State::Active }.into()),
    };
    match (tracked, schema) {
        (Some((other, _)), _) if other != name.as_str() => Err(TenantError::CaseClash { tracked: other }.into()),
        (Some((_, State::Active)), Some(_)) => exists(),
        (Some((_, state @ State::Archived)), _) => Err(TenantError::AlreadyTracked { state }.into()),
        (Some((_, State::Moving | State::Arriving)), _) => Err(TenantError::Moving.into()),
        (Some((_, State::Registered | State::Creating)), None) => {
            Ok(Some(MigrationJob::create(name.clone(), TrackerRow::Known)))
        }
        (Some(_), _) => match migrate::reread(conn, tenancy, name)? {
            Some(job) => Ok(Some(job)),
            // Another run has completed it since it was looked up.
            None => exists(),
        },
        (None, Some(_)) => Err(TenantError::SchemaExists.into()),
        (None, None) => Ok(Some(MigrationJob::create(name.clone(), TrackerRow::Missing))),
    }
}
