//! Executes the steps of an isolation.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::Error as DieselError;

use super::plan::IsolationPlan;
use super::step::{IsolationPhase, IsolationStep};
use crate::database::{Database, Stop};
use crate::error::{Contention, Error, RowTenancyError};
use crate::postgres::contained::ContainedStatements;
use crate::postgres::{Condition, ServerMessage, path};
use crate::rows::layout::Layout;
use crate::sql::quote::Identifier;
use crate::tenants::Limits;

/// The pause before a transaction is repeated that another session blocked.
const CONTENTION_PAUSE: Duration = Duration::from_millis(500);

/// Executes the steps of a plan without obstacles. Calls `observe` after each step that has taken effect.
pub(crate) fn apply(
    db: &mut Database,
    layout: &Layout,
    plan: &IsolationPlan,
    limits: &Limits,
    stop: &Stop,
    observe: &mut dyn FnMut(&IsolationStep),
) -> Result<(), Error> {
    let phases = plan.by_phase();
    let is_alone = |phase: &IsolationPhase| !phase.is_transaction();
    if phases.keys().any(is_alone) && !db.connector().has_dedicated_session()? {
        return Err(RowTenancyError::Pooler.into());
    }
    for (phase, steps) in phases {
        let run = PhaseRun { layout, limits, phase, stop };
        if phase.is_transaction() {
            run.together(db.connection(), &steps)?;
            steps.iter().for_each(|step| observe(step));
        } else {
            for step in steps {
                run.alone(db.connection(), step)?;
                observe(step);
            }
        }
    }
    Ok(())
}

struct PhaseRun<'a> {
    layout: &'a Layout,
    limits: &'a Limits,
    phase: IsolationPhase,
    stop: &'a Stop,
}

impl PhaseRun<'_> {
    /// Runs steps in one transaction, again if another session blocks it.
    fn together(&self, conn: &mut PgConnection, steps: &[&IsolationStep]) -> Result<(), Error> {
        let begin = format!("BEGIN; {} {}", self.settings("SET LOCAL"), path::CATALOG_FOR_TRANSACTION);
        self.repeat(|| {
            let result = self.in_order(conn, &begin, steps);
            if result.is_err() {
                // A lost connection has rolled back by itself.
                let _ = conn.batch_execute("ROLLBACK");
            }
            result
        })
    }

    fn in_order(&self, conn: &mut PgConnection, begin: &str, steps: &[&IsolationStep]) -> Result<(), RowTenancyError> {
        let other = |error| failure(None, &error);
        conn.batch_execute(begin).map_err(other)?;
        if matches!(self.phase, IsolationPhase::SetUp | IsolationPhase::CleanUp) {
            for step in steps {
                conn.batch_execute(&step.sql).map_err(|error| failure(Some(step), &error))?;
            }
        } else {
            let statements = self.as_owner(conn).map_err(other)?;
            for step in steps {
                statements.execute(conn, &step.sql).map_err(|error| failure(Some(step), &error))?;
            }
            statements.drop(conn).map_err(other)?;
        }
        conn.batch_execute("COMMIT").map_err(other)
    }

    /// Becomes the owner of the tables for the transaction. Code of the tables cannot become the connected role again: the
    /// server evaluates expressions of indexes when it validates a foreign key, and an update runs triggers.
    fn as_owner(&self, conn: &mut PgConnection) -> QueryResult<ContainedStatements> {
        conn.batch_execute(&format!("SET LOCAL ROLE {}", Identifier::from(&self.layout.roles.owner)))?;
        ContainedStatements::create(conn, &self.layout.schema)
    }

    /// Runs a step that is not in a transaction with others.
    fn alone(&self, conn: &mut PgConnection, step: &IsolationStep) -> Result<(), Error> {
        if self.phase == IsolationPhase::Build {
            return self.build(conn, step);
        }
        let counting = format!("WITH changed AS ({} RETURNING 1) SELECT ARRAY[count(*)::text] FROM changed", step.sql);
        loop {
            let mut changed = 0;
            self.repeat(|| {
                let result = conn.transaction(|conn| {
                    conn.batch_execute(&format!("{} {}", self.settings("SET LOCAL"), path::CATALOG_FOR_TRANSACTION))?;
                    let statements = self.as_owner(conn)?;
                    changed = 0;
                    if self.phase == IsolationPhase::Assign {
                        let rows = statements.rows(conn, &counting, &[])?;
                        changed = rows.into_iter().flatten().filter_map(|rows| rows.parse::<i64>().ok()).sum();
                    } else {
                        statements.execute(conn, &step.sql)?;
                    }
                    statements.drop(conn)
                });
                result.map_err(|error| failure(Some(step), &error))
            })?;
            // Rows are assigned in batches, until none is left.
            if changed == 0 || self.stop.is_requested() {
                return Ok(());
            }
        }
    }

    /// Runs a step without a transaction. While an index is built, the server itself prevents that its code changes the role.
    fn build(&self, conn: &mut PgConnection, step: &IsolationStep) -> Result<(), Error> {
        let set = self.settings("SET");
        let become_owner = format!("SET ROLE {}", Identifier::from(&self.layout.roles.owner));
        let result = self.repeat(|| {
            conn.batch_execute(&set)
                .and_then(|()| conn.batch_execute(&become_owner))
                .and_then(|()| conn.batch_execute(&step.sql))
                .map_err(|error| failure(Some(step), &error))
        });
        let reset = conn
            .batch_execute("RESET ROLE; RESET lock_timeout; RESET statement_timeout")
            .map_err(|error| failure(Some(step), &error).into());
        result.and(reset)
    }

    fn settings(&self, set: &str) -> String {
        let mut sql = format!("{set} lock_timeout TO {};", self.limits.lock_timeout.as_millis().max(1));
        match self.limits.statement_timeout {
            // The time that an index takes depends on the size of its table.
            Some(timeout) if self.phase.is_transaction() => {
                sql.push_str(&format!(" {set} statement_timeout TO {};", timeout.as_millis()));
            }
            _ => {}
        }
        sql
    }

    /// Repeats `work` while other sessions block it, as often as the limits allow.
    fn repeat(&self, mut work: impl FnMut() -> Result<(), RowTenancyError>) -> Result<(), Error> {
        let mut left = self.limits.retries;
        loop {
            match work() {
                Err(RowTenancyError::Statement { contention: Some(_), .. })
                    if left > 0 && !self.stop.is_requested() =>
                {
                    left -= 1;
                    self.stop.pause(CONTENTION_PAUSE);
                }
                result => return result.map_err(Error::from),
            }
        }
    }
}

fn failure(step: Option<&IsolationStep>, error: &DieselError) -> RowTenancyError {
    let contention = match Condition::of(error) {
        Some(Condition::LockTimeout) => Some(Contention::LockTimeout),
        Some(Condition::Deadlock) => Some(Contention::Deadlock),
        Some(Condition::Serialization) => Some(Contention::Serialization),
        _ => None,
    };
    RowTenancyError::Statement {
        table: step.and_then(|step| step.table.clone()),
        sql: step.map(|step| step.sql.clone()).unwrap_or_default(),
        message: ServerMessage::from(error),
        contention,
    }
}
