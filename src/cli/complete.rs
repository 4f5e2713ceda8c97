//! Completion of command lines: the shell runs the program with [`VARIABLE`], and it prints the candidates.
//!
//! Values come from the database and the migrations: tenants, ids of runs, versions and codes. A database that does not
//! answer in time has no candidates. Nothing is printed to standard error.

use std::collections::HashSet;
use std::ffi::OsString;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use clap::{Arg, Command};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::CompleteEnv;
use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Text;

use super::{App, codes, context, dotenv, parse, project};
use crate::migration::MigrationSet;
use crate::schema::drift::Level;

/// The variable with the name of the shell that the registration script sets.
pub(super) const VARIABLE: &str = "_TENANTRY_COMPLETE";

/// How long the database may take, with the connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// At most this many names are offered.
const MOST: usize = 1_000;

/// Prints the candidates and exits, if a shell asks for them.
pub(super) fn complete_if_asked(app: &App) {
    if std::env::var_os(VARIABLE).is_none() {
        return;
    }
    // Settings that cannot be read are not used.
    let _ = dotenv::load();
    CompleteEnv::with_factory(|| command(app)).var(VARIABLE).complete();
}

/// The command of a program with candidates for its values.
fn command(app: &App) -> Command {
    with_values(parse::command(app.program), app)
}

fn with_values(command: Command, app: &App) -> Command {
    let name = command.get_name().to_owned();
    command
        .mut_args(|arg| match Values::of(&name, &arg) {
            Some(values) => {
                let app = app.clone();
                arg.add(ArgValueCandidates::new(move || values.candidates(&app)))
            }
            None => arg,
        })
        .mut_subcommands(|subcommand| with_values(subcommand, app))
}

/// What the values of an option are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Values {
    Tenants,
    /// Keys of labels, with their values.
    Labels,
    Runs,
    Versions,
    /// Codes of findings and differences, and levels.
    Findings,
    /// Codes of findings and differences.
    Codes,
}

impl Values {
    /// The values of an argument, by the name that its help shows.
    fn of(command: &str, arg: &Arg) -> Option<Self> {
        let shown = arg.get_value_names().and_then(<[_]>::first).map_or("", |name| name.as_str());
        match (command, shown) {
            // These name new tenants or untracked schemas.
            ("create" | "adopt" | "new-migration" | "grants", "NAME") => None,
            (_, "NAME" | "OTHER") if arg.is_positional() => Some(Self::Tenants),
            (_, "TENANT" | "TENANT|FILE") => Some(Self::Tenants),
            (_, "KEY[=VALUE]") => Some(Self::Labels),
            (_, "RUN") => Some(Self::Runs),
            (_, "VERSION" | "VERSION|FIRST..LAST") => Some(Self::Versions),
            (_, "CODE|LEVEL") => Some(Self::Findings),
            (_, "PATTERN") => Some(Self::Codes),
            _ => None,
        }
    }

    fn candidates(self, app: &App) -> Vec<CompletionCandidate> {
        let values = match self {
            // Only the tracker's own tables are read, on the search path of the catalog: no code of a tenant runs.
            Self::Tenants => read(
                app,
                "SELECT name AS value, state::pg_catalog.text AS help FROM public.schema_tracker ORDER BY name",
            ),
            Self::Labels => read(
                app,
                "SELECT l.key AS value, pg_catalog.string_agg(DISTINCT l.value, ' ' ORDER BY l.value) AS help \
                 FROM public.schema_tracker AS t CROSS JOIN LATERAL pg_catalog.jsonb_each_text(t.labels) AS l \
                 GROUP BY l.key ORDER BY l.key",
            ),
            Self::Runs => read(
                app,
                "SELECT id::pg_catalog.text AS value, pg_catalog.concat_ws(' ', command, outcome) AS help \
                 FROM public.schema_run ORDER BY id DESC",
            ),
            Self::Versions => versions(app).unwrap_or_default(),
            Self::Findings => {
                let levels = Level::ALL.map(Level::as_str).into_iter().chain([codes::WARNING]);
                codes::all().chain(levels.map(str::to_owned)).map(Value::plain).collect()
            }
            Self::Codes => codes::all().map(Value::plain).collect(),
        };
        let mut seen = HashSet::new();
        values
            .into_iter()
            .filter(|value| is_plain_word(&value.value) && seen.insert(value.value.clone()))
            .enumerate()
            .map(|(place, value)| {
                let help = (!value.help.is_empty()).then(|| crate::text::one_line(&value.help).into_owned().into());
                CompletionCandidate::new(value.value).help(help).display_order(Some(place))
            })
            .collect()
    }
}

/// A value and its description.
#[derive(QueryableByName)]
struct Value {
    #[diesel(sql_type = Text)]
    value: String,
    #[diesel(sql_type = Text)]
    help: String,
}

impl Value {
    fn plain(value: String) -> Self {
        Self { value, help: String::new() }
    }
}

/// Whether no shell interprets the word. Other names are not offered: bash would insert them unquoted.
fn is_plain_word(word: &str) -> bool {
    !word.is_empty()
        && !word.starts_with(['-', '~', '='])
        && word.chars().all(|c| c.is_alphanumeric() || "_-.,%+/".contains(c))
}

/// The rows of a query, or none if the database does not answer in time.
fn read(app: &App, query: &str) -> Vec<Value> {
    let given = option("--database-url").or_else(|| std::env::var("DATABASE_URL").ok());
    let sql = format!("{query} LIMIT {MOST}");
    let program = app.program;
    let (sender, rows) = mpsc::channel();
    // A thread, which ends with the process: resolving the name of a host has no time limit.
    thread::spawn(move || {
        let found = (|| -> Result<Vec<Value>> {
            let mut conn = context::connector(given.as_deref(), PATIENCE, program)?.connect()?;
            Ok(query_rows(&mut conn, &sql)?)
        })();
        // The receiver may have given up.
        let _ = sender.send(found.unwrap_or_default());
    });
    rows.recv_timeout(PATIENCE).unwrap_or_default()
}

fn query_rows(conn: &mut PgConnection, sql: &str) -> QueryResult<Vec<Value>> {
    conn.batch_execute("BEGIN READ ONLY; SET LOCAL lock_timeout TO '500ms'; SET LOCAL statement_timeout TO '1500ms';")?;
    sql_query(sql).load(conn)
}

/// The versions of the tenant migrations, newest first.
fn versions(app: &App) -> Result<Vec<Value>> {
    let given = option("--tenant-migrations").or_else(|| std::env::var("TENANTRY_TENANT_MIGRATIONS").ok());
    let set = match (given.filter(|dir| !dir.is_empty()), app.tenant) {
        (Some(dir), _) => MigrationSet::from_dir(dir.as_ref())?,
        (None, Some(embedded)) => MigrationSet::from_embedded(embedded)?,
        (None, None) => match project::tenant_migrations()? {
            Some(dir) => MigrationSet::from_dir(&dir)?,
            None => return Ok(Vec::new()),
        },
    };
    let newest_first = set.versioned().rev();
    Ok(newest_first
        .map(|migration| Value { value: migration.version().to_string(), help: migration.folder().to_owned() })
        .collect())
}

/// The value of an option in the words that are completed.
fn option(name: &str) -> Option<String> {
    let words: Vec<OsString> = std::env::args_os().skip_while(|word| word != "--").collect();
    let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    words.iter().enumerate().find_map(|(place, word)| {
        let value = word.strip_prefix(name)?;
        match value.strip_prefix('=') {
            Some(value) => Some(value.to_owned()),
            None if value.is_empty() => words.get(place + 1).map(|value| (*value).to_owned()),
            None => None,
        }
    })
}

/// The script that makes a shell ask the program for candidates.
pub(super) fn registration(program: &str, shell: &str) -> Result<Vec<u8>> {
    let mut script = Vec::new();
    if let Some(completer) = clap_complete::env::Shells::builtins().completer(shell) {
        completer.write_registration(VARIABLE, program, program, program, &mut script)?;
    }
    Ok(script)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn words_that_a_shell_interprets_are_not_offered() {
        for word in ["acme", "größe", "20260105090000", "column.type", "a-b_c"] {
            assert!(is_plain_word(word), "{word}");
        }
        for word in
            ["", "a b", "$(touch x)", "`x`", "a;b", "a'b", "a\"b", "-f", "~x", "a\nb", "a*", "a\u{b}b", "a\\b", "a:b"]
        {
            assert!(!is_plain_word(word), "{word}");
        }
    }

    #[test]
    fn every_value_that_names_something_has_candidates() {
        let app = App::without_migrations("tenantry");
        let mut found = String::new();
        for command in parse::command(app.program).get_subcommands() {
            for inner in std::iter::once(command).chain(command.get_subcommands()) {
                for arg in inner.get_arguments() {
                    if let Some(values) = Values::of(inner.get_name(), arg) {
                        let _ = writeln!(found, "{} {values:?}", inner.get_name());
                    }
                }
            }
        }
        let expected = [
            "migrate-one Tenants",
            "revert-one Tenants",
            "drop Tenants",
            "diff Tenants",
            "repair-plan Tenants",
            "print-schema Tenants",
            "reference Tenants",
            "label Tenants",
            "list Labels",
            "show Runs",
            "migrate-all Runs",
            "migrate-all Versions",
            "adopt Versions",
            "repair Versions",
            "health-check Findings",
            "diff Findings",
        ];
        let missing: Vec<&str> = expected.into_iter().filter(|line| !found.lines().any(|one| one == *line)).collect();
        assert_eq!(missing, [""; 0], "{found}");
        assert!(!found.contains("create Tenants") && !found.contains("adopt Tenants"), "{found}");
    }
}
