//! Indexes that are built, rebuilt and dropped.

use squawk_syntax::ast::{self, AstNode};

use super::Look;
use crate::lint::code::{name, name_of};
use crate::lint::rule::Rule;

pub(super) fn create(look: &mut Look<'_>, create: &ast::CreateIndex) {
    let Some(relation) = create.table_relation_name() else { return };
    let table = name(relation.syntax());
    let of_parent_alone =
        relation.only_token().is_some() && look.history.relation(&table).is_some_and(|known| known.is_partitioned);
    if create.concurrently_token().is_some() || of_parent_alone || !look.is_live(&table) {
        return;
    }
    let message = format!("CREATE INDEX blocks writes to {table} (SHARE) while it reads the table{}", look.until());
    look.find(Rule::IndexNotConcurrently, create.syntax(), table, message);
}

pub(super) fn drop(look: &mut Look<'_>, drop: &ast::DropIndex) {
    if drop.concurrently_token().is_some() {
        return;
    }
    for index in drop.index_refs() {
        let index = name(index.syntax());
        if look.is_live(&index) {
            let message = format!(
                "DROP INDEX takes ACCESS EXCLUSIVE on the table of {index}: it waits for transactions that use the table, and \
                 later ones wait behind it{}",
                look.until()
            );
            look.find(Rule::DropIndexNotConcurrently, drop.syntax(), index, message);
        }
    }
}

pub(super) fn reindex(look: &mut Look<'_>, reindex: &ast::Reindex) {
    let target = match reindex.reindex_target() {
        Some(ast::ReindexTarget::ReindexTargetTable(it)) => name(it.syntax()),
        Some(ast::ReindexTarget::ReindexTargetIndex(it)) => name(it.syntax()),
        // A whole schema or database is outside the tenant.
        _ => return,
    };
    if !reindex.is_concurrently() && look.is_live(&target) {
        let message = format!(
            "REINDEX of {target} blocks writes to the table (SHARE) and most reads (ACCESS EXCLUSIVE on each index) \
             while it reads the table{}",
            look.until()
        );
        look.find(Rule::ReindexNotConcurrently, reindex.syntax(), target, message);
    }
}

pub(super) fn alter(look: &mut Look<'_>, alter: &ast::AlterIndex) {
    let (Some(index), Some(ast::AlterIndexAction::SetTablespace(set))) = (name_of(alter.index_ref()), alter.action())
    else {
        return;
    };
    if look.is_live(&index) {
        let message = format!(
            "SET TABLESPACE blocks the use of the index {index} (ACCESS EXCLUSIVE) while it copies the index{}",
            look.until()
        );
        look.find(Rule::TableRewritten, set.syntax(), index, message);
    }
}
