//! The comparison of two structures.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value;

use super::difference::{Aspect, Difference, definition, in_words};
use super::level::{Level, references_tenant};
use crate::schema::structure::{Identity, OWN, OWN_NAME, Object, ObjectKind, Structure, filled_in};

/// In what `actual` differs from what is expected, in the order of kinds and names. In `expected`, markers stand where the
/// tenant's own name is expected (see [`Structure::with_its_name_marked`]); `tenants` are the names of all tenants.
///
/// A difference that follows from another one is not reported: the columns of a missing table, or the index of a missing
/// constraint.
pub fn compare(expected: &Structure, actual: &Structure, tenants: &HashSet<String>) -> Vec<Difference> {
    let own_name = actual.own_name.as_str();
    let literal = Some(expected.own_name.as_str()).filter(|name| !name.is_empty());
    let comparison = Comparison { own_name, literal, tenants };
    let by_name: BTreeMap<Identity, &Object> =
        expected.objects.values().map(|object| (comparison.named(&object.identity), object)).collect();
    let mut differences = Vec::new();
    for (identity, wanted) in &by_name {
        match actual.objects.get(identity) {
            None => {
                let wanted = Some((expected, *wanted));
                differences.push(comparison.difference(identity, Aspect::Missing, wanted, None));
            }
            Some(there) => comparison.facts(identity, wanted, there, &mut differences),
        }
    }
    let extra = actual.objects.iter().filter(|(identity, _)| !by_name.contains_key(identity));
    differences.extend(
        extra.map(|(identity, there)| comparison.difference(identity, Aspect::Extra, None, Some((actual, there)))),
    );
    column_order(&by_name, actual, &mut differences);
    fold(&by_name, actual, &mut differences);
    fold_owners(&by_name, actual, &mut differences);
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
    /// Where the reference is a tenant: its name as the server quotes it. A marker may then stand for what only looks
    /// like that tenant's name, such as a table's alias, and stays as it is in other tenants.
    literal: Option<&'a str>,
    tenants: &'a HashSet<String>,
}

impl Comparison<'_> {
    /// What the reference's object is called in this tenant.
    fn named(&self, identity: &Identity) -> Identity {
        Identity { name: filled_in(&identity.name, self.own_name), ..identity.clone() }
    }

    /// A text of the tenant's as it would be in another's, for tenants share their differences.
    fn marked(&self, text: &str) -> String {
        text.replace(&format!("{}.", self.own_name), OWN.encode_utf8(&mut [0; 4]))
    }

    fn facts(&self, identity: &Identity, wanted: &Object, there: &Object, differences: &mut Vec<Difference>) {
        let facts: BTreeSet<&String> = wanted.facts.keys().chain(there.facts.keys()).collect();
        for fact in facts.into_iter().filter(|fact| !NOT_COMPARED.contains(&fact.as_str())) {
            let wanted_fact = wanted.facts.get(fact).unwrap_or(&Value::Null);
            let there_fact = there.facts.get(fact).unwrap_or(&Value::Null);
            if self.same(wanted_fact, there_fact) {
                continue;
            }
            let aspect = Aspect::Fact(fact.clone());
            let references_tenant = self.references_tenant(there_fact);
            differences.push(Difference {
                level: if references_tenant.is_some() { Level::Security } else { Level::of(identity, &aspect) },
                identity: identity.clone(),
                expected: in_words(fact, wanted_fact),
                actual: in_words(fact, there_fact),
                aspect,
                references_tenant,
            });
        }
    }

    fn difference(
        &self,
        identity: &Identity,
        aspect: Aspect,
        wanted: Option<(&Structure, &Object)>,
        there: Option<(&Structure, &Object)>,
    ) -> Difference {
        let references_tenant = there.and_then(|(_, object)| {
            let name = Value::String(object.identity.name.clone());
            object.facts.values().chain([&name]).find_map(|value| self.references_tenant(value))
        });
        Difference {
            level: if references_tenant.is_some() { Level::Security } else { Level::of(identity, &aspect) },
            identity: identity.clone(),
            aspect,
            references_tenant,
            expected: wanted.map(|(structure, object)| definition(structure, object)),
            actual: there.map(|(structure, object)| definition(structure, object)),
        }
    }

    /// The other tenant that a fact leads to.
    fn references_tenant(&self, value: &Value) -> Option<String> {
        let own = self.own_name.trim_matches('"');
        references_tenant(value, &|name| name != own && self.tenants.contains(name)).map(str::to_owned)
    }

    fn same(&self, wanted: &Value, there: &Value) -> bool {
        match (wanted, there) {
            (Value::String(wanted), Value::String(there)) => same_text(wanted, there, self.own_name, self.literal),
            (Value::Array(wanted), Value::Array(there)) => {
                wanted.len() == there.len() && wanted.iter().zip(there).all(|(wanted, there)| self.same(wanted, there))
            }
            (wanted, there) => wanted == there,
        }
    }
}

/// Whether a text of the reference is a tenant's: the tenant's own name where the markers are, and otherwise the same text.
fn same_text(wanted: &str, there: &str, own_name: &str, literal: Option<&str>) -> bool {
    let bare = own_name.trim_matches('"');
    let mut rest = there;
    for c in wanted.chars() {
        // Within a string constant, or a function's body, a name may stand without its quotes.
        let names = [Some(own_name), Some(bare), literal];
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

/// Positions have no meaning of their own: after a missing column all others move up. What counts is the order of those
/// that both have.
fn column_order(wanted: &BTreeMap<Identity, &Object>, actual: &Structure, differences: &mut Vec<Difference>) {
    // Of each column its place in the reference, its place in the tenant, and its name.
    type Columns<'a> = Vec<(i64, i64, &'a str)>;
    let mut tables: BTreeMap<(ObjectKind, &str), Columns<'_>> = BTreeMap::new();
    for (identity, object) in wanted {
        let (Some(on), Some(there)) = (&identity.on, actual.objects.get(identity)) else { continue };
        let position = |object: &Object| object.facts.get("position").and_then(Value::as_i64);
        if let (Some(wanted), Some(there)) = (position(object), position(there)) {
            tables.entry((identity.kind, on)).or_default().push((wanted, there, &identity.name));
        }
    }
    for ((kind, table), mut columns) in tables {
        // An index's columns have no names that could be exchanged.
        if kind == ObjectKind::IndexColumn {
            continue;
        }
        columns.sort_unstable();
        let names = |columns: &[(i64, i64, &str)]| {
            Some(columns.iter().map(|(_, _, name)| *name).collect::<Vec<_>>().join(", "))
        };
        let expected = names(&columns);
        if columns.is_sorted_by_key(|(_, there, _)| *there) {
            continue;
        }
        columns.sort_unstable_by_key(|(_, there, _)| *there);
        let holder = |kind| Identity { kind, on: None, name: table.to_owned() };
        let holders = [ObjectKind::Table, ObjectKind::ForeignTable, ObjectKind::CompositeType, ObjectKind::View];
        let identity = holders.into_iter().map(holder).find(|identity| wanted.contains_key(identity));
        differences.push(Difference {
            identity: identity.unwrap_or_else(|| holder(ObjectKind::MaterializedView)),
            aspect: Aspect::Fact("column_order".to_owned()),
            level: Level::Structural,
            references_tenant: None,
            expected,
            actual: names(&columns),
        });
    }
}

/// Leaves out what follows from another difference.
fn fold(wanted: &BTreeMap<Identity, &Object>, actual: &Structure, differences: &mut Vec<Difference>) {
    use ObjectKind as Kind;
    // What is missing or extra as a whole, by name: the tables and types, the constraints; and the views that are others.
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
            Aspect::Missing => wanted.get(&difference.identity).copied(),
            _ => actual.objects.get(&difference.identity),
        };
        let whole = matches!(difference.aspect, Aspect::Missing | Aspect::Extra);
        let holder = match (kind, on) {
            (Kind::Sequence, _) => object().and_then(|sequence| sequence.text("owned_by")?.split('.').next()),
            // An index's columns hang on the index.
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

fn unquoted(identifier: &str) -> String {
    match identifier.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => identifier.to_owned(),
    }
}

/// An object's owner is compared relative to its schema's. Where the schema has another owner than expected, an object that
/// is the expected one's is as it should be, and one that changed with the schema follows from that.
fn fold_owners(wanted: &BTreeMap<Identity, &Object>, actual: &Structure, differences: &mut Vec<Difference>) {
    let schema = |object: &&Object| object.identity.kind == ObjectKind::Schema;
    let owner_of = |object: &Object| object.text("owner").map(str::to_owned);
    let expected = wanted.values().copied().find(schema).and_then(owner_of);
    let there = actual.objects.values().find(schema).and_then(owner_of);
    let aspect = Aspect::Fact("owner".to_owned());
    differences.retain_mut(|difference| {
        if difference.identity.kind == ObjectKind::Schema || difference.aspect != aspect {
            return true;
        }
        // None is the schema's owner.
        let wanted_owner = difference.expected.clone().or_else(|| expected.clone());
        let actual_owner = difference.actual.clone().or_else(|| there.clone());
        difference.expected = wanted_owner;
        difference.actual = actual_owner;
        difference.expected != difference.actual
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_the_tenants_own_name_and_nothing_else_is() {
        let wanted = format!("nextval('{OWN}users_id_seq'::regclass)");
        let same = |there: &str| same_text(&wanted, there, "acme", None);
        assert!(same("nextval('acme.users_id_seq'::regclass)"));
        assert!(!same("nextval('globex.users_id_seq'::regclass)"));
        assert!(!same("nextval('users_id_seq'::regclass)"));
        assert!(same_text(&wanted, "nextval('\"Order\".users_id_seq'::regclass)", "\"Order\"", None));
        assert!(!same_text("SELECT users.id", "SELECT acme.id", "acme", None));
        assert!(same_text(&format!("{OWN}id FROM {OWN}users"), "users.id FROM acme.users", "acme", Some("users")));
    }
}
