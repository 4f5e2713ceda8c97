//! Repair: SQL that changes a tenant's structure to match the reference.
//!
//! [`plan`] computes the statements from two structures and their differences. It sends nothing to the server. Statements
//! that would lose data are in the plan, but do not run unless that is allowed. [`verify`] runs a plan in a transaction that
//! is rolled back, and keeps the statements that work.

mod base_types;
mod builder;
mod column_types;
mod columns;
mod common;
mod constraints;
mod dependents;
mod escalate;
mod execution;
mod grants;
mod identified;
mod identity;
mod lossless;
mod operators;
mod others;
mod rebuild;
mod renames;
mod routines;
mod row_counts;
mod script;
mod sequences;
mod tables;
mod text;
mod types;
mod verify;
mod views;

use std::collections::BTreeSet;

use super::difference::{Aspect, Difference};
use super::one::Compared;
use crate::schema::structure::{Identity, Structure};
use builder::Builder;
use rebuild::SavedRows;

pub use script::ScriptContext;
#[cfg(feature = "cli")]
pub(crate) use script::refuse_other_database;
pub(crate) use verify::try_in_transaction;
pub use verify::{Trial, verify};

/// The statements that repair a tenant, and the differences that remain after them.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The statements that run, in order, followed by those that do not run.
    pub statements: Vec<RepairStatement>,
    /// The differences that remain after the statements have run.
    pub remaining: Vec<Difference>,
    /// Whether the plan is verified.
    pub verification: Verification,
}

/// Whether a plan was run in a transaction that was rolled back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Verification {
    /// It was not.
    #[default]
    Skipped,
    /// Another session holds a lock that this statement needs.
    Blocked(String),
    /// All statements ran, and the structure was compared with the reference afterwards.
    Done,
}

/// A statement of a [`Plan`].
#[derive(Debug, Clone)]
pub struct RepairStatement {
    /// The text, without a semicolon.
    pub sql: String,
    /// Why the statement does not run, as a clause; `None` if it runs.
    pub reason: Option<String>,
    /// The data that the statement loses, if any.
    pub data_loss: Option<String>,
    /// What the statement assumes, such as that a column was renamed.
    pub assumption: Option<String>,
    /// Whether it runs, and commits, before the transaction with the other statements begins.
    pub before_transaction: bool,
    /// Whether it could not be verified, because it uses an enum label that an earlier statement must commit.
    pub unverified: bool,
    phase: Phase,
    /// The text as planned, before an alternative replaced it.
    planned: String,
    /// Statements to run instead if this one fails. Each loses more than the one before.
    alternatives: Vec<Alternative>,
    /// The temporary table whose rows the statement copies back.
    restores: Option<String>,
    /// The group of statements that run all or not at all.
    group: Option<usize>,
    /// The object that the statement creates, as other statements name it.
    provides: Option<String>,
    /// The object that the statement is about.
    object: Identity,
    /// The differences that the statement repairs, or helps to repair.
    repairs: Vec<Key>,
}

/// A statement that replaces one that fails.
#[derive(Debug, Clone)]
struct Alternative {
    sql: String,
    data_loss: String,
}

/// Identifies a difference.
type Key = (Identity, Aspect);

/// The order of statements. Within and across phases, a statement also follows those that create what it mentions, see
/// [`Builder::finish`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    BeforeTransaction,
    DropTrigger,
    DropView,
    DropForeignKey,
    DropConstraint,
    DropIndex,
    DropRoutine,
    Schema,
    Type,
    Routine,
    Operator,
    Sequence,
    Table,
    Copy,
    Alter,
    /// After `Alter`, because a change of a column's type resets its storage and compression.
    Storage,
    Owner,
    OwnedBy,
    Constraint,
    Index,
    ForeignKey,
    SqlRoutine,
    View,
    IndexOfView,
    Trigger,
    Firing,
    Setting,
    DropLate,
    Grant,
    Comment,
}

impl RepairStatement {
    /// Whether the statement runs.
    pub fn runs(&self) -> bool {
        self.reason.is_none()
    }

    /// Whether the statement belongs after the rows of a new table: it creates a constraint, an index, a view or a trigger.
    pub(crate) fn follows_rows(&self) -> bool {
        self.phase > Phase::OwnedBy
    }

    fn is_for(&self, difference: &Difference) -> bool {
        self.repairs.iter().any(|(identity, aspect)| *identity == difference.identity && *aspect == difference.aspect)
    }
}

impl Plan {
    /// Whether the tenant matches the reference: the plan has no statements, and no differences remain.
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty() && self.remaining.is_empty()
    }

    /// The plan without the statements that give objects to the owner of the schema, for a role that creates them as that
    /// owner.
    pub(crate) fn without_owner(mut self, structure: &Structure) -> Self {
        if let Some(owner) = structure.owner() {
            let to_owner = format!(" OWNER TO {}", text::ident(&owner));
            self.statements.retain(|it| it.phase != Phase::Owner || !it.sql.ends_with(&to_owner));
        }
        self
    }

    /// The statements, if all of them run and change privileges only.
    pub(crate) fn grants(&self) -> Option<Vec<&str>> {
        let is_grant = |it: &RepairStatement| it.phase == Phase::Grant && it.runs();
        let all = self.remaining.is_empty() && self.statements.iter().all(is_grant);
        all.then(|| self.statements.iter().map(|it| it.sql.as_str()).collect())
    }

    /// Takes out the statements that give objects to other owners than the role that creates them.
    pub(crate) fn take_owners(&mut self) -> Vec<String> {
        let (owners, rest) = std::mem::take(&mut self.statements).into_iter().partition(|it| it.phase == Phase::Owner);
        self.statements = rest;
        Vec::into_iter(owners).map(|it: RepairStatement| it.sql).collect()
    }

    /// The statements that run.
    pub fn running(&self) -> impl Iterator<Item = &RepairStatement> {
        self.statements.iter().filter(|statement| statement.runs())
    }

    /// The remaining differences for which the plan has no statement, not even one that does not run.
    pub fn remaining_without_statement(&self) -> impl Iterator<Item = &Difference> {
        let has_statement = |difference: &&Difference| {
            self.statements.iter().any(|statement| !statement.runs() && statement.is_for(difference))
        };
        self.remaining.iter().filter(move |difference| !has_statement(difference))
    }
}

/// What a plan may do, and on which server.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The server's version, as in `server_version_num`.
    pub version: i32,
    /// Whether statements that lose data run. Such a plan is incomplete until [`verify`] has run it.
    pub allow_data_loss: bool,
}

/// Plans the statements that repair `differences`, a subset of what [`Compared::diff`] returns. Sends nothing to the
/// server. The remaining differences are those without a statement that runs.
pub fn plan(compared: &Compared, differences: &[Difference], options: Options) -> Plan {
    plan_with(compared, differences, options, &SavedRows::new(), &BTreeSet::new())
}

/// Plans as [`plan`] does. Recreated tables get their `saved` rows back. The tables in `not_rebuilt` cannot be recreated,
/// so their differences are repaired one by one.
fn plan_with(
    compared: &Compared,
    differences: &[Difference],
    options: Options,
    saved: &SavedRows,
    not_rebuilt: &BTreeSet<String>,
) -> Plan {
    let Some(expected) = compared.expected() else { return Plan::default() };
    let mut builder = Builder::new(expected, &compared.structure, differences, options);
    let statements = match builder.renames() {
        Some(renames) => renames,
        None => {
            builder.saved = saved.clone();
            builder.find_rebuilt(not_rebuilt);
            builder.find_dependents();
            for difference in differences {
                builder.repair(difference);
            }
            builder.finish()
        }
    };
    Plan { remaining: remaining(&statements, differences), statements, verification: Verification::Skipped }
}

/// The differences that no running statement repairs, or that need a statement that does not run.
fn remaining(statements: &[RepairStatement], differences: &[Difference]) -> Vec<Difference> {
    let keys = |runs: bool| -> BTreeSet<&Key> {
        statements
            .iter()
            .filter(|statement| statement.runs() == runs)
            .flat_map(|statement| &statement.repairs)
            .collect()
    };
    let (by_running, by_others) = (keys(true), keys(false));
    let remaining = differences.iter().filter(|difference| {
        let key = (difference.identity.clone(), difference.aspect.clone());
        !by_running.contains(&key) || by_others.contains(&key)
    });
    remaining.cloned().collect()
}
