//! A statement as a syntax tree, with the trees of the code inside it: the bodies of `DO` blocks and routines, and the
//! constants that PL/pgSQL executes.

use std::collections::VecDeque;
use std::rc::Rc;

use squawk_syntax::ast::{self, AstNode, Stmt};
use squawk_syntax::plpgsql::Plpgsql;
use squawk_syntax::{SourceFile, SyntaxKind, SyntaxNode};

use super::into::without_into;
use crate::sql::statement::{Statement, line_at};

/// A tree, and the mapping from its nodes to the lines of the file.
#[derive(Clone)]
pub(super) struct Code {
    root: SyntaxNode,
    line: Line,
    /// Whether it runs with the migration, instead of being stored for later.
    runs: bool,
}

/// The line of the file on which a node begins.
type Line = Rc<dyn Fn(&SyntaxNode) -> usize>;

/// A statement with all code in it.
pub(super) struct Parsed {
    pub(super) codes: Vec<Code>,
    /// The first error of the parser, with its line.
    pub(super) error: Option<(usize, String)>,
}

/// Statements that contain code without running it.
const ONLY_KEEPS: [SyntaxKind; 7] = [
    SyntaxKind::CREATE_FUNCTION,
    SyntaxKind::CREATE_PROCEDURE,
    SyntaxKind::CREATE_RULE,
    SyntaxKind::CREATE_VIEW,
    SyntaxKind::PREPARE,
    SyntaxKind::DECLARE,
    SyntaxKind::EXPLAIN,
];

impl Parsed {
    /// Parses a statement of a script.
    pub(super) fn of(script: &Rc<str>, statement: &Statement<'_>) -> Self {
        let parse = SourceFile::parse(statement.sql());
        let script = Rc::clone(script);
        let offset = statement.offset();
        let place = move |at: usize| line_at(&script, offset + at);
        let error = parse.errors().first().map(|error| (place(error.range().start().into()), error.to_string()));
        let line: Line = Rc::new(move |node| place(start(node)));
        let mut parsed = Self { codes: Vec::new(), error };
        parsed.add(Code { root: parse.syntax_node(), line, runs: true });
        parsed
    }

    /// Adds a tree and the code inside it.
    fn add(&mut self, code: Code) {
        // A list instead of recursion: blocks may be nested deeper than the stack.
        let mut rest = VecDeque::from([code]);
        while let Some(code) = rest.pop_front() {
            rest.extend(code.root.descendants().filter_map(|node| self.inside(&code, node)));
            self.codes.push(code);
        }
    }

    /// The code that a node contains as text.
    fn inside(&mut self, code: &Code, node: SyntaxNode) -> Option<Code> {
        let outer = Rc::clone(&code.line);
        if let Some(execute) = ast::PlpgsqlDynExecuteStmt::cast(node.clone()) {
            let line = outer(&node);
            let parse = SourceFile::parse(constant(&execute)?.decoded_value()?.text());
            self.note(parse.errors().first().map(|error| (line, error.to_string())));
            return Some(Code { root: parse.syntax_node(), line: Rc::new(move |_| line), runs: code.runs });
        }
        let block = ast::Do::cast(node.clone());
        let function = ast::CreateFunction::cast(node.clone());
        let procedure = ast::CreateProcedure::cast(node.clone());
        let runs = code.runs && block.is_some();
        let plpgsql = (block.and_then(|it| it.plpgsql()))
            .or_else(|| function.as_ref()?.plpgsql())
            .or_else(|| procedure.as_ref()?.plpgsql());
        if let Some(body) = plpgsql {
            let body = Rc::new(body);
            let place = {
                let body = Rc::clone(&body);
                move |inner: &SyntaxNode| body.source_range(inner.text_range()).start().into()
            };
            let line = within(outer, &node, place);
            let code = Code { root: body.syntax(), line, runs };
            self.understand_rest(&body, &code);
            return Some(code);
        }
        // The errors of the statement include its errors.
        let body = function.and_then(|it| it.sql_body()).or_else(|| procedure?.sql_body())?;
        let root = body.syntax();
        let line = within(outer, &node, move |inner| body.source_range(inner.text_range()).start().into());
        Some(Code { root, line, runs })
    }

    /// Parses the rest of PL/pgSQL code that the parser skipped, without the parts that are not SQL.
    fn understand_rest(&mut self, body: &Plpgsql, code: &Code) {
        let mut understood = Vec::new();
        for rest in body.syntax().descendants().filter(|node| node.kind() == SyntaxKind::ERROR) {
            let parse =
                without_into(&rest).map(|sql| SourceFile::parse(&sql)).filter(|parse| parse.errors().is_empty());
            let Some(parse) = parse else { continue };
            understood.push(body.source_range(rest.text_range()));
            let (line, text) = ((code.line)(&rest), rest.text().to_string());
            let line: Line = Rc::new(move |node| line + line_at(&text, start(node)) - 1);
            self.codes.push(Code { root: parse.syntax_node(), line, runs: code.runs });
        }
        let errors = body.errors();
        let error = errors.iter().find(|error| !understood.iter().any(|range| range.contains_range(error.range())));
        self.note(error.map(|error| ((code.line)(&body.syntax()), error.to_string())));
    }

    fn note(&mut self, error: Option<(usize, String)>) {
        if self.error.is_none() {
            self.error = error;
        }
    }
}

impl Code {
    /// The line of the file on which a node begins.
    pub(super) fn line(&self, node: &SyntaxNode) -> usize {
        (self.line)(node)
    }

    /// Whether it runs with the migration.
    pub(super) fn is_run(&self) -> bool {
        self.runs
    }

    /// Whether the statement of a node runs with the migration.
    pub(super) fn runs(&self, node: &SyntaxNode) -> bool {
        let statement = node.ancestors().find(|outer| Stmt::can_cast(outer.kind()));
        self.runs && statement.is_none_or(|statement| !is_kept(&statement))
    }

    pub(super) fn root(&self) -> &SyntaxNode {
        &self.root
    }

    /// The statements that run with the migration, including nested ones.
    pub(super) fn statements(&self) -> impl Iterator<Item = Stmt> {
        let nodes = self.runs.then(|| self.root.descendants()).into_iter().flatten();
        nodes.filter(|node| !is_kept(node)).filter_map(Stmt::cast)
    }
}

/// Maps lines of a body to lines of the file, by counting the lines of the enclosing text up to it.
fn within(outer: Line, holder: &SyntaxNode, place: impl Fn(&SyntaxNode) -> usize + 'static) -> Line {
    let (first, start, text) = (outer(holder), start(holder), holder.text().to_string());
    Rc::new(move |node| first + line_at(&text, place(node).saturating_sub(start)) - 1)
}

/// The constant that `EXECUTE` runs, if it is one constant.
fn constant(execute: &ast::PlpgsqlDynExecuteStmt) -> Option<ast::Literal> {
    let query = execute.query()?;
    let literal = query.syntax().descendants().find_map(ast::Literal::cast)?;
    (literal.syntax().text() == query.syntax().text()).then_some(literal)
}

fn is_kept(node: &SyntaxNode) -> bool {
    node.ancestors().skip(1).any(|outer| ONLY_KEEPS.contains(&outer.kind()))
}

fn start(node: &SyntaxNode) -> usize {
    node.text_range().start().into()
}

/// The identifiers of a name, without quotes and folded, outermost first.
pub(super) fn parts(node: &SyntaxNode) -> Vec<String> {
    node.descendants()
        .filter(|node| matches!(node.kind(), SyntaxKind::PATH_SEGMENT | SyntaxKind::PATH_SEGMENT_REF))
        .map(|segment| ast::normalize_name_node(&segment))
        .collect()
}

/// A name as written, with its schema if it has one.
pub(super) fn name(node: &SyntaxNode) -> String {
    let parts = parts(node);
    if parts.is_empty() { ast::normalize_name_node(node) } else { parts.join(".") }
}

/// The name of a node, which may be missing if the parser did not understand it.
pub(super) fn name_of<N: AstNode>(node: Option<N>) -> Option<String> {
    node.map(|node| name(node.syntax())).filter(|name| !name.is_empty())
}
