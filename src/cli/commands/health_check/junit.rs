//! Findings as a JUnit report: a suite for the database and one for the tenants, with a test for each tenant that was
//! checked.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context as _, Result};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::told::{Item, Told};

pub(super) fn write(path: &Path, told: &Told<'_>) -> Result<()> {
    let mut failures: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut others: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for item in &told.items {
        let tenant = item.tenant().unwrap_or(DATABASE).to_owned();
        let lines = if told.fails(item) { &mut failures } else { &mut others };
        lines.entry(tenant).or_default().push(line(item));
    }
    let tenants = told.groups.iter().flat_map(|group| &group.members).map(|member| member.name.to_string());
    for tenant in tenants.chain([DATABASE.to_owned()]) {
        others.entry(tenant).or_default();
    }
    let mut names: Vec<&String> = failures.keys().chain(others.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let mut suite = TestSuite::new("health-check");
    for name in names {
        let status = match failures.get(name) {
            None => TestCaseStatus::success(),
            Some(lines) => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_message(lines.join("; ")).set_type("drift").set_description(lines.join("\n"));
                status
            }
        };
        let mut case = TestCase::new(name.as_str(), status);
        case.set_classname("tenant");
        if let Some(lines) = others.get(name).filter(|lines| !lines.is_empty()) {
            case.set_system_out(lines.join("\n"));
        }
        suite.add_test_case(case);
    }
    let mut report = Report::new("tenantry");
    report.add_test_suite(suite);
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    report.serialize(BufWriter::new(file)).with_context(|| format!("cannot write {}", path.display()))
}

/// What stands for the database, where the name of a tenant does for others; it is none.
const DATABASE: &str = "(database)";

fn line(item: &Item<'_>) -> String {
    format!("{}: {}", item.kind(), item.message())
}
