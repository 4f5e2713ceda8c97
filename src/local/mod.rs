//! A private PostgreSQL server, run with the PostgreSQL binaries of the machine.
//!
//! There are two kinds. A [`LocalServer`] lives in a directory and outlives the process that started it; an [`Ephemeral`]
//! lives in a temporary directory and is removed when its owner ends, even by SIGKILL.
//!
//! Both listen on a Unix socket in a directory of mode 0700, so that `trust` authentication admits only the server's
//! user and root. Both work for root as well, although PostgreSQL refuses to run as root: the server then runs as the
//! user `postgres`, or `nobody` if there is none.
//!
//! This module does not print, exit or use the terminal. It reads the environment in one place: the directory for
//! temporary files is [`std::env::temp_dir`], which follows `TMPDIR`.

mod account;
mod binaries;
mod cluster;
mod ephemeral;
mod error;
mod folders;
mod pg_dump;
mod postmaster;
mod server;
mod text;
mod watchdog;

pub use binaries::Binaries;
pub use ephemeral::{Ephemeral, EphemeralOptions};
pub use error::{LastLines, LocalError};
pub use folders::default_folder;
pub use pg_dump::PgDump;
#[cfg(feature = "cli")]
pub(crate) use pg_dump::{PgRestore, PrintingArchive};
pub use server::{LocalServer, Running, Started, Status, Stopped};

use account::Account;

/// The database that every server of this module contains.
pub const DATABASE: &str = "tenantry";

/// The superuser of every server of this module. It has no password.
pub const SUPERUSER: &str = "postgres";
