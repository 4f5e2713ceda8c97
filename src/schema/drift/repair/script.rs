//! The script of a plan, for `psql`.

use super::{Plan, RepairStatement, Verification};
use crate::sql::printable;
use crate::sql::quote::Literal;

/// What the header of a script describes.
#[derive(Debug, Clone, Copy)]
pub struct ScriptContext<'a> {
    /// The tenant's name.
    pub tenant: &'a str,
    /// The tenant's schema as the server quotes it.
    pub own_name: &'a str,
    /// The database.
    pub database: &'a str,
    /// The reference, as a noun phrase: "the result of its 8 migrations".
    pub reference: &'a str,
    /// SQL that sets `search_path` for the transaction, as for a migration.
    pub path: &'a str,
}

impl Plan {
    /// The lines of the script: a header, the statements, and as comments the differences that remain, each with its
    /// reason and with the statements that do not run. A plan without statements and differences has no lines.
    pub fn script(&self, about: &ScriptContext<'_>) -> Vec<String> {
        let mut lines = Vec::new();
        if self.is_empty() {
            return lines;
        }
        let ScriptContext { tenant, own_name, database, reference, .. } = about;
        comment(&mut lines, &format!("Repairs tenant {tenant} of database {database} to match {reference}."));
        comment(&mut lines, &self.status());
        match self.losses() {
            0 => {}
            1 => comment(&mut lines, "WARNING: 1 statement loses data; see its \"data loss\" comment."),
            many => {
                comment(&mut lines, &format!("WARNING: {many} statements lose data; see the \"data loss\" comments."))
            }
        }
        lines.push(String::new());
        if self.running().next().is_some() {
            lines.push(refuse_other_database(database));
            lines.push(String::new());
        }
        let (ahead, others): (Vec<&RepairStatement>, Vec<&RepairStatement>) =
            self.running().partition(|statement| statement.before_transaction);
        if !ahead.is_empty() {
            comment(&mut lines, "A new enum label can be used only after the transaction that adds it commits.");
            ahead.iter().for_each(|statement| run(&mut lines, statement));
            lines.push(String::new());
        }
        if !others.is_empty() {
            lines.push("BEGIN;".to_owned());
            // Other sessions queue behind a statement that waits for a lock.
            lines.push("SET LOCAL lock_timeout TO '2s';".to_owned());
            // For functions that a check or an index calls. The statements themselves use qualified names.
            lines.push(about.path.to_owned());
            // Functions are created before the tables that they read.
            lines.push("SET LOCAL check_function_bodies TO off;".to_owned());
            if self.losses() > 0 || others.iter().any(|statement| statement.restores.is_some()) {
                // A policy would hide rows from the copy, and they would be lost.
                lines.push("SET LOCAL row_security TO off;".to_owned());
            }
            lines.push(String::new());
            others.iter().for_each(|statement| run(&mut lines, statement));
            lines.push(String::new());
            lines.push("COMMIT;".to_owned());
        }
        self.add_remaining(&mut lines, own_name);
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        // Names and definitions may contain any character.
        lines.into_iter().map(|line| printable(&line).into_owned()).collect()
    }

    /// What is known about the plan as a whole, in one sentence or two.
    fn status(&self) -> String {
        match &self.verification {
            _ if self.running().next().is_none() => {
                "No statement runs: each is a comment that needs a decision.".to_owned()
            }
            Verification::Done if self.remaining.is_empty() => {
                "Verified in a transaction that was rolled back. No differences remain.".to_owned()
            }
            Verification::Done => {
                "Verified in a transaction that was rolled back. The differences at the end remain.".to_owned()
            }
            Verification::Skipped => "Not verified.".to_owned(),
            Verification::Blocked(sql) => {
                let first = sql.lines().next().unwrap_or_default();
                format!("Not verified: another session holds a lock that this statement needs: {first}")
            }
        }
    }

    /// The number of statements that run and lose data.
    pub fn losses(&self) -> usize {
        self.running().filter(|statement| statement.data_loss.is_some()).count()
    }

    fn add_remaining(&self, lines: &mut Vec<String>, own_name: &str) {
        let mut listed: Vec<&RepairStatement> = Vec::new();
        for statement in self.statements.iter().filter(|statement| !statement.runs()) {
            if listed.iter().any(|other| other.reason == statement.reason && other.repairs == statement.repairs) {
                continue;
            }
            if lines.last().is_some_and(|line| !line.is_empty()) {
                lines.push(String::new());
            }
            for difference in self.remaining.iter().filter(|difference| statement.is_for(difference)) {
                comment(lines, &format!("Remaining: {}", difference.summary(own_name)));
            }
            comment(lines, &format!("Not run: {}.", statement.reason.as_deref().unwrap_or_default()));
            let same =
                |other: &&RepairStatement| other.reason == statement.reason && other.repairs == statement.repairs;
            for other in self.statements.iter().filter(same) {
                comment(lines, &format!("{};", other.sql));
            }
            listed.push(statement);
        }
        for difference in self.remaining_without_statement() {
            if lines.last().is_some_and(|line| !line.is_empty()) {
                lines.push(String::new());
            }
            comment(lines, &format!("Remaining: {}", difference.summary(own_name)));
            comment(lines, "Not repaired: PostgreSQL has no statement for this change.");
        }
    }
}

fn run(lines: &mut Vec<String>, statement: &RepairStatement) {
    if statement.unverified {
        comment(lines, "Not verified: uses a new enum label.");
    }
    if let Some(loss) = &statement.data_loss {
        comment(lines, &format!("data loss: {loss}"));
    }
    if let Some(assumption) = &statement.assumption {
        comment(lines, &format!("assumption: {assumption}"));
    }
    lines.push(format!("{};", statement.sql));
}

/// Adds a comment line for each line of a text. A carriage return ends a line, too.
fn comment(lines: &mut Vec<String>, text: &str) {
    lines.extend(text.split(['\n', '\r']).map(|line| format!("-- {line}").trim_end().to_owned()));
}

/// A statement of a repair script that fails in any other database: psql may be connected to one.
pub(crate) fn refuse_other_database(database: &str) -> String {
    let refusal = format!("this repair plan is for database {}", database.replace('%', "%%"));
    let guard = format!(
        "BEGIN IF pg_catalog.current_database() <> {} THEN RAISE EXCEPTION {}; END IF; END",
        Literal(database),
        Literal(&refusal)
    );
    format!("DO {};", Literal(&guard))
}
