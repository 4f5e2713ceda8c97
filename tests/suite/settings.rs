//! Settings: a flag, else its variable, else `.env`; the forms of the database setting; the output options; and the
//! JSON documents that have no test file of their own.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use crate::assert_snapshot;
use crate::support::migrations::Dir;
use crate::support::source::root;
use crate::support::tls::{PASSWORD, ROLE, Tls};
use crate::support::{Database, Output, Screen, Tenantry, Terminal, create_older, fleet, older, tls};

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// A folder with a `.env`.
fn folder_with(dotenv: impl AsRef<[u8]>) -> TempDir {
    let folder = folder();
    fs::write(folder.path().join(".env"), dotenv).expect("the file can be written");
    folder
}

fn names(command: Tenantry) -> String {
    command.args(["list", "--names"]).run().assert_code(0).stdout.clone()
}

#[test]
fn flag_precedes_environment_and_environment_precedes_file() {
    let [by_flag, by_variable, by_file] = ["by_flag", "by_variable", "by_file"].map(|name| fleet(&[name]));
    let folder = folder_with(format!("DATABASE_URL='{}'\n", by_file.url()));
    let here = || Tenantry::new().current_dir(folder.path());
    assert_eq!(names(here()), "by_file\n");
    assert_eq!(names(here().env("DATABASE_URL", by_variable.url())), "by_variable\n");
    let both = here().env("DATABASE_URL", by_variable.url());
    assert_eq!(names(both.args(["--database-url", &by_flag.url()])), "by_flag\n");
    // Also in a parent folder.
    let below = folder.path().join("a/b");
    fs::create_dir_all(&below).expect("folders");
    assert_eq!(names(Tenantry::new().current_dir(&below)), "by_file\n");
    // A flag may precede or follow the command.
    let behind = Tenantry::new().args(["list", "--names", "--database-url", &by_flag.url()]).run();
    assert_eq!(behind.assert_code(0).stdout, "by_flag\n");
}

#[test]
fn all_settings_are_read_from_the_file() {
    let db = fleet(&["acme"]);
    let folder = folder_with("# settings\nTENANTRY_FORMAT=json\nexport TENANTRY_JOBS=2\n");
    let list = |args: &[&str]| db.tenantry(["list"]).args(args).current_dir(folder.path()).run();
    assert_eq!(list(&[]).json()["tenants"][0]["name"], "acme");
    assert!(list(&["--format", "table"]).stdout.starts_with("TENANT"));
}

#[test]
fn other_variables_in_the_file_are_ignored() {
    let db = fleet(&["acme"]);
    let folder = folder_with(
        "LD_PRELOAD=/nowhere.so\nPATH=/nowhere\nHOME=/nowhere\nSECRET=hunter2\nPATH=again\nTENANTRY_FORMAT=json\n",
    );
    let list = |args: &[&str]| db.tenantry(["list"]).args(args).current_dir(folder.path()).run();
    let output = list(&["--verbose"]);
    assert_eq!(output.json()["tenants"][0]["name"], "acme");
    assert_eq!(
        output.stderr.lines().next(),
        Some(
            "ignored variables in .env: LD_PRELOAD, PATH, HOME, SECRET (only DATABASE_URL, PG* and TENANTRY_* are read)"
        )
    );
    assert!(!list(&[]).stderr.contains("ignored"), "only --verbose shows them");
    // References to other variables are replaced, and other special characters are kept.
    let folder = folder_with("PART=where\nPGHOST=\"/no${PART}/'a' \\$b\"\nPGPORT=1\n");
    let fails = Tenantry::new().args(["list"]).current_dir(folder.path()).run();
    assert!(fails.assert_code(5).stderr.contains("/nowhere/'a' $b"), "{}", fails.stderr);
}

#[test]
fn invalid_file_is_reported_without_its_secrets() {
    for text in [
        "DATABASE_URL=\"postgres://u:hunter2@h/db\n",
        "DATABASE_URL='postgres://u:hunter2@h/db\n",
        "export DATABASE_URL='postgres://u:hunter2@h/db\n",
        "postgres://u:hunter2@h/db\n",
        "A=b\nDATABASE_URL = 'a' 'hunter2'\n",
    ] {
        let folder = folder_with(text);
        // The setting is also given elsewhere, but the file is invalid nevertheless.
        let output =
            Tenantry::new().args(["list"]).env("DATABASE_URL", "host=/nonexistent").current_dir(folder.path()).run();
        output.assert_code(2);
        assert!(!output.stderr.contains("hunter2"), "{}", output.stderr);
        assert!(output.stderr.contains(".env"), "{}", output.stderr);
    }
    let quoted = folder_with("DATABASE_URL=\"postgres://u:hunter2@h/db\n");
    assert_snapshot!(Tenantry::new().args(["list"]).current_dir(quoted.path()).run(), @r"
        --- stderr
        error: the line of DATABASE_URL in .env is malformed at character 40; put the value in single quotes
        --- exit 2
    ");
    let no_key = folder_with("hunter2\n");
    assert_snapshot!(Tenantry::new().args(["list"]).current_dir(no_key.path()).run(), @r"
        --- stderr
        error: a line in .env is malformed at character 7; put the value in single quotes
        --- exit 2
    ");
    let no_text = folder_with(b"DATABASE_URL=\xff\xfe\n");
    assert_snapshot!(Tenantry::new().args(["list"]).current_dir(no_text.path()).run(), @r"
        --- stderr
        error: cannot read .env: stream did not contain valid UTF-8
        --- exit 2
    ");
}

#[test]
fn every_setting_has_a_variable() {
    // This command has all groups of options.
    let help = Tenantry::new().args(["migrate-all", "--help"]).run().stdout;
    let mut variables = 0;
    for heading in ["Migrations", "Limits", "Connection", "Output"] {
        let (_, group) = help.split_once(&format!("\n{heading}:\n")).expect("the group is in the help");
        let group = || group.lines().take_while(|line| line.is_empty() || line.starts_with(' '));
        let options = group().filter(|line| line.starts_with("  -") || line.starts_with("      --")).count();
        let with_variable = group().filter(|line| line.contains("[env: ")).count();
        assert_eq!(options, with_variable, "{heading}: {help}");
        variables += options;
    }
    assert_eq!(variables, 21, "{help}");
}

#[test]
fn variables_work_like_their_flags() {
    let db = fleet(&["acme"]);
    let with = |name: &str, value: &str, args: &[&str]| db.tenantry(args).env(name, value).run();
    assert_eq!(with("TENANTRY_FORMAT", "json", &["list"]).json()["tenants"][0]["name"], "acme");
    assert_eq!(with("TENANTRY_QUIET", "1", &["list"]).stderr, "");
    assert!(with("TENANTRY_VERBOSE", "true", &["create", "globex"]).stderr.contains("created globex in"));
    assert!(with("TENANTRY_QUIET", "0", &["list"]).stderr.contains("2 tenants"), "0 is no");
    assert!(with("TENANTRY_QUIET", "", &["list"]).stderr.contains("2 tenants"), "nothing is no");
    assert!(with("TENANTRY_COLOR", "always", &["list"]).stdout.contains('\u{1b}'));
    with("TENANTRY_JOBS", "1", &["create", "one"]).assert_code(0);
    with("TENANTRY_CONNECT_TIMEOUT", "2s", &["list"]).assert_code(0);
    with("TENANTRY_STATEMENT_TIMEOUT", "1min", &["create", "timed"]).assert_code(0);
    with("TENANTRY_EXTENSION_SCHEMA", "nowhere,public", &["create", "two"]).assert_code(2);
    db.execute("CREATE SCHEMA ext; CREATE SCHEMA \"Ext 2\"");
    with("TENANTRY_EXTENSION_SCHEMA", "ext,Ext 2", &["create", "two"]).assert_code(0);
    let dir = Dir::copy_of_tenant().add("20990101000000_a", "CREATE TABLE a(i int);").down("DROP TABLE a;");
    with("TENANTRY_TENANT_MIGRATIONS", &dir.path().to_string_lossy(), &["create", "small"]).assert_code(0);
    assert_eq!(db.string("SELECT to_regclass('small.a')"), "small.a");
    let dir = Dir::new().add("20990101000000_p", "CREATE TABLE p(i int);").down("DROP TABLE p;");
    with("TENANTRY_PUBLIC_MIGRATIONS", &dir.path().to_string_lossy(), &["migrate-public"]).assert_code(0);
    assert_eq!(db.string("SELECT to_regclass('public.p')"), "p");
}

#[test]
#[ignore = "long: make test-long"]
fn invalid_values_are_refused() {
    let db = Database::new();
    for (flag, variable, values) in [
        ("--jobs", "TENANTRY_JOBS", &["0", "-1", "many", "", "65536", "1.5"][..]),
        ("--format", "TENANTRY_FORMAT", &["yaml", "JSON", ""]),
        ("--color", "TENANTRY_COLOR", &["sometimes", ""]),
        ("--connect-timeout", "TENANTRY_CONNECT_TIMEOUT", &["5", "soon", "", "-1s"]),
        ("--statement-timeout", "TENANTRY_STATEMENT_TIMEOUT", &["5", "soon", ""]),
        ("--extension-schema", "TENANTRY_EXTENSION_SCHEMA", &["", "a,,b", &"x".repeat(64)]),
    ] {
        for value in values {
            let output = db.tenantry(["migrate-all", &format!("{flag}={value}")]).run();
            output.assert_code(2);
            assert!(output.stderr.contains(flag), "{flag} is named: {}", output.stderr);
            // An empty variable may also count as unset.
            let output = db.tenantry(["migrate-all"]).env(variable, value).run();
            assert!(
                output.code == Some(2) || value.is_empty(),
                "{variable}={value}: {:?} {}",
                output.code,
                output.stderr
            );
        }
    }
    assert_snapshot!(db.tenantry(["health-check", "--jobs", "0"]).run(), @r"
        --- stderr
        error: invalid value '0' for '--jobs <N>': expected a number from 1 to 65535

        For more information, try '--help'.
        --- exit 2
    ");
    assert_snapshot!(db.tenantry(["health-check"]).env("TENANTRY_JOBS", "many").run(), @r"
        --- stderr
        error: invalid value 'many' for 'TENANTRY_JOBS': expected a number from 1 to 65535

        For more information, try '--help'.
        --- exit 2
    ");
    assert_snapshot!(db.tenantry(["list", "--format", "yaml"]).run(), @r"
        --- stderr
        error: invalid value 'yaml' for '--format <FORMAT>'
          [possible values: table, json]

        For more information, try '--help'.
        --- exit 2
    ");
    assert_snapshot!(db.tenantry(["list", "--connect-timeout", "5"]).run(), @r"
        --- stderr
        error: invalid value '5' for '--connect-timeout <TIME>': time unit needed, for example 5sec or 5ms; add a unit, for example 500ms, 5s or 2m

        For more information, try '--help'.
        --- exit 2
    ");
    assert_snapshot!(db.tenantry(["migrate-all", "--statement-timeout", "soon"]).run(), @r"
        --- stderr
        error: invalid value 'soon' for '--statement-timeout <TIME>': expected number at 0; add a unit, for example 500ms, 5s or 2m

        For more information, try '--help'.
        --- exit 2
    ");
    assert_snapshot!(db.tenantry(["list", "--extension-schema", ""]).run(), @r"
        --- stderr
        error: invalid value '' for '--extension-schema <NAME>': the name is empty

        For more information, try '--help'.
        --- exit 2
    ");
    assert_snapshot!(db.tenantry(["list", "--color", "sometimes"]).run(), @r"
        --- stderr
        error: invalid value 'sometimes' for '--color <WHEN>'
          [possible values: auto, always, never]

        For more information, try '--help'.
        --- exit 2
    ");
    assert_snapshot!(db.tenantry(["list", "--quiet", "--verbose"]).run(), @r#"
        --- stderr
        error: database "DATABASE" has no tracker (public.schema_tracker)
        hint: run 'tenantry migrate-public'
        --- exit 3
    "#);
    assert_snapshot!(db.tenantry(["list", "--tenant-migrations", "/nonexistent"]).run(), @r"
        --- stderr
        error: cannot read /nonexistent: No such file or directory (os error 2)
        hint: nothing was run
        --- exit 2
    ");
    assert_snapshot!(db.tenantry(["list", "--public-migrations", "/nonexistent"]).run(), @r"
        --- stderr
        error: cannot read /nonexistent: No such file or directory (os error 2)
        hint: nothing was run
        --- exit 2
    ");
    assert_snapshot!(fleet(&[]).tenantry(["create", "acme", "--extension-schema", "nowhere"]).run(), @r#"
        --- stderr
        error: extension schema nowhere does not exist in database "DATABASE"
        hint: correct --extension-schema, or create the schema
        --- exit 2
    "#);
}

#[test]
fn timeouts_are_applied() {
    let db = fleet(&["acme"]);
    let dir = Dir::copy_of_tenant().add("20990101000000_slow", "SELECT pg_sleep(100);");
    let slow =
        db.tenantry(["migrate-all", "--statement-timeout", "50ms"]).env("TENANTRY_TENANT_MIGRATIONS", dir.path());
    assert_snapshot!(slow.run(), @r"
        --- stderr
        error: tenant acme: migration 20990101000000_slow/up.sql:1 failed: canceling statement due to statement timeout
          statement: SELECT pg_sleep(100)
          effect: rolled back, nothing was changed
        0 migrated, 1 failed (run 2)
        hint: to retry: tenantry migrate-all --match '^acme$' --statement-timeout 50ms
        --- exit 1
    ");
}

/// Neither a variable nor a file names a database.
#[test]
fn missing_database_is_an_error() {
    assert_snapshot!(Tenantry::new().args(["list"]).run(), @r"
        --- stderr
        error: no database specified
        hint: set DATABASE_URL or --database-url, or start a private server with 'tenantry local start'
        --- exit 2
    ");
    let empty = Tenantry::new().args(["list"]).env("DATABASE_URL", " ").run();
    assert_eq!(empty.assert_code(2).stderr, Tenantry::new().args(["list"]).run().stderr);
}

#[test]
fn database_is_a_uri_a_conninfo_string_or_a_service() {
    let db = fleet(&["acme"]);
    let url: tenantry::DatabaseUrl = db.url().parse().expect("a URL");
    let (host, port) = (url.get("host").expect("a host").to_owned(), url.get("port").expect("a port").to_owned());
    let pairs = format!("host={host} port={port} user=postgres dbname={}", db.name());
    assert_eq!(names(Tenantry::new().env("DATABASE_URL", &pairs)), "acme\n");
    assert_eq!(names(Tenantry::new().env("DATABASE_URL", format!("  {}\n", db.url()))), "acme\n");

    // A service, named by a variable, in the string, and in a URI.
    let folder = folder();
    let file = folder.path().join("services.conf");
    fs::write(&file, format!("[fleet]\nhost={host}\nport={port}\nuser=postgres\ndbname={}\n", db.name()))
        .expect("a file");
    let service = || Tenantry::new().env("PGSERVICEFILE", &file);
    assert_eq!(names(service().env("PGSERVICE", "fleet")), "acme\n");
    assert_eq!(names(service().env("DATABASE_URL", "service=fleet")), "acme\n");
    assert_eq!(names(service().env("DATABASE_URL", "postgresql:///?service=fleet")), "acme\n");
    let unknown = service().env("PGSERVICE", "flotilla").hide(folder.path().to_string_lossy(), "SERVICES");
    assert_snapshot!(unknown.args(["list"]).run(), @r#"
        --- stderr
        error: cannot connect to PostgreSQL at service "flotilla": definition of service "flotilla" not found
        hint: check --database-url (DATABASE_URL), and that the server is running and accepts this role
        --- exit 3
    "#);

    // libpq's variables, of which only PGHOST gives the location.
    let by_host = || Tenantry::new().env("PGHOST", &host).env("PGPORT", &port).env("PGUSER", "postgres");
    assert_eq!(names(by_host().env("PGDATABASE", db.name())), "acme\n");
    let elsewhere = by_host().args(["list"]).hide(host.as_str(), "SOCKET").run();
    elsewhere.assert_code(3);
    assert!(elsewhere.stderr.contains("\"postgres\" has no tracker"), "the user's own database: {}", elsewhere.stderr);
    // Parallel workers use the same settings.
    by_host().env("PGDATABASE", db.name()).args(["create", "b", "c", "d"]).run().assert_code(0);
}

/// Asserts that no form of a password is shown.
#[track_caller]
fn assert_secret(output: &Output, secrets: &[&str]) {
    for secret in secrets {
        let said = format!("{}{}", output.stdout, output.stderr);
        assert!(!said.contains(secret), "the password is printed: {said}");
    }
}

#[test]
#[ignore = "long: make test-long"]
fn passwords_are_used_and_never_shown() {
    let db = Database::on(tls().server());
    let (address, port) = (Tls::ADDRESS, tls().port());
    let url = format!("postgresql://{ROLE}@localhost:{port}/{}?{address}&sslmode=require", db.name());
    let list =
        |url: &str| Tenantry::new().args(["list"]).env("DATABASE_URL", url).hide(tls().port().to_string(), "PORT");
    let works = |output: Output| {
        assert!(output.assert_code(3).stderr.contains("has no tracker"), "{}", output.stderr);
        assert_secret(&output, &[PASSWORD, "sesame"]);
    };
    works(list(&tls().password_url(db.name())).run());
    works(list(&url).env("PGPASSWORD", PASSWORD).run());
    let folder = folder();
    let file = folder.path().join("pgpass");
    fs::write(&file, format!("localhost:*:*:{ROLE}:{PASSWORD}\n")).expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("its mode");
    works(list(&url).env("PGPASSFILE", &file).run());
    works(list(&format!("{url}&passfile={}", file.display())).run());
    let pairs = format!("host=localhost {address} port={port} user={ROLE} dbname={} sslmode=require", db.name());
    works(list(&format!("{pairs} password='{PASSWORD}'")).run());
    works(list(&format!("{pairs} password={PASSWORD}")).run());

    // A wrong password, and none.
    let wrong = list(&url).env("PGPASSWORD", "wrong/poppy%9").hide(db.name(), "DATABASE").run();
    assert_secret(&wrong, &["poppy", "wrong/", "%9"]);
    assert_snapshot!(wrong, @r#"
        --- stderr
        error: cannot connect to PostgreSQL at localhost:PORT at 127.0.0.1: connection to server at "127.0.0.1", port PORT failed: FATAL:  password authentication failed for user "keeper"
        hint: check --database-url (DATABASE_URL), and that the server is running and accepts this role
        --- exit 3
    "#);
    let wrong = list(&tls().password_url(db.name()).replace("sesame", "poppy")).run();
    assert_secret(wrong.assert_code(3), &["poppy"]);
    let wrong = list(&format!("{pairs} password='it''s poppy'")).run();
    assert_secret(&wrong, &["poppy"]);
    let wrong = list(&format!("{pairs} password='it\\'s poppy'")).run();
    assert_secret(wrong.assert_code(3), &["poppy"]);
    assert_snapshot!(list(&url).run(), @r#"
        --- stderr
        error: cannot connect to PostgreSQL at localhost:PORT at 127.0.0.1: connection to server at "127.0.0.1", port PORT failed: fe_sendauth: no password supplied
        hint: check --database-url (DATABASE_URL), and that the server is running and accepts this role
        --- exit 3
    "#);
}

#[test]
fn an_unreachable_server_is_named_without_the_password() {
    let list = |url: &str| Tenantry::new().args(["list"]).env("DATABASE_URL", url);
    // Nothing listens on port 1.
    let by_url = list("postgresql://fleet:hunter%2F2%25x@127.0.0.1:1/db").run();
    assert_secret(&by_url, &["hunter", "2%25x", "/2%x"]);
    assert_snapshot!(by_url);
    let by_pairs = list("host=127.0.0.1 port=1 user=fleet password='hunter 2' dbname=db").run();
    assert_secret(&by_pairs, &["hunter", " 2'"]);
    assert_snapshot!(by_pairs);
    let by_variable = list("postgresql://fleet@127.0.0.1:1/db").env("PGPASSWORD", "hunter/2").run();
    assert_secret(&by_variable, &["hunter"]);
    assert_eq!(by_variable.assert_code(5).stderr, by_url.stderr);
    let several = list("postgresql://fleet:hunter2@127.0.0.1:1,127.0.0.2:1/db").run();
    assert_secret(&several, &["hunter"]);
    assert_snapshot!(several);
    assert_snapshot!(list("host=/nonexistent/sockets user=fleet password=hunter2").run());
    assert_snapshot!(list("postgresql://fleet:hunter2@%2Fnonexistent%2Fsockets/db").run());
    let hidden = list("host=127.0.0.1 port=1 user=fleet dbname=db sslmode=require sslpassword=hunter2").run();
    assert_secret(hidden.assert_code(5), &["hunter"]);
    // Every command that needs a database reports the same.
    for args in [
        &["migrate-public"][..],
        &["create", "acme"],
        &["adopt", "acme"],
        &["migrate-one", "acme"],
        &["migrate-all"],
        &["health-check"],
        &["drop", "acme", "--yes"],
        &["cleanup", "--yes"],
        &["demo", "--in-database"],
    ] {
        let output = Tenantry::new().args(args).env("DATABASE_URL", "postgresql://fleet:hunter2@127.0.0.1:1/db").run();
        assert_secret(output.assert_code(5), &["hunter"]);
        assert!(output.stderr.starts_with("error: cannot connect to PostgreSQL at 127.0.0.1:1"), "{}", output.stderr);
    }
}

#[test]
fn invalid_connection_strings_are_refused() {
    let list = |url: &str| {
        let output = Tenantry::new().args(["list", "--database-url", url]).run();
        assert_secret(output.assert_code(2), &["hunter"]);
        output
    };
    assert_snapshot!(list("mysql://root:hunter2@h/db"), @r#"
        --- stderr
        error: invalid database URL: the connection URI does not start with "postgres://" or "postgresql://"
        hint: remove quotation marks around the URI
        --- exit 2
    "#);
    assert_snapshot!(list("mydb"), @r"
        --- stderr
        error: invalid database URL: the connection string is neither a URI nor made of key=value pairs
        hint: write the database name as dbname=name, or use a URI such as postgres://user@host/name
        --- exit 2
    ");
    assert_snapshot!(list("postgres://u:hunter2@h:port/db"), @r"
        --- stderr
        error: invalid database URL: a port in the connection string is not a number from 1 to 65535
        hint: percent-encode @ as %40, / as %2F and : as %3A in the user name and password, and put an IPv6 address in brackets
        --- exit 2
    ");
    assert_snapshot!(list("postgres://u:hun%ter2@h/db"), @r"
        --- stderr
        error: invalid database URL: invalid percent-encoding in the connection URI
        hint: percent-encode a literal % as %25
        --- exit 2
    ");
    assert_snapshot!(list("postgres://u:p@hunter2@h/db"), @r#"
        --- stderr
        error: invalid database URL: unexpected "@" in the connection string; the password may contain an unencoded "@" or "/"
        hint: percent-encode @ as %40, / as %2F and : as %3A in the user name and password
        --- exit 2
    "#);
    assert_snapshot!(list("postgres://u:hunter2@h/db?sslmod=require"), @r#"
        --- stderr
        error: invalid database URL: invalid connection option "sslmod"
        --- exit 2
    "#);
    assert_snapshot!(list("host=h password='hunter2"), @r"
        --- stderr
        error: invalid database URL: unterminated quoted value in the connection string
        hint: put a value with spaces in single quotes, and escape ' and \ in it as \' and \\
        --- exit 2
    ");
    assert_snapshot!(list("host=h password=my hunter2"), @r#"
        --- stderr
        error: invalid database URL: missing "=" after an option in the connection string
        hint: put a value with spaces in single quotes, and escape ' and \ in it as \' and \\
        --- exit 2
    "#);
}

#[test]
fn unknown_database_or_role_is_an_error() {
    let db = Database::new();
    let elsewhere = |from: &str, to: &str| db.tenantry(["list"]).env("DATABASE_URL", db.url().replace(from, to));
    assert_snapshot!(elsewhere(db.name(), "nowhere").run(), @r#"
        --- stderr
        error: cannot connect to PostgreSQL at the socket in SOCKET: connection to server on socket "SOCKET/.s.PGSQL.5432" failed: FATAL:  database "nowhere" does not exist
        hint: check --database-url (DATABASE_URL), and that the server is running and accepts this role
        --- exit 3
    "#);
    assert_snapshot!(elsewhere("postgres@", "nobody_known@").run(), @r#"
        --- stderr
        error: cannot connect to PostgreSQL at the socket in SOCKET: connection to server on socket "SOCKET/.s.PGSQL.5432" failed: FATAL:  role "nobody_known" does not exist
        hint: check --database-url (DATABASE_URL), and that the server is running and accepts this role
        --- exit 3
    "#);
}

#[test]
fn quiet_and_verbose_control_the_report() {
    let db = Database::new();
    assert_snapshot!(db.tenantry(["migrate-public", "--quiet"]).run(), @r"
        --- stderr
        --- exit 0
    ");
    assert_snapshot!(db.tenantry(["create", "acme", "-q"]).run(), @r"
        --- stderr
        --- exit 0
    ");
    assert_snapshot!(db.tenantry(["create", "globex", "initech", "-v", "--jobs", "1"]).run(), @r"
        --- stderr
        tenant migrations: MIGRATIONS (5 in all, newest 20260209090000)
        database: DATABASE on the socket in SOCKET
        created globex in TIME
        created initech in TIME
        created by applying each migration: there are fewer than 20 migrations
        2 created
        --- exit 0
    ");
    // Failures are still reported.
    assert_snapshot!(db.tenantry(["create", "acme", "hooli", "-q"]).run(), @r"
        --- stderr
        error: tenant acme: tenant already exists (state: active)
        hint: 'tenantry migrate-one acme' applies its pending migrations
        1 created, 1 failed (run 3)
        --- exit 1
    ");
    let dir = older();
    let older = db.tenantry(["create", "behind", "-q", "--tenant-migrations"]).arg(dir.path());
    assert_eq!(older.run().assert_code(0).stderr, "");
    assert_snapshot!(db.tenantry(["migrate-all", "-v"]).run(), @r"
        --- stderr
        tenant migrations: MIGRATIONS (5 in all, newest 20260209090000)
        database: DATABASE on the socket in SOCKET
        migrated behind in TIME
        1 migrated, 4 unchanged
        --- exit 0
    ");
}

#[test]
fn flag_precedes_the_variable_of_the_opposite_flag() {
    let db = fleet(&["acme"]);
    let create = |name: &str, variable: &str, value: &str, flag: &str| {
        db.tenantry(["create", name, flag]).env(variable, value).run().assert_code(0).stderr.clone()
    };
    assert_eq!(create("a", "TENANTRY_VERBOSE", "1", "--quiet"), "");
    assert!(create("b", "TENANTRY_QUIET", "1", "--verbose").contains("created b in"));
    assert!(create("c", "TENANTRY_QUIET", "0", "--verbose").contains("created c in"));
    assert_eq!(create("d", "TENANTRY_VERBOSE", "", "--quiet"), "");
}

#[test]
fn quiet_prints_nothing_on_success() {
    let db = fleet(&["acme"]);
    db.execute("CREATE SCHEMA empty; INSERT INTO schema_tracker (name) VALUES ('gone')");
    for args in [
        &["list"][..],
        &["adopt", "empty"],
        &["create", "gone"],
        &["migrate-one", "empty"],
        &["migrate-all"],
        &["migrate-all", "--dry-run"],
        &["health-check"],
        &["drop", "gone", "--dry-run"],
        &["drop", "gone", "--yes"],
        &["cleanup", "--dry-run"],
        &["cleanup", "--yes"],
        &["migrate-public"],
    ] {
        let output = db.tenantry(args).arg("--quiet").run();
        assert_eq!(output.assert_code(0).stderr, "", "{args:?}");
    }
}

#[test]
fn color_follows_terminal_and_settings() {
    let db = fleet(&["acme"]);
    let list = |args: &[&str]| db.tenantry(["list"]).args(args);
    let screen = |command: Tenantry| Screen::of(&mut Terminal::spawn(command)).snapshot();
    let colored = |text: &str| text.contains('\u{1b}');
    // Not on a terminal.
    assert!(!colored(&list(&[]).run().stdout));
    assert!(colored(&list(&["--color", "always"]).run().stdout));
    assert!(colored(&list(&["--color", "always"]).env("NO_COLOR", "1").run().stdout), "a flag beats a variable");
    assert!(!colored(&list(&["--color", "never"]).run().stdout));
    let error = db.tenantry(["create", "acme"]).args(["--color", "always"]).run();
    assert!(colored(&error.stderr) && error.stderr.contains("error:"), "nothing is said by color alone");
    // JSON is never colored.
    assert!(!colored(&list(&["--color", "always", "--format", "json"]).run().stdout));
    // On a terminal.
    let term = |args: &[&str]| list(args).env("TERM", "xterm-256color");
    assert!(colored(&screen(term(&[]))));
    assert!(!colored(&screen(term(&["--color", "never"]))));
    assert!(!colored(&screen(term(&[]).env("NO_COLOR", "1"))));
    assert!(!colored(&screen(list(&[]).env("TERM", "dumb"))));
    assert!(!colored(&screen(Tenantry::new().arg("--help").env("TERM", "xterm").env("NO_COLOR", "1"))));
    assert!(!colored(&screen(Tenantry::new().arg("nonsense").env("TERM", "xterm").env("NO_COLOR", "1"))));
}

#[test]
fn migrate_public_reports_as_json() {
    let db = Database::new();
    assert_snapshot!(db.tenantry(["migrate-public", "--format", "json"]).run());
    assert_snapshot!(db.tenantry(["migrate-public", "--format", "json"]).run());
    let dir = Dir::new().add("20990101000000_broken", "CREATE TABLE ok(i int);\nCREATE TABLE broken(i nonsense);");
    let broken = db.tenantry(["migrate-public", "--format", "json", "--public-migrations"]).arg(dir.path());
    assert_snapshot!(broken.run());
    assert_eq!(db.string("SELECT to_regclass('public.ok')"), "NULL");
}

#[test]
fn create_reports_as_json() {
    let db = fleet(&["there"]);
    db.execute("CREATE SCHEMA untracked");
    assert_snapshot!(db.tenantry(["create", "acme", "there", "untracked", "There", "--format", "json"]).run());
    assert_snapshot!(db.tenantry(["create", "acme", "--if-not-exists", "--format", "json"]).run());
    let dir = Dir::new().add(
        "20260101000000_broken",
        "CREATE TABLE ok(i int);\n\nINSERT INTO ok VALUES (1);\nALTER TABLE ok ADD CONSTRAINT few CHECK (i < 1);\n",
    );
    let other = fleet(&[]);
    let broken = other.tenantry(["create", "broken", "--format", "json"]).env("TENANTRY_TENANT_MIGRATIONS", dir.path());
    assert_snapshot!(broken.run());
    assert_eq!(other.tenantry(["list", "--names"]).run().stdout, "");
    assert_eq!(db.tenantry(["list", "--names"]).run().stdout, "acme\nthere\n");
}

#[test]
fn migrations_report_as_json() {
    let db = fleet(&["whole"]);
    create_older(&db, &["behind", "broken", "other"]);
    db.execute(
        "INSERT INTO schema_tracker (name) VALUES ('select'), ('registered'); \
         ALTER TABLE broken.tasks ADD COLUMN priority int",
    );
    let run = |args: &[&str]| db.tenantry(args).args(["--format", "json"]).env("TENANTRY_JOBS", "1").run();
    assert_snapshot!(run(&["migrate-all", "--dry-run"]));
    assert_snapshot!(run(&["migrate-one", "behind", "--dry-run"]));
    assert_snapshot!(run(&["migrate-one", "behind"]));
    assert_snapshot!(run(&["migrate-one", "behind"]));
    assert_snapshot!(run(&["migrate-one", "nobody"]));
    assert_snapshot!(run(&["migrate-one", "nobody", "--dry-run"]));
    assert_snapshot!(run(&["migrate-all"]));
    assert_snapshot!(run(&["migrate-all", "--match", "^broken$", "--fail-fast"]));
}

#[test]
#[ignore = "long: make test-long"]
fn json_output_is_one_document() {
    let db = fleet(&["acme"]);
    for args in [
        &["list"][..],
        &["migrate-public"],
        &["create", "b"],
        &["adopt", "nobody"],
        &["migrate-one", "acme"],
        &["migrate-all"],
        &["migrate-all", "--dry-run"],
        &["health-check"],
        &["drop", "b", "--dry-run"],
        &["drop", "b", "--yes"],
        &["drop", "nobody", "--yes"],
        &["cleanup", "--dry-run"],
        &["cleanup", "--yes"],
    ] {
        let output = db.tenantry(args).args(["--format", "json"]).run();
        assert!(output.json().is_object(), "{args:?}");
    }
}

#[test]
fn example_settings_file_is_valid() {
    // Its lines are valid, commented out or not.
    let Ok(text) = fs::read_to_string(root().join(".env.example")) else { panic!(".env.example does not exist") };
    assert!(text.contains("DATABASE_URL"));
    let folder = folder_with(&text);
    Tenantry::new().arg("--version").current_dir(folder.path()).run().assert_code(0);
    let uncommented: String = text
        .lines()
        .filter_map(|line| {
            let line = line.strip_prefix("# ").or_else(|| line.strip_prefix('#')).unwrap_or(line);
            let key = line.split('=').next()?;
            let is_setting = line.contains('=') && key.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            is_setting.then(|| format!("{line}\n"))
        })
        .collect();
    assert!(uncommented.contains("DATABASE_URL="));
    let folder = folder_with(&uncommented);
    let output = Tenantry::new().arg("--version").current_dir(folder.path()).run();
    output.assert_code(0);
}
