//! Changes of rows.

use squawk_syntax::ast::{self, AstNode};

use super::Look;
use crate::lint::code::name_of;
use crate::lint::rule::Rule;

pub(super) fn update(look: &mut Look<'_>, update: &ast::Update) {
    let Some(table) = name_of(update.relation_name()) else { return };
    if update.where_clause_or_current_of().is_none() && look.is_live(&table) {
        let message = format!(
            "UPDATE without WHERE locks and writes every row of {table}: who changes one waits while all are written{}",
            look.until()
        );
        look.find(Rule::UpdateWithoutWhere, update.syntax(), table, message);
    }
}

pub(super) fn delete(look: &mut Look<'_>, delete: &ast::Delete) {
    let Some(table) = name_of(delete.relation_name()) else { return };
    if delete.where_clause_or_current_of().is_none() && look.is_live(&table) {
        let message = format!(
            "DELETE without WHERE locks every row of {table}: who changes one waits while all are marked{}",
            look.until()
        );
        look.find(Rule::DeleteWithoutWhere, delete.syntax(), table, message);
    }
}
