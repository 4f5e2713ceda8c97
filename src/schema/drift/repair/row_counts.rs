//! The number of rows that each statement with data loss is about.

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Double, Text};

use super::execution::Execution;
use super::text::ident;
use crate::error::Error;
use crate::postgres::contained::{self, ReadingRights};
use crate::schema::structure::{Identity, ObjectKind};
use crate::sql::quote::Identifier;

/// Rows are counted up to this number, and estimated beyond it.
const COUNTED: i64 = 10_000;

struct Rows {
    counted: i64,
    estimate: f64,
}

/// What the catalogs say about a table.
#[derive(QueryableByName)]
struct KnownOfTable {
    #[diesel(sql_type = Double)]
    estimate: f64,
    #[diesel(sql_type = Text)]
    owner: String,
    /// Whether the connected role is a superuser.
    #[diesel(sql_type = Bool)]
    is_superuser: bool,
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
        let known: Option<KnownOfTable> = sql_query(
            "SELECT c.reltuples::float8 AS estimate, pg_catalog.pg_get_userbyid(c.relowner)::text AS owner, \
             (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname OPERATOR(pg_catalog.=) current_user) AS is_superuser \
             FROM pg_catalog.pg_class AS c WHERE c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.regclass",
        )
        .bind::<Text, _>(&table)
        .get_result(self.conn)
        .optional()?;
        let Some(known) = known else { return Ok(None) };
        // The code of the tenant's tables does not run with the rights of the connected role.
        let rights = if known.is_superuser {
            ReadingRights::Superuser
        } else {
            ReadingRights::Role { role: Identifier::of_object(&known.owner), schema: self.trial.name.schema() }
        };
        let counted = format!("(SELECT count(*) FROM (SELECT FROM {table} LIMIT {}) x)", COUNTED + 1);
        let counted = contained::evaluate(self.conn, rights, &counted)?;
        let counted: Option<i64> = counted.ok().and_then(|counted| counted.parse().ok());
        let rows = counted.map(|counted| Rows { counted, estimate: known.estimate });
        Ok(rows.map(|rows| match rows {
            Rows { counted: 1, .. } => "1 row".to_owned(),
            Rows { counted, .. } if counted <= COUNTED => format!("{counted} rows"),
            Rows { estimate, .. } if estimate > 0.0 => format!("about {estimate:.0} rows"),
            Rows { .. } => format!("more than {COUNTED} rows"),
        }))
    }
}
