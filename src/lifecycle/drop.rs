//! The end of tenants: a plan that tells what goes, and its execution, schema and tracker row together.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Oid, Text};

use crate::database::Database;
use crate::error::Error;
use crate::failure::{Failed, TenantError};
use crate::migrator::{Batch, CHANGED, Commit, Ended, Setback, Setbacks, Target, setback};
use crate::name::SchemaName;
use crate::postgres::{CHUNK, Condition, Session, impatient};
use crate::runs::{self, Counts, Done, Failure, Run};
use crate::sql::quote::{Identifier, Literal};
use crate::tenancy::Tenancy;
use crate::tracker::schema_tracker;
use crate::watch::{self, Watch};
use crate::workers::{self, Attempt, Listener, Observer, Stop, Work};

/// What [`drop_tenants`] does. Showing it is a dry run.
#[derive(Debug, Default)]
pub struct DropPlan {
    /// What goes, in the order asked for.
    pub drops: Vec<Dropping>,
    /// What cannot go, and why.
    pub failed: Vec<Failed>,
    /// What is not there, where that is no failure.
    pub missing: Vec<String>,
}

/// A tenant, or an untracked schema, that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropping {
    /// Its name.
    pub name: SchemaName,
    /// Whether the tracker has it.
    pub tracked: bool,
    /// Its schema; none where there is none, and only the tracker's row goes.
    pub schema: Option<Contents>,
}

/// What goes with a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    /// The schema's oid: a schema of the same name made later is another one.
    pub oid: u32,
    /// How many tables, the ledger not counted.
    pub tables: i64,
    /// How many rows they have, by the server's estimate at its last ANALYZE.
    pub estimated_rows: i64,
    /// What they take on disk with their indexes, in bytes.
    pub bytes: i64,
}

/// What [`drop_tenants`] did, each list sorted by name.
#[derive(Debug, Default)]
pub struct DropReport {
    /// What is gone.
    pub dropped: Vec<SchemaName>,
    /// What is still there, and why.
    pub failed: Vec<Failed>,
    /// What was not there.
    pub missing: Vec<String>,
    /// What was not begun, because the run was ended before.
    pub not_reached: Vec<SchemaName>,
    /// Why it was ended.
    pub ended: Option<Ended>,
}

/// What follows when there is nothing of the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfMissing {
    /// It fails.
    Fail,
    /// It is told.
    Accept,
}

/// Looks at what is to go. With `untracked`, schemas that the tracker does not have may go, too.
///
/// # Errors
/// What [`Database::require_writable`] says, and what the server answered. What is wrong with one name is in the plan.
pub fn plan_drop(
    db: &mut Database,
    tenancy: &Tenancy,
    names: &[SchemaName],
    untracked: bool,
    if_missing: IfMissing,
) -> Result<DropPlan, Error> {
    db.require_writable(tenancy)?;
    plan(db, names, untracked, if_missing)
}

/// The plan, whether or not public migrations are pending.
pub(super) fn plan(
    db: &mut Database,
    names: &[SchemaName],
    untracked: bool,
    if_missing: IfMissing,
) -> Result<DropPlan, Error> {
    let mut seen = HashSet::new();
    let names: Vec<&SchemaName> = names.iter().filter(|name| seen.insert(*name)).collect();
    let (tracked, schemas) = look(db.connection(), &names)?;
    let mut plan = DropPlan::default();
    for name in names {
        let is_tracked = tracked.contains(name.as_str());
        let schema = schemas.get(name.as_str());
        let error = match schema {
            _ if is_the_databases_own(name) => Some(TenantError::NotATenant),
            Some(schema) if schema.holds_extensions => Some(TenantError::HoldsExtensions { new: false }),
            Some(_) if !is_tracked && !untracked => Some(TenantError::Untracked),
            None if !is_tracked && if_missing == IfMissing::Accept => {
                plan.missing.push(name.as_str().to_owned());
                continue;
            }
            None if !is_tracked => Some(TenantError::Nothing),
            _ => None,
        };
        match error {
            Some(error) => plan.failed.push(Failed { tenant: name.as_str().to_owned(), error }),
            None => plan.drops.push(Dropping {
                name: name.clone(),
                tracked: is_tracked,
                schema: schema.map(|schema| Contents { oid: schema.oid, tables: 0, estimated_rows: 0, bytes: 0 }),
            }),
        }
    }
    weigh(db.connection(), &mut plan)?;
    Ok(plan)
}

/// Carries out a plan: each schema and its row in one transaction. A schema that is not the one that was looked at is
/// left alone.
///
/// # Errors
/// When the commits could not be made durable. What one tenant meets is in the report.
pub fn drop_tenants(
    db: &mut Database,
    tenancy: &Tenancy,
    plan: DropPlan,
    stop: &Stop,
    observer: &mut dyn Observer,
) -> Result<DropReport, Error> {
    let mut report = DropReport { failed: plan.failed, missing: plan.missing, ..DropReport::default() };
    report.failed.sort_by(|a, b| a.tenant.cmp(&b.tenant));
    if plan.drops.is_empty() {
        return Ok(report);
    }
    db.require_free_connection()?;
    let run = Run::begin(db, "drop")?;
    let watch = Watch::new(run);
    let commit = if plan.drops.len() == 1 { Commit::Durable } else { Commit::Deferred };
    observer.begin(plan.drops.len());
    let jobs: Vec<Drop> = plan.drops.into_iter().map(Drop::new).collect();
    let crew = Crew { tenancy, run, commit, watch: &watch, stop };
    let mut teller = Teller { run, report, observer };
    let rest = watch::over(db, &watch, tenancy, stop, |db| {
        workers::run(db, jobs, &crew, &mut teller, stop, tenancy.limits().reconnect_for)
    });
    let mut report = teller.report;
    if let Ok(rest) = &rest {
        report.not_reached = rest.not_reached.iter().map(|job| job.dropping.name.clone()).collect();
    }
    let rest = rest?;
    report.ended = match rest.lost {
        Some(error) if stop.is_requested() && error.is_outage() => Some(Ended::Interrupted),
        Some(error) => Some(Ended::Lost(error)),
        None if report.not_reached.is_empty() => None,
        None => Some(Ended::Interrupted),
    };
    report.dropped.sort();
    report.failed.sort_by(|a, b| a.tenant.cmp(&b.tenant));
    report.not_reached.sort();
    end(db, run, &report);
    Ok(report)
}

/// Records how a run ended.
fn end(db: &mut Database, run: Run, report: &DropReport) {
    let deferred = report.failed.iter().filter(|failed| failed.error.is_deferred()).count();
    let counts = Counts {
        done: report.dropped.len(),
        unchanged: report.missing.len(),
        failed: report.failed.len() - deferred,
        deferred,
        not_reached: report.not_reached.len(),
    };
    let outcome = match &report.ended {
        Some(Ended::Lost(_)) => runs::Outcome::Lost,
        Some(_) => runs::Outcome::Interrupted,
        None if report.failed.is_empty() => runs::Outcome::Done,
        None => runs::Outcome::Failed,
    };
    run.end(db, outcome, counts);
}

/// A schema in the queue of a run.
struct Drop {
    dropping: Dropping,
    setbacks: Setbacks,
    /// Whether the connection was lost while it was under way: it may be gone.
    in_doubt: bool,
}

impl Drop {
    fn new(dropping: Dropping) -> Self {
        Self { dropping, setbacks: Setbacks::default(), in_doubt: false }
    }
}

/// What the workers do.
struct Crew<'a> {
    tenancy: &'a Tenancy,
    run: Run,
    commit: Commit,
    watch: &'a Watch,
    stop: &'a Stop,
}

impl Work for Crew<'_> {
    type Job = Drop;
    type Outcome = Result<Duration, TenantError>;

    fn attempt(&self, session: &mut Session, job: &mut Drop) -> Attempt<Self::Outcome> {
        let began = job.setbacks.begin();
        match self.drop_one(session, &job.dropping, job.setbacks.attempts()) {
            Ok(()) => Attempt::Done(Ok(began.elapsed())),
            // The connection was lost, and the commit had come through.
            Err(Setback::Changed) if job.in_doubt && is_gone(session, &job.dropping) => {
                Attempt::Done(Ok(began.elapsed()))
            }
            Err(Setback::Changed) => Attempt::Done(Err(TenantError::ChangedSincePlan)),
            Err(setback) => {
                job.in_doubt |= matches!(setback, Setback::Lost(_));
                job.setbacks.next(session, setback, &job.dropping.name, self.tenancy, self.watch, self.stop).map(Err)
            }
        }
    }
}

/// Makes outcomes certain, and puts them into the report.
struct Teller<'a> {
    run: Run,
    report: DropReport,
    observer: &'a mut dyn Observer,
}

impl Listener<Drop, Result<Duration, TenantError>> for Teller<'_> {
    fn verify(
        &mut self,
        db: &mut Database,
        outcomes: &mut Vec<(Drop, Result<Duration, TenantError>)>,
    ) -> Result<Vec<Drop>, Error> {
        let names: Vec<&SchemaName> =
            outcomes.iter().filter(|(_, result)| result.is_ok()).map(|(job, _)| &job.dropping.name).collect();
        let (tracked, schemas) = look(db.connection(), &names)?;
        // As before: a server that went down has lost the commit.
        let is_there = |dropping: &Dropping| {
            let oid = schemas.get(dropping.name.as_str()).map(|schema| schema.oid);
            tracked.contains(dropping.name.as_str()) == dropping.tracked
                && oid == dropping.schema.map(|schema| schema.oid)
        };
        let mut again = Vec::new();
        for (job, result) in std::mem::take(outcomes) {
            match result.is_ok() && is_there(&job.dropping) {
                true => again.push(job),
                false => outcomes.push((job, result)),
            }
        }
        let failures: Vec<Failure<'_>> = outcomes
            .iter()
            .filter_map(|(job, result)| {
                let error = result.as_ref().err()?;
                Some(Failure {
                    tenant: job.dropping.name.as_str(),
                    deferred: error.is_deferred(),
                    from: None,
                    took: job.setbacks.took(),
                    attempts: job.setbacks.attempts(),
                    code: error.code(),
                    error: error.to_string(),
                })
            })
            .collect();
        self.run.record_failures(db.connection(), &failures)?;
        Ok(again)
    }

    fn tell(&mut self, job: Drop, result: Result<Duration, TenantError>) {
        let name = job.dropping.name;
        match result {
            Ok(took) => {
                self.observer.done(name.as_str(), took);
                self.report.dropped.push(name);
            }
            Err(error) => {
                self.observer.failed(name.as_str(), &error);
                self.report.failed.push(Failed { tenant: name.as_str().to_owned(), error });
            }
        }
    }
}

/// Whether a schema that was looked at is there no more, nor its row.
fn is_gone(session: &mut Session, dropping: &Dropping) -> bool {
    look(session, &[&dropping.name]).is_ok_and(|(tracked, schemas)| {
        let oid = schemas.get(dropping.name.as_str()).map(|schema| schema.oid);
        !tracked.contains(dropping.name.as_str()) && oid.is_none_or(|oid| Some(oid) != dropping.schema.map(|s| s.oid))
    })
}

/// Whether there is a schema of any of the names.
pub(crate) fn any_exists(db: &mut Database, names: &[SchemaName]) -> Result<bool, Error> {
    let rows: Vec<SchemaRow> = find(db.connection(), &names.iter().collect::<Vec<_>>())?;
    Ok(!rows.is_empty())
}

/// `public`, `information_schema` and PostgreSQL's own are never dropped, whatever the tracker says.
fn is_the_databases_own(name: &SchemaName) -> bool {
    let name = name.as_str().to_ascii_lowercase();
    name == "public" || name == "information_schema" || name.starts_with("pg_")
}

impl Crew<'_> {
    fn drop_one(&self, session: &mut Session, dropping: &Dropping, attempts: u32) -> Result<(), Setback> {
        let name = &dropping.name;
        let target = Target::tenant(self.tenancy, name, Some(self.run));
        let literal = Literal(name.as_str());
        let mut batch = Batch::begin(target, self.commit);
        batch.guard(&unchanged(target, dropping));
        if dropping.schema.is_some() {
            batch.push(&format!("DROP SCHEMA {} CASCADE;", Identifier::from(name)));
        }
        batch.push(&format!("DELETE FROM public.schema_tracker WHERE name = {literal};"));
        batch.push(&self.run.record(name, &Done { from: None, to: None, before: Duration::ZERO, attempts }));
        session.batch_execute(batch.commit().sql()).map_err(|error| {
            if session.batch_execute("ROLLBACK").is_err() {
                session.spend();
            }
            match setback(&error) {
                ControlFlow::Break(setback) => setback,
                ControlFlow::Continue(server) => Setback::Failed(TenantError::Server(server)),
            }
        })
    }
}

/// Conditions that nobody works on a schema, and that it is as it was looked at.
fn unchanged(target: Target<'_>, dropping: &Dropping) -> Vec<String> {
    let literal = Literal(dropping.name.as_str());
    let has_row = format!("EXISTS (SELECT FROM public.schema_tracker WHERE name = {literal})");
    let not = if dropping.tracked { "NOT " } else { "" };
    let oid = dropping.schema.map_or("NULL".to_owned(), |contents| contents.oid.to_string());
    let mut conditions = vec![
        target.lock_for_transaction(),
        format!("IF {not}{has_row} THEN RAISE EXCEPTION '{CHANGED}'; END IF;"),
        format!(
            "IF (SELECT oid FROM pg_namespace WHERE nspname = {literal}) IS DISTINCT FROM {oid}::oid \
             THEN RAISE EXCEPTION '{CHANGED}'; END IF;"
        ),
    ];
    if dropping.schema.is_some() {
        let dependents = include_str!("dependents.sql").replace("$1", &format!("ARRAY[{oid}]::oid[]"));
        conditions.push(format!("IF EXISTS ({dependents}) THEN RAISE EXCEPTION '{CHANGED}'; END IF;"));
        conditions.push(format!(
            "IF EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extnamespace = {oid}::oid) \
             THEN RAISE EXCEPTION '{CHANGED}'; END IF;"
        ));
    }
    conditions
}

#[derive(QueryableByName)]
struct SchemaRow {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Oid)]
    oid: u32,
    #[diesel(sql_type = diesel::sql_types::Bool)]
    holds_extensions: bool,
}

fn look(
    conn: &mut PgConnection,
    names: &[&SchemaName],
) -> Result<(HashSet<String>, HashMap<String, SchemaRow>), Error> {
    let mut tracked = HashSet::new();
    let mut schemas = HashMap::new();
    for chunk in names.chunks(CHUNK) {
        let names: Vec<&str> = chunk.iter().map(|name| name.as_str()).collect();
        let rows: Vec<String> = schema_tracker::table
            .select(schema_tracker::name)
            .filter(schema_tracker::name.eq_any(&names))
            .load(conn)
            .map_err(Error::doing("read the tracker"))?;
        tracked.extend(rows);
        schemas.extend(find(conn, chunk)?.into_iter().map(|row| (row.name.clone(), row)));
    }
    Ok((tracked, schemas))
}

fn find(conn: &mut PgConnection, names: &[&SchemaName]) -> Result<Vec<SchemaRow>, Error> {
    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    sql_query(
        "SELECT nspname::text AS name, oid, \
         EXISTS (SELECT FROM pg_extension WHERE extnamespace = pg_namespace.oid) AS holds_extensions \
         FROM pg_namespace WHERE nspname = ANY($1)",
    )
    .bind::<Array<Text>, _>(names)
    .load(conn)
    .map_err(Error::doing("look for the schemas"))
}

#[derive(QueryableByName)]
struct Size {
    #[diesel(sql_type = Oid)]
    oid: u32,
    #[diesel(sql_type = BigInt)]
    tables: i64,
    #[diesel(sql_type = BigInt)]
    estimated_rows: i64,
    #[diesel(sql_type = BigInt)]
    bytes: i64,
}

/// How much is in schemas. Where somebody has a table locked, its size is what the server took it to be last.
fn measure(conn: &mut PgConnection, schemas: &[u32]) -> QueryResult<Vec<Size>> {
    const EXACT: &str = include_str!("sizes.sql");
    let load = |conn: &mut PgConnection, sql: &str| sql_query(sql).bind::<Array<Oid>, _>(schemas).load(conn);
    match impatient(conn, |conn| load(conn, EXACT)) {
        Err(error) if Condition::of(&error) == Some(Condition::LockTimeout) => {
            const ESTIMATE: &str = "c.relpages * pg_catalog.current_setting('block_size')::bigint";
            load(conn, &EXACT.replace("pg_total_relation_size(c.oid)", ESTIMATE))
        }
        sizes => sizes,
    }
}

/// Adds to a plan how much goes, and takes out of it what others depend on.
fn weigh(conn: &mut PgConnection, plan: &mut DropPlan) -> Result<(), Error> {
    #[derive(QueryableByName)]
    struct Dependent {
        #[diesel(sql_type = Oid)]
        schema_oid: u32,
        #[diesel(sql_type = Text)]
        description: String,
    }
    let oids: Vec<u32> = plan.drops.iter().filter_map(|dropping| dropping.schema.map(|schema| schema.oid)).collect();
    let mut sizes: HashMap<u32, Contents> = HashMap::new();
    let mut dependents: HashMap<u32, Vec<String>> = HashMap::new();
    for chunk in oids.chunks(CHUNK) {
        let rows: Vec<Size> = measure(conn, chunk).map_err(Error::doing("measure the schemas"))?;
        sizes.extend(
            rows.into_iter().map(|Size { oid, tables, estimated_rows, bytes }| {
                (oid, Contents { oid, tables, estimated_rows, bytes })
            }),
        );
        let rows: Vec<Dependent> = sql_query(include_str!("dependents.sql"))
            .bind::<Array<Oid>, _>(chunk)
            .load(conn)
            .map_err(Error::doing("look for what depends on the schemas"))?;
        for row in rows {
            dependents.entry(row.schema_oid).or_default().push(row.description);
        }
    }
    for mut dropping in std::mem::take(&mut plan.drops) {
        if let Some(schema) = &mut dropping.schema {
            if let Some(objects) = dependents.remove(&schema.oid) {
                let tenant = dropping.name.as_str().to_owned();
                plan.failed.push(Failed { tenant, error: TenantError::Dependents { objects } });
                continue;
            }
            *schema = sizes.get(&schema.oid).copied().unwrap_or(*schema);
        }
        plan.drops.push(dropping);
    }
    Ok(())
}
