//! Columns.

use super::Phase;
use super::builder::Builder;
use super::text::{change_of_options, ident, list, number};
use crate::schema::drift::difference::Aspect;
use crate::schema::structure::{Identity, Object, ObjectKind as Kind};

impl Builder<'_> {
    /// A column as in `CREATE TABLE` and after `ADD COLUMN`.
    pub(super) fn column(&self, column: &Object) -> String {
        let mut sql = format!("{} {}", ident(&column.identity.name), column.text("type").unwrap_or_default());
        if let Some(collation) = column.text("collation") {
            sql += &format!(" COLLATE {collation}");
        }
        if let Some(method) = column.text("compression") {
            sql += &format!(" COMPRESSION {}", compression(method));
        }
        match (column.text("generated"), column.text("default")) {
            (Some(kind), Some(expression)) => {
                let kind = if kind == "s" { "STORED" } else { "VIRTUAL" };
                sql += &format!(" GENERATED ALWAYS AS ({expression}) {kind}");
            }
            (None, Some(default)) => sql += &format!(" DEFAULT {default}"),
            _ => {}
        }
        if let Some(identity) = self.identity_of(column) {
            sql += &format!(" GENERATED {identity}");
        }
        if column.is("not_null") {
            sql += " NOT NULL";
        }
        sql
    }

    pub(super) fn add_column(&mut self, column: &Object) {
        let Some(on) = column.identity.on.clone() else { return };
        let word = self.table_keyword(&column.identity);
        if word.ends_with("VIEW") || super::common::is_inherited(column) {
            return;
        }
        let sql = format!("ALTER {word} {} ADD COLUMN {}", self.qualified(&on), self.column(column));
        match self.renamed(column) {
            Some(other) if !self.allow_data_loss => {
                let table = self.qualified(&on);
                let (from, to) = (ident(&other), ident(&column.identity.name));
                self.suggest(
                    format!("ALTER {word} {table} RENAME COLUMN {from} TO {to}"),
                    format!(
                        "column {to} may have been renamed to {from}; if so, this renames it back and keeps its data"
                    ),
                );
                self.suggest(sql, format!("if {from} is a different column, this adds {to}"));
            }
            _ => self.add(Phase::Alter, sql),
        }
        self.add_column_properties(column);
    }

    /// Adds what `ADD COLUMN` cannot set.
    pub(super) fn add_column_properties(&mut self, column: &Object) {
        if let Some(storage) = column.text("storage").filter(|storage| Some(*storage) != usual_storage(column)) {
            self.alter_column_in(Phase::Storage, column, &format!("SET STORAGE {}", storage_word(storage)));
        }
        for fact in ["statistics", "options", "foreign_options"] {
            if column.facts.contains_key(fact) {
                self.alter_column(column, fact);
            }
        }
        if column.facts.contains_key("grants") {
            self.grants(column, None);
        }
        if column.facts.contains_key("comment") {
            self.comment(column);
        }
    }

    /// The unexpected column of the same table that has the same type and position, so that it may be this column renamed.
    /// Unless losing data is allowed, it must be the only unexpected column.
    pub(super) fn renamed(&self, column: &Object) -> Option<String> {
        let others: Vec<&Object> = self
            .differences
            .iter()
            .filter(|difference| {
                let identity = &difference.identity;
                difference.aspect == Aspect::Extra && identity.kind == Kind::Column && identity.on == column.identity.on
            })
            .filter_map(|difference| self.actual_object(&self.identity(difference)))
            .collect();
        let is_same = |other: &&&Object| {
            ["type", "position", "generated"].iter().all(|fact| other.facts.get(*fact) == column.facts.get(*fact))
        };
        let mut same = others.iter().filter(is_same);
        let other = same.next()?;
        let only = if self.allow_data_loss { same.next().is_none() } else { others.len() == 1 };
        only.then(|| other.identity.name.clone())
    }

    /// The missing column that an unexpected column may be.
    fn is_renamed(&self, extra: &Identity) -> Option<Identity> {
        let missing = self.differences.iter().filter(|difference| difference.aspect == Aspect::Missing);
        let mut missing =
            missing.map(|difference| self.identity(difference)).filter(|identity| identity.on == extra.on);
        missing.find(|identity| {
            identity.kind == Kind::Column
                && self
                    .expected_object(identity)
                    .is_some_and(|column| self.renamed(&column).as_ref() == Some(&extra.name))
        })
    }

    pub(super) fn drop_column(&mut self, column: &Object) {
        let word = self.table_keyword(&column.identity);
        let (Some(on), false) = (&column.identity.on, word.ends_with("VIEW")) else { return };
        let sql = format!("ALTER {word} {} DROP COLUMN {}", self.qualified(on), ident(&column.identity.name));
        if super::common::is_inherited(column) {
            return;
        }
        if column.text("generated").is_some() {
            self.add(Phase::DropLate, sql);
            return;
        }
        match self.is_renamed(&column.identity) {
            // It may be a missing column that was renamed: dropping it is not suggested.
            Some(missing) if !self.allow_data_loss => self.credit(&missing),
            _ => {
                let name = ident(&column.identity.name);
                let descendants: String =
                    self.descendants(on).iter().map(|descendant| format!(", {}.{name}", ident(descendant))).collect();
                let loss = format!("the values of the column {}.{name}{descendants}", ident(on));
                self.add_lossy(Phase::DropLate, sql, "its data would be lost", loss);
            }
        }
    }

    pub(super) fn alter_column_by(&mut self, column: &Object, change: &str) {
        self.alter_column_in(Phase::Alter, column, change);
    }

    fn alter_column_in(&mut self, phase: Phase, column: &Object, change: &str) {
        let Some(on) = &column.identity.on else { return };
        let (word, table, name) =
            (self.table_keyword(&column.identity), self.qualified(on), ident(&column.identity.name));
        self.add(phase, format!("ALTER {word} {table} ALTER COLUMN {name} {change}"));
    }

    pub(super) fn alter_column(&mut self, column: &Object, fact: &str) {
        let identity = &column.identity;
        let actual = self.actual_object(identity);
        let retyped =
            ["type", "collation"].iter().any(|fact| self.differs(identity, fact)) && self.changes_type(identity);
        let text = |fact: &str| column.text(fact).map(str::to_owned);
        match fact {
            "type" | "collation" => self.retype(column),
            "generated" => self.alter_generated(column),
            "default" if column.text("generated").is_some() => {
                if self.differs(identity, "generated") {
                    return;
                }
                if self.version >= 170_000 {
                    let change = format!("SET EXPRESSION AS ({})", text("default").unwrap_or_default());
                    self.alter_column_by(column, &change);
                } else {
                    self.suggest_new_column(
                        column,
                        "the column would move to the end of the table, and its indexes and constraints would be lost",
                    );
                }
            }
            // Changes with the type, or with the expression.
            "default" if retyped => self.retype(column),
            "default" if self.differs(identity, "generated") => {}
            "default" => match text("default") {
                Some(default) => self.alter_column_by(column, &format!("SET DEFAULT {default}")),
                None => self.alter_column_by(column, "DROP DEFAULT"),
            },
            "not_null" if column.is("not_null") => self.alter_column_by(column, "SET NOT NULL"),
            "not_null" => self.alter_column_by(column, "DROP NOT NULL"),
            "not_null_is" if !column.facts.contains_key(fact) => self.alter_column_by(column, "SET NOT NULL"),
            "identity" => self.alter_identity(column),
            // Changes with the table's parents.
            "local" | "inherited" => {
                let table = Identity { kind: Kind::Table, on: None, name: identity.on.clone().unwrap_or_default() };
                self.credit(&table);
            }
            "storage" => {
                let word = storage_word(column.text(fact).unwrap_or_default());
                self.alter_column_in(Phase::Storage, column, &format!("SET STORAGE {word}"));
            }
            "compression" => {
                let method = column.text(fact).map_or("default", compression);
                self.alter_column_in(Phase::Storage, column, &format!("SET COMPRESSION {method}"));
            }
            "statistics" => {
                self.alter_column_by(column, &format!("SET STATISTICS {}", number(column, fact).unwrap_or(-1)));
            }
            "options" => {
                let from = actual.map(|actual| list(actual, fact)).unwrap_or_default();
                let (set, reset) = change_of_options(&from, &list(column, fact), "");
                for (word, options) in [("SET", set), ("RESET", reset)] {
                    if !options.is_empty() {
                        self.alter_column_by(column, &format!("{word} ({options})"));
                    }
                }
            }
            "foreign_options" => {
                let from = actual.map(|actual| list(actual, fact)).unwrap_or_default();
                let changes = super::tables::foreign_options(&from, &list(column, fact));
                self.alter_column_by(column, &format!("OPTIONS ({changes})"));
            }
            _ => {}
        }
    }

    fn alter_generated(&mut self, column: &Object) {
        match column.text("generated") {
            None => {
                self.alter_column_by(column, "DROP EXPRESSION");
                if let Some(default) = column.text("default") {
                    self.alter_column_by(column, &format!("SET DEFAULT {default}"));
                }
            }
            Some(_) => self.suggest_new_column(column, "its data, indexes and constraints would be lost"),
        }
    }

    fn suggest_new_column(&mut self, column: &Object, reason: &str) {
        // The table is recreated instead, so that the columns keep their order.
        if self.allow_data_loss {
            return;
        }
        let (Some(on), name) = (&column.identity.on, ident(&column.identity.name)) else { return };
        let sql = format!(
            "ALTER {} {} DROP COLUMN {name}, ADD COLUMN {}",
            self.table_keyword(&column.identity),
            self.qualified(on),
            self.column(column)
        );
        self.suggest(sql, reason);
    }
}

fn compression(letter: &str) -> &'static str {
    if letter == "l" { "lz4" } else { "pglz" }
}

fn storage_word(letter: &str) -> &'static str {
    match letter {
        "p" => "PLAIN",
        "e" => "EXTERNAL",
        "m" => "MAIN",
        _ => "EXTENDED",
    }
}

/// The default storage of the column's type. For types of unknown storage, the actual one, unless it is never a default.
fn usual_storage(column: &Object) -> Option<&str> {
    let name = column.text("type").unwrap_or_default();
    let starts = |names: &[&str]| names.iter().any(|start| name.starts_with(start));
    match () {
        () if name.ends_with(']') || starts(&["text", "character", "bytea", "json", "xml", "tsvector"]) => Some("x"),
        () if starts(&["numeric", "inet", "cidr"]) => Some("m"),
        () => column.text("storage").filter(|storage| !["e", "m"].contains(storage)),
    }
}
