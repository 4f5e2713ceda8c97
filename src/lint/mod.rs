//! Which statements of the tenant migrations are known to hurt a live table, or reach outside the tenant.
//!
//! Nothing is run and no database is asked: a parser ([squawk]'s) reads the migrations in order, and what is known of the
//! structure before a statement comes from those before it. A table is *live* unless the same migration made it: what a
//! migration makes is new and empty, and nobody waits for it.
//!
//! The code of `DO` blocks is looked at as if all of it were run, whatever its conditions say, and constants that it
//! executes are looked at, too. The bodies of functions and procedures in SQL and PL/pgSQL are searched for names that
//! reach outside the tenant. Not seen is what is put together at run time (`EXECUTE format(…)`), what a function does that
//! a migration calls, and code in other languages.
//!
//! Short locks that no order of statements avoids are not reported: the one that each `ALTER TABLE` takes for a moment, or
//! that of `CREATE TABLE … REFERENCES` on the referenced table.
//!
//! A comment before a statement, or in it, accepts what a rule finds there: `-- tenantry: accept RULE: reason`.
//!
//! Of `down.sql`, only what reaches outside the tenant is reported. Its names are checked against the state after `up.sql`.
//!
//! [squawk]: https://squawkhq.com

mod acceptance;
mod code;
mod history;
mod into;
mod names;
mod rule;
mod rules;
mod tree;
mod types;

use std::rc::Rc;

use crate::migration::{MigrationSet, Script, Version};
use crate::sql::statement::Statement;
use crate::tenants::Tenancy;

use acceptance::{Acceptance, acceptances};
use code::Parsed;
use history::History;
use names::Names;
use rules::{Borders, Found, Held, Look};

pub use rule::{Rule, UnknownRule};

/// A statement that a rule warns of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// The migration's place in the set, counted from 0.
    pub migration: usize,
    /// The migration's version.
    pub version: Version,
    /// The migration's folder.
    pub folder: String,
    /// Which of its files.
    pub file: File,
    /// The line of the file, counted from 1.
    pub line: usize,
    /// The statement; of an acceptance, the comment.
    pub statement: String,
    /// What it is about: a table, a column as `table.column`, an index, a name.
    pub object: Option<String>,
    /// What happens, and to whom.
    pub message: String,
    /// Why it is accepted, where it is.
    pub accepted: Option<String>,
}

/// A file of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    /// `up.sql`
    Up,
    /// `down.sql`
    Down,
}

impl File {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up.sql",
            Self::Down => "down.sql",
        }
    }
}

impl Finding {
    /// The folder, file and line: `20260105090000_create_users/up.sql:3`.
    pub fn place(&self) -> String {
        format!("{}/{}:{}", self.folder, self.file.as_str(), self.line)
    }
}

/// What is found in the tenant migrations, in their order, accepted findings among the others.
///
/// All migrations are read, because the effect of a migration depends on earlier ones. To get the findings of some, such as
/// the pending ones, filter by [`Finding::migration`].
pub fn lint(tenancy: &Tenancy) -> Vec<Finding> {
    let set = tenancy.tenant_migrations();
    let borders = Borders { extension_schemas: tenancy.extension_schemas() };
    let mut history = History::default();
    let mut names = Names::default();
    let mut findings = Vec::new();
    for (index, migration) in set.iter().enumerate() {
        history.enter(index);
        let mut reading =
            Reading { set, migration: index, history: &mut history, borders: &borders, held: Held::default() };
        findings.extend(reading.script(migration.up(), File::Up, &mut names));
        if let Some(down) = migration.down() {
            findings.extend(reading.script(down, File::Down, &mut names.clone()));
        }
    }
    findings
}

/// A migration that is read.
struct Reading<'a> {
    set: &'a MigrationSet,
    migration: usize,
    history: &'a mut History,
    borders: &'a Borders<'a>,
    held: Held,
}

impl Reading<'_> {
    fn script(&mut self, script: &Script, file: File, names: &mut Names) -> Vec<Finding> {
        names.enter();
        let statements = script.statements();
        let text: Rc<str> = script.text().into();
        let mut acceptances: Vec<(Acceptance, bool)> =
            acceptances(script.text(), &statements).into_iter().map(|it| (it, false)).collect();
        let mut findings = Vec::new();
        for (index, statement) in statements.iter().enumerate() {
            for found in self.statement(&text, statement, file, names) {
                let fits = |it: &&mut (Acceptance, bool)| it.0.accepts(index, found.rule);
                let accepted = acceptances.iter_mut().find(fits).and_then(|(acceptance, used)| {
                    *used = true;
                    Some(acceptance.meaning.as_ref().ok()?.reason.clone())
                });
                let accepted = match accepted {
                    None if found.rule.is_about_outside() => {
                        self.set.at(self.migration).changes_outside().map(str::to_owned)
                    }
                    accepted => accepted,
                };
                findings.push(Finding { accepted, ..self.finding(found, file, statement.sql()) });
            }
        }
        // Where names are not checked, nothing is known of what is accepted.
        let names_checked = !self.borders.extension_schemas.is_empty() && !names.any_may_exist();
        let is_of_names = |it: &Acceptance| it.meaning.as_ref().is_ok_and(|it| it.rule == Rule::UnknownName);
        let is_unused = |(it, used): &&(Acceptance, bool)| {
            let is_judged = names_checked || it.statement.is_none() || !is_of_names(it);
            !used && is_judged
        };
        for (acceptance, _) in acceptances.iter().filter(is_unused) {
            findings.push(self.finding(about(acceptance), file, &acceptance.text));
        }
        findings.sort_by_key(|finding| finding.line);
        findings
    }

    /// What is found in a statement, each rule once for each object.
    fn statement(&mut self, script: &Rc<str>, statement: &Statement<'_>, file: File, names: &mut Names) -> Vec<Found> {
        let parsed = Parsed::of(script, statement);
        let mut found: Vec<Found> = Vec::new();
        if let Some((line, error)) = &parsed.error {
            let message = format!("the parser says: {error}");
            found.push(Found { rule: Rule::NotUnderstood, line: *line, object: None, message });
        }
        let checks_names = !self.borders.extension_schemas.is_empty();
        if checks_names {
            names.create(&parsed);
        }
        for code in &parsed.codes {
            if file == File::Up {
                for stmt in code.statements() {
                    let (set, migration) = (self.set, self.migration);
                    let mut look = Look { set, migration, history: self.history, code, found: &mut found };
                    rules::hurts(&mut look, &stmt);
                    self.held.check(&mut look, &stmt);
                    self.history.apply(&stmt);
                }
            }
            let (set, migration) = (self.set, self.migration);
            let mut look = Look { set, migration, history: self.history, code, found: &mut found };
            self.borders.check(&mut look);
            if checks_names {
                rules::check_names(&mut look, names, self.borders.extension_schemas);
            }
        }
        if checks_names {
            names.remove(&parsed);
        }
        let mut seen = Vec::new();
        found.retain(|it| {
            let is_new = !seen.contains(&(it.rule, it.object.clone()));
            seen.push((it.rule, it.object.clone()));
            is_new
        });
        found
    }

    fn finding(&self, found: Found, file: File, statement: &str) -> Finding {
        let migration = self.set.at(self.migration);
        Finding {
            rule: found.rule,
            migration: self.migration,
            version: migration.version().clone(),
            folder: migration.folder().to_owned(),
            file,
            line: found.line,
            statement: statement.to_owned(),
            object: found.object,
            message: found.message,
            accepted: None,
        }
    }
}

/// The problem of an acceptance that was not used.
fn about(acceptance: &Acceptance) -> Found {
    let (rule, message) = match &acceptance.meaning {
        Err(why) => (Rule::MalformedAcceptance, format!("{:?} accepts nothing: {why}", acceptance.text)),
        Ok(meaning) if acceptance.statement.is_none() => {
            (Rule::UnusedAcceptance, format!("no statement comes after it that {} could be found in", meaning.rule))
        }
        Ok(meaning) => (Rule::UnusedAcceptance, format!("{} is not found in the statement", meaning.rule)),
    };
    Found { rule, line: acceptance.line, object: None, message }
}
