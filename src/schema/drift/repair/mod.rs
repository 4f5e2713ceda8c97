//! Repair: SQL that brings a tenant's structure back to the reference.
//!
//! [`plan`] makes it of two structures and the differences between them, without asking the server anything. What would
//! lose data is in the plan, but does not run. [`verify`] tries a plan on the tenant, in a transaction that is rolled
//! back, and leaves in it what works.

mod builder;
mod columns;
mod common;
mod constraints;
mod dependents;
mod escalate;
mod grants;
mod lossless;
mod operators;
mod others;
mod rebuild;
mod renames;
mod routines;
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
use crate::schema::structure::Identity;
use builder::Builder;
use rebuild::Kept;

pub use script::About;
pub use verify::{Trial, verify};

/// What a plan is made of, and what it leaves as it is.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The statements, in the order in which they run; behind them those that do not run.
    pub statements: Vec<Statement>,
    /// The differences that are left when the statements have run.
    pub left: Vec<Difference>,
    /// Whether the statements have been tried.
    pub tried: Tried,
}

/// Whether the statements of a plan have been tried.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Tried {
    /// They have not.
    #[default]
    No,
    /// They could not be: another session has a lock that this one needs.
    Locked(String),
    /// All of them, together, in a transaction that was rolled back.
    Yes,
}

/// A statement of a [`Plan`].
#[derive(Debug, Clone)]
pub struct Statement {
    /// Its text, without a semicolon.
    pub sql: String,
    /// Why it does not run; none where it does.
    pub why: Option<String>,
    /// The data that the statement loses; none where it loses nothing.
    pub data_loss: Option<String>,
    /// What the statement assumes, such as that a column was renamed.
    pub assumption: Option<String>,
    /// Whether it must be committed before the others begin.
    pub ahead: bool,
    /// Whether it could not be tried with the others: it uses what one ahead of them adds.
    pub untried: bool,
    phase: Phase,
    /// Its text as it was planned, before another took its place.
    planned: String,
    /// Statements to try in its place when it fails: each loses more than the one before.
    otherwise: Vec<Alternative>,
    /// The table whose rows it copies back.
    restores: Option<String>,
    /// What belongs together: all of it runs, or nothing.
    group: Option<usize>,
    /// What it makes, as other statements name it.
    provides: Option<String>,
    /// What it works on.
    object: Identity,
    /// The differences that it is for.
    mends: Vec<Key>,
}

/// A statement that replaces one that fails.
#[derive(Debug, Clone)]
struct Alternative {
    sql: String,
    data_loss: String,
}

/// A difference, by what it is about.
type Key = (Identity, Aspect);

/// When a statement runs. What others mention comes before them all the same, see [`Builder::finish`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Ahead,
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
    /// A change of a column's type resets its storage and its compression.
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
    Switch,
    Setting,
    DropLate,
    Grant,
    Comment,
}

impl Statement {
    /// Whether it runs.
    pub fn runs(&self) -> bool {
        self.why.is_none()
    }
}

impl Plan {
    /// Whether there is nothing to say: the tenant is as the reference.
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty() && self.left.is_empty()
    }

    /// The statements that run.
    pub fn running(&self) -> impl Iterator<Item = &Statement> {
        self.statements.iter().filter(|statement| statement.runs())
    }

    /// The differences that are left and that no statement is known for.
    pub fn left_without_statement(&self) -> impl Iterator<Item = &Difference> {
        let known = |difference: &&Difference| {
            self.statements.iter().any(|statement| !statement.runs() && statement.is_for(difference))
        };
        self.left.iter().filter(move |difference| !known(difference))
    }
}

impl Statement {
    fn is_for(&self, difference: &Difference) -> bool {
        self.mends.iter().any(|(identity, aspect)| *identity == difference.identity && *aspect == difference.aspect)
    }
}

/// What a plan may do, and on which server.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The server's version, as in `server_version_num`.
    pub version: i32,
    /// Whether statements that lose data run. Such a plan is incomplete until [`verify`] has tried it.
    pub allow_data_loss: bool,
}

/// Plans the statements that repair `differences`, which are of those that [`Compared::diff`] returns. Sends nothing to
/// the server: the differences that are left are those for which no statement exists.
pub fn plan(compared: &Compared, differences: &[Difference], options: Options) -> Plan {
    plan_with(compared, differences, options, &Kept::new(), &BTreeSet::new())
}

/// As [`plan`]; new tables get the rows that were kept of the ones that they replace. Of the tables that are to be
/// created again, those in `not_rebuilt` could not be.
fn plan_with(
    compared: &Compared,
    differences: &[Difference],
    options: Options,
    kept: &Kept,
    not_rebuilt: &BTreeSet<String>,
) -> Plan {
    let Some(expected) = compared.expected() else { return Plan::default() };
    let mut builder = Builder::new(expected, &compared.structure, differences, options);
    if let Some(statements) = builder.renames() {
        return Plan { left: left_by(&statements, differences), statements, tried: Tried::No };
    }
    builder.kept = kept.clone();
    builder.find_rebuilt(not_rebuilt);
    builder.find_dependents();
    for difference in differences {
        builder.mend(difference);
    }
    let statements = builder.finish();
    let left = left_by(&statements, differences);
    Plan { statements, left, tried: Tried::No }
}

/// Those that no statement mends, or not altogether.
fn left_by(statements: &[Statement], differences: &[Difference]) -> Vec<Difference> {
    let keys = |runs: bool| -> BTreeSet<&Key> {
        statements.iter().filter(|statement| statement.runs() == runs).flat_map(|statement| &statement.mends).collect()
    };
    let (mended, not_mended) = (keys(true), keys(false));
    let left = differences.iter().filter(|difference| {
        let key = (difference.identity.clone(), difference.aspect.clone());
        !mended.contains(&key) || not_mended.contains(&key)
    });
    left.cloned().collect()
}
