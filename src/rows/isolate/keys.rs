//! Unique keys: they begin with the tenant, so that no tenant notices the keys of another.

use sha2::{Digest, Sha256};

use super::plan::{Planner, TEMPORARY};
use super::step::IsolationPhase;
use crate::rows::catalog::{Table, UniqueKey};
use crate::sql::quote::Identifier;

impl Planner<'_> {
    /// Replaces a unique key with one that begins with the tenant column.
    pub(super) fn key(&mut self, key: &UniqueKey) {
        let (table, name) = (key.table_name.as_str(), key.name.as_str());
        let catalog = self.catalog;
        let Some(owner) = catalog.tables.iter().find(|of| of.name == table) else { return };
        let quoted = Identifier::of_object(name);
        let column = Identifier::from(&self.layout.column).to_string();
        let temporary = temporary_name(table, name);
        match (&key.constraint_type, &key.constraint_definition) {
            (Some(kind), Some(definition)) => {
                self.record(table, "constraint", name, Some(definition));
                self.alter(IsolationPhase::Switch, table, &format!("DROP CONSTRAINT {quoted}"));
                if kind == "x" || owner.is_partitioned {
                    let item = if kind == "x" { format!("{column} WITH =") } else { column };
                    let extended = with_first_item(definition, &item);
                    self.alter(IsolationPhase::Switch, table, &format!("ADD CONSTRAINT {quoted} {extended}"));
                } else {
                    self.build_index(owner, key, &temporary);
                    let kind = if kind == "p" { "PRIMARY KEY" } else { "UNIQUE" };
                    let deferral = &key.deferral;
                    let index = Identifier::of_object(&temporary);
                    self.alter(
                        IsolationPhase::Switch,
                        table,
                        &format!("ADD CONSTRAINT {quoted} {kind} USING INDEX {index}{deferral}"),
                    );
                }
            }
            _ => {
                self.record(table, "index", name, Some(&key.index_definition));
                let (old, new) = (self.qualified(name), self.qualified(&temporary));
                self.build_index(owner, key, &temporary);
                self.push(IsolationPhase::Switch, table, format!("DROP INDEX {old}"));
                self.push(IsolationPhase::Switch, table, format!("ALTER INDEX {new} RENAME TO {quoted}"));
            }
        }
        if key.is_replica_identity {
            self.alter(IsolationPhase::Switch, table, &format!("REPLICA IDENTITY USING INDEX {quoted}"));
        }
    }

    pub(super) fn build_index(&mut self, table: &Table, key: &UniqueKey, name: &str) {
        let earlier = self.catalog.keys.iter().find(|key| key.table_name == table.name && key.name == name);
        if earlier.is_some_and(|earlier| earlier.is_valid) {
            return;
        }
        // Not concurrently: a partitioned table has no such index, and the index of an empty table takes no time.
        let concurrently = if table.is_partitioned || !table.has_pages { "" } else { "CONCURRENTLY " };
        let phase = if concurrently.is_empty() { IsolationPhase::Switch } else { IsolationPhase::Build };
        if earlier.is_some() {
            let sql = format!("DROP INDEX {concurrently}{}", self.qualified(name));
            self.push(phase, &table.name, sql);
        }
        let sql = format!(
            "CREATE UNIQUE INDEX {concurrently}{} ON {} USING {} ({}, {}",
            Identifier::of_object(name),
            self.qualified(&table.name),
            Identifier::of_object(&key.access_method),
            Identifier::from(&self.layout.column),
            key.index_items
        );
        self.push(phase, &table.name, sql);
    }
}

/// The definition of a constraint with another first item. The first bracket opens the list.
fn with_first_item(definition: &str, item: &str) -> String {
    definition.replacen('(', &format!("({item}, "), 1)
}

/// The name of the index that replaces a key, until it has the key's name.
fn temporary_name(table: &str, key: &str) -> String {
    let hash = Sha256::new().chain_update(table).chain_update([0]).chain_update(key).finalize();
    let hash = hash[..8].iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    format!("{TEMPORARY}{hash}")
}
