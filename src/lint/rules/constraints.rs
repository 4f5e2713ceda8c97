//! Constraints that are added and validated.

use squawk_syntax::ast::{self, AlterDomainAction, AlterTableAction, AstNode, Constraint};

use super::{Look, columns};
use crate::lint::code::name_of;
use crate::lint::rule::Rule;
use crate::lint::tree;

/// Checks an action on a live table.
pub(super) fn alter(look: &mut Look<'_>, table: &str, action: &AlterTableAction) {
    match action {
        AlterTableAction::AddConstraint(it) => {
            if let Some(constraint) = it.constraint() {
                add(look, table, &constraint, None);
            }
        }
        AlterTableAction::AddColumn(it) => {
            let Some(column) = name_of(it.column_name()) else { return };
            let constraints: Vec<Constraint> = it.constraints().collect();
            let has_default = constraints.iter().any(|it| matches!(it, Constraint::DefaultConstraint(_)));
            let read = |it: &&Constraint| has_default || !matches!(it, Constraint::ReferencesConstraint(_));
            // A new column contains only nulls, which reference nothing, so the server skips the check.
            constraints.iter().filter(read).for_each(|it| add(look, table, it, Some(&column)));
        }
        AlterTableAction::ValidateConstraint(it) => validate(look, table, it),
        _ => {}
    }
}

fn add(look: &mut Look<'_>, table: &str, constraint: &Constraint, column: Option<&str>) {
    let at = constraint.syntax();
    let object = || match name_of(tree::constraint_name(constraint)) {
        Some(name) => format!("{table}.{name}"),
        None => column.map_or_else(|| table.to_owned(), |column| format!("{table}.{column}")),
    };
    let until = look.until();
    match constraint {
        Constraint::CheckConstraint(_) if !tree::is_not_valid(at) => {
            let message =
                format!("CHECK blocks reads and writes of {table} (ACCESS EXCLUSIVE) while it reads the table{until}");
            look.find(Rule::CheckValidatedAtOnce, at, object(), message);
        }
        Constraint::ForeignKeyConstraint(it) => {
            foreign_key(look, table, constraint, name_of(it.table_name_ref()), object());
        }
        Constraint::ReferencesConstraint(it) => foreign_key(look, table, constraint, name_of(it.table()), object()),
        Constraint::NotNullConstraint(it) if column.is_none() && !tree::is_not_valid(at) => {
            if let Some(column) = name_of(it.column_name_ref()) {
                columns::set_not_null(look, table, &column, "NOT NULL", at);
            }
        }
        Constraint::PrimaryKeyConstraint(it) => match name_of(it.using_index()) {
            None => builds_index(look, table, "PRIMARY KEY", constraint, object()),
            // It makes the columns of the index NOT NULL.
            Some(index) => {
                let keys = look.history.relation(&index).map(|index| index.keys().to_vec()).unwrap_or_default();
                keys.iter().for_each(|column| columns::set_not_null(look, table, column, "PRIMARY KEY", at));
            }
        },
        Constraint::UniqueConstraint(it) if it.using_index().is_none() => {
            builds_index(look, table, "UNIQUE", constraint, object());
        }
        Constraint::ExcludeConstraint(_) => {
            let message = format!(
                "EXCLUDE blocks reads and writes of {table} (ACCESS EXCLUSIVE) while it builds the index{until}"
            );
            look.find(Rule::ExclusionConstraint, at, object(), message);
        }
        _ => {}
    }
}

fn foreign_key(look: &mut Look<'_>, table: &str, constraint: &Constraint, referenced: Option<String>, object: String) {
    if tree::is_not_valid(constraint.syntax()) {
        return;
    }
    let both = match referenced.filter(|referenced| referenced != table) {
        Some(referenced) => format!("{table} and {referenced}"),
        None => table.to_owned(),
    };
    let message = format!(
        "FOREIGN KEY blocks writes to {both} (SHARE ROW EXCLUSIVE) while it checks all rows of {table}{}",
        look.until()
    );
    look.find(Rule::ForeignKeyValidatedAtOnce, constraint.syntax(), object, message);
}

fn builds_index(look: &mut Look<'_>, table: &str, kind: &str, constraint: &Constraint, object: String) {
    let message = format!(
        "{kind} blocks reads and writes of {table} (ACCESS EXCLUSIVE) while it builds the index{}",
        look.until()
    );
    look.find(Rule::ConstraintBuildsIndex, constraint.syntax(), object, message);
}

fn validate(look: &mut Look<'_>, table: &str, validate: &ast::ValidateConstraint) {
    let Some(constraint) = name_of(validate.constraint_name_ref()) else { return };
    let known = look.history.relation(table).and_then(|known| known.constraint(&constraint));
    let Some(added) = known.and_then(|known| known.unvalidated) else { return };
    let between: Vec<usize> = (added..=look.migration).collect();
    if !look.set.is_one_transaction(&between) {
        return;
    }
    let which = if added == look.migration {
        "it is in the same transaction".to_owned()
    } else {
        let folder = look.set.at(added).folder();
        format!("a tenant that is behind by this migration and {folder} has both in one transaction")
    };
    let message =
        format!("VALIDATE CONSTRAINT reads all of {table} under the lock that NOT VALID has taken, for {which}");
    look.find(Rule::ValidatedInSameTransaction, validate.syntax(), format!("{table}.{constraint}"), message);
}

pub(super) fn alter_domain(look: &mut Look<'_>, alter: &ast::AlterDomain) {
    let Some(domain) = name_of(alter.domain_ref()) else { return };
    let at = match alter.action() {
        Some(AlterDomainAction::SetNotNull(it)) => it.syntax().clone(),
        Some(AlterDomainAction::AddConstraint(it)) => match it.constraint() {
            Some(constraint) if !tree::is_not_valid(constraint.syntax()) => constraint.syntax().clone(),
            _ => return,
        },
        _ => return,
    };
    let message = format!(
        "ALTER DOMAIN blocks writes to each table with a column of the domain {domain} (SHARE) while it reads the \
         table{}",
        look.until()
    );
    look.find(Rule::DomainValidatedAtOnce, &at, domain, message);
}
