//! The second attempt at the differences that remain, if losing data is allowed: an object that cannot be changed is dropped
//! and recreated, together with everything that depends on it.

use std::collections::BTreeSet;

use diesel::connection::SimpleConnection;

use super::builder::Builder;
use super::execution::{Execution, StopCause};
use super::rebuild::{SavedRows, needs_rebuild};
use super::{Key, RepairStatement};
use crate::error::Error;
use crate::schema::drift::compare::compare;
use crate::schema::drift::difference::{Aspect, Difference};
use crate::schema::structure::{Identity, ObjectKind as Kind, Structure, filled_in};

/// How often the search for dependent objects is repeated.
const DEPTH: usize = 8;

/// What an attempt drops for an object that cannot be repaired in place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    /// Only what depends on it, so that it can be changed.
    Freed(Identity),
    /// The object, too.
    Dropped(Identity),
}

/// Whether an attempt reduced the differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AttemptResult {
    Helped,
    /// It was undone.
    Undone,
}

/// The state to which an attempt that does not help returns.
struct Checkpoint {
    statements: Vec<RepairStatement>,
    ran: Vec<usize>,
    saved: SavedRows,
    remaining: Vec<Difference>,
    structure: Structure,
    attempt_start: usize,
}

impl Execution<'_> {
    /// Makes an attempt for each object with a remaining difference. An attempt helps if fewer differences remain, no new
    /// one appears, and all saved rows are restored.
    pub(super) fn escalate(&mut self) -> Result<(), StopCause> {
        let mut attempted = BTreeSet::new();
        loop {
            let is_first = |target: &Target| match target {
                Target::Dropped(Identity { kind: Kind::Table, name, .. }) => !self.not_rebuilt.contains(name),
                _ => false,
            };
            let targets = self.targets().into_iter().map(|target| (is_first(&target), target));
            let Some((first, target)) = targets.into_iter().find(|key| !attempted.contains(key)) else { return Ok(()) };
            attempted.insert((first, target.clone()));
            let attempt = self.attempt(&target)?;
            // If the table cannot be recreated, its differences are repaired one by one after all.
            if let (AttemptResult::Undone, true, Target::Dropped(table)) = (attempt, first, target) {
                self.not_rebuilt.insert(table.name);
                self.run_rounds(Vec::new())?;
            }
        }
    }

    /// The possible attempts, those that drop the least first.
    fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        for difference in self.remaining.iter().filter(|difference| difference.level.fails_by_default()) {
            let identity = Identity {
                name: filled_in(&difference.identity.name, &self.structure.own_name),
                ..difference.identity.clone()
            };
            let on = |kind| identity.on.clone().map(|name| Identity { kind, on: None, name });
            let holder = [
                Kind::Table,
                Kind::CompositeType,
                Kind::Domain,
                Kind::View,
                Kind::MaterializedView,
                Kind::ForeignTable,
            ]
            .into_iter()
            .filter_map(on)
            .find(|holder| self.structure.objects.contains_key(holder));
            if identity.kind == Kind::SecurityLabel {
                // The label's provider is not loaded.
                targets.extend(self.builder().labelled(&identity).map(|object| (3, Target::Dropped(object))));
                continue;
            }
            let exists = self.structure.objects.contains_key(&identity);
            if needs_rebuild(difference) && !self.not_rebuilt.contains(&identity.name) {
                targets.push((0, Target::Dropped(identity)));
                continue;
            }
            if exists {
                if matches!(
                    identity.kind,
                    Kind::Column | Kind::Function | Kind::Procedure | Kind::Aggregate | Kind::View
                ) {
                    targets.push((1, Target::Freed(identity.clone())));
                }
                if !matches!(identity.kind, Kind::Column | Kind::Attribute) || difference.aspect == Aspect::Extra {
                    targets.push((2, Target::Dropped(identity.clone())));
                }
            }
            if let Some(holder) = holder {
                targets.push((3, Target::Dropped(holder)));
            }
        }
        targets.sort();
        targets.dedup();
        targets.into_iter().map(|(_, target)| target).collect()
    }

    /// Drops the target and plans for what is missing then. Undoes that if it does not help.
    fn attempt(&mut self, target: &Target) -> Result<AttemptResult, StopCause> {
        let Some((statements, saved)) = self.dismantled(target)? else { return Ok(AttemptResult::Undone) };
        if statements.is_empty() {
            return Ok(AttemptResult::Undone);
        }
        let checkpoint = Checkpoint {
            statements: self.statements.clone(),
            ran: self.ran.clone(),
            saved: self.saved.clone(),
            remaining: self.remaining.clone(),
            structure: self.structure.clone(),
            attempt_start: self.attempt_start,
        };
        self.attempt_start = self.statements.len();
        self.saved.extend(saved.clone());
        let drops = self.attempt_start..self.attempt_start + statements.len();
        self.statements.extend(statements);
        self.run_rounds(drops.clone().collect())?;
        let all_dropped = self.statements[drops].iter().all(RepairStatement::runs);
        let keys = |differences: &[Difference]| -> BTreeSet<Key> {
            differences.iter().map(|difference| (difference.identity.clone(), difference.aspect.clone())).collect()
        };
        let (before, after) = (keys(&checkpoint.remaining), keys(&self.remaining));
        if all_dropped && self.all_restored(&saved) && after.len() < before.len() && after.is_subset(&before) {
            return Ok(AttemptResult::Helped);
        }
        self.return_to(checkpoint)?;
        Ok(AttemptResult::Undone)
    }

    fn return_to(&mut self, checkpoint: Checkpoint) -> Result<(), StopCause> {
        self.roll_back().map_err(Error::doing("verify the repair plan"))?;
        let Checkpoint { statements, ran, saved, remaining, structure, attempt_start } = checkpoint;
        (self.statements, self.ran, self.saved) = (statements, Vec::new(), saved);
        (self.remaining, self.structure, self.attempt_start) = (remaining, structure, attempt_start);
        self.run_all(ran)
    }

    fn all_restored(&self, saved: &SavedRows) -> bool {
        let restored: BTreeSet<&String> =
            self.ran.iter().filter_map(|index| self.statements[*index].restores.as_ref()).collect();
        saved.values().all(|table| {
            restored.contains(&table.temporary) && table.sequences.iter().all(|(_, name)| restored.contains(name))
        })
    }

    /// The statements that drop the target and what depends on it, and the rows that they save. `None` if they would drop
    /// an object that cannot be recreated.
    fn dismantled(&mut self, target: &Target) -> Result<Option<(Vec<RepairStatement>, SavedRows)>, Error> {
        let (Target::Freed(object) | Target::Dropped(object)) = target;
        let mut roots = BTreeSet::from([object.clone()]);
        let mut lost = BTreeSet::new();
        for _ in 0..DEPTH {
            let Some(found) = self.lost_with(&roots)? else { return Ok(None) };
            lost = found;
            let mut more = self.builder().dropped_as_a_whole(&lost);
            // The table of a column that is only freed stays.
            if let (Kind::Column, Some(on)) = (object.kind, &object.on) {
                let table = Identity { kind: Kind::Table, on: None, name: on.clone() };
                if !lost.contains(&table) {
                    more.remove(&table);
                }
            }
            if more.iter().all(|identity| roots.contains(identity)) {
                break;
            }
            roots.extend(more);
        }
        if lost.iter().any(|identity| self.accepted_extras.contains(identity)) {
            return Ok(None);
        }
        let dropped = matches!(target, Target::Dropped(_)).then_some(object);
        if dropped.is_none() {
            lost.remove(object);
        }
        // The parts of the object stay, too.
        if dropped.is_none() && object.kind != Kind::Column {
            lost.retain(|identity| identity.on.as_ref() != Some(&object.name) || object.on.is_some());
        }
        let mut temporary_tables = self.temporary_tables;
        let planned = self.builder().dismantle(dropped, &lost, &mut temporary_tables);
        self.temporary_tables = temporary_tables;
        Ok(Some(planned))
    }

    pub(super) fn builder(&self) -> Builder<'_> {
        let expected = self.trial.compared.expected().expect("a plan exists only if the reference does");
        Builder::new(expected, &self.structure, &self.remaining, self.options)
    }

    /// The objects that `DROP … CASCADE` of the roots drops, which is tried and rolled back. `None` if it fails.
    fn lost_with(&mut self, roots: &BTreeSet<Identity>) -> Result<Option<BTreeSet<Identity>>, Error> {
        let doing = Error::doing("find dependent objects");
        let builder = self.builder();
        let drops: Option<Vec<String>> = roots.iter().map(|root| builder.drop_of(root)).collect();
        let Some(drops) = drops else { return Ok(None) };
        self.conn.batch_execute("SAVEPOINT dismantle").map_err(&doing)?;
        let mut dropped = Ok(());
        for drop in drops {
            dropped = dropped.and_then(|()| self.conn.batch_execute(&format!("{drop} CASCADE")));
        }
        let found = match dropped {
            Ok(()) => {
                let after = self.trial.read(self.conn, self.options.version)?;
                Some(self.structure.objects.keys().filter(|key| !after.objects.contains_key(key)).cloned().collect())
            }
            Err(error) if crate::postgres::ServerMessage::is_connection_lost(&error) => return Err(doing(error)),
            Err(_) => None,
        };
        self.conn.batch_execute("ROLLBACK TO SAVEPOINT dismantle; RELEASE SAVEPOINT dismantle").map_err(&doing)?;
        Ok(found)
    }

    /// Finds the unexpected objects of the tenant that are accepted.
    pub(super) fn find_accepted(&mut self) {
        let Some(expected) = self.trial.compared.expected() else { return };
        let all = compare(expected, &self.structure, &self.trial.compared.names);
        let accepted = all
            .into_iter()
            .filter(|difference| difference.aspect == Aspect::Extra && (self.trial.accepted)(difference));
        self.accepted_extras = accepted.map(|difference| difference.identity).collect();
    }
}
