//! Grants. A fact lists them as text: `app: INSERT, SELECT WITH GRANT OPTION by bob`.

use std::collections::BTreeMap;

use super::Phase;
use super::builder::Builder;
use super::text::{ident, list};
use crate::schema::structure::{Identity, Object, ObjectKind as Kind};

/// The grant option, by grantee and privilege.
type Grants = BTreeMap<(String, String), bool>;

const OPTION: &str = " WITH GRANT OPTION";

impl Builder<'_> {
    /// Grants the expected privileges and revokes the others. A new object starts with the defaults of its kind.
    pub(super) fn grants(&mut self, object: &Object, actual: Option<&Object>) {
        let identity = &object.identity;
        let Some(target) = self.target(identity) else { return };
        let column = matches!(identity.kind, Kind::Column).then(|| ident(&identity.name));
        let default = self.default_grants(identity.kind);
        let granted = |object: &Object| {
            if object.facts.contains_key("grants") { ordered(&list(object, "grants")) } else { default.clone() }
        };
        let from = actual.map_or_else(|| default.clone(), &granted);
        let to = granted(object);
        let owner = self.owner_of(object);
        for change in changes(&from, &to, &owner, &target, column.as_deref()) {
            self.add(Phase::Grant, change);
        }
    }

    /// Changes a role's default privileges in the schema.
    pub(super) fn alter_default_privileges(&mut self, identity: &Identity) {
        let Some((role, kind)) = identity.name.rsplit_once(" on ") else { return };
        let granted =
            |object: Option<&Object>| object.map(|object| ordered(&list(object, "grants"))).unwrap_or_default();
        let (from, to) = (granted(self.actual_object(identity)), granted(self.expected.objects.get(identity)));
        let role = if role == "(owner)" { ident(&self.owner) } else { role.to_owned() };
        let kind = kind.to_uppercase();
        let before = format!("ALTER DEFAULT PRIVILEGES FOR ROLE {role} IN SCHEMA {}", self.actual.own_name);
        for change in changes(&from, &to, &role, &kind, None) {
            self.add(Phase::Grant, format!("{before} {change}"));
        }
    }

    /// The object after `ON`.
    fn target(&self, identity: &Identity) -> Option<String> {
        let qualified = self.qualified(&identity.name);
        Some(match identity.kind {
            Kind::Schema | Kind::Procedure => self.kind_and_name(identity)?,
            Kind::Function | Kind::Aggregate => format!("FUNCTION {}.{}", self.actual.own_name, identity.name),
            Kind::Table | Kind::ForeignTable | Kind::View | Kind::MaterializedView => format!("TABLE {qualified}"),
            Kind::Column => format!("TABLE {}", self.qualified(identity.on.as_deref()?)),
            Kind::Sequence => format!("SEQUENCE {qualified}"),
            Kind::Enum | Kind::Domain | Kind::CompositeType | Kind::RangeType | Kind::Type => {
                format!("TYPE {qualified}")
            }
            _ => return None,
        })
    }

    /// The expected owner of an object, as in SQL.
    fn owner_of(&self, object: &Object) -> String {
        let table = |on: &String| {
            let kinds = [Kind::Table, Kind::View, Kind::MaterializedView, Kind::ForeignTable];
            let table = |kind| self.expected.objects.get(&Identity { kind, on: None, name: on.clone() });
            kinds.into_iter().find_map(table)?.text("owner")
        };
        let owner = object.identity.on.as_ref().and_then(table).or_else(|| object.text("owner"));
        ident(owner.unwrap_or(&self.owner))
    }

    fn default_grants(&self, kind: Kind) -> Grants {
        let (public, owner): (&str, &[&str]) = match kind {
            Kind::Schema => ("", &["CREATE", "USAGE"]),
            Kind::Sequence => ("", &["SELECT", "UPDATE", "USAGE"]),
            Kind::Function | Kind::Procedure | Kind::Aggregate => ("EXECUTE", &["EXECUTE"]),
            Kind::Enum | Kind::Domain | Kind::CompositeType | Kind::RangeType | Kind::Type => ("USAGE", &["USAGE"]),
            Kind::Table | Kind::ForeignTable | Kind::View | Kind::MaterializedView => {
                let all = &["DELETE", "INSERT", "REFERENCES", "SELECT", "TRIGGER", "TRUNCATE", "UPDATE", "MAINTAIN"];
                ("", if self.version >= 170_000 { &all[..] } else { &all[..7] })
            }
            _ => ("", &[]),
        };
        let entry = |grantee: &str, privilege: &str| ((grantee.to_owned(), privilege.to_owned()), false);
        let public = Some(public).filter(|public| !public.is_empty()).map(|public| entry("PUBLIC", public));
        owner.iter().map(|privilege| entry("(owner)", privilege)).chain(public).collect()
    }
}

/// The privileges that the owner granted. Only their grantors can change the others.
fn ordered(words: &[&str]) -> Grants {
    let mut grants = Grants::new();
    for line in words {
        // A quoted role name may contain any character.
        let behind = if line.starts_with('"') { line.rfind('"').unwrap_or(0) } else { 0 };
        let Some(colon) = line[behind..].find(": ").map(|at| behind + at) else { continue };
        let (grantee, privileges) = (&line[..colon], &line[colon + 2..]);
        if privileges.contains(" by ") {
            continue;
        }
        for privilege in privileges.split(", ") {
            let (name, option) = match privilege.strip_suffix(OPTION) {
                Some(name) => (name, true),
                None => (privilege, false),
            };
            grants.insert((grantee.to_owned(), name.to_owned()), option);
        }
    }
    grants
}

/// The statements that change one set of privileges to another.
fn changes(from: &Grants, to: &Grants, owner: &str, target: &str, column: Option<&str>) -> Vec<String> {
    // The privileges, by the kind of statement and the grantee.
    let mut changes: BTreeMap<(u8, &str), Vec<String>> = BTreeMap::new();
    let mut add = |what: u8, grantee: &'_ str, privilege: &str| -> Option<()> {
        let (key, _) = from
            .get_key_value(&(grantee.to_owned(), privilege.to_owned()))
            .or_else(|| to.get_key_value(&(grantee.to_owned(), privilege.to_owned())))?;
        let privilege = match column {
            Some(column) => format!("{privilege} ({column})"),
            None => privilege.to_owned(),
        };
        changes.entry((what, key.0.as_str())).or_default().push(privilege);
        Some(())
    };
    for ((grantee, privilege), option) in from {
        match to.get(&(grantee.clone(), privilege.clone())) {
            None => add(0, grantee, privilege),
            Some(false) if *option => add(1, grantee, privilege),
            Some(_) => None,
        };
    }
    for ((grantee, privilege), option) in to {
        match (from.get(&(grantee.clone(), privilege.clone())), option) {
            (None, false) => add(2, grantee, privilege),
            (None | Some(false), true) => add(3, grantee, privilege),
            _ => None,
        };
    }
    let statements = changes.into_iter().map(|((what, grantee), privileges)| {
        let role = if grantee == "(owner)" { owner } else { grantee };
        let privileges = privileges.join(", ");
        match what {
            0 => format!("REVOKE {privileges} ON {target} FROM {role}"),
            1 => format!("REVOKE GRANT OPTION FOR {privileges} ON {target} FROM {role}"),
            2 => format!("GRANT {privileges} ON {target} TO {role}"),
            _ => format!("GRANT {privileges} ON {target} TO {role}{OPTION}"),
        }
    });
    statements.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_and_revokes_transform_the_privileges() {
        let from = ordered(&[
            "(owner): SELECT",
            "app: INSERT, SELECT WITH GRANT OPTION",
            "\"x: y\": SELECT",
            "z: SELECT by app",
        ]);
        let to = ordered(&["(owner): SELECT", "app: SELECT, UPDATE", "PUBLIC: SELECT"]);
        assert_eq!(
            changes(&from, &to, "boss", "TABLE acme.t", None),
            [
                "REVOKE SELECT ON TABLE acme.t FROM \"x: y\"",
                "REVOKE INSERT ON TABLE acme.t FROM app",
                "REVOKE GRANT OPTION FOR SELECT ON TABLE acme.t FROM app",
                "GRANT SELECT ON TABLE acme.t TO PUBLIC",
                "GRANT UPDATE ON TABLE acme.t TO app",
            ]
        );
    }
}
