//! The two forms of a connection string, taken apart: key=value pairs and URIs.

use super::{DatabaseUrl, ParseUrlError, SECRETS, is_space, names_keyword, split_before};

/// What follows `postgres://` or `postgresql://`, which libpq knows in lower case only.
pub(super) fn strip_scheme(text: &str) -> Option<&str> {
    text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://"))
}

/// Parses `key = value` pairs, as libpq's `conninfo_parse` does. `text` starts with no white space.
pub(super) fn parse_keywords(text: &str) -> Result<DatabaseUrl, ParseUrlError> {
    let first_word = text.split(|c| c == '=' || is_space(c)).next().unwrap_or_default();
    if first_word.contains("://") {
        return Err(ParseUrlError::Scheme);
    }
    if !text.is_empty() && !text.contains('=') {
        return Err(ParseUrlError::Form);
    }

    let mut url = DatabaseUrl { settings: Vec::new() };
    let mut secret_seen = false;
    let mut rest = text;
    while !rest.is_empty() {
        let (key, after) = split_before(rest, |c| c == '=' || is_space(c));
        let after = after.trim_start_matches(is_space).strip_prefix('=').ok_or(ParseUrlError::MissingEquals)?;
        let after = after.trim_start_matches(is_space);
        let (value, after) = match after.strip_prefix('\'') {
            Some(quoted) => {
                let (value, after) = take_value(quoted, |c| c == '\'');
                (value, after.ok_or(ParseUrlError::UnterminatedQuote)?)
            }
            None => {
                let (value, after) = take_value(after, is_space);
                (value, after.unwrap_or_default())
            }
        };
        // After a secret, what looks like a keyword may be the rest of it, left outside quotes.
        url.store(key, value, !secret_seen)?;
        secret_seen |= SECRETS.contains(&key);
        rest = after.trim_start_matches(is_space);
    }
    Ok(url)
}

/// Parses what follows the scheme of a URI, as libpq's `conninfo_uri_parse_options` does.
pub(super) fn parse_uri(text: &str) -> Result<DatabaseUrl, ParseUrlError> {
    let mut url = DatabaseUrl { settings: Vec::new() };
    let mut set = |key: &str, part: &'static str, raw: &str| -> Result<(), ParseUrlError> {
        // Unlike an empty setting, an absent one leaves the environment its say.
        if !raw.is_empty() {
            url.set(key, decode(raw, part)?);
        }
        Ok(())
    };

    let (credentials, rest) = match text.split_once('@') {
        Some((before, after)) if !before.contains('/') => (before, after),
        _ => ("", text),
    };
    // libpq takes `host?user=me@corp` for the user name "host?user=me", and "corp" for the host.
    if credentials.split_once('?').is_some_and(|(_, query)| names_keyword(query)) {
        return Err(ParseUrlError::StrayAt);
    }
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));

    let (hosts, ports, rest) = split_hosts(rest)?;
    let (path, query) = split_before(rest, |c| c == '?');
    if [&hosts, &ports, path].iter().any(|part| part.contains('@')) {
        return Err(ParseUrlError::StrayAt);
    }

    set("user", "user name", user)?;
    set("password", "password", password)?;
    set("host", "host", &hosts)?;
    set("port", "port", &ports)?;
    set("dbname", "database name", path.strip_prefix('/').unwrap_or_default())?;
    parse_query(&mut url, query.strip_prefix('?').unwrap_or_default())?;
    Ok(url)
}

/// Splits `host:port,[address]:port…` into the hosts and the ports, both joined by commas as the keywords want them,
/// and what follows.
fn split_hosts(text: &str) -> Result<(String, String, &str), ParseUrlError> {
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    let mut rest = text;
    loop {
        let (host, after) = match rest.strip_prefix('[') {
            Some(bracketed) => bracketed
                .split_once(']')
                .filter(|(address, after)| {
                    !address.is_empty() && (after.is_empty() || after.starts_with([':', '/', '?', ',']))
                })
                .ok_or(ParseUrlError::Ipv6)?,
            None => split_before(rest, |c| matches!(c, ':' | '/' | '?' | ',')),
        };
        let (port, after) = match after.strip_prefix(':') {
            Some(after) => split_before(after, |c| matches!(c, '/' | '?' | ',')),
            None => ("", after),
        };
        hosts.push(host);
        ports.push(port);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok((hosts.join(","), ports.join(","), after)),
        }
    }
}

/// Parses the `key=value&…` of a URI, as libpq's `conninfo_uri_parse_params` does.
fn parse_query(url: &mut DatabaseUrl, query: &str) -> Result<(), ParseUrlError> {
    const PART: &str = "query";
    // An "@" here may be the one before the host, and all that precedes it part of a password.
    let mut show_key = !query.contains('@');
    // libpq allows one "&" too many at the end, and nowhere else.
    let query = query.strip_suffix('&').filter(|rest| !rest.is_empty()).unwrap_or(query);
    if query.is_empty() {
        return Ok(());
    }
    for parameter in query.split('&') {
        let (key, value) =
            parameter.split_once('=').filter(|(_, value)| !value.contains('=')).ok_or(ParseUrlError::QueryParameter)?;
        let (key, value) = (decode(key, PART)?, decode(value, PART)?);
        if key == "ssl" && value == "true" {
            // The JDBC driver's way to say it.
            url.store("sslmode", "require".to_owned(), show_key)?;
        } else {
            url.store(&key, value, show_key)?;
        }
        // What follows may be the rest of the secret, after an unencoded "&".
        show_key &= !SECRETS.contains(&key.as_str());
    }
    Ok(())
}

/// Resolves the percent-encoding of a part of a URI. As in libpq, spaces around it are dropped and none may be
/// within.
fn decode(raw: &str, part: &'static str) -> Result<String, ParseUrlError> {
    let raw = raw.trim_matches(' ');
    if raw.contains(' ') {
        return Err(ParseUrlError::Space { part });
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some(&byte) = rest.first() {
        let (byte, length) = match byte {
            b'%' => (encoded_byte(rest).ok_or(ParseUrlError::PercentEncoding { part })?, 3),
            plain => (plain, 1),
        };
        bytes.push(byte);
        rest = &rest[length..];
    }
    if bytes.contains(&0) {
        return Err(ParseUrlError::Nul);
    }
    String::from_utf8(bytes).map_err(|_| ParseUrlError::NotUtf8 { part })
}

/// The byte that the `%xy` at the start of `text` stands for.
pub(super) fn encoded_byte(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else {
        return None;
    };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// Takes a value up to the character that `ends` it, resolving backslashes; `None` if that character does not come.
fn take_value(text: &str, ends: impl Fn(char) -> bool) -> (String, Option<&str>) {
    let mut value = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => value.extend(characters.next()),
            end if ends(end) => return (value, Some(characters.as_str())),
            other => value.push(other),
        }
    }
    (value, None)
}
