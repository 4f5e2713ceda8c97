//! Which migrations share a transaction.

use std::collections::BTreeSet;

use super::{MigrationSet, Mode};

/// Migrations that need a commit before them although their text does not show it. They are learned from server errors; see
/// [`needs_commit`](crate::postgres::message::Diagnosis::needs_commit).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Boundaries(BTreeSet<usize>);

impl Boundaries {
    /// Adds a commit before the migration at `index`. Returns whether the boundary is new: a migration that still fails
    /// after a commit fails for another reason.
    pub(crate) fn insert(&mut self, index: usize) -> bool {
        self.0.insert(index)
    }
}

impl MigrationSet {
    /// Whether all of these migrations can run in one transaction: all are transactional, and none needs the commit of an
    /// earlier one.
    pub(crate) fn is_one_transaction(&self, migrations: &[usize]) -> bool {
        self.first_transaction(migrations, &Boundaries::default()).len() == migrations.len()
    }

    /// The longest prefix of the migrations that can run in one transaction. Empty if the first migration is not
    /// transactional.
    pub(crate) fn first_transaction<'a>(&self, migrations: &'a [usize], boundaries: &Boundaries) -> &'a [usize] {
        let many = migrations.iter().take_while(|index| self.at(**index).mode() == Mode::Transactional).count();
        let end = (1..many).find(|place| {
            let (before, next) = (migrations[place - 1], migrations[*place]);
            self.must_be_committed(before)
                || boundaries.0.contains(&next)
                || self.is_alone(before)
                || self.is_alone(next)
        });
        &migrations[..end.unwrap_or(many)]
    }

    /// Whether a migration runs in a separate transaction, because it may change objects outside the tenant's schema and
    /// the other migrations may not.
    fn is_alone(&self, index: usize) -> bool {
        self.at(index).outside_reason().is_some()
    }

    /// Whether later migrations may need the commit of this one: a new enum value cannot be used before the commit, and a
    /// table with pending trigger events cannot be altered. Deferred constraints are also checked at the commit.
    fn must_be_committed(&self, index: usize) -> bool {
        let up = self.at(index).up().traits();
        up.adds_enum_value || (up.may_write && self.may_defer())
    }

    /// Whether a migration may create deferrable constraints.
    fn may_defer(&self) -> bool {
        self.iter().any(|migration| migration.up().traits().may_defer)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::load;
    use super::*;

    #[test]
    fn a_boundary_ends_a_transaction_before_its_migration() {
        let set = load(&[
            ("20260101000000_a/up.sql", b"CREATE TABLE a ();"),
            ("20260102000000_b/up.sql", b"CREATE TABLE b ();"),
            ("20260103000000_c/up.sql", b"CREATE TABLE c ();"),
        ])
        .unwrap();
        let all = [0, 1, 2];
        let mut boundaries = Boundaries::default();
        assert_eq!(set.first_transaction(&all, &boundaries), all);
        assert!(boundaries.insert(1));
        assert_eq!(set.first_transaction(&all, &boundaries), [0]);
        assert_eq!(set.first_transaction(&all[1..], &boundaries), [1, 2], "the boundary is before the first one");
        assert!(!boundaries.insert(1));
    }
}
