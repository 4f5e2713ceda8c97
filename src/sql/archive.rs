//! The statements of an archive of `pg_dump`, as `pg_restore --file=-` prints them.
//!
//! A statement is only recognized here. It is not trusted: the owner of an object wrote its text.

use super::lexer::Lexer;
use super::statement::Statement;
use super::token::Token;

/// A statement of an archive.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ArchiveStatement {
    /// It is only for the session that loads the archive.
    Session,
    /// It restricts psql, in which an object with an unusual name could run commands. A `pg_restore` that prints it cannot be made
    /// to print other statements by such a name.
    Restrict,
    /// A setting that changes how objects are created, to be made for the transaction.
    Setting(String),
    /// It creates a schema of this name.
    CreateSchema(String),
    /// It gives the schema to this role.
    SchemaOwner(String),
    /// It gives another object, in the schema of this name, to a role.
    ObjectOwner { schema: String, role: String },
    /// It grants or revokes privileges of this role, or of everyone.
    Privileges(Option<String>),
    /// It changes the role of the session: privileges that it grants are those of another role.
    OtherGrantor,
    /// The role of the session is the connected one again.
    OwnGrantor,
    /// The rows of a table follow.
    Rows(CopiedTable),
    /// It creates, changes or fills an object.
    Object,
}

/// The table whose rows follow a `COPY … FROM stdin`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CopiedTable {
    pub(crate) schema: String,
    pub(crate) table: String,
    pub(crate) columns: Vec<String>,
}

/// Settings that pg_dump makes for a group of objects.
const OF_OBJECTS: [&str; 3] = ["default_table_access_method", "default_toast_compression", "xmloption"];

/// What a dump of one schema does not contain.
const REFUSED: [&str; 10] = [
    "CREATE DATABASE",
    "ALTER DATABASE",
    "CREATE EXTENSION",
    "CREATE EVENT TRIGGER",
    "CREATE PUBLICATION",
    "CREATE SUBSCRIPTION",
    "CREATE SERVER",
    "CREATE FOREIGN DATA WRAPPER",
    "INSERT INTO",
    "ALTER LARGE OBJECT",
];

impl ArchiveStatement {
    /// Recognizes a statement.
    ///
    /// # Errors
    /// Why it cannot belong to a dump of one schema, as a clause.
    pub(crate) fn of(statement: &Statement<'_>) -> Result<Self, String> {
        if let Some(command) = statement.psql_command() {
            return match command {
                r"\restrict" => Ok(Self::Restrict),
                r"\unrestrict" => Ok(Self::Session),
                _ => Err(format!("it contains the psql command {command}")),
            };
        }
        let tokens: Vec<Token<'_>> = Lexer::new(statement.sql()).map_while(Result::ok).collect();
        let is = |keywords: &str| begins(&tokens, keywords);
        if let Some(refused) = REFUSED.into_iter().find(|keywords| is(keywords)) {
            return Err(match refused {
                "INSERT INTO" => "its rows are INSERT statements; dump without --inserts".to_owned(),
                _ => format!("it contains {refused}, so that it is not the dump of one schema"),
            });
        }
        if is("SET SESSION AUTHORIZATION") {
            return Ok(Self::OtherGrantor);
        }
        if is("RESET SESSION AUTHORIZATION") {
            return Ok(Self::OwnGrantor);
        }
        if is("SET client_encoding") {
            return match tokens.iter().find_map(Token::constant) {
                Some(encoding) if encoding.eq_ignore_ascii_case("UTF8") => Ok(Self::Session),
                _ => Err("its encoding is not UTF8; dump with --encoding=UTF8".to_owned()),
            };
        }
        if is("SET") {
            return Ok(setting(statement.sql(), &tokens));
        }
        if is("SELECT") {
            return match tokens.iter().take(4).find_map(Token::identifier_of_function) {
                Some("set_config") => Ok(Self::Session),
                Some("setval") => Ok(Self::Object),
                _ => Err("it contains a query".to_owned()),
            };
        }
        if is("CREATE SCHEMA") {
            return Ok(Self::CreateSchema(name_at(&tokens, 2)?));
        }
        if is("COPY") {
            return rows(&tokens).map(Self::Rows).ok_or_else(|| "it contains a COPY that is not of a table".to_owned());
        }
        if let [first, .., owner, to, role] = tokens.as_slice()
            && (first.is("ALTER") && owner.is("OWNER") && to.is("TO"))
        {
            let role = role.identifier().ok_or("it gives an object to a role without a name")?;
            return match is("ALTER SCHEMA") {
                true => Ok(Self::SchemaOwner(role)),
                false => Ok(Self::ObjectOwner { schema: qualifier(&tokens)?, role }),
            };
        }
        if is("GRANT") || is("REVOKE") || is("ALTER DEFAULT PRIVILEGES") {
            let role = tokens.iter().rposition(|token| token.is("TO") || token.is("FROM"));
            let role = role.and_then(|at| tokens.get(at + 1));
            return Ok(Self::Privileges(role.filter(|role| !role.is("PUBLIC")).and_then(Token::identifier)));
        }
        Ok(Self::Object)
    }
}

/// A setting for the session, or one for objects.
fn setting(sql: &str, tokens: &[Token<'_>]) -> ArchiveStatement {
    let name = tokens.get(1).and_then(Token::identifier).unwrap_or_default();
    match OF_OBJECTS.contains(&name.as_str()) {
        true => ArchiveStatement::Setting(format!("SET LOCAL{}", &sql["SET".len()..])),
        false => ArchiveStatement::Session,
    }
}

/// `COPY schema.table (column, …) FROM stdin`; the list is omitted for a table without columns.
fn rows(tokens: &[Token<'_>]) -> Option<CopiedTable> {
    let [_, schema, dot, table, rest @ ..] = tokens else { return None };
    let columns = match rest {
        [open, columns @ .., close, from, _] if open.is_symbol("(") && close.is_symbol(")") && from.is("FROM") => {
            columns.iter().filter(|token| !token.is_symbol(",")).map(Token::identifier).collect::<Option<_>>()?
        }
        [from, _] if from.is("FROM") => Vec::new(),
        _ => return None,
    };
    dot.is_symbol(".").then_some(())?;
    Some(CopiedTable { schema: schema.identifier()?, table: table.identifier()?, columns })
}

/// The schema of the first name.
fn qualifier(tokens: &[Token<'_>]) -> Result<String, String> {
    let dot = tokens.iter().position(|token| token.is_symbol("."));
    let schema = dot.and_then(|dot| tokens.get(dot.checked_sub(1)?)).and_then(Token::identifier);
    schema.ok_or_else(|| "it gives an object to a role that is in no schema".to_owned())
}

fn name_at(tokens: &[Token<'_>], place: usize) -> Result<String, String> {
    tokens.get(place).and_then(Token::identifier).ok_or_else(|| "it creates a schema without a name".to_owned())
}

/// Whether the tokens start with these keywords.
fn begins(tokens: &[Token<'_>], keywords: &str) -> bool {
    let mut tokens = tokens.iter();
    keywords.split(' ').all(|keyword| tokens.next().is_some_and(|token| token.is(keyword)))
}

impl Token<'_> {
    /// The name of a function that pg_dump calls.
    fn identifier_of_function(&self) -> Option<&'static str> {
        ["set_config", "setval"].into_iter().find(|name| self.is(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::statement::split;

    fn of(sql: &str) -> Result<ArchiveStatement, String> {
        ArchiveStatement::of(&split(sql).unwrap()[0])
    }

    #[test]
    fn statements_are_recognized() {
        use ArchiveStatement::{
            CreateSchema, Object, ObjectOwner, OtherGrantor, OwnGrantor, Privileges, Restrict, Rows, SchemaOwner,
            Session, Setting,
        };
        let name = str::to_owned;
        let cases = [
            ("SET row_security = off;", Session),
            ("SET client_encoding = 'UTF8';", Session),
            ("SET default_table_access_method = heap;", Setting(name("SET LOCAL default_table_access_method = heap"))),
            ("SELECT pg_catalog.set_config('search_path', '', false);", Session),
            ("SELECT pg_catalog.setval('acme.s', 5, true);", Object),
            ("CREATE SCHEMA \"Acme\";", CreateSchema(name("Acme"))),
            ("ALTER SCHEMA acme OWNER TO \"Me\";", SchemaOwner(name("Me"))),
            ("\\restrict abc", Restrict),
            ("ALTER FUNCTION acme.f(a public.x) OWNER TO me;", ObjectOwner { schema: name("acme"), role: name("me") }),
            ("GRANT SELECT ON TABLE acme.t TO app;", Privileges(Some(name("app")))),
            ("GRANT SELECT(\"from\") ON TABLE acme.t TO app WITH GRANT OPTION;", Privileges(Some(name("app")))),
            ("REVOKE ALL ON SCHEMA acme FROM PUBLIC;", Privileges(None)),
            ("SET SESSION AUTHORIZATION other;", OtherGrantor),
            ("RESET SESSION AUTHORIZATION;", OwnGrantor),
            ("CREATE TABLE acme.t ();", Object),
            (
                "COPY acme.\"T\" (a, \"B c\") FROM stdin;",
                Rows(CopiedTable { schema: name("acme"), table: name("T"), columns: vec![name("a"), name("B c")] }),
            ),
            (
                "COPY acme.t  FROM stdin;",
                Rows(CopiedTable { schema: name("acme"), table: name("t"), columns: Vec::new() }),
            ),
        ];
        for (sql, expected) in cases {
            assert_eq!(of(sql), Ok(expected), "{sql}");
        }
    }

    #[test]
    fn statements_that_a_dump_of_one_schema_does_not_contain_are_refused() {
        for sql in [
            "CREATE EXTENSION citext;",
            "INSERT INTO acme.t VALUES (1);",
            "\\! rm -rf /",
            "SELECT pg_catalog.lo_create('1');",
            "COPY (SELECT 1) TO PROGRAM 'x';",
            "SET client_encoding = 'LATIN1';",
        ] {
            assert!(of(sql).is_err(), "{sql}");
        }
    }
}
