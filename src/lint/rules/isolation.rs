//! What would open the rows of a tenant to others, where tenants share tables.

use std::collections::BTreeSet;
use std::rc::Rc;

use squawk_syntax::ast::{self, AlterTableAction, AstNode, Constraint, Stmt};
use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::Look;
use crate::lint::code::{Parsed, name_of};
use crate::lint::rule::Rule;
use crate::lint::tree;
use crate::migration::MigrationSet;
use crate::model::ObjectName;

/// The tables that tenants share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedTables {
    /// The table with a row for each tenant.
    pub registry: ObjectName,
    /// The column of the other tables with the tenant.
    pub column: ObjectName,
}

/// The rules for tables that tenants share.
pub(in crate::lint) struct SharedRules<'a> {
    tables: &'a SharedTables,
    /// The tables with the same rows for all tenants.
    exempt: BTreeSet<String>,
}

/// The beginning of the comment of an exempt table.
const EXEMPT: &str = "tenantry: exempt";

/// Privileges that are not those of rows.
const BEYOND_ROWS: [&str; 6] = ["ALL", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN", "CREATE"];

impl<'a> SharedRules<'a> {
    pub(in crate::lint) fn new(tables: &'a SharedTables, set: &MigrationSet) -> Self {
        let mut exempt = BTreeSet::new();
        for migration in set.iter() {
            let text: Rc<str> = migration.up().text().into();
            for statement in &migration.up().statements() {
                let codes = Parsed::of(&text, statement).codes;
                exempt.extend(codes.iter().flat_map(|code| code.statements()).filter_map(|stmt| exempted(&stmt)));
            }
        }
        Self { tables, exempt }
    }

    /// Checks a statement of `up.sql`.
    pub(in crate::lint) fn check(&self, look: &mut Look<'_>, stmt: &Stmt) {
        match stmt {
            Stmt::CreatePolicy(it) => self.policy(look, it),
            Stmt::AlterPolicy(it) => {
                let table = name_of(it.on_table().and_then(|on| on.table_name_ref())).unwrap_or_default();
                let message = format!("another expression of a policy of {table} may show rows of other tenants");
                look.find(Rule::RowPolicy, it.syntax(), table, message);
            }
            Stmt::CreateFunction(it) => routine(look, it.syntax(), name_of(it.name()), it.body()),
            Stmt::CreateProcedure(it) => routine(look, it.syntax(), name_of(it.name()), it.body()),
            Stmt::Grant(it) => grant(look, it.syntax()),
            Stmt::AlterDefaultPrivileges(it) if !contains(&words(it.syntax()), &["REVOKE"]) => grant(look, it.syntax()),
            Stmt::CreateRule(it) => {
                let message = "a rule runs with the privileges of the table's owner, to whom tenants are no limit";
                look.find(Rule::RowRule, it.syntax(), name_of(it.rule()).unwrap_or_default(), message);
            }
            Stmt::CreateTable(it) => {
                let Some(table) = name_of(it.table_name()) else { return };
                for constraint in it.syntax().descendants().filter_map(Constraint::cast) {
                    self.reference(look, &table, &constraint);
                }
            }
            Stmt::CreateIndex(it) => self.unique_index(look, it),
            Stmt::AlterTable(it) => {
                let Some(table) = name_of(it.table_relation_name()) else { return };
                it.actions().for_each(|action| self.alter_table(look, &table, &action));
            }
            _ => {}
        }
        if let Some(owner) = stmt.syntax().descendants().find_map(ast::OwnerTo::cast) {
            let message = "the object gets another owner, to whom the policies may not apply";
            look.find(Rule::RowOwner, owner.syntax(), name_of(owner.role_ref()).unwrap_or_default(), message);
        }
    }

    fn policy(&self, look: &mut Look<'_>, create: &ast::CreatePolicy) {
        let table = name_of(create.on_table().and_then(|on| on.table_name_ref())).unwrap_or_default();
        let is_restrictive =
            create.as_policy_type().is_some_and(|kind| contains(&words(kind.syntax()), &["RESTRICTIVE"]));
        if !is_restrictive && !self.exempt.contains(&table) {
            let message = format!(
                "policies are permissive unless they are RESTRICTIVE: rows of {table} that it allows are visible"
            );
            look.find(Rule::RowPolicy, create.syntax(), table, message);
        }
    }

    fn alter_table(&self, look: &mut Look<'_>, table: &str, action: &AlterTableAction) {
        match action {
            AlterTableAction::AddConstraint(it) => {
                for constraint in it.syntax().children().filter_map(Constraint::cast) {
                    self.reference(look, table, &constraint);
                    self.unique(look, table, &constraint);
                }
            }
            AlterTableAction::AddColumn(it) => {
                for constraint in it.syntax().descendants().filter_map(Constraint::cast) {
                    self.reference(look, table, &constraint);
                    self.unique(look, table, &constraint);
                }
            }
            AlterTableAction::DisableTrigger(it) => trigger(look, table, it.syntax()),
            AlterTableAction::EnableReplicaTrigger(it) => trigger(look, table, it.syntax()),
            _ => {}
        }
    }

    /// A unique key of a live table. That of a new table gets the tenant column before the application has access to it.
    fn unique(&self, look: &mut Look<'_>, table: &str, constraint: &Constraint) {
        let is_key = match constraint {
            Constraint::UniqueConstraint(it) => it.using_index().is_none(),
            Constraint::PrimaryKeyConstraint(it) => it.using_index().is_none(),
            Constraint::ExcludeConstraint(_) => true,
            _ => false,
        };
        if is_key && look.is_live(table) && self.is_isolated(table) && !self.has_column(constraint.syntax()) {
            self.found_unique(look, table, constraint.syntax());
        }
    }

    fn unique_index(&self, look: &mut Look<'_>, create: &ast::CreateIndex) {
        let Some(table) = name_of(create.table_relation_name()) else { return };
        let column = self.tables.column.as_str();
        let has_column = tree::key_columns(create).iter().any(|key| key == column);
        if create.unique_token().is_some() && look.is_live(&table) && self.is_isolated(&table) && !has_column {
            self.found_unique(look, &table, create.syntax());
        }
    }

    fn found_unique(&self, look: &mut Look<'_>, table: &str, at: &SyntaxNode) {
        let message = format!(
            "a unique key of {table} without {} shows a tenant which values others have, until it is isolated",
            self.tables.column.as_str()
        );
        look.find(Rule::RowUnique, at, table, message);
    }

    /// A foreign key to a live table, whose keys begin with the tenant column.
    fn reference(&self, look: &mut Look<'_>, table: &str, constraint: &Constraint) {
        let referenced = match constraint {
            Constraint::ForeignKeyConstraint(it) => name_of(it.table_name_ref()),
            Constraint::ReferencesConstraint(it) => name_of(it.table()),
            _ => return,
        };
        let Some(referenced) = referenced.filter(|it| look.is_live(it) && self.is_isolated(it)) else { return };
        if !self.has_column(constraint.syntax()) {
            let message = format!(
                "a foreign key to {referenced} without {} lets a row of {table} refer to a row of another tenant",
                self.tables.column.as_str()
            );
            look.find(Rule::RowReference, constraint.syntax(), table, message);
        }
    }

    fn is_isolated(&self, table: &str) -> bool {
        table != self.tables.registry.as_str() && !self.exempt.contains(table)
    }

    fn has_column(&self, node: &SyntaxNode) -> bool {
        let is_column = |node: SyntaxNode| {
            matches!(node.kind(), SyntaxKind::NAME_REF | SyntaxKind::COLUMN_NAME_REF)
                && crate::lint::code::name(&node) == self.tables.column.as_str()
        };
        node.descendants().any(is_column)
    }
}

/// The table that a statement exempts.
fn exempted(stmt: &Stmt) -> Option<String> {
    let Stmt::CommentOn(comment) = stmt else { return None };
    let Some(ast::CommentObject::ObjectTable(table)) = comment.comment_object() else { return None };
    let text = comment.literal()?.decoded_value()?;
    let is_exempt = text.text().strip_prefix(EXEMPT).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric));
    is_exempt.then(|| name_of(table.table_name_ref())).flatten()
}

/// A `body` is parsed when the routine is created, and does not depend on the search path.
fn routine(look: &mut Look<'_>, create: &SyntaxNode, name: Option<String>, body: Option<ast::RoutineBody>) {
    let options: Vec<SyntaxNode> = create.descendants().filter(|node| ast::FuncOption::can_cast(node.kind())).collect();
    let has = |kind| options.iter().any(|option| option.kind() == kind);
    let name = name.unwrap_or_default();
    if has(SyntaxKind::LEAKPROOF_FUNC_OPTION) {
        let message = format!("{name} is LEAKPROOF: it is called with rows of other tenants before the policies apply");
        look.find(Rule::RowLeakproof, create, name.clone(), message);
    }
    let ends_in_temp = |option: &SyntaxNode| {
        let words = words(option);
        let last = words.last().map(|word| word.trim_matches(['"', '\'']).to_owned());
        contains(&words, &["SEARCH_PATH"]) && last.as_deref() == Some("PG_TEMP")
    };
    if has(SyntaxKind::SECURITY_DEFINER_FUNC_OPTION) && body.is_none() && !options.iter().any(ends_in_temp) {
        let message =
            format!("{name} runs as its owner with the search path of its caller, or finds temporary objects first");
        look.find(Rule::RowDefinerPath, create, name, message);
    }
}

fn grant(look: &mut Look<'_>, grant: &SyntaxNode) {
    let words = words(grant);
    let to = words.iter().rposition(|word| word == "TO").unwrap_or(words.len());
    let on = words.iter().position(|word| word == "ON").unwrap_or(0);
    if contains(&words[to..], &["PUBLIC"]) {
        return look.find(Rule::RowGrant, grant, "PUBLIC", "PUBLIC gets privileges, and with it every role");
    }
    if let Some(privilege) = words[..on].iter().find(|word| BEYOND_ROWS.contains(&word.as_str())) {
        let message = format!("{privilege} gives access to the rows of all tenants, or to objects that run as others");
        look.find(Rule::RowGrant, grant, privilege.clone(), message);
    }
}

fn trigger(look: &mut Look<'_>, table: &str, at: &SyntaxNode) {
    let message =
        format!("triggers of {table} no longer run in sessions of the application: foreign keys are triggers");
    look.find(Rule::RowTrigger, at, table, message);
}

/// The words of a statement in upper case, without white space and comments.
fn words(node: &SyntaxNode) -> Vec<String> {
    let tokens = node.descendants_with_tokens().filter_map(|element| element.into_token());
    let is_word = |kind| !matches!(kind, SyntaxKind::WHITESPACE | SyntaxKind::COMMENT);
    tokens.filter(|token| is_word(token.kind())).map(|token| token.text().to_uppercase()).collect()
}

fn contains(words: &[String], any: &[&str]) -> bool {
    words.iter().any(|word| any.contains(&word.as_str()))
}
