//! The migrations of one transaction, and how thoroughly it is checked.

use super::batch::Precondition;
use super::target::SchemaTarget;
use crate::confine::{self, Scrutiny};
use crate::migration::{Direction, Kind, Script};
use crate::tenants::ledger::{Columns, DefinitionCheck};

/// The migrations of one transaction.
pub(super) struct Transaction<'a> {
    pub(super) precondition: &'a Precondition,
    pub(super) direction: Direction,
    /// Their places in the set, in the order in which they run.
    pub(super) migrations: &'a [usize],
    pub(super) scrutiny: Scrutiny,
    /// How thoroughly the definition of the ledger is checked before.
    pub(super) definition: DefinitionCheck,
}

impl<'t> Transaction<'t> {
    /// A transaction that is checked as thoroughly as its scripts require.
    pub(super) fn new(
        target: SchemaTarget<'_>,
        precondition: &'t Precondition,
        direction: Direction,
        migrations: &'t [usize],
    ) -> Self {
        let scrutiny = scrutiny(target, direction, migrations);
        let scrutiny = match precondition {
            Precondition::NoSchema { .. } => scrutiny.of_new_schema(),
            _ => scrutiny,
        };
        Self { precondition, direction, migrations, scrutiny, definition: DefinitionCheck::Quick }
    }

    /// Replaces the quick checks by thorough ones.
    pub(super) fn check_thoroughly(&mut self) {
        if self.scrutiny == Scrutiny::Quick {
            self.scrutiny = Scrutiny::Thorough;
        }
        self.definition = DefinitionCheck::Thorough;
    }

    /// Whether nothing is left to the quick checks.
    pub(super) fn is_checked_thoroughly(&self) -> bool {
        self.definition == DefinitionCheck::Thorough
    }

    fn scripts<'a>(&'a self, target: SchemaTarget<'a>) -> impl Iterator<Item = &'a Script> {
        self.migrations.iter().filter_map(move |index| target.migration(*index).script(self.direction))
    }

    /// Whether its scripts run no code.
    pub(super) fn is_plain(&self, target: SchemaTarget<'_>) -> bool {
        self.scripts(target).all(|script| script.traits().is_plain)
    }

    /// The columns of the ledger rows that it inserts.
    pub(super) fn columns(&self) -> Columns {
        match (self.precondition, self.definition) {
            (Precondition::Ledger { .. }, DefinitionCheck::Quick) => Columns::All,
            // Another definition is valid, too.
            _ => Columns::Version,
        }
    }

    /// Whether it may leave something in the session that cannot be reset.
    pub(super) fn leaves_state(&self, target: SchemaTarget<'_>) -> bool {
        self.scripts(target).any(|script| script.traits().may_leave_state)
    }

    /// The migrations that must match their records: those that are applied and are not repeatable.
    pub(super) fn recorded(&self, target: SchemaTarget<'_>) -> &[usize] {
        let versioned = self.migrations.partition_point(|index| !target.migration(*index).is_repeatable());
        if self.direction == Direction::Up { &self.migrations[..versioned] } else { &[] }
    }

    /// The versions in the ledger after it.
    pub(super) fn applied(&self, target: SchemaTarget<'_>) -> Vec<String> {
        let mut applied = self.precondition.applied().to_vec();
        let version = |index: &usize| target.migration(*index).version().as_str();
        match self.direction {
            Direction::Up => {
                let versioned = self.migrations.iter().filter(|index| !target.migration(**index).is_repeatable());
                applied.extend(versioned.map(|index| version(index).to_owned()));
            }
            Direction::Down => applied.retain(|applied| !self.migrations.iter().any(|index| version(index) == applied)),
        }
        applied.sort_unstable();
        applied
    }
}

/// How closely a transaction is checked. A migration that may change objects outside is alone in its transaction.
fn scrutiny(target: SchemaTarget<'_>, direction: Direction, migrations: &[usize]) -> Scrutiny {
    let migrations = migrations.iter().map(|index| target.migration(*index));
    if target.kind == Kind::Public || migrations.clone().any(|migration| migration.outside_reason().is_some()) {
        return Scrutiny::None;
    }
    let scripts = migrations.filter_map(|migration| migration.script(direction));
    confine::scrutiny(scripts, target.tenancy.extension_schemas())
}
