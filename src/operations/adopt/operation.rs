//! Adopts one schema, in one transaction.

use std::collections::HashSet;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::result::Error as DieselError;

use super::{Adoption, ExistingBaseline, Verdict, judge};
use crate::database::Database;
use crate::error::{Error, TenantError};
use crate::model::{SchemaName, State, TenantName};
use crate::operations::migrate::{Batch, SchemaTarget, tracker_guard};
use crate::operations::{NameStatus, look_up};
use crate::postgres::{CHANGED, ServerMessage, Session, path};
use crate::run::{Attempt, AttemptError, Commit, Job, Operation, Outcome, RetryState, RunContext, Verified};
use crate::sql::quote::{Identifier, Literal};
use crate::tenants::Tenancy;
use crate::tenants::ledger::{self, Columns};

/// A schema in the queue of a run.
pub(super) struct AdoptionJob {
    pub(super) name: TenantName,
    adoption: Adoption,
    /// The oid of the schema, and whether it has a ledger, when it was looked up.
    pub(super) schema: Option<(u32, bool)>,
    retry: RetryState,
    /// Whether it must be looked up again before the next attempt: another session may have changed it, or the commit may
    /// have succeeded.
    is_stale: bool,
}

impl AdoptionJob {
    pub(super) fn new(name: TenantName, adoption: Adoption, schema: Option<(u32, bool)>) -> Self {
        Self { name, adoption, schema, retry: RetryState::default(), is_stale: false }
    }
}

impl Job for AdoptionJob {
    fn schema(&self) -> &SchemaName {
        self.name.schema()
    }

    fn retry_state(&self) -> &RetryState {
        &self.retry
    }

    fn commit_lost(&mut self) {
        self.is_stale = true;
    }
}

/// Adds schemas to the tracker.
pub(super) struct AdoptSchemas {
    /// The versions to record in each ledger, if there is a baseline.
    pub(super) baseline: Option<Vec<String>>,
    pub(super) replace: ExistingBaseline,
    /// The versions of all tenant migrations, of which an earlier baseline recorded the first.
    pub(super) known: Vec<String>,
}

impl Operation for AdoptSchemas {
    type Job = AdoptionJob;
    type Done = TenantName;

    fn attempt(&self, context: &RunContext<'_>, session: &mut Session, job: &mut AdoptionJob) -> Attempt<TenantName> {
        let schema = job.name.schema().clone();
        job.retry.begin(&schema, &context.monitor);
        match self.try_once(context, session, job) {
            Ok(outcome) => Attempt::Finished(outcome),
            Err(error) => {
                job.is_stale = true;
                job.retry.after(error, context, session, &schema)
            }
        }
    }

    /// Reads the rows that the run wrote in the transactions of the tenants.
    fn verify(&self, context: &RunContext<'_>, db: &mut Database, done: &[&AdoptionJob]) -> Result<Verified, Error> {
        let names: Vec<&str> = done.iter().map(|job| job.name.as_str()).collect();
        let recorded = context.run.done_among(db.connection(), &names)?;
        let lost = done.iter().filter(|job| !recorded.contains(job.name.as_str()));
        let lost: HashSet<SchemaName> = lost.map(|job| job.name.schema().clone()).collect();
        Ok(Verified { lost, ..Verified::default() })
    }
}

impl AdoptSchemas {
    pub(super) fn versions(&self) -> &[String] {
        self.baseline.as_deref().unwrap_or_default()
    }

    fn try_once(
        &self,
        context: &RunContext<'_>,
        session: &mut Session,
        job: &mut AdoptionJob,
    ) -> Result<Outcome<TenantName>, AttemptError> {
        if job.is_stale
            && let Some(outcome) = self.look_up_again(context, session, job)?
        {
            return Ok(outcome);
        }
        self.adopt(context, session, job)
    }

    /// Looks a schema up again and decides what to do. Returns the outcome if nothing is left to do.
    fn look_up_again(
        &self,
        context: &RunContext<'_>,
        conn: &mut PgConnection,
        job: &mut AdoptionJob,
    ) -> Result<Option<Outcome<TenantName>>, AttemptError> {
        let name = job.name.as_str();
        if context.run.done_among(conn, &[name])?.contains(name) {
            return Ok(Some(Outcome::Done(job.name.clone())));
        }
        let NameStatus { tracked, schema } = look_up(conn, &[&job.name])?.remove(name).unwrap_or(NameStatus::UNUSED);
        job.is_stale = false;
        match judge(context.tenancy, &job.name, tracked, schema.as_ref(), self.baseline.as_deref())? {
            Verdict::Unchanged => Ok(Some(Outcome::Unchanged)),
            Verdict::Adopt(adoption) => {
                job.adoption = adoption;
                Ok(None)
            }
        }
    }

    /// Adopts a schema in one transaction.
    fn adopt(
        &self,
        context: &RunContext<'_>,
        session: &mut Session,
        job: &AdoptionJob,
    ) -> Result<Outcome<TenantName>, AttemptError> {
        let Err(error) = session.batch_execute(self.message(context, job).sql()) else {
            return Ok(Outcome::Done(job.name.clone()));
        };
        if session.batch_execute("ROLLBACK").is_err() {
            session.discard();
        }
        match refusal(&error) {
            Some(AdoptionRefusal::RecordsBaseline) => Ok(Outcome::Unchanged),
            Some(AdoptionRefusal::Tenant(error)) => Err(error.into()),
            None => Err(AttemptError::from(&error)),
        }
    }

    fn message(&self, context: &RunContext<'_>, job: &AdoptionJob) -> Batch {
        let RunContext { tenancy, run, commit, .. } = *context;
        let (schema, versions) = (job.name.schema(), self.versions());
        let target = SchemaTarget::tenant(tenancy, schema, Some(run));
        let mut batch = Batch::begin(target, commit);
        batch.guard(&guards(target, job));
        batch.track(schema, job.adoption.row, State::Active);
        if !versions.is_empty() {
            batch.push(&ledger::create(schema));
            batch.guard(&self.ledger_guards(job));
            batch.push(&ledger::insert(schema, versions.iter().map(String::as_str), Columns::Version));
        }
        if let Some(row) = run.record(schema, &job.retry.done_row(None, versions.last().map(String::as_str))) {
            batch.push(row.text());
        }
        batch.commit()
    }

    /// The message of an adoption without its changes: it fails as that would, and is rolled back.
    pub(super) fn preview(&self, tenancy: &Tenancy, job: &AdoptionJob) -> String {
        let target = SchemaTarget::tenant(tenancy, job.name.schema(), None);
        let mut batch = Batch::begin(target, Commit::Deferred);
        batch.guard(&guards(target, job));
        if !self.versions().is_empty() && job.schema.is_some_and(|(_, has_ledger)| has_ledger) {
            batch.guard(&self.ledger_guards(job));
        }
        format!("{} ROLLBACK", batch.sql())
    }

    /// Conditions that the ledger is valid and empty. The ledger of a tenant that was adopted with this baseline, and perhaps
    /// migrated since, raises an exception of its own. One with a baseline that is replaced is emptied.
    fn ledger_guards(&self, job: &AdoptionJob) -> [String; 2] {
        let schema = job.name.schema();
        let ledger = format!("{}.{}", Identifier::from(schema), ledger::TABLE);
        let array = |versions: &mut dyn Iterator<Item = &str>| {
            let literals: Vec<String> = versions.map(|version| Literal(version).to_string()).collect();
            format!("ARRAY[{}]::text[]", literals.join(", "))
        };
        let baseline = array(&mut self.versions().iter().map(String::as_str));
        let (number, name) = (self.versions().len(), Literal(schema.as_str()));
        let records_baseline =
            format!("(SELECT count(*) FROM {ledger} WHERE version::text = ANY ({baseline})) = {number}");
        let adopted = if job.adoption.active {
            let exactly =
                if self.replace == ExistingBaseline::Replace { format!(" AND n = {number}") } else { String::new() };
            format!("IF {records_baseline}{exactly} THEN RAISE EXCEPTION '{RECORDS_BASELINE}'; END IF;")
        } else {
            String::new()
        };
        let full = match self.replace {
            ExistingBaseline::Keep => format!("RAISE EXCEPTION '{RECORDS}%', n;"),
            ExistingBaseline::Replace => include_str!("replace_baseline.sql")
                .replace("$kept", KEPT)
                .replace("$versions", &array(&mut self.known.iter().map(String::as_str)))
                // Last, because a schema's name may contain any text.
                .replace("$ledger", &ledger),
        };
        let guard = format!(
            "DECLARE n bigint := (SELECT count(*) FROM {ledger}); last record; adopted text := {name}; \
             BEGIN IF n > 0 THEN {adopted} {full} END IF; END;"
        );
        [ledger::definition_guard(schema), guard]
    }
}

/// Conditions that no other session works on the schema, that it exists, and that its row in the tracker is as expected.
fn guards(target: SchemaTarget<'_>, job: &AdoptionJob) -> [String; 4] {
    let schema = job.name.schema();
    let still_there = format!(
        "IF pg_catalog.to_regnamespace({}::text) IS NULL THEN RAISE EXCEPTION '{CHANGED}'; END IF;",
        Literal(&Identifier::from(schema).to_string())
    );
    [
        path::CATALOG_IN_BLOCK.to_owned(),
        target.lock_for_transaction(),
        still_there,
        tracker_guard(schema, job.adoption.row),
    ]
}

/// Why the message of an adoption was refused.
pub(super) enum AdoptionRefusal {
    /// The ledger of an active tenant records the baseline.
    RecordsBaseline,
    Tenant(TenantError),
}

/// The refusal that an error of the server reports, if it reports one of an adoption.
pub(super) fn refusal(error: &DieselError) -> Option<AdoptionRefusal> {
    let message = ServerMessage::from(error).message;
    if message == RECORDS_BASELINE {
        return Some(AdoptionRefusal::RecordsBaseline);
    }
    if let Some(reason) = message.strip_prefix(KEPT) {
        return Some(AdoptionRefusal::Tenant(TenantError::BaselineKept { reason: reason.to_owned() }));
    }
    let applied = message.strip_prefix(RECORDS)?.parse().unwrap_or(0);
    Some(AdoptionRefusal::Tenant(TenantError::LedgerExists { applied }))
}

/// The beginning of the server's message for a ledger that is not empty.
const RECORDS: &str = "tenantry: migrations in the ledger: ";

/// The server's message for an active tenant whose ledger records the baseline.
const RECORDS_BASELINE: &str = "tenantry: the ledger records the baseline";

/// The beginning of the server's message for a baseline that is not replaced.
const KEPT: &str = "tenantry: the baseline is kept: ";
