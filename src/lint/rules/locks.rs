//! Tables that one transaction locks one after another.

use squawk_syntax::ast::{self, AlterColumnOption, AlterTableAction, AstNode, Constraint, LockMode, Stmt};

use super::Look;
use crate::lint::code::{name, name_of};
use crate::lint::rule::Rule;
use crate::migration::Mode;

/// The live tables that the migration has locked against readers so far.
#[derive(Debug, Default)]
pub(in crate::lint) struct Held {
    tables: Vec<String>,
    reported: bool,
}

impl Held {
    /// Adds the locks of a statement, and reports the second table once.
    pub(in crate::lint) fn check(&mut self, look: &mut Look<'_>, stmt: &Stmt) {
        if look.looked_at().mode() == Mode::NonTransactional {
            return;
        }
        for table in locked(look, stmt) {
            if self.tables.contains(&table) || !look.is_live(&table) {
                continue;
            }
            if let (Some(before), false) = (self.tables.last(), self.reported) {
                let message = format!(
                    "takes ACCESS EXCLUSIVE on {table} while it holds the same on {before}: a transaction that uses \
                     {table} and then {before} causes a deadlock, and one of the two is aborted"
                );
                look.find(Rule::LocksSeveralTables, stmt.syntax(), table.clone(), message);
                self.reported = true;
            }
            self.tables.push(table);
        }
        // A renamed table is the same table.
        self.tables.extend(new_name(stmt));
    }
}

/// The new name that a statement gives to a table.
fn new_name(stmt: &Stmt) -> Option<String> {
    let Stmt::AlterTable(alter) = stmt else { return None };
    alter.actions().find_map(|action| match action {
        AlterTableAction::TableRenameTo(to) => name_of(to.table_name()),
        _ => None,
    })
}

/// The tables on which a statement takes `ACCESS EXCLUSIVE`.
fn locked(look: &Look<'_>, stmt: &Stmt) -> Vec<String> {
    match stmt {
        Stmt::AlterTable(it) => {
            let own = if it.actions().any(|it| is_exclusive(&it)) { name_of(it.table_relation_name()) } else { None };
            let attached = it.actions().filter_map(|it| match it {
                AlterTableAction::AttachPartition(it) => name_of(it.table_name_ref()),
                _ => None,
            });
            own.into_iter().chain(attached).collect()
        }
        Stmt::DropTable(it) => it.table_name_refs().map(|it| name(it.syntax())).collect(),
        Stmt::DropIndex(it) if it.concurrently_token().is_none() => it
            .index_refs()
            .filter_map(|it| look.history.relation(&name(it.syntax()))?.indexed().map(str::to_owned))
            .collect(),
        Stmt::Truncate(it) => it
            .table_list()
            .into_iter()
            .flat_map(|list| list.table_relation_names())
            .map(|it| name(it.syntax()))
            .collect(),
        Stmt::Lock(it) => {
            let mode = it.lock_mode_clause().and_then(|clause| clause.lock_mode());
            if !matches!(mode, None | Some(LockMode::AccessExclusive(_))) {
                return Vec::new();
            }
            it.relation_list().into_iter().flat_map(|list| list.relation_names()).map(|it| name(it.syntax())).collect()
        }
        Stmt::Cluster(it) => name_of(it.table_name_ref()).into_iter().collect(),
        Stmt::CreateTable(it) => it.partition_of().and_then(|of| name_of(of.table_name_ref())).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Whether an action takes `ACCESS EXCLUSIVE` instead of a lock that admits readers.
fn is_exclusive(action: &AlterTableAction) -> bool {
    match action {
        AlterTableAction::AddConstraint(it) => !matches!(it.constraint(), Some(Constraint::ForeignKeyConstraint(_))),
        AlterTableAction::AlterColumn(it) => {
            !matches!(it.option(), Some(AlterColumnOption::SetStatistics(_) | AlterColumnOption::SetOptions(_)))
        }
        AlterTableAction::DetachPartition(it) => {
            !matches!(it.detach_partition_option(), Some(ast::DetachPartitionOption::DetachConcurrently(_)))
        }
        AlterTableAction::ValidateConstraint(_)
        | AlterTableAction::AttachPartition(_)
        | AlterTableAction::ClusterOn(_)
        | AlterTableAction::SetWithoutCluster(_)
        | AlterTableAction::SetOptions(_)
        | AlterTableAction::ResetOptions(_)
        | AlterTableAction::EnableTrigger(_)
        | AlterTableAction::EnableAlwaysTrigger(_)
        | AlterTableAction::EnableReplicaTrigger(_)
        | AlterTableAction::DisableTrigger(_) => false,
        _ => true,
    }
}
