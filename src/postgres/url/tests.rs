//! Tests of parsing, showing and redacting connection strings.

use proptest::prelude::*;

use super::*;

type Settings = &'static [(&'static str, &'static str)];

/// Valid strings with their options. The options of libpq 14 and later are used.
const ACCEPTED: &[(&str, Settings)] = &[
    // URIs
    ("postgres://", &[]),
    ("postgresql://", &[]),
    ("postgresql:///", &[]),
    ("postgresql:///?", &[]),
    ("postgres://?", &[]),
    ("postgres://host", &[("host", "host")]),
    ("postgres://host/", &[("host", "host")]),
    ("postgres:///name", &[("dbname", "name")]),
    ("postgres://host:", &[("host", "host")]),
    ("postgres://:5433", &[("port", "5433")]),
    ("postgres://@host", &[("host", "host")]),
    ("postgres://:@host", &[("host", "host")]),
    ("postgres://user@", &[("user", "user")]),
    ("postgres://:secret@", &[("password", "secret")]),
    ("postgres://user:@host", &[("user", "user"), ("host", "host")]),
    (
        "postgresql://user:secret@host:5433/name?connect_timeout=10&application_name=app",
        &[
            ("user", "user"),
            ("password", "secret"),
            ("host", "host"),
            ("port", "5433"),
            ("dbname", "name"),
            ("connect_timeout", "10"),
            ("application_name", "app"),
        ],
    ),
    ("postgres://h1:1,h2:2/name", &[("host", "h1,h2"), ("port", "1,2"), ("dbname", "name")]),
    ("postgres://h1,h2:2", &[("host", "h1,h2"), ("port", ",2")]),
    ("postgres://h1,h2", &[("host", "h1,h2"), ("port", ",")]),
    ("postgres://,", &[("host", ","), ("port", ",")]),
    ("postgres://h1%2Ch2:1", &[("host", "h1,h2"), ("port", "1")]),
    ("postgres://[::1]", &[("host", "::1")]),
    ("postgres://[2001:db8::1234]:5433/", &[("host", "2001:db8::1234"), ("port", "5433")]),
    ("postgres://[::1],[::2]:2?user=u", &[("host", "::1,::2"), ("port", ",2"), ("user", "u")]),
    ("postgres://[fe80::1%25eth0]/name", &[("host", "fe80::1%eth0"), ("dbname", "name")]),
    ("postgres://%2Frun%2Fpostgresql/name", &[("host", "/run/postgresql"), ("dbname", "name")]),
    ("postgres:///name?host=/run/postgresql", &[("dbname", "name"), ("host", "/run/postgresql")]),
    ("postgres:///?host=@abstract", &[("host", "@abstract")]),
    ("postgres://%40abstract/", &[("host", "@abstract")]),
    ("postgres://host?host=other&port=1", &[("host", "other"), ("port", "1")]),
    ("postgres://host:1?port=2&port=3", &[("host", "host"), ("port", "3")]),
    (
        "postgres://u%73er:p%40s%3as%2Fw@h%6fst/n%61me",
        &[("user", "user"), ("password", "p@s:s/w"), ("host", "host"), ("dbname", "name")],
    ),
    ("postgres://user:p%C3%A4ss@host", &[("user", "user"), ("password", "päss"), ("host", "host")]),
    ("postgres://user:päss@host", &[("user", "user"), ("password", "päss"), ("host", "host")]),
    ("postgres://user:a:b@host", &[("user", "user"), ("password", "a:b"), ("host", "host")]),
    ("postgres://user:a?b#c@host", &[("user", "user"), ("password", "a?b#c"), ("host", "host")]),
    ("postgres://user:a&password=b@host", &[("user", "user"), ("password", "a&password=b"), ("host", "host")]),
    ("postgres://host/name#part", &[("host", "host"), ("dbname", "name#part")]),
    ("postgres://host/a/b", &[("host", "host"), ("dbname", "a/b")]),
    ("postgres://host/a%40b", &[("host", "host"), ("dbname", "a@b")]),
    ("postgres://host/?user=me@corp&password=p@ss", &[("host", "host"), ("user", "me@corp"), ("password", "p@ss")]),
    ("postgres://host/?%75ser=me", &[("host", "host"), ("user", "me")]),
    ("postgres://host?ssl=true", &[("host", "host"), ("sslmode", "require")]),
    ("postgres://host?requiressl=1", &[("host", "host"), ("sslmode", "require")]),
    ("postgres://host?user=me&", &[("host", "host"), ("user", "me")]),
    ("postgres://host?user=", &[("host", "host"), ("user", "")]),
    ("postgres://host?options=-c%20lock_timeout%3D5s", &[("host", "host"), ("options", "-c lock_timeout=5s")]),
    ("postgresql://host?service=billing", &[("host", "host"), ("service", "billing")]),
    // Keyword strings
    ("", &[]),
    (" \t\n", &[]),
    ("service=billing", &[("service", "billing")]),
    ("host=h port=5433 dbname=name", &[("host", "h"), ("port", "5433"), ("dbname", "name")]),
    ("  host = h\n\tuser\t=\nu \n", &[("host", "h"), ("user", "u")]),
    ("host='h'user='u'", &[("host", "h"), ("user", "u")]),
    ("host='' password=", &[("host", ""), ("password", "")]),
    ("password= host=h", &[("password", "host=h")]),
    (r"password='it\'s a \\ b' host=h", &[("password", r"it's a \ b"), ("host", "h")]),
    (r"password=it\'s\ a\\b host=h", &[("password", r"it's a\b"), ("host", "h")]),
    (r"password=a'b", &[("password", "a'b")]),
    (r"password=a\", &[("password", "a")]),
    ("password=a\\ ", &[("password", "a ")]),
    ("user=ä\u{a0}b", &[("user", "ä\u{a0}b")]),
    ("password=a=b==", &[("password", "a=b==")]),
    ("host=a user=u host=b", &[("host", "b"), ("user", "u")]),
    ("requiressl=0", &[("sslmode", "prefer")]),
    ("host=h1,h2 hostaddr=10.0.0.1,::1", &[("host", "h1,h2"), ("hostaddr", "10.0.0.1,::1")]),
    ("options='-c app.password=x'", &[("options", "-c app.password=x")]),
];

/// URIs between white space, which libpq alone does not remove.
const TRIMMED: &[(&str, Settings)] = &[
    ("postgres://host/name\n", &[("host", "host"), ("dbname", "name")]),
    (" \tpostgres://host\r\n", &[("host", "host")]),
];

/// Strings that libpq rejects.
fn rejected_by_libpq() -> Vec<(&'static str, ParseUrlError)> {
    use ParseUrlError::*;
    vec![
        ("billing", Form),
        ("user@host/name", Form),
        ("postgres:/host", Form),
        ("mysql://user:secret@host/name", Scheme),
        ("POSTGRES://user:secret@host/name?sslmode=require", Scheme),
        ("jdbc:postgresql://host/name?user=u&password=secret", Scheme),
        ("'postgres://user:secret@host'", Scheme),
        ("\"postgres://user:secret@host/name?sslmode=require\"", Scheme),
        ("host=h name", MissingEquals),
        ("password=my secret host=x", MissingEquals),
        ("password='my pa'ss' host=x", MissingEquals),
        ("password='secret", UnterminatedQuote),
        (r"password='secret\'", UnterminatedQuote),
        (r"password='secret\", UnterminatedQuote),
        ("host=h foo=1", UnknownOption("foo".to_owned())),
        ("Host=h;Password=secret", UnknownOption("Host".to_owned())),
        ("passwort=secret host=h", UnknownOption("passwort".to_owned())),
        ("ssl=true", UnknownOption("ssl".to_owned())),
        ("password=my secret=1 host=x", HiddenOption),
        ("password='my'secret=1 host=x", HiddenOption),
        ("sslpassword=my secret=1", HiddenOption),
        ("host=h =secret", HiddenOption),
        ("password:secret=1", HiddenOption),
        ("c2VjcmV0secret=", HiddenOption),
        ("postgres://host?foo=1", UnknownOption("foo".to_owned())),
        ("postgres://user:secret@host?foo=1", UnknownOption("foo".to_owned())),
        ("postgres://host?ssl=false", UnknownOption("ssl".to_owned())),
        ("postgres://host?password=my&secret=1", HiddenOption),
        ("postgres://user:12/my?secret=1@host/name", HiddenOption),
        ("postgres://host?=1", HiddenOption),
        ("postgres://host?user", QueryParameter),
        ("postgres://host?user=a=b", QueryParameter),
        ("postgres://host?&", QueryParameter),
        ("postgres://host?user=u&&", QueryParameter),
        ("postgres://host?password=a&secret", QueryParameter),
        ("postgres://user:100%@host", PercentEncoding),
        ("postgres://us%er:secret@host", PercentEncoding),
        ("postgres://ho%gst", PercentEncoding),
        ("postgres://host:%", PercentEncoding),
        ("postgres://host/%4", PercentEncoding),
        ("postgres://host?user=%zz", PercentEncoding),
        ("postgres://[fe80::1%eth0]/name", PercentEncoding),
        ("postgres://user:sec%00ret@host", Nul),
        ("postgres://[::1/name", Ipv6),
        ("postgres://[]/name", Ipv6),
        ("postgres://[::1]5432/name", Ipv6),
        ("postgres://user:secret@[::1]x", Ipv6),
    ]
}

/// Strings that libpq accepts with an unintended meaning, so that a later message would show parts of a password.
fn rejected_beyond_libpq() -> Vec<(&'static str, ParseUrlError)> {
    use ParseUrlError::*;
    vec![
        ("postgresql://user:p@ss@host/db", StrayAt),
        ("postgresql://user:p@@host/db", StrayAt),
        ("postgresql://user@corp:secret@host/db", StrayAt),
        ("postgresql://user:p/ss@host/db", StrayAt),
        ("postgresql://user:12/ss@host/db", StrayAt),
        ("postgresql://user:12/s#s@host/db", StrayAt),
        ("postgresql://host?user=me@corp", StrayAt),
        ("postgresql://localhost:5432?user=me&password=p@ss", StrayAt),
        ("postgresql://user%3Asecret%40host/db", StrayAt),
        ("host=user:secret@host", StrayAt),
        ("postgresql://user:secret/db", Port),
        ("postgresql://user:se#cret/db", Port),
        ("postgresql://user:secret?user=u", Port),
        ("postgresql://user:p@::1/db", Port),
        ("postgresql://host:0", Port),
        ("postgresql://host:65536", Port),
        ("postgresql://h1:1,h2:-2", Port),
        ("host=h port=secret", Port),
        ("postgresql://user:%FF%FE@host", NotUtf8 { option: "password".to_owned() }),
        ("host=h;password=secret", SwallowedPassword),
        ("host=h,Password=secret", SwallowedPassword),
        ("postgresql://host/db;password=secret", SwallowedPassword),
        ("postgresql://host/db&sslpassword=secret", SwallowedPassword),
        ("dbname=postgres://user:secret@host/db", NestedUri),
    ]
}

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
