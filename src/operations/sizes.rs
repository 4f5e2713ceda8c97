//! The sizes of schemas.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Oid};

use super::catalogs::{BEGIN_READING, BY_INDEX, read};
use crate::postgres::{CHUNK, Condition, with_lock_timeout};

/// The size of a schema.
#[derive(QueryableByName)]
pub(super) struct Size {
    #[diesel(sql_type = Oid)]
    pub(super) oid: u32,
    #[diesel(sql_type = BigInt)]
    pub(super) tables: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) estimated_rows: i64,
    /// By the statistics of the server.
    #[diesel(sql_type = BigInt)]
    pub(super) dead_rows: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) bytes: i64,
}

/// Sizes of schemas.
pub(super) struct Measured {
    pub(super) sizes: Vec<Size>,
    /// Whether the bytes are estimates.
    pub(super) estimated: bool,
}

/// Measures schemas. The exact size takes a lock on each table, and the server's process keeps what it has opened for it
/// until it ends. So it is an estimate for more than [`CHUNK`] schemas in all, and where a session holds a lock on a table.
pub(super) fn measure(conn: &mut PgConnection, schemas: &[u32], in_all: usize) -> QueryResult<Measured> {
    const EXACT: &str = include_str!("sizes.sql");
    if in_all <= CHUNK {
        let exact = with_lock_timeout(conn, |conn| {
            conn.batch_execute(BY_INDEX)?;
            sql_query(EXACT).bind::<Array<Oid>, _>(schemas).load(conn)
        });
        match exact {
            Err(error) if Condition::of(&error) == Some(Condition::LockTimeout) => {}
            sizes => return sizes.map(|sizes| Measured { sizes, estimated: false }),
        }
    }
    let estimate = EXACT.replace("pg_catalog.pg_total_relation_size(c.oid)", include_str!("estimated_size.sql"));
    read(conn, BEGIN_READING, &estimate, schemas).map(|sizes| Measured { sizes, estimated: true })
}
