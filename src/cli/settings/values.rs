//! Parsers of the values of options.

use std::str::FromStr;
use std::time::Duration;

/// `true`, `yes` and `1`, or `false`, `no` and `0`, in any case.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Ok(true),
        "false" | "no" | "0" => Ok(false),
        _ => Err("expected true, yes or 1, or false, no or 0".to_owned()),
    }
}

/// The number of connections.
pub(super) fn jobs(text: &str) -> Result<u16, String> {
    let number = text.trim().parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("expected a number from 1 to {}", u16::MAX))
}

/// The number of retries.
pub(super) fn retries(text: &str) -> Result<u32, String> {
    text.trim().parse().map_err(|_| format!("expected a number from 0 to {}", u32::MAX))
}

/// The number of spare schemas.
pub(crate) fn spares(text: &str) -> Result<u16, String> {
    let number = text.trim().parse().ok().filter(|number| (1..=500).contains(number));
    number.ok_or_else(|| "expected a number from 1 to 500".to_owned())
}

/// A number that may be 0.
pub(crate) fn number<N: FromStr>(text: &str) -> Result<N, String> {
    text.trim().parse().map_err(|_| "expected a number, at least 0".to_owned())
}

/// A number whose type excludes 0.
pub(crate) fn positive<N: FromStr>(text: &str) -> Result<N, String> {
    text.trim().parse().map_err(|_| "expected a number, at least 1".to_owned())
}

/// The number of tenants of a server; `none`, no limit, is -1.
pub(crate) fn capacity(text: &str) -> Result<i64, String> {
    if text.trim() == "none" {
        return Ok(-1);
    }
    let number = text.trim().parse().ok().filter(|number| *number >= 0);
    number.ok_or_else(|| "expected a number of tenants, or none".to_owned())
}

/// The id of a run.
pub(crate) fn run_id(text: &str) -> Result<i64, String> {
    text.trim().parse().map_err(|_| "expected the number of a run; 'runs' lists them".to_owned())
}

/// At most an hour; libpq takes whole seconds.
pub(super) fn connect_timeout(text: &str) -> Result<humantime::Duration, String> {
    at_most(text, Duration::from_secs(3_600), "1h")
}

pub(super) fn wait(text: &str) -> Result<humantime::Duration, String> {
    at_most(text, Duration::from_secs(86_400), "1day")
}

/// At most 24 days: the server takes milliseconds as a 32-bit number.
pub(super) fn statement_timeout(text: &str) -> Result<humantime::Duration, String> {
    at_most(text, Duration::from_secs(24 * 86_400), "24days")
}

/// From 1 ms to 24 days; the server takes 0 as no limit.
pub(super) fn lock_timeout(text: &str) -> Result<humantime::Duration, String> {
    let time = at_most(text, Duration::from_secs(24 * 86_400), "24days")?;
    if time.as_millis() == 0 {
        return Err("the minimum is 1ms: without a limit, all sessions queue behind the waiting statement".to_owned());
    }
    Ok(time)
}

pub(super) fn reconnect_for(text: &str) -> Result<humantime::Duration, String> {
    at_most(text, Duration::from_secs(86_400), "1day")
}

pub(crate) fn keep(text: &str) -> Result<humantime::Duration, String> {
    at_most(text, Duration::from_secs(100 * 365 * 86_400), "100years")
}

/// A duration without an upper limit.
pub(crate) fn duration(text: &str) -> Result<humantime::Duration, String> {
    text.parse().map_err(|error| format!("{error}; add a unit, for example 500ms, 5s or 2m"))
}

fn at_most(text: &str, most: Duration, shown: &str) -> Result<humantime::Duration, String> {
    let time = duration(text)?;
    if *time > most {
        return Err(format!("the maximum is {shown}"));
    }
    Ok(time)
}
