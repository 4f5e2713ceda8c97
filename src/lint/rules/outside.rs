//! Effects outside the tenant: names in another schema, and objects that belong to no schema.

use squawk_syntax::ast::{self, AstNode, Expr, ReindexTarget, Stmt};
use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::Look;
use crate::lint::code::{name, parts};
use crate::lint::rule::Rule;
use crate::model::SchemaName;
use crate::sql::statement::identifiers;

/// The schemas that a migration may use.
pub(in crate::lint) struct Borders<'a> {
    pub(in crate::lint) extension_schemas: &'a [SchemaName],
}

/// The server's own schemas, and that of temporary tables.
const EVERYBODYS: [&str; 3] = ["pg_catalog", "information_schema", "pg_temp"];

/// Functions whose first argument names an object.
const NAMED_BY_TEXT: [&str; 8] = [
    "nextval",
    "currval",
    "setval",
    "to_regclass",
    "to_regtype",
    "to_regproc",
    "to_regprocedure",
    "pg_get_serial_sequence",
];

impl Borders<'_> {
    /// Checks all code, including code that is stored for later.
    pub(in crate::lint) fn check(&self, look: &mut Look<'_>) {
        for node in look.code.root().descendants() {
            if let Some((schema, object)) = named(&node).filter(|(schema, _)| !self.allow(schema)) {
                let message = format!(
                    "{object} is in schema {schema} for every tenant that is migrated: it is shared, or belongs to another \
                     tenant"
                );
                look.find(Rule::NamesOtherSchema, &node, object, message);
            }
            if let Some(stmt) = Stmt::cast(node) {
                of_no_schema(look, &stmt);
            }
        }
    }

    fn allow(&self, schema: &str) -> bool {
        EVERYBODYS.contains(&schema) || self.extension_schemas.iter().any(|known| known.as_str() == schema)
    }
}

/// The schema in a node's name, and the whole name.
fn named(node: &SyntaxNode) -> Option<(String, String)> {
    match node.kind() {
        SyntaxKind::PATH | SyntaxKind::PATH_REF => path(node),
        SyntaxKind::CALL_EXPR => call(&ast::CallExpr::cast(node.clone())?),
        SyntaxKind::CAST_EXPR => cast(&ast::CastExpr::cast(node.clone())?),
        SyntaxKind::CONFIG_VALUE_NAME | SyntaxKind::LITERAL => on_path(node),
        SyntaxKind::SCHEMA_REF => {
            // These are reported as commands.
            let commands = [SyntaxKind::DROP_SCHEMA, SyntaxKind::ALTER_SCHEMA, SyntaxKind::CREATE_SCHEMA];
            let is_reported = node.parent().is_some_and(|parent| commands.contains(&parent.kind()));
            (!is_reported).then(|| (name(node), name(node)))
        }
        _ => None,
    }
}

fn path(node: &SyntaxNode) -> Option<(String, String)> {
    let holder = node.parent()?;
    let behind = match holder.kind() {
        // Part of a longer name.
        SyntaxKind::PATH | SyntaxKind::PATH_REF => return None,
        // Not the name of an object.
        SyntaxKind::CONFIG_PARAMETER_REF | SyntaxKind::CONSTRAINT_NAME_REF | SyntaxKind::PLPGSQL_ALIAS_TARGET => {
            return None;
        }
        // A column after its table.
        SyntaxKind::PERCENT_TYPE | SyntaxKind::QUALIFIED_COLUMN_NAME_REF => 3,
        _ => 2,
    };
    let parts = parts(node);
    let schema = parts.len().checked_sub(behind)?;
    Some((parts[schema].clone(), parts.join(".")))
}

fn call(call: &ast::CallExpr) -> Option<(String, String)> {
    let (schema, function) = match call.expr()? {
        Expr::FieldExpr(it) => match it.base()? {
            Expr::NameRef(base) => (Some(name(base.syntax())), name(it.field()?.syntax())),
            _ => return None,
        },
        Expr::NameRef(it) => (None, name(it.syntax())),
        _ => return None,
    };
    match schema {
        Some(schema) if schema != "pg_catalog" => {
            let object = format!("{schema}.{function}");
            Some((schema, object))
        }
        _ if NAMED_BY_TEXT.contains(&function.as_str()) => {
            let first = call.arg_list()?.syntax().children().next()?;
            in_text(&first.children().find_map(ast::Literal::cast)?)
        }
        _ => None,
    }
}

/// A schema on the search path that is set for a function.
fn on_path(value: &SyntaxNode) -> Option<(String, String)> {
    let setting = value.parent().filter(|list| list.kind() == SyntaxKind::TO_CONFIG_VALUE)?.parent()?;
    let parameter = setting.children().find_map(ast::ConfigParameterRef::cast)?;
    let schema = match ast::Literal::cast(value.clone()) {
        Some(text) => text.string_value()?,
        None => name(value),
    };
    let leads_somewhere = name(parameter.syntax()) == "search_path" && !["", "$user"].contains(&schema.as_str());
    leads_somewhere.then(|| (schema.clone(), schema))
}

fn cast(cast: &ast::CastExpr) -> Option<(String, String)> {
    let ty = name(cast.ty()?.syntax());
    let literal = cast.syntax().children().find_map(ast::Literal::cast)?;
    match ty.as_str() {
        "regclass" | "regtype" | "regproc" | "regprocedure" | "regoper" | "regoperator" | "regcollation"
        | "regconfig" | "regdictionary" => in_text(&literal),
        "regnamespace" => {
            let schema = identifiers(&literal.string_value()?).next()?;
            Some((schema.clone(), schema))
        }
        _ => None,
    }
}

/// The schema in a constant that names an object.
fn in_text(literal: &ast::Literal) -> Option<(String, String)> {
    let text = literal.string_value()?;
    let head = text.split('(').next()?;
    if !head.contains('.') {
        return None;
    }
    let parts: Vec<String> = identifiers(head).collect();
    let schema = parts.len().checked_sub(2)?;
    Some((parts[schema].clone(), parts.join(".")))
}

fn of_no_schema(look: &mut Look<'_>, stmt: &Stmt) {
    if let Stmt::DropSchema(it) = stmt {
        for schema in it.schema_refs() {
            let schema = name(schema.syntax());
            let message = format!("the schema {schema} is dropped, which no migration of a tenant may do");
            look.find(Rule::DropSchema, it.syntax(), schema, message);
        }
        return;
    }
    let Some(what) = what_of_no_schema(stmt) else { return };
    let message =
        format!("{what} belongs to no tenant: the statement runs once for each tenant, and affects all of them");
    look.find(Rule::ObjectOutsideTenant, stmt.syntax(), what, message);
}

/// The kind of object that a command changes, if it belongs to the database or the server.
fn what_of_no_schema(stmt: &Stmt) -> Option<&'static str> {
    Some(match stmt {
        Stmt::CreateExtension(_) | Stmt::AlterExtension(_) | Stmt::DropExtension(_) => "an extension",
        Stmt::CreateRole(_) | Stmt::AlterRole(_) | Stmt::DropRole(_) => "a role",
        Stmt::CreateUser(_) | Stmt::AlterUser(_) | Stmt::DropUser(_) => "a role",
        Stmt::CreateGroup(_) | Stmt::AlterGroup(_) | Stmt::DropGroup(_) => "a role",
        Stmt::CreateDatabase(_) | Stmt::AlterDatabase(_) | Stmt::DropDatabase(_) => "a database",
        Stmt::CreateSchema(_) | Stmt::AlterSchema(_) => "a schema",
        Stmt::CreateTablespace(_) | Stmt::AlterTablespace(_) | Stmt::DropTablespace(_) => "a tablespace",
        Stmt::CreateEventTrigger(_) | Stmt::AlterEventTrigger(_) | Stmt::DropEventTrigger(_) => "an event trigger",
        Stmt::CreatePublication(_) | Stmt::AlterPublication(_) | Stmt::DropPublication(_) => "a publication",
        Stmt::CreateSubscription(_) | Stmt::AlterSubscription(_) | Stmt::DropSubscription(_) => "a subscription",
        Stmt::CreateForeignDataWrapper(_) | Stmt::AlterForeignDataWrapper(_) | Stmt::DropForeignDataWrapper(_) => {
            "a foreign-data wrapper"
        }
        Stmt::CreateServer(_) | Stmt::AlterServer(_) | Stmt::DropServer(_) => "a foreign server",
        Stmt::CreateUserMapping(_) | Stmt::AlterUserMapping(_) | Stmt::DropUserMapping(_) => "a user mapping",
        Stmt::CreateLanguage(_) | Stmt::AlterLanguage(_) | Stmt::DropLanguage(_) => "a language",
        Stmt::CreateCast(_) | Stmt::DropCast(_) => "a cast",
        Stmt::CreateTransform(_) | Stmt::DropTransform(_) => "a transform",
        Stmt::CreateAccessMethod(_) | Stmt::DropAccessMethod(_) => "an access method",
        Stmt::AlterLargeObject(_) => "a large object",
        Stmt::AlterSystem(_) => "the server's settings",
        Stmt::Checkpoint(_) => "a checkpoint of the server",
        Stmt::DropOwned(_) | Stmt::Reassign(_) => "all that a role owns",
        Stmt::Grant(it) => granted(it.syntax())?,
        Stmt::Revoke(it) => granted(it.syntax())?,
        Stmt::AlterTable(it) if it.all_in_tablespace().is_some() => "all tables in a tablespace",
        Stmt::AlterIndex(it) if it.all_in_tablespace().is_some() => "all indexes in a tablespace",
        Stmt::AlterMaterializedView(it) if it.all_in_tablespace().is_some() => "all views in a tablespace",
        Stmt::Vacuum(it) if it.table_and_columns_list().is_none() => "every table of the database",
        Stmt::Analyze(it) if it.table_and_columns_list().is_none() => "every table of the database",
        Stmt::Cluster(it) if it.table_name_ref().is_none() && it.cluster_legacy().is_none() => {
            "every clustered table of the database"
        }
        Stmt::Reindex(it) => match it.reindex_target() {
            Some(ReindexTarget::ReindexTargetDatabase(_) | ReindexTarget::ReindexTargetSystem(_)) => {
                "every index of the database"
            }
            _ => return None,
        },
        _ => return None,
    })
}

/// The object of granted or revoked privileges, if it belongs to no schema.
fn granted(statement: &SyntaxNode) -> Option<&'static str> {
    let Some(on) = statement.children().find_map(ast::OnPrivilegeObjectsClause::cast) else {
        return Some("membership in a role");
    };
    on.syntax().children().find_map(|objects| match objects.kind() {
        SyntaxKind::PRIVILEGE_DATABASE => Some("a database"),
        SyntaxKind::PRIVILEGE_TABLESPACE => Some("a tablespace"),
        SyntaxKind::PRIVILEGE_LANGUAGE => Some("a language"),
        SyntaxKind::PRIVILEGE_FOREIGN_SERVER => Some("a foreign server"),
        SyntaxKind::PRIVILEGE_FOREIGN_DATA_WRAPPER => Some("a foreign-data wrapper"),
        SyntaxKind::PRIVILEGE_LARGE_OBJECT => Some("a large object"),
        SyntaxKind::PRIVILEGE_PARAMETER => Some("the server's settings"),
        _ => None,
    })
}
