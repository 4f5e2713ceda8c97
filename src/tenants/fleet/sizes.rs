//! The sizes of schemas.

use std::collections::HashMap;

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Oid};

use crate::error::Error;

/// The estimated size of each schema in pages, without TOAST tables, by the schema's oid.
///
/// # Errors
/// The server's error.
pub(crate) fn sizes(conn: &mut PgConnection) -> Result<HashMap<u32, i64>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Oid)]
        schema: u32,
        #[diesel(sql_type = BigInt)]
        pages: i64,
    }
    let rows: Vec<Row> = sql_query(
        "SELECT relnamespace AS schema, pg_catalog.sum(relpages)::bigint AS pages FROM pg_catalog.pg_class \
         GROUP BY relnamespace",
    )
    .load(conn)
    .map_err(Error::doing("read the sizes of the tenants"))?;
    Ok(rows.into_iter().map(|row| (row.schema, row.pages)).collect())
}
