//! Constraints and indexes.

use super::Phase;
use super::builder::Builder;
use super::common::is_inherited;
use super::text::{change_of_options, ident, list, number, parts};
use crate::schema::structure::{Identity, Object, ObjectKind as Kind};

impl Builder<'_> {
    pub(super) fn create_constraint(&mut self, constraint: &Object) {
        let identity = &constraint.identity;
        let (Some(on), false) = (identity.on.clone(), is_inherited(constraint)) else { return };
        let phase = match constraint.text("type") {
            Some("f") => Phase::ForeignKey,
            _ => Phase::Constraint,
        };
        let definition = constraint.text("definition").unwrap_or_default();
        let mut what = definition.to_owned();
        let index = Identity { kind: Kind::Index, ..identity.clone() };
        let alone = |index: &&Object| !index.is("constraint");
        // If an index of the same name has the right definition, the constraint takes it over.
        if !self.recreated.contains_key(identity)
            && let Some(actual) = self.actual_object(&index).filter(alone)
        {
            let expected = self.expected.objects.get(&index).and_then(|index| index.text("definition"));
            let word = ["PRIMARY KEY", "UNIQUE"].into_iter().find(|word| definition.starts_with(word));
            match word {
                Some(word) if expected == actual.text("definition") && actual.is("valid") => {
                    let behind = definition.find(" DEFERRABLE").map_or("", |at| &definition[at..]);
                    what = format!("{word} USING INDEX {}{behind}", ident(&identity.name));
                }
                _ => self.drop_actual(&index),
            }
        }
        let not_valid = if constraint.is("validated") { "" } else { " NOT VALID" };
        let name = ident(&identity.name);
        let (word, table) = (self.table_keyword(identity), self.qualified(&on));
        self.add(phase, format!("ALTER {word} {table} ADD CONSTRAINT {name} {what}{not_valid}"));
        // Properties of the index of the constraint.
        if let Some(index) = self.expected_object(&index) {
            self.begin_creation(&index.identity);
            self.add_index_properties(&index);
        }
        if constraint.facts.contains_key("comment") {
            self.comment(constraint);
        }
    }

    pub(super) fn alter_constraint(&mut self, constraint: &Object, fact: &str) {
        let identity = &constraint.identity;
        let (Some(on), name) = (identity.on.clone(), ident(&identity.name)) else { return };
        match fact {
            "validated" if constraint.is(fact) => {
                let word = self.table_keyword(identity);
                self.add(Phase::ForeignKey, format!("ALTER {word} {} VALIDATE CONSTRAINT {name}", self.qualified(&on)));
            }
            "switched_off" if !constraint.facts.contains_key(fact) => {
                self.enable_triggers(&on);
                let definition = constraint.text("definition").unwrap_or_default();
                let other = self.expected.tables().find(|table| {
                    let target = format!(" REFERENCES {}(", self.qualified(table));
                    definition.contains(&target)
                });
                if let Some(other) = other.map(str::to_owned) {
                    self.enable_triggers(&other);
                }
            }
            // Changes with the table's parents.
            "local" | "inherited" => self.credit(&Identity { kind: Kind::Table, on: None, name: on }),
            _ => {}
        }
    }

    /// Enables all triggers of a table, including those that enforce foreign keys, and then restores the state of those
    /// that are not simply enabled in the reference.
    fn enable_triggers(&mut self, table: &str) {
        self.add(Phase::Trigger, format!("ALTER TABLE {} ENABLE TRIGGER ALL", self.qualified(table)));
        let triggers = self.expected.children(table).filter(|object| object.identity.kind == Kind::Trigger);
        for trigger in triggers.filter(|trigger| trigger.text("enabled") != Some("O")).cloned().collect::<Vec<_>>() {
            self.set_firing(&trigger);
        }
    }

    pub(super) fn create_index(&mut self, index: &Object) {
        let identity = &index.identity;
        if index.is("constraint") {
            return self.create(&Identity { kind: Kind::Constraint, ..identity.clone() });
        }
        let (Some(ddl), Some(on)) = (&index.ddl, identity.on.clone()) else { return };
        // A new partition gets a copy of each index of its parent.
        let parent = index.text("partition_of").and_then(|parent| parts(parent).pop());
        let is_parent = |other: &Identity| other.kind == Kind::Index && Some(&other.name) == parent.as_ref();
        let table = Identity { kind: Kind::Table, on: None, name: on.clone() };
        if !self.actual.objects.contains_key(&table) && self.actual.objects.keys().any(is_parent) {
            return self.credit(&table);
        }
        let phase = match self.table_keyword(identity) {
            "MATERIALIZED VIEW" => Phase::IndexOfView,
            _ => Phase::Index,
        };
        // An unexpected constraint of the same name has an index of the same name.
        let constraint = Identity { kind: Kind::Constraint, ..identity.clone() };
        if self.is_extra(&constraint) {
            self.drop_actual(&constraint);
        }
        // An index of the same name may belong to another table.
        let other = |other: &&Identity| {
            other.kind == Kind::Index && other.name == identity.name && other.on.as_ref() != Some(&on)
        };
        if let Some(other) = self.actual.objects.keys().find(other).cloned().filter(|other| self.is_extra(other)) {
            self.drop_actual(&other);
        }
        self.add(phase, ddl.trim_end().to_owned());
        if let Some(parent) = index.text("partition_of") {
            self.add(phase, format!("ALTER INDEX {parent} ATTACH PARTITION {}", self.qualified(&identity.name)));
        }
        self.add_index_properties(index);
    }

    fn add_index_properties(&mut self, index: &Object) {
        for fact in ["tablespace", "clustered", "replica_identity"] {
            if index.is(fact) || index.text(fact).is_some() {
                self.alter_index(index, fact);
            }
        }
        if index.is("constraint") && index.facts.contains_key("options") {
            self.alter_index(index, "options");
        }
        if index.facts.contains_key("comment") {
            self.comment(index);
        }
        self.create_children(&index.identity.name, Kind::IndexColumn);
    }

    pub(super) fn alter_index(&mut self, index: &Object, fact: &str) {
        let identity = &index.identity;
        let Some(on) = identity.on.clone() else { return };
        let (qualified, name) = (self.qualified(&identity.name), ident(&identity.name));
        let word = self.table_keyword(identity);
        match fact {
            "options" => {
                let actual = if self.recreated.contains_key(identity) { None } else { self.actual_object(identity) };
                let from = actual.map(|actual| list(actual, fact)).unwrap_or_default();
                let (set, reset) = change_of_options(&from, &list(index, fact), "");
                for (word, options) in [("SET", set), ("RESET", reset)] {
                    if !options.is_empty() {
                        self.add(Phase::Setting, format!("ALTER INDEX {qualified} {word} ({options})"));
                    }
                }
            }
            "tablespace" => {
                let space = ident(index.text(fact).unwrap_or("pg_default"));
                self.add(Phase::Setting, format!("ALTER INDEX {qualified} SET TABLESPACE {space}"));
            }
            "clustered" if index.is(fact) => {
                self.add(Phase::Setting, format!("ALTER {word} {} CLUSTER ON {name}", self.qualified(&on)));
            }
            "clustered" => {
                let another = self.expected.children(&on).find(|other| other.is(fact));
                let change = match another {
                    Some(other) => format!("CLUSTER ON {}", ident(&other.identity.name)),
                    None => "SET WITHOUT CLUSTER".to_owned(),
                };
                self.add(Phase::Setting, format!("ALTER {word} {} {change}", self.qualified(&on)));
            }
            "replica_identity" => self.replica_identity(&on),
            "partition_of" => {
                if let Some(parent) = index.text(fact) {
                    self.add(Phase::Index, format!("ALTER INDEX {parent} ATTACH PARTITION {qualified}"));
                }
            }
            _ => {}
        }
    }

    /// Sets the statistics target of an index column.
    pub(super) fn alter_index_column(&mut self, identity: &Identity) {
        let (expected, actual) = (self.expected_object(identity), self.actual_object(identity).cloned());
        let (Some(index), Some(any)) = (&identity.on, expected.as_ref().or(actual.as_ref())) else { return };
        // The index itself may be missing.
        let qualified = self.qualified(index);
        let Some(position) = number(any, "position") else { return };
        let statistics = |object: &Option<Object>| object.as_ref().and_then(|object| number(object, "statistics"));
        let alter = format!("ALTER INDEX {qualified} ALTER COLUMN {position}");
        if statistics(&expected) != statistics(&actual) || !self.actual.objects.contains_key(identity) {
            let target = statistics(&expected).unwrap_or(-1);
            self.add(Phase::Setting, format!("{alter} SET STATISTICS {target}"));
        }
    }
}
