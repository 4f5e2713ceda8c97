//! Tables and columns that were renamed: giving them their names back keeps what is in them.

use std::collections::BTreeSet;

use super::builder::Builder;
use super::common::columns_in;
use super::text::ident;
use super::{Phase, Statement};
use crate::schema::drift::difference::Aspect;
use crate::schema::structure::{Identity, Object, ObjectKind as Kind, Structure};

impl Builder<'_> {
    /// The statements that rename what was probably renamed, where losing data is allowed; none where nothing was.
    /// They come before all others, whose plan depends on them.
    pub(super) fn renames(&mut self) -> Option<Vec<Statement>> {
        if !self.allow_data_loss {
            return None;
        }
        let missing: Vec<Identity> = self.with(&Aspect::Missing);
        let mut renames: Vec<(String, String, Identity)> = Vec::new();
        for identity in &missing {
            match identity.kind {
                Kind::Table => {
                    let Some(other) = self.renamed_table(identity, &missing) else { continue };
                    let sql = format!("ALTER TABLE {} RENAME TO {}", self.whole(&other), ident(&identity.name));
                    let note = format!("the table {} is {} under another name", ident(&other), ident(&identity.name));
                    renames.push((sql, note, identity.clone()));
                }
                Kind::Column => {
                    let Some(column) = self.wanted(identity) else { continue };
                    if super::common::is_inherited(&column) || self.table_word(identity).ends_with("VIEW") {
                        continue;
                    }
                    let (Some(other), Some(on)) = (self.renamed(&column), &identity.on) else { continue };
                    let (table, from, to) = (self.whole(on), ident(&other), ident(&identity.name));
                    let word = self.table_word(identity);
                    let sql = format!("ALTER {word} {table} RENAME COLUMN {from} TO {to}");
                    let note = format!("the column {}.{from} is {to} under another name", ident(on));
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
            self.grouped(None, &identity, |builder| builder.run(Phase::Alter, &sql));
            self.added(&sql, |statement| statement.assumption = Some(note));
        }
        Some(self.take())
    }

    /// Pairs of tables that have each other's columns, and none of their own.
    fn swapped_tables(&self) -> Vec<(Identity, Identity)> {
        let differing: BTreeSet<&str> =
            self.differences.iter().filter_map(|difference| difference.identity.on.as_deref()).collect();
        let plain = |identity: &&Identity| {
            let facts = [self.expected.objects.get(identity), self.there(identity)];
            let plain = |table: &&Object| table.text("partition_key").or(table.text("partition_bound")).is_none();
            identity.kind == Kind::Table
                && differing.contains(identity.name.as_str())
                && facts.iter().all(|table| table.as_ref().is_some_and(plain))
        };
        let tables: Vec<&Identity> = self.actual.objects.keys().filter(plain).collect();
        let there: Vec<_> = tables.iter().map(|table| columns(self.actual, &table.name)).collect();
        let wanted: Vec<_> = tables.iter().map(|table| columns(&self.expected, &table.name)).collect();
        let matches = |one: usize, other: usize| {
            let shared = there[one].iter().any(|column| wanted[one].contains(column));
            !there[one].is_empty() && !shared && there[one] == wanted[other]
        };
        let partner = |one: usize| {
            let mut partners = (0..tables.len()).filter(|other| matches(one, *other) && matches(*other, one));
            partners.next().filter(|_| partners.next().is_none())
        };
        let pairs = (0..tables.len()).filter_map(|one| Some((one, partner(one)?)));
        let pairs = pairs.filter(|(one, other)| one < other && partner(*other) == Some(*one));
        pairs.map(|(one, other)| (tables[one].clone(), tables[other].clone())).collect()
    }

    /// Exchanges the names of two tables.
    fn swap_tables(&mut self, one: &Identity, other: &Identity) {
        let aside = format!("tenantry_{}", one.name);
        let group = self.new_group();
        let names = [(&one.name, &aside), (&other.name, &one.name), (&aside, &other.name)];
        let statements = names.map(|(from, to)| format!("ALTER TABLE {} RENAME TO {}", self.whole(from), ident(to)));
        for sql in &statements {
            self.grouped(Some(group), one, |builder| builder.run(Phase::Alter, sql));
        }
        let note = format!("the tables {} and {} have exchanged their names", ident(&one.name), ident(&other.name));
        self.added(&statements[0], |statement| statement.assumption = Some(note));
    }

    fn with(&self, aspect: &Aspect) -> Vec<Identity> {
        let all = self.differences.iter().filter(|difference| difference.aspect == *aspect);
        all.map(|difference| self.identity(difference)).collect()
    }

    /// The only extra table that has the columns of a missing one, which no other missing table has.
    fn renamed_table(&self, missing: &Identity, all: &[Identity]) -> Option<String> {
        let wanted = columns(&self.expected, &missing.name);
        let tables = |of: &[Identity]| of.iter().filter(|other| other.kind == Kind::Table).cloned().collect::<Vec<_>>();
        let same = |other: &&Identity| columns(self.actual, &other.name) == wanted;
        let extra = tables(&self.with(&Aspect::Extra));
        let candidates: Vec<&Identity> = extra.iter().filter(same).collect();
        let rivals = tables(all).iter().filter(|other| columns(&self.expected, &other.name) == wanted).count();
        let fact = |structure: &Structure, identity: &Identity, fact: &str| {
            structure.objects.get(identity).and_then(|object| object.facts.get(fact).cloned())
        };
        let alike = |other: &Identity| {
            ["partition_key", "inherits"]
                .iter()
                .all(|name| fact(self.actual, other, name) == fact(&self.expected, missing, name))
        };
        match candidates[..] {
            [other] if rivals == 1 && !wanted.is_empty() && alike(other) => Some(other.name.clone()),
            _ => None,
        }
    }
}

/// Names and types of a table's columns, in order.
fn columns(structure: &Structure, table: &str) -> Vec<(String, String)> {
    let column = |column: &Object| (column.identity.name.clone(), column.text("type").unwrap_or_default().to_owned());
    columns_in(structure, table).into_iter().map(column).collect()
}
