//! The command line `tenantry`. It takes the tenant migrations from the project that it runs in; those of this repository
//! are a sample, which only `tenantry demo` uses.

use std::process::ExitCode;

use tenantry::cli::App;
use tenantry::{Embedded, embed_migrations};

static SAMPLE: Embedded = embed_migrations!("$CARGO_MANIFEST_DIR/migrations/tenant");

fn main() -> ExitCode {
    App::without_migrations("tenantry").with_sample(&SAMPLE).run()
}
