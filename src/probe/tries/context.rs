//! Contexts that the application did not sign for the transaction.

use super::{ProbedTenancy, Targets, Try};
use crate::error::Error;
use crate::model::TenantId;
use crate::probe::attempt::{Access, AttemptStatement, Breach, ProbeAttempt, ProbeVerdict};
use crate::probe::kind::ProbeKind;
use crate::probe::session::{NO_KEY, ProbeSession};
use crate::probe::targets::Protection;
use crate::rows::{CONTEXT_SETTING, ContextKind, TENANT_SETTING, VERIFIER_SCHEMA};
use crate::sql::quote::{Identifier, Literal};

/// Errors of the server about malformed contexts.
const MALFORMED: &[&str] = &["22023", "22P02", "22P03", "22003"];

/// Why nothing is forged where contexts are settings.
const SETTING: &str = "contexts of this database are settings, which SQL can choose";

const FORGERIES: [ProbeKind; 6] = [
    ProbeKind::ContextForged,
    ProbeKind::ContextBare,
    ProbeKind::ContextReplayed,
    ProbeKind::ContextOther,
    ProbeKind::ContextOverride,
    ProbeKind::ContextFunction,
];

/// Tries to forge contexts, and gives each verdict to `report`. `connect` opens another session of the role.
pub(in crate::probe) fn contexts(
    targets: &Targets,
    session: &mut ProbeSession,
    connect: &dyn Fn() -> Result<ProbeSession, Error>,
    report: &mut dyn FnMut(ProbeKind, &str, &str, ProbeVerdict),
) -> Result<(), Error> {
    let ProbedTenancy::Rows { layout, own, .. } = &targets.tenancy else { return Ok(()) };
    if layout.context == ContextKind::Setting {
        FORGERIES
            .into_iter()
            .for_each(|probe| report(probe, "tenantry.tenant", "", ProbeVerdict::Inconclusive(SETTING.to_owned())));
        return Ok(());
    }
    let function = format!("{VERIFIER_SCHEMA}.current_tenant()");
    for one in single(targets, &function) {
        match &one.attempts {
            Err(reason) => report(one.probe, &one.object, "", ProbeVerdict::Inconclusive(reason.clone())),
            Ok(attempts) => {
                for attempt in attempts {
                    let verdict = session.attempt(attempt)?;
                    report(one.probe, &one.object, &attempt.statement.sql, verdict);
                }
            }
        }
    }
    let other = aims(targets).map(|(_, _, _, other)| other).next().or(*own);
    let (Some(own), Some(other)) = (*own, other) else {
        for probe in [ProbeKind::ContextReplayed, ProbeKind::ContextOther] {
            report(probe, &function, "", ProbeVerdict::Inconclusive("there are not two tenants".to_owned()));
        }
        return Ok(());
    };
    let uses = format!("SELECT {function} IS NOT NULL");
    let mut replayed = |session: &mut ProbeSession, context: Result<String, String>, probe, object: &str| {
        let verdict = match context {
            Ok(context) => {
                let attempt = with_context(probe, object, &uses, &context).before(set_tenant(other));
                session.attempt(&attempt)?
            }
            Err(reason) => ProbeVerdict::Inconclusive(reason),
        };
        report(probe, object, &uses, verdict);
        Ok::<(), Error>(())
    };
    let context = signed(session, other)?;
    session.roll_back()?;
    replayed(session, context, ProbeKind::ContextReplayed, "another transaction")?;
    // The transaction of the other session is open meanwhile.
    match connect() {
        Ok(mut elsewhere) => {
            let context = signed(&mut elsewhere, other)?;
            replayed(session, context, ProbeKind::ContextReplayed, "another session")?;
            elsewhere.roll_back()?;
        }
        Err(error) => {
            replayed(session, Err(error.to_string()), ProbeKind::ContextReplayed, "another session")?;
        }
    }
    session.begin(Access::ReadOnly)?;
    let verdict = match session.sign(own)? {
        Ok(Some(context)) if own != other => {
            let parts: Vec<&str> = context.splitn(3, '.').collect();
            let context = format!("{}.{other}.{}", parts[0], parts.last().copied().unwrap_or_default());
            session.set(TENANT_SETTING, &other.to_string())?;
            session.set(CONTEXT_SETTING, &context)?;
            let answer = session.run(&uses, &[])?;
            with_context(ProbeKind::ContextOther, "the signature of another tenant", &uses, "").judge(&answer)
        }
        Ok(_) => ProbeVerdict::Inconclusive("there are not two tenants".to_owned()),
        Err(reason) => ProbeVerdict::Inconclusive(reason),
    };
    session.roll_back()?;
    report(ProbeKind::ContextOther, "the signature of another tenant", &uses, verdict);
    Ok(())
}

/// A context that is valid in the transaction that it begins.
fn signed(session: &mut ProbeSession, tenant: TenantId) -> Result<Result<String, String>, Error> {
    session.begin(Access::ReadOnly)?;
    // It is used once, so that it is known to be valid.
    if let Err(reason) = session.work_for(tenant)? {
        return Ok(Err(reason));
    }
    Ok(session.sign(tenant)?.and_then(|context| context.ok_or_else(|| NO_KEY.to_owned())))
}

fn with_context(probe: ProbeKind, object: &str, sql: &str, context: &str) -> ProbeAttempt {
    let set = AttemptStatement::with(
        "SELECT pg_catalog.set_config($1, $2, true)",
        vec![Some(CONTEXT_SETTING.to_owned()), Some(context.to_owned())],
    );
    ProbeAttempt::new(probe, object, sql).read_only().before(set).breach(Breach::True).refused_by(MALFORMED)
}

pub(super) fn set_tenant(tenant: TenantId) -> AttemptStatement {
    AttemptStatement::with(
        "SELECT pg_catalog.set_config($1, $2, true)",
        vec![Some(TENANT_SETTING.to_owned()), Some(tenant.to_string())],
    )
}

/// The tables with rows of another tenant: the table, the tenant column, and both tenants.
fn aims(targets: &Targets) -> impl Iterator<Item = (String, String, TenantId, TenantId)> {
    targets.relations.iter().filter_map(|relation| match &relation.protection {
        Protection::OwnRows { column, aim, .. } if !aim.rows.is_empty() => {
            let column = Identifier::of_object(column).to_string();
            Some((relation.qualified(), column, aim.own?, aim.other?))
        }
        _ => None,
    })
}

/// Attempts in single transactions.
fn single(targets: &Targets, function: &str) -> Vec<Try> {
    let mut tries = Vec::new();
    let other = aims(targets).map(|(_, _, _, other)| other).next();
    let other_id = other.map_or_else(|| "1".to_owned(), |id| id.to_string());
    let signature = "0123456789abcdef".repeat(4);
    for (shown, context) in [
        ("an empty context", String::new()),
        ("the id alone", other_id.clone()),
        ("an invented signature", format!("0123456789abcdef.{other_id}.{signature}")),
        ("no signature", format!("0123456789abcdef.{other_id}.")),
        ("a short signature", format!("0123456789abcdef.{other_id}.00")),
        ("a malformed signature", format!("0123456789abcdef.{other_id}.not hexadecimal")),
        ("an injected condition", format!("0123456789abcdef.{other_id}' OR true --.{signature}")),
    ] {
        let sql = format!("SELECT {function} IS NOT NULL");
        let mut attempt = with_context(ProbeKind::ContextForged, shown, &sql, &context);
        if let Some(other) = other {
            attempt = attempt.before(set_tenant(other));
        }
        tries.push(attempt.into());
    }
    let reset = format!("ALTER FUNCTION {function} RESET search_path");
    tries.push(ProbeAttempt::new(ProbeKind::ContextFunction, function, reset).into());
    let mut aimed = false;
    for (table, column, own, other) in aims(targets) {
        aimed = true;
        let (text, object) = (other.to_string(), table.replace('"', ""));
        let id = Literal(&text);
        let read = format!("SELECT FROM {table} WHERE {column} = {id} LIMIT 1");
        let bare = ProbeAttempt::new(ProbeKind::ContextBare, &object, &read).read_only().breach(Breach::Rows);
        tries.push(bare.clone().before(set_tenant(other)).into());
        tries.push(bare.within(own).before(set_tenant(other)).into());
        let setting = Literal(TENANT_SETTING);
        for sql in [
            format!(
                "SELECT FROM {table} WHERE pg_catalog.set_config({setting}, {id}, true) IS NOT NULL AND {column} = {id} LIMIT 1"
            ),
            format!(
                "WITH chosen AS MATERIALIZED (SELECT pg_catalog.set_config({setting}, {id}, true) AS tenantry_chosen) \
                 SELECT FROM chosen JOIN {table} ON {column}::text = tenantry_chosen LIMIT 1"
            ),
        ] {
            let attempt = ProbeAttempt::new(ProbeKind::ContextOverride, &object, sql).read_only().breach(Breach::Rows);
            tries.push(attempt.within(own).into());
        }
    }
    if !aimed {
        for probe in [ProbeKind::ContextBare, ProbeKind::ContextOverride] {
            tries.push(Try::impossible(probe, "the shared tables", "no other tenant has rows"));
        }
    }
    tries
}
