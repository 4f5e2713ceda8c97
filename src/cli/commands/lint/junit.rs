//! The JUnit report of `lint`: a test case for each migration.

use quick_junit::{NonSuccessKind, TestCaseStatus, TestSuite};

use crate::cli::junit::{case, non_success};
use crate::lint::LintFinding;
use crate::migration::Migration;

/// The suite. `migrations` are those that were checked, with their indexes.
pub(super) fn suite<'a>(
    migrations: impl Iterator<Item = (usize, &'a Migration)>,
    findings: &[LintFinding],
) -> TestSuite {
    let mut suite = TestSuite::new("lint");
    for (index, migration) in migrations {
        let own: Vec<&LintFinding> = findings.iter().filter(|finding| finding.migration == index).collect();
        let line = |finding: &&LintFinding| {
            let LintFinding { line, rule, message, .. } = finding;
            format!("{}:{line}: {rule}: {message}", finding.path().1)
        };
        let status = match own.as_slice() {
            [] => TestCaseStatus::success(),
            [first, ..] => {
                let lines: Vec<String> = own.iter().map(line).collect();
                non_success(NonSuccessKind::Failure, first.rule.name(), &lines)
            }
        };
        suite.add_test_case(case(migration.folder(), "migration", status));
    }
    suite
}
