//! The replay in a transaction that is rolled back.
//!
//! It obeys the rule by which tenants are migrated ([`MigrationSet::first_transaction`]): where that rule commits, the
//! replay runs the deferred triggers, as a commit does.
//!
//! [`MigrationSet::first_transaction`]: crate::migration::MigrationSet::first_transaction

use std::collections::BTreeSet;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::result::Error as DieselError;

use super::confined::{Check, Confined};
use super::replay::{
    FailedReplay, Messages, Replay, Replayed, TIMEOUTS, UncommittedFailure, guard, run_migration, schema_oid,
};
use super::scratch;
use crate::error::Error;
use crate::migration::Boundaries;
use crate::postgres::ServerMessage;
use crate::sql::quote::{Identifier, Literal};
use crate::tenants::ledger;

/// Rolls a replay back, and removes what outlasts a rollback: advisory locks and prepared statements. Prepared statements
/// of the protocol are not from a migration; behind a pooler they may be another client's.
pub(crate) const ROLL_BACK: &str = "ROLLBACK; SELECT pg_catalog.pg_advisory_unlock_all(); \
                         DO 'DECLARE prepared text; BEGIN \
                             FOR prepared IN SELECT name FROM pg_catalog.pg_prepared_statements WHERE from_sql LOOP \
                                 EXECUTE pg_catalog.format(''DEALLOCATE %I'', prepared); \
                             END LOOP; \
                         END';";

impl Replay<'_> {
    /// Replays the migrations in a transaction, and rolls it back. If the migration at the index `explained` fails, its
    /// message is a recognized one where possible.
    pub(super) fn roll_back_after(
        &self,
        conn: &mut PgConnection,
        explained: Option<usize>,
    ) -> Result<Replayed, UncommittedFailure> {
        let replayed = self.run_in_transaction(conn, explained);
        let rolled_back = conn.batch_execute(ROLL_BACK).map_err(Error::doing("roll back the reference"));
        let replayed = replayed?;
        rolled_back?;
        Ok(replayed)
    }

    fn run_in_transaction(
        &self,
        conn: &mut PgConnection,
        explained: Option<usize>,
    ) -> Result<Replayed, UncommittedFailure> {
        let doing = Error::doing("make the reference");
        let name = scratch::name();
        let path = self.tenancy.path(&name);
        let confined = Confined { schema: &name, neighbours: self.tenancy.extension_schemas(), horizon: self.horizon };
        let settings = format!("{TIMEOUTS} {} {}", self.set_role("SET LOCAL"), path.set_for_transaction());
        conn.batch_execute(&format!(
            "BEGIN; {TIMEOUTS} {} CREATE SCHEMA {}; {} {settings} {} {}",
            self.set_role("SET LOCAL"),
            Identifier::from(&name),
            ledger::create(&name),
            guard(path),
            confined.before(),
        ))
        .map_err(&doing)?;
        let schema = schema_oid(conn, &name).map_err(&doing)?;
        let run_deferred = format!("{settings} {}", run_deferred_triggers(schema));
        let commits = self.commits();
        let mut check = Check::Outside;
        let mut replayed = Replayed::default();
        for index in 0..=self.migrations.len() {
            self.read(conn, schema, index, &mut replayed).map_err(&doing)?;
            let Some(migration) = self.migration(index) else { break };
            if migration.outside_reason().is_some() {
                // Its changes outside are rolled back, but cannot be distinguished from those of later migrations.
                check = Check::Nothing;
            }
            let messages = if explained == Some(index) { Messages::Recognized } else { Messages::Server };
            let failed = |error: DieselError, failure: UncommittedFailure| {
                if ServerMessage::is_connection_lost(&error) {
                    UncommittedFailure::Error(doing(error))
                } else {
                    failure
                }
            };
            let ran =
                run_migration(conn, &settings, migration, messages).and_then(|()| confined.end(conn, migration, check));
            if let Err(error) = ran {
                let server = ServerMessage::from(&error);
                return Err(failed(error, UncommittedFailure::Migration(FailedReplay { index, server })));
            }
            if commits.contains(&index)
                && let Err(error) = conn.batch_execute(&run_deferred)
            {
                return Err(failed(error, UncommittedFailure::NeedsCommits));
            }
        }
        Ok(replayed)
    }

    /// The indexes of the migrations after which a tenant that gets these migrations commits.
    fn commits(&self) -> BTreeSet<usize> {
        let mut commits = BTreeSet::new();
        let mut start = 0;
        while start < self.migrations.len() {
            let rest = &self.migrations[start..];
            let together = self.tenancy.tenant_migrations().first_transaction(rest, &Boundaries::default());
            // A non-transactional migration is alone.
            start += together.len().max(1);
            commits.insert(start - 1);
        }
        commits
    }
}

/// A statement that runs the pending triggers of the initially deferred constraints of a schema, as a commit does, and
/// defers them again.
fn run_deferred_triggers(schema: u32) -> String {
    format!(
        "DO {};",
        Literal(&format!(
            "DECLARE deferred text; \
             BEGIN \
                 SELECT pg_catalog.string_agg(DISTINCT pg_catalog.format('%I.%I', n.nspname, k.conname), ', ') INTO deferred \
                 FROM pg_catalog.pg_depend d \
                 JOIN pg_catalog.pg_constraint k ON k.conrelid = d.objid AND k.condeferred \
                 JOIN pg_catalog.pg_namespace n ON n.oid = k.connamespace \
                 WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = {schema} \
                   AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass; \
                 IF deferred IS NOT NULL THEN \
                     EXECUTE 'SET CONSTRAINTS ' || deferred || ' IMMEDIATE'; \
                     EXECUTE 'SET CONSTRAINTS ' || deferred || ' DEFERRED'; \
                 END IF; \
             END"
        ))
    )
}
