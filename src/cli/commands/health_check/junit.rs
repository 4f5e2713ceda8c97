//! A JUnit report: a test case for the database and for each tenant. An unchecked tenant is an error, or is skipped if that
//! is allowed.

use std::collections::BTreeMap;

use quick_junit::{NonSuccessKind, TestCaseStatus, TestSuite};

use super::check_report::{CheckReport, Item};
use crate::cli::junit::{case, non_success, skipped};
use crate::health::Unchecked;
use crate::text;

pub(super) fn suite(report: &CheckReport<'_>) -> TestSuite {
    let mut codes: BTreeMap<String, String> = BTreeMap::new();
    let mut failures: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut others: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for item in &report.items {
        let tenant = item.tenant().unwrap_or(DATABASE).to_owned();
        let lines = if report.fails(item) {
            codes.entry(tenant.clone()).or_insert_with(|| item.code());
            &mut failures
        } else {
            &mut others
        };
        lines.entry(tenant).or_default().push(line(item));
    }
    let tenants = report.groups.iter().flat_map(|group| &group.members).map(|member| member.name.to_string());
    for tenant in tenants.chain([DATABASE.to_owned()]) {
        others.entry(tenant).or_default();
    }
    let mut unchecked: BTreeMap<String, &str> = BTreeMap::new();
    for Unchecked { tenants, reason } in &report.health.unchecked {
        if tenants.is_empty() {
            unchecked.insert(DATABASE.to_owned(), reason);
        }
        unchecked.extend(tenants.iter().map(|tenant| (tenant.clone(), reason.as_str())));
    }
    let mut names: Vec<&String> = failures.keys().chain(others.keys()).chain(unchecked.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let mut suite = TestSuite::new("health-check");
    for name in names {
        let status = match (failures.get(name), unchecked.get(name)) {
            (None, None) => TestCaseStatus::success(),
            (None, Some(reason)) => {
                let message = format!("not checked: {reason}");
                if report.fails_on_unchecked() {
                    non_success(NonSuccessKind::Error, "unchecked", &[message])
                } else {
                    skipped("unchecked", &message)
                }
            }
            // The type is the code of the first finding.
            (Some(lines), _) => {
                let code = codes.get(name).map_or("", String::as_str);
                non_success(NonSuccessKind::Failure, code, lines)
            }
        };
        let mut case = case(name, "tenant", status);
        if let Some(lines) = others.get(name).filter(|lines| !lines.is_empty()) {
            case.set_system_out(lines.join("\n"));
        }
        suite.add_test_case(case);
    }
    suite
}

/// The name of the database's test case; it is not a valid tenant name.
const DATABASE: &str = "(database)";

fn line(item: &Item<'_>) -> String {
    text::one_line(&format!("{}: {}", item.code(), item.message())).into_owned()
}
