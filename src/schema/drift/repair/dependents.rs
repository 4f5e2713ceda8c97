//! Finds the objects to drop and recreate: those that cannot be changed in place, and those that depend on an object that
//! changes.

use super::builder::{Builder, provided};
use super::lossless;
use super::text::{full_text, has_word};
use crate::schema::drift::difference::{Aspect, Difference};
use crate::schema::structure::{Identity, Object, ObjectKind as Kind};

impl Builder<'_> {
    /// Fills [`Builder::recreated`]. Adds no statements.
    pub(super) fn find_dependents(&mut self) {
        let mut found: Vec<Identity> = Vec::new();
        for difference in self.differences {
            found.extend(self.to_recreate(difference));
        }
        while let Some(identity) = found.pop() {
            if self.recreated.contains_key(&identity) || !self.actual.objects.contains_key(&identity) {
                continue;
            }
            let group = self.new_group();
            self.recreated.insert(identity.clone(), group);
            found.extend(self.dependents_of(&identity));
        }
    }

    /// The objects that a difference requires to recreate.
    fn to_recreate(&self, difference: &Difference) -> Vec<Identity> {
        let identity = self.identity(difference);
        let fact = match &difference.aspect {
            Aspect::Fact(fact) => fact.as_str(),
            Aspect::Missing | Aspect::Extra => "",
        };
        let again = match (identity.kind, fact) {
            (Kind::View, "definition" | "column_order") => !self.is_replaceable(&identity),
            (Kind::MaterializedView, "definition" | "column_order" | "access_method") => true,
            (Kind::Column, "" | "type" | "collation") => return self.dependents_of_column(&identity, difference),
            (Kind::Function | Kind::Procedure | Kind::Aggregate, _) => self.must_recreate_function(&identity, fact),
            (Kind::Constraint, "definition" | "type") => true,
            (Kind::Constraint, "validated") => difference.expected.as_deref() != Some("yes"),
            (Kind::DomainConstraint, "definition") => true,
            (Kind::DomainConstraint, "validated") => difference.expected.as_deref() != Some("yes"),
            (Kind::Index, "definition" | "valid" | "ready" | "live") => {
                let constraint = Identity { kind: Kind::Constraint, ..identity.clone() };
                if self.actual_object(&identity).is_some_and(|index| index.is("constraint")) {
                    return vec![constraint];
                }
                true
            }
            (Kind::Domain, "type" | "collation") => true,
            (Kind::RangeType, "range") => true,
            (Kind::Policy, "command" | "permissive" | "roles" | "using" | "check") => true,
            (Kind::Trigger | Kind::Statistics | Kind::Cast, "definition") => true,
            (Kind::Publication | Kind::Collation | Kind::Conversion | Kind::Operator, "definition") => true,
            (Kind::TextSearchDictionary | Kind::TextSearchParser, "definition") => true,
            (Kind::TextSearchTemplate | Kind::TextSearchConfiguration, "definition") => true,
            _ => false,
        };
        if again { vec![identity] } else { Vec::new() }
    }

    /// The objects to drop before an object can be dropped.
    fn dependents_of(&self, identity: &Identity) -> Vec<Identity> {
        let actual = self.actual;
        match identity.kind {
            Kind::View | Kind::MaterializedView | Kind::Function | Kind::Procedure | Kind::Aggregate => {
                let name = provided(actual, identity);
                let others =
                    actual.objects.values().filter(|object| is_recreatable(object) && object.identity != *identity);
                let mentions = |object: &&Object| super::text::mentions(&full_text(object), &name);
                others.filter(mentions).map(|object| object.identity.clone()).collect()
            }
            Kind::Constraint => self.foreign_keys_to(identity),
            _ => Vec::new(),
        }
    }

    /// The foreign keys that refer to a primary key or a unique constraint.
    fn foreign_keys_to(&self, identity: &Identity) -> Vec<Identity> {
        let (Some(key), Some(table)) = (self.actual_object(identity), &identity.on) else { return Vec::new() };
        let Some(columns) = key.text("definition").and_then(columns_of_key) else { return Vec::new() };
        let target = format!(" REFERENCES {}{columns}", self.qualified(table));
        let others = self.actual.objects.values().filter(|object| object.identity.kind == Kind::Constraint);
        let refer = |object: &&Object| object.text("definition").is_some_and(|text| text.contains(&target));
        others.filter(refer).map(|object| object.identity.clone()).collect()
    }

    fn dependents_of_column(&self, column: &Identity, difference: &Difference) -> Vec<Identity> {
        let Some(table) = &column.on else { return Vec::new() };
        let holder = |kind| Identity { kind, on: None, name: table.clone() };
        for view in [holder(Kind::View), holder(Kind::MaterializedView)] {
            if self.actual.objects.contains_key(&view) {
                return vec![view];
            }
        }
        if !matches!(difference.aspect, Aspect::Fact(_)) || !self.changes_type(column) {
            return Vec::new();
        }
        let depends = |object: &&Object| {
            let text = full_text(object);
            let of_table = object.identity.on.as_ref() == Some(table) || self.mentioned(&text, table);
            is_recreatable(object) && of_table && has_word(&text, &column.name)
        };
        self.actual.objects.values().filter(depends).map(|object| object.identity.clone()).collect()
    }

    /// Whether the column's type can be changed without loss.
    pub(super) fn changes_type(&self, column: &Identity) -> bool {
        let (Some(expected), Some(actual)) = (self.expected.objects.get(column), self.actual_object(column)) else {
            return false;
        };
        let computed = expected.text("generated").is_some() && expected.text("generated") == actual.text("generated");
        let (from, to) = (actual.text("type").unwrap_or_default(), expected.text("type").unwrap_or_default());
        computed || lossless::change(&self.expected, from, to).is_some()
    }

    /// Whether `CREATE OR REPLACE VIEW` can replace a view: the new columns begin with the old ones.
    pub(super) fn is_replaceable(&self, view: &Identity) -> bool {
        let columns = |structure: &crate::schema::structure::Structure| {
            let mut columns: Vec<Object> =
                structure.children(&view.name).filter(|object| object.identity.kind == Kind::Column).cloned().collect();
            columns.sort_by_key(|column| super::text::number(column, "position"));
            columns
        };
        let (expected, actual) = (columns(&self.expected), columns(self.actual));
        let same = |(expected, actual): (&Object, &Object)| {
            expected.identity.name == actual.identity.name
                && ["type", "collation"].iter().all(|fact| expected.text(fact) == actual.text(fact))
        };
        expected.len() >= actual.len() && expected.iter().zip(&actual).all(same)
    }

    /// Whether `CREATE OR REPLACE` cannot replace a function.
    fn must_recreate_function(&self, function: &Identity, fact: &str) -> bool {
        let Some(actual) = self.actual_object(function) else { return false };
        match (fact, self.expected.objects.get(function)) {
            ("result" | "window", _) => true,
            ("arguments", Some(expected)) => {
                // Replacing can add defaults of arguments, but cannot remove them or rename arguments.
                let arguments = |object: &Object| object.text("arguments").unwrap_or_default().to_owned();
                let defaults = |object: &Object| arguments(object).matches(" DEFAULT ").count();
                let names = |object: &Object| -> Vec<String> {
                    let arguments = arguments(object);
                    let bare =
                        arguments.split(", ").map(|argument| argument.split(" DEFAULT ").next().unwrap_or_default());
                    bare.map(str::to_owned).collect()
                };
                defaults(expected) < defaults(actual) || names(expected) != names(actual)
            }
            // A function with other argument names that may have the same types.
            ("", None) => self.differences.iter().any(|difference| {
                let other = self.identity(difference);
                let base = |name: &str| name.split('(').next().map(str::to_owned);
                difference.aspect == Aspect::Missing
                    && other.kind == function.kind
                    && base(&other.name) == base(&function.name)
            }),
            _ => false,
        }
    }
}

/// Whether an object can be recreated without loss, and mentions in its text what it depends on.
fn is_recreatable(object: &Object) -> bool {
    match object.identity.kind {
        Kind::View | Kind::MaterializedView | Kind::Rule | Kind::Policy => true,
        Kind::Trigger => !object.is("inherited"),
        Kind::Function | Kind::Procedure => object.is("sql_body"),
        _ => false,
    }
}

/// The column list of a `PRIMARY KEY (id)` or `UNIQUE (id)`.
fn columns_of_key(definition: &str) -> Option<&str> {
    let from = definition.strip_prefix("PRIMARY KEY ").or_else(|| definition.strip_prefix("UNIQUE "))?;
    let end = from.find(')')?;
    Some(&from[from.find('(')?..=end])
}
