//! A JUnit report: a test case for the database and for each tenant. An unchecked tenant is an error, or is skipped if that
//! is allowed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context as _, Result};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::check_report::{CheckReport, Item};
use crate::health::Unchecked;
use crate::text;

pub(super) fn write(path: &Path, report: &CheckReport<'_>) -> Result<()> {
    let mut failures: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut others: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for item in &report.items {
        let tenant = item.tenant().unwrap_or(DATABASE).to_owned();
        let lines = if report.fails(item) { &mut failures } else { &mut others };
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
                let mut status = if report.fails_on_unchecked() {
                    TestCaseStatus::non_success(NonSuccessKind::Error)
                } else {
                    TestCaseStatus::skipped()
                };
                status.set_message(text::one_line(&format!("not checked: {reason}"))).set_type("unchecked");
                status
            }
            (Some(lines), _) => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_message(lines.join("; ")).set_type("drift").set_description(lines.join("\n"));
                status
            }
        };
        let mut case = TestCase::new(&*text::one_line(name), status);
        case.set_classname("tenant");
        if let Some(lines) = others.get(name).filter(|lines| !lines.is_empty()) {
            case.set_system_out(lines.join("\n"));
        }
        suite.add_test_case(case);
    }
    let mut document = Report::new("tenantry");
    document.add_test_suite(suite);
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    document.serialize(BufWriter::new(file)).with_context(|| format!("cannot write {}", path.display()))
}

/// The name of the database's test case; it is not a valid tenant name.
const DATABASE: &str = "(database)";

fn line(item: &Item<'_>) -> String {
    text::one_line(&format!("{}: {}", item.kind(), item.message())).into_owned()
}
