//! What must be dropped and made again: what cannot be changed in place, and what depends on something that changes.

use super::builder::{Builder, provided};
use super::lossless;
use super::text::{has_word, whole};
use crate::schema::drift::difference::{Aspect, Difference};
use crate::schema::structure::{Identity, Object, ObjectKind as Kind};

impl Builder<'_> {
    /// Finds it; nothing is planned yet.
    pub(super) fn find_dependents(&mut self) {
        let mut found: Vec<Identity> = Vec::new();
        for difference in self.differences {
            found.extend(self.not_in_place(difference));
        }
        while let Some(identity) = found.pop() {
            if self.again.contains_key(&identity) || !self.actual.objects.contains_key(&identity) {
                continue;
            }
            let group = self.new_group();
            self.again.insert(identity.clone(), group);
            found.extend(self.dependents_of(&identity));
        }
    }

    /// What a difference wants to be made again.
    fn not_in_place(&self, difference: &Difference) -> Vec<Identity> {
        let identity = self.identity(difference);
        let fact = match &difference.aspect {
            Aspect::Fact(fact) => fact.as_str(),
            Aspect::Missing | Aspect::Extra => "",
        };
        let again = match (identity.kind, fact) {
            (Kind::View, "definition" | "column_order") => !self.is_replaceable(&identity),
            (Kind::MaterializedView, "definition" | "column_order" | "access_method") => true,
            (Kind::Column, "" | "type" | "collation") => return self.dependents_of_column(&identity, difference),
            (Kind::Function | Kind::Procedure | Kind::Aggregate, _) => self.is_in_the_way(&identity, fact),
            (Kind::Constraint, "definition" | "type") => true,
            (Kind::Constraint, "validated") => difference.expected.as_deref() != Some("yes"),
            (Kind::DomainConstraint, "definition") => true,
            (Kind::DomainConstraint, "validated") => difference.expected.as_deref() != Some("yes"),
            (Kind::Index, "definition" | "valid" | "ready" | "live") => {
                let constraint = Identity { kind: Kind::Constraint, ..identity.clone() };
                if self.there(&identity).is_some_and(|index| index.is("constraint")) {
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

    /// What is there and must go before an object can.
    fn dependents_of(&self, identity: &Identity) -> Vec<Identity> {
        let there = self.actual;
        match identity.kind {
            Kind::View | Kind::MaterializedView | Kind::Function | Kind::Procedure | Kind::Aggregate => {
                let name = provided(there, identity);
                let others = there.objects.values().filter(|object| is_light(object) && object.identity != *identity);
                let mentions = |object: &&Object| super::text::mentions(&whole(object), &name);
                others.filter(mentions).map(|object| object.identity.clone()).collect()
            }
            Kind::Constraint => self.foreign_keys_to(identity),
            _ => Vec::new(),
        }
    }

    /// The foreign keys that refer to a primary key or a unique constraint.
    fn foreign_keys_to(&self, identity: &Identity) -> Vec<Identity> {
        let (Some(key), Some(table)) = (self.there(identity), &identity.on) else { return Vec::new() };
        let Some(columns) = key.text("definition").and_then(columns_of_key) else { return Vec::new() };
        let target = format!(" REFERENCES {}{columns}", self.whole(table));
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
            let text = whole(object);
            let of_table = object.identity.on.as_ref() == Some(table) || self.mentioned(&text, table);
            is_light(object) && of_table && has_word(&text, &column.name)
        };
        self.actual.objects.values().filter(depends).map(|object| object.identity.clone()).collect()
    }

    /// Whether the column's type is changed, for nothing is lost by it.
    pub(super) fn changes_type(&self, column: &Identity) -> bool {
        let (Some(wanted), Some(there)) = (self.expected.objects.get(column), self.there(column)) else { return false };
        let computed = wanted.text("generated").is_some() && wanted.text("generated") == there.text("generated");
        let (from, to) = (there.text("type").unwrap_or_default(), wanted.text("type").unwrap_or_default());
        computed || lossless::change(&self.expected, from, to).is_some()
    }

    /// Whether the new view begins with the old one's columns, so that it can take its place.
    pub(super) fn is_replaceable(&self, view: &Identity) -> bool {
        let columns = |structure: &crate::schema::structure::Structure| {
            let mut columns: Vec<Object> =
                structure.children(&view.name).filter(|object| object.identity.kind == Kind::Column).cloned().collect();
            columns.sort_by_key(|column| super::text::number(column, "position"));
            columns
        };
        let (wanted, there) = (columns(&self.expected), columns(self.actual));
        let same = |(wanted, there): (&Object, &Object)| {
            wanted.identity.name == there.identity.name
                && ["type", "collation"].iter().all(|fact| wanted.text(fact) == there.text(fact))
        };
        wanted.len() >= there.len() && wanted.iter().zip(&there).all(same)
    }

    /// Whether a function cannot be replaced by the one that is expected.
    fn is_in_the_way(&self, function: &Identity, fact: &str) -> bool {
        let Some(there) = self.there(function) else { return false };
        match (fact, self.expected.objects.get(function)) {
            ("result" | "window", _) => true,
            ("arguments", Some(wanted)) => {
                // Names cannot be changed. Defaults may be added, and not be taken away.
                let arguments = |object: &Object| object.text("arguments").unwrap_or_default().to_owned();
                let defaults = |object: &Object| arguments(object).matches(" DEFAULT ").count();
                let names = |object: &Object| -> Vec<String> {
                    let arguments = arguments(object);
                    let bare =
                        arguments.split(", ").map(|argument| argument.split(" DEFAULT ").next().unwrap_or_default());
                    bare.map(str::to_owned).collect()
                };
                defaults(wanted) < defaults(there) || names(wanted) != names(there)
            }
            // The same types with other names.
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

/// Whether an object can be dropped and made again without any loss, and depends on others by what is in its text.
fn is_light(object: &Object) -> bool {
    match object.identity.kind {
        Kind::View | Kind::MaterializedView | Kind::Rule | Kind::Policy => true,
        Kind::Trigger => !object.is("inherited"),
        Kind::Function | Kind::Procedure => object.is("sql_body"),
        _ => false,
    }
}

/// `(id)` of `PRIMARY KEY (id)`.
fn columns_of_key(definition: &str) -> Option<&str> {
    let from = definition.strip_prefix("PRIMARY KEY ").or_else(|| definition.strip_prefix("UNIQUE "))?;
    let end = from.find(')')?;
    Some(&from[from.find('(')?..=end])
}
