//! What has to be done so that a tenant's rows are isolated, as the catalogs say.

use std::collections::{BTreeMap, BTreeSet};

use super::step::{IsolationPhase, IsolationStep, Obstacle};
use crate::model::{IdType, TenantId};
use crate::rows::canonical;
use crate::rows::catalog::{Catalog, SharedForeignKey, Table, UniqueKey};
use crate::rows::layout::Layout;
use crate::sql::quote::{Identifier, Literal};

/// The statements that isolate the tables, and what prevents that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IsolationPlan {
    /// The steps, in the order in which they run.
    pub steps: Vec<IsolationStep>,
    /// What prevents the isolation. The steps do not run while there is any.
    pub obstacles: Vec<Obstacle>,
}

/// Rows that have no tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnassignedRows {
    /// They are an obstacle.
    #[default]
    Refuse,
    /// They belong to this tenant.
    AssignTo(TenantId),
}

/// How many rows a step of [`IsolationPhase::Assign`] changes at most.
const BATCH: usize = 10_000;

/// The prefix of the objects that exist only while an isolation runs.
pub(super) const TEMPORARY: &str = "tenantry_";

pub(crate) struct Planner<'a> {
    pub(super) layout: &'a Layout,
    pub(super) catalog: &'a Catalog,
    pub(super) id: IdType,
    pub(super) unassigned: UnassignedRows,
    /// The tables with rows that have no tenant.
    with_unassigned_rows: &'a BTreeSet<String>,
    /// The version of the server, as in `server_version_num`.
    pub(super) version: i32,
    /// The names of the tables that are isolated.
    pub(crate) isolated: BTreeSet<&'a str>,
    plan: IsolationPlan,
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        layout: &'a Layout,
        catalog: &'a Catalog,
        id: IdType,
        unassigned: UnassignedRows,
        with_unassigned_rows: &'a BTreeSet<String>,
        version: i32,
    ) -> Self {
        let isolated =
            catalog.tables.iter().filter(|table| is_isolated(table, layout)).map(|table| table.name.as_str());
        Self {
            layout,
            catalog,
            id,
            unassigned,
            with_unassigned_rows,
            version,
            isolated: isolated.collect(),
            plan: IsolationPlan::default(),
        }
    }

    pub(super) fn plan(mut self) -> IsolationPlan {
        let catalog = self.catalog;
        for table in &catalog.tables {
            self.owner(table);
            if self.isolated.contains(table.name.as_str()) {
                self.column(table);
            }
        }
        // First all foreign keys that are replaced, since the keys that they refer to cannot be dropped before.
        let replaced: Vec<&SharedForeignKey> =
            catalog.foreign_keys.iter().filter(|key| self.must_replace(key)).collect();
        for key in &replaced {
            self.drop_foreign_key(key);
        }
        for key in &catalog.keys {
            if self.must_extend(key) {
                self.key(key);
            }
        }
        for key in &replaced {
            self.add_foreign_key(key);
        }
        for table in &catalog.tables {
            if !table.is_exempt {
                self.row_security(table);
            }
        }
        for grants in &catalog.grants {
            self.grants(grants);
        }
        // A stable sort: the order within a phase remains.
        self.plan.steps.sort_by_key(|step| step.phase);
        self.plan
    }

    /// Whether a unique key does not include the tenant. An index of an interrupted isolation does not count: it belongs to
    /// the key that it replaces.
    pub(crate) fn must_extend(&self, key: &UniqueKey) -> bool {
        let is_temporary = key.name.starts_with(TEMPORARY) && key.constraint_type.is_none();
        self.isolated.contains(key.table_name.as_str()) && !key.columns.contains(&self.column_name()) && !is_temporary
    }

    pub(super) fn column_name(&self) -> String {
        self.layout.column.as_str().to_owned()
    }

    pub(super) fn qualified(&self, name: &str) -> String {
        format!("{}.{}", Identifier::from(&self.layout.schema), Identifier::of_object(name))
    }

    pub(super) fn push(&mut self, phase: IsolationPhase, table: &str, sql: String) {
        self.plan.steps.push(IsolationStep { phase, table: Some(table.to_owned()), sql });
    }

    pub(super) fn alter(&mut self, phase: IsolationPhase, table: &str, action: &str) {
        let sql = format!("ALTER TABLE {} {action}", self.qualified(table));
        self.push(phase, table, sql);
    }

    pub(super) fn obstacle(&mut self, table: &str, message: impl Into<String>, hint: impl Into<String>) {
        self.plan.obstacles.push(Obstacle { table: table.to_owned(), message: message.into(), hint: hint.into() });
    }

    /// Records the definition that a step replaces.
    pub(super) fn record(&mut self, table: &str, kind: &str, name: &str, definition: Option<&str>) {
        let definition = definition.map_or("NULL".to_owned(), |text| Literal(text).to_string());
        let sql = format!(
            "INSERT INTO public.row_isolation (table_name, kind, name, definition) VALUES ({}, '{kind}', {}, {definition}) \
             ON CONFLICT DO NOTHING",
            Literal(table),
            Literal(name)
        );
        // By the connected role, which may write to the table.
        self.push(IsolationPhase::SetUp, table, sql);
    }

    fn owner(&mut self, table: &Table) {
        let owner = &self.layout.roles.owner;
        if table.owner != owner.as_str() {
            let action = format!("OWNER TO {}", Identifier::from(owner));
            self.alter(IsolationPhase::SetUp, &table.name, &action);
        }
    }

    fn column(&mut self, table: &Table) {
        // A partition has the columns of its parent.
        if table.is_partition {
            return;
        }
        let (name, id) = (table.name.as_str(), self.id);
        let column = Identifier::from(&self.layout.column).to_string();
        let has_unassigned = self.with_unassigned_rows.contains(name);
        if has_unassigned && self.unassigned == UnassignedRows::Refuse {
            self.obstacle(
                name,
                format!("has rows without a tenant in column {column}"),
                "assign all of them to one tenant with --assign ID, or set the column with UPDATE first",
            );
            return;
        }
        if table.has_column {
            if table.column_type.as_deref().and_then(IdType::of_type) != Some(id) {
                let found = table.column_type.as_deref().unwrap_or_default();
                self.obstacle(
                    name,
                    format!("column {column} has type {found}; the registry's ids have type {}", id.as_sql()),
                    format!("change the type of the column to {} in a migration", id.as_sql()),
                );
                return;
            }
        } else {
            self.record(name, "column", self.layout.column.as_str(), None);
            // A constant default takes no time in a large table.
            let value = match self.unassigned {
                UnassignedRows::AssignTo(tenant) if has_unassigned => format!(" NOT NULL DEFAULT '{tenant}'"),
                _ => " NOT NULL".to_owned(),
            };
            self.alter(IsolationPhase::Prepare, name, &format!("ADD COLUMN {column} {}{value}", id.as_sql()));
        }
        if !table.column_default.as_deref().is_some_and(|printed| canonical::is_column_default(printed, id)) {
            let default = canonical::column_default(id);
            self.alter(IsolationPhase::Prepare, name, &format!("ALTER COLUMN {column} SET DEFAULT {default}"));
        }
        if table.has_column && !table.is_not_null {
            self.not_null(table, &column);
        }
        self.registry_key(table);
    }

    fn not_null(&mut self, table: &Table, column: &str) {
        let name = table.name.as_str();
        if let (UnassignedRows::AssignTo(tenant), true) = (self.unassigned, self.with_unassigned_rows.contains(name)) {
            let qualified = self.qualified(name);
            let sql = format!(
                "UPDATE {qualified} SET {column} = '{tenant}' WHERE ctid = ANY (ARRAY(\
                 SELECT ctid FROM {qualified} WHERE {column} IS NULL LIMIT {BATCH}))"
            );
            self.push(IsolationPhase::Assign, name, sql);
        }
        if table.has_pages && !table.is_partitioned {
            // A valid check makes SET NOT NULL take no time.
            let check = format!("{TEMPORARY}not_null");
            self.alter(IsolationPhase::Prepare, name, &format!("DROP CONSTRAINT IF EXISTS {check}"));
            self.alter(
                IsolationPhase::Prepare,
                name,
                &format!("ADD CONSTRAINT {check} CHECK ({column} IS NOT NULL) NOT VALID"),
            );
            self.alter(IsolationPhase::Build, name, &format!("VALIDATE CONSTRAINT {check}"));
            self.alter(
                IsolationPhase::Switch,
                name,
                &format!("ALTER COLUMN {column} SET NOT NULL, DROP CONSTRAINT {check}"),
            );
        } else {
            self.alter(IsolationPhase::Switch, name, &format!("ALTER COLUMN {column} SET NOT NULL"));
        }
    }

    /// Adds the foreign key to the registry.
    fn registry_key(&mut self, table: &Table) {
        let (layout, name) = (self.layout, table.name.as_str());
        let registry = layout.registry.as_str();
        match self.existing_registry_key(name) {
            Some(key) if key.is_valid => {}
            Some(key) => self.validate(name, &key.name),
            None => {
                let constraint = self.free_name(name, &format!("{name}_{}_fkey", layout.column));
                let definition = format!(
                    "FOREIGN KEY ({}) REFERENCES {} (id)",
                    Identifier::from(&layout.column),
                    self.qualified(registry)
                );
                self.add_key(table, &constraint, &definition);
            }
        }
    }

    /// The foreign key of a table's tenant column to the registry.
    pub(crate) fn existing_registry_key(&self, table: &str) -> Option<&'a SharedForeignKey> {
        self.catalog.foreign_keys.iter().find(|key| {
            key.table_name == table
                && self.is_shared(key)
                && key.referenced_table == self.layout.registry.as_str()
                && key.columns == [self.layout.column.as_str()]
                && key.referenced_columns == ["id"]
        })
    }

    /// Adds a foreign key, and validates it without blocking writes where the server can.
    pub(super) fn add_key(&mut self, table: &Table, constraint: &str, definition: &str) {
        let quoted = Identifier::of_object(constraint);
        // Before PostgreSQL 18, a partitioned table has no foreign key that is not valid.
        let not_valid = if table.is_partitioned || !table.has_pages { "" } else { " NOT VALID" };
        self.alter(IsolationPhase::Switch, &table.name, &format!("ADD CONSTRAINT {quoted} {definition}{not_valid}"));
        if !not_valid.is_empty() {
            self.validate(&table.name, constraint);
        }
    }

    fn validate(&mut self, table: &str, constraint: &str) {
        self.alter(
            IsolationPhase::Validate,
            table,
            &format!("VALIDATE CONSTRAINT {}", Identifier::of_object(constraint)),
        );
    }

    /// The name, or with a number behind it if a constraint of the table has it.
    fn free_name(&self, table: &str, name: &str) -> String {
        let is_taken = |name: &str| {
            let keys = self.catalog.keys.iter().filter(|key| key.constraint_type.is_some());
            keys.map(|key| (&key.table_name, &key.name))
                .chain(self.catalog.foreign_keys.iter().map(|key| (&key.table_name, &key.name)))
                .any(|(of, taken)| of == table && taken == name)
        };
        let mut end = name.len().min(crate::MAX_BYTES - 3);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        let name = &name[..end];
        let numbered = (1..).map(|number| format!("{name}{number}"));
        std::iter::once(name.to_owned()).chain(numbered).find(|name| !is_taken(name)).unwrap_or_else(|| name.to_owned())
    }

    pub(crate) fn is_shared(&self, key: &SharedForeignKey) -> bool {
        key.referenced_schema == self.layout.schema.as_str()
    }

    /// The column of a table that identifies the tenant, if the table has one.
    pub(crate) fn tenant_column_of(&self, table: &str) -> Option<&str> {
        if self.isolated.contains(table) {
            Some(self.layout.column.as_str())
        } else if table == self.layout.registry.as_str() {
            Some("id")
        } else {
            None
        }
    }
}

/// Whether the rows of a table belong to tenants.
fn is_isolated(table: &Table, layout: &Layout) -> bool {
    !table.is_exempt && table.name != layout.registry.as_str()
}

impl IsolationPlan {
    /// Whether there is nothing to do, and nothing that prevents the isolation.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.obstacles.is_empty()
    }

    /// The steps of each phase.
    pub fn by_phase(&self) -> BTreeMap<IsolationPhase, Vec<&IsolationStep>> {
        let mut phases: BTreeMap<IsolationPhase, Vec<&IsolationStep>> = BTreeMap::new();
        for step in &self.steps {
            phases.entry(step.phase).or_default().push(step);
        }
        phases
    }
}
