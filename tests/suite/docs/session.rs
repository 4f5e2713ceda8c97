//! The shell that runs a page, with its own server and folder.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use tempfile::TempDir;
use tenantry::local::Ephemeral;

use super::page::{Page, Step};
use crate::support::{Tenantry, binaries, percent_encoded, socket_of};

/// A separator before the output of each step, which no program prints.
const MARK: char = '\u{1e}';

/// The folder that the pages show in place of the temporary one.
const HOME: &str = "/home/me";

/// A new folder, and a new server that `psql` and a URL without a host connect to.
pub struct Session {
    places: TempDir,
    server: Ephemeral,
}

impl Session {
    pub fn start() -> Self {
        let places = tempfile::tempdir().expect("a temporary folder");
        // A server that runs as another user needs access to the folder.
        fs::set_permissions(places.path(), fs::Permissions::from_mode(0o755)).expect("its mode can be set");
        for folder in ["bin", "shop"] {
            fs::create_dir(places.path().join(folder)).expect("a folder");
        }
        symlink(env!("CARGO_BIN_EXE_tenantry"), places.path().join("bin/tenantry")).expect("a link");
        // Only docs/shared-tables.md replicates.
        let settings = [
            ("timezone", "UTC"),
            ("wal_level", "logical"),
            ("max_logical_replication_workers", "6"),
            ("wal_retrieve_retry_interval", "100ms"),
        ];
        let server = Ephemeral::start(binaries(), &settings).expect("a server");
        Self { places, server }
    }

    /// Runs the steps of a page, and returns the output of each command.
    pub fn run(&self, page: &Page) -> Vec<String> {
        let script = self.path("script");
        fs::write(&script, script_of(&page.steps)).expect("the script can be written");
        let (socket, port) = socket_of(&self.server);
        let path = std::env::var("PATH").expect("a search path");
        let programs = [self.path("bin"), binaries().folder().to_owned()];
        let path = programs.iter().map(|folder| folder.to_string_lossy().into_owned()).chain([path]);
        let output = Tenantry::of_program("/bin/sh")
            .arg(&script)
            .current_dir(self.path("shop"))
            .env("HOME", self.places.path())
            .env("PATH", path.collect::<Vec<_>>().join(":"))
            .env("PGHOST", &socket)
            .env("PGPORT", port)
            .env("PGUSER", "postgres")
            .env("TENANTRY_PG_BIN", binaries().folder())
            .env("USER", "me")
            .run();
        output.assert_code(0);
        let home = self.places.path().to_string_lossy();
        let shown = [
            (percent_encoded(&home), percent_encoded(HOME)),
            (home.into_owned(), HOME.to_owned()),
            (percent_encoded(&socket), percent_encoded("/var/run/postgresql")),
            (socket, "/var/run/postgresql".to_owned()),
        ];
        let text = shown.iter().fold(output.stdout.clone(), |text, (real, shown)| text.replace(real, shown));
        let parts = text.split(MARK).skip(1).zip(&page.steps);
        parts.filter(|(_, step)| matches!(step, Step::Command { .. })).map(|(part, _)| part.to_owned()).collect()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.places.path().join(name)
    }
}

/// One script for all steps, so that variables and the working folder are kept. `$?` is that of the previous command.
fn script_of(steps: &[Step]) -> String {
    let mut script = "exec </dev/null 2>&1\n".to_owned();
    for step in steps {
        let body = match step {
            Step::Command { script, .. } | Step::Hidden(script) => script.clone(),
            Step::File { path, content } => written(path, content),
        };
        let quoted = body.replace('\'', r"'\''");
        // Writing to a String cannot fail.
        let _ = write!(script, "status=$?; printf '\\036'; (exit $status)\neval '{quoted}'\n");
    }
    script + "exit 0\n"
}

fn written(path: &str, content: &str) -> String {
    let folder = Path::new(path).parent().expect("a folder").to_string_lossy();
    let folder = if folder.is_empty() { "." } else { &folder };
    format!("mkdir -p {folder} && cat >{path} <<'END_OF_FILE'\n{content}END_OF_FILE\n")
}
