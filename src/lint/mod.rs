//! Finds statements of the tenant migrations that harm a live table or have effects outside the tenant.
//!
//! Nothing is run, and no database is needed: a parser ([squawk]'s) reads the migrations in order, and the known
//! structure before a statement comes from earlier statements. A table is *live* unless the same migration created it:
//! a new table is empty, and no other session uses it.
//!
//! The code of `DO` blocks is checked as if all of it ran, regardless of conditions, including constants that it
//! executes. The bodies of functions and procedures in SQL and PL/pgSQL are searched for names outside the tenant.
//! Statements that are built at run time (`EXECUTE format(…)`), functions that a migration calls, and code in other
//! languages are not checked.
//!
//! Short locks that cannot be avoided are not reported: the brief lock of each `ALTER TABLE`, or that of `CREATE TABLE
//! … REFERENCES` on the referenced table.
//!
//! A comment before a statement, or in it, accepts a finding there: `-- tenantry: accept RULE: reason`.
//!
//! In `down.sql`, only effects outside the tenant are reported. Its names are checked against the state after `up.sql`.
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
use rules::isolation::SharedRules;
use rules::{Borders, Found, Held, Look};

pub use rule::{Rule, UnknownRule};
pub use rules::isolation::SharedTables;

/// A statement that a rule reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LintFinding {
    /// The rule.
    pub rule: Rule,
    /// The index of the migration in the set, from 0.
    pub migration: usize,
    /// The migration's version.
    pub version: Version,
    /// The migration's directory.
    pub folder: String,
    /// The file of the migration.
    pub file: File,
    /// The line of the file, from 1.
    pub line: usize,
    /// The statement, or the comment for an acceptance.
    pub statement: String,
    /// The object: a table, a column as `table.column`, an index, or a name.
    pub object: Option<String>,
    /// The effect of the statement.
    pub message: String,
    /// The reason of its acceptance, if it is accepted.
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
    /// The name of the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up.sql",
            Self::Down => "down.sql",
        }
    }
}

impl LintFinding {
    /// The directory, file and line: `20260105090000_create_users/up.sql:3`.
    pub fn place(&self) -> String {
        let (folder, file) = self.path();
        format!("{folder}/{file}:{}", self.line)
    }

    /// The folder and the file: those of a migration, or `repeatable` and a repeatable migration.
    pub fn path(&self) -> (&str, &str) {
        match self.folder.split_once('/') {
            Some(repeatable) => repeatable,
            None => (&self.folder, self.file.as_str()),
        }
    }
}

/// The findings in the tenant migrations in order, including accepted ones.
///
/// All migrations are read, because the effect of a migration depends on earlier ones. To get the findings of some, such as
/// the pending ones, filter by [`LintFinding::migration`].
pub fn lint(tenancy: &Tenancy) -> Vec<LintFinding> {
    findings(tenancy, None)
}

/// As [`lint`] for tables that tenants share, with the rules whose names begin with `row-`: they report what would open the
/// rows of a tenant to others.
pub fn lint_shared(tenancy: &Tenancy, tables: &SharedTables) -> Vec<LintFinding> {
    findings(tenancy, Some(&SharedRules::new(tables, tenancy.tenant_migrations())))
}

fn findings(tenancy: &Tenancy, shared: Option<&SharedRules<'_>>) -> Vec<LintFinding> {
    let set = tenancy.tenant_migrations();
    let borders = Borders { extension_schemas: tenancy.extension_schemas() };
    let mut history = History::default();
    let mut names = Names::default();
    let mut findings = Vec::new();
    for (index, migration) in set.iter().enumerate() {
        history.enter(index);
        let mut reading = MigrationReading {
            set,
            migration: index,
            history: &mut history,
            borders: &borders,
            shared,
            held: Held::default(),
        };
        findings.extend(reading.script(migration.up(), File::Up, &mut names));
        if let Some(down) = migration.down() {
            findings.extend(reading.script(down, File::Down, &mut names.clone()));
        }
    }
    findings
}

/// The migration that is checked.
struct MigrationReading<'a> {
    set: &'a MigrationSet,
    migration: usize,
    history: &'a mut History,
    borders: &'a Borders<'a>,
    /// The rules for tables that tenants share.
    shared: Option<&'a SharedRules<'a>>,
    held: Held,
}

impl MigrationReading<'_> {
    fn script(&mut self, script: &Script, file: File, names: &mut Names) -> Vec<LintFinding> {
        names.enter();
        let statements = script.statements();
        let text: Rc<str> = script.text().into();
        let mut acceptances: Vec<(Acceptance, bool)> =
            acceptances(script.text(), &statements).into_iter().map(|it| (it, false)).collect();
        let mut findings = Vec::new();
        for (index, statement) in statements.iter().enumerate() {
            let mut found = self.statement(&text, statement, file, names);
            if self.set.at(self.migration).is_repeatable() {
                let before = index.checked_sub(1).map(|before| &statements[before]);
                rules::repeatable::check(statement, before, &mut found);
            }
            for found in found {
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
                findings.push(LintFinding { accepted, ..self.finding(found, file, statement.sql()) });
            }
        }
        // If names are not checked, acceptances of them cannot be verified.
        let names_checked = !self.borders.extension_schemas.is_empty() && !names.any_may_exist();
        let is_checked = |rule: Rule| match rule {
            Rule::UnknownName => names_checked,
            rule => self.shared.is_some() || !rule.is_about_shared_tables(),
        };
        let is_unused = |(it, used): &&(Acceptance, bool)| {
            let is_judged = it.statement.is_none() || it.meaning.as_ref().map_or(true, |it| is_checked(it.rule));
            !used && is_judged
        };
        for (acceptance, _) in acceptances.iter().filter(is_unused) {
            findings.push(self.finding(about(acceptance), file, &acceptance.text));
        }
        findings.sort_by_key(|finding| finding.line);
        findings
    }

    /// The findings in a statement, one per rule and object.
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
                    if let Some(shared) = self.shared {
                        shared.check(&mut look, &stmt);
                    }
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

    fn finding(&self, found: Found, file: File, statement: &str) -> LintFinding {
        let migration = self.set.at(self.migration);
        LintFinding {
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

/// The finding for an acceptance that was not used.
fn about(acceptance: &Acceptance) -> Found {
    let (rule, message) = match &acceptance.meaning {
        Err(problem) => (Rule::MalformedAcceptance, format!("{:?} accepts nothing: {problem}", acceptance.text)),
        Ok(meaning) if acceptance.statement.is_none() => {
            (Rule::UnusedAcceptance, format!("no statement comes after it that {} could be found in", meaning.rule))
        }
        Ok(meaning) => (Rule::UnusedAcceptance, format!("{} is not found in the statement", meaning.rule)),
    };
    Found { rule, line: acceptance.line, object: None, message }
}
