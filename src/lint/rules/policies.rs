//! Row-level security of tables.

use squawk_syntax::SyntaxNode;
use squawk_syntax::ast::{self, AlterTableAction, AstNode};

use super::Look;
use crate::lint::code::name_of;
use crate::lint::rule::Rule;

/// Checks an action on a live table.
pub(super) fn alter(look: &mut Look<'_>, table: &str, action: &AlterTableAction) {
    match action {
        AlterTableAction::DisableRls(it) => removed(look, table, "without row-level security", it.syntax()),
        AlterTableAction::NoForceRls(it) => removed(look, table, "for its owner", it.syntax()),
        _ => {}
    }
}

pub(super) fn drop(look: &mut Look<'_>, drop: &ast::DropPolicy) {
    let table = name_of(drop.on_table().and_then(|on| on.table_name_ref()));
    if let Some(table) = table.filter(|table| look.is_live(table)) {
        removed(look, &table, "without the policy", drop.syntax());
    }
}

fn removed(look: &mut Look<'_>, table: &str, how: &str, at: &SyntaxNode) {
    let message =
        format!("the rows of {table} are no longer restricted {how}: tenants that share it may see others' rows");
    look.find(Rule::RowSecurityRemoved, at, table, message);
}
