//! Turns a schema that `pg_dump --schema-only` has written into a script for the schemas of tenants.
//!
//! The script names no schema of its own: what the dump qualifies with the dumped schema is unqualified. Tokens decide, and
//! never the text of a string, but for constants of the types `regclass`, `regtype` and `regproc`. What cannot be rewritten
//! with certainty is a [`DumpProblem`].

mod unqualify;

use super::lexer::Lexer;
use super::statement::{Statement, Unterminated, split};
use super::token::Token;
use unqualify::{Unqualified, unqualify};

/// How a dump is turned into a script.
#[derive(Debug, Clone, Default)]
pub(crate) struct DumpOptions {
    /// The dumped schema. By default the only one that the dump creates, or else `public`.
    pub(crate) schema: Option<String>,
    /// What becomes of privileges.
    pub(crate) privileges: Privileges,
}

/// What becomes of the statements `GRANT` and `REVOKE` in a dump.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Privileges {
    /// They are removed.
    #[default]
    Remove,
    /// Those on objects in the schema are kept.
    Keep,
}

/// A script made of a dump.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CleanDump {
    /// The dumped schema.
    pub(crate) schema: String,
    /// The statements.
    pub(crate) script: String,
    /// The extensions that the dump creates, which must exist before the migration.
    pub(crate) extensions: Vec<String>,
    /// What a reader should check, with the line of the dump.
    pub(crate) warnings: Vec<DumpProblem>,
}

/// A statement of a dump that cannot be part of a migration, or that should be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DumpProblem {
    /// The line of the dump.
    pub(crate) line: usize,
    /// The problem, and what to do.
    pub(crate) message: String,
}

/// Why a dump is refused.
#[derive(Debug)]
pub(crate) enum DumpRefused {
    /// It ends inside a string or a comment.
    Unterminated(Unterminated),
    /// Statements that cannot be part of a migration; at least one.
    Problems(Vec<DumpProblem>),
}

/// The settings that a dump makes for the program that loads it.
const SETTINGS: [&str; 13] = [
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "transaction_timeout",
    "client_encoding",
    "standard_conforming_strings",
    "check_function_bodies",
    "xmloption",
    "client_min_messages",
    "row_security",
    "default_with_oids",
    "default_tablespace",
    "default_table_access_method",
];

/// Statements about objects of the database and not of a schema.
const OF_DATABASE: [&str; 16] = [
    "CREATE DATABASE",
    "ALTER DATABASE",
    "CREATE EVENT TRIGGER",
    "CREATE PUBLICATION",
    "ALTER PUBLICATION",
    "CREATE SUBSCRIPTION",
    "CREATE SERVER",
    "CREATE FOREIGN DATA WRAPPER",
    "CREATE USER MAPPING",
    "CREATE CAST",
    "CREATE TRANSFORM",
    "CREATE ACCESS METHOD",
    "CREATE LANGUAGE",
    "CREATE PROCEDURAL LANGUAGE",
    "CREATE TRUSTED PROCEDURAL LANGUAGE",
    "CREATE OR REPLACE PROCEDURAL LANGUAGE",
];

/// The ledger of a tenant, which tenantry creates.
const LEDGER: &str = "__diesel_schema_migrations";

/// Makes a script of a dump.
pub(crate) fn clean(dump: &str, options: &DumpOptions) -> Result<CleanDump, DumpRefused> {
    let statements = split(dump).map_err(DumpRefused::Unterminated)?;
    let schema = schema_of(&statements, options).map_err(|problem| DumpRefused::Problems(vec![problem]))?;
    let mut cleaning = Cleaning { schema: &schema, options, script: DumpScript::default(), problems: Vec::new() };
    for statement in &statements {
        if let Err(message) = cleaning.add(statement) {
            cleaning.problems.push(DumpProblem { line: statement.line(), message });
        }
    }
    let Cleaning { script, problems, .. } = cleaning;
    if !problems.is_empty() {
        return Err(DumpRefused::Problems(problems));
    }
    let DumpScript { text, extensions, warnings, has_routines } = script;
    // As in the dump: a body may use what is created later.
    let before = if has_routines { "SET LOCAL check_function_bodies TO false;\n\n" } else { "" };
    Ok(CleanDump { script: format!("{before}{text}"), schema, extensions, warnings })
}

/// The dumped schema.
fn schema_of(statements: &[Statement<'_>], options: &DumpOptions) -> Result<String, DumpProblem> {
    if let Some(schema) = &options.schema {
        return Ok(schema.clone());
    }
    let mut created = statements.iter().filter_map(|statement| {
        let tokens = tokens(statement.sql());
        begins(&tokens, "CREATE SCHEMA").then(|| Some((statement.line(), tokens.get(2)?.identifier()?))).flatten()
    });
    match (created.next(), created.next()) {
        (None, _) => Ok("public".to_owned()),
        (Some((_, schema)), None) => Ok(schema),
        (Some(_), Some((line, _))) => Err(DumpProblem {
            line,
            message: "the dump has several schemas; add --schema NAME, and dump one with pg_dump --schema=NAME"
                .to_owned(),
        }),
    }
}

#[derive(Default)]
struct DumpScript {
    text: String,
    extensions: Vec<String>,
    warnings: Vec<DumpProblem>,
    has_routines: bool,
}

struct Cleaning<'a> {
    schema: &'a str,
    options: &'a DumpOptions,
    script: DumpScript,
    problems: Vec<DumpProblem>,
}

impl Cleaning<'_> {
    /// Adds a statement to the script, or omits it.
    fn add(&mut self, statement: &Statement<'_>) -> Result<(), String> {
        if let Some(command) = statement.psql_command() {
            return match command {
                r"\restrict" | r"\unrestrict" => Ok(()),
                _ => Err(format!("{command} is a psql command; dump without --create, as plain SQL")),
            };
        }
        let tokens = tokens(statement.sql());
        let is = |keywords: &str| begins(&tokens, keywords);
        if is("COPY") || is("INSERT INTO") || calls(&tokens, "setval") {
            return Err("the dump contains data; dump with --schema-only".to_owned());
        }
        if is("SET") {
            return self.setting(&tokens);
        }
        if is("SELECT") && calls(&tokens, "set_config") {
            return Ok(());
        }
        if let Some(command) = OF_DATABASE.into_iter().find(|command| is(command)) {
            return Err(format!(
                "{command} creates an object of the database and not of a schema; dump with pg_dump --schema=NAME"
            ));
        }
        if is("CREATE EXTENSION") {
            let name = tokens.iter().skip(2).find(|token| !["IF", "NOT", "EXISTS"].iter().any(|word| token.is(word)));
            self.script.extensions.extend(name.and_then(Token::identifier));
            return Ok(());
        }
        if is("COMMENT ON EXTENSION") || is("ALTER DEFAULT PRIVILEGES") || changes_owner(&tokens) {
            return Ok(());
        }
        if is("CREATE SCHEMA") || is("COMMENT ON SCHEMA") || is("ALTER SCHEMA") {
            let place = if is("COMMENT ON SCHEMA") { 3 } else { 2 };
            let name = tokens.get(place).and_then(Token::identifier).unwrap_or_default();
            let is_other = name != self.schema;
            return if is_other {
                Err(format!("schema {name} is not {}: add --schema {name}", self.schema))
            } else {
                Ok(())
            };
        }
        if is("GRANT") || is("REVOKE") {
            let on_schema = tokens.windows(2).any(|pair| pair[0].is("ON") && pair[1].is("SCHEMA"));
            if on_schema || self.options.privileges == Privileges::Remove {
                return Ok(());
            }
        }
        if is_about_ledger(&tokens) {
            return Ok(());
        }
        self.keep(statement, &tokens)
    }

    /// A setting of the preamble is removed; another default of tables is set for the transaction.
    fn setting(&mut self, tokens: &[Token<'_>]) -> Result<(), String> {
        let name = tokens.get(1).and_then(Token::identifier).unwrap_or_default();
        let value = tokens.get(3).and_then(|value| value.constant().or_else(|| value.identifier())).unwrap_or_default();
        match (name.as_str(), value.as_str()) {
            ("client_encoding", encoding) if !encoding.eq_ignore_ascii_case("utf8") => {
                Err("the dump is not UTF-8; dump with --encoding=UTF8".to_owned())
            }
            ("standard_conforming_strings", "off") => {
                Err("standard_conforming_strings is off; dump with PGOPTIONS='-c standard_conforming_strings=on'"
                    .to_owned())
            }
            ("default_tablespace", "") | ("default_table_access_method", "heap") => Ok(()),
            ("default_tablespace" | "default_table_access_method", _) => {
                let value = tokens.get(3).map_or("", |value| value.text);
                self.push(&format!("SET LOCAL {name} TO {value}"));
                Ok(())
            }
            (name, _) if SETTINGS.contains(&name) => Ok(()),
            _ => Err(format!("SET {name} is no setting that pg_dump makes; remove it")),
        }
    }

    fn keep(&mut self, statement: &Statement<'_>, tokens: &[Token<'_>]) -> Result<(), String> {
        let Unqualified { sql, mentions } = unqualify(statement.sql(), tokens, self.schema)?;
        for offset in mentions {
            let line = statement.line() + statement.sql()[..offset].matches('\n').count();
            let message = format!("a string names {} and was kept; check whether it names the schema", self.schema);
            self.script.warnings.push(DumpProblem { line, message });
        }
        self.script.has_routines |= ["CREATE FUNCTION", "CREATE PROCEDURE", "CREATE OR REPLACE FUNCTION"]
            .iter()
            .any(|command| begins(tokens, command));
        self.push(&sql);
        Ok(())
    }

    fn push(&mut self, sql: &str) {
        self.script.text.push_str(sql);
        self.script.text.push_str(";\n\n");
    }
}

fn tokens(sql: &str) -> Vec<Token<'_>> {
    Lexer::new(sql).map_while(Result::ok).collect()
}

/// Whether the tokens start with these keywords.
fn begins(tokens: &[Token<'_>], keywords: &str) -> bool {
    let mut tokens = tokens.iter();
    keywords.split(' ').all(|keyword| tokens.next().is_some_and(|token| token.is(keyword)))
}

/// Whether the statement is a `SELECT` of a function.
fn calls(tokens: &[Token<'_>], function: &str) -> bool {
    begins(tokens, "SELECT") && tokens.iter().take(4).any(|token| token.is(function))
}

/// `ALTER … OWNER TO role`: the last clause of its own statement.
fn changes_owner(tokens: &[Token<'_>]) -> bool {
    begins(tokens, "ALTER") && matches!(tokens, [.., owner, to, _] if owner.is("OWNER") && to.is("TO"))
}

/// Whether the statement creates or alters the ledger of a tenant.
fn is_about_ledger(tokens: &[Token<'_>]) -> bool {
    ["CREATE TABLE", "ALTER TABLE", "COMMENT ON TABLE", "GRANT", "REVOKE"].iter().any(|command| begins(tokens, command))
        && tokens.iter().take(10).any(|token| token.identifier().is_some_and(|name| name == LEDGER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(dump: &str) -> String {
        match clean(dump, &DumpOptions::default()) {
            Ok(clean) => clean.script.trim_end().to_owned(),
            Err(DumpRefused::Problems(problems)) => problems
                .iter()
                .map(|problem| format!("{}: {}", problem.line, problem.message))
                .collect::<Vec<_>>()
                .join("\n"),
            Err(DumpRefused::Unterminated(unterminated)) => unterminated.to_string(),
        }
    }

    #[test]
    fn preamble_owners_and_privileges_are_removed() {
        let dump = "\\restrict abc\nSET statement_timeout = 0;\nSET client_encoding = 'UTF8';\n\
                    SELECT pg_catalog.set_config('search_path', '', false);\nSET default_table_access_method = heap;\n\
                    CREATE SCHEMA acme;\nALTER SCHEMA acme OWNER TO me;\nCREATE EXTENSION IF NOT EXISTS citext WITH SCHEMA public;\n\
                    COMMENT ON EXTENSION citext IS 'x';\nCREATE TABLE acme.a (\n    b public.citext\n);\n\
                    ALTER TABLE acme.a OWNER TO me;\nGRANT SELECT ON TABLE acme.a TO you;\n\\unrestrict abc\n";
        assert_eq!(cleaned(dump), "CREATE TABLE a (\n    b public.citext\n);");
    }

    #[test]
    fn names_are_unqualified_by_tokens() {
        let cases = [
            ("CREATE TABLE public.\"A b\" (i public.mood)", "CREATE TABLE \"A b\" (i mood)"),
            (
                "ALTER TABLE ONLY public.a ALTER COLUMN id SET DEFAULT nextval('public.a_id_seq'::regclass)",
                "ALTER TABLE ONLY a ALTER COLUMN id SET DEFAULT nextval('a_id_seq'::regclass)",
            ),
            ("ALTER SEQUENCE public.s OWNED BY public.a.id", "ALTER SEQUENCE s OWNED BY a.id"),
            ("CREATE TABLE public.a (b text DEFAULT 'public house')", "CREATE TABLE a (b text DEFAULT 'public house')"),
            ("CREATE VIEW public.v AS\n SELECT a.id\n   FROM public.a", "CREATE VIEW v AS\n SELECT a.id\n   FROM a"),
            ("COMMENT ON TABLE public.a IS 'public.a'", "COMMENT ON TABLE a IS 'public.a'"),
            ("CREATE TABLE public.a (public boolean)", "CREATE TABLE a (public boolean)"),
        ];
        for (dump, script) in cases {
            assert_eq!(cleaned(&format!("{dump};")), format!("{script};"), "{dump}");
        }
        let function = "CREATE FUNCTION public.f() RETURNS trigger\n    LANGUAGE plpgsql\n    AS $$ BEGIN INSERT INTO public.a VALUES (1); END $$;";
        assert_eq!(
            cleaned(function),
            format!("SET LOCAL check_function_bodies TO false;\n\n{}", function.replace("public.", ""))
        );
    }

    #[test]
    fn what_is_not_certain_is_refused_with_its_line() {
        let refused = [
            "COPY public.a (i) FROM stdin;\n1\n\\.\n",
            "INSERT INTO public.a VALUES (1);",
            "\\connect shop",
            "CREATE PUBLICATION p;",
            "CREATE SCHEMA a; CREATE SCHEMA b;",
            "CREATE TABLE public.public (i int);",
            "CREATE VIEW public.v AS SELECT public.id FROM public.a public;",
            "CREATE FUNCTION public.f() RETURNS void LANGUAGE plpgsql SET search_path TO 'public' AS $$ BEGIN END $$;",
            "CREATE FUNCTION public.f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'TABLE public.a'; END $$;",
            "CREATE TABLE public.a (i int DEFAULT nextval(('public.s'::text)::regclass));",
            "SET client_encoding = 'LATIN1';",
        ];
        for dump in refused {
            let text = cleaned(&format!("SET lock_timeout = 0;\n{dump}"));
            assert!(text.starts_with("2: "), "{dump}: {text}");
        }
    }

    #[test]
    fn a_string_that_may_name_the_schema_is_reported() {
        let clean =
            clean("\nCREATE TABLE public.a (\n  b text DEFAULT 'public.a'\n);", &DumpOptions::default()).unwrap();
        assert_eq!(clean.warnings.iter().map(|warning| warning.line).collect::<Vec<_>>(), [3]);
    }
}
