//! Existing schemas taken into the tracker, as they are.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Duration;

use diesel::connection::SimpleConnection;

use super::{Found, distinct, holds_extensions, look_up};
use crate::database::Database;
use crate::error::Error;
use crate::failure::{Failed, TenantError};
use crate::integrity;
use crate::ledger;
use crate::migration::Version;
use crate::migrator::{Batch, CHANGED, Commit, Setback, Target, TrackerRow, set_state, setback, tracker_guard};
use crate::name::TenantName;
use crate::postgres::ServerMessage;
use crate::runs::{self, Counts, Done, Failure, Run};
use crate::sql::quote::{Identifier, Literal};
use crate::tenancy::Tenancy;
use crate::tracker::State;

/// What [`adopt`] did.
#[derive(Debug, Default)]
pub struct Adopted {
    /// The schemas that are tenants now.
    pub adopted: Vec<TenantName>,
    /// Those that are not, and why.
    pub failed: Vec<Failed>,
    /// How many migrations the ledger of each adopted schema was given by the baseline.
    pub recorded: usize,
}

/// Takes schemas into the tracker; nothing in them is touched but, with a baseline, the ledger.
///
/// With a `baseline`, the migrations up to it are recorded as applied, without running them. A schema with objects but no
/// ledger needs one. A tenant that is tracked already is accepted where something is amiss with it: it was registered by
/// hand, or its ledger is gone.
///
/// # Errors
/// [`Error::UnknownVersion`] when no migration has the baseline; what [`Database::require_writable`] says; what the
/// server answered. What is wrong with one schema is in the report.
pub fn adopt(
    db: &mut Database,
    tenancy: &Tenancy,
    names: &[TenantName],
    baseline: Option<&Version>,
) -> Result<Adopted, Error> {
    db.require_writable(tenancy)?;
    integrity::record(db, tenancy)?;
    let set = tenancy.tenant_migrations();
    let versions: Vec<&str> = match baseline {
        None => Vec::new(),
        Some(baseline) => {
            let last =
                set.position(baseline.as_str()).ok_or_else(|| Error::UnknownVersion { version: baseline.clone() })?;
            set.iter().take(last + 1).map(|migration| migration.version().as_str()).collect()
        }
    };
    let names = distinct(names);
    let found = look_up(db.connection(), &names)?;
    let mut adopted: HashMap<String, &TenantName> = HashMap::new();

    let mut report = Adopted::default();
    let run = Run::begin(db, "adopt")?;
    for name in names {
        let Found { tracked, schema } = &found[name.as_str()];
        let before = match adopted.get(&name.folded()) {
            Some(first) => Some((first.as_str().to_owned(), State::Active)),
            None => tracked.clone(),
        };
        let result = match (before, *schema) {
            (Some((other, _)), _) if other != name.as_str() => Err(TenantError::CaseClash { tracked: other }),
            (Some((_, State::Dropping)), _) => Err(TenantError::Dropping),
            (state, None) => Err(TenantError::SchemaMissing { state: state.map(|(_, state)| state) }),
            (_, schema) if holds_extensions(tenancy, name, schema) => Err(TenantError::HoldsExtensions { new: false }),
            (_, Some(schema)) if !schema.readable => Err(TenantError::Unreadable),
            (_, Some(schema)) if !schema.has_ledger && !schema.empty && baseline.is_none() => {
                Err(TenantError::LedgerMissing)
            }
            (Some((_, State::Active)), Some(schema)) if schema.has_ledger && baseline.is_none() => {
                Err(TenantError::AlreadyTracked { state: State::Active })
            }
            (state, Some(_)) => {
                let row = state.map_or(TrackerRow::Missing, |_| TrackerRow::Known);
                take(db, Target::tenant(tenancy, name.schema(), Some(run)), run, row, &versions)
            }
        };
        match result {
            Ok(()) => {
                adopted.insert(name.folded(), name);
                report.adopted.push(name.clone());
                report.recorded = versions.len();
            }
            Err(error) => report.failed.push(Failed::new(name, error)),
        }
    }
    end(db, run, &report)?;
    Ok(report)
}

/// Records what failed, and how the run ended.
fn end(db: &mut Database, run: Run, report: &Adopted) -> Result<(), Error> {
    let failures: Vec<Failure<'_>> = report
        .failed
        .iter()
        .map(|failed| Failure {
            tenant: &failed.tenant,
            from: None,
            took: Duration::ZERO,
            attempts: 1,
            error: &failed.error,
        })
        .collect();
    run.record_failures(db.connection(), &failures)?;
    let outcome = runs::Outcome::of(None, failures.is_empty());
    let counts = Counts { done: report.adopted.len(), failed: failures.len(), ..Counts::default() };
    run.end(db, outcome, counts);
    Ok(())
}

/// One schema, in one transaction.
fn take(
    db: &mut Database,
    target: Target<'_>,
    run: Run,
    row: TrackerRow,
    versions: &[&str],
) -> Result<(), TenantError> {
    let schema = target.schema;
    let still_there = format!(
        "IF to_regnamespace({}) IS NULL THEN RAISE EXCEPTION '{CHANGED}'; END IF;",
        Literal(&Identifier::from(schema).to_string())
    );
    let mut batch = Batch::begin(target, Commit::Durable);
    batch.guard(&[target.lock_for_transaction(), still_there, tracker_guard(schema, row)]);
    batch.push(&match row {
        TrackerRow::Missing => {
            format!("INSERT INTO public.schema_tracker (name, state) VALUES ({}, 'active');", Literal(schema.as_str()))
        }
        TrackerRow::Known => set_state(schema, State::Active),
    });
    if !versions.is_empty() {
        batch.push(&ledger::create(schema));
        batch.guard(&[format!(
            "DECLARE n bigint := (SELECT count(*) FROM {}.{}); BEGIN IF n > 0 THEN RAISE EXCEPTION '{RECORDS}%', n; \
             END IF; END;",
            Identifier::from(schema),
            ledger::TABLE
        )]);
        batch.push(&ledger::insert(schema, versions.iter().copied()));
    }
    let done = Done { from: None, to: versions.last().copied(), before: Duration::ZERO, attempts: 1 };
    batch.push(&run.record(schema, &done));
    let batch = batch.commit();
    let conn = db.connection();
    conn.batch_execute(batch.sql()).map_err(|error| {
        // A connection that is gone has rolled back by itself.
        let _ = conn.batch_execute("ROLLBACK");
        let server = ServerMessage::from(&error);
        if let Some(applied) = server.message.strip_prefix(RECORDS) {
            return TenantError::LedgerExists { applied: applied.parse().unwrap_or(0) };
        }
        match setback(&error) {
            ControlFlow::Continue(server) => TenantError::Server(server),
            ControlFlow::Break(Setback::Busy) => TenantError::Busy,
            ControlFlow::Break(Setback::Lost(server)) => TenantError::ConnectionLost(server),
            ControlFlow::Break(Setback::Canceled(server)) => TenantError::Canceled(server),
            ControlFlow::Break(Setback::Contention(contention, server)) => {
                TenantError::Deferred { contention, attempts: 1, server, holders: Vec::new() }
            }
            ControlFlow::Break(Setback::ReadOnly | Setback::Fault(_)) => TenantError::Server(server),
            ControlFlow::Break(_) => TenantError::Unsettled,
        }
    })
}

/// How the server says that a ledger is not empty.
const RECORDS: &str = "tenantry: migrations in the ledger: ";
