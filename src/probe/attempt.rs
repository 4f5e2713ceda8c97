//! An attempt: a statement that isolation must refuse, and what shows that it did not.

use super::kind::ProbeKind;
use crate::model::TenantId;
use crate::postgres::raw::{RawAnswer, RawFailure};

/// A statement that isolation must refuse. It runs in a transaction of its own, which is rolled back.
#[derive(Debug, Clone)]
pub(super) struct ProbeAttempt {
    pub(super) probe: ProbeKind,
    /// What it aims at, qualified and quoted where necessary.
    pub(super) object: String,
    /// The tenant that the transaction works for.
    pub(super) context: Option<TenantId>,
    pub(super) access: Access,
    /// Statements before it. If one is refused, so is the attempt.
    pub(super) before: Vec<AttemptStatement>,
    pub(super) statement: AttemptStatement,
    pub(super) breach: Breach,
    /// What an answer shows that is no breach.
    pub(super) otherwise: Otherwise,
    /// The SQLSTATEs that show a refusal, besides `42501`.
    pub(super) refusals: &'static [&'static str],
}

/// SQL, with the values of its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AttemptStatement {
    pub(super) sql: String,
    pub(super) parameters: Vec<Option<String>>,
}

/// Whether the transaction of an attempt may write. What a rollback leaves, such as the position of a sequence, a read-only
/// transaction refuses to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    ReadOnly,
    ReadWrite,
}

/// What it shows that an attempt ran and no breach was observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Otherwise {
    Held,
    /// Nothing, for this reason.
    Nothing(&'static str),
}

/// What shows that an attempt was not refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Breach {
    /// It runs.
    Runs,
    /// It returns or changes a row.
    Rows,
    /// Its first value is true.
    True,
    /// Its first value is true, or it fails with an error that only its rows cause.
    TrueOrFails(&'static str),
    /// It changes a row, or only a constraint of the table refuses it.
    PassesPolicies,
    /// It changes a row.
    Changes,
    /// The rows are visible: the number in its first value is larger.
    MoreThan(i64),
    /// It violates a unique key or an exclusion constraint, but none of these, which have the tenant.
    Reveals(Vec<String>),
    /// Its rows contain one of these texts.
    Shows(Vec<String>),
    /// The plan, as JSON, changes something else than this table.
    RewrittenFrom(String),
}

/// The result of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ProbeVerdict {
    Held,
    /// With what was observed.
    Breach(String),
    /// Neither refused nor successful, with the reason.
    Inconclusive(String),
}

impl AttemptStatement {
    pub(super) fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), parameters: Vec::new() }
    }

    pub(super) fn with(sql: impl Into<String>, parameters: Vec<Option<String>>) -> Self {
        Self { sql: sql.into(), parameters }
    }
}

impl ProbeAttempt {
    /// An attempt that is a breach if it runs.
    pub(super) fn new(probe: ProbeKind, object: impl Into<String>, sql: impl Into<String>) -> Self {
        Self {
            probe,
            object: object.into(),
            context: None,
            access: Access::ReadWrite,
            before: Vec::new(),
            statement: AttemptStatement::new(sql),
            breach: Breach::Runs,
            otherwise: Otherwise::Held,
            refusals: &[],
        }
    }

    pub(super) fn breach(self, breach: Breach) -> Self {
        Self { breach, ..self }
    }

    pub(super) fn read_only(self) -> Self {
        Self { access: Access::ReadOnly, ..self }
    }

    /// In the context of a tenant.
    pub(super) fn within(self, tenant: TenantId) -> Self {
        Self { context: Some(tenant), ..self }
    }

    pub(super) fn before(mut self, statement: AttemptStatement) -> Self {
        self.before.push(statement);
        self
    }

    pub(super) fn parameters(mut self, parameters: Vec<Option<String>>) -> Self {
        self.statement.parameters = parameters;
        self
    }

    /// A breach is proven by the answer, but not that there is none: a function may answer otherwise to other arguments.
    pub(super) fn proving_breach_only(self) -> Self {
        let reason = "it has parameters, and its answers to samples show nothing; check it by hand";
        Self { otherwise: Otherwise::Nothing(reason), ..self }
    }

    pub(super) fn refused_by(self, refusals: &'static [&'static str]) -> Self {
        Self { refusals, ..self }
    }

    /// The verdict on a statement before it that failed.
    pub(super) fn judge_failure(&self, failure: &RawFailure) -> ProbeVerdict {
        let RawFailure { sqlstate, message, .. } = failure;
        if sqlstate == "42501" || self.refusals.contains(&sqlstate.as_str()) {
            return ProbeVerdict::Held;
        }
        ProbeVerdict::Inconclusive(format!("{message} ({sqlstate})"))
    }

    /// The verdict on the answer to the statement.
    pub(super) fn judge(&self, answer: &RawAnswer) -> ProbeVerdict {
        match (self.verdict(answer), self.otherwise, answer) {
            (ProbeVerdict::Held, Otherwise::Nothing(reason), RawAnswer::Done { .. }) => {
                ProbeVerdict::Inconclusive(reason.to_owned())
            }
            (verdict, ..) => verdict,
        }
    }

    fn verdict(&self, answer: &RawAnswer) -> ProbeVerdict {
        let breach = |observed: String| ProbeVerdict::Breach(observed);
        match (&self.breach, answer) {
            (Breach::PassesPolicies, RawAnswer::Failed(failure)) if is_of_table(failure) => {
                breach(format!("the policies accept the row, which only a constraint refuses: {}", failure.message))
            }
            (Breach::TrueOrFails(sqlstate), RawAnswer::Failed(failure)) if failure.sqlstate == *sqlstate => {
                breach(format!("the error depends on rows of other tenants: {}", failure.message))
            }
            (Breach::Reveals(own), RawAnswer::Failed(failure))
                if ["23505", "23P01"].contains(&failure.sqlstate.as_str()) =>
            {
                match &failure.constraint {
                    Some(name) if own.contains(name) => {
                        ProbeVerdict::Inconclusive("the tenant itself has a row with the same key".to_owned())
                    }
                    name => breach(format!(
                        "constraint {} reveals that another tenant has the value",
                        name.as_deref().unwrap_or("(unknown)")
                    )),
                }
            }
            // The row is acceptable but for what it refers to, which the tenant does not have.
            (Breach::Reveals(_), RawAnswer::Failed(failure)) if failure.sqlstate == "23503" => ProbeVerdict::Held,
            (_, RawAnswer::Failed(failure)) => self.judge_failure(failure),
            (_, RawAnswer::CopyIn) => breach("the server accepts rows".to_owned()),
            (Breach::Runs, RawAnswer::Done { .. }) => breach("the statement ran".to_owned()),
            (Breach::PassesPolicies | Breach::Changes, RawAnswer::Done { affected: 0, .. }) => {
                ProbeVerdict::Inconclusive("there was no row to change".to_owned())
            }
            (Breach::PassesPolicies | Breach::Changes, RawAnswer::Done { .. }) => {
                breach("the statement ran".to_owned())
            }
            (Breach::Reveals(_), RawAnswer::Done { .. }) => ProbeVerdict::Held,
            (Breach::Rows, RawAnswer::Done { affected, .. }) => match affected {
                0 => ProbeVerdict::Held,
                1 => breach("1 row".to_owned()),
                rows => breach(format!("{rows} rows")),
            },
            (Breach::True | Breach::TrueOrFails(_), RawAnswer::Done { rows, .. }) => match first(rows) {
                Some("t") => breach("the answer is yes".to_owned()),
                _ => ProbeVerdict::Held,
            },
            (Breach::MoreThan(most), RawAnswer::Done { rows, .. }) => {
                match first(rows).and_then(|it| it.parse::<i64>().ok()) {
                    Some(number) if number > *most => breach(format!("{} rows of other tenants", number - most)),
                    Some(_) => ProbeVerdict::Held,
                    None => ProbeVerdict::Inconclusive("the rows could not be counted".to_owned()),
                }
            }
            (Breach::Shows(texts), RawAnswer::Done { rows, .. }) => {
                let shows = |value: &String| texts.iter().any(|text| value.contains(text.as_str()));
                if rows.iter().flatten().flatten().any(shows) {
                    breach("the answer contains values of another tenant".to_owned())
                } else {
                    ProbeVerdict::Held
                }
            }
            (Breach::RewrittenFrom(table), RawAnswer::Done { rows, .. }) => {
                judge_plan(first(rows).unwrap_or_default(), table)
            }
        }
    }
}

/// Whether a constraint of the table is violated, which is checked after the policies. Domains and the bounds of partitions are
/// checked before.
fn is_of_table(failure: &RawFailure) -> bool {
    match failure.sqlstate.as_str() {
        "23514" => failure.table.is_some() && failure.constraint.is_some(),
        sqlstate => sqlstate.starts_with("23") && failure.table.is_some(),
    }
}

fn first(rows: &[Vec<Option<String>>]) -> Option<&str> {
    rows.first()?.first()?.as_deref()
}

/// A statement that no rule changes has one plan, which changes its own table.
fn judge_plan(json: &str, table: &str) -> ProbeVerdict {
    let Ok(serde_json::Value::Array(plans)) = serde_json::from_str(json) else {
        return ProbeVerdict::Inconclusive("the plan cannot be read".to_owned());
    };
    let changed: Vec<&str> = plans.iter().filter_map(|it| it["Plan"]["Relation Name"].as_str()).collect();
    if changed == [table] {
        return ProbeVerdict::Held;
    }
    match changed.iter().find(|name| **name != table) {
        Some(other) => ProbeVerdict::Breach(format!("a rule makes the statement change {other}")),
        None => ProbeVerdict::Breach("a rule replaces the statement".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(sqlstate: &str, constraint: Option<&str>) -> RawAnswer {
        let (sqlstate, constraint) = (sqlstate.to_owned(), constraint.map(str::to_owned));
        RawAnswer::Failed(RawFailure {
            sqlstate,
            message: "message".to_owned(),
            constraint,
            table: Some("t".to_owned()),
        })
    }

    fn done(value: Option<&str>, affected: u64) -> RawAnswer {
        RawAnswer::Done { rows: value.map(|value| vec![vec![Some(value.to_owned())]]).unwrap_or_default(), affected }
    }

    fn verdict(breach: Breach, answer: &RawAnswer) -> char {
        match ProbeAttempt::new(ProbeKind::ReadRows, "t", "SELECT").breach(breach).judge(answer) {
            ProbeVerdict::Held => 'h',
            ProbeVerdict::Breach(_) => 'b',
            ProbeVerdict::Inconclusive(_) => '?',
        }
    }

    /// Only a refusal is one: an error for another reason shows nothing.
    #[test]
    fn an_unexpected_error_is_inconclusive() {
        for breach in [Breach::Runs, Breach::Rows, Breach::PassesPolicies, Breach::Reveals(Vec::new())] {
            assert_eq!(verdict(breach.clone(), &failed("42501", None)), 'h', "{breach:?}");
            for other in ["55P03", "57014", "42P01", "42601", "22P02", "40001", "XX000", ""] {
                assert_eq!(verdict(breach.clone(), &failed(other, None)), '?', "{breach:?} {other}");
            }
        }
    }

    #[test]
    fn each_sign_of_a_breach_is_recognized() {
        assert_eq!(verdict(Breach::Runs, &done(None, 0)), 'b');
        assert_eq!(verdict(Breach::Rows, &done(None, 0)), 'h');
        assert_eq!(verdict(Breach::Rows, &done(None, 1)), 'b');
        assert_eq!(verdict(Breach::Runs, &RawAnswer::CopyIn), 'b');
        assert_eq!(verdict(Breach::True, &done(Some("t"), 1)), 'b');
        assert_eq!(verdict(Breach::True, &done(Some("f"), 1)), 'h');
        assert_eq!(verdict(Breach::TrueOrFails("22012"), &failed("22012", None)), 'b');
        assert_eq!(verdict(Breach::PassesPolicies, &failed("23502", None)), 'b');
        assert_eq!(verdict(Breach::PassesPolicies, &failed("23514", Some("c"))), 'b');
        assert_eq!(verdict(Breach::PassesPolicies, &failed("23514", None)), '?', "no partition accepts the row");
        assert_eq!(verdict(Breach::PassesPolicies, &done(None, 1)), 'b');
        assert_eq!(verdict(Breach::PassesPolicies, &done(None, 0)), '?');
        assert_eq!(verdict(Breach::Changes, &done(None, 0)), '?');
        assert_eq!(verdict(Breach::Changes, &done(None, 1)), 'b');
        assert_eq!(verdict(Breach::MoreThan(2), &done(Some("2"), 1)), 'h');
        assert_eq!(verdict(Breach::MoreThan(2), &done(Some("3"), 1)), 'b');
        assert_eq!(verdict(Breach::MoreThan(2), &done(None, 0)), '?');
        let own = || Breach::Reveals(vec!["own".to_owned()]);
        assert_eq!(verdict(own(), &failed("23505", Some("other"))), 'b');
        assert_eq!(verdict(own(), &failed("23505", Some("own"))), '?');
        assert_eq!(verdict(own(), &failed("23P01", None)), 'b');
        assert_eq!(verdict(own(), &done(None, 1)), 'h');
        let shows = || Breach::Shows(vec!["secret".to_owned()]);
        assert_eq!(verdict(shows(), &done(Some("a secret"), 1)), 'b');
        assert_eq!(verdict(shows(), &done(Some("nothing"), 1)), 'h');
    }

    #[test]
    fn a_rule_shows_in_the_plan() {
        let rewritten = || Breach::RewrittenFrom("t".to_owned());
        let plan = |tables: &[&str]| {
            let plans: Vec<_> =
                tables.iter().map(|it| serde_json::json!({ "Plan": { "Relation Name": it } })).collect();
            done(Some(&serde_json::Value::Array(plans).to_string()), 1)
        };
        assert_eq!(verdict(rewritten(), &plan(&["t"])), 'h');
        assert_eq!(verdict(rewritten(), &plan(&["t", "u"])), 'b');
        assert_eq!(verdict(rewritten(), &plan(&["t", "t"])), 'b');
        assert_eq!(verdict(rewritten(), &plan(&[])), 'b');
        assert_eq!(verdict(rewritten(), &done(Some("no plan"), 1)), '?');
    }
}
