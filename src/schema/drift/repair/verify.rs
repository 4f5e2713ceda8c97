//! A plan tried on the tenant, in a transaction that is rolled back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Double, Oid, Text};

use super::rebuild::Kept;
use super::{Options, Plan, Statement, Tried, plan_with};
use crate::database::Database;
use crate::error::Error;
use crate::model::TenantName;
use crate::postgres::ServerMessage;
use crate::postgres::message::{LOCKED, with_error_messages};
use crate::schema::drift::difference::Difference;
use crate::schema::drift::one::Compared;
use crate::schema::structure::{self, Identity, ObjectKind, Structure};
use crate::sql::quote::Literal;
use crate::tenants::Tenancy;

/// How long a statement may take unless the tenancy says otherwise: it may keep the tenant's users waiting.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// How often what is left is planned for again: what was dropped may have had more to it than is known beforehand.
const ROUNDS: usize = 3;

/// The same where losing data is allowed: some of what is planned first changes what is to be planned next.
const ROUNDS_WITH_LOSS: usize = 10;

/// Rows are counted up to this many, and estimated beyond.
const COUNTED: i64 = 10_000;

/// What a statement says that took too long, or used a label that is not committed.
const SLOW: &str = "tenantry: it took too long";
const NEW_LABEL: &str = "tenantry: it uses a new label";

/// What is told from other failures.
const TOLD: [(&str, &str); 3] = [
    ("lock_not_available OR deadlock_detected", LOCKED),
    ("query_canceled", SLOW),
    ("unsafe_new_enum_value_usage", NEW_LABEL),
];

/// What a plan is tried on.
pub struct Trial<'a> {
    /// What all tenants have in common.
    pub tenancy: &'a Tenancy,
    /// The tenant.
    pub name: &'a TenantName,
    /// What the plan was made of.
    pub compared: &'a Compared,
    /// Whether a difference is accepted, and stays.
    pub accepted: &'a dyn Fn(&Difference) -> bool,
    /// Whether statements that lose data run.
    pub allow_data_loss: bool,
}

/// Tries a plan: its statements run one by one in a transaction on the tenant's schema, the structure is read again and
/// held against the reference, and all of it is rolled back. A statement that fails is one that does not run, and so are
/// those that make no sense without it.
///
/// Where another session has a lock that is needed, nothing more is tried, for others would queue up behind it: the plan
/// is returned as it was.
///
/// # Errors
/// [`Error::CannotCompare`] when the tenant was changed since it was compared, or what the server answered to tenantry's
/// own statements.
pub fn verify(db: &mut Database, trial: &Trial<'_>, planned: Plan) -> Result<Plan, Error> {
    let version = db.server().version;
    let conn = db.connection();
    let tried = in_transaction(conn, trial, version, &planned);
    let rolled_back = conn.batch_execute("ROLLBACK").map_err(Error::doing("roll the trial back"));
    let tried = tried?;
    rolled_back?;
    Ok(match tried {
        Ok(plan) => plan,
        Err(Locked(sql)) => Plan { tried: Tried::Locked(sql), ..planned },
    })
}

/// The statement that did not get a lock in time.
pub(super) struct Locked(String);

fn in_transaction(
    conn: &mut PgConnection,
    trial: &Trial<'_>,
    version: i32,
    planned: &Plan,
) -> Result<Result<Plan, Locked>, Error> {
    let own = Error::doing("try the plan");
    conn.batch_execute("BEGIN READ WRITE").map_err(&own)?;
    let there = trial.read(conn, version)?;
    if there != trial.compared.structure {
        let why = "it was changed meanwhile".to_owned();
        return Err(Error::CannotCompare { name: trial.name.clone(), why });
    }
    let timeout = trial.tenancy.limits().statement_timeout.unwrap_or(STATEMENT_TIMEOUT);
    let path = trial.tenancy.path(trial.name.schema());
    // Rows that a policy hides would be missing in a copy; without row security the copy fails instead.
    let security = if trial.allow_data_loss { "SET LOCAL row_security TO off; " } else { "" };
    let settings = format!(
        "SET LOCAL lock_timeout TO '2s'; SET LOCAL statement_timeout TO {}; SET LOCAL check_function_bodies TO off; \
         SET LOCAL client_min_messages TO error; {security}{} {} DO {};",
        timeout.as_millis(),
        structure::PINNED,
        path.set_for_transaction(),
        Literal(&format!("BEGIN {} END", path.guard())),
    );
    conn.batch_execute(&format!("{settings} SAVEPOINT begun")).map_err(&own)?;
    let mut run = Run {
        conn,
        trial,
        options: Options { version, allow_data_loss: trial.allow_data_loss },
        timeout,
        statements: planned.statements.clone(),
        ran: Vec::new(),
        epoch: 0,
        kept: Kept::new(),
        temporaries: 0,
        structure: there,
        left: Vec::new(),
        accepted_extras: BTreeSet::new(),
        not_rebuilt: BTreeSet::new(),
    };
    let todo: Vec<usize> = (0..run.statements.len()).filter(|index| run.statements[*index].runs()).collect();
    if let Err(locked) = run.rounds(todo)? {
        return Ok(Err(locked));
    }
    if trial.allow_data_loss {
        run.find_accepted();
        if let Err(locked) = run.escalate()? {
            return Ok(Err(locked));
        }
        run.count_rows().map_err(&own)?;
    }
    Ok(Ok(run.into_plan()))
}

impl Trial<'_> {
    pub(super) fn read(&self, conn: &mut PgConnection, version: i32) -> Result<Structure, Error> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Oid)]
            oid: u32,
        }
        let own = Error::doing("read the structure of a schema");
        let row: Option<Row> = sql_query("SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1")
            .bind::<Text, _>(self.name.as_str())
            .get_result(conn)
            .optional()
            .map_err(&own)?;
        let gone = || Error::CannotCompare { name: self.name.clone(), why: "it was dropped meanwhile".to_owned() };
        let oid = row.ok_or_else(gone)?.oid;
        let mut read = structure::read_in_transaction(conn, version, &[oid]).map_err(&own)?;
        read.remove(&oid).ok_or_else(gone)
    }
}

/// A plan that is being tried.
pub(super) struct Run<'a> {
    pub(super) conn: &'a mut PgConnection,
    pub(super) trial: &'a Trial<'a>,
    pub(super) options: Options,
    timeout: Duration,
    pub(super) statements: Vec<Statement>,
    /// What has run, in order.
    pub(super) ran: Vec<usize>,
    /// The first statement of the current attempt. Those before it may be run again.
    pub(super) epoch: usize,
    /// The rows of tables that were dropped to be created again.
    pub(super) kept: Kept,
    /// How many temporary tables have a name.
    pub(super) temporaries: usize,
    /// The tenant's structure after what has run.
    pub(super) structure: Structure,
    /// The differences that are left then.
    pub(super) left: Vec<Difference>,
    /// What the tenant has in excess and keeps.
    pub(super) accepted_extras: BTreeSet<Identity>,
    /// The tables that could not be created again.
    pub(super) not_rebuilt: BTreeSet<String>,
}

/// How a statement failed.
enum Failed {
    Locked,
    NewLabel,
    Otherwise(String),
}

impl Run<'_> {
    /// Runs statements, and plans for what is left, until nothing more helps.
    pub(super) fn rounds(&mut self, mut todo: Vec<usize>) -> Result<Result<(), Locked>, Error> {
        let own = Error::doing("try the plan");
        let (loses, version) = (self.options.allow_data_loss, self.options.version);
        for _ in 0..if loses { ROUNDS_WITH_LOSS } else { ROUNDS } {
            let before = self.ran.clone();
            if let Err(locked) = self.all(todo).map_err(&own)? {
                return Ok(Err(locked));
            }
            self.structure = self.trial.read(self.conn, version)?;
            let compared = Compared { structure: self.structure.clone(), ..self.trial.compared.clone() };
            self.left = compared.diff().differences;
            self.left.retain(|difference| !(self.trial.accepted)(difference));
            let planned = plan_with(&compared, &self.left, self.options, &self.kept, &self.not_rebuilt);
            let progressed = self.ran != before;
            todo = self.add(planned.statements, loses && progressed);
            if todo.is_empty() {
                break;
            }
        }
        Ok(Ok(()))
    }

    /// Says how many rows each loss is about.
    fn count_rows(&mut self) -> QueryResult<()> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = BigInt)]
            many: i64,
            #[diesel(sql_type = Double)]
            estimate: f64,
        }
        self.conn.batch_execute("ROLLBACK TO SAVEPOINT begun")?;
        let original = &self.trial.compared.structure;
        let mut counted: BTreeMap<String, Option<String>> = BTreeMap::new();
        for index in self.ran.clone() {
            let statement = &self.statements[index];
            let Some(loss) = &statement.data_loss else { continue };
            let name = statement.object.on.as_ref().unwrap_or(&statement.object.name).clone();
            let kinds = [ObjectKind::Table, ObjectKind::MaterializedView];
            let exists = |kind| original.objects.contains_key(&Identity { kind, on: None, name: name.clone() });
            let rows = match counted.get(&name) {
                Some(rows) => rows.clone(),
                None if kinds.into_iter().any(exists) => {
                    let table = format!("{}.{}", original.own_name, super::text::ident(&name));
                    let sql = format!(
                        "SELECT (SELECT count(*) FROM (SELECT FROM {table} LIMIT {}) x) AS many, reltuples::float8 AS \
                         estimate FROM pg_catalog.pg_class WHERE oid = {}::pg_catalog.regclass",
                        COUNTED + 1,
                        Literal(&table)
                    );
                    self.conn.batch_execute("SAVEPOINT one")?;
                    let row: Option<Row> = sql_query(sql).get_result(self.conn).ok();
                    self.conn.batch_execute("ROLLBACK TO SAVEPOINT one; RELEASE SAVEPOINT one")?;
                    row.map(|row| match row {
                        Row { many: 1, .. } => "1 row".to_owned(),
                        Row { many, .. } if many <= COUNTED => format!("{many} rows"),
                        Row { estimate, .. } if estimate > 0.0 => format!("about {estimate:.0} rows"),
                        Row { .. } => format!("more than {COUNTED} rows"),
                    })
                }
                None => None,
            };
            counted.insert(name, rows.clone());
            if let Some(rows) = rows {
                let loss = format!("{loss} ({rows})");
                self.statements[index].data_loss = Some(loss);
            }
        }
        Ok(())
    }

    /// Runs statements. Those that fail are tried again behind the others, as long as that gets further.
    pub(super) fn all(&mut self, mut todo: Vec<usize>) -> QueryResult<Result<(), Locked>> {
        while !todo.is_empty() {
            let mut failed: Vec<(usize, String)> = Vec::new();
            let mut got_further = false;
            for index in &todo {
                let group = self.statements[*index].group;
                let waits = group.is_some() && failed.iter().any(|(other, _)| self.statements[*other].group == group);
                let outcome = match waits {
                    true => Err(Failed::Otherwise("it goes with the statement before".to_owned())),
                    false => self.one_or_another(*index)?,
                };
                match outcome {
                    Ok(()) => {
                        self.ran.push(*index);
                        got_further = true;
                    }
                    Err(Failed::NewLabel) => {
                        self.statements[*index].untried = true;
                        self.ran.push(*index);
                    }
                    Err(Failed::Locked) => return Ok(Err(Locked(self.statements[*index].sql.clone()))),
                    Err(Failed::Otherwise(why)) => failed.push((*index, why)),
                }
            }
            if got_further {
                todo = failed.into_iter().map(|(index, _)| index).collect();
                continue;
            }
            todo = self.give_up(failed)?;
        }
        Ok(Ok(()))
    }

    /// Takes those that fail, and what goes with them, out of the plan. What is to run again is returned: all of it where
    /// something of a group had run.
    fn give_up(&mut self, failed: Vec<(usize, String)>) -> QueryResult<Vec<usize>> {
        let groups: BTreeSet<usize> = failed.iter().filter_map(|(index, _)| self.statements[*index].group).collect();
        for (index, why) in failed {
            self.statements[index].why = Some(why);
        }
        let of_group = |statement: &Statement| statement.group.is_some_and(|group| groups.contains(&group));
        let again = self.ran.iter().any(|index| of_group(&self.statements[*index]));
        for statement in self.statements.iter_mut().filter(|statement| statement.runs()) {
            if of_group(statement) {
                statement.why = Some("it goes with a statement that fails".to_owned());
            }
        }
        if !again {
            return Ok(Vec::new());
        }
        self.conn.batch_execute("ROLLBACK TO SAVEPOINT begun")?;
        let ran = std::mem::take(&mut self.ran);
        Ok(ran.into_iter().filter(|index| self.statements[*index].runs()).collect())
    }

    /// Runs a statement, or the first of its alternatives that works.
    fn one_or_another(&mut self, index: usize) -> QueryResult<Result<(), Failed>> {
        let outcome = self.one(&self.statements[index].sql.clone())?;
        if !matches!(outcome, Err(Failed::Otherwise(_))) {
            return Ok(outcome);
        }
        for other in self.statements[index].otherwise.clone() {
            if self.one(&other.sql)?.is_ok() {
                let statement = &mut self.statements[index];
                (statement.sql, statement.data_loss) = (other.sql, Some(other.data_loss));
                statement.otherwise.clear();
                return Ok(Ok(()));
            }
        }
        Ok(outcome)
    }

    fn one(&mut self, sql: &str) -> QueryResult<Result<(), Failed>> {
        let sql = with_error_messages(sql, &TOLD);
        let message = format!("SAVEPOINT one; {sql} RELEASE SAVEPOINT one");
        let Err(error) = self.conn.batch_execute(&message) else { return Ok(Ok(())) };
        if ServerMessage::is_connection_lost(&error) {
            return Err(error);
        }
        self.conn.batch_execute("ROLLBACK TO SAVEPOINT one; RELEASE SAVEPOINT one")?;
        let server = ServerMessage::from(&error);
        Ok(Err(match server.message.as_str() {
            LOCKED => Failed::Locked,
            NEW_LABEL => Failed::NewLabel,
            SLOW => Failed::Otherwise(format!("it takes longer than {:?} (--statement-timeout)", self.timeout)),
            _ => Failed::Otherwise(format!("the server refuses it: {server}")),
        }))
    }

    /// Adds statements for what is left, and returns those that are to run.
    fn add(&mut self, more: Vec<Statement>, again: bool) -> Vec<usize> {
        let groups = self.statements.iter().filter_map(|statement| statement.group).max().unwrap_or(0);
        let mut todo = Vec::new();
        for mut statement in more {
            // What failed may work by now.
            let is_known = |known: &&mut Statement| {
                known.planned == statement.sql && (known.runs() || !again || !statement.runs())
            };
            if let Some(known) = self.statements[self.epoch..].iter_mut().find(is_known) {
                known.mends.extend(statement.mends);
                continue;
            }
            statement.group = statement.group.map(|group| group + groups);
            if statement.runs() {
                todo.push(self.statements.len());
            }
            self.statements.push(statement);
        }
        // Something of a group that has failed already is not tried again.
        let failed: BTreeSet<usize> = todo
            .iter()
            .filter_map(|index| self.statements[*index].group)
            .filter(|group| self.statements.iter().any(|other| other.group == Some(*group) && !other.runs()))
            .collect();
        todo.retain(|index| self.statements[*index].group.is_none_or(|group| !failed.contains(&group)));
        todo
    }

    /// What has run, in the order in which it did, and what is for a difference that is left.
    fn into_plan(mut self) -> Plan {
        let mut left = std::mem::take(&mut self.left);
        let untried: Vec<&Statement> = self.statements.iter().filter(|statement| statement.untried).collect();
        left.retain(|difference| {
            !untried.iter().any(|statement| {
                statement.object == difference.identity
                    || statement.mends.iter().any(|(identity, _)| *identity == difference.identity)
            })
        });
        let not_run = self.statements.iter().filter(|statement| !statement.runs());
        let for_left = not_run.filter(|statement| left.iter().any(|difference| statement.is_for(difference))).cloned();
        let for_left: Vec<Statement> = for_left.collect();
        let mut statements: Vec<Statement> = self.ran.iter().map(|index| self.statements[*index].clone()).collect();
        for statement in for_left {
            if !statements.iter().any(|other| !other.runs() && other.sql == statement.sql) {
                statements.push(statement);
            }
        }
        Plan { statements, left, tried: Tried::Yes }
    }
}
