//! Support for the tests: one server for the test run, a database for each test, the real binary, and what is between
//! them in production (a terminal, a pooler, a slow or broken connection, TLS).
//!
//! A missing program fails the test with a hint. Nothing is skipped.

mod address;
mod capture;
mod command;
mod database;
mod fleets;
mod output;
mod terminal;
mod wait;

pub mod exhaustive;
pub mod migrations;
pub mod pgbouncer;
pub mod proxy;
#[cfg(target_os = "linux")]
pub mod sockets;
pub mod source;
pub mod tls;

mod smoke;

use std::env;
use std::error::Error;
use std::path::Path;
use std::sync::LazyLock;

use tenantry::local::{Binaries, Ephemeral, LocalError};

pub use address::{percent_encoded, socket_of};
pub use command::{Running, Signal, Tenantry};
pub use database::{Database, connector, strings};
pub use fleets::{
    assert_whole, create_older, fleet, older, public_migrations, run_with, schemas, set_up, small_fleet,
    url_of_a_stranger, with,
};
pub use output::{Output, normalized};
pub use terminal::{Screen, Terminal};
pub use tls::tls;
pub use wait::{FOREVER, PATIENCE, eventually};

/// Compares an [`Output`] with the snapshot of the test, in `tests/suite/snapshots`.
#[macro_export]
macro_rules! assert_snapshot {
    ($output:expr $(, @$inline:literal)?) => {
        insta::with_settings!({
            snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/snapshots"),
            omit_expression => true,
        }, {
            insta::assert_snapshot!($output.snapshot() $(, @$inline)?)
        })
    };
}

/// The shared server. Its watchdog removes it when the process ends, because statics are not dropped.
pub fn server() -> &'static Ephemeral {
    static SERVER: LazyLock<Ephemeral> = LazyLock::new(|| {
        Ephemeral::options()
            .setting("max_connections", "200")
            // Background work of the server must not affect what a test measures or waits for.
            .setting("autovacuum", "off")
            .setting("jit", "off")
            .setting("timezone", "UTC")
            .start(binaries())
            .unwrap_or_else(|error| panic!("{}", explained(&error)))
    });
    &SERVER
}

/// The PostgreSQL programs: of the folder in `TENANTRY_PG_BIN`, else the first that are found.
pub fn binaries() -> &'static Binaries {
    static BINARIES: LazyLock<Binaries> = LazyLock::new(|| {
        let chosen = env::var_os("TENANTRY_PG_BIN");
        let path = env::var_os("PATH");
        Binaries::find(chosen.as_deref().map(Path::new), path.as_deref())
            .unwrap_or_else(|error| panic!("{}", explained(&error)))
    });
    &BINARIES
}

/// The error with its causes and the hint.
fn explained(error: &LocalError) -> String {
    let mut text = format!("the tests need a PostgreSQL server: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!("\n  caused by: {error}");
        cause = error.source();
    }
    if let Some(hint) = error.hint() {
        text += &format!("\nhint: {hint}");
    }
    text
}
