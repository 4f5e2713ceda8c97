//! A connection string as a URI, for programs with other drivers.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::DatabaseUrl;

/// What is encoded: all but the characters that a URI never reserves.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The options that only libpq knows, and that have no effect on what a session does.
const OF_LIBPQ: [&str; 9] = [
    "application_name",
    "connect_timeout",
    "fallback_application_name",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "tcp_user_timeout",
    "client_encoding",
];

impl DatabaseUrl {
    /// A URI with the same server, database, role and session, **with the password**. The host is in the authority if it is
    /// one name or address, as most drivers require.
    pub(crate) fn uri(&self) -> String {
        let encoded = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
        let host = self.get("host").filter(|host| !host.is_empty() && !host.contains(['/', ',', '@']));
        let mut authority = String::new();
        let mut in_authority = vec!["dbname"];
        if let Some(user) = self.get("user") {
            in_authority.extend(["user", "password"]);
            authority += &encoded(user);
            if let Some(password) = self.get("password") {
                authority += &format!(":{}", encoded(password));
            }
            authority.push('@');
        }
        if let Some(host) = host {
            in_authority.extend(["host", "port"]);
            authority += &if host.contains(':') { format!("[{host}]") } else { encoded(host) };
            if let Some(port) = self.get("port") {
                authority += &format!(":{port}");
            }
        }
        let rest = self
            .settings
            .iter()
            .filter(|(key, _)| !in_authority.contains(&key.as_str()) && !OF_LIBPQ.contains(&key.as_str()));
        let query: Vec<String> = rest.map(|(key, value)| format!("{key}={}", encoded(value))).collect();
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        format!("postgresql://{authority}/{}{query}", encoded(self.get("dbname").unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uri_has_the_same_options() {
        for (text, expected) in [
            ("host=db user=a dbname=x", "postgresql://a@db/x"),
            (
                "host=::1 port=5433 user=a password='p@:/?%&= é' dbname='d b' options='-c search_path=\"t\"'",
                "postgresql://a:p%40%3A%2F%3F%25%26%3D%20%C3%A9@[::1]:5433/d%20b?options=-c%20search_path%3D%22t%22",
            ),
            ("host=/run/pg port=1 dbname=x", "postgresql:///x?host=%2Frun%2Fpg&port=1"),
            ("host=a,b port=1,2 user=u sslmode=require", "postgresql://u@/?host=a%2Cb&port=1%2C2&sslmode=require"),
            ("password=x host=h", "postgresql://h/?password=x"),
            ("", "postgresql:///"),
        ] {
            let url: DatabaseUrl = text.parse().unwrap();
            assert_eq!(url.uri(), expected);
            let mut back = url.uri().parse::<DatabaseUrl>().unwrap().settings;
            let mut settings = url.settings;
            back.retain(|(key, value)| key != "dbname" || !value.is_empty());
            back.sort();
            settings.sort();
            assert_eq!(back, settings, "{expected}");
        }
        let url: DatabaseUrl = "host=h keepalives=1 application_name=x".parse().unwrap();
        assert_eq!(url.uri(), "postgresql://h/");
    }
}
