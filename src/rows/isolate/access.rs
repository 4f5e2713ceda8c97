//! Row-level security and the privileges of the application.

use super::plan::Planner;
use super::step::IsolationPhase;
use crate::rows::canonical;
use crate::rows::catalog::{SharedGrants, Table};
use crate::sql::quote::Identifier;

impl Planner<'_> {
    pub(super) fn row_security(&mut self, table: &Table) {
        let name = table.name.as_str();
        let Some(column) = self.tenant_column_of(name).map(str::to_owned) else { return };
        let qualified = self.qualified(name);
        for policy in canonical::policies(self.layout, &column, self.id) {
            let existing =
                self.catalog.policies.iter().find(|found| found.table_name == name && found.name == policy.name);
            if existing.is_some_and(|found| policy.is(found)) {
                continue;
            }
            if existing.is_some() {
                self.push(IsolationPhase::Switch, name, format!("DROP POLICY {} ON {qualified}", policy.name));
            }
            self.push(IsolationPhase::Switch, name, policy.create(&qualified));
        }
        if !table.enables_row_security {
            self.alter(IsolationPhase::Switch, name, "ENABLE ROW LEVEL SECURITY");
        }
        if !table.forces_row_security {
            self.alter(IsolationPhase::Switch, name, "FORCE ROW LEVEL SECURITY");
        }
    }

    pub(super) fn grants(&mut self, grants: &SharedGrants) {
        let catalog = self.catalog;
        let name = grants.name.as_str();
        let table = catalog.tables.iter().find(|table| table.name == name);
        let wanted: &[&str] = match table {
            _ if grants.is_sequence => &["USAGE"],
            // Rows of partitions are accessed through the parent, which has the policies.
            Some(table) if table.is_partition => &[],
            Some(_) if self.isolated.contains(name) => &["DELETE", "INSERT", "SELECT", "UPDATE"],
            Some(_) => &["SELECT"],
            None => return,
        };
        if grants.is_sequence && !grants.owner_table.as_deref().is_some_and(|of| self.isolated.contains(of)) {
            return;
        }
        let (object, app) = (self.qualified(name), Identifier::from(&self.layout.roles.app).to_string());
        let kind = if grants.is_sequence { "SEQUENCE" } else { "TABLE" };
        if grants.has_public {
            self.push(IsolationPhase::Switch, name, format!("REVOKE ALL ON {kind} {object} FROM PUBLIC"));
        }
        let extra = grants.of_application.iter().map(String::as_str).filter(|privilege| !wanted.contains(privilege));
        let missing = wanted.iter().filter(|privilege| !grants.of_application.iter().any(|found| found == *privilege));
        let (extra, missing): (Vec<&str>, Vec<&str>) = (extra.collect(), missing.copied().collect());
        if !extra.is_empty() {
            self.push(
                IsolationPhase::Switch,
                name,
                format!("REVOKE {} ON {kind} {object} FROM {app}", extra.join(", ")),
            );
        }
        if !missing.is_empty() {
            self.push(
                IsolationPhase::Switch,
                name,
                format!("GRANT {} ON {kind} {object} TO {app}", missing.join(", ")),
            );
        }
    }
}
