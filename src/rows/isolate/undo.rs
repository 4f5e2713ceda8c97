//! The steps that undo an isolation.

use std::collections::BTreeSet;

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Nullable, Text};

use super::plan::IsolationPlan;
use super::step::{IsolationPhase, IsolationStep};
use crate::error::Error;
use crate::rows::canonical::OWN_POLICIES;
use crate::rows::catalog::Catalog;
use crate::rows::layout::Layout;
use crate::sql::quote::Identifier;

/// What isolation replaced.
#[derive(Debug, Clone, QueryableByName)]
pub(super) struct Replaced {
    #[diesel(sql_type = Text)]
    table_name: String,
    /// `constraint`, `index` or `column`.
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Nullable<Text>)]
    definition: Option<String>,
}

impl Replaced {
    pub(super) fn read(conn: &mut PgConnection) -> Result<Vec<Self>, Error> {
        // Foreign keys are last, as they need the keys that they refer to.
        sql_query(
            "SELECT table_name, kind, name, definition FROM public.row_isolation \
             ORDER BY COALESCE(definition LIKE 'FOREIGN KEY%', false), table_name COLLATE \"C\", name COLLATE \"C\"",
        )
        .load(conn)
        .map_err(Error::doing("read public.row_isolation"))
    }

    fn is_foreign_key(&self) -> bool {
        self.definition.as_deref().is_some_and(|definition| definition.starts_with("FOREIGN KEY"))
    }
}

/// Steps that restore the keys, remove row-level security, and revoke the privileges of the application, which would give it
/// the rows of all tenants. The tenant column remains, as no other column has the tenant of a row.
pub(super) fn plan(layout: &Layout, catalog: &Catalog, replaced: &[Replaced]) -> IsolationPlan {
    let mut undo = Undo { layout, catalog, steps: Vec::new() };
    let names: BTreeSet<&str> = catalog.tables.iter().map(|table| table.name.as_str()).collect();
    let replaced: Vec<&Replaced> = replaced.iter().filter(|one| names.contains(one.table_name.as_str())).collect();
    undo.revoke();
    undo.row_security();
    for one in replaced.iter().filter(|one| one.is_foreign_key()) {
        undo.drop_existing(one);
    }
    for one in replaced.iter().filter(|one| !one.is_foreign_key()) {
        undo.drop_existing(one);
        undo.restore(one);
    }
    for one in replaced.iter().filter(|one| one.is_foreign_key()) {
        undo.restore(one);
    }
    undo.columns(&replaced);
    if !replaced.is_empty() {
        undo.steps.push(IsolationStep {
            phase: IsolationPhase::CleanUp,
            table: None,
            sql: "DELETE FROM public.row_isolation".to_owned(),
        });
    }
    undo.steps.sort_by_key(|step| step.phase);
    IsolationPlan { steps: undo.steps, obstacles: Vec::new() }
}

struct Undo<'a> {
    layout: &'a Layout,
    catalog: &'a Catalog,
    steps: Vec<IsolationStep>,
}

impl Undo<'_> {
    fn qualified(&self, name: &str) -> String {
        format!("{}.{}", Identifier::from(&self.layout.schema), Identifier::of_object(name))
    }

    fn push(&mut self, phase: IsolationPhase, table: &str, sql: String) {
        self.steps.push(IsolationStep { phase, table: Some(table.to_owned()), sql });
    }

    fn alter(&mut self, phase: IsolationPhase, table: &str, action: &str) {
        let sql = format!("ALTER TABLE {} {action}", self.qualified(table));
        self.push(phase, table, sql);
    }

    fn revoke(&mut self) {
        let app = Identifier::from(&self.layout.roles.app);
        for grants in self.catalog.grants.iter().filter(|grants| !grants.of_application.is_empty()) {
            let kind = if grants.is_sequence { "SEQUENCE" } else { "TABLE" };
            let sql = format!("REVOKE ALL ON {kind} {} FROM {app}", self.qualified(&grants.name));
            self.push(IsolationPhase::Switch, &grants.name, sql);
        }
    }

    fn row_security(&mut self) {
        let catalog = self.catalog;
        for policy in catalog.policies.iter().filter(|policy| OWN_POLICIES.contains(&policy.name.as_str())) {
            let sql = format!("DROP POLICY {} ON {}", policy.name, self.qualified(&policy.table_name));
            self.push(IsolationPhase::Switch, &policy.table_name, sql);
        }
        for table in catalog.tables.iter().filter(|table| table.enables_row_security) {
            self.alter(IsolationPhase::Switch, &table.name, "NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY");
        }
    }

    fn drop_existing(&mut self, one: &Replaced) {
        let (table, name) = (one.table_name.as_str(), Identifier::of_object(&one.name).to_string());
        match one.kind.as_str() {
            "constraint" => self.alter(IsolationPhase::Switch, table, &format!("DROP CONSTRAINT IF EXISTS {name}")),
            "index" => {
                let sql = format!("DROP INDEX IF EXISTS {}", self.qualified(&one.name));
                self.push(IsolationPhase::Switch, table, sql);
            }
            _ => {}
        }
    }

    fn restore(&mut self, one: &Replaced) {
        let Some(definition) = &one.definition else { return };
        let table = one.table_name.as_str();
        match one.kind.as_str() {
            "constraint" => {
                let name = Identifier::of_object(&one.name);
                self.alter(IsolationPhase::Switch, table, &format!("ADD CONSTRAINT {name} {definition}"));
            }
            _ => self.push(IsolationPhase::Switch, table, definition.clone()),
        }
    }

    /// Columns that isolation added accept NULL again, so that applications that do not know them can insert rows.
    fn columns(&mut self, replaced: &[&Replaced]) {
        let (layout, catalog) = (self.layout, self.catalog);
        let column = Identifier::from(&layout.column).to_string();
        for one in replaced.iter().filter(|one| one.kind == "column") {
            let table = one.table_name.as_str();
            let to_registry = catalog.foreign_keys.iter().filter(|key| {
                key.table_name == table
                    && key.referenced_table == layout.registry.as_str()
                    && key.columns == [layout.column.as_str()]
            });
            for key in to_registry {
                self.alter(
                    IsolationPhase::Switch,
                    table,
                    &format!("DROP CONSTRAINT {}", Identifier::of_object(&key.name)),
                );
            }
            let action = format!("ALTER COLUMN {column} DROP NOT NULL, ALTER COLUMN {column} DROP DEFAULT");
            self.alter(IsolationPhase::Switch, table, &action);
        }
    }
}
