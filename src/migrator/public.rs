//! The migrations of the schema `public`: the tracker's own, and what a project adds to them.

use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;

use super::apply::{Record, Setback, Work, apply};
use super::batch::{Batch, Commit, Opening, Target};
use super::{Effect, MigrationFailure, explain};
use crate::database::Database;
use crate::error::Error;
use crate::failure::TenantError;
use crate::integrity;
use crate::ledger::{self, Ledger, TABLE};
use crate::migration::{Direction, Kind, Mode};
use crate::name::SchemaName;
use crate::postgres::{CHANGED, Objection, ServerMessage, connect};
use crate::runs::Run;
use crate::tenancy::Tenancy;
use crate::tracker::State;
use crate::watch::{self, Watch};
use crate::workers::Stop;

/// What [`migrate_public`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicReport {
    /// The folders of the migrations that were applied, in order; none when all were.
    pub applied: Vec<String>,
    /// The newest version in the public ledger now.
    pub version: Option<String>,
}

/// How long another run that is at it is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Applies the public migrations that are pending. Asked to [cancel](Stop::cancel), it has them rolled back.
///
/// # Errors
/// [`Error::PublicMigration`] when one fails, and nothing was changed; [`Error::Busy`]; what the server answered.
pub fn migrate_public(db: &mut Database, tenancy: &Tenancy, stop: &Stop) -> Result<PublicReport, Error> {
    db.require_primary(tenancy)?;
    if !db.server().has_public_schema {
        return Err(Error::NoPublicSchema { database: db.server().database.clone() });
    }
    integrity::check_public(db, tenancy)?;
    // The migrations are what makes the tables for the record.
    let run = Run::unrecorded();
    watch::over(db, &Watch::new(run), tenancy, stop, |db| apply_pending(db, tenancy, run, stop))
}

fn apply_pending(db: &mut Database, tenancy: &Tenancy, run: Run, stop: &Stop) -> Result<PublicReport, Error> {
    let public = SchemaName::public();
    let set = tenancy.public_migrations();
    let pool = db.pool(1)?;
    let began = Instant::now();
    loop {
        let applied = ledger::read_public(db.connection())?;
        let ledger = Ledger::new(applied, set);
        let version = |ledger: &Ledger| ledger.version().map(str::to_owned);
        if ledger.pending.is_empty() {
            integrity::record_public(db, tenancy)?;
            return Ok(PublicReport { applied: Vec::new(), version: version(&ledger) });
        }
        let needs_session = ledger.pending.iter().any(|index| !is_transactional(tenancy, *index));
        let work = Work {
            target: Target::public(tenancy, &public, Some(run)),
            opening: Opening::Public { applied: ledger.applied.clone() },
            direction: Direction::Up,
            migrations: &ledger.pending,
            state: State::Active,
            unfinished: None,
            commit: Commit::Durable,
            pooler: needs_session && !db.connector().reaches_a_session_of_its_own()?,
            record: Record { from: None, to: None, began, attempts: 1 },
        };
        let mut session =
            connect::session(&pool, Duration::MAX, || true).map_err(|message| Error::ConnectionsLost { message })?;
        match apply(&mut session, &work) {
            Ok(()) => {
                let applied = ledger.pending.iter().map(|index| set.at(*index).folder().to_owned()).collect();
                integrity::record_public(db, tenancy)?;
                let newest = set.iter().next_back().map(|last| last.version().as_str().to_owned());
                return Ok(PublicReport { applied, version: newest.max(version(&ledger)) });
            }
            Err(Setback::Failed(TenantError::Migration(failure))) => return Err(Error::PublicMigration(failure)),
            Err(Setback::Failed(TenantError::Server(message))) => {
                return Err(Error::Query { doing: "apply the public migrations", message, lost: false });
            }
            Err(Setback::Edited | Setback::NotRecorded) => {
                return Err(Error::Busy { what: "the schema public".to_owned() });
            }
            Err(Setback::Failed(other)) => return Err(Error::Public(Box::new(other))),
            Err(Setback::ReadOnly) => return Err(Error::ReadOnly),
            Err(Setback::Fault(error)) => return Err(error),
            Err(Setback::Canceled(message)) => {
                return Err(Error::Query { doing: "apply the public migrations", message, lost: false });
            }
            Err(Setback::Contention(_, message)) if began.elapsed() >= PATIENCE || stop.is_requested() => {
                return Err(Error::Query { doing: "apply the public migrations", message, lost: false });
            }
            Err(Setback::Lost(message)) => {
                return Err(Error::Query { doing: "apply the public migrations", message, lost: true });
            }
            Err(Setback::Contention(..)) => thread::sleep(Duration::from_millis(500)),
            Err(Setback::Busy | Setback::Changed) if began.elapsed() < PATIENCE && !stop.is_requested() => {
                thread::sleep(Duration::from_millis(100));
            }
            Err(Setback::Busy | Setback::Changed) => {
                return Err(Error::Busy { what: "the schema public".to_owned() });
            }
        }
    }
}

/// Reverts the public migrations that are applied, newest first, each in a transaction with its ledger row, and then
/// drops the public ledger if it records nothing else. The folders reverted are added to `reverted`; returned is how many
/// versions of others the ledger keeps.
///
/// # Errors
/// [`Error::NoDown`] before anything is done; [`Error::PublicMigration`], with the earlier ones reverted.
pub(crate) fn revert_public(db: &mut Database, tenancy: &Tenancy, reverted: &mut Vec<String>) -> Result<usize, Error> {
    let public = SchemaName::public();
    let set = tenancy.public_migrations();
    let ledger = Ledger::new(ledger::read_public(db.connection())?, set);
    for index in (0..set.len()).rev().filter(|index| !ledger.pending.contains(index)) {
        let migration = set.at(index);
        let down = migration
            .down()
            .ok_or_else(|| Error::NoDown { kind: Kind::Public, folder: migration.folder().to_owned() })?;
        let target = Target::public(tenancy, &public, None);
        let path = tenancy.path(&public);
        let mut batch = Batch::begin(target, Commit::Durable);
        batch.push(&path.set_for_transaction());
        batch.guard(&[target.lock_for_transaction(), path.guard(), no_tenants()]);
        // Nothing uses the schema any more: what is there to be concurrent with?
        batch.revert(target, index, down);
        let batch = batch.commit();
        if let Err(error) = db.connection().batch_execute(batch.sql()) {
            let server = ServerMessage::from(&error);
            // A connection that is gone has rolled back by itself.
            let _ = db.connection().batch_execute("ROLLBACK");
            match Objection::in_message(&server.message) {
                Some(Objection::Changed) => return Err(Error::TenantsMeanwhile),
                Some(_) => return Err(Error::Busy { what: "the schema public".to_owned() }),
                None => {}
            }
            let byte = server.position.and_then(|position| batch.locate(position)).map(|(_, byte)| byte);
            return Err(Error::PublicMigration(Box::new(MigrationFailure {
                version: migration.version().clone(),
                folder: migration.folder().to_owned(),
                file: "down.sql",
                at: byte.and_then(|byte| explain::statement_at(down, byte)),
                server,
                effect: Effect::RolledBack,
                applied_before: 0,
            })));
        }
        reverted.push(migration.folder().to_owned());
    }
    let others = ledger::read_public(db.connection())?.len();
    if others == 0 {
        db.connection()
            .batch_execute(&format!("DROP TABLE IF EXISTS public.{TABLE}"))
            .map_err(Error::doing("drop the public ledger"))?;
    }
    Ok(others)
}

/// A condition in PL/pgSQL that raises [`CHANGED`] if the tracker has tenants, and keeps it from getting any until the
/// transaction ends.
fn no_tenants() -> String {
    format!(
        "IF pg_catalog.to_regclass('public.schema_tracker'::text) IS NOT NULL THEN \
         LOCK TABLE public.schema_tracker IN ACCESS EXCLUSIVE MODE; \
         IF EXISTS (SELECT FROM public.schema_tracker) THEN RAISE EXCEPTION '{CHANGED}'; END IF; END IF;"
    )
}

fn is_transactional(tenancy: &Tenancy, index: usize) -> bool {
    tenancy.public_migrations().at(index).mode() == Mode::Transactional
}
