//! What all kinds of objects share: creation, change, removal, names in statements, owners and comments.

use super::Phase;
use super::builder::Builder;
use super::text::{ident, list, literal, number, options, parts};
use crate::schema::drift::difference::Difference;
use crate::schema::structure::{Identity, Object, ObjectKind as Kind, Structure};

impl Builder<'_> {
    /// Creates an object of the reference, with its parts.
    pub(super) fn create(&mut self, identity: &Identity) {
        let Some(object) = self.expected_object(identity) else { return };
        if !self.begin_creation(identity) {
            return;
        }
        self.in_group(None, identity, |builder| match identity.kind {
            Kind::Table | Kind::ForeignTable => builder.create_table(&object),
            Kind::Column => builder.add_column(&object),
            Kind::View | Kind::MaterializedView => builder.create_view(&object),
            Kind::Constraint => builder.create_constraint(&object),
            Kind::Index => builder.create_index(&object),
            Kind::IndexColumn => builder.alter_index_column(identity),
            Kind::Sequence => builder.create_sequence(&object),
            Kind::Function | Kind::Procedure | Kind::Aggregate => builder.create_routine(&object),
            Kind::Enum | Kind::Domain | Kind::CompositeType | Kind::RangeType | Kind::Type => {
                builder.create_type(&object);
            }
            Kind::Attribute => builder.add_attribute(&object),
            Kind::DomainConstraint => builder.add_domain_constraint(&object),
            Kind::Trigger => builder.create_trigger(&object),
            Kind::Rule => builder.create_rule(&object),
            Kind::Policy => builder.create_policy(&object),
            Kind::DefaultPrivileges => builder.alter_default_privileges(identity),
            _ => builder.create_other(&object),
        });
    }

    /// Changes a fact of an object.
    pub(super) fn alter(&mut self, identity: &Identity, fact: &str, difference: &Difference) {
        let Some(object) = self.expected_object(identity) else { return };
        match (identity.kind, fact) {
            (Kind::DefaultPrivileges, _) => self.alter_default_privileges(identity),
            (_, "comment") => self.comment(&object),
            (_, "owner") => self.alter_owner(&object, difference.expected.as_deref()),
            (_, "grants") => self.grants(&object, self.actual_object(identity)),
            (Kind::Table | Kind::ForeignTable, _) => self.alter_table(&object, fact),
            (Kind::Column, _) => self.alter_column(&object, fact),
            (Kind::View | Kind::MaterializedView, _) => self.alter_view(&object, fact),
            (Kind::Constraint, _) => self.alter_constraint(&object, fact),
            (Kind::Index, _) => self.alter_index(&object, fact),
            (Kind::IndexColumn, _) => self.alter_index_column(identity),
            (Kind::Sequence, _) => self.alter_sequence(&object, fact),
            (Kind::Function | Kind::Procedure | Kind::Aggregate, _) => self.replace_routine(&object),
            (Kind::Enum, "labels") => self.alter_enum(&object),
            (Kind::Domain, _) => self.alter_domain(&object, fact),
            (Kind::DomainConstraint, _) => self.alter_domain_constraint(&object, fact),
            (Kind::Attribute, "type" | "collation") => self.alter_attribute(&object),
            (Kind::Trigger | Kind::Rule, "enabled") => self.set_firing(&object),
            (Kind::Rule, "definition") => self.create_rule(&object),
            _ => self.alter_other(&object, fact),
        }
    }

    /// Drops an unexpected object, unless that loses data.
    pub(super) fn drop_extra(&mut self, identity: &Identity) {
        let Some(object) = self.actual_object(identity) else { return };
        let drop = self.kind_and_name(identity).map(|name| format!("DROP {name}"));
        match (identity.kind, drop) {
            (Kind::Table, Some(_)) if self.allow_data_loss && self.stays_partitioned(identity) => {
                if let Some(parent) = self.parent_of_partition(&identity.name) {
                    self.drop_partition(identity, &parent);
                }
            }
            (Kind::Table, Some(drop)) => {
                let loss = format!("the rows of {}", ident(&identity.name));
                self.add_lossy(Phase::DropLate, drop, "its rows would be lost", loss);
            }
            (Kind::MaterializedView, Some(drop)) => {
                let loss = format!("the stored rows of {}", ident(&identity.name));
                self.add_lossy(Phase::DropView, drop, "its stored rows would be lost", loss);
            }
            (Kind::Extension, Some(drop)) => {
                let loss = format!("the objects and data of extension {}", ident(&identity.name));
                self.add_lossy(Phase::DropLate, drop, "the objects and data of the extension would be lost", loss);
            }
            (Kind::Column, _) => self.drop_column(object),
            (Kind::Sequence, Some(_)) if object.is("identity") => self.drop_identity_of(object),
            (Kind::Sequence, Some(drop)) => {
                let loss = format!("the current value of the sequence {}", ident(&identity.name));
                self.add_lossy(Phase::DropLate, drop, "its current value would be lost", loss);
            }
            (Kind::Attribute, _) => {
                let (on, name) = (identity.on.as_deref().unwrap_or_default(), ident(&identity.name));
                let sql = format!("ALTER TYPE {} DROP ATTRIBUTE {name}", self.qualified(on));
                let columns = self.columns_with(on).join(", ");
                let loss = if columns.is_empty() {
                    format!("the values of {}.{name} in every column of this type", ident(on))
                } else {
                    format!("the values of {}.{name} in {columns}", ident(on))
                };
                self.add_lossy(Phase::Type, &sql, "its data would be lost in every column of the type", &loss);
                // A typed table has a column for each attribute.
                if self.allow_data_loss {
                    self.add_alternatives(
                        &sql,
                        vec![(format!("{sql} CASCADE"), format!("{loss}, also in typed tables"))],
                    );
                }
            }
            (Kind::IndexColumn, _) => self.alter_index_column(identity),
            (Kind::DefaultPrivileges, _) => self.alter_default_privileges(identity),
            (Kind::Index, _) if object.is("constraint") => {
                self.drop_actual(&Identity { kind: Kind::Constraint, ..identity.clone() });
            }
            (Kind::Constraint | Kind::Trigger, _) if is_inherited(object) => {}
            (
                Kind::View
                | Kind::Constraint
                | Kind::Index
                | Kind::Statistics
                | Kind::Trigger
                | Kind::Rule
                | Kind::Policy
                | Kind::DomainConstraint
                | Kind::Publication,
                _,
            ) => self.drop_actual(identity),
            (Kind::SecurityLabel, _) => self.security_label(identity, None),
            (Kind::Type, _) => self.drop_type(Phase::DropLate, object),
            (Kind::Function, Some(drop)) => match self.base_type_of(identity).filter(|base| self.is_extra(base)) {
                Some(base) => self.credit(&base),
                None => self.add(Phase::DropLate, drop),
            },
            (_, Some(drop)) => self.add(Phase::DropLate, drop),
            (_, None) => {}
        }
    }

    /// Whether a table is a partition of a table that is partitioned in the reference, too.
    fn stays_partitioned(&self, table: &Identity) -> bool {
        let parent = self.parent_of_partition(&table.name).map(|name| Identity { name, ..table.clone() });
        let expected = parent.and_then(|parent| self.expected.objects.get(&parent));
        expected.is_some_and(|parent| parent.text("partition_key").is_some())
    }

    /// Drops an object of the tenant before anything is created.
    pub(super) fn drop_actual(&mut self, identity: &Identity) {
        let Some(object) = self.actual_object(identity) else { return };
        let on = identity.on.as_deref().map(|on| self.qualified(on)).unwrap_or_default();
        let name = ident(&identity.name);
        let drop = self.kind_and_name(identity).map(|name| format!("DROP {name}")).unwrap_or_default();
        match identity.kind {
            Kind::Trigger | Kind::Rule | Kind::Policy => self.add(Phase::DropTrigger, drop),
            Kind::View | Kind::MaterializedView => self.add(Phase::DropView, drop),
            Kind::Constraint => {
                let phase = match object.text("type") {
                    Some("f") => Phase::DropForeignKey,
                    _ => Phase::DropConstraint,
                };
                self.add(phase, format!("ALTER {} {on} DROP CONSTRAINT {name}", self.table_keyword(identity)));
            }
            Kind::DomainConstraint => {
                self.add(Phase::DropConstraint, format!("ALTER DOMAIN {on} DROP CONSTRAINT {name}"));
            }
            Kind::Publication => {
                let what = match &identity.on {
                    Some(_) => format!("TABLE {on}"),
                    None => format!("TABLES IN SCHEMA {}", self.actual.own_name),
                };
                self.add(Phase::DropIndex, format!("ALTER PUBLICATION {name} DROP {what}"));
            }
            Kind::Index | Kind::Statistics => self.add(Phase::DropIndex, drop),
            Kind::Type => self.drop_type(Phase::DropRoutine, object),
            _ => self.add(Phase::DropRoutine, drop),
        }
    }

    /// The kind and name of an object, as in `COMMENT ON`, `ALTER` and `DROP`.
    pub(super) fn kind_and_name(&self, identity: &Identity) -> Option<String> {
        let own = &self.actual.own_name;
        let (qualified, name) = (self.qualified(&identity.name), ident(&identity.name));
        let on = identity.on.as_deref().map(|on| self.qualified(on)).unwrap_or_default();
        Some(match identity.kind {
            Kind::Schema => format!("SCHEMA {own}"),
            Kind::Extension => format!("EXTENSION {name}"),
            Kind::Enum | Kind::CompositeType | Kind::RangeType | Kind::Type => format!("TYPE {qualified}"),
            Kind::Constraint | Kind::Trigger | Kind::Rule | Kind::Policy => {
                format!("{} {name} ON {on}", identity.kind.as_str().to_uppercase())
            }
            Kind::DomainConstraint => format!("CONSTRAINT {name} ON DOMAIN {on}"),
            Kind::Column | Kind::Attribute => format!("COLUMN {on}.{name}"),
            Kind::Cast => format!("CAST {}", identity.name),
            // These names are already quoted.
            Kind::Function
            | Kind::Procedure
            | Kind::Aggregate
            | Kind::Operator
            | Kind::OperatorClass
            | Kind::OperatorFamily => format!("{} {own}.{}", identity.kind.as_str().to_uppercase(), identity.name),
            Kind::DefaultPrivileges | Kind::IndexColumn | Kind::Publication | Kind::SecurityLabel => return None,
            _ => format!("{} {qualified}", identity.kind.as_str().to_uppercase()),
        })
    }

    /// The keyword after `ALTER` for a table or view, or for the one that an object belongs to.
    pub(super) fn table_keyword(&self, identity: &Identity) -> &'static str {
        let name = identity.on.as_ref().unwrap_or(&identity.name);
        let is = |kind| {
            let holder = Identity { kind, on: None, name: name.clone() };
            self.expected.objects.contains_key(&holder) || self.actual.objects.contains_key(&holder)
        };
        match () {
            () if is(Kind::ForeignTable) => "FOREIGN TABLE",
            () if is(Kind::View) => "VIEW",
            () if is(Kind::MaterializedView) => "MATERIALIZED VIEW",
            () => "TABLE",
        }
    }

    /// Sets or removes the comment of an object.
    pub(super) fn comment(&mut self, object: &Object) {
        let Some(name) = self.kind_and_name(&object.identity) else { return };
        let comment = object.text("comment").map_or("NULL".to_owned(), literal);
        self.add(Phase::Comment, format!("COMMENT ON {name} IS {comment}"));
    }

    /// Sets the owner of an object: its own, or that of the schema.
    pub(super) fn alter_owner(&mut self, object: &Object, owner: Option<&str>) {
        let owner = owner.or(object.text("owner")).unwrap_or(&self.owner).to_owned();
        let Some(name) = self.kind_and_name(&object.identity) else { return };
        if owner.is_empty() {
            return;
        }
        let phase = if object.identity.kind == Kind::Schema { Phase::Schema } else { Phase::Owner };
        self.add(phase, format!("ALTER {name} OWNER TO {}", ident(&owner)));
    }

    /// Sets the owner, grants and comment of a new object.
    pub(super) fn add_owner_grants_comment(&mut self, object: &Object) {
        self.alter_owner(object, None);
        if object.facts.contains_key("grants") {
            self.grants(object, None);
        }
        if object.facts.contains_key("comment") {
            self.comment(object);
        }
    }

    /// Creates the parts of a table, view or type that are of one kind.
    pub(super) fn create_children(&mut self, holder: &str, kind: Kind) {
        let mut children: Vec<Object> =
            self.expected.children(holder).filter(|object| object.identity.kind == kind).cloned().collect();
        children.sort_by_key(|child| number(child, "position"));
        for child in children.iter().filter(|child| !is_inherited(child)) {
            self.create(&child.identity);
        }
    }

    /// The `WITH` clause of a table, index or view; empty if no option is set.
    pub(super) fn with_options(&self, object: &Object) -> String {
        let mut all = list(object, "options");
        all.extend(list(object, "security_options"));
        let mut all = vec![options(&all, ""), options(&list(object, "toast_options"), "toast.")];
        all.retain(|part| !part.is_empty());
        if all.is_empty() { String::new() } else { format!(" WITH ({})", all.join(", ")) }
    }
}

/// Whether the object is inherited from the table's parent, and not defined by the table itself.
pub(super) fn is_inherited(object: &Object) -> bool {
    match object.identity.kind {
        Kind::Trigger => object.is("inherited"),
        _ => number(object, "inherited").is_some_and(|many| many > 0) && !object.is("local"),
    }
}

/// The table and column that own a sequence, if they are in the tenant's schema.
pub(super) fn owning(sequence: &Object) -> Option<(String, String)> {
    match &parts(sequence.text("owned_by")?)[..] {
        [table, column] => Some((table.clone(), column.clone())),
        _ => None,
    }
}

/// The columns of a table, in order.
pub(super) fn columns_in<'a>(structure: &'a Structure, table: &'a str) -> Vec<&'a Object> {
    let mut columns: Vec<&Object> =
        structure.children(table).filter(|object| object.identity.kind == Kind::Column).collect();
    columns.sort_by_key(|column| number(column, "position"));
    columns
}
