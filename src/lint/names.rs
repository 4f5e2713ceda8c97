//! The names that exist in the tenant's schema after the statements so far, as far as the migrations show.
//!
//! A name that may exist counts as existing: a missed finding is better than a false one. An object dropped in a `DO`
//! block is kept, because the drop may be conditional; and after code that may create objects of any name, every name
//! may exist.

mod syntax;

use std::collections::{HashMap, HashSet};

use squawk_syntax::ast::{self, AstNode, Stmt};
use squawk_syntax::{SyntaxKind, SyntaxNode};

pub(super) use syntax::used;
use syntax::{defined, executes_unknown, is_selected, is_temporary, routine, unqualified};

use super::code::{Code, Parsed};
use super::rules::volatility;

/// The kind of object of a name. Each has its own namespace in a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum NameKind {
    /// A table, view, index or sequence.
    Relation,
    /// A type or a domain.
    Type,
    /// A function, procedure or aggregate.
    Routine,
}

impl NameKind {
    /// The word for messages.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Relation => "relation",
            Self::Type => "type",
            Self::Routine => "function",
        }
    }
}

/// The names so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    relations: HashMap<String, Relation>,
    temporary: HashSet<String>,
    types: HashSet<String>,
    /// Routines with the number of their definitions, since overloaded functions share a name.
    routines: HashMap<String, usize>,
    /// Names that may exist: those in statements that the parser does not understand, or that only a routine may run.
    possible: HashSet<String>,
    /// Routines that may create objects of any name.
    opaque: HashSet<String>,
    /// Whether such code has run.
    any_may_exist: bool,
}

#[derive(Debug, Clone, Default)]
struct Relation {
    /// Earlier names, after which the server has named indexes and sequences.
    earlier: Vec<String>,
    /// The table of an index.
    table: Option<String>,
}

impl Names {
    /// Starts a migration. Temporary tables of the previous migration no longer exist.
    pub(super) fn enter(&mut self) {
        self.temporary.clear();
    }

    /// Whether every name may exist, so that none can be reported.
    pub(super) fn any_may_exist(&self) -> bool {
        self.any_may_exist
    }

    /// Whether an object of a name may exist in the tenant's schema.
    pub(super) fn may_exist(&self, kind: NameKind, name: &str) -> bool {
        let is_relation = || self.relations.contains_key(name) || self.temporary.contains(name);
        let is_known = match kind {
            NameKind::Relation => is_relation() || self.types.contains(name) || self.is_chosen_by_server(name),
            NameKind::Type => is_relation() || self.types.contains(name),
            NameKind::Routine => self.routines.contains_key(name),
        };
        self.any_may_exist || is_known || self.possible.contains(name) || name.starts_with("pg_")
    }

    /// Whether the server may have chosen a name for an index or a sequence: the table's name, a suffix and a number.
    fn is_chosen_by_server(&self, name: &str) -> bool {
        const SUFFIXES: [&str; 5] = ["_pkey", "_key", "_idx", "_excl", "_seq"];
        /// The maximum length of a name, to which the server truncates longer ones.
        const LONGEST: usize = 63;
        let base = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let begins = |table: &str| base.strip_prefix(table).is_some_and(|rest| rest.starts_with('_'));
        let of = |(table, known): (&String, &Relation)| begins(table) || known.earlier.iter().any(|it| begins(it));
        SUFFIXES.iter().any(|suffix| base.ends_with(suffix)) && (name.len() >= LONGEST || self.relations.iter().any(of))
    }

    /// Adds the names that a statement creates, before the statement is checked, because it may refer to them.
    pub(super) fn create(&mut self, parsed: &Parsed) {
        let is_opaque = parsed.codes.iter().any(|code| !code.is_run() && self.may_create_any(code));
        for code in &parsed.codes {
            if code.is_run() {
                self.any_may_exist |= self.may_create_any(code);
            }
            for node in code.root().descendants() {
                if let Some((kind, name)) = defined(&node) {
                    if code.runs(&node) || !code.is_run() && kind == NameKind::Routine {
                        self.add(kind, name, &node);
                    } else {
                        self.possible.insert(name);
                    }
                }
                let is_unparsed = match node.kind() {
                    SyntaxKind::CREATE_FUNCTION | SyntaxKind::CREATE_PROCEDURE => parsed.codes.len() == 1,
                    _ => false,
                };
                if (is_opaque || is_unparsed)
                    && let Some(routine) = routine(&node)
                {
                    self.opaque.insert(routine);
                }
            }
        }
        if parsed.error.is_some() {
            for code in &parsed.codes {
                let tokens = code.root().descendants_with_tokens().filter_map(|element| element.into_token());
                self.possible.extend(tokens.map(|token| token.text().trim_matches('"').to_owned()));
            }
        }
    }

    fn add(&mut self, kind: NameKind, name: String, node: &SyntaxNode) {
        match kind {
            NameKind::Relation if is_temporary(node) => drop(self.temporary.insert(name)),
            NameKind::Relation => {
                let table = node.parent().and_then(ast::CreateIndex::cast).and_then(|it| it.table_relation_name());
                let table = table.and_then(|table| unqualified(table.syntax()));
                self.relations.entry(name).or_default().table = table;
            }
            NameKind::Type => drop(self.types.insert(name)),
            NameKind::Routine => *self.routines.entry(name).or_default() += 1,
        }
    }

    /// Removes the names that a statement drops or replaces, after the statement is checked.
    pub(super) fn remove(&mut self, parsed: &Parsed) {
        // In a block, the drop may be conditional.
        let is_block = parsed.codes.len() > 1;
        if is_block {
            return;
        }
        for stmt in parsed.codes.iter().flat_map(Code::statements) {
            match &stmt {
                Stmt::DropTable(_)
                | Stmt::DropView(_)
                | Stmt::DropMaterializedView(_)
                | Stmt::DropForeignTable(_)
                | Stmt::DropIndex(_)
                | Stmt::DropSequence(_)
                | Stmt::DropType(_)
                | Stmt::DropDomain(_)
                | Stmt::DropFunction(_)
                | Stmt::DropProcedure(_)
                | Stmt::DropRoutine(_)
                | Stmt::DropAggregate(_) => {
                    stmt.syntax().descendants().filter_map(|node| used(&node)).for_each(|it| self.forget(it.0, &it.1));
                }
                Stmt::AlterTable(_)
                | Stmt::AlterForeignTable(_)
                | Stmt::AlterView(_)
                | Stmt::AlterMaterializedView(_)
                | Stmt::AlterIndex(_)
                | Stmt::AlterSequence(_)
                | Stmt::AlterType(_)
                | Stmt::AlterDomain(_) => self.alter(stmt.syntax()),
                _ => {}
            }
        }
    }

    fn forget(&mut self, kind: NameKind, name: &str) {
        match kind {
            NameKind::Relation => {
                if !self.temporary.remove(name) && self.relations.remove(name).is_some() {
                    self.relations.retain(|_, relation| relation.table.as_deref() != Some(name));
                }
            }
            NameKind::Type => drop(self.types.remove(name)),
            NameKind::Routine => {
                if let Some(definitions) = self.routines.get_mut(name) {
                    *definitions -= 1;
                    if *definitions == 0 {
                        self.routines.remove(name);
                    }
                }
            }
        }
    }

    /// Applies a rename or a change of the schema.
    fn alter(&mut self, alter: &SyntaxNode) {
        let Some((kind, from)) = alter.descendants().find_map(|node| used(&node)) else { return };
        let renames = |node: &SyntaxNode| {
            matches!(
                node.kind(),
                SyntaxKind::TABLE_RENAME_TO
                    | SyntaxKind::VIEW_RENAME_TO
                    | SyntaxKind::INDEX_RENAME_TO
                    | SyntaxKind::SEQUENCE_RENAME_TO
                    | SyntaxKind::TYPE_RENAME_TO
                    | SyntaxKind::DOMAIN_RENAME_TO
            )
        };
        let to = alter.descendants().find(renames).and_then(|it| defined(it.first_child().as_ref()?));
        if alter.descendants().any(|node| node.kind() == SyntaxKind::SET_SCHEMA) {
            self.forget(kind, &from);
        } else if let (Some((_, to)), NameKind::Type) = (&to, kind) {
            self.types.remove(&from);
            self.types.insert(to.clone());
        } else if let Some((_, to)) = to {
            if self.temporary.remove(&from) {
                self.relations.remove(&to);
                self.temporary.insert(to);
                return;
            }
            let mut relation = self.relations.remove(&from).unwrap_or_default();
            for index in self.relations.values_mut().filter(|it| it.table.as_ref() == Some(&from)) {
                index.table = Some(to.clone());
            }
            relation.earlier.push(from);
            self.relations.insert(to, relation);
        } else if alter.kind() == SyntaxKind::ALTER_SEQUENCE && self.may_exist(kind, &from) {
            // It may outlive the table after which it was named.
            self.relations.entry(from).or_default();
        }
    }

    /// Whether code may create objects whose names do not occur in it.
    fn may_create_any(&self, code: &Code) -> bool {
        code.root().descendants().any(|node| {
            if code.is_run() && !code.runs(&node) {
                return false;
            }
            match node.kind() {
                SyntaxKind::DO => ast::Do::cast(node).is_some_and(|block| block.plpgsql().is_none()),
                SyntaxKind::PLPGSQL_DYN_EXECUTE_STMT => executes_unknown(&node),
                SyntaxKind::CALL => {
                    let procedure = node.children().find_map(ast::ProcedureNameRef::cast);
                    procedure.is_none_or(|it| !self.is_harmless(it.syntax()))
                }
                SyntaxKind::CALL_EXPR => {
                    let Some(called) = node.first_child() else { return false };
                    if is_selected(&node) && code.is_run() {
                        !self.is_harmless(&called)
                    } else {
                        unqualified(&called).is_some_and(|it| self.opaque.contains(&it))
                    }
                }
                _ => false,
            }
        })
    }

    /// Whether a routine called for its effects is known to create nothing.
    fn is_harmless(&self, called: &SyntaxNode) -> bool {
        const OF_SERVER: [&str; 11] = [
            "count",
            "currval",
            "lastval",
            "max",
            "min",
            "set_config",
            "setseed",
            "setval",
            "sum",
            "to_regclass",
            "to_regtype",
        ];
        // Functions with their own syntax, such as EXTRACT, belong to the server.
        if !matches!(called.kind(), SyntaxKind::NAME_REF | SyntaxKind::FIELD_EXPR | SyntaxKind::PROCEDURE_NAME_REF) {
            return true;
        }
        let text = called.text().to_string().to_ascii_lowercase();
        if text.starts_with("pg_") {
            return true;
        }
        if called.kind() == SyntaxKind::FIELD_EXPR {
            return false;
        }
        let Some(name) = unqualified(called) else { return false };
        if self.routines.contains_key(&name) {
            !self.opaque.contains(&name)
        } else {
            OF_SERVER.contains(&name.as_str()) || volatility::is_known(&name)
        }
    }
}
