//! Tables and columns that were probably renamed. Renaming them back keeps their data.

use std::collections::BTreeSet;

use super::builder::Builder;
use super::common::columns_in;
use super::text::ident;
use super::{Phase, RepairStatement};
use crate::schema::drift::difference::Aspect;
use crate::schema::structure::{Identity, Object, ObjectKind as Kind, Structure};

impl Builder<'_> {
    /// The statements that rename tables and columns back, if losing data is allowed; `None` if there are none. They run
    /// first, because all other statements depend on them.
    pub(super) fn renames(&mut self) -> Option<Vec<RepairStatement>> {
        if !self.allow_data_loss {
            return None;
        }
        let missing: Vec<Identity> = self.with(&Aspect::Missing);
        let mut renames: Vec<(String, String, Identity)> = Vec::new();
        for identity in &missing {
            match identity.kind {
                Kind::Table => {
                    let Some(other) = self.renamed_table(identity, &missing) else { continue };
                    let sql = format!("ALTER TABLE {} RENAME TO {}", self.qualified(&other), ident(&identity.name));
                    let note = format!("table {} was renamed to {}", ident(&identity.name), ident(&other));
                    renames.push((sql, note, identity.clone()));
                }
                Kind::Column => {
                    let Some(column) = self.expected_object(identity) else { continue };
                    if super::common::is_inherited(&column) || self.table_keyword(identity).ends_with("VIEW") {
                        continue;
                    }
                    let (Some(other), Some(on)) = (self.renamed(&column), &identity.on) else { continue };
                    let (table, from, to) = (self.qualified(on), ident(&other), ident(&identity.name));
                    let word = self.table_keyword(identity);
                    let sql = format!("ALTER {word} {table} RENAME COLUMN {from} TO {to}");
                    let note = format!("column {}.{to} was renamed to {from}", ident(on));
                    renames.push((sql, note, identity.clone()));
                }
                _ => {}
            }
        }
        let swapped = self.swapped_tables();
        if renames.is_empty() && swapped.is_empty() {
            return None;
        }
        for (one, other) in swapped {
            self.swap_tables(&one, &other);
        }
        for (sql, note, identity) in renames {
            self.in_group(None, &identity, |builder| builder.add(Phase::Alter, &sql));
            self.update_statement(&sql, |statement| statement.assumption = Some(note));
        }
        Some(self.take())
    }

    /// Pairs of tables that have each other's expected columns, and none of their own.
    fn swapped_tables(&self) -> Vec<(Identity, Identity)> {
        let differing: BTreeSet<&str> =
            self.differences.iter().filter_map(|difference| difference.identity.on.as_deref()).collect();
        let plain = |identity: &&Identity| {
            let facts = [self.expected.objects.get(identity), self.actual_object(identity)];
            let plain = |table: &&Object| table.text("partition_key").or(table.text("partition_bound")).is_none();
            identity.kind == Kind::Table
                && differing.contains(identity.name.as_str())
                && facts.iter().all(|table| table.as_ref().is_some_and(plain))
        };
        let tables: Vec<&Identity> = self.actual.objects.keys().filter(plain).collect();
        let actual: Vec<_> = tables.iter().map(|table| columns(self.actual, &table.name)).collect();
        let expected: Vec<_> = tables.iter().map(|table| columns(&self.expected, &table.name)).collect();
        let matches = |one: usize, other: usize| {
            let shared = actual[one].iter().any(|column| expected[one].contains(column));
            !actual[one].is_empty() && !shared && actual[one] == expected[other]
        };
        let partner = |one: usize| {
            let mut partners = (0..tables.len()).filter(|other| matches(one, *other) && matches(*other, one));
            let first = partners.next()?;
            if partners.next().is_none() { Some(first) } else { None }
        };
        let pairs = (0..tables.len()).filter_map(|one| Some((one, partner(one)?)));
        let pairs = pairs.filter(|(one, other)| one < other && partner(*other) == Some(*one));
        pairs.map(|(one, other)| (tables[one].clone(), tables[other].clone())).collect()
    }

    /// Swaps the names of two tables.
    fn swap_tables(&mut self, one: &Identity, other: &Identity) {
        let aside = format!("tenantry_{}", one.name);
        let group = self.new_group();
        let names = [(&one.name, &aside), (&other.name, &one.name), (&aside, &other.name)];
        let statements =
            names.map(|(from, to)| format!("ALTER TABLE {} RENAME TO {}", self.qualified(from), ident(to)));
        for sql in &statements {
            self.in_group(Some(group), one, |builder| builder.add(Phase::Alter, sql));
        }
        let note = format!("tables {} and {} were swapped", ident(&one.name), ident(&other.name));
        self.update_statement(&statements[0], |statement| statement.assumption = Some(note));
    }

    pub(super) fn with(&self, aspect: &Aspect) -> Vec<Identity> {
        let all = self.differences.iter().filter(|difference| difference.aspect == *aspect);
        all.map(|difference| self.identity(difference)).collect()
    }

    /// The only unexpected table with the columns of a missing table, if no other missing table has them.
    fn renamed_table(&self, missing: &Identity, all: &[Identity]) -> Option<String> {
        let expected = columns(&self.expected, &missing.name);
        let tables = |of: &[Identity]| of.iter().filter(|other| other.kind == Kind::Table).cloned().collect::<Vec<_>>();
        let same = |other: &&Identity| columns(self.actual, &other.name) == expected;
        let extra = tables(&self.with(&Aspect::Extra));
        let candidates: Vec<&Identity> = extra.iter().filter(same).collect();
        let rivals = tables(all).iter().filter(|other| columns(&self.expected, &other.name) == expected).count();
        let fact = |structure: &Structure, identity: &Identity, fact: &str| {
            structure.objects.get(identity).and_then(|object| object.facts.get(fact).cloned())
        };
        let alike = |other: &Identity| {
            ["partition_key", "inherits"]
                .iter()
                .all(|name| fact(self.actual, other, name) == fact(&self.expected, missing, name))
        };
        match candidates[..] {
            [other] if rivals == 1 && !expected.is_empty() && alike(other) => Some(other.name.clone()),
            _ => None,
        }
    }
}

/// The names and types of a table's columns, in order.
fn columns(structure: &Structure, table: &str) -> Vec<(String, String)> {
    let column = |column: &Object| (column.identity.name.clone(), column.text("type").unwrap_or_default().to_owned());
    columns_in(structure, table).into_iter().map(column).collect()
}
