//! The options of a command that migrates or reverts a fleet.

use anyhow::Result;
use clap::Args;

use super::context::{Context, Purpose};
use super::junit::JunitOption;
use super::resume::only;
use super::rollout::RolloutOptions;
use super::selection::Selection;
use super::settings::{Jobs, Role, WriteOptions};
use crate::database::Database;
use crate::operations::migrate::{Report, StopReason};
use crate::record::runs::RetryCommand;
use crate::tenants::Tenancy;

/// The options of a command that migrates or reverts a fleet.
#[derive(Debug, Clone, Args)]
pub(crate) struct FleetOptions {
    #[command(flatten)]
    pub(crate) selection: Selection,

    #[command(flatten)]
    pub(crate) rollout: RolloutOptions,

    #[command(flatten)]
    pub(crate) junit: JunitOption,

    #[command(flatten)]
    jobs: Jobs,

    #[command(flatten)]
    role: Role,

    #[command(flatten)]
    options: WriteOptions,
}

impl FleetOptions {
    /// The number of connections.
    pub(crate) fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// Connects, and checks that `--match` and `--label` select a tenant and that `--junit` can be written.
    pub(crate) fn connect(&self, context: &Context, purpose: Purpose) -> Result<(Tenancy, Database)> {
        self.junit.check(context)?;
        let (tenancy, mut db) = context.fleet(&self.options, &self.role, Some(&self.jobs), purpose)?;
        self.selection.resolve(context, &mut db, &tenancy)?;
        Ok((tenancy, db))
    }

    /// Selects the tenants of the run.
    pub(crate) fn picks(
        &self,
        context: &Context,
        db: &mut Database,
        tenancy: &Tenancy,
        retry: RetryCommand,
    ) -> Result<impl Fn(&str) -> bool + use<>> {
        let in_rollout = self.rollout.picks(context, db, retry)?;
        let selected = self.selection.resolve(context, db, tenancy)?;
        Ok(move |name: &str| in_rollout(name) && selected.picks(name))
    }

    /// The command line, after the program's name, that resumes a run. `what` are the options that determine what is done to
    /// each tenant.
    pub(crate) fn resume(&self, command: &str, what: &str, report: &Report) -> String {
        let left = report.to_try_again();
        // Canaries that failed come first again, and may not be among the remaining tenants.
        let by_name = if matches!(report.ended, Some(StopReason::Canary)) { None } else { only(&left) };
        let which = match (by_name, report.run) {
            (Some(regex), _) => format!(" --match {regex}"),
            (None, Some(run)) if report.not_reached.is_empty() => format!(" --retry-failed {run}"),
            (None, _) => self.selection.flags() + &self.rollout.retried(),
        };
        format!("{command}{which}{}{what}", self.rollout.flags(report))
    }
}
