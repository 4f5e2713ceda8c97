//! The connection string, parsed once and never shown with its password.
//!
//! The grammar is libpq's, not that of the URL standard: several hosts, socket folders, `key=value` strings and the
//! empty string are all valid. Whatever the form, it becomes a list of settings, which can be added to and is handed
//! to libpq as one `key='value'` string, so that nothing below this module pastes connection strings together.

mod parse;

#[cfg(test)]
mod tests;

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use thiserror::Error;

use parse::{encoded_byte, parse_keywords, parse_uri, strip_scheme};

/// How to reach a server: the settings of a libpq connection string, in the order in which it names them.
///
/// Parsed from a URI (`postgres://user:password@host:5432/name?sslmode=require`) or a keyword string
/// (`host=… dbname=…`). What the string leaves out, libpq takes from the service file and the `PG*` variables, so the
/// empty string is valid too.
///
/// `Display` and `Debug` write `***` in place of a secret; only [`conninfo`](Self::conninfo) and [`get`](Self::get)
/// give it away.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    settings: Vec<(String, String)>,
}

/// Why a text is not a connection string.
///
/// No message repeats a piece of the text that could belong to a password: a badly quoted or encoded password is the
/// usual cause, and it is cut at an unforeseen place. What helps against it stands in [`hint`](Self::hint).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseUrlError {
    /// A NUL character, plain or as `%00`.
    #[error("the connection string contains a NUL character")]
    Nul,
    /// A URI of another kind, or one in quotation marks.
    #[error("the connection string starts with neither \"postgres://\" nor \"postgresql://\"")]
    Scheme,
    /// Neither of the two forms; `psql` takes a bare database name, libpq's `PQconnectdb` does not.
    #[error("the connection string is neither a URI nor made of key=value pairs")]
    Form,
    /// A word without a value in a keyword string.
    #[error("the connection string lacks a \"=\" after one of its keywords")]
    MissingEquals,
    /// A single quote is opened and not closed.
    #[error("the connection string has an unterminated quoted value")]
    UnterminatedQuote,
    /// A keyword that libpq does not know.
    #[error("invalid connection option \"{0}\"")]
    UnknownKeyword(String),
    /// A keyword that libpq does not know and that could be a piece of a password.
    #[error("invalid connection option (not shown, it could be part of a password)")]
    HiddenKeyword,
    /// A query parameter of a URI that is not one `key=value`.
    #[error("a query parameter of the connection URI is not of the form key=value")]
    QueryParameter,
    /// A `%` without two hexadecimal digits after it.
    #[error("invalid percent-encoding in the {part} of the connection URI")]
    PercentEncoding {
        /// Where it stands, such as `password`.
        part: &'static str,
    },
    /// A space within a part of a URI.
    #[error("unencoded space in the {part} of the connection URI")]
    Space {
        /// Where it stands, such as `password`.
        part: &'static str,
    },
    /// Percent-encoded bytes that are not UTF-8.
    #[error("the {part} of the connection URI is not UTF-8 once decoded")]
    NotUtf8 {
        /// Where they stand, such as `password`.
        part: &'static str,
    },
    /// An `@` in a host, or in a place of a URI that makes the end of a password be taken for a host or a database.
    #[error("the connection string has an \"@\" where none belongs, as if a password held an unencoded \"@\" or \"/\"")]
    StrayAt,
    /// Brackets that do not hold exactly one address.
    #[error("an IPv6 address in the connection URI is not of the form [address] or [address]:port")]
    Ipv6,
    /// A port that is not a number from 1 to 65535.
    #[error("a port in the connection string is not a number from 1 to 65535")]
    Port,
    /// The value of some other setting contains `password=`.
    #[error("a \"password=\" in the connection string is part of another setting's value")]
    SwallowedPassword,
    /// `dbname` holds a URI; libpq's `PQconnectdb` would take it for the name itself.
    #[error("the dbname in the connection string is itself a connection URI")]
    NestedUri,
}

impl ParseUrlError {
    /// What to do about it, where there is more to say than the message does.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Scheme => Some("quotation marks around the URI are not part of it: take them off"),
            Self::Form => Some("write a database's name as dbname=name, or a URI as postgres://user@host/name"),
            Self::MissingEquals | Self::UnterminatedQuote => {
                Some("put a value with spaces in single quotes, and write \\' and \\\\ for a ' and a \\ in it")
            }
            Self::HiddenKeyword => Some(
                "put a password with spaces in single quotes; in a URI, percent-encode its @ as %40, / as %2F, \
                 ? as %3F and & as %26",
            ),
            Self::QueryParameter => Some(
                "percent-encode & as %26 and = as %3D in a query parameter, and @ as %40, / as %2F and ? as %3F in the \
                 user name and password",
            ),
            Self::PercentEncoding { .. } => Some("percent-encode a literal % as %25"),
            Self::Space { .. } => Some("percent-encode the space as %20"),
            Self::StrayAt => Some("percent-encode @ as %40, / as %2F and : as %3A in the user name and password"),
            Self::Port => Some(
                "percent-encode @ as %40, / as %2F and : as %3A in the user name and password, and put an IPv6 address \
                 in brackets",
            ),
            Self::SwallowedPassword => Some("separate settings by spaces, or in a URI's query by &"),
            Self::NestedUri => Some("give the URI alone, without dbname="),
            Self::Nul | Self::UnknownKeyword(_) | Self::NotUtf8 { .. } | Self::Ipv6 => None,
        }
    }
}

impl DatabaseUrl {
    /// The libpq connection string, **with the password**: for establishing a connection and for nothing else.
    #[must_use]
    pub fn conninfo(&self) -> String {
        let pairs: Vec<_> = self.settings.iter().map(|(key, value)| format!("{key}={}", quote(value))).collect();
        pairs.join(" ")
    }

    /// Sets `key` unless the connection string has it, be it with an empty value.
    ///
    /// Only the string counts: the value also goes before one from a service file or a `PG*` variable.
    #[must_use]
    pub fn with_default(self, key: &str, value: &str) -> Self {
        if self.get(key).is_some() { self } else { self.with(key, value) }
    }

    /// Sets or replaces `key`, which is to be one of libpq's keywords: a debug build panics at any other, and libpq
    /// refuses the connection.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        debug_assert!(KEYWORDS.contains(&key), "not a libpq keyword: {key}");
        self.set(key, value.to_owned());
        self
    }

    /// The value of `key`, if the connection string has it. A secret is returned as it is.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.settings.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// Where a connection leads, for messages: `db.example.com:5433`, `the socket in /run/postgresql`, `service
    /// "billing"`, several hosts joined by `, `. Holds neither user nor password.
    ///
    /// `env` looks up an environment variable, since `PGHOST`, `PGHOSTADDR`, `PGPORT` and `PGSERVICE` stand in for
    /// what the string leaves out. The service file is not read: where it may decide, the service is named, or the
    /// port left out.
    #[must_use]
    pub fn place(&self, env: impl Fn(&str) -> Option<String>) -> String {
        let setting = |key, variable| self.get(key).map(str::to_owned).or_else(|| env(variable)).unwrap_or_default();
        let service = setting("service", "PGSERVICE");
        if !service.is_empty() && self.get("host").is_none() && self.get("hostaddr").is_none() {
            return format!("service \"{service}\"");
        }

        let hosts = setting("host", "PGHOST");
        let addresses = setting("hostaddr", "PGHOSTADDR");
        let ports = setting("port", "PGPORT");
        let port_is_known = service.is_empty() || self.get("port").is_some();

        let hosts: Vec<_> = hosts.split(',').collect();
        let addresses: Vec<_> = addresses.split(',').collect();
        let ports: Vec<_> = ports.split(',').map(str::trim).collect();
        let places: Vec<_> = (0..hosts.len().max(addresses.len()))
            .map(|index| {
                let nth = |list: &[&str]| list.get(index).copied().unwrap_or_default().to_owned();
                // A single port goes for every host.
                let port = if let [port] = ports[..] { port.to_owned() } else { nth(&ports) };
                let port = if port.is_empty() { DEFAULT_PORT } else { &port };
                endpoint(&nth(&hosts), &nth(&addresses), port_is_known.then_some(port))
            })
            .collect();
        places.join(", ")
    }

    /// `text` with `***` for each occurrence of a secret of this connection string, for messages from libpq and
    /// Diesel.
    ///
    /// Finds a secret as it is, percent-encoded in whole or in part, and with backslashes before its characters.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        self.redact_with(text, &[])
    }

    /// [`redact`](Self::redact), with further secrets such as the value of `PGPASSWORD`.
    #[must_use]
    pub fn redact_with(&self, text: &str, secrets: &[&str]) -> String {
        let own = self.settings.iter().filter(|(key, value)| is_secret(key, value)).map(|(_, value)| value.as_str());
        let secrets: Vec<String> = own
            .chain(secrets.iter().copied())
            .filter(|secret| !secret.is_empty())
            // The second form is how `{:?}` writes a line break or the like.
            .flat_map(|secret| [secret.to_owned(), unquoted_debug(secret)])
            .collect();

        let mut shown = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            let longest = secrets.iter().filter_map(|secret| spelled_length(rest, secret)).max();
            if longest.is_some() {
                shown.push_str(REDACTED);
            } else {
                shown.push(next);
            }
            rest = &rest[longest.unwrap_or(next.len_utf8())..];
        }
        shown
    }

    fn set(&mut self, key: &str, value: String) {
        match self.settings.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value,
            None => self.settings.push((key.to_owned(), value)),
        }
    }

    /// Stores a setting as libpq does when it parses; an unknown `key` is an error, which names it only if
    /// `show_key`.
    fn store(&mut self, key: &str, value: String, show_key: bool) -> Result<(), ParseUrlError> {
        if key == "requiressl" {
            // libpq's old name for it; anything but 1 meant the default.
            let mode = if value.starts_with('1') { "require" } else { "prefer" };
            self.set("sslmode", mode.to_owned());
        } else if KEYWORDS.contains(&key) {
            self.set(key, value);
        } else if show_key && looks_like_keyword(key) {
            return Err(ParseUrlError::UnknownKeyword(key.to_owned()));
        } else {
            return Err(ParseUrlError::HiddenKeyword);
        }
        Ok(())
    }

    /// Refuses what libpq would only trip over later, quoting in its message what may be a piece of a password.
    fn check(&self) -> Result<(), ParseUrlError> {
        let list = |key| self.get(key).unwrap_or_default().split(',').map(str::trim);
        // An abstract socket's name starts with @; no host has one further on.
        if list("host").any(|host| host.chars().skip(1).any(|character| character == '@')) {
            return Err(ParseUrlError::StrayAt);
        }
        if list("port").any(|port| !port.is_empty() && port.parse::<NonZeroU16>().is_err()) {
            return Err(ParseUrlError::Port);
        }
        if self.get("dbname").is_some_and(|name| strip_scheme(name).is_some()) {
            return Err(ParseUrlError::NestedUri);
        }
        // As in `host=db;password=…`. A server setting in `options` may be called so, and is not shown then.
        let swallows = |(key, value): &(String, String)| {
            key != "options" && !SECRETS.contains(&key.as_str()) && names_password(value)
        };
        if self.settings.iter().any(swallows) {
            return Err(ParseUrlError::SwallowedPassword);
        }
        Ok(())
    }
}

impl FromStr for DatabaseUrl {
    type Err = ParseUrlError;

    /// Parses as libpq's `PQconnectdb` does, but without the white space around a URI, which files and shells leave
    /// there.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('\0') {
            return Err(ParseUrlError::Nul);
        }
        let url = match strip_scheme(text.trim_matches(is_space)) {
            Some(rest) => parse_uri(rest)?,
            // Not trimmed at the end: "\ " there is a value's last character.
            None => parse_keywords(text.trim_start_matches(is_space))?,
        };
        url.check()?;
        Ok(url)
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain =
            |value: &str| !value.is_empty() && value.chars().all(|c| c.is_alphanumeric() || "-_.,:/@+~*".contains(c));
        for (index, (key, value)) in self.settings.iter().enumerate() {
            let separator = if index == 0 { "" } else { " " };
            write!(f, "{separator}{key}=")?;
            if is_secret(key, value) {
                f.write_str(REDACTED)?;
            } else if is_plain(value) {
                f.write_str(value)?;
            } else {
                f.write_str(&quote(value))?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

/// The options that a connection string may set: <https://www.postgresql.org/docs/18/libpq-connect.html>,
/// "Parameter Key Words". An older libpq refuses the newer ones by itself, by name.
const KEYWORDS: &[&str] = &[
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "dbname",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_issuer",
    "oauth_scope",
    "options",
    "passfile",
    "password",
    "port",
    "replication",
    "require_auth",
    "requirepeer",
    "scram_client_key",
    "scram_server_key",
    "service",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslkey",
    "sslkeylogfile",
    "sslmode",
    "sslnegotiation",
    "sslpassword",
    "sslrootcert",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// The keywords whose value opens the door by itself.
const SECRETS: &[&str] = &["password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"];

/// Stands for a secret wherever one would be shown.
const REDACTED: &str = "***";

/// The port libpq uses when none is given.
const DEFAULT_PORT: &str = "5432";

/// A value in single quotes, by the rules of [`take_value`].
fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}

/// Splits before the first character that `ends` the first half.
fn split_before(text: &str, ends: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

/// White space as C's `isspace` has it.
fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t'..='\r')
}

fn is_secret(key: &str, value: &str) -> bool {
    SECRETS.contains(&key) || names_password(value)
}

/// Whether a value holds a password of its own, as `db;password=…` does.
fn names_password(value: &str) -> bool {
    value.to_ascii_lowercase().contains("password=")
}

/// Whether one of the parameters of a query is a setting.
fn names_keyword(query: &str) -> bool {
    let mut keys = query.split('&').filter_map(|parameter| parameter.split_once('=')).map(|(key, _)| key);
    keys.any(|key| key == "ssl" || KEYWORDS.contains(&key))
}

/// Whether a word is fit to be shown as a mistyped keyword. A password given alone may end in `=`, as Base64 does;
/// the keywords have neither capitals nor digits.
fn looks_like_keyword(word: &str) -> bool {
    let is_lower = !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    is_lower || KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(word))
}

/// One of the places a connection may lead to. Without a `port`, it is left open.
fn endpoint(host: &str, address: &str, port: Option<&str>) -> String {
    let on_port = |host: &str| match port {
        Some(port) if host.contains(':') => format!("[{host}]:{port}"),
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let through_socket = |socket: &str| match port {
        Some(port) if port != DEFAULT_PORT => format!("{socket} (port {port})"),
        _ => socket.to_owned(),
    };
    match (host, address) {
        // Its folder was chosen when libpq was built.
        ("", "") => through_socket("libpq's default socket"),
        (folder, "") if folder.starts_with(['/', '@']) => through_socket(&format!("the socket in {folder}")),
        (host, "") | ("", host) => on_port(host),
        (host, address) => format!("{} at {address}", on_port(host)),
    }
}

/// What `{:?}` writes between its quotation marks.
fn unquoted_debug(text: &str) -> String {
    let quoted = format!("{text:?}");
    quoted[1..quoted.len() - 1].to_owned()
}

/// How many bytes at the start of `text` spell the whole `secret`, each of its bytes being there as it is,
/// percent-encoded or behind backslashes. Several spellings can fit, as `%25` is both `%25` and an encoded `%`; the
/// longest counts.
fn spelled_length(text: &str, secret: &str) -> Option<usize> {
    let text = text.as_bytes();
    let mut ends = vec![0];
    for &byte in secret.as_bytes() {
        let mut next = Vec::new();
        for end in ends {
            let rest = &text[end..];
            let backslashes = rest.iter().take_while(|&&byte| byte == b'\\').count();
            if byte == b'\\' {
                next.extend((1..=backslashes).map(|count| end + count));
            } else if rest.get(backslashes) == Some(&byte) {
                next.push(end + backslashes + 1);
            }
            if encoded_byte(rest) == Some(byte) {
                next.push(end + 3);
            }
        }
        next.sort_unstable();
        next.dedup();
        ends = next;
    }
    ends.last().copied()
}
