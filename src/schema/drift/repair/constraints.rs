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
        // An index of its name is there already, and becomes the constraint's if it is the right one.
        if let Some(there) = self.there(&index).filter(alone).filter(|_| !self.again.contains_key(identity)) {
            let wanted = self.expected.objects.get(&index).and_then(|index| index.text("definition"));
            let word = ["PRIMARY KEY", "UNIQUE"].into_iter().find(|word| definition.starts_with(word));
            match word.filter(|_| wanted == there.text("definition") && there.is("valid")) {
                Some(word) => {
                    let behind = definition.find(" DEFERRABLE").map_or("", |at| &definition[at..]);
                    what = format!("{word} USING INDEX {}{behind}", ident(&identity.name));
                }
                None => self.drop_there(&index),
            }
        }
        let not_valid = match constraint.is("validated") {
            true => "",
            false => " NOT VALID",
        };
        let name = ident(&identity.name);
        let (word, table) = (self.table_word(identity), self.whole(&on));
        self.run(phase, format!("ALTER {word} {table} ADD CONSTRAINT {name} {what}{not_valid}"));
        // What the index is besides.
        if let Some(index) = self.wanted(&index) {
            self.begin(&index.identity);
            self.dress_index(&index);
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
                let word = self.table_word(identity);
                self.run(Phase::ForeignKey, format!("ALTER {word} {} VALIDATE CONSTRAINT {name}", self.whole(&on)));
            }
            "switched_off" if !constraint.facts.contains_key(fact) => {
                self.switch_on(&on);
                let definition = constraint.text("definition").unwrap_or_default();
                let other = self.expected.tables().find(|table| {
                    let target = format!(" REFERENCES {}(", self.whole(table));
                    definition.contains(&target)
                });
                if let Some(other) = other.map(str::to_owned) {
                    self.switch_on(&other);
                }
            }
            // With the table's parents.
            "local" | "inherited" => self.attach(&Identity { kind: Kind::Table, on: None, name: on }),
            _ => {}
        }
    }

    /// Switches all triggers of a table on, also those of the server's own that enforce foreign keys, and those of the
    /// reference's that are not simply on to what they are to be.
    fn switch_on(&mut self, table: &str) {
        self.run(Phase::Trigger, format!("ALTER TABLE {} ENABLE TRIGGER ALL", self.whole(table)));
        let triggers = self.expected.children(table).filter(|object| object.identity.kind == Kind::Trigger);
        for trigger in triggers.filter(|trigger| trigger.text("enabled") != Some("O")).cloned().collect::<Vec<_>>() {
            self.switch(&trigger);
        }
    }

    pub(super) fn create_index(&mut self, index: &Object) {
        let identity = &index.identity;
        if index.is("constraint") {
            return self.create(&Identity { kind: Kind::Constraint, ..identity.clone() });
        }
        let (Some(ddl), Some(on)) = (&index.ddl, identity.on.clone()) else { return };
        // A new partition gets an index for each that its table has.
        let parent = index.text("partition_of").and_then(|parent| parts(parent).pop());
        let is_parent = |other: &Identity| other.kind == Kind::Index && Some(&other.name) == parent.as_ref();
        let table = Identity { kind: Kind::Table, on: None, name: on.clone() };
        if !self.actual.objects.contains_key(&table) && self.actual.objects.keys().any(is_parent) {
            return self.attach(&table);
        }
        let phase = match self.table_word(identity) {
            "MATERIALIZED VIEW" => Phase::IndexOfView,
            _ => Phase::Index,
        };
        // An extra constraint of its name has an index of its name.
        let constraint = Identity { kind: Kind::Constraint, ..identity.clone() };
        if self.is_extra(&constraint) {
            self.drop_there(&constraint);
        }
        // An index of its name may be on another table.
        let other = |other: &&Identity| {
            other.kind == Kind::Index && other.name == identity.name && other.on.as_ref() != Some(&on)
        };
        if let Some(other) = self.actual.objects.keys().find(other).cloned().filter(|other| self.is_extra(other)) {
            self.drop_there(&other);
        }
        self.run(phase, ddl.trim_end().to_owned());
        if let Some(parent) = index.text("partition_of") {
            self.run(phase, format!("ALTER INDEX {parent} ATTACH PARTITION {}", self.whole(&identity.name)));
        }
        self.dress_index(index);
    }

    fn dress_index(&mut self, index: &Object) {
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
        let (whole, name) = (self.whole(&identity.name), ident(&identity.name));
        let word = self.table_word(identity);
        match fact {
            "options" => {
                let there = self.there(identity).filter(|_| !self.again.contains_key(identity));
                let from = there.map(|there| list(there, fact)).unwrap_or_default();
                let (set, reset) = change_of_options(&from, &list(index, fact), "");
                for (word, options) in [("SET", set), ("RESET", reset)] {
                    if !options.is_empty() {
                        self.run(Phase::Setting, format!("ALTER INDEX {whole} {word} ({options})"));
                    }
                }
            }
            "tablespace" => {
                let space = ident(index.text(fact).unwrap_or("pg_default"));
                self.run(Phase::Setting, format!("ALTER INDEX {whole} SET TABLESPACE {space}"));
            }
            "clustered" if index.is(fact) => {
                self.run(Phase::Setting, format!("ALTER {word} {} CLUSTER ON {name}", self.whole(&on)));
            }
            "clustered" => {
                let another = self.expected.children(&on).find(|other| other.is(fact));
                let change = match another {
                    Some(other) => format!("CLUSTER ON {}", ident(&other.identity.name)),
                    None => "SET WITHOUT CLUSTER".to_owned(),
                };
                self.run(Phase::Setting, format!("ALTER {word} {} {change}", self.whole(&on)));
            }
            "replica_identity" => self.replica_identity(&on),
            "partition_of" => {
                if let Some(parent) = index.text(fact) {
                    self.run(Phase::Index, format!("ALTER INDEX {parent} ATTACH PARTITION {whole}"));
                }
            }
            _ => {}
        }
    }

    /// What is set for a column of an index.
    pub(super) fn alter_index_column(&mut self, identity: &Identity) {
        let (wanted, there) = (self.wanted(identity), self.there(identity).cloned());
        let (Some(index), Some(any)) = (&identity.on, wanted.as_ref().or(there.as_ref())) else { return };
        // An index whose column is not expected to have anything set may be gone.
        let whole = self.whole(index);
        let Some(position) = number(any, "position") else { return };
        let statistics = |object: &Option<Object>| object.as_ref().and_then(|object| number(object, "statistics"));
        let alter = format!("ALTER INDEX {whole} ALTER COLUMN {position}");
        if statistics(&wanted) != statistics(&there) || !self.actual.objects.contains_key(identity) {
            let target = statistics(&wanted).unwrap_or(-1);
            self.run(Phase::Setting, format!("{alter} SET STATISTICS {target}"));
        }
    }
}
