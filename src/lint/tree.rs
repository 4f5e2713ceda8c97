//! Questions about parts of a statement.

use squawk_syntax::ast::{self, AstNode, BinOp, Constraint, Expr};
use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::code::name;

/// The name given to a constraint.
pub(super) fn constraint_name(constraint: &Constraint) -> Option<ast::ConstraintName> {
    let clause = constraint.syntax().children().find_map(ast::ConstraintNameClause::cast)?;
    clause.constraint_name()
}

/// Whether a constraint is not checked for existing rows: `NOT VALID`, or `NOT ENFORCED`.
pub(super) fn is_not_valid(constraint: &SyntaxNode) -> bool {
    constraint.children().any(|option| matches!(option.kind(), SyntaxKind::NOT_VALID | SyntaxKind::NOT_ENFORCED))
}

/// The columns that a condition proves to be not null: `a IS NOT NULL`, alone or joined by `AND`.
pub(super) fn proven_not_null(condition: Expr) -> Vec<String> {
    let mut columns = Vec::new();
    // A list instead of recursion: conditions may be nested deeper than the stack.
    let mut rest = vec![condition];
    while let Some(condition) = rest.pop() {
        match condition {
            Expr::ParenExpr(it) => rest.extend(it.expr()),
            Expr::PostfixExpr(it) if matches!(it.op(), Some(ast::PostfixOp::NotNull(_))) => {
                columns.extend(it.expr().as_ref().and_then(column));
            }
            Expr::BinExpr(it) => match it.op() {
                Some(BinOp::And(_)) => rest.extend(it.lhs().into_iter().chain(it.rhs())),
                Some(BinOp::IsNot(_)) if it.rhs().is_some_and(|rhs| is_null(&rhs)) => {
                    columns.extend(it.lhs().as_ref().and_then(column));
                }
                _ => {}
            },
            _ => {}
        }
    }
    columns
}

/// Whether a statement or an action contains `CASCADE`.
pub(super) fn cascades(node: &SyntaxNode) -> bool {
    node.children().any(|child| child.kind() == SyntaxKind::CASCADE)
}

/// The column, if an expression is only a column.
pub(super) fn column(expr: &Expr) -> Option<String> {
    match expr {
        Expr::NameRef(it) => Some(name(it.syntax())),
        Expr::ParenExpr(it) => column(&it.expr()?),
        _ => None,
    }
}

/// Whether an expression is the constant `NULL`.
pub(super) fn is_null(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(it) if matches!(it.kind(), Some(ast::LitKind::Null(_))))
}

/// The columns from which the server derives the name of an unnamed constraint: those of a foreign key, and the one of
/// a check with a single column.
pub(super) fn naming_columns(constraint: &Constraint) -> Vec<String> {
    match constraint {
        Constraint::ForeignKeyConstraint(it) => {
            let columns = it.from_columns();
            let columns = columns.iter().flat_map(|list| list.syntax().descendants());
            columns.filter_map(ast::ColumnNameRef::cast).map(|column| name(column.syntax())).collect()
        }
        Constraint::CheckConstraint(it) => {
            let columns = columns_in(it.syntax());
            if columns.len() == 1 { columns } else { Vec::new() }
        }
        _ => Vec::new(),
    }
}

/// The columns in expressions, each once: all names except those of functions.
pub(super) fn columns_in(node: &SyntaxNode) -> Vec<String> {
    let of_function = |name: &ast::NameRef| name.syntax().parent().is_some_and(|it| it.kind() == SyntaxKind::CALL_EXPR);
    let names = node.descendants().filter_map(ast::NameRef::cast).filter(|name| !of_function(name));
    let mut columns: Vec<String> = names.map(|column| name(column.syntax())).collect();
    columns.sort();
    columns.dedup();
    columns
}

/// All columns of an index that has an expression or a condition.
pub(super) fn computed_from(index: &ast::CreateIndex) -> Vec<String> {
    if index.where_clause().is_none() && items(index).all(|item| column_of(&item).is_some()) {
        Vec::new()
    } else {
        columns_in(index.syntax())
    }
}

/// The key columns of an index, without its expressions.
pub(super) fn key_columns(index: &ast::CreateIndex) -> Vec<String> {
    items(index).filter_map(|item| column_of(&item)).collect()
}

/// The name that the server chooses for an unnamed index, unless it exists already.
pub(super) fn chosen_index_name(table: &str, index: &ast::CreateIndex) -> String {
    let called = |item: &SyntaxNode| {
        let call = item.children().find_map(ast::CallExpr::cast)?;
        Some(name(call.expr()?.syntax()))
    };
    let part = |item: SyntaxNode| column_of(&item).or_else(|| called(&item)).unwrap_or_else(|| "expr".to_owned());
    items(index).map(part).fold(table.to_owned(), |all, part| format!("{all}_{part}")) + "_idx"
}

/// The column of an index key, unless it is an expression.
fn column_of(item: &SyntaxNode) -> Option<String> {
    let key = item.first_child()?;
    let key = if key.kind() == SyntaxKind::COLLATE { key.first_child()? } else { key };
    (key.kind() == SyntaxKind::NAME_REF).then(|| name(&key))
}

fn items(index: &ast::CreateIndex) -> impl Iterator<Item = SyntaxNode> {
    let list = index.partition_item_list();
    list.into_iter().flat_map(|list| list.syntax().children())
}
