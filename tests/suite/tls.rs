//! TLS, with a server that refuses unencrypted connections.

use std::path::Path;
use std::process::Command;

use crate::assert_snapshot;
use crate::support::tls::Tls;
use crate::support::{Database, Tenantry, tls};

fn at(url: &str, args: &[&str]) -> Tenantry {
    Tenantry::new()
        .args(args)
        .env("DATABASE_URL", url)
        .hide(tls().port().to_string(), "PORT")
        .hide(tls().ca_file().to_string_lossy(), "CA_FILE")
}

#[test]
fn commands_run_with_verify_full() {
    let db = Database::on(tls().server());
    let url = tls().url(db.name());
    at(&url, &["migrate-public"]).run().assert_code(0);
    at(&url, &["create", "acme", "globex", "--jobs", "2"]).run().assert_code(0);
    assert_snapshot!(at(&url, &["list", "--names"]).run(), @r"
        acme
        globex
        --- stderr
        --- exit 0
    ");
    assert_snapshot!(at(&url, &["health-check"]).run(), @r"
        --- stderr
        2 tenants checked, all healthy
        --- exit 0
    ");
    at(&url, &["drop", "--yes", "acme"]).run().assert_code(0);
}

#[test]
fn commands_run_with_sslmode_require() {
    let db = Database::on(tls().server());
    let url = format!("postgresql://postgres@127.0.0.1:{}/{}?sslmode=require", tls().port(), db.name());
    at(&url, &["migrate-public"]).run().assert_code(0);
    at(&url, &["create", "acme"]).run().assert_code(0);
    let (address, port) = (Tls::ADDRESS, tls().port());
    let pairs = format!("host=localhost {address} port={port} user=postgres dbname={} sslmode=require", db.name());
    assert_eq!(at(&pairs, &["list", "--names"]).run().assert_code(0).stdout, "acme\n");
    // The variable is libpq's own.
    let url = url.replace("?sslmode=require", "");
    assert_eq!(at(&url, &["list", "--names"]).env("PGSSLMODE", "require").run().assert_code(0).stdout, "acme\n");
}

#[test]
fn unencrypted_connection_is_refused() {
    assert_snapshot!(at(&tls().url_with_mode("disable", "postgres"), &["list"]).run(), @r#"
        --- stderr
        error: cannot connect to PostgreSQL at localhost:PORT at 127.0.0.1: connection to server at "127.0.0.1", port PORT failed: FATAL:  no pg_hba.conf entry for host "127.0.0.1", user "postgres", database "postgres", no encryption
        hint: check --database-url (DATABASE_URL), and that the server is running and accepts this role
        --- exit 3
    "#);
}

#[test]
fn certificate_of_an_unknown_authority_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let other = folder.path().join("other.crt");
    let key = folder.path().join("other.key");
    let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=another", "-keyout"])
        .args([text(&key), "-out".to_owned(), text(&other)])
        .output()
        .expect("openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let url = |root: &str| {
        let (address, port) = (Tls::ADDRESS, tls().port());
        format!("postgresql://postgres@localhost:{port}/postgres?{address}&sslmode=verify-full&sslrootcert={root}")
    };
    assert_snapshot!(at(&url(&text(&other)), &["list"]).run(), @r#"
        --- stderr
        error: cannot connect to PostgreSQL at localhost:PORT at 127.0.0.1: connection to server at "127.0.0.1", port PORT failed: SSL error: certificate verify failed
        hint: check --database-url (DATABASE_URL), and that the server is running and accepts this role
        --- exit 3
    "#);
    assert_snapshot!(at(&url("/nonexistent/root.crt"), &["list"]).run(), @r#"
        --- stderr
        error: cannot connect to PostgreSQL at localhost:PORT at 127.0.0.1: connection to server at "127.0.0.1", port PORT failed: root certificate file "/nonexistent/root.crt" does not exist
               Either provide the file or change sslmode to disable server certificate verification.
        hint: check --database-url (DATABASE_URL), and that the server is running and accepts this role
        --- exit 3
    "#);
}

#[test]
fn certificate_for_another_host_is_refused() {
    let pairs = format!(
        "host=db.example.com hostaddr=127.0.0.1 port={} user=postgres dbname=postgres sslmode=verify-full sslrootcert={}",
        tls().port(),
        tls().ca_file().display()
    );
    assert_snapshot!(at(&pairs, &["list"]).run(), @r#"
        --- stderr
        error: cannot connect to PostgreSQL at db.example.com:PORT at 127.0.0.1: connection to server at "127.0.0.1", port PORT failed: server certificate for "localhost" (and 1 other name) does not match host name "db.example.com"
        hint: check --database-url (DATABASE_URL), and that the server is running and accepts this role
        --- exit 3
    "#);
}
