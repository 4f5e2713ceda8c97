//! Rows that refer to rows that do not exist or belong to another tenant. The data is read, as a constraint can be marked as
//! valid although rows violate it.

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Text};

use super::{IsolationFinding, IsolationFix, IsolationKind};
use crate::error::Error;
use crate::postgres::{Condition, ServerMessage};
use crate::rows::canonical::printed_identifier;
use crate::rows::isolate::IsolationState;
use crate::rows::layout::Layout;
use crate::sql::quote::Identifier;

/// How long the rows of one foreign key are read, in milliseconds.
const STATEMENT_TIMEOUT: u32 = 10_000;

/// How long a lock on a table is waited for, in milliseconds.
pub(super) const LOCK_TIMEOUT: u32 = 2_000;

/// The foreign keys that rows violate, and those that were not checked.
#[derive(Debug, Default)]
pub(super) struct OrphanedRows {
    pub(super) findings: Vec<IsolationFinding>,
    pub(super) unchecked: Vec<String>,
}

#[derive(QueryableByName)]
struct RowReference {
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    referenced_table: String,
    /// Whether a row `c` refers to any row.
    #[diesel(sql_type = Text)]
    refers: String,
    /// Whether a row `c` refers to a row `p`.
    #[diesel(sql_type = Text)]
    matches: String,
}

/// Reads the rows of all foreign keys between shared tables. `findings` are those by the rules of isolation.
pub(super) fn orphans(
    conn: &mut PgConnection,
    layout: &Layout,
    state: &IsolationState,
    findings: &[IsolationFinding],
) -> Result<OrphanedRows, Error> {
    let references: Vec<RowReference> = sql_query(include_str!("data.sql"))
        .bind::<Text, _>(layout.schema.as_str())
        .load(conn)
        .map_err(Error::doing("read the foreign keys of the shared tables"))?;
    let mut orphans = OrphanedRows::default();
    for reference in references {
        let object = format!(
            "{}.{}.{}",
            printed_identifier(layout.schema.as_str()),
            printed_identifier(&reference.table_name),
            printed_identifier(&reference.name)
        );
        let query = reference.query(layout, state);
        let exists = if reference.is_hidden(layout, state, findings) {
            Err("policies hide rows from the owner".to_owned())
        } else {
            exists(conn, layout, state, &query)?
        };
        match exists {
            Ok(false) => {}
            Ok(true) => orphans.findings.push(IsolationFinding {
                kind: IsolationKind::DataOrphans,
                message: format!("rows violate foreign key {object}"),
                object,
                fix: IsolationFix::Advice(format!("{}: {query}", IsolationKind::DataOrphans.advice())),
            }),
            Err(reason) => orphans.unchecked.push(format!("{}: {object}: {reason}", IsolationKind::DataOrphans)),
        }
    }
    Ok(orphans)
}

impl RowReference {
    /// The query that selects the rows that violate the foreign key.
    fn query(&self, layout: &Layout, state: &IsolationState) -> String {
        let table = |name: &str| format!("{}.{}", Identifier::from(&layout.schema), Identifier::of_object(name));
        let rules = state.rules(layout);
        let has_tenant = |name: &str| {
            rules.isolated.contains(name)
                && state.catalog.tables.iter().any(|table| table.name == name && table.has_column)
        };
        let mut matches = self.matches.clone();
        if has_tenant(&self.table_name) && has_tenant(&self.referenced_table) {
            let column = Identifier::from(&layout.column);
            matches.push_str(&format!(" AND p.{column} = c.{column}"));
        }
        format!(
            "SELECT * FROM {} AS c WHERE {} AND NOT EXISTS (SELECT FROM {} AS p WHERE {matches})",
            table(&self.table_name),
            self.refers,
            table(&self.referenced_table)
        )
    }

    /// Whether this session may not see all rows: only a superuser does if the administrator's policy is missing.
    fn is_hidden(&self, layout: &Layout, state: &IsolationState, findings: &[IsolationFinding]) -> bool {
        let concerns = |finding: &IsolationFinding| {
            [&self.table_name, &self.referenced_table].iter().any(|table| {
                let object = format!("{}.{}.", printed_identifier(layout.schema.as_str()), printed_identifier(table));
                finding.object.starts_with(&object)
            })
        };
        let is_policy = |kind| matches!(kind, IsolationKind::PolicyMissing | IsolationKind::PolicyAdminOpen);
        !state.environment.is_superuser && findings.iter().any(|found| is_policy(found.kind) && concerns(found))
    }
}

/// Whether a query returns rows, or why that is not known.
fn exists(
    conn: &mut PgConnection,
    layout: &Layout,
    state: &IsolationState,
    query: &str,
) -> Result<Result<bool, String>, Error> {
    // A superuser sees all rows; others do as the owner.
    let role = if state.environment.is_superuser {
        String::new()
    } else {
        format!("SET LOCAL ROLE {};", Identifier::from(&layout.roles.owner))
    };
    let begin = format!("SAVEPOINT orphans; SET LOCAL statement_timeout TO {STATEMENT_TIMEOUT}; {role}");
    let exists = conn
        .batch_execute(&begin)
        .and_then(|()| diesel::select(sql::<Bool>(&format!("EXISTS ({query})"))).get_result::<bool>(conn));
    let exists = match exists {
        Err(error) if Condition::of(&error) == Some(Condition::ConnectionLost) => {
            return Err(Error::doing("look for orphaned rows")(error));
        }
        Err(error) => Err(ServerMessage::from(&error).message),
        Ok(exists) => Ok(exists),
    };
    // The settings are those of before, too.
    conn.batch_execute("ROLLBACK TO SAVEPOINT orphans").map_err(Error::doing("look for orphaned rows"))?;
    Ok(exists)
}
