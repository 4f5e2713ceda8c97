//! The command line `tenantry`, with the migrations of this repository.

use std::process::ExitCode;

use tenantry::cli::App;
use tenantry::{Embedded, embed_migrations};

static TENANT_MIGRATIONS: Embedded = embed_migrations!("$CARGO_MANIFEST_DIR/migrations/tenant");

fn main() -> ExitCode {
    App::new("tenantry", &TENANT_MIGRATIONS).run()
}
