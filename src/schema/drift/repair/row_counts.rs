//! The number of rows that each statement with data loss is about.

use std::collections::BTreeMap;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Double};

use super::execution::Execution;
use super::text::ident;
use crate::error::Error;
use crate::schema::structure::{Identity, ObjectKind};
use crate::sql::quote::Literal;

/// Rows are counted up to this number, and estimated beyond it.
const COUNTED: i64 = 10_000;

#[derive(QueryableByName)]
struct Rows {
    #[diesel(sql_type = BigInt)]
    counted: i64,
    #[diesel(sql_type = Double)]
    estimate: f64,
}

impl Execution<'_> {
    /// Adds to each description of a data loss how many rows the table has. Undoes all statements to count them.
    pub(super) fn add_row_counts(&mut self) -> Result<(), Error> {
        let doing = Error::doing("count rows");
        self.roll_back().map_err(&doing)?;
        let mut counts: BTreeMap<String, Option<String>> = BTreeMap::new();
        for index in self.ran.clone() {
            let statement = &self.statements[index];
            let Some(loss) = statement.data_loss.clone() else { continue };
            let table = statement.object.on.as_ref().unwrap_or(&statement.object.name).clone();
            let rows = match counts.get(&table) {
                Some(rows) => rows.clone(),
                None => self.count_rows(&table).map_err(&doing)?,
            };
            if let Some(rows) = &rows {
                self.statements[index].data_loss = Some(format!("{loss} ({rows})"));
            }
            counts.insert(table, rows);
        }
        Ok(())
    }

    /// The number of rows of a table or materialized view, in words; `None` if it did not exist or cannot be read.
    fn count_rows(&mut self, table: &str) -> QueryResult<Option<String>> {
        let original = &self.trial.compared.structure;
        let kinds = [ObjectKind::Table, ObjectKind::MaterializedView];
        let existed = |kind| original.objects.contains_key(&Identity { kind, on: None, name: table.to_owned() });
        if !kinds.into_iter().any(existed) {
            return Ok(None);
        }
        let table = format!("{}.{}", original.own_name, ident(table));
        let sql = format!(
            "SELECT (SELECT count(*) FROM (SELECT FROM {table} LIMIT {}) x) AS counted, reltuples::float8 AS estimate \
             FROM pg_catalog.pg_class WHERE oid = {}::pg_catalog.regclass",
            COUNTED + 1,
            Literal(&table)
        );
        self.conn.batch_execute("SAVEPOINT one")?;
        let rows: Option<Rows> = sql_query(sql).get_result(self.conn).ok();
        self.conn.batch_execute("ROLLBACK TO SAVEPOINT one; RELEASE SAVEPOINT one")?;
        Ok(rows.map(|rows| match rows {
            Rows { counted: 1, .. } => "1 row".to_owned(),
            Rows { counted, .. } if counted <= COUNTED => format!("{counted} rows"),
            Rows { estimate, .. } if estimate > 0.0 => format!("about {estimate:.0} rows"),
            Rows { .. } => format!("more than {COUNTED} rows"),
        }))
    }
}
