//! The known structure of a tenant after the statements so far: which tables are live, and enough of their columns and
//! constraints to distinguish a change that reads a table from one that does not.

use std::collections::HashMap;

use squawk_syntax::ast::{self, AlterTableAction, AstNode, Constraint, Stmt};

use super::code::{name, name_of};
use super::tree;
use super::types::SqlType;

/// The structure so far.
#[derive(Debug, Default)]
pub(super) struct History {
    relations: HashMap<String, KnownRelation>,
    /// The domains, and whether they have constraints.
    domains: HashMap<String, bool>,
    /// The index in the set of the current migration.
    now: usize,
}

/// A table, a view or an index.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownRelation {
    /// The migration that created it; `None` if no migration in the set did.
    made: Option<usize>,
    /// The table of an index.
    indexed: Option<String>,
    /// The key columns of an index.
    keys: Vec<String>,
    /// The columns of an index that has expressions or a condition.
    computed_from: Vec<String>,
    pub(super) is_partitioned: bool,
    columns: HashMap<String, KnownColumn>,
    constraints: Vec<Known>,
}

#[derive(Debug, Clone, Default)]
struct KnownColumn {
    made: Option<usize>,
    ty: Option<SqlType>,
}

/// A constraint that is checked row by row.
#[derive(Debug, Clone)]
pub(super) struct Known {
    name: String,
    /// The columns that it proves to be not null.
    not_null: Vec<String>,
    /// The columns in the expression of a `CHECK`.
    checked: Vec<String>,
    /// The migration that added it NOT VALID, until it is validated.
    pub(super) unvalidated: Option<usize>,
}

impl History {
    /// Continues with a migration.
    pub(super) fn enter(&mut self, migration: usize) {
        self.now = migration;
    }

    /// Whether other sessions may use it: not if this migration created it, or its table if it is an index.
    pub(super) fn is_live(&self, relation: &str) -> bool {
        if relation.starts_with("pg_temp.") {
            return false;
        }
        let is_new = |name: &str| self.relations.get(name).is_some_and(|known| known.made == Some(self.now));
        let table = self.relations.get(relation).and_then(KnownRelation::indexed);
        !is_new(relation) && !table.is_some_and(is_new)
    }

    /// Whether other sessions may use a column: not if this migration created it.
    pub(super) fn is_live_column(&self, table: &str, column: &str) -> bool {
        let known = self.relations.get(table).and_then(|table| table.columns.get(column));
        self.is_live(table) && known.is_none_or(|column| column.made != Some(self.now))
    }

    pub(super) fn relation(&self, name: &str) -> Option<&KnownRelation> {
        self.relations.get(name)
    }

    /// A constraint or an index that is rebuilt, which reads the table, when a column's type is changed, even if the
    /// rows are not.
    pub(super) fn rebuilt_with(&self, table: &str, column: &str) -> Option<&str> {
        let has = |columns: &[String]| columns.iter().any(|it| it == column);
        let indexes = self.relations.iter().filter(|(_, it)| it.indexed() == Some(table));
        let index = indexes.filter(|(_, index)| has(&index.computed_from)).map(|(name, _)| name).min();
        let constraints = self.relations.get(table).map(|table| table.constraints.iter()).into_iter().flatten();
        let mut checks = constraints.filter(|known| known.unvalidated.is_none() && has(&known.checked));
        checks.next().map(|known| &known.name).or(index).map(String::as_str)
    }

    pub(super) fn is_constrained_domain(&self, name: &str) -> bool {
        self.domains.get(name) == Some(&true)
    }

    /// Applies a statement to the structure.
    pub(super) fn apply(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::CreateTable(it) => self.create_table(it),
            Stmt::CreateTableAs(it) => self.make_unless(it.if_not_exists(), name_of(it.table_name())),
            Stmt::SelectInto(it) => self.make(name_of(it.into_clause().and_then(|into| into.table_name()))),
            Stmt::CreateForeignTable(it) => self.make_unless(it.if_not_exists(), name_of(it.table_name())),
            Stmt::CreateMaterializedView(it) => self.make_unless(it.if_not_exists(), name_of(it.view())),
            Stmt::CreateView(it) if it.or_replace().is_none() => self.make(name_of(it.view())),
            Stmt::CreateIndex(it) => self.create_index(it),
            Stmt::CreateDomain(it) => {
                let constrained = it.domain_qualifiers().any(|it| {
                    let ast::DomainQualifier::Constraint(it) = it else { return false };
                    matches!(it, Constraint::CheckConstraint(_) | Constraint::NotNullConstraint(_))
                });
                self.domains.extend(name_of(it.domain()).map(|name| (name, constrained)));
            }
            Stmt::AlterDomain(it) => {
                use ast::AlterDomainAction::{AddConstraint, SetNotNull};
                if matches!(it.action(), Some(AddConstraint(_) | SetNotNull(_))) {
                    self.domains.extend(name_of(it.domain_ref()).map(|name| (name, true)));
                }
            }
            Stmt::DropTable(it) => it.table_name_refs().for_each(|it| self.forget(&name(it.syntax()))),
            Stmt::DropView(it) => it.view_refs().for_each(|it| self.forget(&name(it.syntax()))),
            Stmt::DropMaterializedView(it) => it.view_refs().for_each(|it| self.forget(&name(it.syntax()))),
            Stmt::DropIndex(it) => it.index_refs().for_each(|it| self.forget(&name(it.syntax()))),
            Stmt::AlterTable(it) => {
                if let Some(table) = name_of(it.table_relation_name()) {
                    it.actions().for_each(|action| self.alter_table(&table, &action));
                }
            }
            Stmt::AlterView(it) => {
                if let Some(ast::AlterViewAction::ViewRenameTo(to)) = it.action() {
                    self.rename(name_of(it.view_ref()), name_of(to.view()));
                }
            }
            Stmt::AlterMaterializedView(it) => {
                for action in it.action() {
                    if let ast::AlterMaterializedViewAction::ViewRenameTo(to) = action {
                        self.rename(name_of(it.view_ref()), name_of(to.view()));
                    }
                }
            }
            Stmt::AlterIndex(it) => {
                if let Some(ast::AlterIndexAction::IndexRenameTo(to)) = it.action() {
                    self.rename(name_of(it.index_ref()), name_of(to.index()));
                }
            }
            _ => {}
        }
    }

    fn make(&mut self, name: Option<String>) {
        let made = KnownRelation { made: Some(self.now), ..KnownRelation::default() };
        self.relations.extend(name.map(|name| (name, made)));
    }

    /// Makes a relation, unless the statement has `IF NOT EXISTS` and the relation exists.
    fn make_unless(&mut self, if_not_exists: Option<ast::IfNotExists>, name: Option<String>) {
        let exists = name.as_ref().is_some_and(|name| self.relations.contains_key(name));
        if if_not_exists.is_none() || !exists {
            self.make(name);
        }
    }

    fn forget(&mut self, name: &str) {
        self.relations.remove(name);
        self.relations.retain(|_, relation| relation.indexed.as_deref() != Some(name));
    }

    fn rename(&mut self, from: Option<String>, to: Option<String>) {
        let (Some(from), Some(to)) = (from, to) else { return };
        for relation in self.relations.values_mut().filter(|relation| relation.indexed.as_ref() == Some(&from)) {
            relation.indexed = Some(to.clone());
        }
        if let Some(relation) = self.relations.remove(&from) {
            self.relations.insert(to, relation);
        }
    }

    fn create_table(&mut self, create: &ast::CreateTable) {
        let Some(table) = name_of(create.table_name()) else { return };
        if create.if_not_exists().is_some() && self.relations.contains_key(&table) {
            return;
        }
        self.make(Some(table.clone()));
        self.of(&table).is_partitioned = create.partition_by().is_some();
        for arg in create.table_arg_list().into_iter().flat_map(|list| list.args()) {
            match arg {
                ast::TableArg::Column(column) => {
                    let ty = column.ty().map(|ty| SqlType::of(&ty));
                    let Some(column_name) = name_of(column.name()) else { continue };
                    self.add_column(&table, column_name.clone(), ty);
                    let constraints = column.clauses().filter_map(|clause| Constraint::cast(clause.syntax().clone()));
                    constraints.for_each(|it| self.add_constraint(&table, Some(&column_name), &it));
                }
                ast::TableArg::TableConstraint(it) => {
                    if let Some(it) = Constraint::cast(it.syntax().clone()) {
                        self.add_constraint(&table, None, &it);
                    }
                }
                ast::TableArg::LikeClause(_) => {}
            }
        }
    }

    fn create_index(&mut self, create: &ast::CreateIndex) {
        let Some(table) = name_of(create.table_relation_name()) else { return };
        let index = name_of(create.index()).unwrap_or_else(|| tree::chosen_index_name(&table, create));
        if create.if_not_exists().is_none() || !self.relations.contains_key(&index) {
            let (keys, computed_from) = (tree::key_columns(create), tree::computed_from(create));
            let relation = KnownRelation {
                made: Some(self.now),
                indexed: Some(table),
                keys,
                computed_from,
                ..KnownRelation::default()
            };
            self.relations.insert(index, relation);
        }
    }

    fn alter_table(&mut self, table: &str, action: &AlterTableAction) {
        match action {
            AlterTableAction::AddColumn(it) => {
                let Some(column) = name_of(it.column_name()) else { return };
                if it.if_not_exists().is_none() || !self.of(table).columns.contains_key(&column) {
                    self.add_column(table, column.clone(), it.ty().map(|ty| SqlType::of(&ty)));
                }
                it.constraints().for_each(|it| self.add_constraint(table, Some(&column), &it));
            }
            AlterTableAction::DropColumn(it) => {
                if let Some(column) = name_of(it.column_name_ref()) {
                    let relation = self.of(table);
                    relation.columns.remove(&column);
                    relation.constraints.retain(|known| !known.not_null.contains(&column));
                }
            }
            AlterTableAction::RenameColumn(it) => {
                let (Some(from), Some(to)) = (name_of(it.column_name_ref()), name_of(it.column_name())) else {
                    return;
                };
                let relation = self.of(table);
                if let Some(column) = relation.columns.remove(&from) {
                    relation.columns.insert(to.clone(), column);
                }
                let constraints = relation.constraints.iter_mut();
                let named = constraints.flat_map(|known| known.not_null.iter_mut().chain(&mut known.checked));
                named.filter(|column| **column == from).for_each(|column| column.clone_from(&to));
                let indexes = self.relations.values_mut().filter(|it| it.indexed.as_deref() == Some(table));
                let named = indexes.flat_map(|index| index.keys.iter_mut().chain(&mut index.computed_from));
                named.filter(|column| **column == from).for_each(|column| column.clone_from(&to));
            }
            AlterTableAction::AlterColumn(it) => {
                if let (Some(column), Some(option)) = (name_of(it.column_name_ref()), it.option()) {
                    self.alter_column(table, column, &option);
                }
            }
            AlterTableAction::AddConstraint(it) => {
                if let Some(it) = it.constraint() {
                    self.add_constraint(table, None, &it);
                }
            }
            AlterTableAction::ValidateConstraint(it) => {
                let name = name_of(it.constraint_name_ref());
                let known = self.of(table).constraints.iter_mut().filter(|known| Some(&known.name) == name.as_ref());
                known.for_each(|known| known.unvalidated = None);
            }
            AlterTableAction::DropConstraint(it) => {
                let name = name_of(it.constraint_name_ref());
                self.of(table).constraints.retain(|known| Some(&known.name) != name.as_ref());
            }
            AlterTableAction::RenameConstraint(it) => {
                let (Some(from), Some(to)) = (name_of(it.constraint_name_ref()), name_of(it.constraint_name())) else {
                    return;
                };
                let known = self.of(table).constraints.iter_mut().filter(|known| known.name == from);
                known.for_each(|known| known.name.clone_from(&to));
            }
            AlterTableAction::TableRenameTo(it) => self.rename(Some(table.to_owned()), name_of(it.table_name())),
            _ => {}
        }
    }

    fn alter_column(&mut self, table: &str, column: String, option: &ast::AlterColumnOption) {
        let relation = self.of(table);
        match option {
            ast::AlterColumnOption::SetType(set) => {
                relation.columns.entry(column).or_default().ty = set.ty().map(|ty| SqlType::of(&ty));
            }
            ast::AlterColumnOption::SetNotNull(_) => relation.constraints.push(Known {
                name: format!("{table}_{column}_not_null"),
                not_null: vec![column],
                checked: Vec::new(),
                unvalidated: None,
            }),
            ast::AlterColumnOption::DropNotNull(_) => {
                relation.constraints.retain(|known| !known.checked.is_empty() || !known.not_null.contains(&column));
            }
            _ => {}
        }
    }

    fn add_column(&mut self, table: &str, column: String, ty: Option<SqlType>) {
        let made = Some(self.now);
        self.of(table).columns.insert(column, KnownColumn { made, ty });
    }

    fn add_constraint(&mut self, table: &str, column: Option<&str>, constraint: &Constraint) {
        let (not_null, suffix) = match constraint {
            Constraint::CheckConstraint(it) => (it.expr().map(tree::proven_not_null).unwrap_or_default(), "check"),
            Constraint::NotNullConstraint(it) => {
                (name_of(it.column_name_ref()).or(column.map(str::to_owned)).into_iter().collect(), "not_null")
            }
            Constraint::PrimaryKeyConstraint(_) => (column.map(str::to_owned).into_iter().collect(), "pkey"),
            Constraint::ForeignKeyConstraint(_) | Constraint::ReferencesConstraint(_) => (Vec::new(), "fkey"),
            _ => return,
        };
        // The server derives the name of an unnamed constraint from its table and, if it has one, its column.
        let given = name_of(tree::constraint_name(constraint));
        let name = given.unwrap_or_else(|| {
            let columns = match column {
                Some(column) => vec![column.to_owned()],
                None => tree::naming_columns(constraint),
            };
            [&[table.to_owned()][..], &columns, &[suffix.to_owned()]].concat().join("_")
        });
        let unvalidated = tree::is_not_valid(constraint.syntax()).then_some(self.now);
        let checked = match constraint {
            Constraint::CheckConstraint(it) => tree::columns_in(it.syntax()),
            _ => Vec::new(),
        };
        self.of(table).constraints.push(Known { name, not_null, checked, unvalidated });
    }

    fn of(&mut self, relation: &str) -> &mut KnownRelation {
        self.relations.entry(relation.to_owned()).or_default()
    }
}

impl KnownRelation {
    /// The table of an index.
    pub(super) fn indexed(&self) -> Option<&str> {
        self.indexed.as_deref()
    }

    /// The key columns of an index.
    pub(super) fn keys(&self) -> &[String] {
        &self.keys
    }

    /// The type of a column, if a migration in the set set it.
    pub(super) fn column_type(&self, column: &str) -> Option<&SqlType> {
        self.columns.get(column)?.ty.as_ref()
    }

    /// Whether a validated constraint proves that a column has no nulls.
    pub(super) fn is_proven_not_null(&self, column: &str) -> bool {
        let proves = |known: &Known| known.unvalidated.is_none() && known.not_null.iter().any(|it| it == column);
        self.constraints.iter().any(proves)
    }

    /// Whether it has a validated `CHECK`, which may prove that its rows match a partition.
    pub(super) fn has_check(&self) -> bool {
        self.constraints.iter().any(|known| !known.checked.is_empty() && known.unvalidated.is_none())
    }

    /// The constraint with a name.
    pub(super) fn constraint(&self, name: &str) -> Option<&Known> {
        self.constraints.iter().find(|known| known.name == name)
    }
}
