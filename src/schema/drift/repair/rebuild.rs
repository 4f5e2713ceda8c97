//! Objects that are dropped, with all that depends on them, so that they can be created again as expected. The rows of
//! tables are copied to temporary tables meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use super::builder::Builder;
use super::common::{columns_in, is_inherited, owning};
use super::text::{ident, literal, mentions};
use super::{Phase, Statement};
use crate::schema::drift::difference::{Aspect, Difference};
use crate::schema::structure::{Identity, Object, ObjectKind as Kind};

/// The rows of dropped tables, by the table's name.
pub(super) type Kept = BTreeMap<String, KeptTable>;

/// The rows of a dropped table.
#[derive(Debug, Clone)]
pub(super) struct KeptTable {
    /// The temporary table that has them.
    pub(super) temporary: String,
    /// The columns that it has, with their types.
    columns: Vec<(String, String)>,
    /// The sequences of identity columns, each with the temporary table that has its value.
    pub(super) sequences: Vec<(String, String)>,
}

/// What differs in a table that no statement changes: it is created again.
const NOT_CHANGED: [&str; 2] = ["column_order", "partition_key"];

/// Whether a difference means that its table is to be created again.
pub(super) fn needs_rebuild(difference: &Difference) -> bool {
    let Aspect::Fact(fact) = &difference.aspect else { return false };
    difference.kind() == Kind::Table && NOT_CHANGED.contains(&fact.as_str())
}

impl Builder<'_> {
    /// Finds the tables that are to be created again, where losing data is allowed.
    pub(super) fn find_rebuilt(&mut self, not_rebuilt: &BTreeSet<String>) {
        if self.allow_data_loss {
            let tables = self.differences.iter().filter(|difference| needs_rebuild(difference));
            let names = tables.map(|difference| self.identity(difference).name);
            self.rebuilt = names.filter(|name| !not_rebuilt.contains(name)).collect();
        }
    }

    /// Whether an object is such a table, a partition of one, or belongs to one of these.
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

    /// The table that an existing table is a partition of.
    pub(super) fn parent_of_partition(&self, table: &str) -> Option<String> {
        let identity = Identity { kind: Kind::Table, on: None, name: table.to_owned() };
        let there = self.there(&identity).filter(|there| there.text("partition_bound").is_some())?;
        super::text::parts(there.text("inherits")?).pop()
    }

    /// Drops an extra partition, whose rows go to the other partitions where there is one for them.
    pub(super) fn drop_partition(&mut self, table: &Identity, parent: &str) {
        let (whole, of) = (self.whole(&table.name), self.whole(parent));
        let holder = Identity { kind: Kind::Table, on: None, name: parent.to_owned() };
        let columns = self.columns_of(parent);
        let common = columns
            .iter()
            .filter(|column| column.text("generated").is_none() && self.actual.objects.contains_key(&column.identity));
        let names: Vec<String> = common.map(|column| ident(&column.identity.name)).collect();
        let names = names.join(", ");
        // The rows were inserted once, and do not fire the table's triggers again.
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
        self.grouped(Some(group), table, |builder| {
            builder.run(Phase::DropLate, format!("ALTER TABLE {of} DETACH PARTITION {whole}"));
            for (trigger, _) in &triggers {
                builder.run(Phase::DropLate, format!("ALTER TABLE {of} DISABLE TRIGGER {trigger}"));
            }
            let copy = format!("INSERT INTO {of} ({names}) OVERRIDING SYSTEM VALUE SELECT {names} FROM {whole}");
            builder.run(Phase::DropLate, &copy);
            let loss = format!("the rows of {}, for which there is no other partition", ident(&table.name));
            builder.otherwise(&copy, vec![(format!("DELETE FROM {whole}"), loss)]);
            for (trigger, verb) in &triggers {
                builder.run(Phase::DropLate, format!("ALTER TABLE {of} {verb} TRIGGER {trigger}"));
            }
            builder.run(Phase::DropLate, format!("DROP TABLE {whole}"));
        });
        self.attach(&holder);
    }

    /// The tables that inherit from a table, directly or not, and are no partitions.
    pub(super) fn heirs(&self, table: &str) -> Vec<String> {
        let (mut heirs, mut from) = (Vec::new(), vec![table.to_owned()]);
        while let Some(parent) = from.pop() {
            let parent = self.whole(&parent);
            for object in self.actual.objects.values().filter(|object| object.identity.kind == Kind::Table) {
                let inherits = object.text("inherits").is_some_and(|parents| mentions(parents, &parent));
                if inherits && object.text("partition_bound").is_none() && !heirs.contains(&object.identity.name) {
                    heirs.push(object.identity.name.clone());
                    from.push(object.identity.name.clone());
                }
            }
        }
        heirs
    }

    /// The columns of tables that have a type of the tenant's.
    pub(super) fn columns_with(&self, kind: &str) -> Vec<String> {
        let columns = self.actual.objects.values().filter(|object| object.identity.kind == Kind::Column);
        let with = columns.filter(|column| self.mentioned(column.text("type").unwrap_or_default(), kind));
        with.filter_map(|column| {
            Some(format!("{}.{}", ident(column.identity.on.as_deref()?), ident(&column.identity.name)))
        })
        .collect()
    }

    /// Copies the kept rows into a new table.
    pub(super) fn restore_rows(&mut self, table: &Object) {
        let name = &table.identity.name;
        let Some(kept) = self.kept.get(name).cloned() else { return };
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for column in self.columns_of(name) {
            let Some((_, from)) = kept.columns.iter().find(|(name, _)| *name == column.identity.name) else { continue };
            if column.text("generated").is_some() {
                continue;
            }
            let (column, to) = (ident(&column.identity.name), column.text("type").unwrap_or_default());
            values.push(if from == to { column.clone() } else { format!("{column}::{to}") });
            names.push(column);
        }
        let whole = self.whole(name);
        if !names.is_empty() {
            let sql = format!(
                "INSERT INTO {whole} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM pg_temp.{}",
                names.join(", "),
                values.join(", "),
                kept.temporary
            );
            self.restore(Phase::Copy, &sql, &kept.temporary);
        }
        for (sequence, temporary) in &kept.sequences {
            let target = literal(&self.whole(sequence));
            let sql = format!("SELECT pg_catalog.setval({target}, last_value, is_called) FROM pg_temp.{temporary}");
            self.restore(Phase::OwnedBy, &sql, temporary);
        }
    }

    fn restore(&mut self, phase: Phase, sql: &str, temporary: &str) {
        self.run(phase, sql);
        self.added(sql, |statement| statement.restores = Some(temporary.to_owned()));
    }

    /// The statement that drops an object.
    pub(super) fn drop_of(&self, identity: &Identity) -> Option<String> {
        let (on, name) = (identity.on.as_deref().map(|on| self.whole(on)), ident(&identity.name));
        match (identity.kind, on) {
            (Kind::Column | Kind::Constraint, Some(on)) => {
                let (word, what) = (self.table_word(identity), identity.kind.as_str().to_uppercase());
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
                let rest = self.name_of(identity)?.strip_prefix(&kind)?.to_owned();
                Some(format!("DROP {kind} IF EXISTS{rest}"))
            }
        }
    }

    /// What must be dropped as a whole for the sake of an object that goes with another: the type of an attribute, the
    /// table of a computed column.
    pub(super) fn goes_whole(&self, lost: &BTreeSet<Identity>) -> BTreeSet<Identity> {
        let whole = lost.iter().filter_map(|identity| {
            let on = identity.on.clone()?;
            let holder = |kind| Identity { kind, on: None, name: on.clone() };
            match identity.kind {
                Kind::Attribute => Some(holder(Kind::CompositeType)),
                Kind::Column => {
                    let column = self.there(identity)?;
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
        whole.collect()
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
        let text = self.there(range)?.text("range")?;
        Some(text.rsplit_once("multirange ")?.1.to_owned())
    }

    /// Drops all that is lost with `target`, statement by statement; what is to stay is copied before. `number` gives the
    /// temporary tables their names.
    pub(super) fn dismantle(
        mut self,
        target: Option<&Identity>,
        lost: &BTreeSet<Identity>,
        from: &mut usize,
    ) -> (Vec<Statement>, Kept) {
        let mut kept = Kept::new();
        let tables: Vec<Identity> = lost.iter().filter(|identity| identity.kind == Kind::Table).cloned().collect();
        let mut copies = Vec::new();
        for table in &tables {
            if self.wanted(table).is_some() && !self.is_partition_of_lost(table, lost) {
                let (sql, one) = self.keep(table, lost, from);
                copies.extend(sql);
                kept.insert(table.name.clone(), one);
            }
        }
        for sql in copies {
            self.run(Phase::Schema, sql);
        }
        let is_lost = |kind, name: &str| lost.contains(&Identity { kind, on: None, name: name.to_owned() });
        let holders =
            [Kind::Table, Kind::ForeignTable, Kind::View, Kind::MaterializedView, Kind::Domain, Kind::CompositeType];
        for identity in lost.iter().filter(|identity| Some(*identity) != target) {
            let Some(there) = self.there(identity) else { continue };
            let goes = identity.on.as_deref().is_some_and(|on| holders.iter().any(|kind| is_lost(*kind, on)));
            match identity.kind {
                _ if goes && identity.kind != Kind::Constraint => {}
                Kind::Constraint if goes && there.text("type") != Some("f") => {}
                Kind::Column => self.recast(there),
                Kind::Sequence => self.detach_sequence(there, lost),
                Kind::Index if there.is("constraint") => {}
                Kind::Index if there.text("partition_of").is_some() => {}
                Kind::Attribute | Kind::IndexColumn | Kind::Publication | Kind::DefaultPrivileges => {}
                Kind::Constraint | Kind::Trigger if is_inherited(there) => {}
                Kind::Table => self.drop_lost_table(identity, lost, &kept),
                _ => self.grouped(None, identity, |builder| builder.drop_there(identity)),
            }
        }
        if let Some(target) = target {
            match target.kind {
                Kind::Table => self.drop_lost_table(target, lost, &kept),
                Kind::Column => {
                    if let Some(there) = self.there(target) {
                        self.drop_column(there);
                    }
                }
                _ => self.drop_there(target),
            }
        }
        (self.finish(), kept)
    }

    fn is_partition_of_lost(&self, table: &Identity, lost: &BTreeSet<Identity>) -> bool {
        self.parent_of_partition(&table.name)
            .is_some_and(|name| lost.contains(&Identity { kind: Kind::Table, on: None, name }))
    }

    /// Copies a table, and the values of its identity columns' sequences.
    fn keep(&self, table: &Identity, lost: &BTreeSet<Identity>, from: &mut usize) -> (Vec<String>, KeptTable) {
        let mut next = || {
            *from += 1;
            format!("tenantry_kept_{from}")
        };
        let temporary = next();
        let mut columns = Vec::new();
        let mut values = Vec::new();
        for column in
            columns_in(self.actual, &table.name).into_iter().filter(|column| column.text("generated").is_none())
        {
            let (name, kind) = (ident(&column.identity.name), column.text("type").unwrap_or_default());
            // The temporary table must not depend on a type of the tenant's.
            let own = kind.contains(&format!("{}.", self.actual.own_name));
            values.push(if own { format!("{name}::text AS {name}") } else { name });
            columns.push((column.identity.name.clone(), if own { "text" } else { kind }.to_owned()));
        }
        let only = match self.there(table).is_some_and(|there| there.text("partition_key").is_some()) {
            true => "",
            false => "ONLY ",
        };
        let create = |temporary: &str, what: String| {
            format!("CREATE TEMPORARY TABLE {temporary} ON COMMIT DROP AS SELECT {what}")
        };
        let source = self.whole(&table.name);
        let mut statements = vec![create(&temporary, format!("{} FROM {only}{source}", values.join(", ")))];
        let mut sequences = Vec::new();
        for sequence in lost.iter().filter(|identity| identity.kind == Kind::Sequence) {
            let owned = |object: &Object| owning(object).is_some_and(|(owner, _)| owner == table.name);
            let there = self.there(sequence).filter(|there| there.is("identity") && owned(there));
            let wanted = self.expected.objects.get(sequence).filter(|wanted| owned(wanted));
            if there.is_some() && wanted.is_some() {
                let temporary = next();
                statements
                    .push(create(&temporary, format!("last_value, is_called FROM {}", self.whole(&sequence.name))));
                sequences.push((sequence.name.clone(), temporary));
            }
        }
        (statements, KeptTable { temporary, columns, sequences })
    }

    /// A column whose type is dropped has its values as text meanwhile.
    fn recast(&mut self, column: &Object) {
        let Some(on) = column.identity.on.as_deref().filter(|_| !is_inherited(column)) else { return };
        let (table, name) = (self.whole(on), ident(&column.identity.name));
        let word = self.table_word(&column.identity);
        if word.ends_with("VIEW") {
            return;
        }
        let default = column.text("default").map(|_| format!(" ALTER COLUMN {name} DROP DEFAULT,")).unwrap_or_default();
        let using = if word == "TABLE" { format!(" USING {name}::text") } else { String::new() };
        self.grouped(None, &column.identity, |builder| {
            builder
                .run(Phase::DropRoutine, format!("ALTER {word} {table}{default} ALTER COLUMN {name} TYPE text{using}"));
        });
    }

    /// A sequence that a dropped table owns goes with it, unless it is no identity column's.
    fn detach_sequence(&mut self, sequence: &Object, lost: &BTreeSet<Identity>) {
        let identity = &sequence.identity;
        let owner = owning(sequence).map(|(name, _)| Identity { kind: Kind::Table, on: None, name });
        let stays = self.wanted(identity).is_some() && !sequence.is("identity");
        if stays && owner.is_some_and(|owner| lost.contains(&owner)) {
            let sql = format!("ALTER SEQUENCE {} OWNED BY NONE", self.whole(&identity.name));
            self.grouped(None, identity, |builder| builder.run(Phase::Schema, sql));
        }
    }

    fn drop_lost_table(&mut self, table: &Identity, lost: &BTreeSet<Identity>, kept: &Kept) {
        if self.is_partition_of_lost(table, lost) {
            return;
        }
        let sql = format!("DROP TABLE {}", self.whole(&table.name));
        let loss = match kept.get(&table.name) {
            None => Some(format!("the rows of {}", ident(&table.name))),
            Some(kept) => {
                let stays = |name: &String| {
                    let column = Identity { kind: Kind::Column, on: Some(table.name.clone()), name: name.clone() };
                    self.wanted(&column).is_some_and(|column| column.text("generated").is_none())
                };
                let gone = kept.columns.iter().map(|(name, _)| name).filter(|name| !stays(name));
                let gone: Vec<String> = gone.map(|name| format!("{}.{}", ident(&table.name), ident(name))).collect();
                (!gone.is_empty()).then(|| format!("the values of the column {}", gone.join(", ")))
            }
        };
        self.grouped(None, table, |builder| builder.run(Phase::Type, &sql));
        self.added(&sql, |statement| statement.data_loss = loss);
    }
}
