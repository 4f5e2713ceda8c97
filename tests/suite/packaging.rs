//! The files for packages, services and CI.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::migrations::Dir;
use crate::support::{Tenantry, fleet};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The commands of tenantry in a file, without the program's name: what follows `key` in a line, if it runs tenantry.
fn commands(file: &str, key: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(root().join(file)).unwrap();
    let values = text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix(key));
    let commands = values.filter_map(|value| {
        let mut words = value.split_whitespace().map(str::to_owned);
        let program = words.next()?;
        (Path::new(&program).file_name()? == "tenantry").then(|| words.collect())
    });
    commands.collect()
}

#[test]
fn commands_for_ci_find_a_finding() {
    let dir = Dir::new().add("20260101000000_a", "CREATE TABLE a (id int);");
    let dir = dir.add("20260102000000_b", "CREATE INDEX a_id ON a (id);");
    for (file, key) in [("docs/ci/github-lint.yml", "run:"), (".pre-commit-hooks.yaml", "entry:")] {
        let commands = commands(file, key);
        assert_eq!(commands.len(), 1, "{file}");
        let output =
            Tenantry::new().args(&commands[0]).args(["--tenant-migrations", "."]).current_dir(dir.path()).run();
        assert_eq!(output.code, Some(1), "{file}: {}", output.stderr);
        assert!(output.stderr.contains("1 finding"), "{file}: {}", output.stderr);
    }
}

#[test]
fn service_checks_the_health_of_all_tenants() {
    let db = fleet(&["acme"]);
    let commands = commands("packaging/systemd/tenantry-health-check.service", "ExecStart=");
    assert_eq!(commands.len(), 1);
    db.tenantry(&commands[0]).run().assert_code(0);
    db.execute("DROP TABLE acme.users CASCADE");
    db.tenantry(&commands[0]).run().assert_code(1);
}

/// The list of assets in Cargo.toml names files that exist, or that scripts/deb writes.
#[test]
fn files_of_the_debian_package_exist() {
    let manifest: toml::Table = std::fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().unwrap();
    let sources: Vec<&str> = assets.iter().map(|asset| asset[0].as_str().unwrap()).collect();
    for source in sources.iter().filter(|source| !source.starts_with("target/")) {
        assert!(root().join(source).is_file(), "{source}");
    }
    let script = std::fs::read_to_string(root().join("scripts/deb")).unwrap();
    for part in ["program=target/release/tenantry\n", "package=target/package-files\n", "\"$package/man\"\n"] {
        assert!(script.contains(part), "{part}");
    }
    let folder = tempfile::tempdir().unwrap();
    Tenantry::new().arg("man").arg(folder.path()).run().assert_code(0);
    assert!(folder.path().join("tenantry-health-check.1").is_file());
    let shells = sources.iter().filter_map(|source| source.strip_prefix("target/package-files/completions/"));
    assert_eq!(shells.clone().count(), 3);
    for shell in shells {
        let output = Tenantry::new().args(["completions", shell]).run();
        assert!(output.code == Some(0) && output.stdout.contains("tenantry"), "{shell}: {}", output.stderr);
    }
}

#[test]
fn systemd_accepts_the_units() {
    // Not every machine has systemd; the syntax of what is checked here is simple enough to be checked without it, too.
    let folder = root().join("packaging/systemd");
    for unit in ["tenantry-health-check.service", "tenantry-health-check.timer"] {
        let text = std::fs::read_to_string(folder.join(unit)).unwrap();
        let mut section = false;
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            section |= line.starts_with('[') && line.ends_with(']');
            let is_setting = line
                .split_once('=')
                .is_some_and(|(key, value)| key.chars().all(|c| c.is_ascii_alphabetic()) && !value.is_empty());
            assert!(section && (line.starts_with('[') || is_setting), "{unit}: {line}");
        }
        if let Ok(output) = Command::new("systemd-analyze").args(["--man=no", "verify"]).arg(folder.join(unit)).output()
        {
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            let about = |line: &&str| line.contains("Unknown") || line.contains("Failed to parse");
            assert_eq!(errors.lines().find(about), None, "{unit}");
        }
    }
}
