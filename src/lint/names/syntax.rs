//! The names in a statement's tree: those that a node defines or uses.

use squawk_syntax::ast::{self, AstNode, Constraint, Stmt};
use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::NameKind;
use crate::lint::code::{name, parts};

/// The name that a node uses for an object that the statement changes or depends on. Names that are only read, and
/// qualified names, do not count.
pub(in crate::lint) fn used(node: &SyntaxNode) -> Option<(NameKind, String)> {
    let parent = node.parent()?;
    let is_in_table_command = || parent.parent().is_some_and(|it| it.kind() == SyntaxKind::TABLE);
    let copies_to = || parent.parent().is_some_and(|it| it.children().any(|it| it.kind() == SyntaxKind::COPY_TO));
    match (node.kind(), parent.kind()) {
        (SyntaxKind::RELATION_NAME_REF, SyntaxKind::RELATION_FROM_ITEM | SyntaxKind::LIKE_CLAUSE) => None,
        (SyntaxKind::RELATION_NAME_REF, SyntaxKind::RELATION_NAME) if is_in_table_command() => None,
        (SyntaxKind::TABLE_NAME_REF, SyntaxKind::COPY_TABLE) if copies_to() => None,
        // A partition that SPLIT PARTITION creates.
        (SyntaxKind::TABLE_NAME_REF, SyntaxKind::PARTITION) => None,
        (
            SyntaxKind::RELATION_NAME_REF
            | SyntaxKind::TABLE_NAME_REF
            | SyntaxKind::VIEW_REF
            | SyntaxKind::INDEX_REF
            | SyntaxKind::SEQUENCE_REF,
            _,
        ) => Some((NameKind::Relation, unqualified(node)?)),
        (SyntaxKind::QUALIFIED_COLUMN_NAME_REF, _) => {
            let mut parts = parts(node);
            (parts.len() == 2).then(|| (NameKind::Relation, parts.swap_remove(0)))
        }
        (SyntaxKind::TYPE_NAME_REF | SyntaxKind::DOMAIN_REF, _) => Some((NameKind::Type, unqualified(node)?)),
        (SyntaxKind::FUNCTION_NAME_REF, SyntaxKind::FUNCTION_SIG)
        | (SyntaxKind::PROCEDURE_NAME_REF, SyntaxKind::PROCEDURE_SIG)
        | (SyntaxKind::ROUTINE_NAME_REF, _) => Some((NameKind::Routine, unqualified(node)?)),
        (SyntaxKind::AGGREGATE, _) => Some((NameKind::Routine, unqualified(&node.first_child()?)?)),
        _ => None,
    }
}

/// The name that a node gives to an object.
pub(super) fn defined(node: &SyntaxNode) -> Option<(NameKind, String)> {
    let kind = match node.kind() {
        SyntaxKind::TABLE_NAME | SyntaxKind::VIEW | SyntaxKind::INDEX | SyntaxKind::SEQUENCE => NameKind::Relation,
        SyntaxKind::TABLE_NAME_REF if node.parent()?.kind() == SyntaxKind::PARTITION => NameKind::Relation,
        SyntaxKind::CONSTRAINT_NAME if names_index(node) => NameKind::Relation,
        SyntaxKind::TYPE_NAME | SyntaxKind::DOMAIN => NameKind::Type,
        SyntaxKind::FUNCTION_NAME
        | SyntaxKind::PROCEDURE_NAME
        | SyntaxKind::ROUTINE_NAME
        | SyntaxKind::AGGREGATE_NAME => NameKind::Routine,
        _ => return None,
    };
    Some((kind, unqualified(node)?))
}

/// Whether a constraint also names its index.
fn names_index(constraint_name: &SyntaxNode) -> bool {
    let Some(holder) = constraint_name.parent() else { return false };
    let constraint = || holder.parent().and_then(Constraint::cast);
    holder.kind() == SyntaxKind::RENAME_CONSTRAINT
        || matches!(
            constraint(),
            Some(
                Constraint::UniqueConstraint(_)
                    | Constraint::PrimaryKeyConstraint(_)
                    | Constraint::ExcludeConstraint(_)
            )
        )
}

/// The routine that a node creates.
pub(super) fn routine(node: &SyntaxNode) -> Option<String> {
    match node.kind() {
        SyntaxKind::FUNCTION_NAME | SyntaxKind::PROCEDURE_NAME => unqualified(node),
        SyntaxKind::CREATE_FUNCTION | SyntaxKind::CREATE_PROCEDURE => node.children().find_map(|it| routine(&it)),
        _ => None,
    }
}

/// A name without a schema, or with the schema of temporary tables.
pub(super) fn unqualified(node: &SyntaxNode) -> Option<String> {
    let mut parts = parts(node);
    match parts.len() {
        0 => Some(name(node)).filter(|name| !name.is_empty()),
        1 => parts.pop(),
        2 if parts[0] == "pg_temp" && matches!(node.kind(), SyntaxKind::TABLE_NAME | SyntaxKind::VIEW) => parts.pop(),
        _ => None,
    }
}

pub(super) fn is_temporary(node: &SyntaxNode) -> bool {
    let is_marked = node.parent().is_some_and(|it| it.children().any(|it| it.kind() == SyntaxKind::TEMP));
    is_marked || parts(node).len() == 2
}

/// Whether a call is the purpose of a `SELECT` or `PERFORM`, and not part of a query in another statement.
pub(super) fn is_selected(call: &SyntaxNode) -> bool {
    let statement = call.ancestors().skip(1).find(|it| Stmt::can_cast(it.kind()));
    let Some(statement) = statement.filter(|it| it.kind() == SyntaxKind::SELECT) else { return false };
    let holder = statement.parent().map(|it| it.kind());
    matches!(holder, Some(SyntaxKind::SOURCE_FILE | SyntaxKind::PLPGSQL_PERFORM_STMT))
}

/// Whether `EXECUTE` runs SQL that may create an object whose name is built at run time.
pub(super) fn executes_unknown(execute: &SyntaxNode) -> bool {
    const CHANGES: [&str; 13] = [
        "ALTER", "ANALYZE", "COMMENT", "DELETE", "DROP", "GRANT", "INSERT", "LOCK", "REFRESH", "REINDEX", "REVOKE",
        "TRUNCATE", "UPDATE",
    ];
    const CREATES: [&str; 4] = ["CREATE", "RENAME", "CONSTRAINT", "SELECT"];
    let literals = execute.descendants().filter_map(ast::Literal::cast).filter_map(|it| it.string_value());
    let texts: Vec<String> = literals.map(|text| text.trim_start().to_ascii_uppercase()).collect();
    let Some(first) = texts.first() else { return true };
    let changes = CHANGES.iter().any(|word| first.starts_with(word));
    // A single constant is parsed like other code.
    let is_constant = execute.descendants().find_map(ast::PlpgsqlExpr::cast).is_some_and(|query| {
        query
            .syntax()
            .descendants()
            .find_map(ast::Literal::cast)
            .is_some_and(|it| it.syntax().text() == query.syntax().text())
    });
    !is_constant && (!changes || texts.iter().any(|text| CREATES.iter().any(|word| text.contains(word))))
}
