//! Reading the catalogs about some schemas, at a cost that does not depend on the other schemas.

use diesel::connection::SimpleConnection;
use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Oid};

macro_rules! by_index {
    () => {
        "SET LOCAL enable_seqscan TO off; SET LOCAL jit TO off;"
    };
}

/// Settings of a transaction that reads catalogs. A scan of a whole catalog takes as long as the fleet is large, and the
/// planner may choose one where most rows of a column have the same value, as `pg_constraint.contypid` has. Compiling such
/// a query takes longer than running it.
pub(super) const BY_INDEX: &str = by_index!();

/// Begins a transaction that reads catalogs, with [`BY_INDEX`].
pub(super) const BEGIN_READING: &str = concat!("BEGIN READ ONLY; ", by_index!());

/// Runs a query about schemas in a transaction that `begin` begins, and rolls it back.
pub(super) fn read<R: QueryableByName<Pg> + 'static>(
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
