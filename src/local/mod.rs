//! A private PostgreSQL server, made from the PostgreSQL binaries that are on the machine.
//!
//! Two kinds are offered. A [`Server`] lives in a folder and outlasts the process that started it; an [`Ephemeral`]
//! lives in a temporary folder and is removed when its owner ends, even by SIGKILL.
//!
//! Both listen on a Unix socket in a folder of mode 0700, so that `trust` authentication lets in only the user the
//! server runs as, and root. Both work for root as well, for whom PostgreSQL refuses to run: the server then runs as
//! the user `postgres`, or `nobody` where there is none.
//!
//! Nothing here prints, exits or asks the terminal. The environment is read in one place only: the folder for temporary
//! files is [`std::env::temp_dir`], which follows `TMPDIR`.

mod account;
mod binaries;
mod cluster;
mod ephemeral;
mod error;
mod folders;
mod postmaster;
mod server;
mod text;
mod watchdog;

pub use binaries::Binaries;
pub use ephemeral::{Ephemeral, EphemeralOptions};
pub use error::{LastLines, LocalError};
pub use folders::default_folder;
pub use server::{Running, Server, Started, Status, Stopped};

use account::Account;

/// The database that every server of this module holds from the beginning.
pub const DATABASE: &str = "tenantry";

/// The superuser of every server of this module. No password is asked of it.
pub const SUPERUSER: &str = "postgres";
