//! The comparison of two structures.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value;

use super::difference::{Aspect, Difference, definition, fact_text};
use super::level::{Level, references_tenant};
use crate::schema::structure::{
    Identity, OWN, OWN_NAME, Object, ObjectKind, Structure, constant_with, filled_in, in_constant, unquoted,
    with_own_marked,
};

/// The differences of `actual` from `expected`, ordered by kind and name. In `expected`, markers stand for the tenant's
/// schema name (see [`Structure::with_name_marked`]). `tenants` are the names of all tenants.
///
/// A difference that follows from another one is not reported: the columns of a missing table, or the index of a missing
/// constraint.
pub fn compare(expected: &Structure, actual: &Structure, tenants: &HashSet<String>) -> Vec<Difference> {
    let own_name = actual.own_name.as_str();
    let reference_name = Some(expected.own_name.as_str()).filter(|name| !name.is_empty());
    let comparison = Comparison { own_name, reference_name, tenants };
    let by_name: BTreeMap<Identity, &Object> =
        expected.objects.values().map(|object| (comparison.named(&object.identity), object)).collect();
    let mut differences = Vec::new();
    for (identity, object) in &by_name {
        match actual.objects.get(identity) {
            None => {
                let missing = Some((expected, *object));
                differences.push(comparison.difference(identity, Aspect::Missing, missing, None));
            }
            Some(found) => comparison.compare_facts(identity, object, found, &mut differences),
        }
    }
    let unexpected = actual.objects.iter().filter(|(identity, _)| !by_name.contains_key(identity));
    differences.extend(
        unexpected
            .map(|(identity, object)| comparison.difference(identity, Aspect::Extra, None, Some((actual, object)))),
    );
    column_order(&by_name, actual, &mut differences);
    remove_implied(&by_name, actual, &mut differences);
    resolve_owners(&by_name, actual, &mut differences);
    differences.sort_by(|a, b| (&a.identity, &a.aspect).cmp(&(&b.identity, &b.aspect)));
    for difference in &mut differences {
        difference.actual = difference.actual.take().map(|text| comparison.marked(&text));
        difference.identity.name = comparison.marked(&difference.identity.name);
    }
    differences
}

/// Facts that other differences cover: the order of columns, and that an index belongs to a constraint.
const NOT_COMPARED: [&str; 2] = ["position", "constraint"];

struct Comparison<'a> {
    own_name: &'a str,
    /// If the reference is a tenant: its schema name, quoted if necessary. A marker may then stand for other text that
    /// equals this name, such as a table alias. In other tenants, that text is the same.
    reference_name: Option<&'a str>,
    tenants: &'a HashSet<String>,
}

impl Comparison<'_> {
    /// The identity of an object of the reference in this tenant.
    fn named(&self, identity: &Identity) -> Identity {
        Identity { name: filled_in(&identity.name, self.own_name), ..identity.clone() }
    }

    /// Replaces the tenant's schema name with the marker, because tenants share their differences.
    fn marked(&self, text: &str) -> String {
        with_own_marked(text, self.own_name)
    }

    fn compare_facts(
        &self,
        identity: &Identity,
        expected: &Object,
        actual: &Object,
        differences: &mut Vec<Difference>,
    ) {
        let facts: BTreeSet<&String> = expected.facts.keys().chain(actual.facts.keys()).collect();
        for fact in facts.into_iter().filter(|fact| !NOT_COMPARED.contains(&fact.as_str())) {
            let expected_fact = expected.facts.get(fact).unwrap_or(&Value::Null);
            let actual_fact = actual.facts.get(fact).unwrap_or(&Value::Null);
            if self.equal(expected_fact, actual_fact) {
                continue;
            }
            let aspect = Aspect::Fact(fact.clone());
            let references_tenant = self.references_tenant(actual_fact);
            differences.push(Difference {
                level: if references_tenant.is_some() { Level::Security } else { Level::of(identity, &aspect) },
                identity: identity.clone(),
                expected: fact_text(fact, expected_fact),
                actual: fact_text(fact, actual_fact),
                aspect,
                references_tenant,
            });
        }
    }

    fn difference(
        &self,
        identity: &Identity,
        aspect: Aspect,
        expected: Option<(&Structure, &Object)>,
        actual: Option<(&Structure, &Object)>,
    ) -> Difference {
        let references_tenant = actual.and_then(|(_, object)| {
            let name = Value::String(object.identity.name.clone());
            object.facts.values().chain([&name]).find_map(|value| self.references_tenant(value))
        });
        Difference {
            level: if references_tenant.is_some() { Level::Security } else { Level::of(identity, &aspect) },
            identity: identity.clone(),
            aspect,
            references_tenant,
            expected: expected.map(|(structure, object)| definition(structure, object)),
            actual: actual.map(|(structure, object)| definition(structure, object)),
        }
    }

    /// The other tenant that a value refers to.
    fn references_tenant(&self, value: &Value) -> Option<String> {
        let own = unquoted(self.own_name);
        references_tenant(value, &|name| name != own && self.tenants.contains(name))
    }

    fn equal(&self, expected: &Value, actual: &Value) -> bool {
        match (expected, actual) {
            (Value::String(expected), Value::String(actual)) => {
                texts_equal(expected, actual, self.own_name, self.reference_name)
            }
            (Value::Array(expected), Value::Array(actual)) => {
                expected.len() == actual.len()
                    && expected.iter().zip(actual).all(|(expected, actual)| self.equal(expected, actual))
            }
            (expected, actual) => expected == actual,
        }
    }
}

/// Whether two texts are equal, if the markers in `expected` stand for the tenant's schema name.
fn texts_equal(expected: &str, actual: &str, own_name: &str, reference_name: Option<&str>) -> bool {
    let (bare, in_constant) = (unquoted(own_name), in_constant(own_name));
    let constant = constant_with(own_name);
    let actual = match &constant {
        Some((escaped, plain)) => Cow::Owned(actual.replace(escaped, plain)),
        None => Cow::Borrowed(actual),
    };
    let mut rest = actual.as_ref();
    for c in expected.chars() {
        // In a string constant or a function's body, a name that needs quotes may be unquoted.
        let names = [Some(own_name), Some(bare.as_str()), Some(in_constant.as_ref()), reference_name];
        let after = match c {
            OWN => names.into_iter().flatten().find_map(|name| rest.strip_prefix(name)?.strip_prefix('.')),
            OWN_NAME => names.into_iter().flatten().find_map(|name| rest.strip_prefix(name)),
            c => rest.strip_prefix(c),
        };
        match after {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}

/// Compares the order of the columns that both structures have. Positions alone mean nothing: a missing column moves all
/// later ones.
fn column_order(expected: &BTreeMap<Identity, &Object>, actual: &Structure, differences: &mut Vec<Difference>) {
    // The expected position, the actual position and the name of each column.
    type Columns<'a> = Vec<(i64, i64, &'a str)>;
    let mut tables: BTreeMap<(ObjectKind, &str), Columns<'_>> = BTreeMap::new();
    for (identity, object) in expected {
        let (Some(on), Some(actual)) = (&identity.on, actual.objects.get(identity)) else { continue };
        let position = |object: &Object| object.facts.get("position").and_then(Value::as_i64);
        if let (Some(expected), Some(actual)) = (position(object), position(actual)) {
            tables.entry((identity.kind, on)).or_default().push((expected, actual, &identity.name));
        }
    }
    for ((kind, table), mut columns) in tables {
        // The columns of an index have no names of their own.
        if kind == ObjectKind::IndexColumn {
            continue;
        }
        columns.sort_unstable();
        let names = |columns: &[(i64, i64, &str)]| {
            Some(columns.iter().map(|(_, _, name)| *name).collect::<Vec<_>>().join(", "))
        };
        let expected_order = names(&columns);
        if columns.is_sorted_by_key(|(_, actual, _)| *actual) {
            continue;
        }
        columns.sort_unstable_by_key(|(_, actual, _)| *actual);
        let holder = |kind| Identity { kind, on: None, name: table.to_owned() };
        let holders = [ObjectKind::Table, ObjectKind::ForeignTable, ObjectKind::CompositeType, ObjectKind::View];
        let identity = holders.into_iter().map(holder).find(|identity| expected.contains_key(identity));
        differences.push(Difference {
            identity: identity.unwrap_or_else(|| holder(ObjectKind::MaterializedView)),
            aspect: Aspect::Fact("column_order".to_owned()),
            level: Level::Structural,
            references_tenant: None,
            expected: expected_order,
            actual: names(&columns),
        });
    }
}

/// Removes the differences that another one implies.
fn remove_implied(expected: &BTreeMap<Identity, &Object>, actual: &Structure, differences: &mut Vec<Difference>) {
    use ObjectKind as Kind;
    // The missing and unexpected tables, views and types; the constraints with differences; and the views with other
    // definitions.
    let mut holders: BTreeSet<(String, Aspect)> = BTreeSet::new();
    let mut constraints: BTreeSet<(Option<String>, String)> = BTreeSet::new();
    let mut views: BTreeSet<String> = BTreeSet::new();
    for difference in differences.iter() {
        let name = difference.identity.name.clone();
        match (difference.identity.kind, &difference.aspect) {
            (
                Kind::Table
                | Kind::ForeignTable
                | Kind::View
                | Kind::MaterializedView
                | Kind::CompositeType
                | Kind::Domain,
                Aspect::Missing | Aspect::Extra,
            ) => {
                holders.insert((name, difference.aspect.clone()));
            }
            (Kind::Constraint, aspect) if *aspect != Aspect::Fact("comment".to_owned()) => {
                constraints.insert((difference.identity.on.clone(), name));
            }
            (Kind::View | Kind::MaterializedView, Aspect::Fact(fact))
                if fact == "definition" || fact == "column_order" =>
            {
                views.insert(name);
            }
            _ => {}
        }
    }
    differences.retain(|difference| {
        let Identity { kind, on, name } = &difference.identity;
        let object = || match difference.aspect {
            Aspect::Missing => expected.get(&difference.identity).copied(),
            _ => actual.objects.get(&difference.identity),
        };
        let whole = matches!(difference.aspect, Aspect::Missing | Aspect::Extra);
        let holder = match (kind, on) {
            (Kind::Sequence, _) => object().and_then(|sequence| sequence.text("owned_by")?.split('.').next()),
            // The columns of an index belong to the index.
            (_, on) => on.as_deref(),
        };
        if whole && holder.is_some_and(|holder| holders.contains(&(unquoted(holder), difference.aspect.clone()))) {
            return false;
        }
        match (kind, on) {
            (Kind::Column, Some(on)) if difference.aspect != Aspect::Fact("comment".to_owned()) => !views.contains(on),
            (Kind::Index, _) if object().is_some_and(|index| index.is("constraint")) => {
                let follows = whole || difference.aspect == Aspect::Fact("definition".to_owned());
                !(follows && constraints.contains(&(on.clone(), name.clone())))
            }
            _ => true,
        }
    });
}

/// Resolves owners. The owner of an object is stored relative to its schema's. If the schema has an unexpected owner, an
/// object with the expected owner is not a difference, nor is one whose owner changed with the schema's.
fn resolve_owners(expected: &BTreeMap<Identity, &Object>, actual: &Structure, differences: &mut Vec<Difference>) {
    let schema = |object: &&Object| object.identity.kind == ObjectKind::Schema;
    let owner_of = |object: &Object| object.text("owner").map(str::to_owned);
    let expected = expected.values().copied().find(schema).and_then(owner_of);
    let actual = actual.objects.values().find(schema).and_then(owner_of);
    let aspect = Aspect::Fact("owner".to_owned());
    differences.retain_mut(|difference| {
        if difference.identity.kind == ObjectKind::Schema || difference.aspect != aspect {
            return true;
        }
        // No owner means the schema's owner.
        let wanted_owner = difference.expected.clone().or_else(|| expected.clone());
        let actual_owner = difference.actual.clone().or_else(|| actual.clone());
        difference.expected = wanted_owner;
        difference.actual = actual_owner;
        difference.expected != difference.actual
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tenants_own_name_is_a_marker() {
        let expected = format!("nextval('{OWN}users_id_seq'::regclass)");
        let same = |actual: &str| texts_equal(&expected, actual, "acme", None);
        assert!(same("nextval('acme.users_id_seq'::regclass)"));
        assert!(!same("nextval('globex.users_id_seq'::regclass)"));
        assert!(!same("nextval('users_id_seq'::regclass)"));
        assert!(texts_equal(&expected, "nextval('\"Order\".users_id_seq'::regclass)", "\"Order\"", None));
        for (own_name, actual) in [
            ("\"acme-corp\"", "nextval('\"acme-corp\".users_id_seq'::regclass)"),
            ("\"quo\"\"te\"", "nextval('\"quo\"\"te\".users_id_seq'::regclass)"),
            ("\"quo\"\"te\"", "nextval('quo\"te.users_id_seq'::regclass)"),
            ("\"it's\"", "nextval('\"it''s\".users_id_seq'::regclass)"),
            ("\"a\\b\"", "nextval(E'\"a\\\\b\".users_id_seq'::regclass)"),
        ] {
            assert!(texts_equal(&expected, actual, own_name, None), "{actual}");
            assert!(!texts_equal(&expected, actual, "acme", None), "{actual}");
        }
        assert!(!texts_equal("SELECT users.id", "SELECT acme.id", "acme", None));
        assert!(texts_equal(&format!("{OWN}id FROM {OWN}users"), "users.id FROM acme.users", "acme", Some("users")));
    }
}
