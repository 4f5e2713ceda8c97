//! `server add`

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use super::{Fleet, everything, tracked};
use crate::support::tls::Tls;
use crate::support::{Database, Tenantry, fleet, percent_encoded, set_up, socket_of, tls, url_of_a_stranger};

/// Runs `server add`, which refuses the server and changes neither database.
#[track_caller]
fn refused(registry: &Database, target: &Database, args: &[&str], code: i32, text: &str) {
    let before = (everything(registry), everything(target));
    let output = registry.tenantry(["server", "add"]).args(args).run();
    output.assert_code(code);
    assert!(output.stderr.contains(text), "no `{text}` in:\n{}", output.stderr);
    assert!((everything(registry), everything(target)) == before, "{args:?} changed something");
}

#[test]
fn first_server_makes_the_database_the_registry() {
    let (registry, other) = (fleet(&["acme"]), fleet(&["acme", "globex"]));
    other.tenantry(["drop", "acme", "--yes"]).run().assert_code(0);
    let added = registry.tenantry(["server", "add", "eu", "--url", &other.url(), "--region", "eu"]).run();
    added.assert_code(0);
    assert!(added.stderr.contains("server eu added, with 1 tenant"), "{}", added.stderr);
    let list = registry.tenantry(["server", "list", "--format", "json"]).run().json();
    assert_eq!(super::texts(&list["servers"], "name"), ["main", "eu"]);
    assert_eq!(super::texts(&list["servers"], "region"), ["null", "eu"]);
    assert_eq!((list["servers"][0]["tenants"].as_i64(), list["servers"][1]["tenants"].as_i64()), (Some(1), Some(1)));
    assert_eq!(list["servers"][0]["is_registry"], true);
    // Each server has a copy of the directory.
    let placed = "SELECT tenant || ' ' || state FROM schema_placement ORDER BY tenant";
    assert_eq!(registry.strings(placed), ["acme active", "globex active"]);
    assert_eq!(other.strings(placed), ["acme active", "globex active"]);
}

#[test]
#[ignore = "long: make test-long"]
fn connection_strings_that_cannot_be_stored_are_refused() {
    let (registry, target) = (set_up(), set_up());
    let url = target.url();
    for with_password in [
        "postgresql://u:geheim@h/d",
        "postgresql://u@h/d?password=geheim",
        "host=h dbname=d password=geheim",
        "postgresql://u@h/d?sslpassword=geheim",
    ] {
        refused(&registry, &target, &["eu", "--url", with_password], 3, "it has a password, which would be stored");
        refused(&registry, &target, &["eu", "--url", &url, "--peer-url", with_password], 3, "it has a password");
        let output = registry.tenantry(["server", "add", "eu", "--url", with_password]).run();
        assert!(!(output.stdout + &output.stderr).contains("geheim"));
    }
    for without_database in ["", "postgresql://h", "host=/tmp user=postgres"] {
        refused(&registry, &target, &["eu", "--url", without_database], 3, "it names no database");
    }
    refused(&registry, &target, &["eu", "--url", "postgresql://u@h:port/d"], 2, "invalid database URL of the server");
    refused(&registry, &target, &["a b", "--url", &url], 2, "invalid server name");
    refused(&registry, &target, &["eu", "--url", &url, "--capacity", "some"], 2, "--capacity");
    refused(
        &registry,
        &target,
        &["eu", "--url", &url.replace(target.name(), "no_db")],
        3,
        "server eu cannot be reached",
    );
}

#[test]
fn taken_names_and_tenants_are_refused_before_anything_is_changed() {
    let (registry, target) = (fleet(&["acme"]), fleet(&["acme", "globex"]));
    let url = target.url();
    refused(&registry, &target, &["main", "--url", &url], 3, "a server with the name main exists");
    refused(&registry, &target, &["MAIN", "--url", &url], 3, "a server with the name main exists");
    refused(&registry, &target, &["eu", "--url", &url], 3, "other servers: acme (on main)");
    target.execute("UPDATE schema_tracker SET name = 'AcMe' WHERE name = 'acme'");
    refused(&registry, &target, &["eu", "--url", &url], 3, "other servers: AcMe (on main)");
    // Also with a directory, and an empty database.
    let (other, empty) = (set_up(), Database::new());
    registry.tenantry(["server", "add", "us", "--url", &other.url()]).run().assert_code(0);
    refused(&registry, &target, &["eu", "--url", &url], 3, "other servers: acme (on main)");
    refused(&registry, &empty, &["US", "--url", &empty.url()], 3, "a server with the name us exists");
}

#[test]
#[ignore = "long: make test-long"]
fn databases_that_are_registered_already_are_refused() {
    let fleet = Fleet::of(&["eu"]);
    let (main, eu) = (&fleet.registry, fleet.server("eu"));
    refused(main, eu, &["us", "--url", &main.url()], 3, "registered already, as server main");
    refused(main, eu, &["us", "--url", &eu.url()], 3, "registered already, as server eu");
    let (folder, port) = socket_of(eu.server());
    let pairs = format!("host={folder} port={port} user=postgres dbname={} application_name=x", eu.name());
    refused(main, eu, &["us", "--url", &pairs], 3, "registered already, as server eu");
    // A copy of a database has its identity.
    let copy = eu.copy();
    refused(main, &copy, &["us", "--url", &copy.url()], 3, "registered already, as server eu");
    let copy = main.copy();
    refused(main, &copy, &["us", "--url", &copy.url()], 3, "registered already, as server main");
    // The same database with the same name is no error.
    fleet.run(&["server", "add", "eu", "--url", &pairs]);
    assert_eq!(main.count("SELECT count(*) FROM schema_server"), 2);
    assert!(main.string("SELECT connection FROM schema_server WHERE name = 'eu'").contains("application_name"));
    // A server of one registry is no server of another, and no registry.
    let other = Fleet::of(&["us"]);
    refused(&other.registry, eu, &["eu", "--url", &eu.url()], 3, "belongs to another registry");
    refused(&other.registry, main, &["eu", "--url", &main.url()], 3, "belongs to another registry");
    refused(eu, &set_up(), &["x", "--url", &set_up().url()], 3, "is not the registry");
}

#[test]
fn registry_is_recognized_before_it_has_a_directory() {
    let registry = set_up();
    refused(&registry, &registry, &["eu", "--url", &registry.url()], 3, "registered already, as server main");
}

#[test]
fn unsuitable_databases_are_refused() {
    let registry = set_up();
    let encodings = Database::new();
    for (encoding, name) in [("SQL_ASCII", "ascii"), ("LATIN1", "latin")] {
        let name = format!("{}_{name}", encodings.name());
        encodings.execute(&format!(
            "CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
        ));
        let url = encodings.url().replace(encodings.name(), &name);
        let text = format!("its encoding is {encoding}, and that of the registry is UTF8");
        refused(&registry, &encodings, &["eu", "--url", &url], 3, &text);
        let mut conn = PgConnection::establish(&url).unwrap();
        assert_eq!(crate::support::strings(&mut conn, "SELECT 1 FROM pg_class WHERE relname ~ '^schema_'").len(), 0);
        drop(conn);
        encodings.execute(&format!("DROP DATABASE {name}"));
    }
    let target = set_up();
    let stranger = url_of_a_stranger(&target);
    refused(&registry, &target, &["eu", "--url", &stranger], 3, "the connected role may not create schemas");
}

#[test]
fn addresses_of_the_same_database_do_not_matter() {
    let (registry, eu) = (Database::on(tls().server()), Database::on(tls().server()));
    let run = |args: &[&str]| Tenantry::new().args(args).env("DATABASE_URL", registry.url()).run();
    run(&["migrate-public"]).assert_code(0);
    let tcp = tls().url(eu.name());
    run(&["server", "add", "eu", "--url", &tcp]).assert_code(0);
    let numeric = tcp.replace("localhost", "127.0.0.1");
    for alias in [eu.url(), numeric, tls().url_with_mode("require", eu.name())] {
        let refused = run(&["server", "add", "us", "--url", &alias]);
        assert!(refused.assert_code(3).stderr.contains("registered already, as server eu"), "{}", refused.stderr);
    }
    let refused = run(&["server", "add", "us", "--url", &tls().url(registry.name())]);
    assert!(refused.assert_code(3).stderr.contains("registered already, as server main"), "{}", refused.stderr);
    let list = run(&["server", "check", "--format", "json"]).json();
    assert_eq!(super::texts(&list["servers"], "encryption"), ["local", "tls"]);
}

#[test]
#[ignore = "long: make test-long"]
fn wrong_certificate_authority_is_refused() {
    let (registry, eu) = (set_up(), Database::on(tls().server()));
    let url = tls().url(eu.name());
    let other = tempfile::tempdir().unwrap();
    let wrong = other.path().join("wrong.crt");
    std::process::Command::new("openssl")
        .args(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=other -days 2 -keyout"
                .split(' '),
        )
        .args([other.path().join("wrong.key").as_os_str(), "-out".as_ref(), wrong.as_os_str()])
        .output()
        .unwrap();
    let ca = percent_encoded(&tls().ca_file().to_string_lossy());
    let wrong_url = url.replace(&ca, &percent_encoded(&wrong.to_string_lossy()));
    refused(&registry, &eu, &["eu", "--url", &wrong_url], 3, "certificate verify failed");
    registry.tenantry(["server", "add", "eu", "--url", &url]).run().assert_code(0);
    // It is checked at each connection.
    let set = registry.tenantry(["server", "set", "eu", "--url", &wrong_url]).run();
    assert!(set.assert_code(3).stderr.contains("certificate verify failed"), "{}", set.stderr);
    registry.tenantry(["create", "acme", "--server", "eu"]).run().assert_code(0);
    assert_eq!(tracked(&eu), ["acme"]);
    registry.execute(&format!("UPDATE schema_server SET connection = '{wrong_url}' WHERE name = 'eu'"));
    let check = registry.tenantry(["server", "check", "eu"]).run();
    assert!(check.assert_code(1).stderr.contains("certificate verify failed"), "{}", check.stderr);
    let migrate = registry.tenantry(["migrate-all"]).run();
    assert!(migrate.assert_code(1).stderr.contains("1 not reached (eu): 1 tenant not reached"), "{}", migrate.stderr);
}

#[test]
#[ignore = "long: make test-long"]
fn password_comes_from_a_variable_and_is_stored_nowhere() {
    let (registry, eu) = (set_up(), Database::on(tls().server()));
    eu.execute(&format!("GRANT ALL ON SCHEMA public TO {}", crate::support::tls::ROLE));
    let url = tls().password_url(eu.name());
    let (start, rest) = url.split_once("://keeper:").unwrap();
    let (_, rest) = rest.split_once('@').unwrap();
    let without = format!("{start}://keeper@{rest}");
    let add = ["server", "add", "eu", "--url", &without, "--password-env", "EU_PASSWORD"];
    let unset = registry.tenantry(add).run();
    assert!(unset.assert_code(3).stderr.contains("variable EU_PASSWORD with the password of server eu is not set"));
    let wrong = registry.tenantry(add).env("EU_PASSWORD", "geheim").run();
    assert!(wrong.assert_code(3).stderr.contains("password authentication failed"), "{}", wrong.stderr);
    let mut said = wrong.stderr;
    let password = crate::support::tls::PASSWORD;
    let run = |args: &[&str]| registry.tenantry(args).env("EU_PASSWORD", password).run();
    let verbose = run(&[&add[..], &["--verbose"]].concat());
    said += &verbose.assert_code(0).stderr;
    for args in [
        &["server", "list", "--format", "json"][..],
        &["server", "check"],
        &["create", "acme", "--server", "eu", "-v"],
        &["where", "acme", "--format", "url"],
        &["where", "--all", "--format", "pgbouncer"],
        &["list", "--format", "json"],
        &["runs", "--server", "eu"],
        &["exec", "acme", "-c", "SELECT * FROM public.schema_server"],
        &["health-check", "-v"],
    ] {
        let output = run(args);
        output.assert_code(0);
        said += &(output.stdout + &output.stderr);
    }
    let missing = registry.tenantry(["list"]).run();
    assert!(missing.assert_code(1).stderr.contains("EU_PASSWORD"), "{}", missing.stderr);
    said += &missing.stderr;
    said += &everything(&registry);
    said += &everything(&eu);
    for secret in [password, "geheim", &percent_encoded(password)] {
        assert!(!said.contains(secret), "{secret} is in:\n{said}");
    }
    assert!(said.contains(Tls::ADDRESS) || said.contains("127.0.0.1"));
    let database = registry.string("SELECT password_variable FROM schema_server WHERE name = 'eu'");
    assert_eq!(database, "EU_PASSWORD");
    // Also not by hand.
    let mut conn = registry.connect();
    assert!(conn.batch_execute("UPDATE schema_server SET connection = 'dbname=x password=y'").is_err());
}

#[test]
#[ignore = "long: make test-long"]
fn interrupted_add_is_completed_by_the_next() {
    use crate::support::proxy::Proxy;
    let proxy = Proxy::start(crate::support::server());
    let (whole, other) = (set_up(), set_up());
    let url = proxy.url(other.name());
    let add = |registry: &Database, url: &str| {
        Tenantry::new().args(["server", "add", "eu", "--url", url]).env("DATABASE_URL", proxy.url(registry.name()))
    };
    proxy.reset();
    add(&whole, &url).run().assert_code(0);
    let messages = proxy.messages();
    assert!(messages > 10, "{messages}");
    let (mut cut, mut interrupted) = (1, 0);
    while cut <= messages {
        let (registry, target) = (fleet(&["acme"]), set_up());
        target.execute("INSERT INTO schema_tracker (name) VALUES ('globex')");
        proxy.reset();
        proxy.cut_at(cut, crate::support::proxy::CutPoint::After);
        interrupted += i32::from(add(&registry, &proxy.url(target.name())).run().code != Some(0));
        proxy.reset();
        add(&registry, &proxy.url(target.name())).run().assert_code(0);
        let placed = "SELECT tenant || ' ' || state FROM schema_placement ORDER BY tenant";
        assert_eq!(registry.strings(placed), ["acme active", "globex active"], "cut at {cut}");
        assert_eq!(target.strings(placed), ["acme active", "globex active"], "cut at {cut}");
        assert_eq!(target.count("SELECT count(*) FROM schema_identity"), 1);
        cut += 3;
    }
    assert!(interrupted > 5, "{interrupted}");
}
