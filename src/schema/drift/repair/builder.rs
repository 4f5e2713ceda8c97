//! Where the statements of a plan are gathered, and put in order.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::rebuild::Kept;
use super::text::{ident, mentions};
use super::{Alternative, Key, Options, Phase, Statement};
use crate::schema::drift::difference::{Aspect, Difference};
use crate::schema::structure::{Identity, Object, ObjectKind, Structure, filled_in};

/// A plan that is being made.
pub(super) struct Builder<'a> {
    /// With the tenant's own name filled in.
    pub(super) expected: Structure,
    pub(super) actual: &'a Structure,
    pub(super) differences: &'a [Difference],
    pub(super) version: i32,
    /// Whether statements that lose data run.
    pub(super) allow_data_loss: bool,
    /// The rows of tables that were dropped to be created again.
    pub(super) kept: Kept,
    /// The tables that are dropped and created again as a whole, later: nothing about them is planned before.
    pub(super) rebuilt: BTreeSet<String>,
    /// The role that the schema is expected to be owned by.
    pub(super) owner: String,
    /// What is dropped and made again, because of something that it depends on or that cannot be changed in place.
    pub(super) again: BTreeMap<Identity, usize>,
    /// What has been made, or made again.
    made: BTreeSet<Identity>,
    statements: Vec<Statement>,
    /// What is mended by the statements about an object, whenever they are added.
    attached: Vec<(Identity, Key)>,
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
            kept: Kept::new(),
            rebuilt: BTreeSet::new(),
            owner,
            again: BTreeMap::new(),
            made: BTreeSet::new(),
            statements: Vec::new(),
            attached: Vec::new(),
            groups: 0,
            object: schema,
            group: None,
            key: None,
        }
    }

    /// Plans what mends a difference.
    pub(super) fn mend(&mut self, difference: &Difference) {
        let identity = self.identity(difference);
        if self.is_rebuilt(&identity) {
            return;
        }
        self.key = Some((difference.identity.clone(), difference.aspect.clone()));
        let with_holder = self.holder(&identity).filter(|holder| self.again.contains_key(holder));
        let again = Some(&identity).filter(|identity| self.again.contains_key(identity)).or(with_holder.as_ref());
        if let Some(again) = again.cloned() {
            self.make_again(&again);
            self.attach(&again);
        } else if self.made.contains(&identity) {
            self.attach(&identity);
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

    /// The difference's object in this tenant.
    pub(super) fn identity(&self, difference: &Difference) -> Identity {
        let identity = &difference.identity;
        Identity { name: filled_in(&identity.name, &self.actual.own_name), ..identity.clone() }
    }

    /// What an object goes with when it is dropped.
    fn holder(&self, identity: &Identity) -> Option<Identity> {
        let on = identity.on.clone()?;
        let kinds = [ObjectKind::View, ObjectKind::MaterializedView];
        kinds
            .into_iter()
            .map(|kind| Identity { kind, on: None, name: on.clone() })
            .find(|holder| self.actual.objects.contains_key(holder) || self.expected.objects.contains_key(holder))
    }

    /// Drops an object and makes it again, once.
    pub(super) fn make_again(&mut self, identity: &Identity) {
        if self.made.contains(identity) {
            return;
        }
        let group = self.again.get(identity).copied();
        self.grouped(group, identity, |builder| {
            builder.drop_there(identity);
            let extra = builder.is_extra(identity);
            // What is there and accepted comes back as it was.
            match builder.expected.objects.contains_key(identity) || extra {
                true if extra => {
                    builder.made.insert(identity.clone());
                }
                true => builder.create(identity),
                false => builder.create_as_it_was(identity),
            }
        });
    }

    fn create_as_it_was(&mut self, identity: &Identity) {
        let Some(object) = self.actual.objects.get(identity).cloned() else { return };
        let children: Vec<Object> = self.actual.children(&identity.name).cloned().collect();
        for object in [object].into_iter().chain(children) {
            self.expected.objects.entry(object.identity.clone()).or_insert(object);
        }
        self.create(identity);
    }

    /// Whether an object is there and is to go.
    pub(super) fn is_extra(&self, identity: &Identity) -> bool {
        self.differences
            .iter()
            .any(|difference| difference.aspect == Aspect::Extra && self.identity(difference) == *identity)
    }

    /// Whether an object differs in a fact.
    pub(super) fn differs(&self, identity: &Identity, fact: &str) -> bool {
        self.differences.iter().any(|difference| {
            matches!(&difference.aspect, Aspect::Fact(other) if other == fact) && self.identity(difference) == *identity
        })
    }

    /// A new group.
    pub(super) fn new_group(&mut self) -> usize {
        self.groups += 1;
        self.groups
    }

    /// Gathers statements about another object, as a group where one is given.
    pub(super) fn grouped(&mut self, group: Option<usize>, object: &Identity, work: impl FnOnce(&mut Self)) {
        let before = (self.group, self.object.clone());
        self.group = group.or(self.group);
        self.object = object.clone();
        work(self);
        (self.group, self.object) = before;
    }

    /// Notes that an object is being made; false where it was made before.
    pub(super) fn begin(&mut self, identity: &Identity) -> bool {
        if !self.made.insert(identity.clone()) {
            self.attach(identity);
            return false;
        }
        true
    }

    /// The difference that is being mended is mended by what is done for an object.
    pub(super) fn attach(&mut self, identity: &Identity) {
        if let Some(key) = &self.key {
            self.attached.push((identity.clone(), key.clone()));
        }
    }

    /// Adds a statement.
    pub(super) fn run(&mut self, phase: Phase, sql: impl Into<String>) {
        self.push(phase, sql.into(), None, None);
    }

    /// Adds a statement that makes what others mention by the name.
    pub(super) fn make(&mut self, phase: Phase, provides: impl Into<String>, sql: impl Into<String>) {
        self.push(phase, sql.into(), None, Some(provides.into()));
    }

    /// Adds a statement that does not run.
    pub(super) fn leave(&mut self, sql: impl Into<String>, why: impl Into<String>) {
        self.push(Phase::Comment, sql.into(), Some(why.into()), None);
    }

    /// Adds a statement that loses data: it runs only where that is allowed.
    pub(super) fn lose(
        &mut self,
        phase: Phase,
        sql: impl Into<String>,
        why: impl Into<String>,
        loss: impl Into<String>,
    ) {
        let sql = sql.into();
        if !self.allow_data_loss {
            return self.leave(sql, why);
        }
        self.push(phase, sql.clone(), None, None);
        self.added(&sql, |statement| statement.data_loss = Some(loss.into()));
    }

    /// Changes a statement that was just added.
    pub(super) fn added(&mut self, sql: &str, change: impl FnOnce(&mut Statement)) {
        if let Some(statement) = self.statements.iter_mut().find(|statement| statement.sql == sql) {
            change(statement);
        }
    }

    /// Adds statements to try where one fails.
    pub(super) fn otherwise(&mut self, sql: &str, alternatives: Vec<(String, String)>) {
        let alternatives = alternatives.into_iter().map(|(sql, data_loss)| Alternative { sql, data_loss });
        self.added(sql, |statement| statement.otherwise = alternatives.collect());
    }

    fn push(&mut self, phase: Phase, sql: String, why: Option<String>, provides: Option<String>) {
        if let Some(same) = self.statements.iter_mut().find(|statement| statement.sql == sql) {
            if let Some(key) = self.key.iter().find(|key| !same.mends.contains(key)) {
                same.mends.push(key.clone());
            }
            return;
        }
        self.statements.push(Statement {
            planned: sql.clone(),
            sql,
            why,
            ahead: phase == Phase::Ahead,
            data_loss: None,
            assumption: None,
            untried: false,
            phase,
            otherwise: Vec::new(),
            restores: None,
            group: self.group,
            provides,
            object: self.object.clone(),
            mends: self.key.iter().cloned().collect(),
        });
    }

    /// The object as it is expected.
    pub(super) fn wanted(&self, identity: &Identity) -> Option<Object> {
        self.expected.objects.get(identity).cloned()
    }

    /// The object as it is there.
    pub(super) fn there(&self, identity: &Identity) -> Option<&'a Object> {
        self.actual.objects.get(identity)
    }

    /// A name in the tenant's schema, whole.
    pub(super) fn whole(&self, name: &str) -> String {
        format!("{}.{}", self.actual.own_name, ident(name))
    }

    /// What has `name` in its text, whole: also where the server puts it in quotes that it does not need.
    pub(super) fn mentioned(&self, text: &str, name: &str) -> bool {
        mentions(text, &self.whole(name)) || mentions(text, &format!("{}.\"{name}\"", self.actual.own_name))
    }

    /// The statements that were added.
    pub(super) fn take(&mut self) -> Vec<Statement> {
        std::mem::take(&mut self.statements)
    }

    /// The statements in order: by phase, and what is mentioned before what mentions it.
    pub(super) fn finish(mut self) -> Vec<Statement> {
        // What is made again for the sake of another object, and does not differ itself.
        for identity in self.again.keys().cloned().collect::<Vec<_>>() {
            self.make_again(&identity);
        }
        for (identity, key) in &self.attached {
            for statement in self.statements.iter_mut().filter(|statement| statement.object == *identity) {
                if !statement.mends.contains(key) {
                    statement.mends.push(key.clone());
                }
            }
        }
        let actual = self.actual;
        // Of views, those go first that others do not mention.
        let depth = |statement: &Statement| match statement.phase {
            Phase::DropView | Phase::DropRoutine => -depth(actual, &statement.object, 0),
            _ => 0,
        };
        self.statements.sort_by_cached_key(|statement| (!statement.runs(), statement.phase, depth(statement)));
        in_order(self.statements)
    }
}

/// How many views stand one upon the other below this one.
fn depth(structure: &Structure, identity: &Identity, deep: i32) -> i32 {
    let Some(object) = structure.objects.get(identity).filter(|_| deep < 20) else { return 0 };
    let text = super::text::whole(object);
    let below = structure.objects.keys().filter(|other| {
        *other != identity
            && matches!(other.kind, ObjectKind::View | ObjectKind::MaterializedView | ObjectKind::Function)
            && mentions(&text, &provided(structure, other))
    });
    below.map(|other| depth(structure, other, deep + 1) + 1).max().unwrap_or(0)
}

/// An object as others mention it: a function's name goes on with what it is called with.
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

fn in_order(statements: Vec<Statement>) -> Vec<Statement> {
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
    let mut statements: Vec<Option<Statement>> = statements.into_iter().map(Some).collect();
    ordered.into_iter().filter_map(|index| statements[index].take()).collect()
}

fn visit(
    index: usize,
    statements: &[Statement],
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
    /// What belongs to a table, a view or a type.
    pub(super) fn children<'a>(&'a self, holder: &'a str) -> impl Iterator<Item = &'a Object> {
        self.objects.values().filter(move |object| object.identity.on.as_deref() == Some(holder))
    }
}

/// A structure of the reference with the tenant's own name where the markers are.
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
