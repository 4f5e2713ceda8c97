//! In which order the objects of a schema are dropped, and how many of them at once.
//!
//! An object goes before those that it uses, so that no `CASCADE` takes along what is another step's. Where objects use
//! each other in a circle, it takes along one of them.

use std::collections::{BTreeSet, BinaryHeap, HashMap};

use diesel::connection::SimpleConnection;
use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Bool, Oid};

/// The catalog that an object is in, and its oid.
pub(super) type Address = (u32, u32);

/// What is left of a schema.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// How many locks it takes to drop all of it.
    pub(super) locks: i64,
    /// What can be dropped by itself, in the order of addresses.
    objects: Vec<Object>,
}

#[derive(Debug)]
struct Object {
    address: Address,
    locks: i64,
    uses: Vec<Address>,
}

/// Objects that are dropped in one transaction.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) objects: Vec<Address>,
    pub(super) locks: i64,
}

impl Left {
    /// Reads it from the catalogs, in a transaction that `begin` begins.
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
        let rows: Vec<Row> =
            read(conn, begin, concat!(include_str!("parts.sql"), include_str!("objects.sql")), &[schema])?;
        let locks = rows.iter().map(|row| row.locks).sum();
        let objects = rows.into_iter().filter(|row| !row.is_last).map(|row| Object {
            address: (row.class, row.id),
            locks: row.locks + row.used_ids.len() as i64,
            uses: row.used_classes.into_iter().zip(row.used_ids).collect(),
        });
        Ok(Self { locks, objects: objects.collect() })
    }

    /// What is to be dropped, in steps of at most so many locks each; an object that needs more is a step by itself.
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

    /// The objects, each before those that it uses, and newer ones first; with the locks that each takes.
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
            // In a circle, the one that takes the fewest along.
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

/// How many locks it takes to drop each of some schemas, of at most [`CHUNK`](crate::postgres::CHUNK).
pub(super) fn locks_of(conn: &mut PgConnection, schemas: &[u32]) -> QueryResult<Vec<(u32, i64)>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Oid)]
        schema: u32,
        #[diesel(sql_type = BigInt)]
        locks: i64,
    }
    let count = concat!(include_str!("parts.sql"), "SELECT schema, count(*) AS locks FROM part GROUP BY schema");
    // Compiling such a query takes longer than running it.
    let rows: Vec<Row> = read(conn, "BEGIN; SET LOCAL jit TO off", count, schemas)?;
    Ok(rows.into_iter().map(|Row { schema, locks }| (schema, locks)).collect())
}

fn read<R: QueryableByName<Pg> + 'static>(
    conn: &mut PgConnection,
    begin: &str,
    sql: &str,
    schemas: &[u32],
) -> QueryResult<Vec<R>> {
    let result = conn.batch_execute(begin).and_then(|()| sql_query(sql).bind::<Array<Oid>, _>(schemas).load(conn));
    let ended = conn.batch_execute("ROLLBACK");
    let rows = result?;
    ended.map(|()| rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Objects of ten locks each, by what they use.
    fn left(objects: &[(u32, &[u32])]) -> Left {
        let address = |id: &u32| (1, *id);
        let object = |(id, uses): &(u32, &[u32])| Object {
            address: address(id),
            locks: 10,
            uses: uses.iter().map(address).collect(),
        };
        Left { locks: 10 * objects.len() as i64, objects: objects.iter().map(object).collect() }
    }

    fn order(objects: &[(u32, &[u32])]) -> Vec<u32> {
        left(objects).in_order().into_iter().map(|((_, id), _)| id).collect()
    }

    #[test]
    fn what_uses_others_goes_first() {
        assert_eq!(order(&[(1, &[]), (2, &[1]), (3, &[1, 2]), (4, &[])]), [4, 3, 2, 1]);
        assert_eq!(order(&[(1, &[2]), (2, &[3]), (3, &[])]), [1, 2, 3]);
        assert_eq!(order(&[(1, &[1, 99])]), [1], "itself, and what is not there");
        assert!(order(&[]).is_empty());
    }

    #[test]
    fn a_circle_is_broken_where_the_fewest_are_taken_along() {
        assert_eq!(order(&[(1, &[2]), (2, &[1]), (3, &[1])]), [3, 2, 1]);
        let circle = left(&[(1, &[2]), (2, &[1])]);
        assert_eq!(circle.in_order(), [((1, 2), 20), ((1, 1), 10)]);
    }

    #[test]
    fn steps_take_no_more_than_they_may() {
        let some = left(&[(1, &[]), (2, &[]), (3, &[])]);
        let sizes = |most| some.steps(most).iter().map(|step| (step.objects.len(), step.locks)).collect::<Vec<_>>();
        assert_eq!(sizes(100), [(3, 30)]);
        assert_eq!(sizes(25), [(2, 20), (1, 10)]);
        assert_eq!(sizes(1), [(1, 10), (1, 10), (1, 10)], "each at least");
    }
}
