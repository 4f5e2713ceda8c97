//! `migrate-all`

use std::time::Duration;

use anyhow::Result;

use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::progress::Progress;
use crate::cli::report;
use crate::database::Database;
use crate::rows::{self, Layout};
use crate::tenants::Tenancy;

/// Migrates the shared tables, and isolates what the migrations add.
pub(crate) fn migrate(context: &Context, db: &mut Database, tenancy: &Tenancy, layout: &Layout) -> Result<Exit> {
    let stop = context.stop();
    if db.fleet_lock.is_none() {
        db.lock_fleet(None, Duration::ZERO, &stop, &mut |_| ())?;
    }
    let mut progress = Progress::new(context.output(), "migrated");
    let report = rows::migrate(db, tenancy, layout, &stop, &mut progress)?;
    std::mem::drop(progress);
    report::run(context, &report, "migrated", "migrate-all")
}
