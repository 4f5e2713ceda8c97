//! Tables.

use super::Phase;
use super::builder::Builder;
use super::common::{columns_in, is_inherited, owning};
use super::text::{change_of_options, ident, list, literal};
use crate::schema::structure::{Identity, Object, ObjectKind as Kind};

/// The facts of a new table that separate statements set.
const SET_LATER: [&str; 3] = ["replica_identity", "row_security", "force_row_security"];

impl Builder<'_> {
    pub(super) fn create_table(&mut self, table: &Object) {
        let name = &table.identity.name;
        let qualified = self.qualified(name);
        self.add_creating(Phase::Table, &qualified, self.create_table_sql(table));
        self.restore_rows(table);
        self.add_owner_grants_comment(table);
        for fact in SET_LATER {
            if table.facts.get(fact).is_some_and(|value| *value != serde_json::Value::Bool(false)) {
                self.alter_table(table, fact);
            }
        }
        for column in self.columns_of(name) {
            self.add_column_properties(&column);
            self.begin_creation(&column.identity);
        }
        let sequences: Vec<Identity> = self
            .expected
            .objects
            .values()
            .filter(|object| object.identity.kind == Kind::Sequence)
            .filter(|sequence| owning(sequence).is_some_and(|(table, _)| table == *name))
            .map(|sequence| sequence.identity.clone())
            .collect();
        for sequence in sequences {
            if !self.actual.objects.contains_key(&sequence) {
                self.create(&sequence);
            }
        }
        for kind in [
            Kind::Constraint,
            Kind::Index,
            Kind::Statistics,
            Kind::Trigger,
            Kind::Rule,
            Kind::Policy,
            Kind::Publication,
        ] {
            self.create_children(name, kind);
        }
    }

    pub(super) fn columns_of(&self, table: &str) -> Vec<Object> {
        columns_in(&self.expected, table).into_iter().cloned().collect()
    }

    fn create_table_sql(&self, table: &Object) -> String {
        let columns: Vec<String> = self
            .columns_of(&table.identity.name)
            .iter()
            .filter(|column| !is_inherited(column))
            .map(|column| self.column(column))
            .collect();
        let columns =
            if columns.is_empty() { " ()".to_owned() } else { format!(" (\n    {}\n)", columns.join(",\n    ")) };
        let word = match (table.identity.kind, table.is("unlogged")) {
            (Kind::ForeignTable, _) => "FOREIGN TABLE",
            (_, true) => "UNLOGGED TABLE",
            (_, false) => "TABLE",
        };
        let mut sql = format!("CREATE {word} {}", self.qualified(&table.identity.name));
        match (table.text("of_type"), table.text("inherits"), table.text("partition_bound")) {
            (_, Some(parent), Some(bound)) => sql += &format!(" PARTITION OF {parent} {bound}"),
            (_, Some(parents), None) => sql += &format!("{columns} INHERITS ({parents})"),
            (Some(kind), _, _) => sql += &format!(" OF {kind}"),
            (None, None, _) => sql += &columns,
        }
        if let Some(key) = table.text("partition_key") {
            sql += &format!(" PARTITION BY {key}");
        }
        if let Some(server) = table.text("server") {
            sql += &format!(" SERVER {}", ident(server));
            let options = foreign_options(&[], &list(table, "foreign_options")).replace("ADD ", "");
            if !options.is_empty() {
                sql += &format!(" OPTIONS ({options})");
            }
        }
        if let Some(method) = table.text("access_method").filter(|method| *method != "heap") {
            sql += &format!(" USING {}", ident(method));
        }
        sql += &self.with_options(table);
        if let Some(space) = table.text("tablespace") {
            sql += &format!(" TABLESPACE {}", ident(space));
        }
        sql
    }

    pub(super) fn alter_table(&mut self, table: &Object, fact: &str) {
        let identity = &table.identity;
        let actual = self.actual_object(identity);
        let alter = format!("ALTER {} {}", self.table_keyword(identity), self.qualified(&identity.name));
        let unlogged = format!("the rows of {} if the server crashes", ident(&identity.name));
        let mut run = |change: &str| self.add(Phase::Alter, format!("{alter} {change}"));
        match fact {
            "unlogged" if table.is(fact) => {
                let sql = format!("{alter} SET UNLOGGED");
                self.add_lossy(Phase::Alter, sql, "a server crash would delete its rows", unlogged);
            }
            "unlogged" => run("SET LOGGED"),
            "access_method" => run(&format!("SET ACCESS METHOD {}", ident(table.text(fact).unwrap_or("heap")))),
            "tablespace" => run(&format!("SET TABLESPACE {}", ident(table.text(fact).unwrap_or("pg_default")))),
            "options" | "toast_options" => {
                let prefix = if fact == "options" { "" } else { "toast." };
                let from = actual.map(|actual| list(actual, fact)).unwrap_or_default();
                let (set, reset) = change_of_options(&from, &list(table, fact), prefix);
                for (word, options) in [("SET", set), ("RESET", reset)] {
                    if !options.is_empty() {
                        self.add(Phase::Alter, format!("{alter} {word} ({options})"));
                    }
                }
            }
            "replica_identity" => self.replica_identity(&identity.name),
            "row_security" if table.is(fact) => run("ENABLE ROW LEVEL SECURITY"),
            "row_security" => run("DISABLE ROW LEVEL SECURITY"),
            "force_row_security" if table.is(fact) => run("FORCE ROW LEVEL SECURITY"),
            "force_row_security" => run("NO FORCE ROW LEVEL SECURITY"),
            "of_type" => match table.text(fact) {
                Some(kind) => run(&format!("OF {kind}")),
                None => run("NOT OF"),
            },
            "inherits" | "partition_bound" => self.alter_parents(table, &alter),
            "foreign_options" => {
                let from = actual.map(|actual| list(actual, fact)).unwrap_or_default();
                let changes = foreign_options(&from, &list(table, fact));
                self.add(Phase::Alter, format!("{alter} OPTIONS ({changes})"));
            }
            _ => {}
        }
    }

    fn alter_parents(&mut self, table: &Object, alter: &str) {
        let Some(actual) = self.actual_object(&table.identity) else { return };
        let qualified = self.qualified(&table.identity.name);
        let group = self.new_group();
        let object = table.identity.clone();
        self.in_group(Some(group), &object, |builder| {
            match (actual.text("inherits"), actual.text("partition_bound")) {
                (Some(parent), Some(_)) => {
                    builder.add(Phase::Alter, format!("ALTER TABLE {parent} DETACH PARTITION {qualified}"));
                }
                (Some(parents), None) => {
                    for parent in parents.split(", ") {
                        builder.add(Phase::Alter, format!("{alter} NO INHERIT {parent}"));
                    }
                }
                (None, _) => {}
            }
            match (table.text("inherits"), table.text("partition_bound")) {
                (Some(parent), Some(bound)) => {
                    builder.add(Phase::Owner, format!("ALTER TABLE {parent} ATTACH PARTITION {qualified} {bound}"));
                }
                (Some(parents), None) => {
                    for parent in parents.split(", ") {
                        builder.add(Phase::Owner, format!("{alter} INHERIT {parent}"));
                    }
                }
                (None, _) => {}
            }
        });
    }

    /// Sets the replica identity of a table.
    pub(super) fn replica_identity(&mut self, table: &str) {
        let holder = Identity { kind: Kind::Table, on: None, name: table.to_owned() };
        let Some(object) = self.expected_object(&holder) else { return };
        let of_index = self
            .expected
            .children(table)
            .find(|child| child.identity.kind == Kind::Index && child.is("replica_identity"))
            .map(|index| format!("USING INDEX {}", ident(&index.identity.name)));
        let identity = match object.text("replica_identity") {
            Some("n") => "NOTHING".to_owned(),
            Some("f") => "FULL".to_owned(),
            Some(_) => of_index.unwrap_or_else(|| "NOTHING".to_owned()),
            None => "DEFAULT".to_owned(),
        };
        self.add(Phase::Setting, format!("ALTER TABLE {} REPLICA IDENTITY {identity}", self.qualified(table)));
    }
}

/// The `OPTIONS` clause that changes one list of foreign-data options to another.
pub(super) fn foreign_options(from: &[&str], to: &[&str]) -> String {
    fn split<'a>(options: &[&'a str]) -> Vec<(&'a str, &'a str)> {
        options.iter().filter_map(|option| option.split_once('=')).collect()
    }
    let (from, to) = (split(from), split(to));
    let mut changes = Vec::new();
    for (name, value) in &to {
        match from.iter().find(|(other, _)| other == name) {
            None => changes.push(format!("ADD {} {}", ident(name), literal(value))),
            Some((_, other)) if other != value => changes.push(format!("SET {} {}", ident(name), literal(value))),
            Some(_) => {}
        }
    }
    let gone = from.iter().filter(|(name, _)| !to.iter().any(|(other, _)| other == name));
    changes.extend(gone.map(|(name, _)| format!("DROP {}", ident(name))));
    changes.join(", ")
}
