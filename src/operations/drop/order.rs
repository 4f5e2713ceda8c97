//! The order in which the objects of a schema are dropped, and the number of objects in a step.
//!
//! An object is dropped before the objects that it uses, so that `CASCADE` drops no object of another step. If objects use
//! each other in a cycle, `CASCADE` drops one of them early.

use std::collections::{BTreeSet, BinaryHeap, HashMap};

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Oid};

use crate::operations::catalogs::{BEGIN_READING, read};

/// The catalog that an object is in, and its oid.
pub(super) type Address = (u32, u32);

/// The remaining objects of a schema.
#[derive(Debug, Default)]
pub(super) struct Remaining {
    /// The number of locks that dropping all of them takes.
    pub(super) locks: i64,
    /// The objects that can be dropped separately, sorted by address.
    objects: Vec<DroppableObject>,
}

#[derive(Debug)]
struct DroppableObject {
    address: Address,
    locks: i64,
    uses: Vec<Address>,
}

/// The objects that one transaction drops.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) objects: Vec<Address>,
    pub(super) locks: i64,
}

impl Remaining {
    /// Reads the catalogs in a transaction that `begin` begins.
    pub(super) fn read(conn: &mut PgConnection, schema: u32, begin: &str) -> QueryResult<Self> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Oid)]
            class: u32,
            #[diesel(sql_type = Oid)]
            id: u32,
            #[diesel(sql_type = BigInt)]
            locks: i64,
            #[diesel(sql_type = Bool)]
            is_last: bool,
            #[diesel(sql_type = Array<Oid>)]
            used_classes: Vec<u32>,
            #[diesel(sql_type = Array<Oid>)]
            used_ids: Vec<u32>,
        }
        let rows: Vec<Row> = read(
            conn,
            begin,
            concat!(include_str!("../inside.sql"), include_str!("parts.sql"), include_str!("objects.sql")),
            &[schema],
        )?;
        let locks = rows.iter().map(|row| row.locks).sum();
        let objects = rows.into_iter().filter(|row| !row.is_last).map(|row| DroppableObject {
            address: (row.class, row.id),
            locks: row.locks + row.used_ids.len() as i64,
            uses: row.used_classes.into_iter().zip(row.used_ids).collect(),
        });
        Ok(Self { locks, objects: objects.collect() })
    }

    /// Divides the objects into steps of at most `most` locks. An object that needs more is a step of its own.
    pub(super) fn steps(&self, most: i64) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for (address, locks) in self.in_order() {
            match steps.last_mut() {
                Some(step) if step.locks + locks <= most => {
                    step.objects.push(address);
                    step.locks += locks;
                }
                _ => steps.push(Step { objects: vec![address], locks }),
            }
        }
        steps
    }

    /// Sorts the objects, each before those that it uses and newer ones first, with the locks that each takes.
    fn in_order(&self) -> Vec<(Address, i64)> {
        let place: HashMap<Address, usize> =
            self.objects.iter().enumerate().map(|(at, object)| (object.address, at)).collect();
        let uses = |at: usize| self.objects[at].uses.iter().filter_map(|address| place.get(address).copied());
        let mut users: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); self.objects.len()];
        for at in 0..self.objects.len() {
            uses(at).for_each(|used| _ = users[used].insert(at));
        }
        let mut waiting: BTreeSet<usize> = (0..self.objects.len()).collect();
        let mut free: BinaryHeap<usize> = waiting.iter().copied().filter(|at| users[*at].is_empty()).collect();
        let mut order = Vec::with_capacity(self.objects.len());
        while !waiting.is_empty() {
            // In a cycle, the one that is used by the fewest.
            let Some(at) = free.pop().or_else(|| waiting.iter().rev().copied().min_by_key(|at| users[*at].len()))
            else {
                break;
            };
            waiting.remove(&at);
            let along: i64 = users[at].iter().map(|user| self.objects[*user].locks).sum();
            order.push((self.objects[at].address, self.objects[at].locks + along));
            for used in uses(at) {
                users[used].remove(&at);
                if users[used].is_empty() && waiting.contains(&used) {
                    free.push(used);
                }
            }
        }
        order
    }
}

/// The number of locks that dropping each of at most [`CHUNK`](crate::postgres::CHUNK) schemas takes.
pub(super) fn locks_of(conn: &mut PgConnection, schemas: &[u32]) -> QueryResult<Vec<(u32, i64)>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Oid)]
        schema: u32,
        #[diesel(sql_type = BigInt)]
        locks: i64,
    }
    const COUNT: &str = concat!(
        include_str!("../inside.sql"),
        include_str!("parts.sql"),
        "SELECT schema, pg_catalog.count(*) AS locks FROM part GROUP BY schema"
    );
    let rows: Vec<Row> = read(conn, BEGIN_READING, COUNT, schemas)?;
    Ok(rows.into_iter().map(|Row { schema, locks }| (schema, locks)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Objects that take ten locks each, with the objects that they use.
    fn remaining(objects: &[(u32, &[u32])]) -> Remaining {
        let address = |id: &u32| (1, *id);
        let object = |(id, uses): &(u32, &[u32])| DroppableObject {
            address: address(id),
            locks: 10,
            uses: uses.iter().map(address).collect(),
        };
        Remaining { locks: 10 * objects.len() as i64, objects: objects.iter().map(object).collect() }
    }

    fn order(objects: &[(u32, &[u32])]) -> Vec<u32> {
        remaining(objects).in_order().into_iter().map(|((_, id), _)| id).collect()
    }

    #[test]
    fn object_is_dropped_before_the_objects_it_uses() {
        assert_eq!(order(&[(1, &[]), (2, &[1]), (3, &[1, 2]), (4, &[])]), [4, 3, 2, 1]);
        assert_eq!(order(&[(1, &[2]), (2, &[3]), (3, &[])]), [1, 2, 3]);
        assert_eq!(order(&[(1, &[1, 99])]), [1], "an object that uses itself and one that does not exist");
        assert!(order(&[]).is_empty());
    }

    #[test]
    fn cycle_starts_with_the_least_used_object() {
        assert_eq!(order(&[(1, &[2]), (2, &[1]), (3, &[1])]), [3, 2, 1]);
        let circle = remaining(&[(1, &[2]), (2, &[1])]);
        assert_eq!(circle.in_order(), [((1, 2), 20), ((1, 1), 10)]);
    }

    #[test]
    fn steps_stay_within_the_lock_limit() {
        let some = remaining(&[(1, &[]), (2, &[]), (3, &[])]);
        let sizes = |most| some.steps(most).iter().map(|step| (step.objects.len(), step.locks)).collect::<Vec<_>>();
        assert_eq!(sizes(100), [(3, 30)]);
        assert_eq!(sizes(25), [(2, 20), (1, 10)]);
        assert_eq!(sizes(1), [(1, 10), (1, 10), (1, 10)], "at least one object each");
    }
}
