//! Foreign keys between isolated tables: they include the tenant, so that no row refers to another tenant's.

use super::plan::Planner;
use super::step::IsolationPhase;
use crate::rows::catalog::SharedForeignKey;
use crate::sql::quote::Identifier;

impl Planner<'_> {
    /// Whether a foreign key could lead from one tenant's rows to another's.
    pub(crate) fn must_replace(&self, key: &SharedForeignKey) -> bool {
        if !self.is_shared(key) || !self.isolated.contains(key.referenced_table.as_str()) {
            return false;
        }
        let Some(own) = self.tenant_column_of(&key.table_name) else { return true };
        let mut pairs = key.columns.iter().zip(&key.referenced_columns);
        !pairs.any(|(from, to)| from == own && to == self.layout.column.as_str())
    }

    pub(super) fn drop_foreign_key(&mut self, key: &SharedForeignKey) {
        let (table, name) = (key.table_name.as_str(), key.name.as_str());
        if self.tenant_column_of(table).is_none() {
            self.obstacle(
                table,
                format!(
                    "is exempt, and its foreign key {name:?} refers to the isolated table {}",
                    key.referenced_table
                ),
                "drop the foreign key, or do not exempt the table",
            );
            return;
        }
        if key.matches_fully && key.columns.len() > 1 {
            self.obstacle(
                table,
                format!(
                    "foreign key {name:?} has several columns and MATCH FULL, which the tenant column would change"
                ),
                "replace it with MATCH SIMPLE and a check in a migration",
            );
            return;
        }
        if self.version < 150_000 && matches!(key.on_delete.as_str(), "n" | "d") {
            self.obstacle(
                table,
                format!(
                    "foreign key {name:?} sets columns when a row is deleted, which would set the tenant column, too"
                ),
                "upgrade to PostgreSQL 15, or change it to ON DELETE CASCADE or NO ACTION in a migration",
            );
            return;
        }
        self.record(table, "constraint", name, Some(&key.definition));
        self.alter(IsolationPhase::Switch, table, &format!("DROP CONSTRAINT {}", Identifier::of_object(name)));
    }

    pub(super) fn add_foreign_key(&mut self, key: &SharedForeignKey) {
        let catalog = self.catalog;
        let Some(own) = self.tenant_column_of(&key.table_name) else { return };
        let Some(table) = catalog.tables.iter().find(|table| table.name == key.table_name) else { return };
        let definition = self.foreign_key_definition(key, own);
        self.add_key(table, &key.name, &definition);
    }

    pub(super) fn foreign_key_definition(&self, key: &SharedForeignKey, own: &str) -> String {
        let list = |first: &str, columns: &[String]| {
            let columns = std::iter::once(first).chain(columns.iter().map(String::as_str));
            columns.map(|column| Identifier::of_object(column).to_string()).collect::<Vec<_>>().join(", ")
        };
        let mut sql = format!(
            "FOREIGN KEY ({}) REFERENCES {} ({})",
            list(own, &key.columns),
            self.qualified(&key.referenced_table),
            list(self.layout.column.as_str(), &key.referenced_columns)
        );
        let set = if key.set_on_delete.is_empty() { &key.columns } else { &key.set_on_delete };
        let set: Vec<String> = set.iter().map(|column| Identifier::of_object(column).to_string()).collect();
        match key.on_update.as_str() {
            "c" => sql.push_str(" ON UPDATE CASCADE"),
            "r" => sql.push_str(" ON UPDATE RESTRICT"),
            // SET NULL would set the tenant column, too, and an update of a key is an error instead.
            _ => {}
        }
        match key.on_delete.as_str() {
            "c" => sql.push_str(" ON DELETE CASCADE"),
            "r" => sql.push_str(" ON DELETE RESTRICT"),
            // Without the list, the tenant column would be set, too. PostgreSQL 14 has no list.
            "n" => sql.push_str(&format!(" ON DELETE SET NULL ({})", set.join(", "))),
            "d" => sql.push_str(&format!(" ON DELETE SET DEFAULT ({})", set.join(", "))),
            _ => {}
        }
        sql.push_str(&key.deferral);
        sql
    }
}
