//! Errors of parsing a connection string.

use thiserror::Error;

/// Why a text is not a valid connection string.
///
/// No message quotes a part of the text that may belong to a password: a password that is not encoded or quoted is a
/// usual cause, and its parts end up anywhere.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseUrlError {
    /// The text contains a NUL character, plain or as `%00`.
    #[error("the connection string contains a NUL character")]
    Nul,
    /// The text is a URI with another scheme, or a quoted URI.
    #[error("the connection URI does not start with \"postgres://\" or \"postgresql://\"")]
    Scheme,
    /// The text is neither a URI nor a keyword/value string. `psql` accepts a plain database name, libpq does not.
    #[error("the connection string is neither a URI nor made of key=value pairs")]
    Form,
    /// A keyword has no value.
    #[error("missing \"=\" after an option in the connection string")]
    MissingEquals,
    /// A quoted value does not end.
    #[error("unterminated quoted value in the connection string")]
    UnterminatedQuote,
    /// libpq does not know the option.
    #[error("invalid connection option \"{0}\"")]
    UnknownOption(String),
    /// libpq does not know the option, whose name may be part of a password.
    #[error("invalid connection option (not shown because it may be part of a password)")]
    HiddenOption,
    /// A query parameter of a URI is not of the form `key=value`.
    #[error("a query parameter of the connection URI is not of the form key=value")]
    QueryParameter,
    /// A `%` is not followed by two hexadecimal digits.
    #[error("invalid percent-encoding in the connection URI")]
    PercentEncoding,
    /// A part of a URI contains a space. Reported by libpq 17 and later.
    #[error("unencoded space in the connection URI")]
    Space,
    /// The decoded value of an option is not UTF-8.
    #[error("the value of {option} in the connection string is not valid UTF-8")]
    NotUtf8 {
        /// The option.
        option: String,
    },
    /// An `@` follows the host of a URI, or is part of a host.
    #[error("unexpected \"@\" in the connection string; the password may contain an unencoded \"@\" or \"/\"")]
    StrayAt,
    /// An IPv6 address is not in brackets, or is empty.
    #[error("an IPv6 address in the connection URI is not of the form [address] or [address]:port")]
    Ipv6,
    /// A port is not a number from 1 to 65535.
    #[error("a port in the connection string is not a number from 1 to 65535")]
    Port,
    /// The value of another option contains `password=`.
    #[error("\"password=\" in the connection string is part of the value of another option")]
    SwallowedPassword,
    /// `dbname` is a URI, which libpq would use as the name of the database.
    #[error("dbname in the connection string is itself a connection URI")]
    NestedUri,
    /// libpq rejects the string for another reason.
    #[error("the connection string is invalid")]
    Invalid,
}

impl ParseUrlError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        "invalid-database-url"
    }

    /// How to fix the connection string.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Scheme => Some("remove quotation marks around the URI"),
            Self::Form => {
                Some("write the database name as dbname=name, or use a URI such as postgres://user@host/name")
            }
            Self::MissingEquals | Self::UnterminatedQuote => {
                Some("put a value with spaces in single quotes, and escape ' and \\ in it as \\' and \\\\")
            }
            Self::HiddenOption => Some(
                "put a password with spaces in single quotes; in a URI, percent-encode its @ as %40, / as %2F, \
                 ? as %3F and & as %26",
            ),
            Self::QueryParameter => Some(
                "percent-encode & as %26 and = as %3D in a query parameter, and @ as %40, / as %2F and ? as %3F in the \
                 user name and password",
            ),
            Self::PercentEncoding => Some("percent-encode a literal % as %25"),
            Self::Space => Some("percent-encode the space as %20"),
            Self::StrayAt => Some("percent-encode @ as %40, / as %2F and : as %3A in the user name and password"),
            Self::Port => Some(
                "percent-encode @ as %40, / as %2F and : as %3A in the user name and password, and put an IPv6 address \
                 in brackets",
            ),
            Self::SwallowedPassword => Some("separate options with spaces, or with & in the query of a URI"),
            Self::NestedUri => Some("use the URI alone, without dbname="),
            Self::Nul | Self::UnknownOption(_) | Self::NotUtf8 { .. } | Self::Ipv6 | Self::Invalid => None,
        }
    }

    /// Classifies an error message of libpq. An unknown option is [`HiddenOption`](Self::HiddenOption), since its name may be
    /// part of a password.
    pub(super) fn from_libpq(message: &str) -> Self {
        const MESSAGES: [(&str, ParseUrlError); 12] = [
            ("missing \"=\" after", ParseUrlError::MissingEquals),
            ("unterminated quoted string", ParseUrlError::UnterminatedQuote),
            ("invalid connection option", ParseUrlError::HiddenOption),
            ("invalid URI query parameter", ParseUrlError::HiddenOption),
            ("missing key/value separator", ParseUrlError::QueryParameter),
            ("extra key/value separator", ParseUrlError::QueryParameter),
            ("invalid percent-encoded token", ParseUrlError::PercentEncoding),
            ("forbidden value %00", ParseUrlError::Nul),
            ("unexpected spaces found", ParseUrlError::Space),
            ("end of string reached when looking for matching \"]\"", ParseUrlError::Ipv6),
            ("IPv6 host address may not be empty", ParseUrlError::Ipv6),
            ("unexpected character", ParseUrlError::Ipv6),
        ];
        let known = MESSAGES.into_iter().find(|(start, _)| message.starts_with(start));
        known.map_or(Self::Invalid, |(_, error)| error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_libpq_are_classified() {
        // The message of libpq 17 and later; the others occur in the tests of the parser.
        let message = "unexpected spaces found in \"my secret\", use percent-encoded spaces (%20) instead";
        assert_eq!(ParseUrlError::from_libpq(message), ParseUrlError::Space);
        assert_eq!(ParseUrlError::from_libpq("out of memory"), ParseUrlError::Invalid);
    }
}
