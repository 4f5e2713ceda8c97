//! What migrations leave in a schema besides its structure.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Oid, Text};

use crate::postgres::{CHUNK, path};
use crate::sql::quote::{Identifier, Literal};
use crate::tenants::ledger;

#[derive(QueryableByName)]
struct Inspected {
    #[diesel(sql_type = Text)]
    schema: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Bool)]
    is_sequence: bool,
    #[diesel(sql_type = BigInt)]
    start: i64,
}

#[derive(QueryableByName)]
struct Leftover {
    #[diesel(sql_type = Text)]
    found: String,
}

/// The first table with rows or sequence with another value than its first, as a clause; `None` if there is none. The ledger
/// does not count. In the caller's transaction; settings are restored.
pub(super) fn read(conn: &mut PgConnection, schema: u32) -> QueryResult<Option<String>> {
    // A policy would hide rows. Without row security, the query fails instead.
    conn.batch_execute(&format!(
        "SAVEPOINT leftovers; {} SET LOCAL row_security TO off;",
        path::CATALOG_FOR_TRANSACTION
    ))?;
    let relations: Vec<Inspected> = sql_query(
        "SELECT n.nspname::text AS schema, c.relname::text AS name, c.relkind = 'S' AS is_sequence, \
             coalesce(q.seqstart, 0) AS start \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_sequence q ON q.seqrelid = c.oid \
         WHERE c.relnamespace = $1 AND c.relkind IN ('r', 'm', 'S') AND c.relname <> $2 ORDER BY c.relname",
    )
    .bind::<Oid, _>(schema)
    .bind::<Text, _>(ledger::TABLE)
    .load(conn)?;
    let mut found = None;
    for chunk in relations.chunks(CHUNK) {
        let queries: Vec<String> = chunk.iter().map(Inspected::query).collect();
        let rows: Vec<Leftover> = sql_query(format!("{} LIMIT 1", queries.join(" UNION ALL "))).load(conn)?;
        if let Some(row) = rows.into_iter().next() {
            found = Some(row.found);
            break;
        }
    }
    conn.batch_execute("ROLLBACK TO SAVEPOINT leftovers; RELEASE SAVEPOINT leftovers")?;
    Ok(found)
}

impl Inspected {
    fn query(&self) -> String {
        let name = format!("{}.{}", Identifier::of_object(&self.schema), Identifier::of_object(&self.name));
        let (from, what) = match self.is_sequence {
            true => (
                format!("{name} WHERE is_called OR last_value <> {}", self.start),
                format!("advance the sequence {}", self.name),
            ),
            false => (format!("ONLY {name}"), format!("leave rows in {}", self.name)),
        };
        format!("SELECT {} AS found WHERE EXISTS (SELECT FROM {from})", Literal(&what))
    }
}
