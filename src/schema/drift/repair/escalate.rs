//! What is left is tried again in a harder way, where losing data is allowed: an object that cannot be changed is dropped
//! and created again, with all that depends on it.

use std::collections::BTreeSet;

use diesel::connection::SimpleConnection;

use super::builder::Builder;
use super::rebuild::{Kept, needs_rebuild};
use super::verify::{Locked, Run};
use super::{Key, Statement};
use crate::error::Error;
use crate::schema::drift::compare::compare;
use crate::schema::drift::difference::{Aspect, Difference};
use crate::schema::structure::{Identity, ObjectKind as Kind};

/// How often the objects that go with others are looked for again.
const DEPTH: usize = 8;

/// What is done with an object that stands in the way of a repair.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    /// What depends on it is dropped, so that it can be changed.
    Freed(Identity),
    /// It is dropped, too.
    Dropped(Identity),
}

/// The state to return to when an attempt does not help.
struct Before {
    statements: Vec<Statement>,
    ran: Vec<usize>,
    kept: Kept,
    left: Vec<Difference>,
    structure: crate::schema::structure::Structure,
    epoch: usize,
}

impl Run<'_> {
    /// Tries each object that the differences left are about. An attempt counts when it leaves fewer differences, no new
    /// one, and every row that it set aside is back.
    pub(super) fn escalate(&mut self) -> Result<Result<(), Locked>, Error> {
        let mut tried = BTreeSet::new();
        loop {
            let is_first = |target: &Target| match target {
                Target::Dropped(Identity { kind: Kind::Table, name, .. }) => !self.not_rebuilt.contains(name),
                _ => false,
            };
            let targets = self.targets().into_iter().map(|target| (is_first(&target), target));
            let Some((first, target)) = targets.into_iter().find(|key| !tried.contains(key)) else { return Ok(Ok(())) };
            tried.insert((first, target.clone()));
            let helped = match self.attempt(&target)? {
                Ok(helped) => helped,
                Err(locked) => return Ok(Err(locked)),
            };
            // Where the table cannot be created again, what was put off for it is planned after all.
            if let (false, true, Target::Dropped(table)) = (helped, first, target) {
                self.not_rebuilt.insert(table.name);
                if let Err(locked) = self.rounds(Vec::new())? {
                    return Ok(Err(locked));
                }
            }
        }
    }

    /// The gentlest first.
    fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        for difference in self.left.iter().filter(|difference| difference.level.fails_by_default()) {
            let identity = Identity {
                name: crate::schema::structure::filled_in(&difference.identity.name, &self.structure.own_name),
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

    /// Whether the attempt helped.
    fn attempt(&mut self, target: &Target) -> Result<Result<bool, Locked>, Error> {
        let own = Error::doing("try the plan");
        let Some((statements, kept)) = self.dismantled(target)? else { return Ok(Ok(false)) };
        if statements.is_empty() {
            return Ok(Ok(false));
        }
        let before = Before {
            statements: self.statements.clone(),
            ran: self.ran.clone(),
            kept: self.kept.clone(),
            left: self.left.clone(),
            structure: self.structure.clone(),
            epoch: self.epoch,
        };
        self.epoch = self.statements.len();
        self.kept.extend(kept.clone());
        let todo: Vec<usize> = (self.epoch..self.epoch + statements.len()).collect();
        let last = self.epoch + statements.len();
        self.statements.extend(statements);
        if let Err(locked) = self.rounds(todo)? {
            return Ok(Err(locked));
        }
        let all_ran = self.statements[self.epoch..last].iter().all(Statement::runs);
        let keys = |left: &[Difference]| -> BTreeSet<Key> {
            left.iter().map(|difference| (difference.identity.clone(), difference.aspect.clone())).collect()
        };
        let (left_before, left) = (keys(&before.left), keys(&self.left));
        if all_ran && self.all_restored(&kept) && left.len() < left_before.len() && left.is_subset(&left_before) {
            return Ok(Ok(true));
        }
        self.conn.batch_execute("ROLLBACK TO SAVEPOINT begun").map_err(&own)?;
        let Before { statements, ran, kept, left, structure, epoch } = before;
        (self.statements, self.ran, self.kept) = (statements, Vec::new(), kept);
        (self.left, self.structure, self.epoch) = (left, structure, epoch);
        Ok(self.all(ran).map_err(&own)?.map(|()| false))
    }

    fn all_restored(&self, kept: &Kept) -> bool {
        let restored: BTreeSet<&String> =
            self.ran.iter().filter_map(|index| self.statements[*index].restores.as_ref()).collect();
        kept.values().all(|table| {
            restored.contains(&table.temporary) && table.sequences.iter().all(|(_, name)| restored.contains(name))
        })
    }

    /// The statements that drop what depends on the target, and it itself; none where that would drop something that
    /// cannot be created again.
    fn dismantled(&mut self, target: &Target) -> Result<Option<(Vec<Statement>, Kept)>, Error> {
        let (Target::Freed(object) | Target::Dropped(object)) = target;
        let mut roots = BTreeSet::from([object.clone()]);
        let mut lost = BTreeSet::new();
        for _ in 0..DEPTH {
            let Some(found) = self.lost_with(&roots)? else { return Ok(None) };
            lost = found;
            let mut more = self.builder().goes_whole(&lost);
            // A column that is only freed stays.
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
        // Only what depends on it, and not what is part of it.
        if dropped.is_none() && object.kind != Kind::Column {
            lost.retain(|identity| identity.on.as_ref() != Some(&object.name) || object.on.is_some());
        }
        let mut numbers = self.temporaries;
        let planned = self.builder().dismantle(dropped, &lost, &mut numbers);
        self.temporaries = numbers;
        Ok(Some(planned))
    }

    fn builder(&self) -> Builder<'_> {
        let expected = self.trial.compared.expected().expect("there is a reference, or there would be no plan");
        Builder::new(expected, &self.structure, &self.left, self.options)
    }

    /// The objects of the tenant that go when others are dropped with all that depends on them; that is rolled back.
    fn lost_with(&mut self, roots: &BTreeSet<Identity>) -> Result<Option<BTreeSet<Identity>>, Error> {
        let own = Error::doing("try the plan");
        let builder = self.builder();
        let drops: Option<Vec<String>> = roots.iter().map(|root| builder.drop_of(root)).collect();
        let Some(drops) = drops else { return Ok(None) };
        self.conn.batch_execute("SAVEPOINT dismantle").map_err(&own)?;
        let mut dropped = Ok(());
        for drop in drops {
            dropped = dropped.and_then(|()| self.conn.batch_execute(&format!("{drop} CASCADE")));
        }
        let found = match dropped {
            Ok(()) => {
                let after = self.trial.read(self.conn, self.options.version)?;
                Some(self.structure.objects.keys().filter(|key| !after.objects.contains_key(key)).cloned().collect())
            }
            Err(error) if crate::postgres::ServerMessage::is_connection_lost(&error) => return Err(own(error)),
            Err(_) => None,
        };
        self.conn.batch_execute("ROLLBACK TO SAVEPOINT dismantle; RELEASE SAVEPOINT dismantle").map_err(&own)?;
        Ok(found)
    }

    /// What the tenant has, the reference has not, and is accepted.
    pub(super) fn find_accepted(&mut self) {
        let Some(expected) = self.trial.compared.expected() else { return };
        let all = compare(expected, &self.structure, &self.trial.compared.names);
        let accepted = all
            .into_iter()
            .filter(|difference| difference.aspect == Aspect::Extra && (self.trial.accepted)(difference));
        self.accepted_extras = accepted.map(|difference| difference.identity).collect();
    }
}
