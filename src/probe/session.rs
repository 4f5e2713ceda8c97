//! The session of the probed role.

use super::attempt::{Access, ProbeAttempt, ProbeVerdict};
use crate::error::{Error, ProbeError};
use crate::model::TenantId;
use crate::postgres::raw::{RawAnswer, RawSession};
use crate::postgres::{self, Connector, path};
use crate::rows::{CONTEXT_SETTING, ContextKey, TENANT_SETTING, TransactionIdentity, VERIFIER_SCHEMA};

/// How long an attempt waits for a lock. Attempts take no lock that blocks statements of the application.
const LOCK_TIMEOUT: &str = "200ms";

/// How long an attempt may take.
const STATEMENT_TIMEOUT: &str = "5s";

/// How a transaction works for a tenant.
#[derive(Debug, Clone)]
pub(super) enum Signing {
    /// Roles of tenants: there are no contexts.
    None,
    /// By a setting.
    Setting,
    /// By a signature with this key; without a key, not at all.
    Signed(Option<ContextKey>),
}

/// A session of the probed role.
pub(super) struct ProbeSession {
    raw: RawSession,
    address: String,
    signing: Signing,
}

/// Who is connected, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SessionIdentity {
    /// The role.
    pub(super) role: String,
    /// Whether it, or the role that it is set to, is a superuser.
    pub(super) is_superuser: bool,
    /// The server and the database.
    pub(super) place: String,
}

/// The query for [`SessionIdentity::place`].
pub(super) const PLACE: &str = "pg_catalog.concat_ws(' ', pg_catalog.pg_postmaster_start_time(), \
    (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))";

impl ProbeSession {
    pub(super) fn connect(connector: &Connector, signing: Signing) -> Result<Self, Error> {
        let raw = connector.connect_raw()?;
        Ok(Self { raw, address: connector.address().to_owned(), signing })
    }

    pub(super) fn identity(&mut self) -> Result<SessionIdentity, Error> {
        let sql = format!(
            "SELECT session_user, (SELECT pg_catalog.bool_or(rolsuper) FROM pg_catalog.pg_roles \
             WHERE rolname IN (session_user, current_user)), {PLACE}"
        );
        // Text depends on the settings of the role.
        self.run("BEGIN; SET LOCAL timezone TO 'UTC'; SET LOCAL datestyle TO 'ISO'", &[])?;
        let row = self.row(&sql);
        self.run("ROLLBACK", &[])?;
        match row?.as_slice() {
            [Some(role), is_superuser, Some(place)] => Ok(SessionIdentity {
                role: role.clone(),
                is_superuser: is_superuser.as_deref() == Some("t"),
                place: place.clone(),
            }),
            _ => Err(ProbeError::OtherDatabase.into()),
        }
    }

    /// Makes an attempt in a transaction, which is rolled back.
    pub(super) fn attempt(&mut self, attempt: &ProbeAttempt) -> Result<ProbeVerdict, Error> {
        self.begin(attempt.access)?;
        let verdict = self.in_transaction(attempt);
        self.run("ROLLBACK", &[])?;
        verdict
    }

    fn in_transaction(&mut self, attempt: &ProbeAttempt) -> Result<ProbeVerdict, Error> {
        if let Some(tenant) = attempt.context
            && let Err(reason) = self.work_for(tenant)?
        {
            return Ok(ProbeVerdict::Inconclusive(reason));
        }
        for statement in &attempt.before {
            if let RawAnswer::Failed(failure) = self.run(&statement.sql, &statement.parameters)? {
                return Ok(attempt.judge_failure(&failure));
            }
        }
        let answer = self.run(&attempt.statement.sql, &attempt.statement.parameters)?;
        let answer = match answer {
            // Constraints that are checked at the end of the transaction are checked now.
            RawAnswer::Done { .. } if attempt.access == Access::ReadWrite => {
                match self.run("SET CONSTRAINTS ALL IMMEDIATE", &[])? {
                    RawAnswer::Failed(failure) => RawAnswer::Failed(failure),
                    _ => answer,
                }
            }
            answer => answer,
        };
        Ok(attempt.judge(&answer))
    }

    pub(super) fn begin(&mut self, access: Access) -> Result<(), Error> {
        let access = match access {
            Access::ReadOnly => "READ ONLY",
            Access::ReadWrite => "READ WRITE",
        };
        let sql = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ {access}; SET LOCAL lock_timeout TO '{LOCK_TIMEOUT}'; \
             SET LOCAL statement_timeout TO '{STATEMENT_TIMEOUT}'; SET LOCAL client_min_messages TO error; \
             SET LOCAL datestyle TO 'ISO, YMD'; SET LOCAL synchronous_commit TO off; {}",
            path::CATALOG_FOR_TRANSACTION
        );
        match self.run(&sql, &[])? {
            RawAnswer::Failed(failure) => Err(self.unusable(&failure.message)),
            _ => Ok(()),
        }
    }

    pub(super) fn roll_back(&mut self) -> Result<(), Error> {
        self.run("ROLLBACK", &[]).map(|_| ())
    }

    /// Lets the transaction work for a tenant, or returns why it cannot.
    pub(super) fn work_for(&mut self, tenant: TenantId) -> Result<Result<(), String>, Error> {
        let context = match self.sign(tenant)? {
            Ok(context) => context,
            Err(reason) => return Ok(Err(reason)),
        };
        self.set(TENANT_SETTING, &tenant.to_string())?;
        let Some(context) = context else { return Ok(Ok(())) };
        self.set(CONTEXT_SETTING, &context)?;
        // A context that is refused would refuse every attempt, so that it would show nothing.
        Ok(match self.run(&format!("SELECT {VERIFIER_SCHEMA}.current_tenant()"), &[])? {
            RawAnswer::Failed(failure) => {
                Err(format!("the database refuses contexts with this key: {}", failure.message))
            }
            RawAnswer::Done { .. } | RawAnswer::CopyIn => Ok(()),
        })
    }

    /// Signs a context of the transaction; `None` where contexts are settings.
    pub(super) fn sign(&mut self, tenant: TenantId) -> Result<Result<Option<String>, String>, Error> {
        let key = match &self.signing {
            Signing::None | Signing::Setting => return Ok(Ok(None)),
            Signing::Signed(None) => return Ok(Err(NO_KEY.to_owned())),
            Signing::Signed(Some(key)) => key.clone(),
        };
        let row = self.row(
            "SELECT session_user, pg_catalog.pg_backend_pid(), (extract(epoch FROM pg_catalog.transaction_timestamp()) \
             OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8",
        )?;
        let number = |at: usize| row.get(at).cloned().flatten();
        let identity = (|| {
            let started = number(2)?.parse().ok()?;
            Some(TransactionIdentity { role: number(0)?, pid: number(1)?.parse().ok()?, started })
        })();
        Ok(identity
            .map(|identity| Some(key.sign(&identity, tenant)))
            .ok_or_else(|| "the session has no identity".to_owned()))
    }

    /// Sets a setting for the transaction.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<RawAnswer, Error> {
        let parameters = [Some(name.to_owned()), Some(value.to_owned())];
        self.run("SELECT pg_catalog.set_config($1, $2, true)", &parameters)
    }

    fn row(&mut self, sql: &str) -> Result<Vec<Option<String>>, Error> {
        match self.run(sql, &[])? {
            RawAnswer::Done { mut rows, .. } if !rows.is_empty() => Ok(rows.remove(0)),
            RawAnswer::Failed(failure) => Err(self.unusable(&failure.message)),
            RawAnswer::Done { .. } | RawAnswer::CopyIn => Ok(Vec::new()),
        }
    }

    /// Executes SQL.
    ///
    /// # Errors
    /// The connection is lost.
    pub(super) fn run(&mut self, sql: &str, parameters: &[Option<String>]) -> Result<RawAnswer, Error> {
        let parameters: Vec<Option<&str>> = parameters.iter().map(Option::as_deref).collect();
        let answer = self.raw.execute(sql, &parameters);
        if self.raw.is_lost() {
            return Err(self.unusable("server closed the connection unexpectedly"));
        }
        Ok(answer)
    }

    fn unusable(&self, message: &str) -> Error {
        postgres::Error::Unreachable { address: self.address.clone(), message: message.to_owned() }.into()
    }
}

/// Why an attempt that needs a context is not made without a key.
pub(super) const NO_KEY: &str = "no context key specified";
