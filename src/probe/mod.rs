//! Probes: connects as the role of the application or of a tenant, and tries to reach other tenants.
//!
//! The operator's connection reads what to aim at. Each attempt runs in a transaction of the probed role, with timeouts, and is
//! rolled back. What a rollback does not undo, such as the position of a sequence, is not executed: the role asks the server for
//! the privilege. An attempt that ends neither in a refusal nor in a success shows nothing, and counts as not tried.

mod attempt;
mod kind;
mod report;
mod role_causes;
mod session;
mod targets;
mod tries;

use std::collections::BTreeSet;

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Text;

use crate::database::Database;
use crate::error::{Error, ProbeError};
use crate::postgres::Connector;
use crate::roles::TenantRole;
use crate::rows::{ContextKey, ContextKind, Layout};
use attempt::{Breach, ProbeAttempt, ProbeVerdict};
use session::{ProbeSession, Signing};
use targets::{ProbedTenancy, Targets};
use tries::Try;

pub use kind::{ProbeKind, UnknownProbe};
pub use report::{ProbeOutcome, ProbeReport, ProbeResult, Separation};
pub use targets::schemas::MAX_TARGETS;

/// What is probed, and how.
#[derive(Debug, Clone)]
pub struct ProbeOptions {
    /// Connects as the role.
    pub connector: Connector,
    /// The tenant that the role belongs to, or that its transactions work for; `None` for a tenant that is found out.
    pub own: Option<String>,
    /// The tenants to aim at; empty for any.
    pub others: Vec<String>,
    /// The application's key, where contexts are signed.
    pub key: Option<ContextKey>,
    /// The probes that are tried.
    pub probes: BTreeSet<ProbeKind>,
}

/// Probes a role. Nothing is left in the database.
///
/// # Errors
/// [`ProbeError`], or the server's error.
pub fn probe(db: &mut Database, options: &ProbeOptions) -> Result<ProbeReport, Error> {
    let layout = Layout::of(db)?;
    let signing = match &layout {
        None => Signing::None,
        Some(layout) if layout.context == ContextKind::Setting => Signing::Setting,
        Some(_) => Signing::Signed(options.key.clone()),
    };
    let connect = || ProbeSession::connect(&options.connector, signing.clone());
    let mut session = connect()?;
    let identity = session.identity()?;
    if identity.is_superuser {
        return Err(ProbeError::Superuser { role: identity.role }.into());
    }
    if identity.role == db.server().session_role {
        return Err(ProbeError::OperatorRole { role: identity.role }.into());
    }
    if identity.place != place(db)? {
        return Err(ProbeError::OtherDatabase.into());
    }
    let (role, own) = (identity.role.as_str(), options.own.as_deref());
    let mut targets = match &layout {
        Some(layout) => targets::rows::read(db, layout, role, own, &options.others)?,
        None => targets::schemas::read(db, role, own, &options.others)?,
    };
    retain_markers(&mut session, &mut targets)?;
    let separation = if layout.is_some() { Separation::Rows } else { Separation::Schemas };
    let mut report = ProbeReport::new(&identity.role, separation, aimed_at(&targets));
    if separation == Separation::Schemas && db.server().has_tenant_roles {
        let recorded = TenantRole::read_all(db.connection())?;
        report.is_checked_role = recorded.iter().any(|recorded| recorded.role == identity.role);
    }
    let chosen = |probe: ProbeKind| options.probes.contains(&probe) && applies(probe, separation);
    for one in tries::all(&targets).into_iter().filter(|one| chosen(one.probe)) {
        report.results.push(carry_out(&mut session, one)?);
    }
    if ProbeKind::ALL.iter().any(|probe| chosen(*probe) && probe.as_str().starts_with("context.")) {
        tries::contexts(&targets, &mut session, &connect, &mut |probe, object, statement, verdict| {
            if chosen(probe) {
                report.results.push(result(probe, object.to_owned(), statement.to_owned(), verdict));
            }
        })?;
    }
    report.results.sort_by_key(|result| result.probe);
    let absent = ProbeKind::ALL.iter().copied().filter(|probe| chosen(*probe) && !report.has(*probe));
    report.absent = absent.collect();
    Ok(report)
}

/// The server and the database of the operator.
fn place(db: &mut Database) -> Result<String, Error> {
    let doing = || Error::doing("read the database of the operator");
    let conn = db.connection();
    conn.batch_execute(&targets::begin()).map_err(doing())?;
    let place = sql::<Text>(&format!("SELECT {}", session::PLACE)).get_result(conn).map_err(doing());
    conn.batch_execute("ROLLBACK").map_err(doing())?;
    place
}

/// Keeps the values that the role's own tenant does not have.
fn retain_markers(session: &mut ProbeSession, targets: &mut Targets) -> Result<(), Error> {
    let mut retained = Vec::new();
    for marker in std::mem::take(&mut targets.markers) {
        let is_own = match &marker.own_rows {
            Some(query) => {
                let attempt = ProbeAttempt::new(ProbeKind::ReadView, "", query.as_str())
                    .read_only()
                    .parameters(vec![Some(marker.text.clone())])
                    .breach(Breach::True);
                session.attempt(&attempt)? != ProbeVerdict::Held
            }
            None => false,
        };
        if !is_own {
            retained.push(marker);
        }
    }
    targets.markers = retained;
    Ok(())
}

/// The tenants that are aimed at, by schema; empty if they share tables.
fn aimed_at(targets: &Targets) -> Vec<String> {
    match &targets.tenancy {
        ProbedTenancy::Rows { .. } => Vec::new(),
        ProbedTenancy::Schemas { others, .. } => others.iter().cloned().collect(),
    }
}

/// Whether a probe applies to how tenants are separated.
fn applies(probe: ProbeKind, separation: Separation) -> bool {
    use ProbeKind as P;
    let only_rows = matches!(
        probe,
        P::SettingRowSecurity
            | P::ReadWithoutContext
            | P::ReadElsewhere
            | P::ReadStatistics
            | P::WriteMove
            | P::WriteRule
            | P::ReferenceRow
            | P::GuessUnique
            | P::GuessError
            | P::GuessLeakproof
            | P::FunctionTrigger
            | P::ContextForged
            | P::ContextBare
            | P::ContextReplayed
            | P::ContextOther
            | P::ContextOverride
            | P::ContextFunction
            | P::CreateTemporary
    );
    match separation {
        Separation::Rows => probe != P::FunctionCall,
        Separation::Schemas => !only_rows,
    }
}

/// Makes the attempts of a try until one is conclusive.
fn carry_out(session: &mut ProbeSession, one: Try) -> Result<ProbeResult, Error> {
    let attempts = match one.attempts {
        Ok(attempts) => attempts,
        Err(reason) => return Ok(result(one.probe, one.object, String::new(), ProbeVerdict::Inconclusive(reason))),
    };
    let mut last = (String::new(), ProbeVerdict::Inconclusive("there is nothing to try".to_owned()));
    for attempt in &attempts {
        let verdict = session.attempt(attempt)?;
        let is_conclusive = !matches!(verdict, ProbeVerdict::Inconclusive(_));
        last = (shown(attempt), verdict);
        if is_conclusive {
            break;
        }
    }
    Ok(result(one.probe, one.object, last.0, last.1))
}

/// The statements of an attempt.
fn shown(attempt: &ProbeAttempt) -> String {
    let statements = attempt.before.iter().chain([&attempt.statement]);
    statements.map(|statement| statement.sql.as_str()).collect::<Vec<_>>().join("; ")
}

fn result(probe: ProbeKind, object: String, statement: String, verdict: ProbeVerdict) -> ProbeResult {
    let outcome = match verdict {
        ProbeVerdict::Held => ProbeOutcome::Held,
        ProbeVerdict::Breach(observed) => ProbeOutcome::Breach(observed),
        ProbeVerdict::Inconclusive(reason) => ProbeOutcome::NotTried(reason),
    };
    ProbeResult { probe, object, statement, outcome }
}
