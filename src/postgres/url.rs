//! Connection strings, which are parsed once and never shown with their password.
//!
//! libpq parses both forms, URIs and keyword/value strings, into a list of options. Options can be added, and the list is
//! passed to libpq as one `key='value'` string.

mod address;
mod conninfo;
mod error;
mod redact;
#[cfg(feature = "cli")]
mod uri;

#[cfg(test)]
mod tests;

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

pub use error::ParseUrlError;

use conninfo::Rejection;

/// The options of a libpq connection string.
///
/// Parsed from a URI (`postgres://user:password@host:5432/name?sslmode=require`) or a keyword/value string
/// (`host=… dbname=…`). libpq takes options that the string does not set from the service file and the `PG*` variables, so
/// the empty string is valid.
///
/// `Display` and `Debug` show `***` instead of a secret. Only [`conninfo`](Self::conninfo) and [`get`](Self::get) return
/// secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    settings: Vec<(String, String)>,
}

/// The options whose values are secrets.
const SECRETS: [&str; 5] = ["password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"];

/// The replacement of a secret in output.
const REDACTED: &str = "***";

impl DatabaseUrl {
    /// The connection string for libpq, **with the password**. Use it only to connect.
    #[must_use]
    pub fn conninfo(&self) -> String {
        let pairs: Vec<_> = self.settings.iter().map(|(key, value)| format!("{key}={}", quote(value))).collect();
        pairs.join(" ")
    }

    /// Sets an option unless the connection string sets it, even to an empty value.
    ///
    /// The value takes precedence over the service file and the `PG*` variables.
    #[must_use]
    pub fn with_default(self, key: &str, value: &str) -> Self {
        if self.get(key).is_some() { self } else { self.with(key, value) }
    }

    /// Sets or replaces an option. libpq rejects the connection if it does not know the option.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        match self.settings.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => value.clone_into(old),
            None => self.settings.push((key.to_owned(), value.to_owned())),
        }
        self
    }

    /// Removes an option.
    #[must_use]
    #[cfg(feature = "cli")]
    pub(crate) fn without(mut self, key: &str) -> Self {
        self.settings.retain(|(known, _)| known != key);
        self
    }

    /// The value of an option that the connection string sets. Secrets are returned unchanged.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.settings.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// Whether the connection string has a password or another secret.
    #[must_use]
    pub fn has_secrets(&self) -> bool {
        self.settings.iter().any(|(key, value)| is_secret(key, value))
    }

    /// The same connection without any secret.
    #[must_use]
    pub fn without_any_secret(mut self) -> Self {
        self.settings.retain(|(key, value)| !is_secret(key, value));
        self
    }

    /// The connection string without the password, and the password, for a program that reads `PGPASSWORD`: command lines are
    /// shown to other users. `None` if other options have secrets.
    #[cfg(feature = "local")]
    pub(crate) fn without_secrets(&self) -> Option<(String, Option<&str>)> {
        let (own, others): (Vec<_>, Vec<_>) = self.settings.iter().partition(|(key, _)| key == "password");
        if others.iter().any(|(key, value)| is_secret(key, value)) {
            return None;
        }
        let settings = others.into_iter().cloned().collect();
        Some((Self { settings }.conninfo(), own.first().map(|(_, password)| password.as_str())))
    }

    /// Rejects values that libpq would accept here and quote in a later message although they may be part of a password.
    fn check(&self) -> Result<(), ParseUrlError> {
        let list = |key| self.get(key).unwrap_or_default().split(',').map(str::trim);
        // The name of an abstract socket starts with @. No host contains another one.
        if list("host").any(|host| host.chars().skip(1).any(|character| character == '@')) {
            return Err(ParseUrlError::StrayAt);
        }
        if list("port").any(|port| !port.is_empty() && port.parse::<NonZeroU16>().is_err()) {
            return Err(ParseUrlError::Port);
        }
        if self.get("dbname").is_some_and(|name| strip_scheme(name).is_some()) {
            return Err(ParseUrlError::NestedUri);
        }
        // As in `host=db;password=…`. `options` may set a server parameter with such a name; its value is never shown.
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

    /// Parses like `PQconninfoParse`, after removing white space around a URI.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let trimmed = text.trim_matches(is_space);
        let text = match strip_scheme(trimmed) {
            Some(uri) => {
                check_uri(uri)?;
                trimmed
            }
            None => {
                check_keywords(trimmed)?;
                // Not trimmed: a value may end with an escaped space.
                text
            }
        };
        let settings = conninfo::parse(text).map_err(|rejection| match rejection {
            Rejection::Nul => ParseUrlError::Nul,
            Rejection::NotUtf8(option) => ParseUrlError::NotUtf8 { option },
            Rejection::Invalid(message) => match unknown_option(text, &message) {
                Some(option) => ParseUrlError::UnknownOption(option),
                None => ParseUrlError::from_libpq(&message),
            },
        })?;
        let url = Self { settings };
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

/// The rest of a URI after its scheme.
fn strip_scheme(text: &str) -> Option<&str> {
    text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://"))
}

/// Rejects a URI with an unencoded `@` that libpq would interpret as part of the host, the database or the user.
fn check_uri(uri: &str) -> Result<(), ParseUrlError> {
    // Like libpq, which takes `host?user=me@corp` for the user name "host?user=me" and the host "corp".
    let (credentials, rest) = uri.split_once('@').filter(|(before, _)| !before.contains('/')).unwrap_or(("", uri));
    let location = rest.split('?').next().unwrap_or_default();
    let parameters = credentials.split_once('?').map_or("", |(_, query)| query).split('&');
    let mut names = parameters.filter_map(|parameter| parameter.split_once('=')).map(|(name, _)| name);
    if location.contains('@') || names.any(|name| name == "ssl" || is_option(name)) {
        return Err(ParseUrlError::StrayAt);
    }
    Ok(())
}

/// Rejects a text that is neither a URI of PostgreSQL nor a keyword/value string.
fn check_keywords(text: &str) -> Result<(), ParseUrlError> {
    let first_word = text.split(|c| c == '=' || is_space(c)).next().unwrap_or_default();
    if first_word.contains("://") {
        return Err(ParseUrlError::Scheme);
    }
    if !text.is_empty() && !text.contains('=') {
        return Err(ParseUrlError::Form);
    }
    Ok(())
}

/// The name of the option that libpq does not know, unless the name may be part of a password.
fn unknown_option(text: &str, message: &str) -> Option<String> {
    let quoted = message
        .strip_prefix("invalid connection option \"")
        .or_else(|| message.strip_prefix("invalid URI query parameter: \""))?;
    let option = quoted.strip_suffix('"')?;
    let is_word = !option.is_empty() && option.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let is_misspelled_case = is_option(&option.to_ascii_lowercase());
    // The text before the option may contain a password. In a URI, so may a query with an @, which may precede the host.
    let is_uri = strip_scheme(text.trim_start()).is_some();
    let options = if is_uri { text.split_once('?')?.1 } else { text };
    let (before, _) = options.rsplit_once(option)?;
    let may_be_secret = (is_uri && options.contains('@')) || SECRETS.iter().any(|secret| before.contains(secret));
    ((is_word || is_misspelled_case) && !may_be_secret).then(|| option.to_owned())
}

/// Whether libpq knows an option with this name.
fn is_option(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_lowercase() || c == '_') && conninfo::parse(&format!("{name}=''")).is_ok()
}

/// A value in single quotes, as in a keyword/value string.
fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}

/// White space as in C's `isspace`.
fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t'..='\r')
}

fn is_secret(key: &str, value: &str) -> bool {
    SECRETS.contains(&key) || names_password(value)
}

/// Whether a value contains a password, as in `db;password=…`.
fn names_password(value: &str) -> bool {
    value.to_ascii_lowercase().contains("password=")
}
