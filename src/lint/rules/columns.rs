//! Columns that are added, changed and dropped.

use squawk_syntax::SyntaxNode;
use squawk_syntax::ast::{self, AlterColumnOption, AlterTableAction, AstNode, Constraint, Expr, GeneratedAs};

use super::{Look, volatility};
use crate::lint::code::{name, name_of};
use crate::lint::rule::Rule;
use crate::lint::tree;
use crate::lint::types::{SqlType, TypeChange};

/// Checks an action on a live table.
pub(super) fn alter(look: &mut Look<'_>, table: &str, action: &AlterTableAction) {
    match action {
        AlterTableAction::AddColumn(it) => add(look, table, it),
        AlterTableAction::AlterColumn(it) => {
            let Some(column) = name_of(it.column_name_ref()) else { return };
            match it.option() {
                Some(AlterColumnOption::SetNotNull(_)) => {
                    set_not_null(look, table, &column, "SET NOT NULL", it.syntax())
                }
                Some(AlterColumnOption::SetType(set)) => set_type(look, table, &column, &set),
                Some(AlterColumnOption::SetExpression(set)) => {
                    let message = format!(
                        "SET EXPRESSION rewrites {table} if {column} is stored, and blocks reads and writes (ACCESS \
                         EXCLUSIVE) meanwhile{}",
                        look.until()
                    );
                    look.find(Rule::TableRewritten, set.syntax(), format!("{table}.{column}"), message);
                }
                _ => {}
            }
        }
        AlterTableAction::DropColumn(it) => {
            let Some(column) = name_of(it.column_name_ref()) else { return };
            if look.history.is_live_column(table, &column) {
                let message = format!("the running application may still use {table}.{column}; its values are lost");
                look.find(Rule::DropColumn, it.syntax(), format!("{table}.{column}"), message);
            }
        }
        AlterTableAction::RenameColumn(it) => renamed(look, table, it),
        _ => {}
    }
}

pub(super) fn renamed(look: &mut Look<'_>, table: &str, rename: &ast::RenameColumn) {
    let Some(column) = name_of(rename.column_name_ref()) else { return };
    if look.history.is_live_column(table, &column) {
        let message = format!("the running application still uses the old name {table}.{column}");
        look.find(Rule::RenameColumn, rename.syntax(), format!("{table}.{column}"), message);
    }
}

fn add(look: &mut Look<'_>, table: &str, add: &ast::AddColumn) {
    let Some(column) = name_of(add.column_name()) else { return };
    let object = format!("{table}.{column}");
    let constraints: Vec<Constraint> = add.constraints().collect();
    let generated = constraints.iter().find_map(|it| match it {
        Constraint::GeneratedConstraint(it) => it.generated_as(),
        _ => None,
    });
    let default = constraints.iter().find_map(|it| match it {
        Constraint::DefaultConstraint(it) => it.expr().filter(|expr| !tree::is_null(expr)),
        _ => None,
    });
    let rewrites = |reason: &str, until: &str| {
        format!(
            "ADD COLUMN rewrites {table}, because {reason}, and blocks reads and writes (ACCESS EXCLUSIVE) \
             meanwhile{until}"
        )
    };
    let is_serial = add.ty().is_some_and(|ty| SqlType::is_serial(&ty));
    if is_serial || matches!(generated, Some(GeneratedAs::GeneratedIdentity(_))) {
        let message = rewrites("each row takes a number from the sequence", look.until());
        look.find(Rule::SerialColumn, add.syntax(), &object, message);
    } else if is_stored(generated.as_ref()) {
        let message = rewrites("the value of each row is computed and stored", look.until());
        look.find(Rule::GeneratedColumn, add.syntax(), &object, message);
    } else if let Some(function) = default.as_ref().and_then(volatility::volatile_function) {
        let reason = format!("{function}() may give each row another value, unless it is STABLE or IMMUTABLE");
        let reason = if volatility::is_surely_volatile(&function) {
            format!("{function}() gives each row another value")
        } else {
            reason
        };
        let message = rewrites(&reason, look.until());
        look.find(Rule::VolatileDefault, add.syntax(), &object, message);
    }
    let domain = add.ty().map(|ty| name(ty.syntax())).filter(|ty| look.history.is_constrained_domain(ty));
    if let Some(domain) = domain {
        let message = rewrites(&format!("the domain {domain} has constraints"), look.until());
        look.find(Rule::TableRewritten, add.syntax(), &object, message);
    }
    let is_filled = is_serial || generated.is_some() || default.is_some();
    let refuses_null =
        |it: &Constraint| matches!(it, Constraint::NotNullConstraint(_) | Constraint::PrimaryKeyConstraint(_));
    if !is_filled && let Some(refusing) = constraints.iter().find(|it| refuses_null(it)) {
        let message = format!("existing rows of {table} have no value for {column}, so that ADD COLUMN fails");
        look.find(Rule::AddColumnNotNull, refusing.syntax(), &object, message);
    }
}

fn is_stored(generated: Option<&GeneratedAs>) -> bool {
    let Some(GeneratedAs::GeneratedStored(it)) = generated else { return false };
    matches!(it.generated_kind(), Some(ast::GeneratedKind::Stored(_)))
}

/// Reports a command that makes a column `NOT NULL`, unless the column is known to contain no nulls.
pub(super) fn set_not_null(look: &mut Look<'_>, table: &str, column: &str, command: &str, at: &SyntaxNode) {
    if look.history.relation(table).is_some_and(|known| known.is_proven_not_null(column)) {
        return;
    }
    let message = format!(
        "{command} blocks reads and writes of {table} (ACCESS EXCLUSIVE) while it reads the table for nulls{}",
        look.until()
    );
    look.find(Rule::SetNotNull, at, format!("{table}.{column}"), message);
}

fn set_type(look: &mut Look<'_>, table: &str, column: &str, set: &ast::SetType) {
    let Some(ty) = set.ty() else { return };
    let new = SqlType::of(&ty);
    let old = look.history.relation(table).and_then(|known| known.column_type(column));
    let computed = set.using_expr().and_then(|using| using.expr()).filter(|expr| !is_cast_of(expr, column, &new));
    let written = format!("rewrites {table} and its indexes");
    let effect = match (computed, old.map(|old| old.change_to(&new))) {
        (Some(_), _) | (None, Some(TypeChange::Rewrite)) => written,
        (None, Some(TypeChange::InPlace)) => match look.history.rebuilt_with(table, column) {
            Some(other) => format!("reads {table} to rebuild {other}"),
            None if set.collate().is_some() => format!("rebuilds the indexes of {column}"),
            None => return,
        },
        (None, Some(TypeChange::RewriteUnlessUtc)) => format!("{written}, unless the session's time zone is UTC"),
        (None, None) => {
            format!("{written}, unless the old type is stored in the same way (a shorter varchar, or varchar for text)")
        }
    };
    let message = format!(
        "ALTER COLUMN … TYPE {effect}, and blocks reads and writes of {table} (ACCESS EXCLUSIVE) meanwhile{}",
        look.until()
    );
    look.find(Rule::ColumnType, set.syntax(), format!("{table}.{column}"), message);
}

/// Whether an expression is the column itself or a cast of it to the type.
fn is_cast_of(expr: &Expr, column: &str, ty: &SqlType) -> bool {
    match expr {
        Expr::CastExpr(it) => {
            let to_it = it.ty().is_some_and(|to| SqlType::of(&to) == *ty);
            to_it && it.expr().is_some_and(|inner| is_cast_of(&inner, column, ty))
        }
        Expr::ParenExpr(it) => it.expr().is_some_and(|inner| is_cast_of(&inner, column, ty)),
        other => tree::column(other).is_some_and(|it| it == column),
    }
}
