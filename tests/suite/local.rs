//! `local`

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use crate::assert_snapshot;
use crate::support::{Tenantry, binaries};

/// A folder for a server, accessible to the user that runs it. The server stops with the value.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("its mode can be set");
        Self(folder)
    }

    fn local(&self, args: &[&str]) -> Tenantry {
        let folder = self.0.path().to_string_lossy();
        Tenantry::new()
            .arg("local")
            .args(args)
            .current_dir(self.0.path())
            .env("TENANTRY_PG_BIN", binaries().folder())
            .env("TENANTRY_LOCAL_DIR", self.0.path().join("server"))
            .hide(folder.replace('/', "%2F"), "PROJECT")
            .hide(folder, "PROJECT")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let stopped = self.local(&["stop"]).run();
        if !std::thread::panicking() {
            stopped.assert_code(0);
        }
    }
}

/// Process ids and the version differ between machines.
macro_rules! assert_shape {
    ($output:expr) => {
        insta::with_settings!({
            filters => vec![
                (r"PostgreSQL \d+", "PostgreSQL MAJOR"),
                (r#""version": \d+"#, r#""version": MAJOR"#),
                (r#""pid": \d+"#, r#""pid": PID"#),
            ]
        }, { assert_snapshot!($output) })
    };
}

#[test]
#[ignore = "long: make test-long"]
fn server_starts_runs_and_stops() {
    let place = Place::new();
    assert_shape!(place.local(&["status"]).run());
    assert_shape!(place.local(&["status", "--format", "json"]).run());
    assert_shape!(place.local(&["stop"]).run());

    assert_shape!(place.local(&["start"]).run());
    assert_shape!(place.local(&["start"]).run());
    assert_shape!(place.local(&["status"]).run());
    assert_shape!(place.local(&["status", "--format", "json"]).run());
    assert_shape!(place.local(&["url"]).run());
    assert_shape!(place.local(&["url", "--format", "json"]).run());
    assert_shape!(place.local(&["start", "--format", "json"]).run());

    assert_eq!(place.local(&["psql", "--", "-Atc", "select 1"]).run().assert_code(0).stdout, "1\n");
    assert_eq!(place.local(&["psql", "-Atc", "select 2"]).run().assert_code(0).stdout, "2\n");
    place.local(&["psql", "--", "-c", "no sql"]).run().assert_code(1);

    // Other commands accept the URL, and the data exists after the next start.
    let url = place.local(&["url"]).run().stdout.trim_end().to_owned();
    let at = |args: &[&str]| Tenantry::new().args(args).env("DATABASE_URL", &url).run();
    at(&["migrate-public"]).assert_code(0);
    at(&["create", "acme"]).assert_code(0);

    assert_shape!(place.local(&["stop"]).run());
    assert_shape!(place.local(&["stop"]).run());
    assert_shape!(place.local(&["status"]).run());
    assert_shape!(place.local(&["status", "--format", "json"]).run());
    at(&["list"]).assert_code(5);
    assert_shape!(place.local(&["psql", "--", "-c", "select 1"]).run());
    place.local(&["start"]).run().assert_code(0);
    assert_eq!(at(&["list", "--names"]).assert_code(0).stdout, "acme\n");
}

#[test]
#[ignore = "long: make test-long"]
fn concurrent_starts_create_one_server() {
    let place = Place::new();
    let starts: Vec<_> = (0..3).map(|_| place.local(&["start"]).spawn()).collect();
    let mut started = 0;
    for start in starts {
        let output = start.wait();
        output.assert_code(0);
        started += usize::from(output.stderr.contains("server started"));
    }
    assert_eq!(started, 1);
}

#[test]
#[ignore = "long: make test-long"]
fn server_directory_defaults_to_the_project() {
    let place = Place::new();
    let here = |action: &str| place.local(&[action]).env_remove("TENANTRY_LOCAL_DIR");
    here("start").run().assert_code(0);
    assert!(place.0.path().join(".tenantry/server").is_dir());
    assert_shape!(here("url").run());
    here("stop").run().assert_code(0);
}

#[test]
fn missing_server_programs_are_an_error() {
    let place = Place::new();
    let empty = tempfile::tempdir().expect("a temporary folder");
    let start = || place.local(&["start"]).hide(empty.path().to_string_lossy(), "EMPTY");
    assert_shape!(start().env("TENANTRY_PG_BIN", empty.path()).run());
    assert_shape!(start().env_remove("TENANTRY_PG_BIN").arg("--pg-bin").arg(empty.path()).run());
    assert_shape!(place.local(&["status"]).env("TENANTRY_PG_BIN", empty.path()).run());
}

#[test]
fn missing_and_unknown_actions_are_refused() {
    let place = Place::new();
    assert_shape!(place.local(&[]).run());
    assert_shape!(place.local(&["restart"]).run());
}

#[test]
fn file_as_server_directory_is_refused() {
    let place = Place::new();
    fs::write(place.0.path().join("file"), "").expect("a file");
    assert_shape!(place.local(&["start", "--dir", "file"]).run());
}
