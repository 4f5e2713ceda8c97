//! Which migrations can be one transaction.

use super::{MigrationSet, Mode};

impl MigrationSet {
    /// Whether migrations can be one transaction: all are transactional, and none needs the commit of another before it.
    pub(crate) fn is_one_transaction(&self, migrations: &[usize]) -> bool {
        self.first_transaction(migrations).len() == migrations.len()
    }

    /// As many migrations from the first on as can be one transaction; none where the first is not transactional.
    pub(crate) fn first_transaction<'a>(&self, migrations: &'a [usize]) -> &'a [usize] {
        let many = migrations.iter().take_while(|index| self.at(**index).mode() == Mode::Transactional).count();
        let to_commit = migrations[..many].iter().position(|index| self.must_be_committed(*index));
        &migrations[..to_commit.map_or(many, |last| last + 1)]
    }

    /// Whether what follows a migration may need its commit: a new value of an enum cannot be used before, nor can a table
    /// be altered that has deferred constraints to be checked.
    fn must_be_committed(&self, index: usize) -> bool {
        let up = self.at(index).up().traits();
        up.adds_enum_value || (up.may_write && self.may_defer())
    }

    /// Whether some migration may make constraints that are checked late.
    fn may_defer(&self) -> bool {
        self.iter().any(|migration| migration.up().traits().may_defer)
    }
}
