//! Objects that the server names as `pg_identify_object` does: those with a security label, and members of an extension.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Text;

use super::builder::Builder;
use super::text::{ident, literal};
use super::{Phase, RepairStatement};
use crate::schema::drift::difference::Aspect;
use crate::schema::structure::{Identity, ObjectKind as Kind};

/// An object of the tenant's schema that is a member of an extension, so that it is no object of the tenant.
#[derive(Debug, QueryableByName)]
pub(super) struct ExtensionMember {
    #[diesel(sql_type = Text)]
    extension: String,
    /// The object, as `pg_identify_object` names its type and identity.
    #[diesel(sql_type = Text)]
    object: String,
}

impl ExtensionMember {
    /// The members of extensions in a schema.
    pub(super) fn read(conn: &mut PgConnection, schema: &str) -> QueryResult<Vec<Self>> {
        sql_query(
            "SELECT e.extname::pg_catalog.text AS extension, i.type || ' ' || i.identity AS object \
             FROM pg_catalog.pg_depend d \
             JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid \
             CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, 0) i \
             WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass::pg_catalog.oid AND d.deptype = 'e' \
             AND i.schema = pg_catalog.quote_ident($1) ORDER BY 2",
        )
        .bind::<Text, _>(schema)
        .load(conn)
    }
}

impl Builder<'_> {
    /// Sets or removes the label of a security provider.
    pub(super) fn security_label(&mut self, label: &Identity, text: Option<&str>) {
        let Some((object, provider)) = label.name.rsplit_once(" for ") else { return };
        let object = label_target(object, &self.actual.own_name);
        let text = text.map_or("NULL".to_owned(), literal);
        self.add(Phase::Comment, format!("SECURITY LABEL FOR {} ON {object} IS {text}", ident(provider)));
    }

    /// The object to drop to get rid of a label: the one that has it, or its table. The schema is not dropped.
    pub(super) fn labelled(&self, label: &Identity) -> Option<Identity> {
        let (object, _) = label.name.rsplit_once(" for ")?;
        let is_labelled = |identity: &&Identity| match object.split_once(" column ") {
            Some((kind, column)) => {
                let of = self.identified(identity);
                let on = of.and_then(|of| of.strip_prefix(&format!("{kind} ")).map(str::to_owned));
                on.is_some_and(|on| column.strip_prefix(&on).is_some_and(|rest| rest.starts_with('.')))
            }
            None => self.identified(identity).is_some_and(|of| of == object.replace(", ", ",")),
        };
        self.actual.objects.keys().find(is_labelled).cloned()
    }

    /// The statements that remove missing objects from the extensions that they are members of.
    pub(super) fn release(mut self, members: &[ExtensionMember]) -> Vec<RepairStatement> {
        for identity in self.with(&Aspect::Missing) {
            let member = members.iter().find(|member| self.identified(&identity).as_ref() == Some(&member.object));
            let (Some(member), Some(name)) = (member, self.kind_and_name(&identity)) else { continue };
            let extension = ident(&member.extension);
            let sql = format!("ALTER EXTENSION {extension} DROP {name}");
            self.in_group(None, &identity, |builder| builder.add(Phase::Schema, &sql));
            let assumption = format!("{name} was added to the extension {extension}, and is not part of it");
            self.update_statement(&sql, |statement| statement.assumption = Some(assumption));
        }
        self.take()
    }

    /// The type and identity of an object that is not part of another one, as `pg_identify_object` returns them.
    fn identified(&self, identity: &Identity) -> Option<String> {
        if identity.on.is_some() {
            return None;
        }
        let (kind, name) = match identity.kind {
            Kind::Enum | Kind::Domain | Kind::CompositeType | Kind::RangeType | Kind::Type => {
                ("type", ident(&identity.name))
            }
            // These names are already quoted.
            Kind::Function | Kind::Procedure | Kind::Aggregate | Kind::Operator => {
                (identity.kind.as_str(), identity.name.replace(", ", ","))
            }
            kind => (kind.as_str(), ident(&identity.name)),
        };
        Some(format!("{kind} {}.{name}", self.actual.own_name))
    }
}

/// An object as in `SECURITY LABEL`, from its type and identity.
fn label_target(object: &str, own_name: &str) -> String {
    match object.split_once(&format!(" {own_name}.")) {
        Some((kind, name)) => {
            let kind = if kind.ends_with(" column") { "COLUMN".to_owned() } else { kind.to_uppercase() };
            format!("{kind} {own_name}.{name}")
        }
        None => format!("SCHEMA {own_name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_named_as_in_security_label() {
        for (identified, named) in [
            ("table acme.users", "TABLE acme.users"),
            ("table column acme.users.email", "COLUMN acme.users.email"),
            ("materialized view column acme.top.name", "COLUMN acme.top.name"),
            ("function acme.add_up(integer,integer)", "FUNCTION acme.add_up(integer,integer)"),
            ("schema", "SCHEMA acme"),
        ] {
            assert_eq!(label_target(identified, "acme"), named);
        }
    }
}
