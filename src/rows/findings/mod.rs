//! What could give a tenant access to rows of another: findings in the catalogs, and what fixes them.
//!
//! Most findings are queries on the catalogs, which return the statements that fix them. What isolation would change is found
//! with the rules of isolation itself, so that both agree.

mod data;
mod isolation;
mod kind;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Text};

use super::canonical::OWN_POLICIES;
use super::isolate::{IsolationPlan, IsolationState, UnassignedRows};
use super::layout::Layout;
use crate::database::Database;
use crate::error::{Error, RowTenancyError};
use crate::postgres::path;

pub use kind::{IsolationKind, Severity, UnknownIsolationKind};

/// A finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsolationFinding {
    /// Its kind.
    pub kind: IsolationKind,
    /// The object, qualified and quoted where necessary.
    pub object: String,
    /// The problem, in one line.
    pub message: String,
    /// What fixes it.
    pub fix: IsolationFix,
}

/// What fixes a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IsolationFix {
    /// These statements.
    Statements(Vec<String>),
    /// The plan of isolation.
    Isolation,
    /// No statement. What to do instead.
    Advice(String),
}

/// All findings of a database.
#[derive(Debug, Clone, Default)]
pub struct IsolationFindings {
    /// The findings, in the order in which they are fixed.
    pub findings: Vec<IsolationFinding>,
    /// What was not checked, and why.
    pub unchecked: Vec<String>,
    /// The number of shared tables.
    pub tables: usize,
    /// What isolation would do.
    pub isolation: IsolationPlan,
}

/// The queries, each with the oldest version that has the catalogs that it reads.
const QUERIES: [(i32, &str); 7] = [
    (0, concat!(include_str!("prelude.sql"), include_str!("roles.sql"))),
    (0, concat!(include_str!("prelude.sql"), include_str!("database.sql"))),
    (150_000, concat!(include_str!("prelude.sql"), include_str!("since_15.sql"))),
    (0, concat!(include_str!("prelude.sql"), include_str!("tables.sql"))),
    (0, concat!(include_str!("prelude.sql"), include_str!("grants.sql"))),
    (0, concat!(include_str!("prelude.sql"), include_str!("functions.sql"))),
    (0, concat!(include_str!("prelude.sql"), include_str!("indexes.sql"))),
];

/// The oldest minor versions with the fixes of the vulnerabilities that concern row-level security.
const FIXED_VERSIONS: [i32; 5] = [140_023, 150_018, 160_014, 170_010, 180_004];

/// Looks for findings. Changes nothing.
///
/// # Errors
/// The server's error.
pub fn find(db: &mut Database, layout: &Layout) -> Result<IsolationFindings, Error> {
    let version = db.server().version;
    let conn = db.connection();
    let doing = || Error::doing("check the isolation of tenants");
    let begin = format!("BEGIN; SET LOCAL lock_timeout TO {}; {}", data::LOCK_TIMEOUT, path::CATALOG_FOR_TRANSACTION);
    conn.batch_execute(&begin).map_err(doing())?;
    let found = in_transaction(conn, layout, version);
    let ended = conn.batch_execute("ROLLBACK").map_err(doing());
    let found = found?;
    ended.map(|()| found)
}

fn in_transaction(conn: &mut PgConnection, layout: &Layout, version: i32) -> Result<IsolationFindings, Error> {
    let state = match IsolationState::read(conn, layout, UnassignedRows::Refuse, version) {
        Err(Error::RowTenancy(error @ RowTenancyError::NoRegistry { .. })) => {
            let mut findings = IsolationFindings::default();
            let advice = IsolationFix::Advice("create the registry in a migration".to_owned());
            findings.findings.push(IsolationFinding {
                kind: IsolationKind::IsolationIncomplete,
                object: layout.schema.to_string(),
                message: error.to_string(),
                fix: advice,
            });
            return Ok(findings);
        }
        state => state?,
    };
    let isolated: Vec<&str> = state.rules(layout).isolated.iter().copied().collect();
    let exempt = state.catalog.tables.iter().filter(|table| table.is_exempt).map(|table| table.name.as_str());
    let exempt: Vec<&str> = exempt.collect();
    let mut found = IsolationFindings { tables: state.catalog.tables.len(), ..IsolationFindings::default() };
    for (_, query) in QUERIES.iter().filter(|(oldest, _)| version >= *oldest) {
        let rows: Vec<Row> = sql_query(*query)
            .bind::<Text, _>(layout.schema.as_str())
            .bind::<Text, _>(layout.registry.as_str())
            .bind::<Text, _>(layout.column.as_str())
            .bind::<Text, _>(layout.roles.owner.as_str())
            .bind::<Text, _>(layout.roles.verifier.as_str())
            .bind::<Text, _>(layout.roles.admin.as_str())
            .bind::<Text, _>(layout.roles.app.as_str())
            .bind::<Array<Text>, _>(&isolated)
            .bind::<Array<Text>, _>(&exempt)
            .bind::<Array<Text>, _>(&OWN_POLICIES[..])
            .load(conn)
            .map_err(Error::doing("check the isolation of tenants"))?;
        found.findings.extend(rows.into_iter().map(Row::finding));
    }
    let by_rules = isolation::findings(layout, &state, version);
    let data = data::orphans(conn, layout, &state, &by_rules)?;
    found.findings.extend(by_rules);
    found.findings.extend(isolation::unreported(layout, &state, &found.findings));
    found.findings.extend(old_server(version));
    found.findings.extend(data.findings);
    found.unchecked = data.unchecked;
    found.findings.sort_by(|a, b| (a.kind, &a.object).cmp(&(b.kind, &b.object)));
    found.findings.dedup();
    found.isolation = state.plan;
    Ok(found)
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    code: String,
    #[diesel(sql_type = Text)]
    object: String,
    #[diesel(sql_type = Text)]
    message: String,
    #[diesel(sql_type = Array<Text>)]
    fix: Vec<String>,
}

impl Row {
    fn finding(self) -> IsolationFinding {
        let kind: IsolationKind = self.code.parse().expect("the queries return known codes");
        let fix = match self.fix.as_slice() {
            [] => IsolationFix::Advice(kind.advice().to_owned()),
            _ => IsolationFix::Statements(self.fix),
        };
        IsolationFinding { kind, object: self.object, message: self.message, fix }
    }
}

/// The finding about a server without important fixes.
fn old_server(version: i32) -> Option<IsolationFinding> {
    let fixed = FIXED_VERSIONS.into_iter().find(|fixed| fixed / 10_000 == version / 10_000)?;
    let shown = |version: i32| format!("{}.{}", version / 10_000, version % 10_000);
    (version < fixed).then(|| IsolationFinding {
        kind: IsolationKind::ServerCve,
        object: "server".to_owned(),
        message: format!(
            "the server has version {}; {} fixes vulnerabilities of row-level security",
            shown(version),
            shown(fixed)
        ),
        fix: IsolationFix::Advice(IsolationKind::ServerCve.advice().to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_without_fixes_are_found() {
        for old in [140_022, 150_017, 160_013, 170_009, 180_003, 140_000] {
            assert!(old_server(old).is_some_and(|finding| finding.kind == IsolationKind::ServerCve), "{old}");
        }
        for fixed in FIXED_VERSIONS.into_iter().chain([190_000]) {
            assert_eq!(old_server(fixed), None, "{fixed}");
        }
    }
}
