//! Fleets on several servers. Databases of the shared server are the servers, unless one must be stopped.

mod add;
mod findings;
mod joint;
mod locate;
mod manage;
mod outages;
mod placing;
mod single;

use std::os::unix::fs::symlink;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Database, Output, Tenantry, percent_encoded, server, set_up, socket_of};

/// A registry named `main`, and other servers.
pub struct Fleet {
    pub registry: Database,
    others: Vec<(&'static str, Database, Option<Line>)>,
}

/// The way to a server, which can be cut: a link to its socket.
pub struct Line(TempDir);

impl Line {
    pub fn new() -> Self {
        let line = Self(tempfile::tempdir().expect("a temporary folder"));
        line.restore();
        line
    }

    /// The URL of a database of the shared server by this way.
    pub fn url(&self, database: &str) -> String {
        let (_, port) = socket_of(server());
        format!(
            "postgresql://postgres@/{database}?host={}&port={port}",
            percent_encoded(&self.0.path().to_string_lossy())
        )
    }

    pub fn cut(&self) {
        std::fs::remove_file(self.0.path().join(socket())).expect("a link");
    }

    pub fn restore(&self) {
        let (folder, _) = socket_of(server());
        symlink(std::path::Path::new(&folder).join(socket()), self.0.path().join(socket())).expect("a link");
    }
}

/// The name of the socket of the shared server.
fn socket() -> String {
    format!(".s.PGSQL.{}", socket_of(server()).1)
}

impl Fleet {
    /// A fleet without tenants. Each server is in a region with its name, but the registry.
    pub fn of(names: &[&'static str]) -> Self {
        Self::made(names, false)
    }

    /// The same, and the ways to the other servers can be cut.
    pub fn with_lines(names: &[&'static str]) -> Self {
        Self::made(names, true)
    }

    fn made(names: &[&'static str], has_lines: bool) -> Self {
        let mut fleet = Self { registry: set_up(), others: Vec::new() };
        for name in names {
            let (db, line) = (set_up(), has_lines.then(Line::new));
            let url = line.as_ref().map_or_else(|| db.url(), |line| line.url(db.name()));
            fleet.run(&["server", "add", name, "--url", &url, "--region", name]);
            fleet.others.push((name, db, line));
        }
        fleet
    }

    /// A server that is not the registry.
    pub fn server(&self, name: &str) -> &Database {
        &self.others.iter().find(|(known, ..)| *known == name).expect("a server").1
    }

    /// The way to a server.
    pub fn line(&self, name: &str) -> &Line {
        self.others.iter().find(|(known, ..)| *known == name).and_then(|(.., line)| line.as_ref()).expect("a line")
    }

    /// A command with the registry's URL.
    pub fn tenantry(&self, args: &[&str]) -> Tenantry {
        self.registry.tenantry(args)
    }

    /// Runs a command that succeeds.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Output {
        self.ends(args, 0)
    }

    /// Runs a command that ends with a status.
    #[track_caller]
    pub fn ends(&self, args: &[&str], code: i32) -> Output {
        let output = self.tenantry(args).run();
        output.assert_code(code);
        output
    }

    /// Runs a command that ends with a status and has this in its messages.
    #[track_caller]
    pub fn says(&self, args: &[&str], code: i32, texts: &[&str]) -> Output {
        let output = self.ends(args, code);
        for text in texts {
            assert!(output.stderr.contains(text), "no `{text}` in:\n{}", output.stderr);
        }
        output
    }

    /// The JSON of a command that succeeds.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        self.run(&[args, &["--format", "json"]].concat()).json()
    }

    /// The placements in a database, such as `acme main active`.
    pub fn placed(&self, db: &Database) -> Vec<String> {
        db.strings(
            "SELECT p.tenant || ' ' || s.name || ' ' || p.state FROM schema_placement p JOIN schema_server s ON s.id = p.server \
             WHERE p.state <> 'gone' ORDER BY p.tenant COLLATE \"C\"",
        )
    }
}

/// The tenants of a server.
fn tracked(db: &Database) -> Vec<String> {
    db.strings("SELECT name FROM schema_tracker ORDER BY name COLLATE \"C\"")
}

/// All rows of all tables of a database outside the system's, as text.
fn everything(db: &Database) -> String {
    let tables = db.strings(
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = 'r' AND n.nspname !~ '^(pg_|information_schema)' ORDER BY 1",
    );
    let mut all = String::new();
    for table in tables {
        all += &format!("{table}\n");
        for row in db.strings(&format!("SELECT t::text FROM {table} AS t ORDER BY 1")) {
            all += &row;
            all.push('\n');
        }
    }
    all
}

/// The values of a key in the items of a list.
pub fn texts<'a>(list: &'a Value, key: &str) -> Vec<&'a str> {
    list.as_array().expect("a list").iter().map(|item| item[key].as_str().unwrap_or("null")).collect()
}
