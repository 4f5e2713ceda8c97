//! The checks of the rules. A statement is compared with the structure before it.

mod columns;
mod constraints;
mod indexes;
pub(super) mod isolation;
mod locks;
mod outside;
mod policies;
pub(super) mod repeatable;
mod rows;
mod tables;
mod unknown;

pub(super) mod volatility;

use squawk_syntax::SyntaxNode;
use squawk_syntax::ast::{AlterMaterializedViewAction, AstNode, Stmt};

use super::code::{Code, name_of};
use super::history::History;
use super::rule::Rule;
use crate::migration::{Migration, MigrationSet, Mode};

pub(super) use locks::Held;
pub(super) use outside::Borders;
pub(super) use unknown::check as check_names;

/// The statement that the rules check, its context, and the findings.
pub(super) struct Look<'a> {
    pub(super) set: &'a MigrationSet,
    /// The index of the migration in the set.
    pub(super) migration: usize,
    pub(super) history: &'a History,
    pub(super) code: &'a Code,
    pub(super) found: &'a mut Vec<Found>,
}

/// A finding of a rule.
pub(super) struct Found {
    pub(super) rule: Rule,
    pub(super) line: usize,
    pub(super) object: Option<String>,
    pub(super) message: String,
}

impl Look<'_> {
    fn find(&mut self, rule: Rule, at: &SyntaxNode, object: impl Into<String>, message: impl Into<String>) {
        let line = self.code.line(at);
        self.found.push(Found { rule, line, object: Some(object.into()), message: message.into() });
    }

    /// How long a lock is held, as the end of a message.
    fn until(&self) -> &'static str {
        match self.looked_at().mode() {
            Mode::Transactional => ", and until the tenant's transaction commits",
            Mode::NonTransactional => "",
        }
    }

    fn looked_at(&self) -> &Migration {
        self.set.at(self.migration)
    }

    fn is_live(&self, relation: &str) -> bool {
        self.history.is_live(relation)
    }
}

/// Checks for harm to a live table.
pub(super) fn hurts(look: &mut Look<'_>, stmt: &Stmt) {
    match stmt {
        Stmt::CreateIndex(it) => indexes::create(look, it),
        Stmt::DropIndex(it) => indexes::drop(look, it),
        Stmt::Reindex(it) => indexes::reindex(look, it),
        Stmt::AlterIndex(it) => indexes::alter(look, it),
        Stmt::AlterTable(it) => {
            let Some(table) = name_of(it.table_relation_name()) else { return };
            if look.is_live(&table) {
                for action in it.actions() {
                    tables::alter(look, &table, &action);
                    columns::alter(look, &table, &action);
                    constraints::alter(look, &table, &action);
                    policies::alter(look, &table, &action);
                }
            }
        }
        Stmt::AlterMaterializedView(it) => {
            let Some(view) = name_of(it.view_ref()).filter(|view| look.is_live(view)) else { return };
            for action in it.action() {
                match action {
                    AlterMaterializedViewAction::AlterTableAction(it) => tables::alter(look, &view, &it),
                    AlterMaterializedViewAction::ViewRenameTo(it) => tables::renamed(look, &view, it.syntax()),
                    AlterMaterializedViewAction::RenameColumn(it) => columns::renamed(look, &view, &it),
                    _ => {}
                }
            }
        }
        Stmt::AlterView(it) => tables::alter_view(look, it),
        Stmt::AlterDomain(it) => constraints::alter_domain(look, it),
        Stmt::CreateTable(it) => tables::create(look, it),
        Stmt::Cluster(it) => tables::cluster(look, it),
        Stmt::Vacuum(it) => tables::vacuum(look, it),
        Stmt::Refresh(it) => tables::refresh(look, it),
        Stmt::Lock(it) => tables::lock(look, it),
        Stmt::Truncate(it) => tables::truncate(look, it),
        Stmt::DropPolicy(it) => policies::drop(look, it),
        Stmt::Update(it) => rows::update(look, it),
        Stmt::Delete(it) => rows::delete(look, it),
        other => tables::drop(look, other),
    }
    tables::cascade(look, stmt);
}
