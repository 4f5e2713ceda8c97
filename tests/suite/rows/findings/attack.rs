//! Attacks by SQL that a role of the application may send.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::sql_types::{BigInt, Text};
use tenantry::RowTenancy;

use crate::rows::{ACME, Shop};

/// A defect.
pub struct Case {
    /// The codes of the findings.
    pub codes: &'static [&'static str],
    /// Statements before it, as a superuser.
    pub prepare: &'static str,
    /// The statements that plant it, as a superuser.
    pub plant: &'static str,
    /// Statements before each attack, as a superuser.
    pub before_attack: &'static str,
    pub attack: Attack,
    /// Statements after each attack, as a superuser.
    pub after_attack: &'static str,
    /// Statements that remove what the repair leaves.
    pub clean_up: &'static str,
    /// The oldest version of the server that knows the statements.
    pub oldest: i64,
}

/// A tenant that the registry does not have.
const UNKNOWN: &str = "f0000000-0000-4000-8000-00000000000f";

/// What the application's role can do because of a defect, with SQL that it may send. Each is rolled back.
pub enum Attack {
    /// There is none by itself.
    None,
    /// There is none by itself, and no statement repairs the defect.
    NoStatement,
    /// In the context of a tenant, the last statement returns more than 0.
    Reads(&'static [&'static str]),
    /// Without a context, the last statement returns more than 0.
    ReadsOutside(&'static [&'static str]),
    /// In the context of a tenant, the statements run.
    Runs(&'static [&'static str]),
    /// Without a context, the statements run.
    RunsOutside(&'static [&'static str]),
    /// In the context of a tenant, what the application may do fails.
    Breaks(&'static [&'static str]),
    /// In the context of a tenant that the registry does not have, the statements run.
    RunsForUnknown(&'static [&'static str]),
    /// As another role, whose name ends in this suffix, the statements run.
    RunsAs(&'static str, &'static [&'static str]),
    /// In the context of a tenant, the query reads a whole table, although the server avoids that if it can.
    ReadsAll(&'static str),
    /// In the context of a tenant, the last statement reveals the value of another tenant by a unique violation.
    Reveals(&'static [&'static str]),
}

impl Attack {
    /// Whether it gives the application access to what it should not reach, as probes try.
    pub fn is_breach(&self) -> bool {
        !matches!(
            self,
            Self::None
                | Self::NoStatement
                | Self::Breaks(_)
                | Self::RunsForUnknown(_)
                | Self::RunsAs(..)
                | Self::ReadsAll(_)
        )
    }
}

impl Shop {
    /// Whether the server has what a defect consists of. It may be too old, or have no library.
    pub fn can_plant(&self, case: &Case) -> bool {
        if case.codes == ["dblink"] {
            let mut conn = self.db.connect();
            if let Err(error) = conn.batch_execute("BEGIN; CREATE EXTENSION dblink; ROLLBACK") {
                assert!(error.to_string().contains("could not load library"), "{error}");
                return false;
            }
        }
        self.db.count("SELECT current_setting('server_version_num')::int / 10000") >= case.oldest
    }

    pub fn attack(&self, case: &Case) -> bool {
        let execute = |sql: &str| {
            if !sql.is_empty() {
                self.db.execute(&self.fill(sql));
            }
        };
        execute(case.before_attack);
        let succeeds = self.attempt(&case.attack);
        execute(case.after_attack);
        succeeds
    }

    pub fn attempt(&self, attack: &Attack) -> bool {
        let (statements, context): (&[&str], Option<&str>) = match attack {
            Attack::None | Attack::NoStatement => return false,
            Attack::ReadsAll(query) => return self.reads_all(query),
            Attack::Reads(statements)
            | Attack::Runs(statements)
            | Attack::Breaks(statements)
            | Attack::Reveals(statements) => (statements, Some(ACME)),
            Attack::RunsForUnknown(statements) => (statements, Some(UNKNOWN)),
            Attack::ReadsOutside(statements) | Attack::RunsOutside(statements) | Attack::RunsAs(_, statements) => {
                (statements, None)
            }
        };
        let execute = match attack {
            Attack::Reads(_) | Attack::ReadsOutside(_) => number,
            _ => succeeds,
        };
        let mut result = None;
        let mut work = |conn: &mut PgConnection| -> Result<(), DieselError> {
            result = Some(self.statements(conn, statements, execute));
            Err(DieselError::RollbackTransaction)
        };
        let mut conn = match attack {
            Attack::RunsAs(role, _) => self.connect_as(role),
            _ => self.application(),
        };
        if let Some(tenant) = context {
            let _ = self.tenancy().with_tenant(&mut conn, tenant.parse::<tenantry::TenantId>().unwrap(), work);
        } else {
            let _ = conn.transaction(|conn| work(conn));
        }
        match (attack, result.expect("the attack ran")) {
            (Attack::Reveals(_), Err(DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _))) => true,
            (Attack::Reveals(_), _) => false,
            (Attack::Breaks(_), result) => result.is_err(),
            (_, result) => result.is_ok_and(|number| number > 0),
        }
    }

    /// Whether a query of the application reads a whole table.
    fn reads_all(&self, query: &str) -> bool {
        self.plan(query).iter().any(|line| line.contains("Seq Scan"))
    }

    /// The plan of a query of the application that avoids to read whole tables.
    pub fn plan(&self, query: &str) -> Vec<String> {
        let explain = |conn: &mut PgConnection| {
            conn.batch_execute("SET LOCAL enable_seqscan = off")?;
            diesel::dsl::sql::<Text>(&format!("EXPLAIN (COSTS OFF) {query}")).load::<String>(conn)
        };
        let tenant = ACME.parse::<tenantry::TenantId>().unwrap();
        self.tenancy().with_tenant(&mut self.application(), tenant, explain).unwrap()
    }

    /// Runs statements, the last one with `execute`.
    fn statements(
        &self,
        conn: &mut PgConnection,
        statements: &[&str],
        execute: fn(&mut PgConnection, &str) -> QueryResult<i64>,
    ) -> QueryResult<i64> {
        let (last, first) = statements.split_last().unwrap();
        for statement in first {
            conn.batch_execute(&self.fill(statement))?;
        }
        execute(conn, &self.fill(last))
    }

    pub fn tenancy(&self) -> RowTenancy {
        RowTenancy::new(self.key.clone())
    }
}

/// The number that a query returns.
fn number(conn: &mut PgConnection, sql: &str) -> QueryResult<i64> {
    diesel::dsl::sql::<BigInt>(sql).get_result(conn)
}

/// 1 if a statement runs.
fn succeeds(conn: &mut PgConnection, sql: &str) -> QueryResult<i64> {
    conn.batch_execute(sql).map(|()| 1)
}
