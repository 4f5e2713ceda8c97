//! A plan as a script for `psql`.

use super::{Plan, Statement, Tried};
use crate::sql::printable;
use crate::sql::quote::Literal;

/// What a script says of where it is for.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The tenant's name.
    pub tenant: &'a str,
    /// The tenant's schema as the server quotes it.
    pub own_name: &'a str,
    /// The database.
    pub database: &'a str,
    /// What it brings the tenant back to.
    pub reference: &'a str,
    /// What sets the path for the transaction, as for a migration.
    pub path: &'a str,
}

impl Plan {
    /// The script, line by line. Statements that do not run stand behind the others, as comments with the reason; so does
    /// what there is no statement for. Nothing to say is no line.
    pub fn script(&self, about: &About<'_>) -> Vec<String> {
        let mut lines = Vec::new();
        if self.is_empty() {
            return lines;
        }
        let About { tenant, own_name, database, reference, .. } = about;
        comment(&mut lines, &format!("Brings the tenant {tenant} of the database {database} back to {reference}."));
        let all = if self.left.is_empty() { "nothing" } else { "only what is named at the end" };
        comment(
            &mut lines,
            &match &self.tried {
                _ if self.running().next().is_none() => "Nothing of it runs by itself.".to_owned(),
                Tried::Yes => format!("It was tried in a transaction that was rolled back: {all} differs then."),
                Tried::No => "It was not tried.".to_owned(),
                Tried::Locked(sql) => {
                    let first = sql.lines().next().unwrap_or_default();
                    format!("It was not tried, for another session has a lock that this needs: {first}")
                }
            },
        );
        match self.losses() {
            0 => {}
            1 => comment(&mut lines, "WARNING: 1 statement loses data; see its comment \"data loss\"."),
            many => {
                comment(&mut lines, &format!("WARNING: {many} statements lose data; see the comments \"data loss\"."))
            }
        }
        lines.push(String::new());
        if self.running().next().is_some() {
            // It goes to a program that may have been given another database.
            let refusal = format!("this is for the database {}", database.replace('%', "%%"));
            let guard = format!(
                "BEGIN IF pg_catalog.current_database() <> {} THEN RAISE EXCEPTION {}; END IF; END",
                Literal(database),
                Literal(&refusal)
            );
            lines.push(format!("DO {};", Literal(&guard)));
            lines.push(String::new());
        }
        let (ahead, others): (Vec<&Statement>, Vec<&Statement>) = self.running().partition(|statement| statement.ahead);
        if !ahead.is_empty() {
            comment(&mut lines, "What uses a new label must not be in the transaction that adds it.");
            ahead.iter().for_each(|statement| run(&mut lines, statement));
            lines.push(String::new());
        }
        if !others.is_empty() {
            lines.push("BEGIN;".to_owned());
            // Others would queue up behind one that waits.
            lines.push("SET LOCAL lock_timeout TO '2s';".to_owned());
            // For functions that a check or an index calls; the statements themselves name all in full.
            lines.push(about.path.to_owned());
            // Functions are made before what they read, and do not find it on the path anyway.
            lines.push("SET LOCAL check_function_bodies TO off;".to_owned());
            if self.losses() > 0 || others.iter().any(|statement| statement.restores.is_some()) {
                // A copy without the rows that a policy hides would lose them.
                lines.push("SET LOCAL row_security TO off;".to_owned());
            }
            lines.push(String::new());
            others.iter().for_each(|statement| run(&mut lines, statement));
            lines.push(String::new());
            lines.push("COMMIT;".to_owned());
        }
        self.what_is_left(&mut lines, own_name);
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        // Names and definitions may hold any character.
        lines.into_iter().map(|line| printable(&line).into_owned()).collect()
    }

    /// How many of the statements that run lose data.
    pub fn losses(&self) -> usize {
        self.running().filter(|statement| statement.data_loss.is_some()).count()
    }

    fn what_is_left(&self, lines: &mut Vec<String>, own_name: &str) {
        let mut told: Vec<&Statement> = Vec::new();
        for statement in self.statements.iter().filter(|statement| !statement.runs()) {
            if told.iter().any(|other| other.why == statement.why && other.mends == statement.mends) {
                continue;
            }
            if lines.last().is_some_and(|line| !line.is_empty()) {
                lines.push(String::new());
            }
            for difference in self.left.iter().filter(|difference| statement.is_for(difference)) {
                comment(lines, &format!("Left: {}", difference.in_short(own_name)));
            }
            comment(lines, &format!("Not run: {}.", statement.why.as_deref().unwrap_or_default()));
            let same = |other: &&Statement| other.why == statement.why && other.mends == statement.mends;
            for other in self.statements.iter().filter(same) {
                comment(lines, &format!("{};", other.sql));
            }
            told.push(statement);
        }
        for difference in self.left_without_statement() {
            if lines.last().is_some_and(|line| !line.is_empty()) {
                lines.push(String::new());
            }
            comment(lines, &format!("Left: {}", difference.in_short(own_name)));
            comment(lines, "Not mended: there is no statement for this.");
        }
    }
}

fn run(lines: &mut Vec<String>, statement: &Statement) {
    if statement.untried {
        comment(lines, "Not tried: it uses a new label.");
    }
    if let Some(loss) = &statement.data_loss {
        comment(lines, &format!("data loss: {loss}"));
    }
    if let Some(assumption) = &statement.assumption {
        comment(lines, &format!("assumed: {assumption}"));
    }
    lines.push(format!("{};", statement.sql));
}

/// A comment ends with its line, and a carriage return ends a line.
fn comment(lines: &mut Vec<String>, text: &str) {
    lines.extend(text.split(['\n', '\r']).map(|line| format!("-- {line}").trim_end().to_owned()));
}
