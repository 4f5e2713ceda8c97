//! Tests of parsing, showing and redacting connection strings.

mod examples;

use examples::{ACCEPTED, TRIMMED, rejected_beyond_libpq, rejected_by_libpq};
use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<DatabaseUrl, ParseUrlError> {
    text.parse()
}

fn no_env(_: &str) -> Option<String> {
    None
}

#[test]
fn valid_strings_are_parsed() {
    for (text, settings) in ACCEPTED.iter().chain(TRIMMED) {
        let url = parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        let mut read: Vec<_> = url.settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let mut expected = settings.to_vec();
        read.sort_unstable();
        expected.sort_unstable();
        assert_eq!(read, expected, "{text:?}");
        assert_eq!(parse(&url.conninfo()), Ok(url), "{text:?}");
    }
}

#[test]
fn errors_do_not_contain_parts_of_the_password() {
    for (text, expected) in rejected_by_libpq().into_iter().chain(rejected_beyond_libpq()) {
        let error = parse(text).expect_err(text);
        assert_eq!(error, expected, "{text:?}");
        let shown = format!("{error} {error:?} {}", error.hint().unwrap_or_default());
        assert!(!shown.contains("secret") && !shown.contains("ss@") && !shown.contains("user:"), "{text:?}: {shown}");
    }
    assert_eq!(parse("host=h\0"), Err(ParseUrlError::Nul));
}

#[test]
fn messages_and_hints_are_one_line_in_lower_case() {
    for (_, error) in rejected_by_libpq().into_iter().chain(rejected_beyond_libpq()) {
        for text in [error.to_string(), error.hint().unwrap_or("none").to_owned()] {
            assert!(
                text.starts_with(|c: char| c.is_lowercase() || c == '"')
                    && !text.ends_with('.')
                    && !text.contains('\n'),
                "{text}"
            );
        }
    }
    let error = parse("postgresql://user:p@ss@host/db").unwrap_err();
    assert!(error.hint().unwrap().contains("percent-encode @ as %40"));
}

#[test]
fn options_are_added_and_replaced() {
    let url = parse("postgres://user:it's@host/name?application_name=").unwrap();
    let url =
        url.with_default("application_name", "tenantry").with_default("connect_timeout", "5").with("host", r"a\b");
    assert_eq!(
        url.conninfo(),
        r"user='user' password='it\'s' dbname='name' host='a\\b' application_name='' connect_timeout='5'"
    );
    assert_eq!(url.get("password"), Some("it's"));
    assert_eq!(url.get("port"), None);
    assert_eq!(parse("").unwrap().conninfo(), "");
}

#[test]
fn secrets_are_not_shown() {
    let url =
        DatabaseUrl { settings: Vec::new() }.with("host", "/run/postgresql").with("user", "a b").with("dbname", "");
    let url = SECRETS.iter().fold(url, |url, key| url.with(key, "secret")).with("options", "-c app.password=secret");
    let shown = "host=/run/postgresql user='a b' dbname='' password=*** sslpassword=*** oauth_client_secret=*** \
                 scram_client_key=*** scram_server_key=*** options=***";
    assert_eq!(url.to_string(), shown);
    assert_eq!(format!("{url:?}"), format!("DatabaseUrl({shown})"));
    assert_eq!(format!("{url:#?}"), format!("DatabaseUrl({shown})"));
}

#[test]
fn the_address_names_host_and_port_or_socket() {
    let cases = [
        ("postgres://user:secret@db.example.com:5433/name", "db.example.com:5433"),
        ("postgres://db.example.com", "db.example.com:5432"),
        ("postgres://[::1]/name", "[::1]:5432"),
        ("postgres://h1:1,h2,[::1]:3", "h1:1, h2:5432, [::1]:3"),
        ("host=h1,h2 port=6000", "h1:6000, h2:6000"),
        ("host=h1,,/run", "h1:5432, libpq's default socket, the socket in /run"),
        ("postgres://%2Frun%2Fpostgresql/name", "the socket in /run/postgresql"),
        ("host=/run/postgresql port=5433", "the socket in /run/postgresql (port 5433)"),
        ("host=@abstract", "the socket in @abstract"),
        ("hostaddr=10.0.0.1", "10.0.0.1:5432"),
        ("host=db hostaddr=10.0.0.1,::1", "db:5432 at 10.0.0.1, [::1]:5432"),
        ("service=billing port=6000", "service \"billing\""),
        ("service=billing host=db", "db"),
        ("service=billing host=db port=6000", "db:6000"),
        ("", "libpq's default socket"),
        ("port=5433", "libpq's default socket (port 5433)"),
    ];
    for (text, address) in cases {
        assert_eq!(parse(text).unwrap().address(no_env), address, "{text:?}");
    }
}

#[test]
fn the_address_uses_environment_variables() {
    let env = |name: &str| match name {
        "PGHOST" => Some("env.example".to_owned()),
        "PGPORT" => Some("6543".to_owned()),
        _ => None,
    };
    assert_eq!(parse("").unwrap().address(env), "env.example:6543");
    assert_eq!(parse("postgres:///name").unwrap().address(env), "env.example:6543");
    assert_eq!(parse("host=db").unwrap().address(env), "db:6543");
    assert_eq!(parse("port=1").unwrap().address(env), "env.example:1");
    // An empty host in the string takes precedence over PGHOST.
    assert_eq!(parse("host=").unwrap().address(env), "libpq's default socket (port 6543)");
    let service = |name: &str| (name == "PGSERVICE").then(|| "billing".to_owned());
    assert_eq!(parse("").unwrap().address(service), "service \"billing\"");
    assert_eq!(parse("host=db").unwrap().address(service), "db");
}

#[test]
fn every_spelling_of_a_secret_is_redacted() {
    let url = parse(r"host=h password='p@ s\'s\\%25ä' sslpassword=other").unwrap();
    for text in [
        r"p@ s's\%25ä",
        r"p@ s\'s\\%25ä",
        r"p\@ s\\'s\\\\%25ä",
        "p%40%20s's%5C%2525%C3%A4",
        "%70%40%20%73%27%73%5c%25%32%35%c3%a4",
        "other",
    ] {
        assert_eq!(url.redact(&format!("at \"{text}\", {text}{text}!")), "at \"***\", ******!", "{text}");
    }
    assert_eq!(url.redact("p@ s's, anoth er, ä"), "p@ s's, anoth er, ä");
    assert_eq!(url.redact_with("env other", &["env", ""]), "*** ***");
    assert_eq!(parse("password= host=h").unwrap().redact("host=h"), "***");
    assert_eq!(parse("password=''").unwrap().redact("same"), "same");
}

/// Passwords with characters that need encoding or quoting, after characters that occur in no message.
fn password() -> impl Strategy<Value = String> {
    r"[WXZJ][WXZJ€ß@:/?#%&='\\ ;,\[\]\n]{3,12}"
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

proptest! {
    #[test]
    fn a_conninfo_string_is_parsed_back(
        values in prop::collection::vec("[^\0]*|[a-z '\\\\=%@\n]*", 5),
    ) {
        // In libpq's order.
        let settings = ["user", "password", "dbname", "host", "options"].iter().zip(values);
        let url = settings.fold(DatabaseUrl { settings: Vec::new() }, |url, (key, value)| url.with(key, &value));
        prop_assume!(url.check().is_ok());
        prop_assert_eq!(parse(&url.conninfo()), Ok(url));
    }

    #[test]
    fn a_password_is_parsed_and_never_shown(password in password(), broken in 0usize..12) {
        let encoded = percent_encoded(&password);
        let quoted = quote(&password);
        for text in [
            format!("postgres://user:{encoded}@host:5432/name?sslmode=require"),
            format!("postgres://user@host/?password={encoded}"),
            format!("user=user password={quoted} host=host"),
        ] {
            let url = parse(&text).unwrap();
            prop_assert_eq!(url.get("password"), Some(password.as_str()));
            for shown in [url.to_string(), format!("{url:?}"), url.address(no_env)] {
                prop_assert!(!shown.contains(&password), "{}", shown);
            }
            let conninfo = url.conninfo();
            for message in [&text, &conninfo, &password, &encoded, &format!("{conninfo:?}"), &format!("{password:?}")] {
                let shown = url.redact(message);
                prop_assert!(!shown.contains(&password) && !shown.contains(&encoded), "{}", shown);
                prop_assert!(!shown.contains(['W', 'X', 'Z', 'J', '€', 'ß']), "{}", shown);
            }
        }

        let text = match broken {
            0 => format!("postgres://user:{encoded}@host:port"),
            1 => format!("postgres://user:{encoded}@ho%st"),
            2 => format!("postgres://user:{encoded}%@host"),
            3 => format!("postgres://user:{encoded}@[host"),
            4 => format!("postgres://user:{encoded}@host?foo=1"),
            5 => format!("postgres://user@host?password={encoded}&foo"),
            6 => format!("postgres:/user:{encoded}@host"),
            7 => format!("https://user:{encoded}@host"),
            8 => format!("password={quoted} foo"),
            9 => format!("password={quoted} foo=1"),
            10 => format!("password {quoted}"),
            _ => format!("password={quoted} host='"),
        };
        let error = parse(&text).unwrap_err();
        let shown = format!("{error} {error:?} {}", error.hint().unwrap_or_default());
        prop_assert!(!shown.contains(&password) && !shown.contains(&encoded), "{}: {}", text, shown);
    }

    /// The password is neither encoded nor quoted, so that its parts may end up in any option.
    #[test]
    fn errors_do_not_contain_parts_of_an_unencoded_password(password in password()) {
        for text in [
            format!("postgres://user:{password}@host/name"),
            format!("postgres://user:{password}@host:5432,other/name?sslmode=require"),
            format!("postgres://host/name?password={password}&sslmode=require"),
            format!("mysql://user:{password}@host/name"),
            format!("password={password} host=host"),
            format!("password='{password}' host=host"),
            format!("host=host password={password}=1 user=user"),
            password.clone(),
        ] {
            if let Err(error) = parse(&text) {
                let shown = format!("{error} {error:?} {}", error.hint().unwrap_or_default());
                prop_assert!(!shown.contains(['W', 'X', 'Z', 'J', '€', 'ß']), "{}: {}", text, shown);
            }
        }
    }

    #[test]
    fn no_text_causes_a_panic(text in any::<String>(), secret in any::<String>()) {
        let _ = parse(&text);
        let _ = parse(&format!("postgres://{text}"));
        let url = DatabaseUrl { settings: Vec::new() }.with("password", &secret);
        prop_assert_eq!(url.redact(&secret).is_empty(), secret.is_empty());
        let _ = url.redact(&text);
    }
}
