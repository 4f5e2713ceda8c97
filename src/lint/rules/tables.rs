//! Tables and views.

use squawk_syntax::ast::{self, AlterTableAction, AstNode, LockMode, Stmt};
use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::{Look, columns};
use crate::lint::code::{name, name_of};
use crate::lint::rule::Rule;
use crate::lint::tree;

/// Checks an action on a live table.
pub(super) fn alter(look: &mut Look<'_>, table: &str, action: &AlterTableAction) {
    match action {
        AlterTableAction::SetLogged(it) => rewritten(look, table, "SET LOGGED", it.syntax()),
        AlterTableAction::SetUnlogged(it) => rewritten(look, table, "SET UNLOGGED", it.syntax()),
        AlterTableAction::SetTablespace(it) => rewritten(look, table, "SET TABLESPACE", it.syntax()),
        AlterTableAction::SetAccessMethod(it) => rewritten(look, table, "SET ACCESS METHOD", it.syntax()),
        AlterTableAction::MergePartitions(it) => rewritten(look, table, "MERGE PARTITIONS", it.syntax()),
        AlterTableAction::SplitPartition(it) => rewritten(look, table, "SPLIT PARTITION", it.syntax()),
        AlterTableAction::TableRenameTo(it) => renamed(look, table, it.syntax()),
        AlterTableAction::AttachPartition(it) => attach(look, it),
        AlterTableAction::DetachPartition(it) if it.detach_partition_option().is_none() => {
            let message = format!(
                "DETACH PARTITION takes ACCESS EXCLUSIVE on {table}: it waits for transactions that use any partition, and \
                 later ones wait behind it{}",
                look.until()
            );
            look.find(Rule::DetachNotConcurrently, it.syntax(), table, message);
        }
        _ => {}
    }
}

pub(super) fn alter_view(look: &mut Look<'_>, alter: &ast::AlterView) {
    let Some(view) = name_of(alter.view_ref()).filter(|view| look.is_live(view)) else { return };
    match alter.action() {
        Some(ast::AlterViewAction::ViewRenameTo(it)) => renamed(look, &view, it.syntax()),
        Some(ast::AlterViewAction::RenameColumn(it)) => columns::renamed(look, &view, &it),
        _ => {}
    }
}

pub(super) fn renamed(look: &mut Look<'_>, relation: &str, at: &SyntaxNode) {
    let message = format!("the running application still uses the old name {relation}");
    look.find(Rule::RenameTable, at, relation, message);
}

fn attach(look: &mut Look<'_>, attach: &ast::AttachPartition) {
    let Some(partition) = name_of(attach.table_name_ref()) else { return };
    let has_check = look.history.relation(&partition).is_some_and(|known| known.has_check());
    if look.is_live(&partition) && !has_check {
        let message = format!(
            "ATTACH PARTITION blocks reads and writes of {partition} (ACCESS EXCLUSIVE) while it reads the table{}",
            look.until()
        );
        look.find(Rule::AttachReadsPartition, attach.syntax(), partition, message);
    }
}

pub(super) fn create(look: &mut Look<'_>, create: &ast::CreateTable) {
    let parent = create.partition_of().and_then(|of| name_of(of.table_name_ref()));
    if let Some(parent) = parent.filter(|parent| look.is_live(parent)) {
        let message = format!(
            "PARTITION OF takes ACCESS EXCLUSIVE on {parent}: it waits for transactions that use any partition, and \
             later ones wait behind it{}",
            look.until()
        );
        look.find(Rule::PartitionOfLiveTable, create.syntax(), parent, message);
    }
}

fn rewritten(look: &mut Look<'_>, table: &str, command: &str, at: &SyntaxNode) {
    let message = format!(
        "{command} blocks reads and writes of {table} (ACCESS EXCLUSIVE) while it rewrites the table{}",
        look.until()
    );
    look.find(Rule::TableRewritten, at, table, message);
}

pub(super) fn cluster(look: &mut Look<'_>, cluster: &ast::Cluster) {
    let legacy = || cluster.cluster_legacy()?.on_path()?.table_name_ref();
    if let Some(table) = name_of(cluster.table_name_ref().or_else(legacy)).filter(|table| look.is_live(table)) {
        rewritten(look, &table, "CLUSTER", cluster.syntax());
    }
}

pub(super) fn vacuum(look: &mut Look<'_>, vacuum: &ast::Vacuum) {
    if !vacuum.is_full() {
        return;
    }
    for table in vacuum.table_and_columns_list().into_iter().flat_map(|list| list.table_and_columnss()) {
        if let Some(table) = name_of(table.table_relation_name()).filter(|table| look.is_live(table)) {
            rewritten(look, &table, "VACUUM FULL", vacuum.syntax());
        }
    }
}

pub(super) fn refresh(look: &mut Look<'_>, refresh: &ast::Refresh) {
    let Some(view) = name_of(refresh.view_ref()).filter(|view| look.is_live(view)) else { return };
    if refresh.concurrently_token().is_none() {
        let message = format!(
            "REFRESH MATERIALIZED VIEW blocks reads of {view} (ACCESS EXCLUSIVE) while its query runs{}",
            look.until()
        );
        look.find(Rule::RefreshNotConcurrently, refresh.syntax(), view, message);
    }
}

pub(super) fn lock(look: &mut Look<'_>, lock: &ast::Lock) {
    let mode = lock.lock_mode_clause().and_then(|clause| clause.lock_mode());
    let (mode, blocked) = match mode {
        None | Some(LockMode::AccessExclusive(_)) => ("ACCESS EXCLUSIVE", "reads and writes of"),
        Some(LockMode::Exclusive(_)) => ("EXCLUSIVE", "writes to"),
        Some(LockMode::ShareRowExclusive(_)) => ("SHARE ROW EXCLUSIVE", "writes to"),
        Some(LockMode::Share(_)) => ("SHARE", "writes to"),
        // Other modes only block commands such as these.
        Some(_) => return,
    };
    for table in lock.relation_list().into_iter().flat_map(|list| list.relation_names()) {
        let table = name(table.syntax());
        if look.is_live(&table) {
            let message = format!("LOCK TABLE blocks {blocked} {table} ({mode}) until the transaction commits");
            look.find(Rule::LockTable, lock.syntax(), table, message);
        }
    }
}

pub(super) fn truncate(look: &mut Look<'_>, truncate: &ast::Truncate) {
    for table in truncate.table_list().into_iter().flat_map(|list| list.table_relation_names()) {
        let table = name(table.syntax());
        if look.is_live(&table) {
            let message = format!(
                "TRUNCATE blocks reads and writes of {table} (ACCESS EXCLUSIVE) while it removes the rows{}",
                look.until()
            );
            look.find(Rule::Truncate, truncate.syntax(), table, message);
        }
    }
}

/// Checks commands that drop tables.
pub(super) fn drop(look: &mut Look<'_>, stmt: &Stmt) {
    let gone: Vec<String> = match stmt {
        Stmt::DropTable(it) => it.table_name_refs().map(|it| name(it.syntax())).collect(),
        Stmt::DropForeignTable(it) => it.table_name_refs().map(|it| name(it.syntax())).collect(),
        Stmt::DropMaterializedView(it) => it.view_refs().map(|it| name(it.syntax())).collect(),
        _ => return,
    };
    for table in gone {
        if look.is_live(&table) {
            let message = format!("the running application may still use {table}; its rows are lost");
            look.find(Rule::DropTable, stmt.syntax(), table, message);
        }
    }
}

/// Checks for `CASCADE` in commands that drop or empty objects on which others may depend.
pub(super) fn cascade(look: &mut Look<'_>, stmt: &Stmt) {
    let actions = stmt.syntax().descendants().filter(|node| {
        matches!(node.kind(), SyntaxKind::DROP_COLUMN | SyntaxKind::DROP_CONSTRAINT | SyntaxKind::DROP_ATTRIBUTE)
    });
    let at = std::iter::once(stmt.syntax().clone()).chain(actions).find(tree::cascades);
    let Some(at) = at else { return };
    let dropped: Vec<String> = match stmt {
        Stmt::AlterTable(it) => name_of(it.table_relation_name()).into_iter().collect(),
        // CREATE may use CASCADE for the dependencies of an extension, and privileges are not objects.
        Stmt::CreateExtension(_) | Stmt::Revoke(_) => return,
        Stmt::DropTable(_) | Stmt::DropView(_) | Stmt::DropMaterializedView(_) | Stmt::Truncate(_) => {
            named(stmt.syntax()).map(|node| name(&node)).collect()
        }
        other => span(other.syntax()).into_iter().collect(),
    };
    if dropped.is_empty() || dropped.iter().any(|it| look.is_live(it)) {
        let what = dropped.join(", ");
        let message =
            format!("CASCADE also drops the objects that depend on {what}, which may differ from tenant to tenant");
        look.find(Rule::DropCascade, &at, what, message);
    }
}

/// The parts of a command that name the dropped or emptied objects.
fn named(command: &SyntaxNode) -> impl Iterator<Item = SyntaxNode> {
    const WORDS: [SyntaxKind; 3] = [SyntaxKind::CASCADE, SyntaxKind::IF_EXISTS, SyntaxKind::RESTART_IDENTITY];
    let parts = command.children().filter(|part| !WORDS.contains(&part.kind()));
    // The tables of TRUNCATE are a list.
    parts.flat_map(|part| match part.kind() {
        SyntaxKind::TABLE_LIST => part.children().collect(),
        _ => vec![part],
    })
}

/// The name in a command as written: `f(int)`, `t ON users`.
fn span(command: &SyntaxNode) -> Option<String> {
    let first = named(command).next()?.text_range();
    let last = named(command).last()?.text_range();
    let start = command.text_range().start();
    let text = command.text().to_string();
    Some(text[usize::from(first.start() - start)..usize::from(last.end() - start)].to_owned())
}
