//! Rows that refer to rows that do not exist or belong to another tenant. The data is read, as a constraint can be marked as
//! valid although rows violate it.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Text;

use super::{IsolationFinding, IsolationFix, IsolationKind};
use crate::error::Error;
use crate::postgres::ServerMessage;
use crate::postgres::contained::{ContainedReader, ReadingRights};
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
    // A superuser sees all rows; others do as the owner.
    let rights = if state.environment.is_superuser {
        ReadingRights::Superuser
    } else {
        ReadingRights::Role { role: Identifier::from(&layout.roles.owner), schema: &layout.schema }
    };
    let doing = || Error::doing("look for orphaned rows");
    conn.batch_execute("SAVEPOINT orphans").map_err(doing())?;
    let reader = ContainedReader::create(conn, rights).map_err(|error| ServerMessage::from(&error).message);
    if reader.is_err() {
        // The connection may be lost.
        conn.batch_execute("ROLLBACK TO SAVEPOINT orphans").map_err(doing())?;
    }
    let mut orphans = OrphanedRows::default();
    for reference in references {
        let object = reference.object(layout);
        let query = reference.query(layout, state);
        let exists = match &reader {
            _ if reference.is_hidden(layout, state, findings) => Err("policies hide rows from the owner".to_owned()),
            Ok(reader) => reader
                .evaluate(conn, &format!("EXISTS ({query})"), Some(STATEMENT_TIMEOUT))
                .map_err(doing())?
                .map_err(|error| ServerMessage::from(&error).message),
            Err(reason) => Err(reason.clone()),
        };
        match exists {
            Ok(exists) if exists == "true" => orphans.findings.push(IsolationFinding {
                kind: IsolationKind::DataOrphans,
                message: format!("rows violate foreign key {object}"),
                object,
                fix: IsolationFix::Advice(format!("{}: {query}", IsolationKind::DataOrphans.advice())),
            }),
            Ok(_) => {}
            Err(reason) => orphans.unchecked.push(format!("{}: {object}: {reason}", IsolationKind::DataOrphans)),
        }
    }
    Ok(orphans)
}

impl RowReference {
    fn object(&self, layout: &Layout) -> String {
        format!(
            "{}.{}.{}",
            printed_identifier(layout.schema.as_str()),
            printed_identifier(&self.table_name),
            printed_identifier(&self.name)
        )
    }

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
