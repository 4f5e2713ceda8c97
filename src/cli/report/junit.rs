//! The JUnit report of a run over a fleet: a test case for each tenant, and one for the run if it stopped early.

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::documents::stop_reason;
use super::stop_message;
use crate::cli::context::Context;
use crate::cli::junit::{case, non_success, skipped};
use crate::error::FailedTenant;
use crate::operations::migrate::{MigratePlan, Report, RevertPlan, StopReason};

/// The suite of a run that was made. It is named for the command.
pub(crate) fn suite_of_run(command: &'static str, report: &Report, context: &Context) -> TestSuite {
    let mut cases: Vec<TestCase> = Vec::new();
    for done in &report.done {
        let mut succeeded = tenant(done.tenant.as_str(), TestCaseStatus::success());
        succeeded.set_time(done.took);
        cases.push(succeeded);
    }
    cases.extend(report.unchanged.iter().map(|name| tenant(name.as_str(), TestCaseStatus::success())));
    cases.extend(report.failed.iter().map(|failed| failure(failed, context)));
    cases.extend(
        report
            .not_reached
            .iter()
            .map(|name| tenant(name.as_str(), skipped("not-reached", "not done: the run stopped early"))),
    );
    if let Some(ended) = &report.ended {
        let message = match ended {
            StopReason::Lost(error) => error.to_string(),
            StopReason::Interrupted => "interrupted".to_owned(),
            other => stop_message(other).unwrap_or_default().to_owned(),
        };
        cases.push(case("(run)", "run", non_success(NonSuccessKind::Error, stop_reason(ended), &[message])));
    }
    suite(command, cases)
}

/// The suite of `migrate-all --dry-run`: the tenants that cannot be migrated fail.
pub(crate) fn suite_of_migrate_plan(plan: &MigratePlan, context: &Context) -> TestSuite {
    let names = plan.migrate.iter().map(|planned| &planned.tenant.name).chain(&plan.up_to_date);
    let ready = names.map(|name| tenant(name.as_str(), TestCaseStatus::success()));
    suite("migrate-all", ready.chain(plan.blocked.iter().map(|failed| failure(failed, context))).collect())
}

/// The suite of `revert-all --dry-run`: the tenants that cannot be reverted fail.
pub(crate) fn suite_of_revert_plan(plan: &RevertPlan, context: &Context) -> TestSuite {
    let names = plan.revert.iter().map(|reverting| &reverting.tenant.name).chain(&plan.unchanged);
    let ready = names.map(|name| tenant(name.as_str(), TestCaseStatus::success()));
    suite("revert-all", ready.chain(plan.blocked.iter().map(|failed| failure(failed, context))).collect())
}

fn suite(command: &'static str, mut cases: Vec<TestCase>) -> TestSuite {
    cases.sort_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
    let mut suite = TestSuite::new(command);
    suite.add_test_cases(cases);
    suite
}

fn tenant(name: &str, status: TestCaseStatus) -> TestCase {
    case(name, "tenant", status)
}

fn failure(failed: &FailedTenant, context: &Context) -> TestCase {
    let error = &failed.error;
    let hint = error.hint(&failed.tenant, &|line| context.command(line));
    let mut lines = vec![error.to_string()];
    lines.extend(hint.map(|hint| format!("hint: {hint}")));
    tenant(&failed.tenant, non_success(NonSuccessKind::Failure, error.code(), &lines))
}
