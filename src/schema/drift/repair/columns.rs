//! Columns.

use super::Phase;
use super::builder::Builder;
use super::common::owning;
use super::lossless::{self, Change};
use super::text::{change_of_options, ident, list, literal, number};
use crate::schema::drift::difference::Aspect;
use crate::schema::structure::{Identity, Object, ObjectKind as Kind};

impl Builder<'_> {
    /// A column as it stands in `CREATE TABLE` and behind `ADD COLUMN`.
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

    /// `ALWAYS AS IDENTITY (…)`, with the sequence as it is expected.
    fn identity_of(&self, column: &Object) -> Option<String> {
        let kind = when(column.text("identity")?);
        let sequence = self.sequence_of(column).map(|sequence| {
            format!(" (SEQUENCE NAME {}{})", self.whole(&sequence.identity.name), super::sequences::options(sequence))
        });
        Some(format!("{kind} AS IDENTITY{}", sequence.unwrap_or_default()))
    }

    /// The sequence that an identity column is expected to have.
    fn sequence_of(&self, column: &Object) -> Option<&Object> {
        let owned = |sequence: &&Object| {
            owning(sequence).is_some_and(|(table, name)| {
                Some(&table) == column.identity.on.as_ref() && name == column.identity.name
            })
        };
        let sequences = self.expected.objects.values().filter(|object| object.identity.kind == Kind::Sequence);
        sequences.filter(|sequence| sequence.is("identity")).find(owned)
    }

    pub(super) fn add_column(&mut self, column: &Object) {
        let Some(on) = column.identity.on.clone() else { return };
        let word = self.table_word(&column.identity);
        if word.ends_with("VIEW") || super::common::is_inherited(column) {
            return;
        }
        let sql = format!("ALTER {word} {} ADD COLUMN {}", self.whole(&on), self.column(column));
        match self.renamed(column).filter(|_| !self.allow_data_loss) {
            Some(other) => {
                let table = self.whole(&on);
                let (from, to) = (ident(&other), ident(&column.identity.name));
                self.leave(
                    format!("ALTER {word} {table} RENAME COLUMN {from} TO {to}"),
                    format!("{from} may be {to} under another name; if so, this brings it back with what is in it"),
                );
                self.leave(sql, format!("if {from} is another column, this adds {to}"));
            }
            None => self.run(Phase::Alter, sql),
        }
        self.dress_column(column);
    }

    /// What is not said where a column is added.
    pub(super) fn dress_column(&mut self, column: &Object) {
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

    /// The only extra column of the table that may be this one under another name: of its type, and in its place. Where
    /// losing data is allowed there may be others, in other places.
    pub(super) fn renamed(&self, column: &Object) -> Option<String> {
        let others: Vec<&Object> = self
            .differences
            .iter()
            .filter(|difference| {
                let identity = &difference.identity;
                difference.aspect == Aspect::Extra && identity.kind == Kind::Column && identity.on == column.identity.on
            })
            .filter_map(|difference| self.there(&self.identity(difference)))
            .collect();
        let is_same = |other: &&&Object| {
            ["type", "position", "generated"].iter().all(|fact| other.facts.get(*fact) == column.facts.get(*fact))
        };
        let mut same = others.iter().filter(is_same);
        let other = same.next()?;
        let only = if self.allow_data_loss { same.next().is_none() } else { others.len() == 1 };
        only.then(|| other.identity.name.clone())
    }

    /// The missing column that this extra one may be.
    fn is_renamed(&self, extra: &Identity) -> Option<Identity> {
        let missing = self.differences.iter().filter(|difference| difference.aspect == Aspect::Missing);
        let mut missing =
            missing.map(|difference| self.identity(difference)).filter(|identity| identity.on == extra.on);
        missing.find(|identity| {
            let wanted = self.wanted(identity).filter(|_| identity.kind == Kind::Column);
            wanted.is_some_and(|column| self.renamed(&column).as_ref() == Some(&extra.name))
        })
    }

    pub(super) fn drop_column(&mut self, column: &Object) {
        let word = self.table_word(&column.identity);
        let (Some(on), false) = (&column.identity.on, word.ends_with("VIEW")) else { return };
        let sql = format!("ALTER {word} {} DROP COLUMN {}", self.whole(on), ident(&column.identity.name));
        match super::common::is_inherited(column) {
            true => {}
            false if column.text("generated").is_some() => self.run(Phase::DropLate, sql),
            // It may be what is missing, and dropping it is not to be proposed.
            false => match self.is_renamed(&column.identity).filter(|_| !self.allow_data_loss) {
                Some(missing) => self.attach(&missing),
                None => {
                    let name = ident(&column.identity.name);
                    let heirs: String = self.heirs(on).iter().map(|heir| format!(", {}.{name}", ident(heir))).collect();
                    let loss = format!("the values of the column {}.{name}{heirs}", ident(on));
                    self.lose(Phase::DropLate, sql, "what is in it would be lost", loss);
                }
            },
        }
    }

    /// The column's sequence goes with its being an identity column.
    pub(super) fn leave_identity(&mut self, sequence: &Object) {
        let Some((table, column)) = owning(sequence) else { return };
        self.drop_identity(&table, &column);
    }

    fn drop_identity(&mut self, table: &str, column: &str) {
        let sql = format!("ALTER TABLE {} ALTER COLUMN {} DROP IDENTITY", self.whole(table), ident(column));
        let loss = format!("the current value of the sequence of {}.{}", ident(table), ident(column));
        self.lose(Phase::Alter, sql, "the number that its sequence has come to would be lost", loss);
    }

    fn alter_column_by(&mut self, column: &Object, change: &str) {
        self.alter_column_in(Phase::Alter, column, change);
    }

    fn alter_column_in(&mut self, phase: Phase, column: &Object, change: &str) {
        let Some(on) = &column.identity.on else { return };
        let (word, table, name) = (self.table_word(&column.identity), self.whole(on), ident(&column.identity.name));
        self.run(phase, format!("ALTER {word} {table} ALTER COLUMN {name} {change}"));
    }

    pub(super) fn alter_column(&mut self, column: &Object, fact: &str) {
        let identity = &column.identity;
        let there = self.there(identity);
        let retyped =
            ["type", "collation"].iter().any(|fact| self.differs(identity, fact)) && self.changes_type(identity);
        let text = |fact: &str| column.text(fact).map(str::to_owned);
        match fact {
            "type" | "collation" => self.retype(column),
            "generated" => self.alter_generated(column),
            "default" if column.text("generated").is_some() => match self.version >= 170_000 {
                _ if self.differs(identity, "generated") => {}
                true => {
                    let change = format!("SET EXPRESSION AS ({})", text("default").unwrap_or_default());
                    self.alter_column_by(column, &change);
                }
                false => self.leave_anew(column, "it goes to the end, and indexes and constraints on it are lost"),
            },
            // With the type, or with what it is computed by.
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
            // With the table's parents.
            "local" | "inherited" => {
                let table = Identity { kind: Kind::Table, on: None, name: identity.on.clone().unwrap_or_default() };
                self.attach(&table);
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
                let from = there.map(|there| list(there, fact)).unwrap_or_default();
                let (set, reset) = change_of_options(&from, &list(column, fact), "");
                for (word, options) in [("SET", set), ("RESET", reset)] {
                    if !options.is_empty() {
                        self.alter_column_by(column, &format!("{word} ({options})"));
                    }
                }
            }
            "foreign_options" => {
                let from = there.map(|there| list(there, fact)).unwrap_or_default();
                let changes = super::tables::foreign_options(&from, &list(column, fact));
                self.alter_column_by(column, &format!("OPTIONS ({changes})"));
            }
            _ => {}
        }
    }

    fn retype(&mut self, column: &Object) {
        let (Some(on), Some(there)) = (&column.identity.on, self.there(&column.identity)) else { return };
        let (word, table, name) = (self.table_word(&column.identity), self.whole(on), ident(&column.identity.name));
        if word.ends_with("VIEW") || super::common::is_inherited(column) {
            return;
        }
        let (from, to) = (there.text("type").unwrap_or_default(), column.text("type").unwrap_or_default());
        let change = lossless::change(&self.expected, from, to);
        let computed = column.text("generated").is_some();
        let mut sql = format!("ALTER {word} {table} ALTER COLUMN {name} TYPE {to}");
        if let Some(collation) = column.text("collation") {
            sql += &format!(" COLLATE {collation}");
        }
        if change != Some(Change::Alone) && !computed && word == "TABLE" {
            sql += &format!(" USING {name}::{to}");
        }
        // A default need not have a cast to the new type.
        if there.text("default").is_some() && !computed {
            sql = sql.replacen(" ALTER COLUMN", &format!(" ALTER COLUMN {name} DROP DEFAULT, ALTER COLUMN"), 1);
        }
        if let Some(default) = column.text("default").filter(|_| !computed) {
            sql += &format!(", ALTER COLUMN {name} SET DEFAULT {default}");
        }
        let cast = sql.clone();
        match self.changes_type(&column.identity) {
            true => self.run(Phase::Alter, sql),
            false => {
                let loss = format!("what {to} cannot hold of the values of {from} in {}.{name}", ident(on));
                self.lose(Phase::Alter, sql, format!("values of {from} may lose something in {to}, or not fit"), loss);
            }
        }
        if self.allow_data_loss && !computed && word == "TABLE" {
            self.other_casts(column, &cast, to);
        }
    }

    /// Where the cast of a column fails: by way of text, then without the values that are no labels, then without any.
    fn other_casts(&mut self, column: &Object, sql: &str, to: &str) {
        let (on, name) = (ident(column.identity.on.as_deref().unwrap_or_default()), ident(&column.identity.name));
        let default = column.text("default").unwrap_or("NULL");
        let using = format!(" USING {name}::{to}");
        let by = |expression: String| match sql.contains(&using) {
            true => sql.replacen(&using, &format!(" USING {expression}"), 1),
            false => {
                let kind = format!(" TYPE {to}");
                sql.replacen(&kind, &format!("{kind} USING {expression}"), 1)
            }
        };
        let mut others = vec![(
            by(format!("{name}::text::{to}")),
            format!("what {to} cannot hold of the values of {on}.{name}, which are cast by way of text"),
        )];
        let label = super::text::parts(to).pop().unwrap_or_default();
        let target = Identity { kind: Kind::Enum, on: None, name: label };
        if let Some(target) = self.expected.objects.get(&target) {
            let labels: Vec<String> = list(target, "labels").into_iter().map(literal).collect();
            let known = format!("{name}::text IN ({})", labels.join(", "));
            others.push((
                by(format!("CASE WHEN {known} THEN {name}::text::{to} ELSE {default} END")),
                format!("the values of {on}.{name} that are not labels of {to}; they become {default}"),
            ));
        }
        // An expression of its own for each row is no default that USING could have.
        others.push((by(format!("({default})::{to}")), format!("all values of {on}.{name}; they become {default}")));
        self.otherwise(sql, others);
    }

    fn alter_generated(&mut self, column: &Object) {
        match column.text("generated") {
            None => {
                self.alter_column_by(column, "DROP EXPRESSION");
                if let Some(default) = column.text("default") {
                    self.alter_column_by(column, &format!("SET DEFAULT {default}"));
                }
            }
            Some(_) => {
                self.leave_anew(column, "what is in it would be lost, and so would indexes and constraints on it")
            }
        }
    }

    fn leave_anew(&mut self, column: &Object, why: &str) {
        // The table is created again instead, so that the columns keep their order.
        if self.allow_data_loss {
            return;
        }
        let (Some(on), name) = (&column.identity.on, ident(&column.identity.name)) else { return };
        let sql = format!(
            "ALTER {} {} DROP COLUMN {name}, ADD COLUMN {}",
            self.table_word(&column.identity),
            self.whole(on),
            self.column(column)
        );
        self.leave(sql, why);
    }

    fn alter_identity(&mut self, column: &Object) {
        let there = self.there(&column.identity).and_then(|there| there.text("identity"));
        let Some(table) = column.identity.on.clone() else { return };
        match (there, column.text("identity")) {
            (Some(_), Some(kind)) => self.alter_column_by(column, &format!("SET GENERATED {}", when(kind))),
            (Some(_), None) => self.drop_identity(&table, &column.identity.name),
            (None, Some(_)) => self.add_identity(column, &table),
            (None, None) => {}
        }
    }

    fn add_identity(&mut self, column: &Object, table: &str) {
        let sequence = self.sequence_of(column).map(|sequence| sequence.identity.clone());
        let name = ident(&column.identity.name);
        let group = self.new_group();
        let object = column.identity.clone();
        let add = self.identity_of(column).unwrap_or_default();
        let (from, to) = (self.whole(table), sequence.as_ref().map(|sequence| self.whole(&sequence.name)));
        // What a serial column has: its sequence makes room for the new one, and hands its number on.
        let older = sequence.as_ref().filter(|sequence| self.actual.objects.contains_key(sequence)).cloned();
        let has_default = self.there(&object).is_some_and(|there| there.text("default").is_some());
        self.grouped(Some(group), &object, |builder| {
            let alter = format!("ALTER TABLE {from} ALTER COLUMN {name}");
            if has_default {
                builder.run(Phase::Alter, format!("{alter} DROP DEFAULT"));
            }
            if column.is("not_null") {
                builder.run(Phase::Alter, format!("{alter} SET NOT NULL"));
            }
            let before = older.as_ref().map(|older| {
                let name = format!("tenantry_{}", older.name);
                let renamed = builder.whole(&name);
                let rename = format!("ALTER SEQUENCE {} RENAME TO {}", builder.whole(&older.name), ident(&name));
                builder.run(Phase::Alter, rename);
                renamed
            });
            builder.run(Phase::Alter, format!("{alter} ADD GENERATED {add}"));
            match (to, before) {
                (Some(to), Some(before)) => {
                    let next =
                        format!("SELECT pg_catalog.setval({}, last_value, is_called) FROM {before}", literal(&to));
                    builder.run(Phase::Alter, next);
                    builder.run(Phase::Alter, format!("DROP SEQUENCE {before}"));
                }
                (Some(to), None) => builder.go_on_from(&to, &from, &name),
                (None, _) => {}
            }
        });
        if let Some(sequence) = sequence {
            self.begin(&sequence);
            self.dress_sequence_of_identity(&sequence);
        }
    }

    fn dress_sequence_of_identity(&mut self, sequence: &Identity) {
        let Some(object) = self.wanted(sequence) else { return };
        self.grouped(None, sequence, |builder| {
            if object.facts.contains_key("grants") {
                builder.grants(&object, None);
            }
            if object.facts.contains_key("comment") {
                builder.comment(&object);
            }
        });
    }
}

fn when(identity: &str) -> &'static str {
    if identity == "a" { "ALWAYS" } else { "BY DEFAULT" }
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

/// The storage that columns of the type have unless it is set; where that is not known, the one that it has, but for those
/// that no other type has.
fn usual_storage(column: &Object) -> Option<&str> {
    let name = column.text("type").unwrap_or_default();
    let starts = |names: &[&str]| names.iter().any(|start| name.starts_with(start));
    match () {
        () if name.ends_with(']') || starts(&["text", "character", "bytea", "json", "xml", "tsvector"]) => Some("x"),
        () if starts(&["numeric", "inet", "cidr"]) => Some("m"),
        () => column.text("storage").filter(|storage| !["e", "m"].contains(storage)),
    }
}
