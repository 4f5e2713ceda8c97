//! Collects the statements of a plan and orders them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::rebuild::SavedRows;
use super::text::{ident, mentions};
use super::{Alternative, Key, Options, Phase, RepairStatement};
use crate::schema::drift::difference::{Aspect, Difference};
use crate::schema::structure::{Identity, Object, ObjectKind, Structure, filled_in};

/// A plan under construction.
pub(super) struct Builder<'a> {
    /// The reference, with the tenant's schema name filled in.
    pub(super) expected: Structure,
    pub(super) actual: &'a Structure,
    pub(super) differences: &'a [Difference],
    pub(super) version: i32,
    /// Whether statements that lose data run.
    pub(super) allow_data_loss: bool,
    /// The rows of tables that were dropped to be recreated.
    pub(super) saved: SavedRows,
    /// The tables that a later attempt drops and recreates. No statements are planned for them.
    pub(super) rebuilt: BTreeSet<String>,
    /// The expected owner of the schema.
    pub(super) owner: String,
    /// The objects to drop and recreate, each with its group: they depend on an object that changes, or cannot be changed
    /// in place.
    pub(super) recreated: BTreeMap<Identity, usize>,
    /// The objects for which creation is planned.
    created: BTreeSet<Identity>,
    statements: Vec<RepairStatement>,
    /// Differences that the statements about an object repair, including statements that are added later.
    credited: Vec<(Identity, Key)>,
    groups: usize,
    object: Identity,
    group: Option<usize>,
    key: Option<Key>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        expected: &Structure,
        actual: &'a Structure,
        differences: &'a [Difference],
        options: Options,
    ) -> Self {
        let structure = filled(expected, &actual.own_name);
        let schema = Identity { kind: ObjectKind::Schema, on: None, name: String::new() };
        let owner = structure.objects.get(&schema).and_then(|object| object.text("owner"));
        let owner = owner.unwrap_or_default().to_owned();
        Self {
            expected: structure,
            actual,
            differences,
            version: options.version,
            allow_data_loss: options.allow_data_loss,
            saved: SavedRows::new(),
            rebuilt: BTreeSet::new(),
            owner,
            recreated: BTreeMap::new(),
            created: BTreeSet::new(),
            statements: Vec::new(),
            credited: Vec::new(),
            groups: 0,
            object: schema,
            group: None,
            key: None,
        }
    }

    /// Plans the repair of a difference.
    pub(super) fn repair(&mut self, difference: &Difference) {
        let identity = self.identity(difference);
        if self.is_rebuilt(&identity) {
            return;
        }
        self.key = Some((difference.identity.clone(), difference.aspect.clone()));
        let with_holder = self.holder(&identity).filter(|holder| self.recreated.contains_key(holder));
        let recreated =
            Some(&identity).filter(|identity| self.recreated.contains_key(identity)).or(with_holder.as_ref());
        if let Some(recreated) = recreated.cloned() {
            self.recreate(&recreated);
            self.credit(&recreated);
        } else if self.created.contains(&identity) {
            self.credit(&identity);
        } else {
            self.object = identity.clone();
            match &difference.aspect {
                Aspect::Missing => self.create(&identity),
                Aspect::Extra => self.drop_extra(&identity),
                Aspect::Fact(fact) => self.alter(&identity, fact, difference),
            }
        }
        self.key = None;
    }

    /// The object of a difference, with the tenant's schema name filled in.
    pub(super) fn identity(&self, difference: &Difference) -> Identity {
        let identity = &difference.identity;
        Identity { name: filled_in(&identity.name, &self.actual.own_name), ..identity.clone() }
    }

    /// The view that a column belongs to: it is dropped and recreated as a whole.
    fn holder(&self, identity: &Identity) -> Option<Identity> {
        let on = identity.on.clone()?;
        let kinds = [ObjectKind::View, ObjectKind::MaterializedView];
        kinds
            .into_iter()
            .map(|kind| Identity { kind, on: None, name: on.clone() })
            .find(|holder| self.actual.objects.contains_key(holder) || self.expected.objects.contains_key(holder))
    }

    /// Drops and recreates an object, once.
    pub(super) fn recreate(&mut self, identity: &Identity) {
        if self.created.contains(identity) {
            return;
        }
        let group = self.recreated.get(identity).copied();
        self.in_group(group, identity, |builder| {
            builder.drop_actual(identity);
            let extra = builder.is_extra(identity);
            if extra {
                builder.created.insert(identity.clone());
            } else if builder.expected.objects.contains_key(identity) {
                builder.create(identity);
            } else {
                // An unexpected object that is accepted.
                builder.create_unchanged(identity);
            }
        });
    }

    fn create_unchanged(&mut self, identity: &Identity) {
        let Some(object) = self.actual.objects.get(identity).cloned() else { return };
        let children: Vec<Object> = self.actual.children(&identity.name).cloned().collect();
        for object in [object].into_iter().chain(children) {
            self.expected.objects.entry(object.identity.clone()).or_insert(object);
        }
        self.create(identity);
    }

    /// Whether an object is unexpected and is to be dropped.
    pub(super) fn is_extra(&self, identity: &Identity) -> bool {
        self.differences
            .iter()
            .any(|difference| difference.aspect == Aspect::Extra && self.identity(difference) == *identity)
    }

    /// Whether a fact of an object differs.
    pub(super) fn differs(&self, identity: &Identity, fact: &str) -> bool {
        self.differences.iter().any(|difference| {
            matches!(&difference.aspect, Aspect::Fact(other) if other == fact) && self.identity(difference) == *identity
        })
    }

    /// Starts a new group.
    pub(super) fn new_group(&mut self) -> usize {
        self.groups += 1;
        self.groups
    }

    /// Adds the statements of `work` for an object, to a group if one is given.
    pub(super) fn in_group(&mut self, group: Option<usize>, object: &Identity, work: impl FnOnce(&mut Self)) {
        let before = (self.group, self.object.clone());
        self.group = group.or(self.group);
        self.object = object.clone();
        work(self);
        (self.group, self.object) = before;
    }

    /// Marks an object as being created. Returns false if it was marked before.
    pub(super) fn begin_creation(&mut self, identity: &Identity) -> bool {
        if !self.created.insert(identity.clone()) {
            self.credit(identity);
            return false;
        }
        true
    }

    /// Credits the current difference to the statements about an object.
    pub(super) fn credit(&mut self, identity: &Identity) {
        if let Some(key) = &self.key {
            self.credited.push((identity.clone(), key.clone()));
        }
    }

    /// Adds a statement.
    pub(super) fn add(&mut self, phase: Phase, sql: impl Into<String>) {
        self.push(phase, sql.into(), None, None);
    }

    /// Adds a statement that creates the object that other statements mention as `provides`.
    pub(super) fn add_creating(&mut self, phase: Phase, provides: impl Into<String>, sql: impl Into<String>) {
        self.push(phase, sql.into(), None, Some(provides.into()));
    }

    /// Adds a statement that does not run, with the reason.
    pub(super) fn suggest(&mut self, sql: impl Into<String>, reason: impl Into<String>) {
        self.push(Phase::Comment, sql.into(), Some(reason.into()), None);
    }

    /// Adds a statement that loses data. It runs only if that is allowed.
    pub(super) fn add_lossy(
        &mut self,
        phase: Phase,
        sql: impl Into<String>,
        reason: impl Into<String>,
        loss: impl Into<String>,
    ) {
        let sql = sql.into();
        if !self.allow_data_loss {
            return self.suggest(sql, reason);
        }
        self.push(phase, sql.clone(), None, None);
        self.update_statement(&sql, |statement| statement.data_loss = Some(loss.into()));
    }

    /// Changes a statement that was added before.
    pub(super) fn update_statement(&mut self, sql: &str, change: impl FnOnce(&mut RepairStatement)) {
        if let Some(statement) = self.statements.iter_mut().find(|statement| statement.sql == sql) {
            change(statement);
        }
    }

    /// Adds statements to run if a statement fails.
    pub(super) fn add_alternatives(&mut self, sql: &str, alternatives: Vec<(String, String)>) {
        let alternatives = alternatives.into_iter().map(|(sql, data_loss)| Alternative { sql, data_loss });
        self.update_statement(sql, |statement| statement.alternatives = alternatives.collect());
    }

    fn push(&mut self, phase: Phase, sql: String, reason: Option<String>, provides: Option<String>) {
        if let Some(same) = self.statements.iter_mut().find(|statement| statement.sql == sql) {
            if let Some(key) = self.key.iter().find(|key| !same.repairs.contains(key)) {
                same.repairs.push(key.clone());
            }
            return;
        }
        self.statements.push(RepairStatement {
            planned: sql.clone(),
            sql,
            reason,
            before_transaction: phase == Phase::BeforeTransaction,
            data_loss: None,
            assumption: None,
            unverified: false,
            phase,
            alternatives: Vec::new(),
            restores: None,
            group: self.group,
            provides,
            object: self.object.clone(),
            repairs: self.key.iter().cloned().collect(),
        });
    }

    /// An object of the reference.
    pub(super) fn expected_object(&self, identity: &Identity) -> Option<Object> {
        self.expected.objects.get(identity).cloned()
    }

    /// An object of the tenant.
    pub(super) fn actual_object(&self, identity: &Identity) -> Option<&'a Object> {
        self.actual.objects.get(identity)
    }

    /// The qualified name of an object in the tenant's schema.
    pub(super) fn qualified(&self, name: &str) -> String {
        format!("{}.{}", self.actual.own_name, ident(name))
    }

    /// Whether a text mentions an object of the tenant's schema, also if the server quotes its name without need.
    pub(super) fn mentioned(&self, text: &str, name: &str) -> bool {
        mentions(text, &self.qualified(name)) || mentions(text, &format!("{}.\"{name}\"", self.actual.own_name))
    }

    /// Takes the statements that were added.
    pub(super) fn take(&mut self) -> Vec<RepairStatement> {
        std::mem::take(&mut self.statements)
    }

    /// The statements in order: by phase, and each after those that create what it mentions.
    pub(super) fn finish(mut self) -> Vec<RepairStatement> {
        // Objects that match the reference, and are recreated because of another one.
        for identity in self.recreated.keys().cloned().collect::<Vec<_>>() {
            self.recreate(&identity);
        }
        for (identity, key) in &self.credited {
            for statement in self.statements.iter_mut().filter(|statement| statement.object == *identity) {
                if !statement.repairs.contains(key) {
                    statement.repairs.push(key.clone());
                }
            }
        }
        let actual = self.actual;
        // A view is dropped before the views that it reads.
        let depth = |statement: &RepairStatement| match statement.phase {
            Phase::DropView | Phase::DropRoutine => -depth(actual, &statement.object, 0),
            _ => 0,
        };
        self.statements.sort_by_cached_key(|statement| (!statement.runs(), statement.phase, depth(statement)));
        ordered(self.statements)
    }
}

/// The length of the longest chain of views and functions that an object reads.
fn depth(structure: &Structure, identity: &Identity, deep: i32) -> i32 {
    if deep >= 20 {
        return 0;
    }
    let Some(object) = structure.objects.get(identity) else { return 0 };
    let text = super::text::full_text(object);
    let below = structure.objects.keys().filter(|other| {
        *other != identity
            && matches!(other.kind, ObjectKind::View | ObjectKind::MaterializedView | ObjectKind::Function)
            && mentions(&text, &provided(structure, other))
    });
    below.map(|other| depth(structure, other, deep + 1) + 1).max().unwrap_or(0)
}

/// The text by which other objects mention an object. A function's name is followed by its arguments.
pub(super) fn provided(structure: &Structure, identity: &Identity) -> String {
    let own = &structure.own_name;
    match identity.kind {
        ObjectKind::Function | ObjectKind::Procedure | ObjectKind::Aggregate => {
            let name = identity.name.split('(').next().unwrap_or_default();
            format!("{own}.{name}(")
        }
        _ => format!("{own}.{}", ident(&identity.name)),
    }
}

fn ordered(statements: Vec<RepairStatement>) -> Vec<RepairStatement> {
    let providers: Vec<(usize, String)> = statements
        .iter()
        .enumerate()
        .filter_map(|(index, statement)| Some((index, statement.provides.clone()?)))
        .collect();
    let mut ordered = Vec::with_capacity(statements.len());
    let mut seen = vec![false; statements.len()];
    for index in 0..statements.len() {
        visit(index, &statements, &providers, &mut seen, &mut ordered);
    }
    let mut statements: Vec<Option<RepairStatement>> = statements.into_iter().map(Some).collect();
    ordered.into_iter().filter_map(|index| statements[index].take()).collect()
}

fn visit(
    index: usize,
    statements: &[RepairStatement],
    providers: &[(usize, String)],
    seen: &mut [bool],
    ordered: &mut Vec<usize>,
) {
    if std::mem::replace(&mut seen[index], true) {
        return;
    }
    let statement = &statements[index];
    if statement.runs() && statement.phase > Phase::DropRoutine {
        for (provider, name) in providers {
            if statements[*provider].runs() && mentions(&statement.sql, name) {
                visit(*provider, statements, providers, seen, ordered);
            }
        }
    }
    ordered.push(index);
}

impl Structure {
    /// The parts of a table, a view or a type.
    pub(super) fn children<'a>(&'a self, holder: &'a str) -> impl Iterator<Item = &'a Object> {
        self.objects.values().filter(move |object| object.identity.on.as_deref() == Some(holder))
    }
}

/// The reference with the tenant's schema name in place of the markers.
fn filled(structure: &Structure, own_name: &str) -> Structure {
    fn value(of: &Value, own_name: &str) -> Value {
        match of {
            Value::String(text) => Value::String(filled_in(text, own_name)),
            Value::Array(values) => Value::Array(values.iter().map(|of| value(of, own_name)).collect()),
            other => other.clone(),
        }
    }
    let objects = structure.objects.values().map(|object| Object {
        identity: Identity { name: filled_in(&object.identity.name, own_name), ..object.identity.clone() },
        facts: object.facts.iter().map(|(fact, of)| (fact.clone(), value(of, own_name))).collect(),
        ddl: object.ddl.as_deref().map(|ddl| filled_in(ddl, own_name)),
    });
    let mut filled: Structure = objects.collect();
    filled.own_name = own_name.to_owned();
    filled
}
