//! Drops objects with everything that depends on them, to recreate them as expected. The rows of tables are saved in
//! temporary tables.

use std::collections::{BTreeMap, BTreeSet};

use super::builder::Builder;
use super::common::{columns_in, is_inherited, owning};
use super::text::{ident, literal, mentions};
use super::{Phase, RepairStatement};
use crate::schema::drift::difference::{Aspect, Difference};
use crate::schema::structure::{Identity, Object, ObjectKind as Kind};

/// The saved rows of dropped tables, by table name.
pub(super) type SavedRows = BTreeMap<String, SavedTable>;

/// The saved rows of a dropped table.
#[derive(Debug, Clone)]
pub(super) struct SavedTable {
    /// The temporary table that contains them.
    pub(super) temporary: String,
    /// The saved columns, with their types.
    columns: Vec<(String, String)>,
    /// The sequences of identity columns, each with the temporary table that contains its value.
    pub(super) sequences: Vec<(String, String)>,
}

/// The facts of a table that no statement can change: the table is recreated.
const NOT_CHANGED: [&str; 2] = ["column_order", "partition_key"];

/// Whether a difference requires to recreate its table.
pub(super) fn needs_rebuild(difference: &Difference) -> bool {
    let Aspect::Fact(fact) = &difference.aspect else { return false };
    difference.kind() == Kind::Table && NOT_CHANGED.contains(&fact.as_str())
}

impl Builder<'_> {
    /// Finds the tables to recreate, if losing data is allowed.
    pub(super) fn find_rebuilt(&mut self, not_rebuilt: &BTreeSet<String>) {
        if self.allow_data_loss {
            let tables = self.differences.iter().filter(|difference| needs_rebuild(difference));
            let names = tables.map(|difference| self.identity(difference).name);
            self.rebuilt = names.filter(|name| !not_rebuilt.contains(name)).collect();
        }
    }

    /// Whether an object is a table to recreate, a partition of one, or a part of either.
    pub(super) fn is_rebuilt(&self, identity: &Identity) -> bool {
        let mut table = identity.on.clone().unwrap_or_else(|| identity.name.clone());
        if self.rebuilt.is_empty() || identity.on.is_none() && identity.kind != Kind::Table {
            return false;
        }
        for _ in 0..self.actual.objects.len() {
            if self.rebuilt.contains(&table) {
                return true;
            }
            match self.parent_of_partition(&table) {
                Some(parent) => table = parent,
                None => return false,
            }
        }
        false
    }

    /// The table of which an existing table is a partition.
    pub(super) fn parent_of_partition(&self, table: &str) -> Option<String> {
        let identity = Identity { kind: Kind::Table, on: None, name: table.to_owned() };
        let actual = self.actual_object(&identity).filter(|actual| actual.text("partition_bound").is_some())?;
        super::text::parts(actual.text("inherits")?).pop()
    }

    /// Drops an unexpected partition. Its rows move to the other partitions that accept them.
    pub(super) fn drop_partition(&mut self, table: &Identity, parent: &str) {
        let (qualified, of) = (self.qualified(&table.name), self.qualified(parent));
        let holder = Identity { kind: Kind::Table, on: None, name: parent.to_owned() };
        let columns = self.columns_of(parent);
        let common = columns
            .iter()
            .filter(|column| column.text("generated").is_none() && self.actual.objects.contains_key(&column.identity));
        let names: Vec<String> = common.map(|column| ident(&column.identity.name)).collect();
        let names = names.join(", ");
        // Moving rows must not fire the table's triggers.
        let triggers: Vec<(String, &str)> = self
            .actual
            .children(parent)
            .filter(|object| object.identity.kind == Kind::Trigger && object.text("enabled") != Some("D"))
            .map(|trigger| {
                let verb = match trigger.text("enabled") {
                    Some("R") => "ENABLE REPLICA",
                    Some("A") => "ENABLE ALWAYS",
                    _ => "ENABLE",
                };
                (ident(&trigger.identity.name), verb)
            })
            .collect();
        let group = self.new_group();
        self.in_group(Some(group), table, |builder| {
            builder.add(Phase::DropLate, format!("ALTER TABLE {of} DETACH PARTITION {qualified}"));
            for (trigger, _) in &triggers {
                builder.add(Phase::DropLate, format!("ALTER TABLE {of} DISABLE TRIGGER {trigger}"));
            }
            let copy = format!("INSERT INTO {of} ({names}) OVERRIDING SYSTEM VALUE SELECT {names} FROM {qualified}");
            builder.add(Phase::DropLate, &copy);
            let loss = format!("the rows of {} that no other partition accepts", ident(&table.name));
            builder.add_alternatives(&copy, vec![(format!("DELETE FROM {qualified}"), loss)]);
            for (trigger, verb) in &triggers {
                builder.add(Phase::DropLate, format!("ALTER TABLE {of} {verb} TRIGGER {trigger}"));
            }
            builder.add(Phase::DropLate, format!("DROP TABLE {qualified}"));
        });
        self.credit(&holder);
    }

    /// The tables that inherit from a table, directly or indirectly, except partitions.
    pub(super) fn descendants(&self, table: &str) -> Vec<String> {
        let (mut descendants, mut from) = (Vec::new(), vec![table.to_owned()]);
        while let Some(parent) = from.pop() {
            let parent = self.qualified(&parent);
            for object in self.actual.objects.values().filter(|object| object.identity.kind == Kind::Table) {
                let inherits = object.text("inherits").is_some_and(|parents| mentions(parents, &parent));
                if inherits && object.text("partition_bound").is_none() && !descendants.contains(&object.identity.name)
                {
                    descendants.push(object.identity.name.clone());
                    from.push(object.identity.name.clone());
                }
            }
        }
        descendants
    }

    /// The table columns of a type.
    pub(super) fn columns_with(&self, kind: &str) -> Vec<String> {
        let columns = self.actual.objects.values().filter(|object| object.identity.kind == Kind::Column);
        let with = columns.filter(|column| self.mentioned(column.text("type").unwrap_or_default(), kind));
        with.filter_map(|column| {
            Some(format!("{}.{}", ident(column.identity.on.as_deref()?), ident(&column.identity.name)))
        })
        .collect()
    }

    /// Copies the saved rows into the new table.
    pub(super) fn restore_rows(&mut self, table: &Object) {
        let name = &table.identity.name;
        let Some(saved) = self.saved.get(name).cloned() else { return };
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for column in self.columns_of(name) {
            let Some((_, from)) = saved.columns.iter().find(|(name, _)| *name == column.identity.name) else {
                continue;
            };
            if column.text("generated").is_some() {
                continue;
            }
            let (column, to) = (ident(&column.identity.name), column.text("type").unwrap_or_default());
            values.push(if from == to { column.clone() } else { format!("{column}::{to}") });
            names.push(column);
        }
        let qualified = self.qualified(name);
        if !names.is_empty() {
            let sql = format!(
                "INSERT INTO {qualified} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM pg_temp.{}",
                names.join(", "),
                values.join(", "),
                saved.temporary
            );
            self.restore(Phase::Copy, &sql, &saved.temporary);
        }
        for (sequence, temporary) in &saved.sequences {
            let target = literal(&self.qualified(sequence));
            let sql = format!("SELECT pg_catalog.setval({target}, last_value, is_called) FROM pg_temp.{temporary}");
            self.restore(Phase::OwnedBy, &sql, temporary);
        }
    }

    fn restore(&mut self, phase: Phase, sql: &str, temporary: &str) {
        self.add(phase, sql);
        self.update_statement(sql, |statement| statement.restores = Some(temporary.to_owned()));
    }

    /// The statement that drops an object if it exists.
    pub(super) fn drop_of(&self, identity: &Identity) -> Option<String> {
        let (on, name) = (identity.on.as_deref().map(|on| self.qualified(on)), ident(&identity.name));
        match (identity.kind, on) {
            (Kind::Column | Kind::Constraint, Some(on)) => {
                let (word, what) = (self.table_keyword(identity), identity.kind.as_str().to_uppercase());
                Some(format!("ALTER {word} {on} DROP {what} IF EXISTS {name}"))
            }
            (Kind::DomainConstraint, Some(on)) => Some(format!("ALTER DOMAIN {on} DROP CONSTRAINT IF EXISTS {name}")),
            (Kind::Attribute | Kind::Schema | Kind::Extension, _) => None,
            _ => {
                let kind = identity.kind.as_str().to_uppercase();
                let kind = match identity.kind {
                    Kind::Enum | Kind::CompositeType | Kind::RangeType | Kind::Type => "TYPE".to_owned(),
                    _ => kind,
                };
                let rest = self.kind_and_name(identity)?.strip_prefix(&kind)?.to_owned();
                Some(format!("DROP {kind} IF EXISTS{rest}"))
            }
        }
    }

    /// The objects to drop as a whole because a part of them is dropped: the type of an attribute, the table of a column.
    pub(super) fn dropped_as_a_whole(&self, lost: &BTreeSet<Identity>) -> BTreeSet<Identity> {
        let qualified = lost.iter().filter_map(|identity| {
            let on = identity.on.clone()?;
            let holder = |kind| Identity { kind, on: None, name: on.clone() };
            match identity.kind {
                Kind::Attribute => Some(holder(Kind::CompositeType)),
                Kind::Column => {
                    let column = self.actual_object(identity)?;
                    let is_table = self.actual.objects.contains_key(&holder(Kind::Table));
                    let recast = column.text("generated").is_none() && self.has_lost_type(column, lost);
                    (is_table && !recast).then(|| holder(Kind::Table))
                }
                Kind::Table | Kind::Domain | Kind::CompositeType | Kind::RangeType | Kind::Enum => {
                    Some(identity.clone())
                }
                _ => None,
            }
        });
        qualified.collect()
    }

    fn has_lost_type(&self, column: &Object, lost: &BTreeSet<Identity>) -> bool {
        let kind = column.text("type").unwrap_or_default();
        let types =
            [Kind::Enum, Kind::Domain, Kind::CompositeType, Kind::RangeType, Kind::Type, Kind::Table, Kind::View];
        lost.iter().filter(|identity| types.contains(&identity.kind)).any(|identity| {
            self.mentioned(kind, &identity.name) || self.multirange(identity).is_some_and(|name| mentions(kind, &name))
        })
    }

    fn multirange(&self, range: &Identity) -> Option<String> {
        let text = self.actual_object(range)?.text("range")?;
        Some(text.rsplit_once("multirange ")?.1.to_owned())
    }

    /// The statements that drop `lost` and `target`, and the rows that they save. `temporary_tables` is the number of
    /// temporary tables so far.
    pub(super) fn dismantle(
        mut self,
        target: Option<&Identity>,
        lost: &BTreeSet<Identity>,
        temporary_tables: &mut usize,
    ) -> (Vec<RepairStatement>, SavedRows) {
        let mut saved = SavedRows::new();
        let tables: Vec<Identity> = lost.iter().filter(|identity| identity.kind == Kind::Table).cloned().collect();
        let mut copies = Vec::new();
        for table in &tables {
            if self.expected_object(table).is_some() && !self.is_partition_of_lost(table, lost) {
                let (sql, one) = self.save(table, lost, temporary_tables);
                copies.extend(sql);
                saved.insert(table.name.clone(), one);
            }
        }
        for sql in copies {
            self.add(Phase::Schema, sql);
        }
        let is_lost = |kind, name: &str| lost.contains(&Identity { kind, on: None, name: name.to_owned() });
        let holders =
            [Kind::Table, Kind::ForeignTable, Kind::View, Kind::MaterializedView, Kind::Domain, Kind::CompositeType];
        for identity in lost.iter().filter(|identity| Some(*identity) != target) {
            let Some(actual) = self.actual_object(identity) else { continue };
            let goes = identity.on.as_deref().is_some_and(|on| holders.iter().any(|kind| is_lost(*kind, on)));
            match identity.kind {
                _ if goes && identity.kind != Kind::Constraint => {}
                _ if self.goes_with_type(identity, lost) => {}
                Kind::Constraint if goes && actual.text("type") != Some("f") => {}
                Kind::Column => self.recast(actual),
                Kind::Sequence => self.detach_sequence(actual, lost),
                Kind::Index if actual.is("constraint") => {}
                Kind::Index if actual.text("partition_of").is_some() => {}
                Kind::Attribute | Kind::IndexColumn | Kind::Publication | Kind::DefaultPrivileges => {}
                Kind::Constraint | Kind::Trigger if is_inherited(actual) => {}
                Kind::Table => self.drop_lost_table(identity, lost, &saved),
                _ => self.in_group(None, identity, |builder| builder.drop_actual(identity)),
            }
        }
        if let Some(target) = target {
            match target.kind {
                Kind::Table => self.drop_lost_table(target, lost, &saved),
                Kind::Column => {
                    if let Some(actual) = self.actual_object(target) {
                        self.drop_column(actual);
                    }
                }
                _ if self.goes_with_type(target, lost) => {}
                _ => self.drop_actual(target),
            }
        }
        (self.finish(), saved)
    }

    /// Whether an object is a function that is dropped with its base type.
    fn goes_with_type(&self, identity: &Identity, lost: &BTreeSet<Identity>) -> bool {
        self.base_type_of(identity).is_some_and(|base| lost.contains(&base))
    }

    fn is_partition_of_lost(&self, table: &Identity, lost: &BTreeSet<Identity>) -> bool {
        self.parent_of_partition(&table.name)
            .is_some_and(|name| lost.contains(&Identity { kind: Kind::Table, on: None, name }))
    }

    /// Saves the rows of a table, and the values of its identity columns' sequences.
    fn save(
        &self,
        table: &Identity,
        lost: &BTreeSet<Identity>,
        temporary_tables: &mut usize,
    ) -> (Vec<String>, SavedTable) {
        let mut next = || {
            *temporary_tables += 1;
            format!("tenantry_saved_{temporary_tables}")
        };
        let temporary = next();
        let mut columns = Vec::new();
        let mut values = Vec::new();
        for column in
            columns_in(self.actual, &table.name).into_iter().filter(|column| column.text("generated").is_none())
        {
            let (name, kind) = (ident(&column.identity.name), column.text("type").unwrap_or_default());
            // The temporary table must not depend on a type of the tenant's schema.
            let own = kind.contains(&format!("{}.", self.actual.own_name));
            values.push(if own { format!("{name}::text AS {name}") } else { name });
            columns.push((column.identity.name.clone(), if own { "text" } else { kind }.to_owned()));
        }
        let is_partitioned = self.actual_object(table).is_some_and(|actual| actual.text("partition_key").is_some());
        let only = if is_partitioned { "" } else { "ONLY " };
        let create = |temporary: &str, what: String| {
            format!("CREATE TEMPORARY TABLE {temporary} ON COMMIT DROP AS SELECT {what}")
        };
        let source = self.qualified(&table.name);
        let mut statements = vec![create(&temporary, format!("{} FROM {only}{source}", values.join(", ")))];
        let mut sequences = Vec::new();
        for sequence in lost.iter().filter(|identity| identity.kind == Kind::Sequence) {
            let owned = |object: &Object| owning(object).is_some_and(|(owner, _)| owner == table.name);
            let actual = self.actual_object(sequence).filter(|actual| actual.is("identity") && owned(actual));
            let expected = self.expected.objects.get(sequence).filter(|expected| owned(expected));
            if actual.is_some() && expected.is_some() {
                let temporary = next();
                statements
                    .push(create(&temporary, format!("last_value, is_called FROM {}", self.qualified(&sequence.name))));
                sequences.push((sequence.name.clone(), temporary));
            }
        }
        (statements, SavedTable { temporary, columns, sequences })
    }

    /// Converts a column to text, because its type is dropped.
    fn recast(&mut self, column: &Object) {
        let Some(on) = column.identity.on.as_deref() else { return };
        if is_inherited(column) {
            return;
        }
        let (table, name) = (self.qualified(on), ident(&column.identity.name));
        let word = self.table_keyword(&column.identity);
        if word.ends_with("VIEW") {
            return;
        }
        let default = column.text("default").map(|_| format!(" ALTER COLUMN {name} DROP DEFAULT,")).unwrap_or_default();
        let using = if word == "TABLE" { format!(" USING {name}::text") } else { String::new() };
        self.in_group(None, &column.identity, |builder| {
            builder
                .add(Phase::DropRoutine, format!("ALTER {word} {table}{default} ALTER COLUMN {name} TYPE text{using}"));
        });
    }

    /// Detaches a sequence from a dropped table, unless it belongs to an identity column.
    fn detach_sequence(&mut self, sequence: &Object, lost: &BTreeSet<Identity>) {
        let identity = &sequence.identity;
        let owner = owning(sequence).map(|(name, _)| Identity { kind: Kind::Table, on: None, name });
        let stays = self.expected_object(identity).is_some() && !sequence.is("identity");
        if stays && owner.is_some_and(|owner| lost.contains(&owner)) {
            let sql = format!("ALTER SEQUENCE {} OWNED BY NONE", self.qualified(&identity.name));
            self.in_group(None, identity, |builder| builder.add(Phase::Schema, sql));
        }
    }

    fn drop_lost_table(&mut self, table: &Identity, lost: &BTreeSet<Identity>, saved: &SavedRows) {
        if self.is_partition_of_lost(table, lost) {
            return;
        }
        let sql = format!("DROP TABLE {}", self.qualified(&table.name));
        let loss = match saved.get(&table.name) {
            None => Some(format!("the rows of {}", ident(&table.name))),
            Some(saved) => {
                let stays = |name: &String| {
                    let column = Identity { kind: Kind::Column, on: Some(table.name.clone()), name: name.clone() };
                    self.expected_object(&column).is_some_and(|column| column.text("generated").is_none())
                };
                let gone = saved.columns.iter().map(|(name, _)| name).filter(|name| !stays(name));
                let gone: Vec<String> = gone.map(|name| format!("{}.{}", ident(&table.name), ident(name))).collect();
                (!gone.is_empty()).then(|| format!("the values of the column {}", gone.join(", ")))
            }
        };
        self.in_group(None, table, |builder| builder.add(Phase::Type, &sql));
        self.update_statement(&sql, |statement| statement.data_loss = loss);
    }
}
