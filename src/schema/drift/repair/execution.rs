//! The execution of a plan in a transaction: runs its statements, and plans again for the differences that remain.

use std::collections::BTreeSet;

use diesel::QueryResult;
use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;

use super::identified::ExtensionMember;
use super::rebuild::SavedRows;
use super::verify::Trial;
use super::{Options, Plan, RepairStatement, Verification, plan_with};
use crate::error::Error;
use crate::postgres::ServerMessage;
use crate::postgres::message::{LOCKED, with_error_messages};
use crate::schema::drift::difference::Difference;
use crate::schema::drift::one::Compared;
use crate::schema::structure::{Identity, Structure};

/// How often a plan is made for what remains: an object that was dropped may have had parts that no catalog row names.
const ROUNDS: usize = 3;

/// As [`ROUNDS`], if losing data is allowed: some statements, such as renames, change what is planned next.
const ROUNDS_WITH_LOSS: usize = 10;

/// The message of a statement that exceeds the statement timeout.
const TIMEOUT: &str = "tenantry: statement timeout";
/// The message of a statement that uses an enum label which is not committed yet.
const NEW_LABEL: &str = "tenantry: uncommitted enum label";

/// The conditions that [`with_error_messages`] recognizes.
const CONDITIONS: [(&str, &str); 3] = [
    ("lock_not_available OR deadlock_detected", LOCKED),
    ("query_canceled", TIMEOUT),
    ("unsafe_new_enum_value_usage", NEW_LABEL),
];

/// Why an execution stopped.
pub(super) enum StopCause {
    /// A statement did not get a lock in time.
    Blocked {
        /// The statement.
        sql: String,
    },
    /// A statement of tenantry's own failed.
    Error(Error),
}

impl<E: Into<Error>> From<E> for StopCause {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// How a statement failed.
enum Failure {
    Blocked,
    NewLabel,
    /// For this reason.
    Other(String),
}

/// The execution of a plan.
pub(super) struct Execution<'a> {
    pub(super) conn: &'a mut PgConnection,
    pub(super) trial: &'a Trial<'a>,
    pub(super) options: Options,
    pub(super) statements: Vec<RepairStatement>,
    /// The statements that have run, in order, as indexes.
    pub(super) ran: Vec<usize>,
    /// The first statement of the current attempt. Earlier statements may be planned and run again.
    pub(super) attempt_start: usize,
    /// The rows of tables that were dropped to be recreated.
    pub(super) saved: SavedRows,
    /// The number of names given to temporary tables.
    pub(super) temporary_tables: usize,
    /// The tenant's structure after the statements that have run.
    pub(super) structure: Structure,
    /// The differences that remain then.
    pub(super) remaining: Vec<Difference>,
    /// The tenant's unexpected objects that are accepted, and stay.
    pub(super) accepted_extras: BTreeSet<Identity>,
    /// The tables that cannot be recreated.
    pub(super) not_rebuilt: BTreeSet<String>,
}

impl<'a> Execution<'a> {
    pub(super) fn new(
        conn: &'a mut PgConnection,
        trial: &'a Trial<'a>,
        version: i32,
        plan: &Plan,
        structure: Structure,
    ) -> Self {
        Self {
            conn,
            trial,
            options: Options { version, allow_data_loss: trial.allow_data_loss },
            statements: plan.statements.clone(),
            ran: Vec::new(),
            attempt_start: 0,
            saved: SavedRows::new(),
            temporary_tables: 0,
            structure,
            remaining: Vec::new(),
            accepted_extras: BTreeSet::new(),
            not_rebuilt: BTreeSet::new(),
        }
    }

    /// Runs the statements of the plan, and those that are planned for what remains.
    pub(super) fn run_plan(&mut self) -> Result<(), StopCause> {
        let members =
            ExtensionMember::read(self.conn, self.trial.name.as_str()).map_err(Error::doing("read extensions"))?;
        if !members.is_empty() {
            self.remaining = self.trial.compared.diff().differences;
            self.remaining.retain(|difference| !(self.trial.accepted)(difference));
            let released = self.builder().release(&members);
            self.statements.splice(0..0, released);
        }
        let pending = (0..self.statements.len()).filter(|index| self.statements[*index].runs()).collect();
        self.run_rounds(pending)
    }

    /// Runs statements and plans for what remains, until no new statement is planned.
    pub(super) fn run_rounds(&mut self, mut pending: Vec<usize>) -> Result<(), StopCause> {
        let Options { allow_data_loss, version } = self.options;
        for _ in 0..if allow_data_loss { ROUNDS_WITH_LOSS } else { ROUNDS } {
            let before = self.ran.clone();
            self.run_all(pending)?;
            self.structure = self.trial.read(self.conn, version)?;
            let compared = Compared { structure: self.structure.clone(), ..self.trial.compared.clone() };
            self.remaining = compared.diff().differences;
            self.remaining.retain(|difference| !(self.trial.accepted)(difference));
            let plan = plan_with(&compared, &self.remaining, self.options, &self.saved, &self.not_rebuilt);
            let retry = if allow_data_loss && self.ran != before { Retry::Failed } else { Retry::None };
            pending = self.add(plan.statements, retry);
            if pending.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Runs statements. Those that fail run again after the others, as long as any succeeds.
    pub(super) fn run_all(&mut self, mut pending: Vec<usize>) -> Result<(), StopCause> {
        let doing = Error::doing("verify the repair plan");
        while !pending.is_empty() {
            let mut failed: Vec<(usize, String)> = Vec::new();
            let ran_before = self.ran.len();
            for index in &pending {
                let group = self.statements[*index].group;
                if group.is_some() && failed.iter().any(|(other, _)| self.statements[*other].group == group) {
                    failed.push((*index, "an earlier statement of the same change fails".to_owned()));
                    continue;
                }
                match self.run_or_replace(*index).map_err(&doing)? {
                    Ok(()) => self.ran.push(*index),
                    Err(Failure::NewLabel) => {
                        self.statements[*index].unverified = true;
                        self.ran.push(*index);
                    }
                    Err(Failure::Blocked) => {
                        return Err(StopCause::Blocked { sql: self.statements[*index].sql.clone() });
                    }
                    Err(Failure::Other(reason)) => failed.push((*index, reason)),
                }
            }
            pending = if self.ran.len() > ran_before {
                failed.into_iter().map(|(index, _)| index).collect()
            } else {
                self.give_up(failed).map_err(&doing)?
            };
        }
        Ok(())
    }

    /// Excludes statements that fail, and the others of their groups, from the plan. If one of those others has run, all
    /// is rolled back, and the statements to run again are returned.
    fn give_up(&mut self, failed: Vec<(usize, String)>) -> QueryResult<Vec<usize>> {
        let groups: BTreeSet<usize> = failed.iter().filter_map(|(index, _)| self.statements[*index].group).collect();
        for (index, reason) in failed {
            self.statements[index].reason = Some(reason);
        }
        let in_failed_group =
            |statement: &RepairStatement| statement.group.is_some_and(|group| groups.contains(&group));
        let undo = self.ran.iter().any(|index| in_failed_group(&self.statements[*index]));
        for statement in self.statements.iter_mut().filter(|statement| statement.runs() && in_failed_group(statement)) {
            statement.reason = Some("another statement of the same change fails".to_owned());
        }
        if !undo {
            return Ok(Vec::new());
        }
        self.roll_back()?;
        let ran = std::mem::take(&mut self.ran);
        Ok(ran.into_iter().filter(|index| self.statements[*index].runs()).collect())
    }

    /// Undoes all statements.
    pub(super) fn roll_back(&mut self) -> QueryResult<()> {
        self.conn.batch_execute("ROLLBACK TO SAVEPOINT begun")
    }

    /// Runs a statement, or the first of its alternatives that works.
    fn run_or_replace(&mut self, index: usize) -> QueryResult<Result<(), Failure>> {
        let outcome = self.run_one(&self.statements[index].sql.clone())?;
        if !matches!(outcome, Err(Failure::Other(_))) {
            return Ok(outcome);
        }
        for alternative in self.statements[index].alternatives.clone() {
            if self.run_one(&alternative.sql)?.is_ok() {
                let statement = &mut self.statements[index];
                (statement.sql, statement.data_loss) = (alternative.sql, Some(alternative.data_loss));
                statement.alternatives.clear();
                return Ok(Ok(()));
            }
        }
        Ok(outcome)
    }

    fn run_one(&mut self, sql: &str) -> QueryResult<Result<(), Failure>> {
        let sql = with_error_messages(sql, &CONDITIONS);
        let message = format!("SAVEPOINT one; {sql} RELEASE SAVEPOINT one");
        let Err(error) = self.conn.batch_execute(&message) else { return Ok(Ok(())) };
        if ServerMessage::is_connection_lost(&error) {
            return Err(error);
        }
        self.conn.batch_execute("ROLLBACK TO SAVEPOINT one; RELEASE SAVEPOINT one")?;
        let server = ServerMessage::from(&error);
        Ok(Err(match server.message.as_str() {
            LOCKED => Failure::Blocked,
            NEW_LABEL => Failure::NewLabel,
            TIMEOUT => {
                let timeout = self.trial.timeout();
                Failure::Other(format!("it exceeds the statement timeout of {timeout:?} (--statement-timeout)"))
            }
            _ => Failure::Other(format!("it fails: {server}")),
        }))
    }

    /// Adds statements for what remains, and returns those to run.
    fn add(&mut self, planned: Vec<RepairStatement>, retry: Retry) -> Vec<usize> {
        let groups = self.statements.iter().filter_map(|statement| statement.group).max().unwrap_or(0);
        let mut pending = Vec::new();
        for mut statement in planned {
            let is_known = |known: &&mut RepairStatement| {
                let runs_again = retry == Retry::Failed && !known.runs() && statement.runs();
                known.planned == statement.sql && !runs_again
            };
            if let Some(known) = self.statements[self.attempt_start..].iter_mut().find(is_known) {
                known.repairs.extend(statement.repairs);
                continue;
            }
            statement.group = statement.group.map(|group| group + groups);
            if statement.runs() {
                pending.push(self.statements.len());
            }
            self.statements.push(statement);
        }
        // A group with a statement that does not run does not run.
        let incomplete: BTreeSet<usize> = pending
            .iter()
            .filter_map(|index| self.statements[*index].group)
            .filter(|group| self.statements.iter().any(|other| other.group == Some(*group) && !other.runs()))
            .collect();
        pending.retain(|index| self.statements[*index].group.is_none_or(|group| !incomplete.contains(&group)));
        pending
    }

    /// The verified plan: the statements that have run, in the order in which they ran, and those for the remaining
    /// differences.
    pub(super) fn into_plan(mut self) -> Plan {
        let mut remaining = std::mem::take(&mut self.remaining);
        let unverified: Vec<&RepairStatement> =
            self.statements.iter().filter(|statement| statement.unverified).collect();
        remaining.retain(|difference| {
            !unverified.iter().any(|statement| {
                statement.object == difference.identity
                    || statement.repairs.iter().any(|(identity, _)| *identity == difference.identity)
            })
        });
        let mut statements: Vec<RepairStatement> =
            self.ran.iter().map(|index| self.statements[*index].clone()).collect();
        for statement in self.statements.iter().filter(|statement| !statement.runs()) {
            let is_for_remaining = remaining.iter().any(|difference| statement.is_for(difference));
            let is_listed = statements.iter().any(|other| !other.runs() && other.sql == statement.sql);
            if is_for_remaining && !is_listed {
                statements.push(statement.clone());
            }
        }
        Plan { statements, remaining, verification: Verification::Done }
    }
}

/// Which known statements run again when they are planned again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Retry {
    None,
    /// Those that failed, because other statements have run since.
    Failed,
}
