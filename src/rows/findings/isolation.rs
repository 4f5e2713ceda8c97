//! Findings by the rules of isolation: what 'isolate' would change.

use std::collections::BTreeSet;

use regex::Regex;

use super::{IsolationFinding, IsolationFix, IsolationKind};
use crate::model::IdType;
use crate::rows::canonical::{self, ADMIN_POLICY, printed_identifier};
use crate::rows::catalog::{SharedForeignKey, Table};
use crate::rows::isolate::{IsolationState, Planner};
use crate::rows::layout::{ContextKind, Layout, VERIFIER_SCHEMA};
use crate::sql::quote::Identifier;

/// The findings about the shared tables and the function that verifies contexts.
pub(super) fn findings(layout: &Layout, state: &IsolationState, version: i32) -> Vec<IsolationFinding> {
    let mut rules = Rules { layout, state, planner: state.rules(layout), found: Vec::new() };
    for table in state.catalog.tables.iter().filter(|table| !table.is_exempt) {
        rules.row_security(table);
        if rules.planner.isolated.contains(table.name.as_str()) && !table.is_partition {
            rules.column(table);
        }
    }
    for key in state.catalog.keys.iter().filter(|key| rules.planner.must_extend(key)) {
        let message = format!("key {} of {} does not include the tenant", key.name, object(layout, &key.table_name));
        rules.found.push(finding(
            IsolationKind::UniqueWithoutTenant,
            object_in(layout, &key.table_name, &key.name),
            message,
        ));
    }
    for key in &state.catalog.foreign_keys {
        rules.foreign_key(key, version);
    }
    if layout.context == ContextKind::Signed && !state.environment.has_context_functions {
        let message = format!(
            "functions of schema {VERIFIER_SCHEMA} are not those that this version creates, or their privileges differ"
        );
        rules.found.push(finding(IsolationKind::VerifierChanged, VERIFIER_SCHEMA.to_owned(), message));
    }
    rules.found
}

/// What isolation would change and no finding names.
pub(super) fn unreported(
    layout: &Layout,
    state: &IsolationState,
    findings: &[IsolationFinding],
) -> Vec<IsolationFinding> {
    let steps = &state.plan.steps;
    // The owner of a table owns the sequences of its columns.
    let table_of = |name: &'_ str| {
        let grants = state.catalog.grants.iter().find(|grants| grants.name == name);
        grants.and_then(|grants| grants.owner_table.clone()).unwrap_or_else(|| name.to_owned())
    };
    let tables: BTreeSet<&str> = steps.iter().filter_map(|step| step.table.as_deref()).collect();
    let is_reported = |object: &str| {
        findings.iter().any(|finding| {
            finding.object.strip_prefix(object).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    let mut found = Vec::new();
    for table in tables {
        let object = object(layout, table);
        if !is_reported(&object) && !is_reported(&self::object(layout, &table_of(table))) {
            let first = steps.iter().find(|step| step.table.as_deref() == Some(table));
            let message = first.map(|step| format!("'isolate' would execute: {}", step.sql)).unwrap_or_default();
            found.push(finding(IsolationKind::IsolationIncomplete, object, message));
        }
    }
    let environment = &state.environment;
    let reported = [
        environment.public_creates_in_database,
        environment.public_executes_new_functions,
        layout.context == ContextKind::Signed && !environment.has_context_functions,
    ];
    let surroundings = steps.iter().filter(|step| step.table.is_none()).count();
    if surroundings > reported.into_iter().filter(|is_reported| *is_reported).count() {
        let message = "roles, schemas or privileges that 'isolate' creates are missing".to_owned();
        found.push(finding(IsolationKind::IsolationIncomplete, printed_identifier(layout.schema.as_str()), message));
    }
    found
}

struct Rules<'a> {
    layout: &'a Layout,
    state: &'a IsolationState,
    planner: Planner<'a>,
    found: Vec<IsolationFinding>,
}

impl Rules<'_> {
    fn push(&mut self, kind: IsolationKind, object: &str, message: String) {
        self.found.push(finding(kind, object.to_owned(), message));
    }

    fn row_security(&mut self, table: &Table) {
        let name = object(self.layout, &table.name);
        if !table.enables_row_security {
            self.push(IsolationKind::RlsOff, &name, format!("{name} has no row-level security"));
        }
        if !table.forces_row_security {
            self.push(
                IsolationKind::RlsNotForced,
                &name,
                format!("the owner of {name} is exempt from its row-level security"),
            );
        }
        let Some(column) = self.planner.tenant_column_of(&table.name) else { return };
        for policy in canonical::policies(self.layout, column, self.state.id) {
            let existing = self
                .state
                .catalog
                .policies
                .iter()
                .find(|found| found.table_name == table.name && found.name == policy.name);
            let policy_name = object_in(self.layout, &table.name, policy.name);
            match existing {
                None => {
                    let message = format!("{name} does not have the policy {}", policy.name);
                    self.push(IsolationKind::PolicyMissing, &policy_name, message);
                }
                Some(found) if policy.is(found) => {}
                Some(found) if policy.name == ADMIN_POLICY && found.roles != [self.layout.roles.owner.as_str()] => {
                    let message = format!("policy {} of {name} applies to {}", policy.name, found.roles.join(", "));
                    self.push(IsolationKind::PolicyAdminOpen, &policy_name, message);
                }
                Some(_) => {
                    let message = format!("policy {} of {name} is not the one that isolation creates", policy.name);
                    self.push(IsolationKind::PolicyMissing, &policy_name, message);
                }
            }
        }
    }

    fn column(&mut self, table: &Table) {
        let (name, id) = (object(self.layout, &table.name), self.state.id);
        let column = printed_identifier(self.layout.column.as_str());
        if !table.has_column {
            return self.push(IsolationKind::ColumnMissing, &name, format!("{name} has no column {column}"));
        }
        let of_column = object_in(self.layout, &table.name, self.layout.column.as_str());
        if table.column_type.as_deref().and_then(IdType::of_type) != Some(id) {
            let found = table.column_type.as_deref().unwrap_or_default();
            let message = format!("{of_column} has type {found}; the registry's ids have type {}", id.as_sql());
            self.found.push(IsolationFinding {
                fix: IsolationFix::Advice(IsolationKind::ColumnType.advice().to_owned()),
                ..finding(IsolationKind::ColumnType, of_column, message)
            });
            return;
        }
        if !table.column_default.as_deref().is_some_and(|printed| canonical::is_column_default(printed, id)) {
            let message = format!("the default of {of_column} is not the tenant of the transaction");
            self.push(IsolationKind::ColumnDefault, &of_column, message);
        }
        if !table.is_not_null {
            self.push(IsolationKind::ColumnNullable, &of_column, format!("{of_column} accepts NULL"));
        }
        if !self.planner.existing_registry_key(&table.name).is_some_and(|key| key.is_valid) {
            let message = format!(
                "{of_column} has no validated foreign key to {}",
                object(self.layout, self.layout.registry.as_str())
            );
            self.push(IsolationKind::ColumnNoRegistryKey, &of_column, message);
        }
    }

    fn foreign_key(&mut self, key: &SharedForeignKey, version: i32) {
        let name = object_in(self.layout, &key.table_name, &key.name);
        let of_table = object(self.layout, &key.table_name);
        if self.planner.must_replace(key) {
            let message =
                format!("foreign key {} of {of_table} does not include the tenant: {}", key.name, key.definition);
            return self.push(IsolationKind::ForeignKeyWithoutTenant, &name, message);
        }
        if !self.planner.is_shared(key) || !self.planner.isolated.contains(key.table_name.as_str()) {
            return;
        }
        let column = self.layout.column.as_str();
        let set = if key.set_on_delete.is_empty() { &key.columns } else { &key.set_on_delete };
        if matches!(key.on_delete.as_str(), "n" | "d") && set.iter().any(|set| set == column) {
            let message = format!("foreign key {} of {of_table} sets the tenant column: {}", key.name, key.definition);
            let mut found = finding(IsolationKind::ForeignKeySetNullTenant, name.clone(), message);
            found.fix = if version < 150_000 {
                IsolationFix::Advice(IsolationKind::ForeignKeySetNullTenant.advice().to_owned())
            } else {
                let table =
                    format!("{}.{}", Identifier::from(&self.layout.schema), Identifier::of_object(&key.table_name));
                let constraint = Identifier::of_object(&key.name);
                let definition = without_tenant(key, column);
                IsolationFix::Statements(vec![format!(
                    "ALTER TABLE {table} DROP CONSTRAINT {constraint}, ADD CONSTRAINT {constraint} {definition}"
                )])
            };
            self.found.push(found);
        } else if !key.is_valid
            && self.planner.existing_registry_key(&key.table_name).is_none_or(|own| own.name != key.name)
        {
            let message = format!("foreign key {} of {of_table} is not validated", key.name);
            let table = format!("{}.{}", Identifier::from(&self.layout.schema), Identifier::of_object(&key.table_name));
            let validate = format!("ALTER TABLE {table} VALIDATE CONSTRAINT {}", Identifier::of_object(&key.name));
            self.found.push(IsolationFinding {
                fix: IsolationFix::Statements(vec![validate]),
                ..finding(IsolationKind::ForeignKeyNotValid, name, message)
            });
        }
    }
}

/// The definition of a foreign key whose action does not change the tenant column.
fn without_tenant(key: &SharedForeignKey, column: &str) -> String {
    let set = if key.set_on_delete.is_empty() { &key.columns } else { &key.set_on_delete };
    let others: Vec<String> =
        set.iter().filter(|set| *set != column).map(|set| Identifier::of_object(set).to_string()).collect();
    let action = match (others.is_empty(), key.on_delete.as_str()) {
        (true, _) => "ON DELETE NO ACTION".to_owned(),
        (_, "n") => format!("ON DELETE SET NULL ({})", others.join(", ")),
        _ => format!("ON DELETE SET DEFAULT ({})", others.join(", ")),
    };
    let printed = Regex::new(r" ON DELETE SET (?:NULL|DEFAULT)(?: \([^)]*\))?").expect("a valid expression");
    printed.replace(&key.definition, regex::NoExpand(&format!(" {action}"))).into_owned()
}

/// A finding that the plan of isolation fixes.
fn finding(kind: IsolationKind, object: String, message: String) -> IsolationFinding {
    IsolationFinding { kind, object, message, fix: IsolationFix::Isolation }
}

/// A table or sequence of the shared schema.
fn object(layout: &Layout, name: &str) -> String {
    format!("{}.{}", printed_identifier(layout.schema.as_str()), printed_identifier(name))
}

/// A column, key or policy of a table.
fn object_in(layout: &Layout, table: &str, name: &str) -> String {
    format!("{}.{}", object(layout, table), printed_identifier(name))
}
