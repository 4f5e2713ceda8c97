//! Findings about the isolation of tenants.

use super::{Finding, FindingKind, Fix};
use crate::roles::{RoleFinding, RoleFindingKind};
use crate::rows::findings::{IsolationFinding, IsolationFix};
use crate::text::shell_word;

impl Finding {
    pub(in crate::health) fn isolation(finding: IsolationFinding) -> Self {
        let IsolationFinding { kind, object, message, fix } = finding;
        let fix = match fix {
            IsolationFix::Statements(_) => Fix::Command("repair-plan".to_owned(), ""),
            IsolationFix::Isolation => Fix::Command("isolate".to_owned(), ""),
            IsolationFix::Advice(words) => Fix::Advice(words),
        };
        Self::of_database(FindingKind::Isolation(kind), message, vec![object], fix)
    }

    pub(in crate::health) fn role(finding: RoleFinding) -> Self {
        let RoleFinding { tenant, kind, objects, message, sql } = finding;
        let fix = match (sql, &tenant) {
            (Some(sql), _) => Fix::Advice(sql),
            (None, _) if kind == RoleFindingKind::Unmarked => {
                Fix::Advice("check what the role is for; if it is the tenant's, drop it and run isolate".to_owned())
            }
            (None, Some(tenant)) => Fix::Command(format!("isolate {}", shell_word(tenant)), ""),
            (None, None) => Fix::Command("isolate --all".to_owned(), ""),
        };
        Self { tenant, kind: FindingKind::Role(kind), message, items: objects, fix }
    }
}
