//! The settings of a transaction in a schema: its limits, and its name in `pg_stat_activity`.

use super::target::SchemaTarget;
use crate::postgres::Refusal;
use crate::record::runs::Run;
use crate::run::Commit;
use crate::sql::quote::Literal;

/// The lock timeout of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockTimeout {
    /// The lock timeout of the limits.
    Normal,
    /// 60 times the lock timeout of the limits, for statements that wait for older transactions and block no others, such as
    /// `CREATE INDEX CONCURRENTLY`.
    Concurrent,
}

/// A setting, with its value as an SQL constant.
struct Setting {
    name: &'static str,
    value: String,
}

impl Setting {
    fn new(name: &'static str, value: impl ToString) -> Self {
        Self { name, value: Literal(&value.to_string()).to_string() }
    }
}

/// SQL that sets the limits and the name in `pg_stat_activity`: with `SET LOCAL` for the transaction, with `SET` for the
/// session.
pub(crate) fn limits(set: &str, target: SchemaTarget<'_>, lock_timeout: LockTimeout) -> String {
    let name = target.run.map(|run| Setting::new("application_name", run.application_name(target.schema)));
    statements(set, timeouts(target, lock_timeout).into_iter().chain(name))
}

/// SQL that sets the same for a transaction that commits as `commit` says.
pub(super) fn of_transaction(target: SchemaTarget<'_>, commit: Commit) -> String {
    let limits = limits("SET LOCAL", target, LockTimeout::Normal);
    match durability(commit) {
        Some(setting) => format!("{limits} {}", statements("SET LOCAL", [setting])),
        None => limits,
    }
}

/// The same as conditions that are never true. `schema` is an SQL expression for the name of the schema.
pub(super) fn as_refusals(target: SchemaTarget<'_>, commit: Commit, schema: &str) -> Vec<Refusal> {
    let settings = timeouts(target, LockTimeout::Normal).into_iter().chain(durability(commit));
    let settings = settings.map(|Setting { name, value }| Refusal::setting(name, &value));
    let name = target.run.map(|run| {
        // The server truncates it as `Run::application_name` does.
        let name = format!("{} || {schema}", Literal(&run.application_prefix()));
        Refusal::setting("application_name", &name)
    });
    settings.chain(name).collect()
}

fn timeouts(target: SchemaTarget<'_>, lock_timeout: LockTimeout) -> Vec<Setting> {
    let limits = target.tenancy.limits();
    let factor = match lock_timeout {
        LockTimeout::Normal => 1,
        LockTimeout::Concurrent => 60,
    };
    let longest = i32::MAX as u128;
    let lock_timeout = (limits.lock_timeout.as_millis() * factor).clamp(1, longest);
    let mut settings = vec![Setting::new("lock_timeout", lock_timeout)];
    settings.extend(limits.statement_timeout.map(|timeout| Setting::new("statement_timeout", timeout.as_millis())));
    if target.run.is_some_and(Run::detects_lost_clients) {
        settings.push(Setting::new("client_connection_check_interval", 1_000));
    }
    settings
}

fn durability(commit: Commit) -> Option<Setting> {
    (commit == Commit::Deferred).then(|| Setting::new("synchronous_commit", "off"))
}

fn statements(set: &str, settings: impl IntoIterator<Item = Setting>) -> String {
    let statement = |setting: Setting| format!("{set} {} TO {};", setting.name, setting.value);
    settings.into_iter().map(statement).collect::<Vec<_>>().join(" ")
}
